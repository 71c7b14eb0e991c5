//! Reading the ledger: entries of an order, of a unit, or of the whole site, in pages of constant cost.
//!
//! A page is taken by a key (the order, the chains of the unit, or the sequence number), and the rest of the filter is
//! applied to what was taken. So a page may hold fewer entries than asked for, even none, while more follow.

use std::collections::HashMap;

use diesel::prelude::*;

use super::{Page, Snapshot};
use crate::model::access::Author;
use crate::model::action::Kind;
use crate::model::catalog::Unit;
use crate::model::entry::{Entry, Marks};
use crate::model::error::{Error, Invalid, StoreError};
use crate::model::ids::{LevelId, LocationId, OrderId, SiteId, UnitId};
use crate::model::limits;
use crate::model::unit::UnitSelector;
use crate::store::chain;
use crate::store::connection::{AnyConnection, on};
use crate::store::records::{UnitRecord, stored_kind, stored_reason};
use crate::store::tables::{change, ledger, level, unit};

/// Which entries are asked for, and in which order. The filters combine with "and".
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    /// Only entries of this order.
    pub order: Option<OrderId>,
    /// Only entries of this unit.
    pub unit: Option<UnitSelector>,
    /// Only entries at this location; `Some(None)` is the default location.
    pub at: Option<Option<LocationId>>,
    /// Only entries of this kind.
    pub kind: Option<Kind>,
    /// Only entries after this sequence number.
    pub after_sequence: i64,
    /// Only entries up to and including this sequence number.
    pub up_to_sequence: Option<i64>,
    /// Newest entry first.
    pub newest_first: bool,
}

impl Snapshot<'_> {
    /// A page of the site's entries. `next` is the last sequence number that the page looked at. `Invalid::Archived` if
    /// the filter's sequence numbers reach before the site's cut; from 0 on, all entries are meant that are there.
    pub fn list_entries(&mut self, filter: &EntryFilter, rows: i64) -> Result<Page<Entry, i64>, Error> {
        let cut = self.cut()?;
        if cut.hides(filter.after_sequence, filter.up_to_sequence) {
            return Err(Invalid::Archived { cut: cut.sequence }.into());
        }
        let wanted = match &filter.unit {
            Some(selector) => Some(self.resolve_one(selector, None)?),
            None => None,
        };
        let at = filter.at.map(|location| self.site.settings.stored_location(location));
        let (id, connection) = (self.site.id, self.connection()?);
        let rows_read = match (filter.order, &wanted) {
            (None, Some(level)) => {
                let sequences = chained(connection, id, level.unit_id, at, filter, rows + 1)?;
                by_sequences(connection, id, &sequences)?
            }
            (Some(order), _) => {
                let sequences = of_order(connection, id, order, filter, rows + 1)?;
                by_sequences(connection, id, &sequences)?
            }
            (None, None) => by_key(connection, id, filter, rows + 1)?,
        };
        let entries = entries_of(self.connection()?, id, rows_read, filter.newest_first)?;
        let mut page = Page::cut(entries, rows, |last| last.sequence);
        page.rows.retain(|entry| {
            filter.kind.is_none_or(|kind| entry.kind == kind)
                && at.is_none_or(|location| entry.location == location)
                && wanted.as_ref().is_none_or(|level| entry.unit == *level.unit)
        });
        Ok(page)
    }

    /// The sequence number of the site's last entry recorded before `time` (microseconds since 1970); 0 if there is
    /// none. `Invalid::Archived` if that entry is archived, and perhaps others after it. A binary search: there is no
    /// index on the time, but the times of a site's entries never run backwards.
    pub fn sequence_before(&mut self, time: i64) -> Result<i64, Error> {
        let cut = self.cut()?;
        if cut.sequence > 0 && time <= cut.recorded_at {
            return Err(Invalid::Archived { cut: cut.sequence }.into());
        }
        let (mut low, mut high) = (cut.sequence, self.site.sequence);
        let id = self.site.id;
        while low < high {
            // Both are sequence numbers, so the number between them fits.
            let middle = low + (high - low + 1) / 2;
            let (first, last, recorded_at): (i64, i64, i64) = on!(self.connection()?, |c| {
                change::table
                    .filter(change::site_id.eq(id))
                    .filter(change::first_sequence.le(middle))
                    .order((change::site_id.desc(), change::first_sequence.desc()))
                    .select((change::first_sequence, change::last_sequence, change::recorded_at))
                    .first(c)
            })?;
            if recorded_at < time {
                low = last;
            } else {
                high = first - 1;
            }
        }
        Ok(low)
    }
}

/// A row of the ledger.
#[derive(Queryable, Selectable)]
#[diesel(table_name = ledger)]
struct LedgerRecord {
    sequence: i64,
    change_sequence: i64,
    unit_id: UnitId,
    location_id: Option<LocationId>,
    delta: i64,
    level_after: i64,
    subscription: bool,
    asked: Option<i64>,
    marks: Option<i16>,
}

/// The header of a change.
#[derive(Clone, Queryable, Selectable)]
#[diesel(table_name = change)]
struct HeaderRecord {
    kind: i16,
    reason: i16,
    order_id: Option<OrderId>,
    request_id: String,
    actor: String,
    recorded_at: i64,
    note: String,
    on_behalf_of: String,
}

fn entry(record: LedgerRecord, unit: Unit, header: HeaderRecord) -> Result<Entry, StoreError> {
    let HeaderRecord { kind, reason, order_id, request_id, actor, recorded_at, note, on_behalf_of } = header;
    Ok(Entry {
        sequence: record.sequence,
        change_sequence: record.change_sequence,
        unit,
        location: record.location_id,
        asked: record.asked.unwrap_or(record.delta),
        delta: record.delta,
        level_after: record.level_after,
        subscription: record.subscription,
        marks: record.marks.map(Marks::from_code).unwrap_or_default(),
        kind: stored_kind(kind)?,
        reason: stored_reason(reason),
        order: order_id,
        request_id,
        author: Author { actor, on_behalf_of },
        recorded_at,
        note,
    })
}

/// Rows of the ledger with their units and the headers of their changes, by sequence number. Each table is read by its
/// key: a join would need the statistics of the tables to be as good.
fn entries_of(
    connection: &mut AnyConnection<'_>,
    id: SiteId,
    mut records: Vec<LedgerRecord>,
    newest_first: bool,
) -> Result<Vec<Entry>, StoreError> {
    records.sort_unstable_by_key(|record| record.sequence);
    let mut changes: Vec<i64> = records.iter().map(|record| record.change_sequence).collect();
    changes.dedup();
    let mut units: Vec<UnitId> = records.iter().map(|record| record.unit_id).collect();
    units.sort_unstable();
    units.dedup();
    let headers: Vec<(i64, HeaderRecord)> = on!(connection, |c| {
        let rows = change::table.filter(change::site_id.eq(id).and(change::first_sequence.eq_any(&changes)));
        rows.select((change::first_sequence, HeaderRecord::as_select())).load(c)
    })?;
    let headers: HashMap<i64, HeaderRecord> = headers.into_iter().collect();
    let found: Vec<(UnitId, UnitRecord)> = on!(connection, |c| {
        let rows = unit::table.filter(unit::unit_id.eq_any(&units));
        rows.select((unit::unit_id, UnitRecord::as_select())).load(c)
    })?;
    let units: HashMap<UnitId, Unit> = found.into_iter().map(|(id, unit)| (id, unit.into())).collect();
    let whole = |record: LedgerRecord| {
        let unit = units.get(&record.unit_id).cloned();
        let header = headers.get(&record.change_sequence).cloned();
        match (unit, header) {
            (Some(unit), Some(header)) => entry(record, unit, header),
            (None, _) | (_, None) => Err(StoreError::Damaged("an entry without its unit or its change")),
        }
    };
    let mut entries = records.into_iter().map(whole).collect::<Result<Vec<_>, _>>()?;
    if newest_first {
        entries.reverse();
    }
    Ok(entries)
}

/// The first `rows` rows by their sequence numbers alone, in the filter's order.
fn by_key(
    connection: &mut AnyConnection<'_>,
    id: SiteId,
    filter: &EntryFilter,
    rows: i64,
) -> Result<Vec<LedgerRecord>, StoreError> {
    on!(connection, |c| {
        let last = filter.up_to_sequence.unwrap_or(i64::MAX);
        let query = ledger::table
            .select(LedgerRecord::as_select())
            .filter(ledger::site_id.eq(id).and(ledger::sequence.gt(filter.after_sequence)))
            .filter(ledger::sequence.le(last))
            .limit(rows);
        // The site is fixed. To name it lets the index give the order.
        match filter.newest_first {
            true => query.order((ledger::site_id.desc(), ledger::sequence.desc())).load(c),
            false => query.order((ledger::site_id, ledger::sequence)).load(c),
        }
    })
}

/// The first `rows` sequence numbers of an order's entries in the filter's order. The entries of a change follow each
/// other, so its header names them all.
fn of_order(
    connection: &mut AnyConnection<'_>,
    id: SiteId,
    order: OrderId,
    filter: &EntryFilter,
    rows: i64,
) -> Result<Vec<i64>, StoreError> {
    let after = filter.after_sequence;
    let last = filter.up_to_sequence.unwrap_or(i64::MAX);
    // By the index on orders, from the first change on that can have entries of the page.
    let from = after.saturating_sub(limits::CHANGE_ENTRIES_MAX);
    let changes: Vec<(i64, i64)> = on!(connection, |c| {
        let query = change::table
            .select((change::first_sequence, change::last_sequence))
            .filter(change::site_id.eq(id).and(change::order_id.eq(order)))
            .filter(change::first_sequence.gt(from).and(change::first_sequence.le(last)))
            // Each of them has an entry of the page.
            .filter(change::last_sequence.gt(after))
            .limit(rows);
        match filter.newest_first {
            true => {
                query.order((change::site_id.desc(), change::order_id.desc(), change::first_sequence.desc())).load(c)
            }
            false => query.order((change::site_id, change::order_id, change::first_sequence)).load(c),
        }
    })?;
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    let entries = changes.into_iter().map(|(first, end)| first.max(after.saturating_add(1))..=end.min(last));
    Ok(match filter.newest_first {
        true => entries.flat_map(Iterator::rev).take(rows).collect(),
        false => entries.flatten().take(rows).collect(),
    })
}

/// The rows with these sequence numbers, in any order.
fn by_sequences(
    connection: &mut AnyConnection<'_>,
    id: SiteId,
    sequences: &[i64],
) -> Result<Vec<LedgerRecord>, StoreError> {
    on!(connection, |c| {
        let rows = ledger::table.filter(ledger::site_id.eq(id).and(ledger::sequence.eq_any(sequences)));
        rows.select(LedgerRecord::as_select()).load(c)
    })
}

/// The first `rows` sequence numbers of a unit's entries in the filter's order: those of its levels, merged.
fn chained(
    connection: &mut AnyConnection<'_>,
    id: SiteId,
    unit_id: UnitId,
    at: Option<Option<LocationId>>,
    filter: &EntryFilter,
    rows: i64,
) -> Result<Vec<i64>, StoreError> {
    let levels: Vec<(LevelId, Option<LocationId>, i64)> = on!(connection, |c| {
        level::table
            .filter(level::unit_id.eq(unit_id))
            .select((level::level_id, level::location_id, level::last_sequence))
            .load(c)
    })?;
    let mut sequences = Vec::new();
    for (level, location, head) in levels {
        if at.is_none_or(|at| at == location) {
            sequences.extend(walk(connection, id, level, head, filter, rows)?);
        }
    }
    sequences.sort_unstable();
    if filter.newest_first {
        sequences.reverse();
    }
    sequences.truncate(usize::try_from(rows).unwrap_or(usize::MAX));
    Ok(sequences)
}

/// At least the first `rows` sequence numbers of one level's entries in the filter's order, if there are as many. A
/// chain leads from newer to older, so it is entered at the waypoint after the page, and followed back.
fn walk(
    connection: &mut AnyConnection<'_>,
    id: SiteId,
    level: LevelId,
    head: i64,
    filter: &EntryFilter,
    rows: i64,
) -> Result<Vec<i64>, StoreError> {
    let after = filter.after_sequence;
    let last = filter.up_to_sequence.unwrap_or(i64::MAX);
    // Newest first: the first waypoint after the page. Oldest first: the page lies within this many waypoints.
    let (from, skip) = match filter.newest_first {
        true => (last, 0),
        false => (after.saturating_add(1), rows / limits::WAYPOINT_EVERY + 1),
    };
    let start = chain::waypoint(connection, level, from, skip)?.unwrap_or(head);
    if start <= after {
        return Ok(Vec::new());
    }
    // One more, because a chain is followed to the first entry that is not after `after`.
    let most = rows + (skip + 1) * limits::WAYPOINT_EVERY + 1;
    let links = chain::links(connection, id, start, after, most)?;
    let sequences = links.into_iter().map(|link| link.sequence);
    Ok(sequences.filter(|sequence| (after + 1..=last).contains(sequence)).collect())
}
