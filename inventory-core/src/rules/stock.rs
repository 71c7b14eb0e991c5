//! Setting, adjusting, moving and repairing levels.

use std::collections::HashMap;

use super::{Decision, Movement, View, rules_of, rules_once_stocked};
use crate::model::action::{Adjustment, Expected, Move, Repair, Target};
use crate::model::catalog::Unit;
use crate::model::entry::Marks;
use crate::model::ids::LevelId;
use crate::model::kind::UnitRules;
use crate::model::level::{LevelState, Past, ResolvedLevel};
use crate::model::outcome::{ChangedLevel, Refusal, Shortage, ShortageReason};

/// A restricted move leaves no level below this. Backorders do not count: what is owed to customers cannot be moved.
const FLOOR: i64 = 0;

/// A movement without marks, floor or subscription.
fn plain(level: usize, before: i64, delta: i64, after: i64) -> Movement {
    let marks = Marks::default();
    Movement { level, before, asked: delta, delta, after, floor: None, subscription: false, marks }
}

pub(super) fn set(targets: &[Target], levels: &[ResolvedLevel], view: &impl View) -> Decision {
    let mut movements = Vec::with_capacity(targets.len());
    let mut seen: HashMap<LevelId, usize> = HashMap::with_capacity(targets.len());
    let mut changed = Vec::new();
    for (item, (target, level)) in targets.iter().zip(levels).enumerate() {
        if let Some(first) = seen.insert(level.id, item) {
            return Decision::Refuse(Refusal::SameLevelTwice { first, item });
        }
        let LevelState { available: before, revision } = view.level(level.id);
        let Expected { available: expected, revision: expected_revision } = target.expected;
        if expected.is_some_and(|expected| expected != before) || expected_revision.is_some_and(|seen| seen != revision)
        {
            changed.push(changed_level(item, level, view.level(level.id)));
        }
        // The count differs from the level at that time by as much as the level now is wrong.
        let counted_against = match target.as_of {
            None => before,
            Some(sequence) => match view.level_at(level.id, sequence) {
                Past::Known(then) => then,
                Past::NotReached => return Decision::Refuse(Refusal::NotYet { item }),
                Past::Gone { cut } => return Decision::Refuse(Refusal::Gone { item, cut }),
            },
        };
        let delta = target.available.checked_sub(counted_against);
        let Some((delta, after)) = delta.and_then(|delta| Some((delta, before.checked_add(delta)?))) else {
            return Decision::Refuse(Refusal::OutOfRange { item });
        };
        // Where a unit stops being sold unstocked, the ledger shows it, even if the level is 0 before and after.
        if delta != 0 || view.unit(level.unit_id).is_sold_unstocked(&level.catalog) {
            movements.push(plain(item, before, delta, after));
        }
    }
    if changed.is_empty() { Decision::Apply(movements) } else { Decision::Refuse(Refusal::Changed(changed)) }
}

/// A level as it differs from what the caller expected.
fn changed_level(item: usize, level: &ResolvedLevel, now: LevelState) -> ChangedLevel {
    let (unit, location, LevelState { available, revision }) = (Unit::clone(&level.unit), level.location, now);
    ChangedLevel { item, unit, location, available, revision }
}

/// Levels while the items of one request are applied one after the other.
struct Running<'a, V> {
    view: &'a V,
    now: HashMap<LevelId, i64>,
    movements: Vec<Movement>,
}

impl<'a, V: View> Running<'a, V> {
    fn new(view: &'a V, movements: usize) -> Self {
        Self { view, now: HashMap::with_capacity(movements), movements: Vec::with_capacity(movements) }
    }

    /// Changes a level of a unit that is counted by `rules`; `None` if it would leave the range.
    fn step(&mut self, index: usize, level: &ResolvedLevel, asked: i64, rules: &UnitRules) -> Option<()> {
        let before = *self.now.entry(level.id).or_insert_with(|| self.view.level(level.id).available);
        let delta = if rules.counts(false) { asked } else { 0 };
        let after = before.checked_add(delta)?;
        self.now.insert(level.id, after);
        if asked != 0 {
            self.movements.push(Movement { asked, ..plain(index, before, delta, after) });
        }
        Some(())
    }
}

pub(super) fn adjust(adjustments: &[Adjustment], levels: &[ResolvedLevel], view: &impl View) -> Decision {
    let mut running = Running::new(view, adjustments.len());
    for (item, (adjustment, level)) in adjustments.iter().zip(levels).enumerate() {
        if running.step(item, level, adjustment.delta, &rules_once_stocked(level, view)).is_none() {
            return Decision::Refuse(Refusal::OutOfRange { item });
        }
    }
    Decision::Apply(running.movements)
}

pub(super) fn relocate(moves: &[Move], levels: &[ResolvedLevel], restricted: bool, view: &impl View) -> Decision {
    let mut running = Running::new(view, 2 * moves.len());
    for (item, (asked, ends)) in moves.iter().zip(levels.chunks_exact(2)).enumerate() {
        // Both locations are the same level: nothing moves.
        if ends[0].id == ends[1].id {
            continue;
        }
        let pieces = asked.quantity.get();
        let steps = [(2 * item, -pieces), (2 * item + 1, pieces)];
        for (index, delta) in steps {
            let level = &levels[index];
            if running.step(index, level, delta, &rules_of(level, view)).is_none() {
                return Decision::Refuse(Refusal::OutOfRange { item });
            }
        }
    }
    let mut shortages = Vec::new();
    let mut seen = HashMap::with_capacity(moves.len());
    for level in levels.iter().step_by(2).filter(|_| restricted) {
        let available = view.level(level.id).available;
        let after = running.now.get(&level.id).copied().unwrap_or(available);
        // A level that was below zero before, and ends no lower, is not short because of this request.
        if after < FLOOR.min(available) && seen.insert(level.id, ()).is_none() {
            shortages.push(Shortage {
                unit: Unit::clone(&level.unit),
                location: level.location,
                asked: available.saturating_sub(after),
                available,
                short: FLOOR.saturating_sub(after),
                reason: ShortageReason::InsufficientStock,
            });
        }
    }
    if shortages.is_empty() { Decision::Apply(running.movements) } else { Decision::Refuse(Refusal::Short(shortages)) }
}

pub(super) fn repair(asked: &Repair, levels: &[ResolvedLevel], view: &impl View) -> Decision {
    // A repair has one level.
    let level = &levels[0];
    let now = view.level(level.id);
    let Repair { level: _, found, recomputed } = *asked;
    if now != found {
        return Decision::Refuse(Refusal::Changed(vec![changed_level(0, level, now)]));
    }
    let Some(delta) = found.available.checked_sub(recomputed).filter(|delta| *delta != i64::MIN) else {
        return Decision::Refuse(Refusal::OutOfRange { item: 0 });
    };
    let steps = [plain(0, recomputed, delta, found.available), plain(0, found.available, -delta, recomputed)];
    Decision::Apply(if delta == 0 { Vec::new() } else { steps.to_vec() })
}
