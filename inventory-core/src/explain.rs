//! Why a level is what it is: its entries, added up by what made them and for which order.

use std::collections::HashMap;

use crate::command::{Kind, Reason};
use crate::ids::OrderId;
use crate::store::Entry;

/// What entries of one kind and reason come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// The kind.
    pub kind: Kind,
    /// The reason.
    pub reason: Reason,
    /// How many entries.
    pub entries: i64,
    /// The sum of their changes.
    pub delta: i64,
}

/// A level's entries, added from the last one backwards.
#[derive(Debug, Default)]
pub struct Explanation {
    sums: Vec<Sum>,
    orders: HashMap<OrderId, i64>,
    entries: i64,
    /// Level and sequence of the last entry.
    last: Option<(i64, i64)>,
    before: i64,
}

/// What an explanation comes to: `available` is `before` and all of `sums`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The level.
    pub available: i64,
    /// The sequence of its last entry; 0 where there is none.
    pub sequence: i64,
    /// The level before the first of the entries.
    pub before: i64,
    /// How many entries.
    pub entries: i64,
    /// What they come to, the largest change first.
    pub sums: Vec<Sum>,
    /// What each order holds, the largest holding first; none that holds nothing.
    pub orders: Vec<(OrderId, i64)>,
}

impl Explanation {
    /// Adds the entry before those that were added already.
    pub fn add(&mut self, entry: &Entry) {
        self.last.get_or_insert((entry.level_after, entry.sequence));
        // Stored as the sum of the two, so the difference is in range.
        self.before = entry.level_after.saturating_sub(entry.delta);
        self.entries += 1;
        let (kind, reason) = (entry.kind, entry.reason);
        let known = self.sums.iter().position(|sum| sum.kind == kind && sum.reason == reason);
        let index = known.unwrap_or_else(|| {
            self.sums.push(Sum { kind, reason, entries: 0, delta: 0 });
            self.sums.len() - 1
        });
        let sum = &mut self.sums[index];
        sum.entries += 1;
        sum.delta = sum.delta.saturating_add(entry.delta);
        if let Some(order) = entry.order {
            let held = self.orders.entry(order).or_default();
            *held = held.saturating_sub(entry.delta);
        }
    }

    /// The sums.
    pub fn finish(self) -> Explained {
        let Self { mut sums, orders, entries, last, before } = self;
        let (available, sequence) = last.unwrap_or_default();
        sums.sort_by_key(|sum| std::cmp::Reverse(sum.delta.unsigned_abs()));
        let mut orders: Vec<(OrderId, i64)> = orders.into_iter().filter(|(_, held)| *held != 0).collect();
        orders.sort_unstable_by_key(|(order, held)| (std::cmp::Reverse(held.unsigned_abs()), *order));
        Explained { available, sequence, before, entries, sums, orders }
    }
}
