//! The journal of an order: what it took, gave back and still holds, and every call it made. Derived from the ledger.

use crate::model::catalog::Unit;
use crate::model::entry::Entry;
use crate::model::error::Error;
use crate::model::ids::{LocationId, OrderId};
use crate::model::limits;
use crate::model::order::OrderCall;
use crate::model::retention::Holding;
use crate::store::{EntryFilter, Snapshot};

/// The journal of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderJournal {
    /// Per unit and location: those of archived entries first, the others in the order of their first entry.
    pub lines: Vec<OrderLine>,
    /// The order's first entries, at most `limits::PAGE_ROWS_MAX`.
    pub entries: Vec<Entry>,
    /// How many entries the order has, without those that are archived.
    pub entry_count: i64,
    /// The sequence number of the last archived entry of the site, if entries of the order are archived. What the order
    /// did by them is in `lines`; they are not in `entries`, nor their calls in `calls`.
    pub cut: Option<i64>,
    /// The order's calls.
    pub calls: Vec<OrderCall>,
}

/// What an order did to one level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderLine {
    /// The unit.
    pub unit: Unit,
    /// The location as stored; `None` is the default location.
    pub location: Option<LocationId>,
    /// Pieces taken in all, those of items that are not counted included.
    pub taken: i64,
    /// Pieces given back in all.
    pub returned: i64,
}

/// The journal of an order; `None` if nothing is recorded for it.
pub fn order_journal(snapshot: &mut Snapshot<'_>, order: OrderId) -> Result<Option<OrderJournal>, Error> {
    let calls = snapshot.order_calls(order)?;
    let holdings = snapshot.holdings(order)?;
    if calls.is_empty() && holdings.is_empty() {
        return Ok(None);
    }
    let cut = if holdings.is_empty() { None } else { Some(snapshot.cut()?.sequence) };
    let line = |Holding { unit, location, taken, returned }| OrderLine { unit, location, taken, returned };
    let mut lines: Vec<OrderLine> = holdings.into_iter().map(line).collect();
    let mut entries = Vec::new();
    let (mut after_sequence, mut entry_count) = (0, 0);
    loop {
        let filter = EntryFilter { order: Some(order), after_sequence, ..EntryFilter::default() };
        let page = snapshot.list_entries(&filter, limits::PAGE_ROWS_MAX)?;
        page.rows.iter().for_each(|entry| add(&mut lines, entry));
        entry_count += i64::try_from(page.rows.len()).unwrap_or_default();
        if entries.is_empty() {
            entries = page.rows;
        }
        match page.next {
            Some(sequence) => after_sequence = sequence,
            None => break,
        }
    }
    Ok(Some(OrderJournal { lines, entries, entry_count, cut, calls }))
}

fn add(lines: &mut Vec<OrderLine>, entry: &Entry) {
    let same = |line: &OrderLine| line.unit == entry.unit && line.location == entry.location;
    let index = lines.iter().position(same).unwrap_or_else(|| {
        let (unit, location) = (entry.unit.clone(), entry.location);
        lines.push(OrderLine { unit, location, taken: 0, returned: 0 });
        lines.len() - 1
    });
    let line = &mut lines[index];
    let pieces = entry.pieces();
    let side = if pieces < 0 { &mut line.taken } else { &mut line.returned };
    *side = side.saturating_add(pieces.saturating_abs());
}
