//! The chain of a level's entries. The level's row names its last entry, each entry names the one before, and every
//! `limits::WAYPOINT_EVERY`th entry is a waypoint, where the chain can be entered. So a page of a level's entries costs
//! the same wherever it begins.

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::engine::storage::faults::{Faults, Point, Statement};
use crate::model::error::StoreError;
use crate::model::ids::{LevelId, SiteId};
use crate::model::level::Past;
use crate::model::limits;
use crate::store::connection::{AnyConnection, on};
use crate::store::faults::pass;
use crate::store::guid::Guid;
use crate::store::retention;
use crate::store::tables::waypoint;

/// An entry of a chain.
#[derive(QueryableByName)]
pub(crate) struct Link {
    #[diesel(sql_type = BigInt)]
    pub(crate) sequence: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) level_after: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) level_before: i64,
}

// `$1` is a name to SQLite and a number to Postgres. Numbered by first use, they are the same.
const LINKS: &str = "WITH RECURSIVE chain (sequence, previous, level_after, level_before) AS ( \
        SELECT sequence, previous_sequence, level_after, level_before FROM ledger \
        WHERE site_id = $1 AND sequence = $2 UNION ALL \
        SELECT ledger.sequence, ledger.previous_sequence, ledger.level_after, ledger.level_before FROM chain \
        JOIN ledger ON ledger.site_id = $1 AND ledger.sequence = chain.previous WHERE chain.sequence > $3 \
    ) SELECT sequence, level_after, level_before FROM chain LIMIT $4";

/// The first waypoint of a level at or after the sequence number `from`, after skipping `skip`.
pub(crate) fn waypoint(
    connection: &mut AnyConnection<'_>,
    level: LevelId,
    from: i64,
    skip: i64,
) -> Result<Option<i64>, StoreError> {
    on!(connection, |c| {
        waypoint::table
            .filter(waypoint::level_id.eq(level).and(waypoint::sequence.ge(from)))
            .order(waypoint::sequence)
            .offset(skip)
            .select(waypoint::sequence)
            .first(c)
            .optional()
    })
}

/// The chain from the entry `start` back to the first entry that is not after `until`, or to the last one before the
/// cut; at most `most` entries.
pub(crate) fn links(
    connection: &mut AnyConnection<'_>,
    site: SiteId,
    start: i64,
    until: i64,
    most: i64,
) -> Result<Vec<Link>, StoreError> {
    on!(connection, |c| {
        diesel::sql_query(LINKS)
            .bind::<Guid, _>(site)
            .bind::<BigInt, _>(start)
            .bind::<BigInt, _>(until)
            .bind::<BigInt, _>(most)
            .load(c)
    })
}

/// A level as of the sequence number `sequence`. `head` is the sequence number of its last entry. The chain is entered
/// at the first waypoint from `sequence` on, or else at the head, and followed back. If it ends before that, the level
/// had no entry between the cut and `sequence`.
pub(crate) fn level_at(
    connection: &mut AnyConnection<'_>,
    faults: &Faults,
    site: SiteId,
    level: LevelId,
    head: i64,
    sequence: i64,
) -> Result<Past, StoreError> {
    let cut = retention::cut(connection, site)?.sequence;
    if sequence < cut {
        return Ok(Past::Gone { cut });
    }
    on!(connection, |c| pass(faults, Point::Before(Statement::LoadPast), c))?;
    let start = waypoint(connection, level, sequence, 0)?.unwrap_or(head);
    let links = links(connection, site, start, sequence, limits::WAYPOINT_EVERY + 1)?;
    on!(connection, |c| pass(faults, Point::After(Statement::LoadPast), c))?;
    Ok(Past::Known(match links.last() {
        Some(link) if link.sequence <= sequence => link.level_after,
        Some(link) => link.level_before,
        None => retention::balance(connection, site, level)?.map_or(0, |(available, _)| available),
    }))
}
