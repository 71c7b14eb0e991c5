//! How the model answers decrements and increments: by levels, sales windows, and the earlier calls of the order.

use std::collections::BTreeMap;

use super::kinds::{Case, InForce, Tracking};
use super::{Answer, Call, Entry, Line, Model, Shortage, UNITS, Why};

impl Model {
    pub(super) fn decrement(&mut self, lines: &[Line], restricted: bool, order: usize, placed: bool) -> Option<Answer> {
        let sums = sum(lines);
        let duplicate = placed && self.is_suspected_duplicate(order, &wanted(&sums));
        if duplicate && self.policies.suppress {
            self.note(Case::SuppressedDuplicate);
            return None;
        }
        let mut cases = Vec::new();
        let refusal = self.refused_decrement(lines, restricted, order, placed, &mut |case| cases.push(case));
        cases.into_iter().for_each(|case| self.note(case));
        if refusal.is_some() {
            return refusal;
        }
        for (item, pieces, subscription) in sums {
            let unit = item % UNITS;
            let in_force = self.in_force(unit);
            let delta = if in_force.counts(subscription) { -pieces } else { 0 };
            let outside_window = self.closed(unit).is_some();
            self.note_sale(unit, in_force, outside_window, duplicate && delta == 0);
            if duplicate {
                self.note(Case::Duplicate);
            }
            self.add(Entry { subscription, duplicate, outside_window, ..Entry::of(item, -pieces, delta) });
        }
        None
    }

    /// Why a decrement would be refused; `None` if it would be applied, or suppressed.
    pub(super) fn refused_decrement(
        &self,
        lines: &[Line],
        restricted: bool,
        order: usize,
        placed: bool,
        note: &mut impl FnMut(Case),
    ) -> Option<Answer> {
        let sums = sum(lines);
        if placed && self.policies.suppress && self.is_suspected_duplicate(order, &wanted(&sums)) {
            return None;
        }
        let short = if restricted { self.shortages(&sums, note) } else { Vec::new() };
        (!short.is_empty()).then_some(Answer::Short(short))
    }

    fn note_sale(&mut self, unit: usize, in_force: InForce, outside_window: bool, uncounted_duplicate: bool) {
        let sold = match in_force.tracking {
            Tracking::Quantity => None,
            Tracking::Status => Some(Case::SoldByStatus),
            Tracking::Untracked if self.is_sold_unstocked(unit) => Some(Case::SoldUnstocked),
            Tracking::Untracked => Some(Case::SoldUntracked),
        };
        let first = !outside_window && self.units[unit].sell_from == Some(self.time);
        let cases = [
            sold,
            outside_window.then_some(Case::Marked),
            first.then_some(Case::FirstMoment),
            uncounted_duplicate.then_some(Case::UncountedDuplicate),
        ];
        cases.into_iter().flatten().for_each(|case| self.note(case));
    }

    /// The items of a restricted decrement that are short or not on sale.
    fn shortages(&self, sums: &[Line], note: &mut impl FnMut(Case)) -> Vec<Shortage> {
        let mut found: Vec<Shortage> = Vec::new();
        for (item, ..) in sums {
            if found.iter().any(|known| known.item == *item) {
                continue;
            }
            let unit = item % UNITS;
            let in_force = self.in_force(unit);
            let total = |counted: bool| -> i64 {
                let of_it = sums.iter().filter(|(other, ..)| other == item);
                of_it.filter(|line| !counted || !line.2 || in_force.counts_subscriptions).map(|line| line.1).sum()
            };
            let (all, asked, available) = (total(false), total(true), self.level(*item));
            let missing = match in_force.tracking {
                Tracking::Untracked => 0,
                Tracking::Status => 1 - available,
                Tracking::Quantity => asked - available - in_force.backorder_limit,
            };
            let short = if asked > 0 { missing.max(0) } else { 0 };
            let shortage = |asked, why| Shortage { item: *item, asked, available, short, why };
            match self.closed(unit) {
                Some(why) => {
                    found.push(shortage(all, why));
                    note(if why == Why::NotOnSaleYet { Case::BeforeWindow } else { Case::AfterWindow });
                    if short > 0 {
                        note(Case::ClosedAndShort);
                    }
                    if self.units[unit].sell_until == Some(self.time) {
                        note(Case::LastMoment);
                    }
                }
                None if short > 0 => {
                    found.push(shortage(asked, Why::InsufficientStock));
                    if !self.units[unit].stocked {
                        note(Case::RefusedUnstocked);
                        if sums.iter().any(|(other, ..)| self.is_sold_unstocked(other % UNITS)) {
                            note(Case::RefusedBesideSold);
                        }
                    }
                }
                None => {}
            }
        }
        found
    }

    pub(super) fn increment(&mut self, lines: &[Line], order: usize) {
        let calls = self.orders.get(&order).map(Vec::as_slice).unwrap_or_default();
        let seen = !calls.is_empty();
        // What the order holds, and how much of that changed a level.
        let (mut held, mut counted) = ([0; UNITS], [0; UNITS]);
        for entry in calls.iter().flat_map(|call| &call.entries) {
            held[entry.item % UNITS] -= entry.pieces();
            counted[entry.item % UNITS] -= entry.delta;
        }
        for (item, pieces, subscription) in sum(lines) {
            let (held, counted) = (&mut held[item % UNITS], &mut counted[item % UNITS]);
            let over_return = *held < pieces;
            if !self.in_force(item % UNITS).counts(subscription) {
                *held -= pieces;
                self.note(if over_return { Case::UncountedOverReturn } else { Case::UncountedReturn });
                self.add(Entry { subscription, ..Entry::of(item, pieces, 0) });
                continue;
            }
            let delta = if over_return && seen && self.policies.clip { (*held).max(0) } else { pieces };
            if over_return {
                self.note(if delta < pieces { Case::ClippedReturn } else { Case::OverReturn });
            } else if *counted < pieces {
                self.note(Case::CountedAfterUncounted);
            }
            *held -= delta;
            *counted -= delta;
            self.add(Entry { subscription, over_return, ..Entry::of(item, pieces, delta) });
        }
    }

    /// What each order took and returned of each item, in the order of their numbers. Orders without entries are
    /// included.
    pub fn holdings(&self) -> BTreeMap<usize, Vec<(usize, i64, i64)>> {
        self.orders.keys().map(|order| (*order, self.holding(*order))).collect()
    }

    /// What an order took and returned of each item, in the order of their numbers.
    pub fn holding(&self, order: usize) -> Vec<(usize, i64, i64)> {
        let calls = self.orders.get(&order).map(Vec::as_slice).unwrap_or_default();
        let mut lines: BTreeMap<usize, (i64, i64)> = BTreeMap::new();
        for entry in calls.iter().flat_map(|call| &call.entries) {
            let (taken, returned) = lines.entry(entry.item).or_default();
            *taken -= entry.pieces().min(0);
            *returned += entry.pieces().max(0);
        }
        lines.into_iter().map(|(item, (taken, returned))| (item, taken, returned)).collect()
    }

    /// Whether an earlier call of the order placed the same items, and none of them came back since.
    fn is_suspected_duplicate(&self, order: usize, wanted: &[(usize, bool, i64)]) -> bool {
        let calls = self.orders.get(&order).map(Vec::as_slice).unwrap_or_default();
        let same = |call: &Call| {
            call.placed && sorted(call.entries.iter().map(|e| (e.item, e.subscription, e.asked))) == wanted
        };
        let unit = |item: usize| item % UNITS;
        let returns =
            |entry: &Entry| entry.asked > 0 && wanted.iter().any(|(item, ..)| unit(*item) == unit(entry.item));
        let last = calls.iter().rposition(same);
        last.is_some_and(|last| !calls[last + 1..].iter().flat_map(|call| &call.entries).any(returns))
    }
}

/// The items that a decrement takes, as entries have them.
fn wanted(sums: &[Line]) -> Vec<(usize, bool, i64)> {
    sorted(sums.iter().map(|(item, pieces, subscription)| (*item, *subscription, -pieces)))
}

/// The sums of lines per item, in order of first mention: first what is sold once, then what is sold as a subscription.
pub(super) fn sum(lines: &[Line]) -> Vec<Line> {
    let mut items: Vec<usize> = Vec::new();
    lines.iter().for_each(|(item, ..)| {
        if !items.contains(item) {
            items.push(*item)
        }
    });
    let parts = items.into_iter().flat_map(|item| [(item, false), (item, true)]);
    let total = |item, subscription| lines.iter().filter(|l| l.0 == item && l.2 == subscription).map(|l| l.1).sum();
    let sums = parts.map(|(item, subscription)| (item, total(item, subscription), subscription));
    sums.filter(|(_, pieces, _)| *pieces != 0).collect()
}

fn sorted<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values
}
