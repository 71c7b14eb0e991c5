//! Reading the ledger: entries by order, by unit, or all of a site's, in pages of constant cost.
//!
//! Whatever the filter, a page is taken by a key (the order, the unit's chains, or the sequence), and
//! the rest of the filter is applied to what was taken. So a page may hold fewer rows than were
//! asked for, and even none, while there are more to come.

use diesel::prelude::*;

use crate::catalog::Unit;
use crate::command::{Kind, Reason};
use crate::error::{Error, StoreError};
use crate::ids::{LevelId, LocationId, OrderId, SiteId, UnitId};
use crate::limits;
use crate::order::Marks;
use crate::store::chain;
use crate::store::faults::classify;
use crate::store::orders::{known_kind, known_reason};
use crate::store::read::{cut, on_either};
use crate::store::schema::{change, ledger, level, unit};
use crate::store::units::{UnitColumns, stored_unit};
use crate::store::{Readers, Store};
use crate::unit::UnitName;

/// Entries with their changes and units.
macro_rules! entry_query {
    () => {
        ledger::table
            .inner_join(
                change::table.on(change::site_id
                    .eq(ledger::site_id)
                    .and(change::first_sequence.eq(ledger::change_sequence))
                    // Follows from the line before; it leads from a change to its entries by key.
                    .and(ledger::sequence.between(change::first_sequence, change::last_sequence))),
            )
            .inner_join(unit::table.on(unit::unit_id.eq(ledger::unit_id)))
            .select((
                (
                    ledger::sequence,
                    ledger::change_sequence,
                    ledger::location_id,
                    ledger::delta,
                    ledger::level_after,
                    ledger::subscription,
                    ledger::asked,
                    ledger::marks,
                ),
                (unit::app_id, unit::item_id, unit::variant),
                (
                    change::kind,
                    change::reason,
                    change::order_id,
                    change::request_id,
                    change::actor,
                    change::recorded_at,
                    change::note,
                ),
            ))
    };
}

/// Which entries are asked for, and in which order.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    /// Of this order only.
    pub order: Option<OrderId>,
    /// Of this unit only.
    pub unit: Option<UnitName>,
    /// At this location only, where `Some(None)` is the default location.
    pub at: Option<Option<LocationId>>,
    /// Made by this kind of request only.
    pub kind: Option<Kind>,
    /// Only entries after this sequence.
    pub after_sequence: i64,
    /// Only entries up to and with this sequence.
    pub up_to_sequence: Option<i64>,
    /// The last first.
    pub newest_first: bool,
}

/// A page of entries.
#[derive(Clone, Debug, Default)]
pub struct EntryPage {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Where there may be more: the last sequence that this page looked at.
    pub looked_to: Option<i64>,
}

/// One line of the ledger, with the header of its change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number on the site: 1, 2, 3, … in commit order.
    pub sequence: i64,
    /// The first sequence of the change it belongs to.
    pub change_sequence: i64,
    /// Of what.
    pub unit: Unit,
    /// Where; `None` is a default location that has not been given an id.
    pub location: Option<LocationId>,
    /// The change that was asked for.
    pub asked: i64,
    /// The change; 0 where what was asked for does not count, or was not carried out.
    pub delta: i64,
    /// The level after it.
    pub level_after: i64,
    /// Whether it came from subscription items.
    pub subscription: bool,
    /// What was noticed about it.
    pub marks: Marks,
    /// What kind of request made it.
    pub kind: Kind,
    /// Why.
    pub reason: Reason,
    /// For which order.
    pub order: Option<OrderId>,
    /// The caller's name for the request.
    pub request_id: String,
    /// Who asked.
    pub actor: String,
    /// When it was committed: microseconds since 1970.
    pub recorded_at: i64,
    /// The caller's note.
    pub note: String,
}

impl Store {
    /// A page of a site's ledger: at most `rows` entries.
    pub async fn list_entries(&self, id: SiteId, filter: EntryFilter, rows: i64) -> Result<EntryPage, Error> {
        let settings = self.settings(id).await?;
        let place = match filter.unit.clone() {
            Some(name) => Some(self.place_of(id, &settings, name).await?),
            None => None,
        };
        let (unit_id, wanted_unit) = place.map(|place| (place.unit_id, place.unit)).unzip();
        let at = filter.at.map(|location| settings.fold_location(location));
        let kind = filter.kind;
        let found = self.read(move |readers| {
            let rows: Vec<EntryColumns> = match (filter.order, unit_id) {
                (None, Some(unit)) => {
                    of_sequences(readers, id, &chained(readers, id, unit, at, &filter, rows + 1)?, &filter)?
                }
                _ => keyed(readers, id, &filter, rows + 1)?,
            };
            rows.into_iter().map(Entry::try_from).collect::<Result<Vec<_>, _>>()
        });
        let mut entries = found.await?;
        let more = cut(&mut entries, rows);
        let looked_to = entries.last().map(|last| last.sequence).filter(|_| more);
        entries.retain(|entry| {
            kind.is_none_or(|kind| entry.kind == kind)
                && at.is_none_or(|location| entry.location == location)
                && wanted_unit.as_ref().is_none_or(|unit| entry.unit == *unit)
        });
        for entry in &mut entries {
            entry.location = settings.show_location(entry.location);
        }
        Ok(EntryPage { entries, looked_to })
    }

    /// The sequence of a site's last entry that was recorded before `time`, in microseconds since 1970;
    /// 0 where there is none. It is searched for by halves: no index is kept for it, and it is as
    /// exact as the servers' clocks agree.
    pub async fn sequence_before(&self, id: SiteId, time: i64) -> Result<i64, Error> {
        let (mut low, mut high) = (0, self.sequence(id).await?);
        self.read(move |readers| {
            while low < high {
                // Both are at most a sequence, which fits; so does the number between them.
                let middle = low + (high - low + 1) / 2;
                let (first, last, recorded_at): (i64, i64, i64) = on_either!(readers, |connection| {
                    change::table
                        .filter(change::site_id.eq(id))
                        .filter(change::first_sequence.le(middle))
                        .order(change::first_sequence.desc())
                        .select((change::first_sequence, change::last_sequence, change::recorded_at))
                        .first(connection)
                })?;
                if recorded_at < time {
                    low = last;
                } else {
                    high = first - 1;
                }
            }
            Ok(low)
        })
        .await
    }
}

/// Entries by their order, or by their sequence alone.
fn keyed(readers: &Readers, id: SiteId, filter: &EntryFilter, rows: i64) -> Result<Vec<EntryColumns>, StoreError> {
    on_either!(readers, |connection| {
        let mut query = entry_query!().filter(ledger::site_id.eq(id)).into_boxed();
        query = query.filter(ledger::sequence.gt(filter.after_sequence));
        if let Some(last) = filter.up_to_sequence {
            query = query.filter(ledger::sequence.le(last));
        }
        if let Some(order) = filter.order {
            // By the index of orders, from the first change on that can have entries of the page.
            let from = filter.after_sequence.saturating_sub(limits::CHANGE_ENTRIES_MAX);
            query = query.filter(change::site_id.eq(id).and(change::order_id.eq(order)));
            query = query.filter(change::first_sequence.gt(from));
            query = match filter.newest_first {
                true => query.order(change::first_sequence.desc()),
                false => query.order(change::first_sequence),
            };
            if let Some(last) = filter.up_to_sequence {
                query = query.filter(change::first_sequence.le(last));
            }
        }
        query = match filter.newest_first {
            true => query.then_order_by(ledger::sequence.desc()),
            false => query.then_order_by(ledger::sequence),
        };
        query.limit(rows).load(connection)
    })
}

/// The entries of these sequences, in the filter's order.
fn of_sequences(
    readers: &Readers,
    id: SiteId,
    sequences: &[i64],
    filter: &EntryFilter,
) -> Result<Vec<EntryColumns>, StoreError> {
    let mut rows: Vec<EntryColumns> = on_either!(readers, |connection| {
        entry_query!().filter(ledger::site_id.eq(id)).filter(ledger::sequence.eq_any(sequences)).load(connection)
    })?;
    rows.sort_unstable_by_key(|row| row.0.0);
    if filter.newest_first {
        rows.reverse();
    }
    Ok(rows)
}

/// The first `rows` sequences of a unit in the filter's order: those of its levels, merged.
fn chained(
    readers: &Readers,
    id: SiteId,
    unit_id: UnitId,
    at: Option<Option<LocationId>>,
    filter: &EntryFilter,
    rows: i64,
) -> Result<Vec<i64>, StoreError> {
    let levels: Vec<(LevelId, Option<LocationId>, i64)> = on_either!(readers, |connection| {
        level::table
            .filter(level::unit_id.eq(unit_id))
            .select((level::level_id, level::location_id, level::last_sequence))
            .load(connection)
    })?;
    let mut sequences = Vec::new();
    for (level, location, head) in levels {
        if at.is_none_or(|at| at == location) {
            sequences.extend(walk(readers, id, level, head, filter, rows)?);
        }
    }
    sequences.sort_unstable();
    if filter.newest_first {
        sequences.reverse();
    }
    sequences.truncate(usize::try_from(rows).unwrap_or(usize::MAX));
    Ok(sequences)
}

/// At least the first `rows` sequences of one level in the filter's order, if there are as many. A
/// chain leads from newer to older, so it is entered at the waypoint after the page and followed back.
fn walk(
    readers: &Readers,
    id: SiteId,
    level: LevelId,
    head: i64,
    filter: &EntryFilter,
    rows: i64,
) -> Result<Vec<i64>, StoreError> {
    let after = filter.after_sequence;
    let last = filter.up_to_sequence.unwrap_or(i64::MAX);
    // Forwards, so many waypoints on that the page lies between; backwards, the first from its end.
    let (from, skip) = match filter.newest_first {
        true => (last, 0),
        false => (after.saturating_add(1), rows / limits::WAYPOINT_EVERY + 1),
    };
    let waypoint = on_either!(readers, |connection| chain::waypoint!(connection, level, from, skip))?;
    let start = waypoint.unwrap_or(head);
    if start <= after {
        return Ok(Vec::new());
    }
    // One more, because a chain is followed to the first entry that is not after `after`.
    let most = rows + (skip + 1) * limits::WAYPOINT_EVERY + 1;
    let links = on_either!(readers, |connection| chain::links!(connection, id, start, after, most))?;
    let sequences = links.into_iter().map(|link| link.sequence);
    Ok(sequences.filter(|sequence| (after + 1..=last).contains(sequence)).collect())
}

type EntryColumns = (
    (i64, i64, Option<LocationId>, i64, i64, bool, Option<i64>, Option<i16>),
    UnitColumns,
    (i16, i16, Option<OrderId>, String, String, i64, String),
);

impl TryFrom<EntryColumns> for Entry {
    type Error = StoreError;

    fn try_from(row: EntryColumns) -> Result<Self, StoreError> {
        let (entry, unit, header) = row;
        let (sequence, change_sequence, location, delta, level_after, subscription, asked, marks) = entry;
        let (kind, reason, order, request_id, actor, recorded_at, note) = header;
        Ok(Self {
            sequence,
            change_sequence,
            unit: stored_unit(unit),
            location,
            asked: asked.unwrap_or(delta),
            delta,
            level_after,
            subscription,
            marks: marks.map(Marks::from_code).unwrap_or_default(),
            kind: known_kind(kind)?,
            reason: known_reason(reason),
            order,
            request_id,
            actor,
            recorded_at,
            note,
        })
    }
}
