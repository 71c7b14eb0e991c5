//! The two databases of a copy, each held so that nobody else writes to it meanwhile.
//!
//! - **SQLite**: a lock on the file, which nobody gets while another process has the database open, a reader included,
//!   and with which nobody else can open it.
//! - **Postgres**: the tables of the source are locked against writes, and read in one snapshot. Two copies into the
//!   same target take turns. A server that has a connection is found by the name of its connections, though it may be
//!   idle; one whose URL gives them another name is not found. Servers do not start on the target: it has the mark of a
//!   copy.
//!
//! Nobody loses a lock by a crash: it ends with its process.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use super::CopyError;
use super::cell::Cell;
use super::rows::load;
use crate::model::error::{StoreError, Trouble};
use crate::store::classify::{classify, unreachable};
use crate::store::connection::AnyConnection;
use crate::store::layout::Kind;
use crate::store::migrate::{MigrateError, check_copy, check_whole, copy_of, migrate};
use crate::store::sqlite::{patience, target};
use crate::store::tables::TABLES;
use crate::store::url::SERVERS;
use crate::store::{DatabaseUrl, Open};

/// Under which name Postgres lists the connections of a copy.
pub(super) const COPIES: &str = "inventory-copy";
/// The lock by which two copies into one database take turns. Any number that no other program uses.
const ADVISORY_LOCK: i64 = 7_461_966_240_120_002;

/// Of SQLite: with this, a process keeps the lock of its first transaction, which nobody gets beside another process.
const ALONE: &str = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE";
/// How long Postgres waits for somebody's lock: as long as a killed copy may need to end there.
const PATIENCE: &str = "SET lock_timeout = '10s'";
/// How often, and after which pauses, a copy looks whether servers have gone.
const LOOKS: u32 = 20;
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Of Postgres: rows are read by keys. The planner knows nothing yet of tables that are just filled.
const BY_KEY: &str = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off; SET jit = off";

/// One of the two databases.
pub(super) struct Side {
    pub(super) url: DatabaseUrl,
    connection: Owned,
}

enum Owned {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Side {
    /// Opens the source for reading.
    pub(super) fn source(url: &DatabaseUrl) -> Result<Self, CopyError> {
        let mut side = Self::connect(url)?;
        match &mut side.connection {
            Owned::Sqlite(connection) => {
                let locked = connection.batch_execute(&format!("{ALONE}; PRAGMA query_only = ON"));
                locked.map_err(|error| in_use(url, classify(connection, error)))?;
                check_whole(&mut side.any()).map_err(|error| side.refused(error))?;
            }
            Owned::Postgres(_) => {
                check_whole(&mut side.any()).map_err(|error| side.refused(error))?;
                side.refuse_servers()?;
                let tables = TABLES.iter().map(|table| table.name).collect::<Vec<_>>().join(", ");
                // The snapshot is taken after the lock, by the first read.
                side.run(&format!(
                    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE {tables} IN SHARE MODE"
                ))?;
            }
        }
        Ok(side)
    }

    /// Opens the target, and brings its schema up to date, unless a copy into it has begun.
    pub(super) fn target(url: &DatabaseUrl) -> Result<Self, CopyError> {
        if !has_begun(url)? {
            migrate(&url.named(COPIES)).map_err(|why| CopyError::Schema { url: url.clone(), why })?;
        }
        let mut side = Self::connect(url)?;
        match &mut side.connection {
            Owned::Sqlite(connection) => {
                let locked = connection.batch_execute(&format!("PRAGMA foreign_keys = ON; {ALONE}; COMMIT"));
                locked.map_err(|error| in_use(url, classify(connection, error)))?;
            }
            Owned::Postgres(_) => {
                side.run(&format!("SELECT pg_advisory_lock({ADVISORY_LOCK})"))?;
                side.refuse_servers()?;
            }
        }
        check_copy(&mut side.any()).map_err(|error| side.refused(error))?;
        Ok(side)
    }

    fn connect(url: &DatabaseUrl) -> Result<Self, CopyError> {
        let connection = match url.named(COPIES) {
            DatabaseUrl::Sqlite(path) => {
                if !std::path::Path::new(&path).exists() {
                    let why = MigrateError::NoFile { path };
                    return Err(CopyError::Schema { url: url.clone(), why });
                }
                let mut connection = SqliteConnection::establish(&target(&path, Open::AsIs)).map_err(unreachable)?;
                connection.batch_execute(&patience()).map_err(unreachable)?;
                Owned::Sqlite(connection)
            }
            DatabaseUrl::Postgres(text) => {
                let mut connection = PgConnection::establish(&text).map_err(unreachable)?;
                connection.batch_execute(&format!("{PATIENCE}; {BY_KEY}")).map_err(unreachable)?;
                Owned::Postgres(connection)
            }
        };
        Ok(Self { url: url.clone(), connection })
    }

    /// The connection.
    pub(super) fn any(&mut self) -> AnyConnection<'_> {
        match &mut self.connection {
            Owned::Sqlite(connection) => AnyConnection::Sqlite(connection),
            Owned::Postgres(connection) => AnyConnection::Postgres(connection),
        }
    }

    fn refused(&self, why: MigrateError) -> CopyError {
        CopyError::Schema { url: self.url.clone(), why }
    }

    /// Runs statements of Postgres that wait for locks.
    fn run(&mut self, statements: &str) -> Result<(), CopyError> {
        let url = &self.url;
        match &mut self.connection {
            Owned::Sqlite(_) => Ok(()),
            Owned::Postgres(connection) => {
                let done = connection.batch_execute(statements);
                done.map_err(|error| in_use(url, classify(connection, error)))
            }
        }
    }

    /// Fails if a server has a connection to this database of Postgres.
    fn refuse_servers(&mut self) -> Result<(), CopyError> {
        let sql = format!(
            "SELECT pid::bigint AS pid FROM pg_stat_activity WHERE datname = current_database() \
             AND pid <> pg_backend_pid() AND application_name = '{SERVERS}' LIMIT 1"
        );
        // Postgres shows the session of a program for a moment after that has ended.
        for _ in 0..LOOKS {
            if load(&mut self.any(), sql.clone(), Vec::<Cell>::new(), &[Kind::Long])?.is_empty() {
                return Ok(());
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Err(CopyError::InUse { url: self.url.clone() })
    }
}

/// Whether a database is the target of a copy that has not ended.
fn has_begun(url: &DatabaseUrl) -> Result<bool, CopyError> {
    if matches!(url, DatabaseUrl::Sqlite(path) if !std::path::Path::new(path).exists()) {
        return Ok(false);
    }
    let mut side = Side::connect(url)?;
    let begun = copy_of(&mut side.any()).map_err(|error| side.refused(error))?;
    Ok(begun.is_some())
}

/// An error of a statement that locks.
fn in_use(url: &DatabaseUrl, error: StoreError) -> CopyError {
    match error {
        StoreError::Conflict(Trouble::LockHeld, _) | StoreError::Unable(Trouble::LockHeld, _) => {
            CopyError::InUse { url: url.clone() }
        }
        error => CopyError::Store(error),
    }
}
