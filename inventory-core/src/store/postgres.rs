//! A writer on Postgres. Each of its statements is one round trip, however large the batch is.
//!
//! Measured on Postgres 15, and kept: hot rows are addressed by a single-column unique key; plans that scan are
//! forbidden on this connection; and a generic plan is made at once, so that a statement prepared on empty tables is
//! as good on full ones.

mod standby;
mod statements;
mod write_batch;

use std::collections::HashMap;
use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::{Bool, Text};

use self::statements::{
    AddLevels, AddSites, AddUnits, FindAnswered, FindRequests, FindSkus, LoadLevels, LoadOrders, LoadSpans, LockSites,
    LockedSites, ReleaseSkus, StockUnits, WriteUnits,
};
use self::write_batch::WriteBatch;
use crate::engine::storage::faults::{Faults, Statement};
use crate::engine::storage::{
    Age, BatchStore, CommitError, LevelRow, LoadedLevels, PruneCursor, RecordedRequest, Server, SiteSku, UnitWrite,
    Writes, Written,
};
use crate::model::access::{Token, TokenHash};
use crate::model::catalog::Unit;
use crate::model::error::{Cause, StoreError, Trouble};
use crate::model::ids::{LevelId, LocationId, RequestKey, SiteId, UnitId};
use crate::model::journal::SettingChange;
use crate::model::level::Past;
use crate::model::limits;
use crate::model::order::{OrderHistory, OrderKey};
use crate::model::site::Site;
use crate::model::unit::{Sku, UnitSettings};
use crate::store::classify::{classify, classify_autocommit, classify_commit, unreachable};
use crate::store::connection::AnyConnection;
use crate::store::faults::step;
use crate::store::readers::Reading;
use crate::store::records::{self, PartRecord, RequestRecord, SiteRecord, SpanRecord, StateRecord, UnitRecord};
use crate::store::{Open, access, age, chain, retention, shared};

/// Settings of every session: plans that scan are avoided, and a transaction that nobody ends is ended.
pub(crate) const SESSION: &str = "SET enable_seqscan = off; SET enable_bitmapscan = off; \
    SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; \
    SET plan_cache_mode = force_generic_plan; SET idle_in_transaction_session_timeout = '60s'";

/// Which running server it is. One that was restarted is another.
const SERVER: &str =
    "concat_ws(' ', inet_server_addr(), inet_server_port(), extract(epoch FROM pg_postmaster_start_time()))";

/// The key of a unit, its level, if that is stored, and the unit, if that is stored.
type LoadedLevel = (UnitId, (Option<LevelId>, Option<i64>, Option<i64>, Option<i64>), Option<StateRecord>);

/// Writes to the log, and waits for it as any commit does, the wait for a synchronous standby included. A message alone
/// would not notice that the session may not write.
const PROBE: &str = "CASE WHEN current_setting('transaction_read_only')::boolean THEN false \
    ELSE pg_logical_emit_message(true, 'inventory', 'probe') IS NOT NULL END";

/// A writer's connection to Postgres.
pub(crate) struct PostgresStore {
    url: String,
    how: Open,
    reading: Reading,
    connection: Option<PgConnection>,
    /// Whether a transaction may have begun: outside of one, Postgres warns of ROLLBACK in its log.
    begun: bool,
    /// Whether the connection's role may know what the standbys have.
    sees_standbys: bool,
    /// Whether the transaction's commit waits for standbys. If no statement has told, it may.
    waits: bool,
    faults: Faults,
}

impl PostgresStore {
    pub(crate) fn new(url: &str, how: Open, reading: Reading) -> Self {
        let faults = Faults::of(url);
        let (connection, begun, sees_standbys, waits) = (None, false, false, true);
        Self { url: url.to_owned(), how, reading, connection, begun, sees_standbys, waits, faults }
    }

    fn connection(&mut self) -> Result<&mut PgConnection, StoreError> {
        self.connection.as_mut().ok_or_else(|| StoreError::Gone(Trouble::ConnectionLost, "not connected".into()))
    }

    /// Runs statements on the connection, and classifies their error.
    fn run<T>(&mut self, statements: impl FnOnce(&mut PgConnection) -> QueryResult<T>) -> Result<T, StoreError> {
        let connection = self.connection()?;
        statements(connection).map_err(|error| classify(connection, error))
    }

    /// Runs one statement of a batch, and classifies its error.
    fn step<T>(
        &mut self,
        statement: Statement,
        run: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
    ) -> Result<T, StoreError> {
        let faults = self.faults.clone();
        self.run(|connection| step(&faults, statement, connection, run))
    }

    /// Finds out whether a commit that began at `started`, and has returned, is on the standbys that it waits for.
    fn confirm(&mut self, started: Instant) -> Result<(), CommitError> {
        if !self.waits && !self.faults.doubts_commit() {
            return Ok(());
        }
        let unknown = |cause: Cause| CommitError::Unknown(StoreError::Gone(Trouble::NotReplicated, cause));
        let (took, sees, faults) = (started.elapsed(), self.sees_standbys, self.faults.clone());
        let connection = self.connection().map_err(CommitError::Unknown)?;
        let ask = |connection: &mut PgConnection| standby::have_commit(connection, sees, took);
        match step(&faults, Statement::Confirm, connection, ask) {
            Ok(true) => Ok(()),
            Ok(false) => Err(unknown("the waits of two commits for the standby may have been cancelled".into())),
            Err(error) => Err(unknown(error.into())),
        }
    }

    /// The connection, for statements that both backends understand.
    fn shared(&mut self) -> Result<AnyConnection<'_>, StoreError> {
        self.connection().map(AnyConnection::Postgres)
    }
}

impl BatchStore for PostgresStore {
    fn connect(&mut self) -> Result<Server, StoreError> {
        (self.connection, self.begun) = (None, false);
        let mut connection = PgConnection::establish(&self.url)?;
        // A statement or a lock that hangs ends as an error, instead of a writer that waits for ever. A program that
        // hangs between two statements would keep the locks of its sites from other servers: Postgres ends its session.
        let (statement, idle) = (limits::STATEMENT_MS_MAX, limits::WRITER_IDLE_MS_MAX);
        let wait = limits::LOCK_WAIT_MS_MAX;
        let session = format!(
            "{SESSION}; SET statement_timeout = '{statement}ms'; SET lock_timeout = '{wait}ms'; \
             SET idle_in_transaction_session_timeout = '{idle}ms'"
        );
        connection.batch_execute(&session).map_err(unreachable)?;
        let about = diesel::select((sql::<Text>(SERVER), sql::<Bool>(standby::SEES)));
        let (server, sees) = about.get_result::<(String, bool)>(&mut connection).map_err(unreachable)?;
        if self.how == Open::ReadOnly {
            connection.batch_execute("SET default_transaction_read_only = on").map_err(unreachable)?;
        }
        (self.connection, self.sees_standbys) = (Some(connection), sees);
        Ok(Server(server))
    }

    fn adopted(&self, server: &Server) {
        self.reading.follow(server, &self.url);
    }

    fn another(&self) -> Option<Box<dyn BatchStore>> {
        Some(Box::new(Self::new(&self.url, self.how, self.reading.clone())))
    }

    fn faults(&self) -> Faults {
        self.faults.clone()
    }

    fn begin(&mut self, sites: &[SiteId]) -> Result<Vec<Site>, StoreError> {
        (self.begun, self.waits) = (true, true);
        self.step(Statement::Begin, |connection| connection.batch_execute("BEGIN"))?;
        let lock = |connection: &mut PgConnection| LockSites::of(sites).load::<SiteRecord>(connection);
        let mut found = self.step(Statement::LockSites, lock)?;
        if found.len() < sites.len() {
            self.step(Statement::AddSites, |connection| AddSites::of(sites).execute(connection))?;
            found = self.step(Statement::LockSites, lock)?;
        }
        found.into_iter().map(Site::try_from).collect()
    }

    fn locked_sites(&mut self, sites: &[SiteId]) -> Result<Vec<SiteId>, StoreError> {
        let find = LockedSites::of(sites);
        // If it fails half-way, its transaction is still there.
        self.begun = true;
        let locked = self.step(Statement::FindLocked, |connection| {
            connection.batch_execute("BEGIN")?;
            let locked = find.load(connection)?;
            connection.batch_execute("ROLLBACK")?;
            Ok(locked)
        })?;
        self.begun = false;
        Ok(locked)
    }

    fn wait_for_locks(&mut self, milliseconds: u64) -> Result<(), StoreError> {
        self.run(|connection| connection.batch_execute(&format!("SET lock_timeout = '{milliseconds}ms'")))
    }

    fn units_of_skus(&mut self, skus: &[SiteSku]) -> Result<Vec<(SiteSku, Unit)>, StoreError> {
        let find = FindSkus::of(skus);
        let found: Vec<(SiteId, String, UnitRecord)> =
            self.step(Statement::FindSkus, |connection| find.load(connection))?;
        Ok(found.into_iter().map(|(site, sku, unit)| ((site, Sku::from_stored(sku)), unit.into())).collect())
    }

    fn recorded(&mut self, requests: &[(SiteId, RequestKey)]) -> Result<Vec<RecordedRequest>, StoreError> {
        let find = FindRequests::of(requests);
        let found: Vec<RequestRecord> = self.step(Statement::FindRequests, |connection| find.load(connection))?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let load = LoadSpans::of(&found);
        let spans: Vec<SpanRecord> = self.step(Statement::LoadSpans, |connection| load.load(connection))?;
        records::recorded(found, spans)
    }

    fn levels(&mut self, levels: &[(LevelId, UnitId)]) -> Result<LoadedLevels, StoreError> {
        let load = LoadLevels::of(levels);
        let found: Vec<LoadedLevel> = self.step(Statement::LoadLevels, |connection| load.load(connection))?;
        let (mut rows, mut units) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
        for (unit, level, state) in found {
            // A join gives all columns of a table, or none.
            if let (Some(id), Some(available), Some(revision), Some(last_sequence)) = level {
                rows.push(LevelRow { id, available, revision, last_sequence });
            }
            units.push((unit, state));
        }
        Ok(LoadedLevels { rows, units: records::unusual(units)? })
    }

    fn orders(&mut self, orders: &[OrderKey]) -> Result<Vec<OrderHistory>, StoreError> {
        let load = LoadOrders::of(orders, shared::PARTS_MAX);
        let found: Vec<(OrderKey, PartRecord)> =
            self.step(Statement::LoadOrders, |connection| load.load(connection))?;
        let mut parts: HashMap<OrderKey, Vec<PartRecord>> = HashMap::new();
        for (order, part) in found {
            parts.entry(order).or_default().push(part);
        }
        let without_entries: Vec<OrderKey> =
            orders.iter().copied().filter(|order| !parts.contains_key(order)).collect();
        let mut answered: Vec<OrderKey> = Vec::new();
        if !without_entries.is_empty() {
            let find = FindAnswered::of(&without_entries);
            answered = self.step(Statement::FindAnswered, |connection| find.load(connection))?;
        }
        let history = |order| records::order_history(parts.remove(order).unwrap_or_default(), answered.contains(order));
        orders.iter().map(history).collect()
    }

    fn level_at(&mut self, site: SiteId, level: LevelId, head: i64, sequence: i64) -> Result<Past, StoreError> {
        let faults = self.faults.clone();
        chain::level_at(&mut self.shared()?, &faults, site, level, head, sequence)
    }

    fn write(&mut self, writes: &Writes) -> Result<Written, StoreError> {
        if !writes.stocked_units.is_empty() {
            let stock = StockUnits::of(&writes.stocked_units);
            self.step(Statement::StockUnits, |connection| stock.execute(connection))?;
        }
        if !writes.new_levels.is_empty() {
            let (units, levels) = (AddUnits::of(&writes.new_units), AddLevels::of(&writes.new_levels));
            self.step(Statement::AddUnits, |connection| units.execute(connection))?;
            self.step(Statement::AddLevels, |connection| levels.execute(connection))?;
        }
        let (written, waits) = self.step(Statement::Write, |connection| write_batch(connection, writes))?;
        self.waits = waits;
        Ok(written)
    }

    fn write_and_commit(&mut self, writes: &Writes) -> Result<Written, CommitError> {
        let faults = self.faults.clone();
        let connection = self.connection().map_err(CommitError::NotCommitted)?;
        let started = Instant::now();
        // Outside of BEGIN and COMMIT, one statement is one transaction.
        let write = |connection: &mut PgConnection| write_batch(connection, writes);
        let written = step(&faults, Statement::WriteAndCommit, connection, write);
        let (written, waits) = written.map_err(|error| classify_autocommit(connection, error))?;
        self.waits = waits;
        if written == Written::All {
            self.confirm(started)?;
        }
        Ok(written)
    }

    fn units(&mut self, units: &[UnitId]) -> Result<Vec<(UnitId, UnitSettings)>, StoreError> {
        shared::units(&mut self.shared()?, units)
    }

    fn write_units(&mut self, units: &[UnitWrite]) -> Result<(), StoreError> {
        let (release, write) = (ReleaseSkus::of(units), WriteUnits::of(units));
        self.run(|connection| {
            release.execute(connection)?;
            write.execute(connection)
        })?;
        Ok(())
    }

    fn location_in_use(&mut self, site: SiteId, location: LocationId) -> Result<bool, StoreError> {
        shared::location_in_use(&mut self.shared()?, site, location)
    }

    fn write_site(&mut self, site: &Site) -> Result<(), StoreError> {
        shared::write_site(&mut self.shared()?, site)
    }

    fn write_journal(&mut self, changes: &[SettingChange]) -> Result<(), StoreError> {
        access::write_journal(&mut self.shared()?, changes)
    }

    fn lock_tokens(&mut self) -> Result<Vec<(TokenHash, Token)>, StoreError> {
        // Of two commands at the same time, the second one sees what the first one did.
        let lock = "LOCK TABLE token IN SHARE ROW EXCLUSIVE MODE";
        self.run(|connection| connection.batch_execute(lock))?;
        access::tokens(&mut self.shared()?)
    }

    fn write_token(&mut self, hash: &TokenHash, token: &Token) -> Result<(), StoreError> {
        access::write_token(&mut self.shared()?, hash, token)
    }

    fn commit(&mut self) -> Result<(), CommitError> {
        let faults = self.faults.clone();
        let connection = self.connection().map_err(CommitError::Unknown)?;
        let started = Instant::now();
        let commit = |connection: &mut PgConnection| connection.batch_execute("COMMIT");
        step(&faults, Statement::Commit, connection, commit).map_err(classify_commit)?;
        self.begun = false;
        self.confirm(started)
    }

    fn rollback(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.begun) {
            self.step(Statement::Rollback, |connection| connection.batch_execute("ROLLBACK"))
        } else {
            Ok(())
        }
    }

    fn probe(&mut self) -> Result<(), CommitError> {
        let connection = self.connection().map_err(CommitError::NotCommitted)?;
        let probed = diesel::select(sql::<Bool>(PROBE)).get_result(connection);
        match probed.map_err(|error| classify_autocommit(connection, error))? {
            true => Ok(()),
            false => {
                let cause = "the session's transactions are read-only".into();
                Err(CommitError::NotCommitted(StoreError::Gone(Trouble::ReadOnly, cause)))
            }
        }
    }

    fn age(&mut self, now: i64, retention: i64) -> Result<Age, StoreError> {
        age::age(&mut self.shared()?, now, retention)
    }

    fn prune(&mut self, after: PruneCursor, before: i64) -> Result<Option<PruneCursor>, StoreError> {
        shared::prune(&mut self.shared()?, after, before)
    }

    fn archive(&mut self, site: SiteId, up_to: i64) -> Result<i64, StoreError> {
        retention::archive(&mut self.shared()?, site, up_to)
    }

    fn delete_site(&mut self, site: &Site) -> Result<(), StoreError> {
        // A large site takes longer than any statement of the service may.
        self.run(|connection| connection.batch_execute("SET LOCAL statement_timeout = 0"))?;
        retention::delete_site(&mut self.shared()?, site)
    }
}

/// Writes a batch. Returns whether the commit waits for standbys, too.
fn write_batch(connection: &mut PgConnection, writes: &Writes) -> QueryResult<(Written, bool)> {
    match WriteBatch::of(writes).get_result::<(bool, bool, bool)>(connection) {
        Ok((true, true, waits)) => Ok((Written::All, waits)),
        Ok((true, false, waits)) => Ok((Written::OrderFound, waits)),
        Ok((false, _, waits)) => Ok((Written::Outdated, waits)),
        Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, info))
            if info.constraint_name() == Some("request_pkey") =>
        {
            Ok((Written::ReplayFound, true))
        }
        Err(error) => Err(error),
    }
}
