//! The store: SQLite or Postgres, by the URL. The only place with SQL and diesel.
//!
//! Writers go through `engine::storage::BatchStore`, each with a connection of its own (`sqlite`, `postgres`). Readers
//! go through a [`Snapshot`] on a connection of a pool (`read`). `tables` describes each table once; `migrate` makes
//! them.

mod access;
mod age;
mod backup;
mod chain;
mod classify;
mod connection;
mod copy;
mod describe;
mod faults;
mod guid;
mod layout;
mod measure;
mod migrate;
mod postgres;
pub mod read;
mod readers;
mod records;
mod retention;
mod shared;
mod sqlite;
mod tables;
mod url;

use std::sync::Arc;

use diesel::r2d2::{ConnectionManager, PoolError};

pub use self::backup::{Backup, BackupError};
pub use self::copy::{Copied, CopyError, CopyProgress, Copying};
pub use self::migrate::{MigrateError, Migrated};
pub use self::read::{EntryFilter, Page, SiteRead, Snapshot, StockCursor, StockFilter, Terms, UnitScope};
pub use self::url::{BadUrl, DatabaseUrl};

use crate::engine::storage::{BatchStore, OpenWriters};
use crate::model::error::StoreError;
use crate::store::connection::AnyConnection;
use crate::store::postgres::PostgresStore;
use crate::store::readers::{Readers, Reading, postgres_pool, sqlite_pool};
use crate::store::sqlite::{Files, SqliteStore};

/// Writers on Postgres: enough that one site's commit overlaps another's.
const POSTGRES_WRITERS: usize = 2;

/// How a database is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Create it if it is missing, and bring its schema up to date.
    Migrate,
    /// Take it as it is. Its schema must have all steps of this program, and may have additions of later versions.
    AsIs,
    /// As `AsIs`, and write nothing: neither rows nor files.
    ReadOnly,
}

/// An open database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    url: DatabaseUrl,
    how: Open,
    /// The files of SQLite, which must stay the same ones.
    files: Option<Arc<Files>>,
    reading: Reading,
}

impl Store {
    /// Opens a database: checks or migrates its schema, and opens the pool of readers. Blocks.
    pub fn open(url: DatabaseUrl, how: Open) -> Result<Self, OpenError> {
        if how == Open::Migrate {
            migrate::migrate(&url)?;
        }
        Self::checked(url, how, migrate::check)
    }

    /// Opens a database whose schema must be this program's, without additions of later versions: for what removes rows
    /// for ever. Blocks.
    pub fn open_whole(url: DatabaseUrl) -> Result<Self, OpenError> {
        Self::checked(url, Open::AsIs, migrate::check_whole)
    }

    /// Opens the target of a copy for reading, whether or not the copy has ended. Blocks.
    fn half_copied(url: DatabaseUrl) -> Result<Self, OpenError> {
        Self::checked(url, Open::ReadOnly, migrate::check_copy)
    }

    fn checked(
        url: DatabaseUrl,
        how: Open,
        check: fn(&mut AnyConnection<'_>) -> Result<(), MigrateError>,
    ) -> Result<Self, OpenError> {
        let mut files = None;
        let readers = match &url {
            DatabaseUrl::Sqlite(path) => {
                if !std::path::Path::new(path).exists() {
                    return Err(MigrateError::NoFile { path: path.clone() }.into());
                }
                let opened = Arc::new(Files::at(path));
                opened.take().map_err(OpenError::Files)?;
                let pool = sqlite_pool(how, Arc::clone(&opened));
                files = Some(opened);
                Readers::Sqlite(pool.build(ConnectionManager::new(sqlite::target(path, how)))?)
            }
            DatabaseUrl::Postgres(url) => {
                Readers::Postgres(postgres_pool().build(ConnectionManager::new(url.as_str()))?)
            }
        };
        match &readers {
            Readers::Sqlite(pool) => check(&mut AnyConnection::Sqlite(&mut *pool.get()?))?,
            Readers::Postgres(pool) => check(&mut AnyConnection::Postgres(&mut *pool.get()?))?,
        }
        measure::describe();
        Ok(Self { url, how, files, reading: Reading::over(readers) })
    }

    /// Brings a database's schema up to date, and nothing else. Blocks.
    pub fn migrate(url: &DatabaseUrl) -> Result<Migrated, MigrateError> {
        migrate::migrate(url)
    }

    /// The newest step of this program's schema.
    pub fn schema() -> Result<String, MigrateError> {
        migrate::newest()
    }

    /// Lets a role of Postgres run the service: it may read, add and change what the service needs, and nothing else.
    /// Blocks.
    pub fn grant(url: &DatabaseUrl, role: &str) -> Result<(), MigrateError> {
        migrate::grant(url, role)
    }
}

impl OpenWriters for Store {
    fn writers(&self) -> Vec<Box<dyn BatchStore>> {
        match &self.url {
            DatabaseUrl::Sqlite(path) => {
                let files = self.files.clone().unwrap_or_else(|| Arc::new(Files::at(path)));
                vec![Box::new(SqliteStore::new(path, self.how, files))]
            }
            DatabaseUrl::Postgres(url) => {
                let new = || PostgresStore::new(url, self.how, self.reading.clone());
                let writer = |_| Box::new(new()) as Box<dyn BatchStore>;
                (0..POSTGRES_WRITERS).map(writer).collect()
            }
        }
    }
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The schema cannot be brought up to date.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The file is gone that was there just now.
    #[error("cannot look at the database's file")]
    Files(#[source] StoreError),
    /// No connection for reading can be made.
    #[error("cannot open connections for reading")]
    Pool(#[from] PoolError),
}
