//! What warehouses and people say of stock.

use std::collections::HashMap;

use super::{Decision, Movement, View};
use crate::action::{Adjustment, Expected, LevelNow, Move, Repair, Target};
use crate::ids::LevelId;
use crate::order::Marks;
use crate::outcome::{Changed, Refusal, Shortage};
use crate::site::Place;

/// The lowest level that is left of what cannot be owed.
const FLOOR: i64 = 0;

/// An entry that nothing special is to be said of.
fn plain(place: usize, before: i64, delta: i64, after: i64) -> Movement {
    let marks = Marks::default();
    Movement { place, before, asked: delta, delta, after, floor: None, subscription: false, marks }
}

pub(super) fn set(targets: &[Target], places: &[Place], view: &impl View) -> Decision {
    let mut movements = Vec::with_capacity(targets.len());
    let mut seen: HashMap<LevelId, usize> = HashMap::with_capacity(targets.len());
    let mut changed = Vec::new();
    for (item, (target, place)) in targets.iter().zip(places).enumerate() {
        if let Some(first) = seen.insert(place.level, item) {
            return Decision::Refuse(Refusal::SameLevelTwice { first, item });
        }
        let LevelNow { available: before, revision } = view.level(place.level);
        let Expected { available: expected, revision: expected_revision } = target.expected;
        if expected.is_some_and(|expected| expected != before) || expected_revision.is_some_and(|seen| seen != revision)
        {
            let (unit, location) = (place.unit.clone(), place.location);
            changed.push(Changed { item, unit, location, available: before, revision });
        }
        // A count says what there was: the difference to the books of then is the difference of now.
        let counted_against = match target.as_of {
            None => before,
            Some(sequence) => match view.level_at(place.level, sequence) {
                Some(then) => then,
                None => return Decision::Refuse(Refusal::NotYet { item }),
            },
        };
        let delta = target.available.checked_sub(counted_against);
        let Some((delta, after)) = delta.and_then(|delta| Some((delta, before.checked_add(delta)?))) else {
            return Decision::Refuse(Refusal::OutOfRange { item });
        };
        if delta != 0 {
            movements.push(plain(item, before, delta, after));
        }
    }
    if changed.is_empty() { Decision::Apply(movements) } else { Decision::Refuse(Refusal::Changed(changed)) }
}

/// Levels as they become while the items of one request are carried out one after the other.
struct Running<'a, V> {
    view: &'a V,
    now: HashMap<LevelId, i64>,
    movements: Vec<Movement>,
}

impl<'a, V: View> Running<'a, V> {
    fn new(view: &'a V, movements: usize) -> Self {
        Self { view, now: HashMap::with_capacity(movements), movements: Vec::with_capacity(movements) }
    }

    /// Changes a level; `None` where it would leave the range.
    fn step(&mut self, index: usize, place: &Place, asked: i64) -> Option<()> {
        let before = *self.now.entry(place.level).or_insert_with(|| self.view.level(place.level).available);
        let delta = if self.view.rules(place.unit_id).counts(false) { asked } else { 0 };
        let after = before.checked_add(delta)?;
        self.now.insert(place.level, after);
        if asked != 0 {
            self.movements.push(Movement { asked, ..plain(index, before, delta, after) });
        }
        Some(())
    }
}

pub(super) fn adjust(adjustments: &[Adjustment], places: &[Place], view: &impl View) -> Decision {
    let mut running = Running::new(view, adjustments.len());
    for (item, (adjustment, place)) in adjustments.iter().zip(places).enumerate() {
        if running.step(item, place, adjustment.delta).is_none() {
            return Decision::Refuse(Refusal::OutOfRange { item });
        }
    }
    Decision::Apply(running.movements)
}

pub(super) fn relocate(moves: &[Move], places: &[Place], restricted: bool, view: &impl View) -> Decision {
    let mut running = Running::new(view, 2 * moves.len());
    for (item, (asked, ends)) in moves.iter().zip(places.chunks_exact(2)).enumerate() {
        // Two names of one place: nothing moves.
        if ends[0].level == ends[1].level {
            continue;
        }
        let pieces = asked.quantity.get();
        let steps = [(2 * item, -pieces), (2 * item + 1, pieces)];
        for (place, delta) in steps {
            if running.step(place, &places[place], delta).is_none() {
                return Decision::Refuse(Refusal::OutOfRange { item });
            }
        }
    }
    let mut shortages = Vec::new();
    let mut seen = HashMap::with_capacity(moves.len());
    for place in places.iter().step_by(2).filter(|_| restricted) {
        let available = view.level(place.level).available;
        let after = running.now.get(&place.level).copied().unwrap_or(available);
        // What is owed to customers cannot be moved, so no backorder limit is in play. A level that was
        // below zero before, and is not left lower, is none of this request's doing.
        if after < FLOOR.min(available) && seen.insert(place.level, ()).is_none() {
            shortages.push(Shortage {
                unit: place.unit.clone(),
                location: place.location,
                asked: available.saturating_sub(after),
                available,
                short: FLOOR.saturating_sub(after),
            });
        }
    }
    if shortages.is_empty() { Decision::Apply(running.movements) } else { Decision::Refuse(Refusal::Short(shortages)) }
}

pub(super) fn repair(asked: &Repair, places: &[Place], view: &impl View) -> Decision {
    // A command has as many places as it names: one.
    let place = &places[0];
    let now = view.level(place.level);
    let Repair { found, recomputed, .. } = *asked;
    if now != found {
        let (unit, location, LevelNow { available, revision }) = (place.unit.clone(), place.location, now);
        return Decision::Refuse(Refusal::Changed(vec![Changed { item: 0, unit, location, available, revision }]));
    }
    let Some(delta) = found.available.checked_sub(recomputed).filter(|delta| *delta != i64::MIN) else {
        return Decision::Refuse(Refusal::OutOfRange { item: 0 });
    };
    let steps = [plain(0, recomputed, delta, found.available), plain(0, found.available, -delta, recomputed)];
    Decision::Apply(if delta == 0 { Vec::new() } else { steps.to_vec() })
}
