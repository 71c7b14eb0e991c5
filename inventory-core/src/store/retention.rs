//! Archiving entries, and deleting sites: the statements that remove what the service never removes.
//!
//! The row of a site in `cut` says up to where its entries are gone. The database lets nobody remove an entry after it,
//! so the cut is written first, in the same transaction as the balances and holdings that take the entries' place.

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::model::error::StoreError;
use crate::model::ids::{LevelId, SiteId};
use crate::model::limits;
use crate::model::retention::Cut;
use crate::model::site::Site;
use crate::store::connection::{AnyConnection, on};
use crate::store::guid::Guid;
use crate::store::tables::{TABLES, balance, change, cut, journal};

// Each of them is about the entries of the site `$1` after `$2`, up to and including `$3`. `$1` is a name to SQLite and
// a number to Postgres. Numbered by first use, they are the same.

/// How many entries there are, and of how many levels.
const COUNT: &str = "SELECT count(*) AS entries, count(DISTINCT level.level_id) AS levels FROM ledger \
    LEFT JOIN level ON level.unit_id = ledger.unit_id \
        AND level.location_id IS NOT DISTINCT FROM ledger.location_id \
    WHERE ledger.site_id = $1 AND ledger.sequence > $2 AND ledger.sequence <= $3 AND level.level_id IS NOT NULL";

/// Adds them to the balances. (A WHERE tells SQLite that ON CONFLICT belongs to no join.)
const BALANCES: &str = "WITH part AS ( \
        SELECT unit_id, location_id, max(sequence) AS last, count(*) AS entries FROM ledger \
        WHERE site_id = $1 AND sequence > $2 AND sequence <= $3 GROUP BY unit_id, location_id \
    ) INSERT INTO balance (site_id, level_id, unit_id, location_id, available, revision, last_sequence) \
    SELECT entry.site_id, level.level_id, part.unit_id, part.location_id, entry.level_after, part.entries, part.last \
    FROM part JOIN ledger entry ON entry.site_id = $1 AND entry.sequence = part.last \
    JOIN level ON level.unit_id = part.unit_id AND level.location_id IS NOT DISTINCT FROM part.location_id \
    WHERE part.entries > 0 \
    ON CONFLICT (site_id, level_id) DO UPDATE SET available = excluded.available, \
        revision = balance.revision + excluded.revision, last_sequence = excluded.last_sequence";

/// Adds what changed hands by them to the holdings of their orders: of a clipped return (mark 2) what was given back,
/// otherwise what was asked for.
const HOLDINGS: &str = "INSERT INTO holding (site_id, order_id, level_id, taken, returned) \
    SELECT moved.site_id, moved.order_id, level.level_id, \
        CAST(sum(CASE WHEN moved.pieces < 0 THEN -moved.pieces ELSE 0 END) AS bigint), \
        CAST(sum(CASE WHEN moved.pieces > 0 THEN moved.pieces ELSE 0 END) AS bigint) \
    FROM ( \
        SELECT change.site_id, change.order_id, entry.unit_id, entry.location_id, \
            CASE WHEN (COALESCE(entry.marks, 0) & 2) <> 0 THEN entry.delta \
                ELSE COALESCE(entry.asked, entry.delta) END AS pieces \
        FROM change JOIN ledger entry ON entry.site_id = change.site_id \
            AND entry.sequence BETWEEN change.first_sequence AND change.last_sequence \
        WHERE change.site_id = $1 AND change.first_sequence > $2 AND change.first_sequence <= $3 \
            AND change.order_id IS NOT NULL \
    ) AS moved \
    JOIN level ON level.unit_id = moved.unit_id AND level.location_id IS NOT DISTINCT FROM moved.location_id \
    WHERE moved.order_id IS NOT NULL GROUP BY moved.site_id, moved.order_id, level.level_id \
    ON CONFLICT (site_id, order_id, level_id) DO UPDATE SET taken = holding.taken + excluded.taken, \
        returned = holding.returned + excluded.returned";

/// Moves the cut behind them. The last of them is the last one of its change.
const MOVE_CUT: &str = "INSERT INTO cut (site_id, sequence, recorded_at) \
    SELECT site_id, last_sequence, recorded_at FROM change \
    WHERE site_id = $1 AND first_sequence > $2 AND first_sequence <= $3 ORDER BY first_sequence DESC LIMIT 1 \
    ON CONFLICT (site_id) DO UPDATE SET sequence = excluded.sequence, recorded_at = excluded.recorded_at";

/// Remove them, once the cut is behind them, with what leads to them.
const REMOVE: [&str; 3] = [
    "DELETE FROM waypoint WHERE level_id IN (SELECT level.level_id FROM level WHERE level.unit_id IN ( \
        SELECT ledger.unit_id FROM ledger WHERE ledger.site_id = $1 AND ledger.sequence > $2 AND ledger.sequence <= $3 \
    )) AND sequence <= $3",
    "DELETE FROM ledger WHERE site_id = $1 AND sequence > $2 AND sequence <= $3",
    "DELETE FROM change WHERE site_id = $1 AND first_sequence > $2 AND first_sequence <= $3",
];

/// Closes a site for ever up to its last entry.
const CLOSE: &str = "INSERT INTO cut (site_id, sequence, recorded_at, revision, change_id) VALUES ($1, $2, $3, $4, $5) \
    ON CONFLICT (site_id) DO UPDATE SET sequence = excluded.sequence, recorded_at = excluded.recorded_at, \
        revision = excluded.revision, change_id = excluded.change_id";

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    entries: i64,
    #[diesel(sql_type = BigInt)]
    levels: i64,
}

/// The cut of a site.
pub(crate) fn cut(connection: &mut AnyConnection<'_>, site: SiteId) -> Result<Cut, StoreError> {
    let found: Option<(i64, i64)> = on!(connection, |c| {
        cut::table.filter(cut::site_id.eq(site)).select((cut::sequence, cut::recorded_at)).first(c).optional()
    })?;
    Ok(found.map(|(sequence, recorded_at)| Cut { sequence, recorded_at }).unwrap_or_default())
}

/// A level as of the cut, and the sequence number of its last entry before it; `None` if it has no such entry.
pub(crate) fn balance(
    connection: &mut AnyConnection<'_>,
    site: SiteId,
    level: LevelId,
) -> Result<Option<(i64, i64)>, StoreError> {
    on!(connection, |c| {
        let row = balance::table.filter(balance::site_id.eq(site).and(balance::level_id.eq(level)));
        row.select((balance::available, balance::last_sequence)).first(c).optional()
    })
}

/// One step of archiving.
pub(crate) fn archive(connection: &mut AnyConnection<'_>, site: SiteId, up_to: i64) -> Result<i64, StoreError> {
    let after = cut(connection, site)?.sequence;
    // Whole changes: the last one may reach further than the step.
    let last: Option<i64> = on!(connection, |c| {
        let next = change::table
            .filter(change::site_id.eq(site))
            .filter(change::first_sequence.gt(after))
            .filter(change::first_sequence.le(up_to.min(after.saturating_add(limits::ARCHIVED_ENTRIES))));
        next.order((change::site_id.desc(), change::first_sequence.desc()))
            .select(change::last_sequence)
            .first(c)
            .optional()
    })?;
    let Some(last) = last else { return Ok(after) };
    let counted: Counted = on!(connection, |c| {
        let query = diesel::sql_query(COUNT).bind::<Guid, _>(site);
        query.bind::<BigInt, _>(after).bind::<BigInt, _>(last).get_result(c)
    })?;
    // Without its level or a predecessor an entry could not be added up, and what cannot be proved stays.
    if last > up_to || counted.entries != last - after {
        return Err(StoreError::Damaged("entries that do not follow each other, or have no level; run `verify`"));
    }
    let run = |connection: &mut AnyConnection<'_>, sql: &str| -> Result<usize, StoreError> {
        on!(connection, |c| {
            let query = diesel::sql_query(sql).bind::<Guid, _>(site);
            query.bind::<BigInt, _>(after).bind::<BigInt, _>(last).execute(c)
        })
    };
    if i64::try_from(run(connection, BALANCES)?) != Ok(counted.levels) {
        return Err(StoreError::Damaged("a level that is stored twice; run `verify`"));
    }
    for sql in [HOLDINGS, MOVE_CUT].into_iter().chain(REMOVE) {
        run(connection, sql)?;
    }
    Ok(last)
}

/// Removes every row of a site.
pub(crate) fn delete_site(connection: &mut AnyConnection<'_>, site: &Site) -> Result<(), StoreError> {
    let Site { id, sequence, recorded_at, settings } = site;
    let deletion: Option<i64> = on!(connection, |c| {
        let rows = journal::table.filter(journal::site_id.eq(id));
        rows.order((journal::site_id.desc(), journal::change_id.desc())).select(journal::change_id).first(c).optional()
    })?;
    let Some(deletion) = deletion else { return Err(StoreError::Damaged("no record of the deletion of a site")) };
    on!(connection, |c| {
        diesel::sql_query(CLOSE)
            .bind::<Guid, _>(id)
            .bind::<BigInt, _>(sequence)
            .bind::<BigInt, _>(recorded_at)
            .bind::<BigInt, _>(settings.revision.saturating_add(1))
            .bind::<BigInt, _>(deletion)
            .execute(c)
    })?;
    for table in TABLES.iter().rev() {
        let Some(condition) = table.rows_of_site else { continue };
        on!(connection, |c| {
            diesel::sql_query(format!("DELETE FROM {} WHERE {condition}", table.name)).bind::<Guid, _>(id).execute(c)
        })?;
    }
    Ok(())
}
