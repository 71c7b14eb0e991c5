//! Decrements and increments: what orders take and give back.

use std::collections::HashMap;

use super::order_history::{Holdings, is_duplicate};
use super::{Decision, Movement, View};
use crate::model::action::Line;
use crate::model::catalog::Unit;
use crate::model::entry::Marks;
use crate::model::ids::LevelId;
use crate::model::kind::{Closed, Tracking, UnitRules};
use crate::model::level::ResolvedLevel;
use crate::model::order::Part;
use crate::model::outcome::{Refusal, Shortage, ShortageReason};
use crate::model::site::{OverReturnPolicy, SuspectedRepeatPolicy};

/// The items of one request that mean one level, summed.
struct Asked<'a> {
    /// Index of the first such item.
    item: usize,
    level: &'a ResolvedLevel,
    rules: UnitRules,
    /// Why the unit is not on sale, if it is not.
    closed: Option<Closed>,
    sold_once: i64,
    subscribed: i64,
}

/// One portion per subscription flag; each becomes its own entry.
#[derive(Clone, Copy)]
struct Portion {
    count: i64,
    subscription: bool,
    counted: bool,
}

impl Asked<'_> {
    fn portions(&self) -> impl Iterator<Item = Portion> {
        let portion = |count, subscription| Portion { count, subscription, counted: self.rules.counts(subscription) };
        [portion(self.sold_once, false), portion(self.subscribed, true)]
            .into_iter()
            .filter(|portion| portion.count != 0)
    }

    /// All pieces.
    fn pieces(&self) -> i64 {
        // `limits` asserts that all quantities of a request together do not overflow.
        self.sold_once + self.subscribed
    }

    /// Pieces that stock must cover.
    fn wanted(&self) -> i64 {
        if self.rules.counts_subscriptions.value { self.pieces() } else { self.sold_once }
    }
}

fn sum<'a>(lines: &[Line], levels: &'a [ResolvedLevel], view: &impl View) -> Vec<Asked<'a>> {
    let mut asked: Vec<Asked<'_>> = Vec::with_capacity(lines.len());
    let mut seen: HashMap<LevelId, usize> = HashMap::with_capacity(lines.len());
    for (item, (line, level)) in lines.iter().zip(levels).enumerate() {
        let index = *seen.entry(level.id).or_insert_with(|| {
            let unit = view.unit(level.unit_id);
            let rules = UnitRules::in_force(&unit, &level.catalog);
            let closed = unit.window.closed_at(view.time());
            asked.push(Asked { item, level, rules, closed, sold_once: 0, subscribed: 0 });
            asked.len() - 1
        });
        let sums = &mut asked[index];
        let part = if line.subscription { &mut sums.subscribed } else { &mut sums.sold_once };
        *part += line.quantity.get();
    }
    asked
}

pub(super) fn decrement(lines: &[Line], levels: &[ResolvedLevel], restricted: bool, view: &impl View) -> Decision {
    let asked = sum(lines, levels, view);
    let parts = asked.iter().flat_map(|asked| {
        let ResolvedLevel { unit_id: unit, location, .. } = *asked.level;
        asked.portions().map(move |Portion { count, subscription, counted: _ }| Part {
            unit,
            location,
            subscription,
            asked: -count,
        })
    });
    let suspected_repeat = view.order().is_some_and(|history| is_duplicate(history, parts));
    if suspected_repeat && view.policies().suspected_repeats == SuspectedRepeatPolicy::Suppress {
        return Decision::Suppress;
    }
    if restricted {
        let short = asked.iter().filter_map(|asked| shortage(asked, view.level(asked.level.id).available));
        let shortages: Vec<Shortage> = short.collect();
        if !shortages.is_empty() {
            return Decision::Refuse(Refusal::Short(shortages));
        }
    }
    record(&asked, view, |asked, portion| Change {
        asked: -portion.count,
        delta: if portion.counted { -portion.count } else { 0 },
        floor: (restricted && portion.counted).then_some(-asked.rules.backorder_limit.value),
        marks: Marks { suspected_repeat, over_return: false, outside_sales_window: asked.closed.is_some() },
    })
}

/// The shortage of a level, if a restricted decrement is short of it or its unit is not on sale.
fn shortage(asked: &Asked<'_>, available: i64) -> Option<Shortage> {
    let short = short_by(asked, available);
    let (reason, pieces) = match asked.closed {
        Some(Closed::NotYet) => (ShortageReason::NotOnSaleYet, asked.pieces()),
        Some(Closed::NoLonger) => (ShortageReason::NoLongerOnSale, asked.pieces()),
        None => (ShortageReason::InsufficientStock, asked.wanted()),
    };
    if asked.closed.is_none() && short.is_none() {
        return None;
    }
    let (unit, location) = (Unit::clone(&asked.level.unit), asked.level.location);
    Some(Shortage { unit, location, asked: pieces, available, short: short.unwrap_or_default(), reason })
}

/// Pieces that are missing, if any are.
fn short_by(asked: &Asked<'_>, available: i64) -> Option<i64> {
    let wanted = asked.wanted();
    if wanted == 0 {
        return None;
    }
    match asked.rules.tracking.value {
        Tracking::Untracked => None,
        // A level above zero is in stock.
        Tracking::Status => (available <= 0).then(|| 1_i64.saturating_sub(available)),
        Tracking::Quantity => {
            // Quantities and limits are far inside the range, so only a very negative level can make the subtraction
            // fail, and such a level is short in any case.
            let after = available.checked_sub(wanted).unwrap_or(i64::MIN);
            let floor = -asked.rules.backorder_limit.value;
            (after < floor).then(|| floor.checked_sub(after).unwrap_or(i64::MAX))
        }
    }
}

pub(super) fn increment(lines: &[Line], levels: &[ResolvedLevel], view: &impl View) -> Decision {
    let mut holdings = view.order().and_then(Holdings::of);
    let clip = view.policies().over_returns == OverReturnPolicy::Clip;
    record(&sum(lines, levels, view), view, |asked, portion| {
        let returned = |delta, over_return| Change {
            asked: portion.count,
            delta,
            floor: None,
            marks: Marks { over_return, ..Marks::default() },
        };
        let Some(holdings) = &mut holdings else {
            return returned(if portion.counted { portion.count } else { 0 }, false);
        };
        let unit = asked.level.unit_id;
        if !portion.counted {
            // A return that changes no level is no over-return, but the pieces are back.
            holdings.give_back(unit, portion.count);
            return returned(0, false);
        }
        let held = holdings.covers(unit, portion.count);
        let delta = if clip && holdings.seen { held } else { portion.count };
        holdings.give_back(unit, delta);
        returned(delta, held < portion.count)
    })
}

/// What becomes of a portion.
struct Change {
    asked: i64,
    delta: i64,
    floor: Option<i64>,
    marks: Marks,
}

/// Makes the movements of all portions; refuses if a level would leave the range.
fn record(asked: &[Asked<'_>], view: &impl View, mut change_of: impl FnMut(&Asked<'_>, Portion) -> Change) -> Decision {
    let mut movements = Vec::with_capacity(asked.len());
    for asked in asked {
        let mut before = view.level(asked.level.id).available;
        for portion in asked.portions() {
            let Change { asked: wanted, delta, floor, marks } = change_of(asked, portion);
            let Some(after) = before.checked_add(delta) else {
                return Decision::Refuse(Refusal::OutOfRange { item: asked.item });
            };
            let (level, subscription) = (asked.item, portion.subscription);
            movements.push(Movement { level, before, asked: wanted, delta, after, floor, subscription, marks });
            before = after;
        }
    }
    Decision::Apply(movements)
}
