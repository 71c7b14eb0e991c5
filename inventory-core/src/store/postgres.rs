//! The batch's statements on Postgres: one round trip each, whatever the size of the batch.
//!
//! What was measured on Postgres 15 and is kept here: the hot rows are addressed by a
//! single-column unique key, plans that scan are forbidden on this connection, and a generic plan
//! is made at once, so that a statement prepared on empty tables is as good on full ones.

use std::collections::HashMap;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};

use crate::error::StoreError;
use crate::ids::{LevelId, LocationId, OrderId, RequestKey, SiteId, UnitId};
use crate::order::OrderPast;
use crate::site::{Place, SiteSettings};
use crate::store::batch::{
    BatchStore, CommitError, LevelRow, LoadedLevels, PrunedTo, RecordedRow, SiteRow, Writes, Written,
};
use crate::store::faults::{classify, classify_at_once, classify_commit};
use crate::store::orders::{PARTS_MAX, StoredPart, order_past};
use crate::store::postgres_statements::{
    AddLevels, AddSites, AddUnits, FindAnswered, FindRequests, LoadLevels, LoadOrders, LoadSpans, LockSites, WriteBatch,
};
use crate::store::{rows, units};
use crate::unit::{SettledUnit, UnitSettings};

/// Settings of the writer's session. A statement or a lock that hangs ends as an error, not as a
/// writer that waits for ever.
const SESSION: &str = "SET enable_seqscan = off; SET enable_bitmapscan = off; \
    SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; \
    SET plan_cache_mode = force_generic_plan; \
    SET statement_timeout = '20s'; SET idle_in_transaction_session_timeout = '60s'";

/// A level, where it is stored, and how its unit is counted, where not as all others.
type LevelColumns =
    (Option<LevelId>, Option<i64>, Option<i64>, Option<i64>, Option<UnitId>, Option<i16>, Option<i64>, Option<bool>);

/// The writer's connection to Postgres.
pub(crate) struct PostgresBatch {
    url: String,
    connection: Option<PgConnection>,
}

impl PostgresBatch {
    pub(crate) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), connection: None }
    }

    /// Runs `statement` on the connection and sorts its error.
    fn run<T>(&mut self, statement: impl FnOnce(&mut PgConnection) -> QueryResult<T>) -> Result<T, StoreError> {
        let connection = self.connection.as_mut().ok_or_else(|| StoreError::Gone("not connected".into()))?;
        statement(connection).map_err(|error| classify(connection, error))
    }
}

impl BatchStore for PostgresBatch {
    fn connect(&mut self) -> Result<(), StoreError> {
        self.connection = None;
        let mut connection = PgConnection::establish(&self.url).map_err(|error| StoreError::Gone(Box::new(error)))?;
        connection.batch_execute(SESSION).map_err(|error| StoreError::Gone(Box::new(error)))?;
        self.connection = Some(connection);
        Ok(())
    }

    fn begin(&mut self, sites: &[SiteId]) -> Result<Vec<SiteRow>, StoreError> {
        let found = self.run(|connection| {
            connection.batch_execute("BEGIN")?;
            let found = LockSites::of(sites).load::<rows::StoredSite>(connection)?;
            if found.len() == sites.len() {
                return Ok(found);
            }
            AddSites::of(sites).execute(connection)?;
            LockSites::of(sites).load(connection)
        })?;
        found.into_iter().map(SiteRow::try_from).collect()
    }

    fn levels(&mut self, levels: &[(LevelId, UnitId)]) -> Result<LoadedLevels, StoreError> {
        let found: Vec<LevelColumns> = self.run(|connection| LoadLevels::of(levels).load(connection))?;
        let mut loaded = LoadedLevels::default();
        for (level, available, revision, last_sequence, unit, tracking, limit, subscriptions) in found {
            // A join gives all columns of a table, or none.
            if let (Some(level), Some(available), Some(revision), Some(last_sequence)) =
                (level, available, revision, last_sequence)
            {
                loaded.rows.push(LevelRow { level, available, revision, last_sequence });
            }
            if let (Some(unit), Some(tracking), Some(limit), Some(subscriptions)) =
                (unit, tracking, limit, subscriptions)
            {
                loaded.rules.push((unit, units::stored_rules(tracking, limit, subscriptions)?));
            }
        }
        Ok(loaded)
    }

    fn orders(&mut self, orders: &[(SiteId, OrderId)]) -> Result<Vec<OrderPast>, StoreError> {
        let load = LoadOrders::of(orders, PARTS_MAX);
        let found: Vec<((SiteId, OrderId), StoredPart)> = self.run(|connection| load.load(connection))?;
        let mut parts: HashMap<(SiteId, OrderId), Vec<StoredPart>> = HashMap::new();
        for (order, part) in found {
            parts.entry(order).or_default().push(part);
        }
        let unseen: Vec<_> = orders.iter().copied().filter(|order| !parts.contains_key(order)).collect();
        let mut answered: Vec<(SiteId, OrderId)> = Vec::new();
        if !unseen.is_empty() {
            answered = self.run(|connection| FindAnswered::of(&unseen).load(connection))?;
        }
        let past = |order| order_past(parts.remove(order).unwrap_or_default(), answered.contains(order));
        orders.iter().map(past).collect()
    }

    fn unit(&mut self, unit: UnitId) -> Result<Option<UnitSettings>, StoreError> {
        self.run(|connection| units::find_unit!(connection, unit))?.map(UnitSettings::try_from).transpose()
    }

    fn unit_of_sku(&mut self, site: SiteId, sku: &str) -> Result<Option<SettledUnit>, StoreError> {
        self.run(|connection| units::unit_of_sku!(connection, site, sku))?.map(units::settled).transpose()
    }

    fn write_unit(&mut self, site: SiteId, place: &Place, settings: &UnitSettings) -> Result<(), StoreError> {
        self.run(|connection| units::write_unit!(connection, site, place, settings))
    }

    fn recorded(&mut self, requests: &[(SiteId, RequestKey)]) -> Result<Vec<RecordedRow>, StoreError> {
        let find = FindRequests::of(requests);
        let found: Vec<rows::StoredRequest> = self.run(|connection| find.load(connection))?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let spans = LoadSpans::of(&found);
        let entries: Vec<rows::StoredSpan> = self.run(|connection| spans.load(connection))?;
        rows::join_recorded(found, entries)
    }

    fn level_at(&mut self, site: SiteId, level: LevelId, head: i64, sequence: i64) -> Result<i64, StoreError> {
        self.run(|connection| rows::level_at!(connection, site, level, head, sequence))
    }

    fn location_in_use(&mut self, site: SiteId, location: LocationId) -> Result<bool, StoreError> {
        self.run(|connection| rows::location_in_use!(connection, site, location))
    }

    fn write_settings(&mut self, site: SiteId, settings: &SiteSettings) -> Result<(), StoreError> {
        self.run(|connection| rows::write_settings!(connection, site, settings))
    }

    fn prune(&mut self, after: PrunedTo, before: i64) -> Result<Option<PrunedTo>, StoreError> {
        self.run(|connection| rows::prune_requests!(connection, after, before))
    }

    fn write(&mut self, writes: &Writes) -> Result<Written, StoreError> {
        self.run(|connection| {
            if !writes.new_levels.is_empty() {
                AddUnits::of(&writes.new_levels).execute(connection)?;
                AddLevels::of(&writes.new_levels).execute(connection)?;
            }
            write_batch(connection, writes)
        })
    }

    fn write_at_once(&mut self, writes: &Writes) -> Result<Written, CommitError> {
        let Some(connection) = self.connection.as_mut() else {
            return Err(CommitError::NotCommitted(StoreError::Gone("not connected".into())));
        };
        // Outside of BEGIN and COMMIT, one statement is one transaction.
        write_batch(connection, writes).map_err(|error| classify_at_once(connection, error))
    }

    fn commit(&mut self) -> Result<(), CommitError> {
        let Some(connection) = self.connection.as_mut() else {
            return Err(CommitError::Unknown(StoreError::Gone("not connected".into())));
        };
        connection.batch_execute("COMMIT").map_err(classify_commit)
    }

    fn rollback(&mut self) -> Result<(), StoreError> {
        self.run(|connection| connection.batch_execute("ROLLBACK"))
    }
}

/// Everything but new levels, in one statement. It takes the sites' locks, so it can stand alone.
fn write_batch(connection: &mut PgConnection, writes: &Writes) -> QueryResult<Written> {
    match WriteBatch::of(writes).get_result::<(bool, bool)>(connection) {
        Ok((true, true)) => Ok(Written::All),
        Ok((true, false)) => Ok(Written::OrderFound),
        Ok((false, _)) => Ok(Written::Outdated),
        Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, told))
            if told.constraint_name() == Some("request_pkey") =>
        {
            Ok(Written::RepeatFound)
        }
        Err(error) => Err(error),
    }
}
