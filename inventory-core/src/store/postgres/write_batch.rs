//! The one statement that writes a batch on Postgres.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::sql_types::Bool;

use super::standby::WAITS;
use super::statements::prepared;
use crate::engine::storage::Writes;
use crate::store::tables::{
    ChangeColumns, LedgerColumns, LevelStates, NewOrders, RequestColumns, SiteStates, WaypointColumns,
};

/// Everything that a batch writes but units and new levels, in one round trip. It takes the locks of the sites, so
/// outside of BEGIN and COMMIT it is a transaction of its own.
///
/// Either all is written, or nothing: if a site's sequence number or revision is not what it was when the batch was
/// decided, or its time is later than the batch's, or an order that was taken to be new is not. Its row says whether
/// the sites are current, whether the orders are new, and whether the commit waits for standbys. The primary key of
/// `request` finds replays, without a look before.
pub(super) struct WriteBatch<'a> {
    sites: SiteStates<'a>,
    levels: LevelStates<'a>,
    changes: ChangeColumns<'a>,
    entries: LedgerColumns<'a>,
    waypoints: WaypointColumns<'a>,
    requests: RequestColumns<'a>,
    new_orders: NewOrders<'a>,
}

prepared!(WriteBatch<'a> -> (Bool, Bool, Bool));

impl<'a> WriteBatch<'a> {
    pub(super) fn of(writes: &'a Writes) -> Self {
        let Writes {
            sites,
            new_units: _,
            stocked_units: _,
            new_levels: _,
            levels,
            changes,
            entries,
            waypoints,
            requests,
            new_orders,
        } = writes;
        Self {
            sites: SiteStates::of(sites.iter()),
            levels: LevelStates::of(levels.iter()),
            changes: ChangeColumns::of(changes.iter()),
            entries: LedgerColumns::of(entries.iter()),
            waypoints: WaypointColumns::of(waypoints.iter()),
            requests: RequestColumns::of(requests.iter()),
            new_orders: NewOrders::of(new_orders.iter()),
        }
    }
}

impl QueryFragment<Pg> for WriteBatch<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH new_sites AS (");
        self.sites.push_select(&mut out)?;
        out.push_sql(
            "), locked AS ( \
                SELECT FROM new_sites new JOIN site ON site.site_id = new.site_id \
                WHERE site.sequence = new.before AND site.revision = new.revision \
                    AND site.recorded_at <= new.recorded_at FOR UPDATE OF site \
            ), new_orders AS (",
        );
        self.new_orders.push_select(&mut out)?;
        // OFFSET 0: each new order is looked up by its key, whatever Postgres knows of `change` (see `statements`).
        out.push_sql(
            "), found AS ( \
                SELECT (SELECT count(*) FROM locked) = (SELECT count(*) FROM new_sites) AS current, \
                    NOT EXISTS (SELECT FROM new_orders new WHERE EXISTS (SELECT FROM change \
                        WHERE change.site_id = new.site_id AND change.order_id = new.order_id OFFSET 0)) AS new \
            ), go AS ( \
                SELECT current AND new AS ahead FROM found \
            ), sites AS ( \
                UPDATE site SET sequence = new.after, recorded_at = new.recorded_at FROM new_sites new \
                WHERE site.site_id = new.site_id AND (SELECT ahead FROM go) \
                    AND (new.after > new.before OR new.recorded_at > site.recorded_at) \
            ), levels AS ( \
                UPDATE level SET available = new.available, revision = new.revision, \
                    last_sequence = new.last_sequence FROM (",
        );
        self.levels.push_select(&mut out)?;
        out.push_sql(") AS new WHERE level.level_id = new.level_id AND (SELECT ahead FROM go)), ");
        out.push_sql("changes AS (INSERT INTO change (");
        ChangeColumns::push_names(&mut out);
        out.push_sql(") ");
        self.changes.push_select(&mut out)?;
        out.push_sql(" WHERE (SELECT ahead FROM go)), entries AS (INSERT INTO ledger (");
        LedgerColumns::push_names(&mut out);
        out.push_sql(") ");
        self.entries.push_select(&mut out)?;
        out.push_sql(" WHERE (SELECT ahead FROM go)), waypoints AS (INSERT INTO waypoint (");
        WaypointColumns::push_names(&mut out);
        out.push_sql(") ");
        self.waypoints.push_select(&mut out)?;
        out.push_sql(" WHERE (SELECT ahead FROM go)), requests AS (INSERT INTO request (");
        RequestColumns::push_names(&mut out);
        out.push_sql(") ");
        self.requests.push_select(&mut out)?;
        out.push_sql(" WHERE (SELECT ahead FROM go)) SELECT current, new, ");
        out.push_sql(WAITS);
        out.push_sql(" FROM found");
        Ok(())
    }
}
