//! The rules of stock: what a command does to levels. No I/O, no clock, no async.
//!
//! 1. All items or none.
//! 2. Items that mean the same level are summed first.
//! 3. A restricted decrement leaves no level below zero, and its refusal names every short one.
//! 4. An increment or an adjustment is never refused for the level; nothing leaves the 64-bit range.
//! 5. A level is set only where it still is what the caller believes it to be; a count as of an earlier
//!    sequence keeps what has changed since.
//! 6. A level that is not the sum of its entries is repaired by two of them: the difference as it was
//!    found, and its opposite. So the ledger's sum is what it was, and the level is that sum again.
//! 7. What a move takes in one place it adds in another; restricted, it leaves no level below zero.

use std::collections::HashMap;

use crate::action::{Action, Adjustment, Expected, LevelNow, Line, Move, Repair, Target};
use crate::ids::LevelId;
use crate::outcome::{Changed, Refusal, Shortage};
use crate::site::Place;

/// What is to happen.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Carry these out, in this order.
    Apply(Vec<Movement>),
    /// Do nothing.
    Refuse(Refusal),
}

/// One change of one level: what becomes one ledger entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    /// Index of the first of the request's places that means this level.
    pub place: usize,
    /// The level before.
    pub before: i64,
    /// The change; never 0.
    pub delta: i64,
    /// The level after: `before + delta`.
    pub after: i64,
    /// The lowest level this movement may leave; `None` when it may leave any.
    pub floor: Option<i64>,
    /// Whether it comes from subscription items.
    pub subscription: bool,
}

/// The lowest level that a restricted decrement may leave.
const FLOOR: i64 = 0;

/// Decides `action`, which names `places`, on levels as `level` tells them. `past` tells a level as it
/// was at a sequence, where the ledger has come so far.
pub fn decide(
    action: &Action,
    places: &[Place],
    level: impl Fn(LevelId) -> LevelNow,
    past: impl Fn(LevelId, i64) -> Option<i64>,
) -> Decision {
    let available = |id: LevelId| level(id).available;
    match action {
        Action::Decrement { lines, restricted } => decrement(&sum(lines, places), places, *restricted, available),
        Action::Increment { lines } => increment(&sum(lines, places), places, available),
        Action::Set { targets } => set(targets, places, level, past),
        Action::Adjust { adjustments } => adjust(adjustments, places, available),
        Action::Repair(asked) => repair(asked, places, level),
        Action::Move { moves, restricted } => relocate(moves, places, *restricted, available),
    }
}

/// What the items of one request ask of one level.
struct Asked {
    item: usize,
    sold_once: i64,
    subscribed: i64,
}

impl Asked {
    fn total(&self) -> i64 {
        // `limits` asserts that all quantities of a request together do not overflow.
        self.sold_once + self.subscribed
    }

    /// The parts that become entries of their own, so that the subscription flag stays true.
    fn parts(&self) -> impl Iterator<Item = (i64, bool)> {
        [(self.sold_once, false), (self.subscribed, true)].into_iter().filter(|(pieces, _)| *pieces != 0)
    }
}

fn sum(lines: &[Line], places: &[Place]) -> Vec<Asked> {
    let mut asked: Vec<Asked> = Vec::with_capacity(lines.len());
    let mut seen: HashMap<LevelId, usize> = HashMap::with_capacity(lines.len());
    for (item, (line, place)) in lines.iter().zip(places).enumerate() {
        let index = *seen.entry(place.level).or_insert_with(|| {
            asked.push(Asked { item, sold_once: 0, subscribed: 0 });
            asked.len() - 1
        });
        let sums = &mut asked[index];
        let part = if line.subscription { &mut sums.subscribed } else { &mut sums.sold_once };
        *part += line.quantity.get();
    }
    asked
}

fn decrement(asked: &[Asked], places: &[Place], restricted: bool, level: impl Fn(LevelId) -> i64) -> Decision {
    let shortages: Vec<Shortage> = asked
        .iter()
        .filter(|_| restricted)
        .filter_map(|asked| {
            let place = &places[asked.item];
            let available = level(place.level);
            // The sum of quantities is far below the range, so only a very negative level can
            // make the subtraction fail, and such a level is short by any count.
            let after = available.checked_sub(asked.total()).unwrap_or(i64::MIN);
            (after < FLOOR).then(|| Shortage {
                unit: place.unit.clone(),
                location: place.location,
                asked: asked.total(),
                available,
                short: FLOOR.checked_sub(after).unwrap_or(i64::MAX),
            })
        })
        .collect();
    if !shortages.is_empty() {
        return Decision::Refuse(Refusal::Short(shortages));
    }
    apply(asked, places, level, restricted.then_some(FLOOR), |pieces| -pieces)
}

fn increment(asked: &[Asked], places: &[Place], level: impl Fn(LevelId) -> i64) -> Decision {
    apply(asked, places, level, None, |pieces| pieces)
}

fn apply(
    asked: &[Asked],
    places: &[Place],
    level: impl Fn(LevelId) -> i64,
    floor: Option<i64>,
    delta_of: impl Fn(i64) -> i64,
) -> Decision {
    let mut movements = Vec::with_capacity(asked.len());
    for asked in asked {
        let mut before = level(places[asked.item].level);
        for (pieces, subscription) in asked.parts() {
            let delta = delta_of(pieces);
            let Some(after) = before.checked_add(delta) else {
                return Decision::Refuse(Refusal::OutOfRange { item: asked.item });
            };
            movements.push(Movement { place: asked.item, before, delta, after, floor, subscription });
            before = after;
        }
    }
    Decision::Apply(movements)
}

fn set(
    targets: &[Target],
    places: &[Place],
    level: impl Fn(LevelId) -> LevelNow,
    past: impl Fn(LevelId, i64) -> Option<i64>,
) -> Decision {
    let mut movements = Vec::with_capacity(targets.len());
    let mut seen: HashMap<LevelId, usize> = HashMap::with_capacity(targets.len());
    let mut changed = Vec::new();
    for (item, (target, place)) in targets.iter().zip(places).enumerate() {
        if let Some(first) = seen.insert(place.level, item) {
            return Decision::Refuse(Refusal::SameLevelTwice { first, item });
        }
        let LevelNow { available: before, revision } = level(place.level);
        let Expected { available: expected, revision: expected_revision } = target.expected;
        if expected.is_some_and(|expected| expected != before) || expected_revision.is_some_and(|seen| seen != revision)
        {
            let (unit, location) = (place.unit.clone(), place.location);
            changed.push(Changed { item, unit, location, available: before, revision });
        }
        // A count says what there was: the difference to the books of then is the difference of now.
        let counted_against = match target.as_of {
            None => before,
            Some(sequence) => match past(place.level, sequence) {
                Some(then) => then,
                None => return Decision::Refuse(Refusal::NotYet { item }),
            },
        };
        let delta = target.available.checked_sub(counted_against);
        let Some((delta, after)) = delta.and_then(|delta| Some((delta, before.checked_add(delta)?))) else {
            return Decision::Refuse(Refusal::OutOfRange { item });
        };
        if delta != 0 {
            movements.push(Movement { place: item, before, delta, after, floor: None, subscription: false });
        }
    }
    if changed.is_empty() { Decision::Apply(movements) } else { Decision::Refuse(Refusal::Changed(changed)) }
}

/// Levels as they become while the items of one request are carried out one after the other.
struct Running<L> {
    level: L,
    now: HashMap<LevelId, i64>,
    movements: Vec<Movement>,
}

impl<L: Fn(LevelId) -> i64> Running<L> {
    fn new(level: L, movements: usize) -> Self {
        Self { level, now: HashMap::with_capacity(movements), movements: Vec::with_capacity(movements) }
    }

    /// Moves a level; `None` where it would leave the range.
    fn step(&mut self, place: usize, level: LevelId, delta: i64) -> Option<()> {
        let before = *self.now.entry(level).or_insert_with(|| (self.level)(level));
        let after = before.checked_add(delta)?;
        self.now.insert(level, after);
        if delta != 0 {
            self.movements.push(Movement { place, before, delta, after, floor: None, subscription: false });
        }
        Some(())
    }
}

fn adjust(adjustments: &[Adjustment], places: &[Place], level: impl Fn(LevelId) -> i64) -> Decision {
    let mut running = Running::new(level, adjustments.len());
    for (item, (adjustment, place)) in adjustments.iter().zip(places).enumerate() {
        if running.step(item, place.level, adjustment.delta).is_none() {
            return Decision::Refuse(Refusal::OutOfRange { item });
        }
    }
    Decision::Apply(running.movements)
}

fn relocate(moves: &[Move], places: &[Place], restricted: bool, level: impl Fn(LevelId) -> i64) -> Decision {
    let mut running = Running::new(&level, 2 * moves.len());
    for (item, (asked, ends)) in moves.iter().zip(places.chunks_exact(2)).enumerate() {
        // Two names of one place: nothing moves.
        if ends[0].level == ends[1].level {
            continue;
        }
        let pieces = asked.quantity.get();
        let steps = [(2 * item, -pieces), (2 * item + 1, pieces)];
        for (place, delta) in steps {
            if running.step(place, places[place].level, delta).is_none() {
                return Decision::Refuse(Refusal::OutOfRange { item });
            }
        }
    }
    let mut shortages = Vec::new();
    let mut seen = HashMap::with_capacity(moves.len());
    for place in places.iter().step_by(2).filter(|_| restricted) {
        let available = level(place.level);
        let after = running.now.get(&place.level).copied().unwrap_or(available);
        // A level that was below zero before, and is not left lower, is none of this request's doing.
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

fn repair(asked: &Repair, places: &[Place], level: impl Fn(LevelId) -> LevelNow) -> Decision {
    // A command has as many places as it names: one.
    let place = &places[0];
    let now = level(place.level);
    let Repair { found, recomputed, .. } = *asked;
    if now != found {
        let (unit, location, LevelNow { available, revision }) = (place.unit.clone(), place.location, now);
        return Decision::Refuse(Refusal::Changed(vec![Changed { item: 0, unit, location, available, revision }]));
    }
    let Some(delta) = found.available.checked_sub(recomputed).filter(|delta| *delta != i64::MIN) else {
        return Decision::Refuse(Refusal::OutOfRange { item: 0 });
    };
    let step = |before, delta, after| Movement { place: 0, before, delta, after, floor: None, subscription: false };
    let steps = [step(recomputed, delta, found.available), step(found.available, -delta, recomputed)];
    Decision::Apply(if delta == 0 { Vec::new() } else { steps.to_vec() })
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
