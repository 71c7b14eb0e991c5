//! What orders take and give back.

use std::collections::HashMap;

use super::{Decision, Movement, View};
use crate::action::Line;
use crate::ids::LevelId;
use crate::order::{Marks, OverReturns, Part, SuspectedRepeats};
use crate::outcome::{Refusal, Shortage};
use crate::site::Place;
use crate::unit::{Tracking, UnitRules};

/// What the items of one request ask of one level.
struct Asked<'a> {
    item: usize,
    place: &'a Place,
    rules: UnitRules,
    sold_once: i64,
    subscribed: i64,
}

/// One of the parts that become entries of their own, so that the subscription flag stays true.
#[derive(Clone, Copy)]
struct Pieces {
    count: i64,
    subscription: bool,
    counted: bool,
}

impl Asked<'_> {
    fn parts(&self) -> impl Iterator<Item = Pieces> {
        let part = |count, subscription| Pieces { count, subscription, counted: self.rules.counts(subscription) };
        [part(self.sold_once, false), part(self.subscribed, true)].into_iter().filter(|pieces| pieces.count != 0)
    }

    /// Pieces that are asked of stock, whether as a number or as a mere presence.
    fn wanted(&self) -> i64 {
        // `limits` asserts that all quantities of a request together do not overflow.
        self.sold_once + if self.rules.counts_subscriptions { self.subscribed } else { 0 }
    }
}

fn sum<'a>(lines: &[Line], places: &'a [Place], view: &impl View) -> Vec<Asked<'a>> {
    let mut asked: Vec<Asked<'_>> = Vec::with_capacity(lines.len());
    let mut seen: HashMap<LevelId, usize> = HashMap::with_capacity(lines.len());
    for (item, (line, place)) in lines.iter().zip(places).enumerate() {
        let index = *seen.entry(place.level).or_insert_with(|| {
            let rules = view.rules(place.unit_id);
            asked.push(Asked { item, place, rules, sold_once: 0, subscribed: 0 });
            asked.len() - 1
        });
        let sums = &mut asked[index];
        let part = if line.subscription { &mut sums.subscribed } else { &mut sums.sold_once };
        *part += line.quantity.get();
    }
    asked
}

pub(super) fn decrement(lines: &[Line], places: &[Place], restricted: bool, view: &impl View) -> Decision {
    let asked = sum(lines, places, view);
    let parts = asked.iter().flat_map(|asked| {
        let Place { unit_id: unit, location, .. } = *asked.place;
        asked.parts().map(move |Pieces { count, subscription, counted: _ }| Part {
            unit,
            location,
            subscription,
            asked: -count,
        })
    });
    let suspected_repeat = view.order().is_some_and(|past| past.has_taken(parts));
    if suspected_repeat && view.policies().suspected_repeats == SuspectedRepeats::Suppress {
        return Decision::Suppress;
    }
    if restricted {
        let short = asked.iter().filter_map(|asked| shortage(asked, view.level(asked.place.level).available));
        let shortages: Vec<Shortage> = short.collect();
        if !shortages.is_empty() {
            return Decision::Refuse(Refusal::Short(shortages));
        }
    }
    let marks = Marks { suspected_repeat, over_return: false };
    enter(&asked, view, |asked, pieces| Change {
        asked: -pieces.count,
        delta: if pieces.counted { -pieces.count } else { 0 },
        floor: (restricted && pieces.counted).then_some(-asked.rules.backorder_limit),
        marks,
    })
}

/// What a level lacks for a restricted decrement.
fn shortage(asked: &Asked<'_>, available: i64) -> Option<Shortage> {
    let wanted = asked.wanted();
    if wanted == 0 {
        return None;
    }
    let short = match asked.rules.tracking {
        // In stock is whatever is above zero.
        Tracking::Status => (available <= 0).then(|| 1_i64.saturating_sub(available)),
        Tracking::Quantity => {
            // Quantities and limits are far below the range, so only a very negative level can make the
            // subtraction fail, and such a level is short by any count.
            let after = available.checked_sub(wanted).unwrap_or(i64::MIN);
            let floor = -asked.rules.backorder_limit;
            (after < floor).then(|| floor.checked_sub(after).unwrap_or(i64::MAX))
        }
    }?;
    let Place { unit, location, .. } = asked.place;
    Some(Shortage { unit: unit.clone(), location: *location, asked: wanted, available, short })
}

pub(super) fn increment(lines: &[Line], places: &[Place], view: &impl View) -> Decision {
    let mut holdings = view.order().and_then(|past| past.holdings());
    let clip = view.policies().over_returns == OverReturns::Clip;
    enter(&sum(lines, places, view), view, |asked, pieces| {
        let returned = |delta, over_return| Change {
            asked: pieces.count,
            delta,
            floor: None,
            marks: Marks { suspected_repeat: false, over_return },
        };
        if !pieces.counted {
            return returned(0, false);
        }
        match &mut holdings {
            None => returned(pieces.count, false),
            Some(holdings) => {
                let held = holdings.of(asked.place.unit_id, pieces.count);
                let delta = if clip && holdings.seen { held } else { pieces.count };
                holdings.give_back(asked.place.unit_id, delta);
                returned(delta, held < pieces.count)
            }
        }
    })
}

/// What becomes of some pieces.
struct Change {
    asked: i64,
    delta: i64,
    floor: Option<i64>,
    marks: Marks,
}

fn enter(asked: &[Asked<'_>], view: &impl View, mut change_of: impl FnMut(&Asked<'_>, Pieces) -> Change) -> Decision {
    let mut movements = Vec::with_capacity(asked.len());
    for asked in asked {
        let mut before = view.level(asked.place.level).available;
        for pieces in asked.parts() {
            let Change { asked: wanted, delta, floor, marks } = change_of(asked, pieces);
            let Some(after) = before.checked_add(delta) else {
                return Decision::Refuse(Refusal::OutOfRange { item: asked.item });
            };
            let (place, subscription) = (asked.item, pieces.subscription);
            movements.push(Movement { place, before, asked: wanted, delta, after, floor, subscription, marks });
            before = after;
        }
    }
    Decision::Apply(movements)
}
