//! A writer on SQLite. Its statements are prepared once, and stepped once for each row. There is no round trip to save,
//! and a statement for many rows would cost more than it saves: its text would have to be parsed anew for every number
//! of rows.

mod files;
mod settings;
mod statements;

use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

pub(crate) use self::files::Files;
use self::settings::{EMPTY_LOG, IDLE_LOG_BYTES, WAIT_FOR_NOBODY, WRITER};
pub(crate) use self::settings::{patience, session, target};
use self::statements::{LoadOrder, write_batch, write_units};
use crate::engine::storage::faults::{Faults, Statement};
use crate::engine::storage::{
    Age, BatchStore, CommitError, LevelRow, LoadedLevels, PruneCursor, RecordedRequest, Server, SiteSku, UnitWrite,
    Writes, Written,
};
use crate::model::access::{Token, TokenHash};
use crate::model::catalog::Unit;
use crate::model::error::{StoreError, Trouble};
use crate::model::ids::{LevelId, LocationId, RequestKey, SiteId, UnitId};
use crate::model::journal::SettingChange;
use crate::model::level::Past;
use crate::model::order::{OrderHistory, OrderKey};
use crate::model::site::Site;
use crate::model::unit::UnitSettings;
use crate::store::classify::{classify, classify_commit, unreachable};
use crate::store::connection::AnyConnection;
use crate::store::faults::step;
use crate::store::records::{self, PartRecord, RequestRecord, SiteRecord, SpanRecord, StateRecord, UnitRecord};
use crate::store::tables::{ledger, level, request, site, unit};
use crate::store::{Open, access, age, chain, retention, shared};

/// IMMEDIATE takes the database's one write lock at once; it stands for all row locks.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// What `EMPTY_LOG` returns.
#[derive(QueryableByName)]
struct Checkpoint {
    /// 1 if somebody else needs the log.
    #[diesel(sql_type = diesel::sql_types::Integer)]
    busy: i32,
}

/// A writer's connection to SQLite.
pub(crate) struct SqliteStore {
    target: String,
    how: Open,
    files: Arc<Files>,
    connection: Option<SqliteConnection>,
    /// Whether a transaction has begun: SQLite refuses ROLLBACK outside of one.
    begun: bool,
    faults: Faults,
}

impl SqliteStore {
    pub(crate) fn new(path: &str, how: Open, files: Arc<Files>) -> Self {
        Self { target: target(path, how), how, files, connection: None, begun: false, faults: Faults::of(path) }
    }

    fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        self.connection.as_mut().ok_or_else(|| StoreError::Gone(Trouble::ConnectionLost, "not connected".into()))
    }

    /// Runs statements on the connection, and classifies their error.
    fn run<T>(&mut self, statements: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>) -> Result<T, StoreError> {
        let connection = self.connection()?;
        statements(connection).map_err(|error| classify(connection, error))
    }

    /// Runs one statement of a batch, and classifies its error.
    fn step<T>(
        &mut self,
        statement: Statement,
        run: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>,
    ) -> Result<T, StoreError> {
        let faults = self.faults.clone();
        self.run(|connection| step(&faults, statement, connection, run))
    }

    /// Empties a large log. Only an idle writer is probed, so this delays no order. If it fails, the next one tries
    /// again.
    fn shrink_log(&mut self) {
        if self.files.log_bytes() > IDLE_LOG_BYTES {
            let hurried = self.run(|connection| connection.batch_execute(WAIT_FOR_NOBODY));
            let shrunk = hurried.and_then(|()| self.empty_log());
            let patient = self.run(|connection| connection.batch_execute(&patience()));
            if let Err(error) = shrunk.and(patient) {
                tracing::debug!(error = &error as &dyn std::error::Error, "the log was not emptied");
            }
        }
    }

    /// Commits, unless the files are not the right ones any more.
    fn end(&mut self, faults: &Faults) -> Result<(), CommitError> {
        self.files.check().map_err(CommitError::NotCommitted)?;
        let connection = self.connection().map_err(CommitError::Unknown)?;
        let commit = |connection: &mut SqliteConnection| connection.batch_execute("COMMIT");
        step(faults, Statement::Commit, connection, commit).map_err(classify_commit)?;
        self.begun = false;
        Ok(())
    }

    /// The connection, for statements that both backends understand.
    fn shared(&mut self) -> Result<AnyConnection<'_>, StoreError> {
        self.connection().map(AnyConnection::Sqlite)
    }
}

impl BatchStore for SqliteStore {
    fn connect(&mut self) -> Result<Server, StoreError> {
        self.connection = None;
        self.begun = false;
        self.files.check()?;
        let mut connection = SqliteConnection::establish(&self.target)?;
        let settings = match self.how {
            Open::Migrate | Open::AsIs => format!("{}; {WRITER}", session()),
            Open::ReadOnly => patience(),
        };
        connection.batch_execute(&settings).map_err(unreachable)?;
        self.connection = Some(connection);
        match self.how {
            Open::ReadOnly => {}
            Open::Migrate | Open::AsIs => {
                // A process that was killed between writing a commit and syncing it has left that commit in the log,
                // where it is visible now. This commit syncs the log, so what is visible is durable before the first
                // replay is answered from it. It also makes the log, if there was none.
                self.probe().map_err(|(CommitError::NotCommitted(error) | CommitError::Unknown(error))| error)?;
                self.files.take()?;
            }
        }
        Ok(Server("sqlite".to_owned()))
    }

    fn another(&self) -> Option<Box<dyn BatchStore>> {
        None
    }

    fn faults(&self) -> Faults {
        self.faults.clone()
    }

    fn begin(&mut self, sites: &[SiteId]) -> Result<Vec<Site>, StoreError> {
        self.step(Statement::Begin, |connection| connection.batch_execute(BEGIN))?;
        self.begun = true;
        let mut found: Vec<SiteRecord> = Vec::with_capacity(sites.len());
        for &id in sites {
            let row = site::table.filter(site::site_id.eq(id));
            let stored = self.step(Statement::LockSites, |connection| row.first(connection).optional())?;
            found.push(match stored {
                Some(record) => record,
                None => self.step(Statement::AddSites, |connection| {
                    diesel::insert_into(site::table).values(site::site_id.eq(id)).execute(connection)?;
                    row.first(connection)
                })?,
            });
        }
        found.into_iter().map(Site::try_from).collect()
    }

    fn locked_sites(&mut self, _: &[SiteId]) -> Result<Vec<SiteId>, StoreError> {
        // There is one lock for the whole database.
        Ok(Vec::new())
    }

    fn units_of_skus(&mut self, skus: &[SiteSku]) -> Result<Vec<(SiteSku, Unit)>, StoreError> {
        let mut found = Vec::with_capacity(skus.len());
        for (site, sku) in skus {
            let named = unit::table.filter(unit::site_id.eq(site).and(unit::sku.eq(sku.as_str())));
            let named = named.select(UnitRecord::as_select());
            let record: Option<UnitRecord> =
                self.step(Statement::FindSkus, |connection| named.first(connection).optional())?;
            found.extend(record.map(|record| ((*site, sku.clone()), record.into())));
        }
        Ok(found)
    }

    fn recorded(&mut self, requests: &[(SiteId, RequestKey)]) -> Result<Vec<RecordedRequest>, StoreError> {
        let (mut found, mut spans) = (Vec::new(), Vec::new());
        for &key in requests {
            let row = request::table.find(key).select(RequestRecord::as_select());
            let stored = self.step(Statement::FindRequests, |connection| row.first(connection).optional())?;
            let Some(record) = stored else { continue };
            let entries = ledger::table
                .inner_join(unit::table.on(unit::unit_id.eq(ledger::unit_id)))
                .filter(ledger::site_id.eq(record.site_id))
                .filter(ledger::sequence.between(record.first_sequence, record.last_sequence))
                .select((
                    ledger::site_id,
                    ledger::sequence,
                    UnitRecord::as_select(),
                    ledger::location_id,
                    ledger::level_after,
                ));
            spans.extend(self.step(Statement::LoadSpans, |connection| entries.load::<SpanRecord>(connection))?);
            found.push(record);
        }
        spans.sort_by_key(|(site, sequence, ..)| (*site, *sequence));
        records::recorded(found, spans)
    }

    fn levels(&mut self, levels: &[(LevelId, UnitId)]) -> Result<LoadedLevels, StoreError> {
        let (mut rows, mut units) = (Vec::with_capacity(levels.len()), Vec::with_capacity(levels.len()));
        for &(id, unit_id) in levels {
            let stored = unit::table.find(unit_id).select(StateRecord::as_select());
            let row = level::table.find(id).select((level::available, level::revision, level::last_sequence));
            let (state, found) = self.step(Statement::LoadLevels, |connection| {
                Ok((stored.first(connection).optional()?, row.first(connection).optional()?))
            })?;
            units.push((unit_id, state));
            if let Some((available, revision, last_sequence)) = found {
                rows.push(LevelRow { id, available, revision, last_sequence });
            }
        }
        Ok(LoadedLevels { rows, units: records::unusual(units)? })
    }

    fn orders(&mut self, orders: &[OrderKey]) -> Result<Vec<OrderHistory>, StoreError> {
        let history = |&(site, order): &OrderKey| {
            let load = LoadOrder(site, order, shared::PARTS_MAX);
            let parts: Vec<PartRecord> = self.step(Statement::LoadOrders, |connection| load.load(connection))?;
            let calls = request::table.filter(request::site_id.eq(site).and(request::order_id.eq(order)));
            let calls = diesel::select(exists(calls));
            let answered =
                parts.is_empty() && self.step(Statement::FindAnswered, |connection| calls.get_result(connection))?;
            records::order_history(parts, answered)
        };
        orders.iter().map(history).collect()
    }

    fn level_at(&mut self, site: SiteId, level: LevelId, head: i64, sequence: i64) -> Result<Past, StoreError> {
        let faults = self.faults.clone();
        chain::level_at(&mut self.shared()?, &faults, site, level, head, sequence)
    }

    fn write(&mut self, writes: &Writes) -> Result<Written, StoreError> {
        let faults = self.faults.clone();
        self.run(|connection| write_batch(connection, &faults, writes))
    }

    fn units(&mut self, units: &[UnitId]) -> Result<Vec<(UnitId, UnitSettings)>, StoreError> {
        shared::units(&mut self.shared()?, units)
    }

    fn write_units(&mut self, units: &[UnitWrite]) -> Result<(), StoreError> {
        self.run(|connection| write_units(connection, units))
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
        // BEGIN IMMEDIATE has locked the database.
        access::tokens(&mut self.shared()?)
    }

    fn write_token(&mut self, hash: &TokenHash, token: &Token) -> Result<(), StoreError> {
        access::write_token(&mut self.shared()?, hash, token)
    }

    fn commit(&mut self) -> Result<(), CommitError> {
        let faults = self.faults.clone();
        self.end(&faults)
    }

    fn rollback(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.begun) {
            self.step(Statement::Rollback, |connection| connection.batch_execute("ROLLBACK"))
        } else {
            Ok(())
        }
    }

    fn probe(&mut self) -> Result<(), CommitError> {
        // A probe is no batch, so it passes no fault points.
        self.run(|connection| connection.batch_execute(BEGIN)).map_err(CommitError::NotCommitted)?;
        self.begun = true;
        // A number in the file's header that nothing else uses. It is written even if it stays the same.
        let write = self.run(|connection| connection.batch_execute("PRAGMA user_version = 1"));
        write.map_err(CommitError::NotCommitted)?;
        self.end(&Faults::default())?;
        self.shrink_log();
        Ok(())
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
        // What is deleted is overwritten, not only unlinked.
        self.run(|connection| connection.batch_execute("PRAGMA secure_delete = ON"))?;
        retention::delete_site(&mut self.shared()?, site)
    }

    fn empty_log(&mut self) -> Result<bool, StoreError> {
        let checkpoint = |connection: &mut SqliteConnection| diesel::sql_query(EMPTY_LOG).get_result(connection);
        self.run(checkpoint).map(|Checkpoint { busy }| busy == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty database in the temporary folder.
    struct Temporary(String);

    impl Temporary {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("inventory-{}.db", uuid::Uuid::new_v4()));
            std::fs::File::create(&path).expect("the temporary folder is writable");
            Self(path.display().to_string())
        }

        fn store(&self) -> SqliteStore {
            SqliteStore::new(&self.0, Open::AsIs, Arc::new(Files::at(&self.0)))
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            for ending in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{ending}", self.0));
            }
        }
    }

    #[test]
    fn rollback_outside_of_a_transaction_does_nothing() {
        let database = Temporary::new();
        let mut store = database.store();
        store.connect().expect("it opens");
        store.rollback().expect("nothing has begun");
        store.begin(&[]).expect("begun");
        store.rollback().expect("rolled back");
        store.rollback().expect("nothing has begun");
    }

    #[derive(QueryableByName)]
    struct Version {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        data_version: i64,
    }

    /// SQLite syncs its log with a commit, and with nothing else. What a killed process left there may not be synced.
    #[test]
    fn a_new_connection_of_a_writer_commits_before_it_answers() {
        let database = Temporary::new();
        database.store().connect().expect("it opens");
        let mut observer = SqliteConnection::establish(&database.0).expect("it opens");
        let mut version = || {
            let found: Version = diesel::sql_query("PRAGMA data_version").get_result(&mut observer).expect("a number");
            found.data_version
        };
        let before = version();
        database.store().connect().expect("it opens");
        assert_ne!(version(), before, "another connection has committed");
    }
}
