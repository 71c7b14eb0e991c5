//! The statements of the writer on Postgres. Each is a type, so that diesel prepares it once per connection. Rows
//! travel as arrays, one for each column.
//!
//! Postgres plans a prepared statement once, by what it knows of the tables then: much, little, or of only some of
//! them. It must not turn a join around, and read a whole table for each row that is asked for. So what is asked for
//! drives every look-up: a `LATERAL` subquery with `OFFSET 0`, which the planner leaves as it is, finds the rows by
//! their key.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::sql_types::{BigInt, Bool, Nullable, SmallInt, Text};

use crate::engine::storage::{NewLevel, SiteSku, UnitWrite};
use crate::model::ids::{LevelId, OrderId, RequestKey, SiteId, UnitId};
use crate::model::order::OrderKey;
use crate::model::unit::Sku;
use crate::store::describe::Column;
use crate::store::guid::Guid;
use crate::store::records::RequestRecord;
use crate::store::tables::{LevelColumns, UnitColumns};

/// Makes a type a statement that diesel prepares once, and names the SQL type of its rows.
macro_rules! prepared {
    ($name:ident $(<$life:lifetime>)? -> $rows:ty) => {
        // The derive would ask for a 'static lifetime, so the statement's identity is a type beside it.
        const _: () = {
            pub(crate) struct Identity;

            impl $(<$life>)? diesel::query_builder::QueryId for $name $(<$life>)? {
                type QueryId = Identity;
                const HAS_STATIC_QUERY_ID: bool = true;
            }
        };

        impl $(<$life>)? diesel::query_builder::Query for $name $(<$life>)? {
            type SqlType = $rows;
        }

        impl $(<$life>)? diesel::RunQueryDsl<diesel::pg::PgConnection> for $name $(<$life>)? {}
    };
}

pub(super) use prepared;

/// Declares a statement: its array parameters, the SQL type of its rows, and its text, in which the parameters stand
/// by name between pieces of SQL.
macro_rules! statement {
    ($(#[$doc:meta])* $name:ident $(<$life:lifetime>)? ($($field:ident: $sql:ty, $rust:ty);+ $(;)?) -> $rows:ty {
        $($text:literal $($param:ident)?)+
    }) => {
        $(#[$doc])*
        pub(super) struct $name $(<$life>)? { $($field: Column<$sql, $rust>),+ }

        prepared!($name $(<$life>)? -> $rows);

        impl $(<$life>)? QueryFragment<Pg> for $name $(<$life>)? {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                $(out.push_sql($text); $(self.$param.push(&mut out)?;)?)+
                Ok(())
            }
        }
    };
}

/// The SQL type of a row of `site`.
type SiteType = (Guid, BigInt, Nullable<Guid>, Text, BigInt, SmallInt, SmallInt, BigInt);

statement! {
    /// Locks sites in the order of their ids, so that no two batches wait for each other.
    LockSites(sites: Guid, SiteId) -> SiteType {
        "SELECT site_id, sequence, default_location_id, catalogs, revision, suspected_repeats, over_returns, \
            recorded_at \
         FROM site WHERE site_id = ANY(" sites ") ORDER BY site_id FOR UPDATE"
    }
}

statement! {
    /// Sites that another transaction holds. Locks the others.
    LockedSites(sites: Guid, SiteId) -> Guid {
        "WITH free AS MATERIALIZED ( \
            SELECT site_id FROM site WHERE site_id = ANY(" sites ") ORDER BY site_id FOR UPDATE SKIP LOCKED \
         ) SELECT site_id FROM site WHERE site_id = ANY(" sites ") AND site_id NOT IN (SELECT site_id FROM free)"
    }
}

statement! {
    /// Creates sites that do not exist yet.
    AddSites(sites: Guid, SiteId) -> () {
        "INSERT INTO site (site_id) SELECT unnest(" sites ") ON CONFLICT DO NOTHING"
    }
}

statement! {
    /// Units by SKU.
    FindSkus<'a>(sites: Guid, SiteId; skus: Text, &'a str) -> (Guid, Text, (Text, Text, Text)) {
        "SELECT asked.site_id, asked.sku, u.app_id, u.item_id, u.variant \
         FROM unnest(" sites ", " skus ") AS asked (site_id, sku) \
         CROSS JOIN LATERAL ( \
            SELECT app_id, item_id, variant FROM unit \
            WHERE unit.site_id = asked.site_id AND unit.sku = asked.sku OFFSET 0 \
         ) AS u"
    }
}

statement! {
    /// Entries of orders, at most so many of each, with the headers of their changes. What an order holds by archived
    /// entries stands before them, as if one decrement without a reason had taken it. One statement sees both as of one
    /// moment, while entries are archived.
    LoadOrders(sites: Guid, SiteId; orders: Guid, OrderId; most: BigInt, i64) -> (
        (Guid, Guid),
        (BigInt, BigInt, SmallInt, SmallInt, Guid, Nullable<Guid>, Bool, Nullable<BigInt>, BigInt, Nullable<SmallInt>),
    ) {
        "SELECT asked.site_id, asked.order_id, part.* \
         FROM unnest(" sites ", " orders ") AS asked (site_id, order_id) \
         CROSS JOIN LATERAL ( \
            (SELECT l.sequence, l.change_sequence, c.kind, c.reason, l.unit_id, l.location_id, l.subscription, \
                l.asked, l.delta, l.marks \
            FROM ( \
                SELECT first_sequence, last_sequence, kind, reason FROM change \
                WHERE change.site_id = asked.site_id AND change.order_id = asked.order_id OFFSET 0 \
            ) AS c CROSS JOIN LATERAL ( \
                SELECT sequence, change_sequence, unit_id, location_id, subscription, asked, delta, marks FROM ledger \
                WHERE ledger.site_id = asked.site_id \
                    AND ledger.sequence BETWEEN c.first_sequence AND c.last_sequence OFFSET 0 \
            ) AS l LIMIT (" most ")[1]) \
            UNION ALL \
            SELECT 0::bigint, 0::bigint, 1::smallint, 0::smallint, level.unit_id, level.location_id, false, \
                NULL::bigint, h.returned - h.taken, NULL::smallint \
            FROM ( \
                SELECT level_id, taken, returned FROM holding \
                WHERE holding.site_id = asked.site_id AND holding.order_id = asked.order_id OFFSET 0 \
            ) AS h CROSS JOIN LATERAL ( \
                SELECT unit_id, location_id FROM level WHERE level.level_id = h.level_id OFFSET 0 \
            ) AS level \
         ) AS part"
    }
}

statement! {
    /// Orders that made a call without an entry.
    FindAnswered(sites: Guid, SiteId; orders: Guid, OrderId) -> (Guid, Guid) {
        "SELECT asked.site_id, asked.order_id FROM unnest(" sites ", " orders ") AS asked (site_id, order_id) \
         WHERE EXISTS ( \
            SELECT FROM request r WHERE r.site_id = asked.site_id AND r.order_id = asked.order_id OFFSET 0 \
         )"
    }
}

statement! {
    /// Recorded requests by key.
    FindRequests(sites: Guid, SiteId; keys: Guid, RequestKey)
        -> (Guid, Guid, Guid, BigInt, BigInt, Nullable<Text>)
    {
        "SELECT asked.site_id, asked.request_key, r.fingerprint, r.first_sequence, r.last_sequence, r.refusal \
         FROM unnest(" sites ", " keys ") AS asked (site_id, request_key) \
         CROSS JOIN LATERAL ( \
            SELECT fingerprint, first_sequence, last_sequence, refusal FROM request \
            WHERE request.site_id = asked.site_id AND request.request_key = asked.request_key OFFSET 0 \
         ) AS r"
    }
}

statement! {
    /// The entries of spans of sequence numbers, with their units, in order.
    LoadSpans(sites: Guid, SiteId; first: BigInt, i64; last: BigInt, i64)
        -> (Guid, BigInt, (Text, Text, Text), Nullable<Guid>, BigInt)
    {
        "SELECT span.site_id, l.sequence, u.app_id, u.item_id, u.variant, l.location_id, l.level_after \
         FROM unnest(" sites ", " first ", " last ") AS span (site_id, first, last) \
         CROSS JOIN LATERAL ( \
            SELECT sequence, unit_id, location_id, level_after FROM ledger \
            WHERE ledger.site_id = span.site_id AND ledger.sequence BETWEEN span.first AND span.last OFFSET 0 \
         ) AS l CROSS JOIN LATERAL ( \
            SELECT app_id, item_id, variant FROM unit WHERE unit.unit_id = l.unit_id OFFSET 0 \
         ) AS u ORDER BY span.site_id, l.sequence"
    }
}

statement! {
    /// Takes their SKUs from units, so that SKUs can change hands in the statement after it.
    ReleaseSkus(units: Guid, UnitId) -> () {
        "UPDATE unit SET sku = NULL WHERE unit_id = ANY(" units ")"
    }
}

/// Levels by key, if they are stored, and their units, if they are stored.
pub(super) struct LoadLevels {
    levels: Column<Guid, LevelId>,
    units: Column<Guid, UnitId>,
}

/// The columns of `StateRecord`, in its order.
type StateType = (Nullable<SmallInt>, Nullable<BigInt>, Nullable<Bool>, Nullable<BigInt>, Nullable<BigInt>, Bool);

prepared!(LoadLevels -> (
    Guid,
    (Nullable<Guid>, Nullable<BigInt>, Nullable<BigInt>, Nullable<BigInt>),
    Nullable<StateType>,
));

impl QueryFragment<Pg> for LoadLevels {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "SELECT asked.unit_id, level.level_id, available, revision, last_sequence, \
                tracking, backorder_limit, counts_subscriptions, sell_from, sell_until, stocked FROM unnest(",
        );
        self.levels.push(&mut out)?;
        out.push_sql(", ");
        self.units.push(&mut out)?;
        out.push_sql(
            ") AS asked (level_id, unit_id) \
             LEFT JOIN LATERAL ( \
                SELECT level_id, available, revision, last_sequence FROM level \
                WHERE level.level_id = asked.level_id OFFSET 0 \
             ) AS level ON true LEFT JOIN LATERAL ( \
                SELECT tracking, backorder_limit, counts_subscriptions, sell_from, sell_until, stocked FROM unit \
                WHERE unit.unit_id = asked.unit_id OFFSET 0 \
             ) AS unit ON true",
        );
        Ok(())
    }
}

/// Creates units that do not exist yet.
pub(super) struct AddUnits<'a>(UnitColumns<'a>);

prepared!(AddUnits<'a> -> ());

impl QueryFragment<Pg> for AddUnits<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("INSERT INTO unit (");
        UnitColumns::push_names(&mut out);
        out.push_sql(") ");
        self.0.push_select(&mut out)?;
        out.push_sql(" ON CONFLICT (unit_id) DO NOTHING");
        Ok(())
    }
}

/// Stocks units, and creates those that do not exist yet.
pub(super) struct StockUnits<'a>(UnitColumns<'a>);

prepared!(StockUnits<'a> -> ());

impl QueryFragment<Pg> for StockUnits<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("INSERT INTO unit (");
        UnitColumns::push_names(&mut out);
        out.push_sql(") ");
        self.0.push_select(&mut out)?;
        out.push_sql(" ON CONFLICT (unit_id) DO UPDATE SET stocked = true");
        Ok(())
    }
}

/// Creates levels.
pub(super) struct AddLevels<'a>(LevelColumns<'a>);

prepared!(AddLevels<'a> -> ());

impl QueryFragment<Pg> for AddLevels<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("INSERT INTO level (");
        LevelColumns::push_names(&mut out);
        out.push_sql(") ");
        self.0.push_select(&mut out)
    }
}

/// Writes the settings of units, and creates those that do not exist.
pub(super) struct WriteUnits<'a>(UnitColumns<'a>);

prepared!(WriteUnits<'a> -> ());

impl QueryFragment<Pg> for WriteUnits<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("INSERT INTO unit (");
        UnitColumns::push_names(&mut out);
        out.push_sql(") ");
        self.0.push_select(&mut out)?;
        UnitColumns::push_update(&mut out);
        Ok(())
    }
}

impl LockSites {
    pub(super) fn of(sites: &[SiteId]) -> Self {
        Self { sites: sites.iter().copied().collect() }
    }
}

impl LockedSites {
    pub(super) fn of(sites: &[SiteId]) -> Self {
        Self { sites: sites.iter().copied().collect() }
    }
}

impl AddSites {
    pub(super) fn of(sites: &[SiteId]) -> Self {
        Self { sites: sites.iter().copied().collect() }
    }
}

impl<'a> FindSkus<'a> {
    pub(super) fn of(skus: &'a [SiteSku]) -> Self {
        let (sites, skus) = (skus.iter().map(|(site, _)| *site), skus.iter().map(|(_, sku)| sku));
        Self { sites: sites.collect(), skus: skus.map(Sku::as_str).collect() }
    }
}

impl LoadLevels {
    pub(super) fn of(levels: &[(LevelId, UnitId)]) -> Self {
        Self {
            levels: levels.iter().map(|(level, _)| *level).collect(),
            units: levels.iter().map(|(_, unit)| *unit).collect(),
        }
    }
}

impl LoadOrders {
    pub(super) fn of(orders: &[OrderKey], most: i64) -> Self {
        Self {
            sites: orders.iter().map(|(site, _)| *site).collect(),
            orders: orders.iter().map(|(_, order)| *order).collect(),
            most: std::iter::once(most).collect(),
        }
    }
}

impl FindAnswered {
    pub(super) fn of(orders: &[OrderKey]) -> Self {
        Self {
            sites: orders.iter().map(|(site, _)| *site).collect(),
            orders: orders.iter().map(|(_, order)| *order).collect(),
        }
    }
}

impl FindRequests {
    pub(super) fn of(requests: &[(SiteId, RequestKey)]) -> Self {
        Self {
            sites: requests.iter().map(|(site, _)| *site).collect(),
            keys: requests.iter().map(|(_, key)| *key).collect(),
        }
    }
}

impl LoadSpans {
    pub(super) fn of(requests: &[RequestRecord]) -> Self {
        Self {
            sites: requests.iter().map(|request| request.site_id).collect(),
            first: requests.iter().map(|request| request.first_sequence).collect(),
            last: requests.iter().map(|request| request.last_sequence).collect(),
        }
    }
}

impl ReleaseSkus {
    pub(super) fn of(units: &[UnitWrite]) -> Self {
        Self { units: units.iter().map(|unit| unit.id).collect() }
    }
}

impl<'a> WriteUnits<'a> {
    pub(super) fn of(units: &'a [UnitWrite]) -> Self {
        Self(UnitColumns::of(units.iter()))
    }
}

impl<'a> AddUnits<'a> {
    pub(super) fn of(new: &'a [UnitWrite]) -> Self {
        Self(UnitColumns::of(new.iter()))
    }
}

impl<'a> StockUnits<'a> {
    pub(super) fn of(stocked: &'a [UnitWrite]) -> Self {
        Self(UnitColumns::of(stocked.iter()))
    }
}

impl<'a> AddLevels<'a> {
    pub(super) fn of(new: &'a [NewLevel]) -> Self {
        Self(LevelColumns::of(new.iter()))
    }
}
