//! Why a level is what it is: its entries, summed by kind, reason and order.

use std::collections::HashMap;

use crate::model::action::Kind;
use crate::model::command::Reason;
use crate::model::entry::Entry;
use crate::model::error::{Error, Invalid};
use crate::model::ids::{LocationId, OrderId};
use crate::model::limits;
use crate::model::unit::{ConfiguredUnit, UnitSelector};
use crate::store::{EntryFilter, Snapshot};

/// Entries that are explained at most, from the newest on.
const EXPLAINED_MAX: i64 = 10_000;
/// Entries that the explanation lists.
const LISTED_MAX: usize = 20;

/// The moment of which a level is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Now.
    Now,
    /// As of a sequence number.
    Sequence(i64),
    /// As of a time: microseconds since 1970.
    Time(i64),
}

/// The sum of the entries of one kind and reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// The kind.
    pub kind: Kind,
    /// The reason.
    pub reason: Reason,
    /// How many entries.
    pub entries: i64,
    /// The sum of their deltas.
    pub delta: i64,
}

/// The explanation: `available` is `before` plus all of `sums`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The unit, with its settings as they are now.
    pub unit: ConfiguredUnit,
    /// The level.
    pub available: i64,
    /// The sequence number of its last entry, archived or not; 0 if it has none.
    pub sequence: i64,
    /// The level before the oldest explained entry.
    pub before: i64,
    /// How many entries are explained.
    pub entries: i64,
    /// Their sums, the largest change first.
    pub sums: Vec<Sum>,
    /// What each order holds by these entries, the largest holding first. Orders that hold nothing are left out.
    pub orders: Vec<(OrderId, i64)>,
    /// The last 20 entries, newest first.
    pub last_entries: Vec<Entry>,
    /// The sequence number of the last archived entry of the site, which is before all explained ones; 0 if none is
    /// archived. `before` is the level as of then, if fewer than the most are explained.
    pub cut: i64,
}

/// Explains the level of a unit at a location (`None`: the default location). `Invalid::AfterLastEntry` for a sequence
/// number that the ledger has not reached, `Invalid::Archived` for a moment before the site's cut.
pub fn explain(
    snapshot: &mut Snapshot<'_>,
    unit: &UnitSelector,
    location: Option<LocationId>,
    at: At,
) -> Result<Explained, Error> {
    let (sequence, cut) = (snapshot.site().sequence, snapshot.cut()?.sequence);
    let mut up_to_sequence = match at {
        At::Now => None,
        At::Sequence(asked) if asked > sequence => return Err(Invalid::AfterLastEntry { sequence }.into()),
        At::Sequence(asked) if asked < cut => return Err(Invalid::Archived { cut }.into()),
        At::Sequence(asked) => Some(asked),
        At::Time(time) => Some(snapshot.sequence_before(time.saturating_add(1))?),
    };
    let configured = snapshot.configured_unit(unit)?;
    let mut explanation = Explanation::default();
    while explanation.entries < EXPLAINED_MAX {
        let filter = EntryFilter {
            unit: Some(unit.clone()),
            at: Some(location),
            after_sequence: cut,
            up_to_sequence,
            newest_first: true,
            ..EntryFilter::default()
        };
        let left = EXPLAINED_MAX - explanation.entries;
        let page = snapshot.list_entries(&filter, left.min(limits::PAGE_ROWS_MAX))?;
        page.rows.into_iter().for_each(|entry| explanation.add(entry));
        match page.next {
            Some(sequence) => up_to_sequence = Some(sequence - 1),
            None => break,
        }
    }
    let balance = match explanation.last.is_empty() && cut > 0 {
        true => snapshot.balance_of(unit, location)?,
        false => None,
    };
    Ok(explanation.finish(configured, balance.unwrap_or_default(), cut))
}

/// A level's entries, added from the newest one backwards.
#[derive(Default)]
struct Explanation {
    sums: Vec<Sum>,
    orders: HashMap<OrderId, i64>,
    entries: i64,
    before: i64,
    last: Vec<Entry>,
}

impl Explanation {
    /// Adds the entry before those that were added already.
    fn add(&mut self, entry: Entry) {
        // Stored as the sum of the two, so the difference is in range.
        self.before = entry.level_after.saturating_sub(entry.delta);
        self.entries += 1;
        let (kind, reason) = (entry.kind, entry.reason);
        let index = self.sums.iter().position(|sum| sum.kind == kind && sum.reason == reason).unwrap_or_else(|| {
            self.sums.push(Sum { kind, reason, entries: 0, delta: 0 });
            self.sums.len() - 1
        });
        let sum = &mut self.sums[index];
        sum.entries += 1;
        sum.delta = sum.delta.saturating_add(entry.delta);
        if let Some(order) = entry.order {
            let held = self.orders.entry(order).or_default();
            *held = held.saturating_sub(entry.pieces());
        }
        if self.last.len() < LISTED_MAX {
            self.last.push(entry);
        }
    }

    /// `balance` is the level without entries, and the sequence number of its last archived one.
    fn finish(self, unit: ConfiguredUnit, balance: (i64, i64), cut: i64) -> Explained {
        let Self { mut sums, orders, entries, before, last } = self;
        let before = if last.is_empty() { balance.0 } else { before };
        let (available, sequence) = last.first().map_or(balance, |entry| (entry.level_after, entry.sequence));
        sums.sort_by_key(|sum| std::cmp::Reverse(sum.delta.unsigned_abs()));
        let mut orders: Vec<(OrderId, i64)> = orders.into_iter().filter(|(_, held)| *held != 0).collect();
        orders.sort_unstable_by_key(|(order, held)| (std::cmp::Reverse(held.unsigned_abs()), *order));
        Explained { unit, available, sequence, before, entries, sums, orders, last_entries: last, cut }
    }
}
