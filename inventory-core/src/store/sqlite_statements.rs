//! What a batch writes on SQLite, row by row.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::BigInt;
use diesel::sqlite::{Sqlite, SqliteConnection};

use crate::ids::{LevelId, SiteId};
use crate::store::Guid;
use crate::store::batch::{CallWrite, LevelWrite, RequestWrite, SiteWrite, Writes};
use crate::store::schema::{change, ledger, level, request, unit, waypoint};

/// diesel prepares its own UPDATE anew each time, because what is set may differ from time to
/// time; these two never do, and parsing them was the larger part of their cost.
#[derive(QueryId)]
struct SetSequence(SiteId, i64);

#[derive(QueryId)]
struct SetLevel(LevelWrite);

impl QueryFragment<Sqlite> for SetSequence {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("UPDATE site SET sequence = ");
        out.push_bind_param::<BigInt, i64>(&self.1)?;
        out.push_sql(" WHERE site_id = ");
        out.push_bind_param::<Guid, SiteId>(&self.0)
    }
}

impl QueryFragment<Sqlite> for SetLevel {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let LevelWrite { level, available, revision, last_sequence } = &self.0;
        out.push_sql("UPDATE level SET available = ");
        out.push_bind_param::<BigInt, i64>(available)?;
        out.push_sql(", revision = ");
        out.push_bind_param::<BigInt, i64>(revision)?;
        out.push_sql(", last_sequence = ");
        out.push_bind_param::<BigInt, i64>(last_sequence)?;
        out.push_sql(" WHERE level_id = ");
        out.push_bind_param::<Guid, LevelId>(level)
    }
}

impl RunQueryDsl<SqliteConnection> for SetSequence {}
impl RunQueryDsl<SqliteConnection> for SetLevel {}

pub(crate) fn write_levels(connection: &mut SqliteConnection, writes: &Writes) -> QueryResult<()> {
    for SiteWrite { before, sequence } in &writes.sites {
        if *sequence > before.sequence {
            SetSequence(before.site, *sequence).execute(connection)?;
        }
    }
    for row in &writes.new_levels {
        let values = (
            unit::unit_id.eq(row.unit_id),
            unit::site_id.eq(row.site),
            unit::app_id.eq(&row.unit.app_id),
            unit::item_id.eq(&row.unit.item_id),
            unit::variant.eq(row.unit.variant.as_str()),
        );
        diesel::insert_into(unit::table).values(values).on_conflict(unit::unit_id).do_nothing().execute(connection)?;
        let values = (
            level::level_id.eq(row.write.level),
            level::site_id.eq(row.site),
            level::unit_id.eq(row.unit_id),
            level::location_id.eq(row.location),
            level::available.eq(row.write.available),
            level::revision.eq(row.write.revision),
            level::last_sequence.eq(row.write.last_sequence),
        );
        diesel::insert_into(level::table).values(values).execute(connection)?;
    }
    for (_, row) in &writes.levels {
        SetLevel(*row).execute(connection)?;
    }
    Ok(())
}

pub(crate) fn write_changes(connection: &mut SqliteConnection, writes: &Writes) -> QueryResult<()> {
    for row in &writes.changes {
        let values = (
            change::site_id.eq(row.site),
            change::first_sequence.eq(row.first_sequence),
            change::last_sequence.eq(row.last_sequence),
            change::kind.eq(row.kind.code()),
            change::reason.eq(row.reason.code()),
            change::order_id.eq(row.order),
            change::request_id.eq(&row.request_id),
            change::actor.eq(&row.actor),
            change::note.eq(&row.note),
            change::recorded_at.eq(writes.recorded_at),
        );
        diesel::insert_into(change::table).values(values).execute(connection)?;
    }
    for row in &writes.entries {
        let values = (
            ledger::site_id.eq(row.site),
            ledger::sequence.eq(row.sequence),
            ledger::change_sequence.eq(row.change_sequence),
            ledger::previous_sequence.eq(row.previous_sequence),
            ledger::unit_id.eq(row.unit_id),
            ledger::location_id.eq(row.location),
            ledger::delta.eq(row.delta),
            ledger::level_before.eq(row.level_before),
            ledger::level_after.eq(row.level_after),
            ledger::floor.eq(row.floor),
            ledger::subscription.eq(row.subscription),
        );
        let into = diesel::insert_into(ledger::table);
        // Each column that is bound costs a twelfth of an entry, and few entries have these.
        match (row.stored_asked(), row.stored_marks()) {
            (None, None) => into.values(values).execute(connection)?,
            (asked, marks) => {
                into.values((values, ledger::asked.eq(asked), ledger::marks.eq(marks))).execute(connection)?
            }
        };
    }
    for (level, sequence) in &writes.waypoints {
        let values = (waypoint::level_id.eq(level), waypoint::sequence.eq(sequence));
        diesel::insert_into(waypoint::table).values(values).execute(connection)?;
    }
    Ok(())
}

/// Writes the record of a request; 0 where it is recorded already.
pub(crate) fn write_request(
    connection: &mut SqliteConnection,
    row: &RequestWrite,
    recorded_at: i64,
) -> QueryResult<usize> {
    let values = (
        request::site_id.eq(row.site),
        request::request_key.eq(row.key),
        request::fingerprint.eq(row.fingerprint),
        request::first_sequence.eq(row.first_sequence),
        request::last_sequence.eq(row.last_sequence),
        request::refusal.eq(row.refusal.as_deref()),
        request::recorded_at.eq(recorded_at),
    );
    let (into, key) = (diesel::insert_into(request::table), (request::site_id, request::request_key));
    match &row.call {
        None => into.values(values).on_conflict(key).do_nothing().execute(connection),
        Some(CallWrite { order, kind, reason, request_id, actor }) => {
            let call = (
                request::order_id.eq(order),
                request::kind.eq(kind.code()),
                request::reason.eq(reason.code()),
                request::request_id.eq(request_id),
                request::actor.eq(actor),
            );
            into.values((values, call)).on_conflict(key).do_nothing().execute(connection)
        }
    }
}
