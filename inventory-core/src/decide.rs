//! The rules of stock: what a command does to levels. No I/O, no clock, no async.
//!
//! 1. All items or none.
//! 2. Items that mean the same level are summed first.
//! 3. A restricted decrement leaves no level below zero, and its refusal names every short one.
//! 4. An increment is never refused for the level; nothing leaves the 64-bit range.

use std::collections::HashMap;

use crate::command::{Action, Line, Target};
use crate::ids::LevelId;
use crate::outcome::{Refusal, Shortage};
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
    /// Index of the first item that means this level.
    pub item: usize,
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

/// Decides `action`, whose items mean `places`, on levels as `level` tells them.
pub fn decide(action: &Action, places: &[Place], level: impl Fn(LevelId) -> i64) -> Decision {
    match action {
        Action::Decrement { lines, restricted } => decrement(&sum(lines, places), places, *restricted, level),
        Action::Increment { lines } => increment(&sum(lines, places), places, level),
        Action::Set { targets } => set(targets, places, level),
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
            movements.push(Movement { item: asked.item, before, delta, after, floor, subscription });
            before = after;
        }
    }
    Decision::Apply(movements)
}

fn set(targets: &[Target], places: &[Place], level: impl Fn(LevelId) -> i64) -> Decision {
    let mut movements = Vec::with_capacity(targets.len());
    let mut seen: HashMap<LevelId, usize> = HashMap::with_capacity(targets.len());
    for (item, (target, place)) in targets.iter().zip(places).enumerate() {
        if let Some(first) = seen.insert(place.level, item) {
            return Decision::Refuse(Refusal::SameLevelTwice { first, item });
        }
        let (before, after) = (level(place.level), target.available);
        let Some(delta) = after.checked_sub(before) else {
            return Decision::Refuse(Refusal::OutOfRange { item });
        };
        if delta != 0 {
            movements.push(Movement { item, before, delta, after, floor: None, subscription: false });
        }
    }
    Decision::Apply(movements)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
