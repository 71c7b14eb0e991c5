//! The statements that write a batch on SQLite, row by row.

use std::marker::PhantomData;

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::BigInt;
use diesel::sqlite::{Sqlite, SqliteConnection};

use crate::engine::storage::{LevelRow, SiteWrite, UnitWrite, Writes};
use crate::model::ids::{LevelId, SiteId};
use crate::store::describe::SqliteRow;
use crate::store::guid::Guid;
use crate::store::tables::{ChangeRow, LedgerRow, NewLevelRow, RequestRow, UnitRow, WaypointRow, unit as table};

/// The insertion of one row of a described table, prepared once for each of its forms. Each bound column costs a
/// twelfth of a ledger entry, so sparse columns without a value are left out.
struct Insert<R, const SPARSE: bool, const EXISTING: u8>(R);

/// What becomes of a row whose key exists: an error, nothing, an update of all its columns, or of `stocked` alone.
const FAIL: u8 = 0;
const IGNORE: u8 = 1;
const UPDATE: u8 = 2;
const STOCK: u8 = 3;

/// What identifies an insertion: the kind of row, and the form.
struct Identity<R, const SPARSE: bool, const EXISTING: u8>(PhantomData<R>);

/// A kind of row, identified by a type without lifetimes.
trait Kind: SqliteRow {
    type Id: 'static;
}

macro_rules! kinds {
    ($($row:ident),+) => { $(
        impl Kind for $row<'_> {
            type Id = $row<'static>;
        }
    )+ };
}

kinds!(UnitRow, NewLevelRow, ChangeRow, LedgerRow, WaypointRow, RequestRow);

impl<R: Kind, const SPARSE: bool, const EXISTING: u8> QueryId for Insert<R, SPARSE, EXISTING> {
    type QueryId = Identity<R::Id, SPARSE, EXISTING>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<R: SqliteRow, const SPARSE: bool, const EXISTING: u8> QueryFragment<Sqlite> for Insert<R, SPARSE, EXISTING> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        self.0.push_insert(&mut out, SPARSE)?;
        if EXISTING == IGNORE {
            out.push_sql(" ON CONFLICT DO NOTHING");
        }
        if EXISTING == UPDATE {
            R::push_update(&mut out);
        }
        if EXISTING == STOCK {
            out.push_sql(" ON CONFLICT (unit_id) DO UPDATE SET stocked = 1");
        }
        Ok(())
    }
}

impl<R, const SPARSE: bool, const EXISTING: u8> RunQueryDsl<SqliteConnection> for Insert<R, SPARSE, EXISTING> {}

/// Inserts a row; returns the number of rows written.
fn insert<const EXISTING: u8>(connection: &mut SqliteConnection, row: impl Kind) -> QueryResult<usize> {
    if row.has_sparse() {
        Insert::<_, true, EXISTING>(row).execute(connection)
    } else {
        Insert::<_, false, EXISTING>(row).execute(connection)
    }
}

/// diesel prepares its own UPDATE anew each time, because the columns that it sets may differ. Those of these two never
/// do, and parsing was the larger part of their cost.
#[derive(QueryId)]
struct SetSequence(SiteId, i64, i64);

#[derive(QueryId)]
struct SetLevel(LevelRow);

impl QueryFragment<Sqlite> for SetSequence {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("UPDATE site SET sequence = ");
        out.push_bind_param::<BigInt, i64>(&self.1)?;
        out.push_sql(", recorded_at = ");
        out.push_bind_param::<BigInt, i64>(&self.2)?;
        out.push_sql(" WHERE site_id = ");
        out.push_bind_param::<Guid, SiteId>(&self.0)
    }
}

impl QueryFragment<Sqlite> for SetLevel {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let LevelRow { id, available, revision, last_sequence } = &self.0;
        out.push_sql("UPDATE level SET available = ");
        out.push_bind_param::<BigInt, i64>(available)?;
        out.push_sql(", revision = ");
        out.push_bind_param::<BigInt, i64>(revision)?;
        out.push_sql(", last_sequence = ");
        out.push_bind_param::<BigInt, i64>(last_sequence)?;
        out.push_sql(" WHERE level_id = ");
        out.push_bind_param::<Guid, LevelId>(id)
    }
}

impl RunQueryDsl<SqliteConnection> for SetSequence {}
impl RunQueryDsl<SqliteConnection> for SetLevel {}

/// Writes the outcomes of requests; false if one of them is a replay.
pub(super) fn write_requests(connection: &mut SqliteConnection, writes: &Writes) -> QueryResult<bool> {
    for request in &writes.requests {
        if insert::<IGNORE>(connection, RequestRow::from(request))? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes sequence numbers and times, units, and levels. A unit that is stored already keeps its settings.
pub(super) fn write_levels(connection: &mut SqliteConnection, writes: &Writes) -> QueryResult<()> {
    for site in writes.sites.iter().filter(|site| site.changes()) {
        let SiteWrite { before, sequence, recorded_at } = site;
        SetSequence(before.id, *sequence, *recorded_at).execute(connection)?;
    }
    for unit in &writes.stocked_units {
        insert::<STOCK>(connection, UnitRow::from(unit))?;
    }
    for unit in &writes.new_units {
        insert::<IGNORE>(connection, UnitRow::from(unit))?;
    }
    for level in &writes.new_levels {
        insert::<FAIL>(connection, NewLevelRow::from(level))?;
    }
    for (_, row) in &writes.levels {
        SetLevel(*row).execute(connection)?;
    }
    Ok(())
}

/// Writes changes, entries and waypoints.
pub(super) fn write_ledger(connection: &mut SqliteConnection, writes: &Writes) -> QueryResult<()> {
    for change in &writes.changes {
        insert::<FAIL>(connection, ChangeRow::from(change))?;
    }
    for entry in &writes.entries {
        insert::<FAIL>(connection, LedgerRow::from(entry))?;
    }
    for waypoint in &writes.waypoints {
        insert::<FAIL>(connection, WaypointRow::from(waypoint))?;
    }
    Ok(())
}

/// Writes the settings of units, and creates those that do not exist. SKUs may change hands among them.
pub(super) fn write_units(connection: &mut SqliteConnection, units: &[UnitWrite]) -> QueryResult<()> {
    for unit in units {
        diesel::update(table::table.find(unit.id)).set(table::sku.eq(None::<&str>)).execute(connection)?;
    }
    for unit in units {
        insert::<UPDATE>(connection, UnitRow::from(unit))?;
    }
    Ok(())
}
