//! The hot statements of Postgres, each a type, so that diesel prepares it once per connection.
//! Rows travel as arrays, one per column, in Postgres's binary form.

use std::marker::PhantomData;

use diesel::pg::{Pg, PgConnection};
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{Array, BigInt, Bool, HasSqlType, Nullable, SmallInt, Text};
use diesel::{QueryResult, RunQueryDsl};

use crate::ids::{Fingerprint, LevelId, LocationId, OrderId, RequestKey, SiteId, UnitId};
use crate::store::Guid;
use crate::store::batch::{EntryWrite, NewLevel, Writes};
use crate::store::rows::StoredRequest;

/// One array parameter: the values of a column, and their SQL type.
pub(crate) struct Column<ST, T>(Vec<T>, PhantomData<ST>);

impl<ST, T> FromIterator<T> for Column<ST, T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self(values.into_iter().collect(), PhantomData)
    }
}

/// A column that few rows of few batches have anything in: where no row has, the array is empty, and
/// `unnest` pads it with NULL.
fn sparse<ST, T>(values: impl Iterator<Item = Option<T>> + Clone) -> Column<ST, Option<T>> {
    if values.clone().all(|value| value.is_none()) { [].into_iter().collect() } else { values.collect() }
}

impl<ST: 'static, T> Column<ST, T>
where
    Pg: HasSqlType<Array<ST>>,
    Vec<T>: ToSql<Array<ST>, Pg>,
{
    fn push<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_bind_param::<Array<ST>, Vec<T>>(&self.0)
    }
}

/// Declares a statement: its array parameters, the type of its rows, and its SQL, in which the
/// parameters stand by name between pieces of text.
macro_rules! statement {
    ($(#[$doc:meta])* $name:ident $(<$life:lifetime>)? ($($field:ident: $sql:ty, $rust:ty);+ $(;)?) -> $rows:ty {
        $($text:literal $($param:ident)?)+
    }) => {
        $(#[$doc])*
        pub(crate) struct $name $(<$life>)? { $($field: Column<$sql, $rust>),+ }

        // The derive would ask for a 'static lifetime, so the statement's identity is a type beside it.
        const _: () = {
            pub(crate) struct Identity;

            impl $(<$life>)? QueryId for $name $(<$life>)? {
                type QueryId = Identity;
                const HAS_STATIC_QUERY_ID: bool = true;
            }
        };

        impl $(<$life>)? QueryFragment<Pg> for $name $(<$life>)? {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                $(out.push_sql($text); $(self.$param.push(&mut out)?;)?)+
                Ok(())
            }
        }

        impl $(<$life>)? Query for $name $(<$life>)? {
            type SqlType = $rows;
        }

        impl $(<$life>)? RunQueryDsl<PgConnection> for $name $(<$life>)? {}
    };
}

statement! {
    /// Locks sites in the order of their ids, so that no two batches wait for each other.
    LockSites(sites: Guid, SiteId) -> (Guid, BigInt, Nullable<Guid>, Text, BigInt, SmallInt, SmallInt) {
        "SELECT site_id, sequence, default_location_id, option_keys, revision, suspected_repeats, over_returns FROM site \
         WHERE site_id = ANY(" sites ") ORDER BY site_id FOR UPDATE"
    }
}

statement! {
    /// Makes sites that do not exist yet.
    AddSites(sites: Guid, SiteId) -> () {
        "INSERT INTO site (site_id) SELECT unnest(" sites ") ON CONFLICT DO NOTHING"
    }
}

statement! {
    /// Levels by key, where they are stored; and how their units are counted, where not as all others.
    LoadLevels(levels: Guid, LevelId; units: Guid, UnitId) -> (
        Nullable<Guid>, Nullable<BigInt>, Nullable<BigInt>, Nullable<BigInt>,
        Nullable<Guid>, Nullable<SmallInt>, Nullable<BigInt>, Nullable<Bool>,
    ) {
        "SELECT level.level_id, available, revision, last_sequence, \
            unit.unit_id, tracking, backorder_limit, counts_subscriptions \
         FROM unnest(" levels "," units ") AS asked (level_id, unit_id) \
         LEFT JOIN level ON level.level_id = asked.level_id \
         LEFT JOIN unit ON unit.unit_id = asked.unit_id \
            AND (tracking <> 1 OR backorder_limit <> 0 OR NOT counts_subscriptions)"
    }
}

statement! {
    /// Entries of orders, at most so many of each, with the headers of their changes.
    LoadOrders(sites: Guid, SiteId; orders: Guid, OrderId; most: BigInt, i64) -> (
        (Guid, Guid),
        (BigInt, BigInt, SmallInt, SmallInt, Guid, Nullable<Guid>, Bool, Nullable<BigInt>, BigInt),
    ) {
        "SELECT asked.site_id, asked.order_id, part.* FROM unnest(" sites "," orders ") AS asked (site_id, order_id) \
         CROSS JOIN LATERAL ( \
            SELECT l.sequence, l.change_sequence, c.kind, c.reason, l.unit_id, l.location_id, l.subscription, l.asked, l.delta \
            FROM change c JOIN ledger l ON l.site_id = c.site_id AND l.sequence BETWEEN c.first_sequence AND c.last_sequence \
            WHERE c.site_id = asked.site_id AND c.order_id = asked.order_id LIMIT (" most ")[1] \
         ) AS part"
    }
}

statement! {
    /// Which orders have made a call that was answered without an entry.
    FindAnswered(sites: Guid, SiteId; orders: Guid, OrderId) -> (Guid, Guid) {
        "SELECT asked.site_id, asked.order_id FROM unnest(" sites "," orders ") AS asked (site_id, order_id) \
         WHERE EXISTS (SELECT FROM request r WHERE r.site_id = asked.site_id AND r.order_id = asked.order_id)"
    }
}

statement! {
    /// Recorded requests by key.
    FindRequests(sites: Guid, SiteId; keys: Guid, RequestKey)
        -> (Guid, Guid, Guid, BigInt, BigInt, Nullable<Text>)
    {
        "SELECT r.site_id, r.request_key, r.fingerprint, r.first_sequence, r.last_sequence, r.refusal \
         FROM unnest(" sites "," keys ") AS asked (site_id, request_key) \
         JOIN request r ON r.site_id = asked.site_id AND r.request_key = asked.request_key"
    }
}

statement! {
    /// The entries of spans of sequences, with their units, in order.
    LoadSpans(sites: Guid, SiteId; first: BigInt, i64; last: BigInt, i64)
        -> (Guid, BigInt, Text, Text, Text, Nullable<Guid>, BigInt)
    {
        "SELECT l.site_id, l.sequence, u.app_id, u.item_id, u.variant, l.location_id, l.level_after \
         FROM unnest(" sites "," first "," last ") AS span (site_id, first, last) \
         JOIN ledger l ON l.site_id = span.site_id AND l.sequence BETWEEN span.first AND span.last \
         JOIN unit u ON u.unit_id = l.unit_id ORDER BY l.site_id, l.sequence"
    }
}

statement! {
    /// Makes units that do not exist yet.
    AddUnits<'a>(units: Guid, UnitId; sites: Guid, SiteId; apps: Text, &'a str; items: Text, &'a str; variants: Text, &'a str)
        -> ()
    {
        "INSERT INTO unit (unit_id, site_id, app_id, item_id, variant) SELECT * FROM unnest("
        units "," sites "," apps "," items "," variants ") ON CONFLICT (unit_id) DO NOTHING"
    }
}

statement! {
    /// Makes levels.
    AddLevels(
        levels: Guid, LevelId; sites: Guid, SiteId; units: Guid, UnitId; locations: Nullable<Guid>, Option<LocationId>;
        available: BigInt, i64; revisions: BigInt, i64; sequences: BigInt, i64;
    ) -> () {
        "INSERT INTO level (level_id, site_id, unit_id, location_id, available, revision, last_sequence) \
         SELECT * FROM unnest("
        levels "," sites "," units "," locations "," available "," revisions "," sequences ")"
    }
}

statement! {
    /// Everything else that a batch writes, in one round trip: all of it where every site is as it
    /// was when the batch was decided, and every order that was taken to be new is, or else none of it.
    /// Tells whether the sites are, and whether the orders are. The primary key of the requests finds
    /// repeats without a look-up beforehand.
    WriteBatch<'a>(
        sites: Guid, SiteId; sites_before: BigInt, i64; sites_revision: BigInt, i64; sites_after: BigInt, i64;
        levels: Guid, LevelId; level_available: BigInt, i64; level_revisions: BigInt, i64; level_sequences: BigInt, i64;
        change_sites: Guid, SiteId; change_first: BigInt, i64; change_last: BigInt, i64;
        change_kinds: SmallInt, i16; change_reasons: SmallInt, i16; change_orders: Nullable<Guid>, Option<OrderId>;
        change_requests: Text, &'a str; change_actors: Text, &'a str; change_notes: Text, &'a str; change_time: BigInt, i64;
        entry_sites: Guid, SiteId; entry_sequences: BigInt, i64; entry_changes: BigInt, i64; entry_previous: BigInt, i64;
        entry_units: Guid, UnitId; entry_locations: Nullable<Guid>, Option<LocationId>; entry_deltas: BigInt, i64;
        entry_before: BigInt, i64; entry_after: BigInt, i64; entry_floors: Nullable<BigInt>, Option<i64>;
        entry_subscriptions: Bool, bool; entry_asked: Nullable<BigInt>, Option<i64>; entry_marks: Nullable<SmallInt>, Option<i16>;
        waypoint_levels: Guid, LevelId; waypoint_sequences: BigInt, i64;
        request_sites: Guid, SiteId; request_keys: Guid, RequestKey; request_fingerprints: Guid, Fingerprint;
        request_first: BigInt, i64; request_last: BigInt, i64; request_refusals: Nullable<Text>, Option<&'a str>;
        request_time: BigInt, i64; request_orders: Nullable<Guid>, Option<OrderId>;
        request_kinds: Nullable<SmallInt>, Option<i16>; request_reasons: Nullable<SmallInt>, Option<i16>;
        request_names: Nullable<Text>, Option<&'a str>; request_actors: Nullable<Text>, Option<&'a str>;
        new_order_sites: Guid, SiteId; new_orders: Guid, OrderId;
    ) -> (Bool, Bool) {
        "WITH new_sites AS ( \
            SELECT * FROM unnest(" sites "," sites_before "," sites_revision "," sites_after ") \
                AS new (site_id, before, revision, after) \
        ), locked AS ( \
            SELECT FROM new_sites new JOIN site ON site.site_id = new.site_id \
            WHERE site.sequence = new.before AND site.revision = new.revision FOR UPDATE OF site \
        ), found AS ( \
            SELECT (SELECT count(*) FROM locked) = (SELECT count(*) FROM new_sites) AS current, \
                NOT EXISTS (SELECT FROM unnest(" new_order_sites "," new_orders ") AS new (site_id, order_id) \
                    WHERE EXISTS (SELECT FROM change WHERE change.site_id = new.site_id AND change.order_id = new.order_id)) AS new \
        ), go AS ( \
            SELECT current AND new AS ahead FROM found \
        ), sites AS ( \
            UPDATE site SET sequence = new.after FROM new_sites new \
            WHERE site.site_id = new.site_id AND new.after > new.before AND (SELECT ahead FROM go) \
        ), levels AS ( \
            UPDATE level SET available = new.available, revision = new.revision, last_sequence = new.last_sequence \
            FROM unnest(" levels "," level_available "," level_revisions "," level_sequences ") \
                AS new (level_id, available, revision, last_sequence) \
            WHERE level.level_id = new.level_id AND (SELECT ahead FROM go) \
        ), changes AS ( \
            INSERT INTO change (site_id, first_sequence, last_sequence, kind, reason, order_id, request_id, actor, note, recorded_at) \
            SELECT *, (" change_time ")[1] FROM unnest("
                change_sites "," change_first "," change_last "," change_kinds "," change_reasons ","
                change_orders "," change_requests "," change_actors "," change_notes ") WHERE (SELECT ahead FROM go) \
        ), entries AS ( \
            INSERT INTO ledger (site_id, sequence, change_sequence, previous_sequence, unit_id, location_id, delta, level_before, level_after, floor, subscription, asked, marks) \
            SELECT * FROM unnest("
                entry_sites "," entry_sequences "," entry_changes "," entry_previous "," entry_units "," entry_locations ","
                entry_deltas "," entry_before "," entry_after "," entry_floors "," entry_subscriptions "," entry_asked "," entry_marks ") \
            WHERE (SELECT ahead FROM go) \
        ), waypoints AS ( \
            INSERT INTO waypoint (level_id, sequence) \
            SELECT * FROM unnest(" waypoint_levels "," waypoint_sequences ") WHERE (SELECT ahead FROM go) \
        ), requests AS ( \
            INSERT INTO request (site_id, request_key, fingerprint, first_sequence, last_sequence, refusal, \
                order_id, kind, reason, request_id, actor, recorded_at) \
            SELECT *, (" request_time ")[1] FROM unnest("
                request_sites "," request_keys "," request_fingerprints "," request_first "," request_last ","
                request_refusals "," request_orders "," request_kinds "," request_reasons "," request_names ","
                request_actors ") WHERE (SELECT ahead FROM go) \
        ) \
        SELECT current, new FROM found"
    }
}

impl LockSites {
    pub(crate) fn of(sites: &[SiteId]) -> Self {
        Self { sites: sites.iter().copied().collect() }
    }
}

impl AddSites {
    pub(crate) fn of(sites: &[SiteId]) -> Self {
        Self { sites: sites.iter().copied().collect() }
    }
}

impl LoadLevels {
    pub(crate) fn of(levels: &[(LevelId, UnitId)]) -> Self {
        Self {
            levels: levels.iter().map(|(level, _)| *level).collect(),
            units: levels.iter().map(|(_, unit)| *unit).collect(),
        }
    }
}

impl LoadOrders {
    pub(crate) fn of(orders: &[(SiteId, OrderId)], most: i64) -> Self {
        Self {
            sites: orders.iter().map(|(site, _)| *site).collect(),
            orders: orders.iter().map(|(_, order)| *order).collect(),
            most: std::iter::once(most).collect(),
        }
    }
}

impl FindAnswered {
    pub(crate) fn of(orders: &[(SiteId, OrderId)]) -> Self {
        Self {
            sites: orders.iter().map(|(site, _)| *site).collect(),
            orders: orders.iter().map(|(_, order)| *order).collect(),
        }
    }
}

impl FindRequests {
    pub(crate) fn of(requests: &[(SiteId, RequestKey)]) -> Self {
        Self {
            sites: requests.iter().map(|(site, _)| *site).collect(),
            keys: requests.iter().map(|(_, key)| *key).collect(),
        }
    }
}

impl LoadSpans {
    pub(crate) fn of(requests: &[StoredRequest]) -> Self {
        Self {
            sites: requests.iter().map(|request| request.site).collect(),
            first: requests.iter().map(|request| request.first_sequence).collect(),
            last: requests.iter().map(|request| request.last_sequence).collect(),
        }
    }
}

impl<'a> AddUnits<'a> {
    pub(crate) fn of(new: &'a [NewLevel]) -> Self {
        Self {
            units: new.iter().map(|new| new.unit_id).collect(),
            sites: new.iter().map(|new| new.site).collect(),
            apps: new.iter().map(|new| new.unit.app_id.as_str()).collect(),
            items: new.iter().map(|new| new.unit.item_id.as_str()).collect(),
            variants: new.iter().map(|new| new.unit.variant.as_str()).collect(),
        }
    }
}

impl AddLevels {
    pub(crate) fn of(new: &[NewLevel]) -> Self {
        Self {
            levels: new.iter().map(|new| new.write.level).collect(),
            sites: new.iter().map(|new| new.site).collect(),
            units: new.iter().map(|new| new.unit_id).collect(),
            locations: new.iter().map(|new| new.location).collect(),
            available: new.iter().map(|new| new.write.available).collect(),
            revisions: new.iter().map(|new| new.write.revision).collect(),
            sequences: new.iter().map(|new| new.write.last_sequence).collect(),
        }
    }
}

impl<'a> WriteBatch<'a> {
    pub(crate) fn of(writes: &'a Writes) -> Self {
        let Writes { recorded_at, sites, new_levels: _, levels, changes, entries, waypoints, requests, new_orders } =
            writes;
        let calls = requests.iter().map(|request| request.call.as_ref());
        Self {
            sites: sites.iter().map(|site| site.before.site).collect(),
            sites_before: sites.iter().map(|site| site.before.sequence).collect(),
            sites_revision: sites.iter().map(|site| site.before.settings.revision).collect(),
            sites_after: sites.iter().map(|site| site.sequence).collect(),
            levels: levels.iter().map(|(_, level)| level.level).collect(),
            level_available: levels.iter().map(|(_, level)| level.available).collect(),
            level_revisions: levels.iter().map(|(_, level)| level.revision).collect(),
            level_sequences: levels.iter().map(|(_, level)| level.last_sequence).collect(),
            change_sites: changes.iter().map(|change| change.site).collect(),
            change_first: changes.iter().map(|change| change.first_sequence).collect(),
            change_last: changes.iter().map(|change| change.last_sequence).collect(),
            change_kinds: changes.iter().map(|change| change.kind.code()).collect(),
            change_reasons: changes.iter().map(|change| change.reason.code()).collect(),
            change_orders: changes.iter().map(|change| change.order).collect(),
            change_requests: changes.iter().map(|change| change.request_id.as_str()).collect(),
            change_actors: changes.iter().map(|change| change.actor.as_str()).collect(),
            change_notes: changes.iter().map(|change| change.note.as_str()).collect(),
            change_time: std::iter::once(*recorded_at).collect(),
            entry_sites: entries.iter().map(|entry| entry.site).collect(),
            entry_sequences: entries.iter().map(|entry| entry.sequence).collect(),
            entry_changes: entries.iter().map(|entry| entry.change_sequence).collect(),
            entry_previous: entries.iter().map(|entry| entry.previous_sequence).collect(),
            entry_units: entries.iter().map(|entry| entry.unit_id).collect(),
            entry_locations: entries.iter().map(|entry| entry.location).collect(),
            entry_deltas: entries.iter().map(|entry| entry.delta).collect(),
            entry_before: entries.iter().map(|entry| entry.level_before).collect(),
            entry_after: entries.iter().map(|entry| entry.level_after).collect(),
            entry_floors: entries.iter().map(|entry| entry.floor).collect(),
            entry_subscriptions: entries.iter().map(|entry| entry.subscription).collect(),
            entry_asked: sparse(entries.iter().map(EntryWrite::stored_asked)),
            entry_marks: sparse(entries.iter().map(EntryWrite::stored_marks)),
            waypoint_levels: waypoints.iter().map(|(level, _)| *level).collect(),
            waypoint_sequences: waypoints.iter().map(|(_, sequence)| *sequence).collect(),
            request_sites: requests.iter().map(|request| request.site).collect(),
            request_keys: requests.iter().map(|request| request.key).collect(),
            request_fingerprints: requests.iter().map(|request| request.fingerprint).collect(),
            request_first: requests.iter().map(|request| request.first_sequence).collect(),
            request_last: requests.iter().map(|request| request.last_sequence).collect(),
            request_refusals: requests.iter().map(|request| request.refusal.as_deref()).collect(),
            request_time: std::iter::once(*recorded_at).collect(),
            request_orders: sparse(calls.clone().map(|call| Some(call?.order))),
            request_kinds: sparse(calls.clone().map(|call| Some(call?.kind.code()))),
            request_reasons: sparse(calls.clone().map(|call| Some(call?.reason.code()))),
            request_names: sparse(calls.clone().map(|call| Some(call?.request_id.as_str()))),
            request_actors: sparse(calls.map(|call| Some(call?.actor.as_str()))),
            new_order_sites: new_orders.iter().map(|(site, _)| *site).collect(),
            new_orders: new_orders.iter().map(|(_, order)| *order).collect(),
        }
    }
}
