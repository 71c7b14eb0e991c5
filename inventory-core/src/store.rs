//! The store: SQLite or Postgres, by the URL. The only place with SQL and diesel.
//!
//! Writers go through `engine::storage::BatchStore`, each with a connection of its own (`sqlite`, `postgres`). Readers
//! go through a [`Snapshot`] on a connection of a pool (`read`). `tables` describes each table once; `migrate` makes
//! them.

mod chain;
mod classify;
mod connection;
mod describe;
mod guid;
mod migrate;
mod postgres;
pub mod read;
mod records;
mod shared;
mod sqlite;
mod tables;
mod url;

use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool, PoolError};
use diesel::sqlite::SqliteConnection;
use tokio::sync::Semaphore;

pub use self::migrate::{MigrateError, Migrated};
pub use self::read::{EntryFilter, Page, SiteRead, Snapshot, StockCursor, StockFilter, UnitScope};
pub use self::url::{BadUrl, DatabaseUrl};

use crate::engine::storage::{BatchStore, OpenWriters};
use crate::model::limits;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;

/// Writers on Postgres: enough that one site's commit overlaps another's.
const POSTGRES_WRITERS: usize = 2;

/// An open database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    url: DatabaseUrl,
    readers: Readers,
    /// A permit for each reader's connection, so that waiting reads hold no thread.
    permits: Arc<Semaphore>,
}

#[derive(Clone)]
enum Readers {
    Sqlite(Pool<ConnectionManager<SqliteConnection>>),
    Postgres(Pool<ConnectionManager<PgConnection>>),
}

impl Store {
    /// Brings the schema up to date and opens the pool of readers. Blocks.
    pub fn open(url: DatabaseUrl) -> Result<Self, OpenError> {
        migrate::migrate(&url)?;
        let readers = match &url {
            DatabaseUrl::Sqlite(path) => Readers::Sqlite(
                Pool::builder()
                    .max_size(limits::READERS_MAX)
                    .connection_timeout(limits::READER_WAIT_MAX)
                    .connection_customizer(Box::new(ReadOnly))
                    .build(ConnectionManager::new(path.as_str()))?,
            ),
            DatabaseUrl::Postgres(url) => Readers::Postgres(
                Pool::builder()
                    .max_size(limits::READERS_MAX)
                    .min_idle(Some(1))
                    .connection_timeout(limits::READER_WAIT_MAX)
                    .build(ConnectionManager::new(url.as_str()))?,
            ),
        };
        Ok(Self { url, readers, permits: Arc::new(Semaphore::new(limits::READERS_MAX as usize)) })
    }

    /// Brings a database's schema up to date, and nothing else. Blocks.
    pub fn migrate(url: &DatabaseUrl) -> Result<Migrated, MigrateError> {
        migrate::migrate(url)
    }
}

impl OpenWriters for Store {
    fn writers(&self) -> Vec<Box<dyn BatchStore>> {
        match &self.url {
            DatabaseUrl::Sqlite(path) => vec![Box::new(SqliteStore::new(path))],
            DatabaseUrl::Postgres(url) => {
                (0..POSTGRES_WRITERS).map(|_| Box::new(PostgresStore::new(url)) as Box<dyn BatchStore>).collect()
            }
        }
    }
}

/// Makes a reader's connection to SQLite unable to write.
#[derive(Debug)]
struct ReadOnly;

impl CustomizeConnection<SqliteConnection, diesel::r2d2::Error> for ReadOnly {
    fn on_acquire(&self, connection: &mut SqliteConnection) -> Result<(), diesel::r2d2::Error> {
        connection.batch_execute(&sqlite::session())?;
        connection.batch_execute("PRAGMA query_only = ON")?;
        Ok(())
    }
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The schema cannot be brought up to date.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// No connection for reading can be made.
    #[error("cannot open connections for reading")]
    Pool(#[from] PoolError),
}
