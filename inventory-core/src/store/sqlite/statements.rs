//! The statements that write a batch on SQLite, row by row.

use std::marker::PhantomData;

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, Nullable, SmallInt};
use diesel::sqlite::{Sqlite, SqliteConnection};

use crate::engine::storage::faults::{Faults, Statement};
use crate::engine::storage::{LevelRow, SiteWrite, UnitWrite, Writes, Written};
use crate::model::ids::{LevelId, OrderId, SiteId};
use crate::store::describe::SqliteRow;
use crate::store::faults::step;
use crate::store::guid::Guid;
use crate::store::tables::{
    ChangeRow, LedgerRow, NewLevelRow, RequestRow, UnitRow, WaypointRow, change, unit as table,
};

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

/// The entries of an order, at most so many, with the headers of their changes. What it holds by archived entries
/// stands before them, as if one decrement without a reason had taken it. One statement sees both as of one moment,
/// while entries are archived.
#[derive(QueryId)]
pub(super) struct LoadOrder(pub(super) SiteId, pub(super) OrderId, pub(super) i64);

impl QueryFragment<Sqlite> for LoadOrder {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let Self(site, order, most) = self;
        out.push_sql(
            "SELECT * FROM (SELECT ledger.sequence, ledger.change_sequence, change.kind, change.reason, \
                ledger.unit_id, ledger.location_id, ledger.subscription, ledger.asked, ledger.delta, ledger.marks \
             FROM change JOIN ledger ON ledger.site_id = change.site_id \
                AND ledger.sequence BETWEEN change.first_sequence AND change.last_sequence \
             WHERE change.site_id = ",
        );
        out.push_bind_param::<Guid, SiteId>(site)?;
        out.push_sql(" AND change.order_id = ");
        out.push_bind_param::<Guid, OrderId>(order)?;
        out.push_sql(" LIMIT ");
        out.push_bind_param::<BigInt, i64>(most)?;
        out.push_sql(
            ") UNION ALL SELECT 0, 0, 1, 0, level.unit_id, level.location_id, 0, NULL, \
                holding.returned - holding.taken, NULL \
             FROM holding JOIN level ON level.level_id = holding.level_id WHERE holding.site_id = ",
        );
        out.push_bind_param::<Guid, SiteId>(site)?;
        out.push_sql(" AND holding.order_id = ");
        out.push_bind_param::<Guid, OrderId>(order)
    }
}

impl Query for LoadOrder {
    /// The columns of `PartRecord`, in its order.
    type SqlType =
        (BigInt, BigInt, SmallInt, SmallInt, Guid, Nullable<Guid>, Bool, Nullable<BigInt>, BigInt, Nullable<SmallInt>);
}

impl RunQueryDsl<SqliteConnection> for LoadOrder {}

/// Writes all of a batch, unless it turns out that it has to run again: then the transaction is to be rolled back.
pub(super) fn write_batch(connection: &mut SqliteConnection, faults: &Faults, writes: &Writes) -> QueryResult<Written> {
    for request in &writes.requests {
        let write = |c: &mut SqliteConnection| insert::<IGNORE>(c, RequestRow::from(request));
        if step(faults, Statement::WriteRequest, connection, write)? == 0 {
            return Ok(Written::ReplayFound);
        }
    }
    for &(site, order) in &writes.new_orders {
        let changes = change::table.filter(change::site_id.eq(site).and(change::order_id.eq(order)));
        let known = diesel::select(exists(changes));
        if step(faults, Statement::CheckOrder, connection, |c| known.get_result(c))? {
            return Ok(Written::OrderFound);
        }
    }
    let mut write = |statement, run: &dyn Fn(&mut SqliteConnection) -> QueryResult<usize>| {
        step(faults, statement, connection, run).map(drop)
    };
    for site in writes.sites.iter().filter(|site| site.changes()) {
        let SiteWrite { before, sequence, recorded_at } = site;
        write(Statement::SetSequence, &|c| SetSequence(before.id, *sequence, *recorded_at).execute(c))?;
    }
    for unit in &writes.stocked_units {
        write(Statement::StockUnits, &|c| insert::<STOCK>(c, UnitRow::from(unit)))?;
    }
    // A unit that is stored already keeps its settings.
    for unit in &writes.new_units {
        write(Statement::AddUnits, &|c| insert::<IGNORE>(c, UnitRow::from(unit)))?;
    }
    for level in &writes.new_levels {
        write(Statement::AddLevels, &|c| insert::<FAIL>(c, NewLevelRow::from(level)))?;
    }
    for (_, row) in &writes.levels {
        write(Statement::SetLevel, &|c| SetLevel(*row).execute(c))?;
    }
    for change in &writes.changes {
        write(Statement::WriteChange, &|c| insert::<FAIL>(c, ChangeRow::from(change)))?;
    }
    for entry in &writes.entries {
        write(Statement::WriteEntry, &|c| insert::<FAIL>(c, LedgerRow::from(entry)))?;
    }
    for waypoint in &writes.waypoints {
        write(Statement::WriteWaypoint, &|c| insert::<FAIL>(c, WaypointRow::from(waypoint)))?;
    }
    Ok(Written::All)
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
