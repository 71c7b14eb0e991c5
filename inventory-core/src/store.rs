//! The store: SQLite or Postgres, by the URL. The one place that knows SQL.
//!
//! Writing goes through a `BatchStore` per writer, each with a connection of its own; reading
//! through an r2d2 pool. `migrate` makes the tables.

pub(crate) mod batch;
mod chain;
mod entries;
mod faults;
mod guid;
mod migrate;
mod orders;
mod postgres;
mod postgres_statements;
mod read;
mod rows;
pub(crate) mod schema;
mod sqlite;
mod sqlite_statements;
mod stock;
mod units;
mod url;

pub use entries::{Entry, EntryFilter, EntryPage};
pub use guid::Guid;
pub use migrate::{MigrateError, Migrated};
pub use orders::{Call, CallOutcome};
pub use read::SitePage;
pub use stock::{Stock, StockCursor, StockFilter, StockPage};
pub use url::{BadUrl, DatabaseUrl};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool, PoolError};
use diesel::sqlite::SqliteConnection;

use crate::limits;
use crate::store::batch::BatchStore;
use crate::store::postgres::PostgresBatch;
use crate::store::sqlite::SqliteBatch;

/// Writers on Postgres: enough that a second site's commit overlaps the first's.
const POSTGRES_WRITERS: usize = 2;
/// Connections for reading.
const READERS: u32 = 4;

/// An opened database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    url: DatabaseUrl,
    readers: Readers,
}

#[derive(Clone)]
pub(crate) enum Readers {
    Sqlite(Pool<ConnectionManager<SqliteConnection>>),
    Postgres(Pool<ConnectionManager<PgConnection>>),
}

impl Store {
    /// Brings the schema up to date and opens the pool. Blocks.
    pub fn open(url: DatabaseUrl) -> Result<Self, OpenError> {
        migrate::migrate(&url)?;
        let readers = match &url {
            DatabaseUrl::Sqlite(path) => Readers::Sqlite(
                Pool::builder()
                    .max_size(READERS)
                    .connection_timeout(limits::READER_WAIT_MAX)
                    .connection_customizer(Box::new(ReadOnly))
                    .build(ConnectionManager::new(path.as_str()))?,
            ),
            DatabaseUrl::Postgres(url) => Readers::Postgres(
                Pool::builder()
                    .max_size(READERS)
                    .min_idle(Some(1))
                    .connection_timeout(limits::READER_WAIT_MAX)
                    .build(ConnectionManager::new(url.as_str()))?,
            ),
        };
        Ok(Self { url, readers })
    }

    /// Brings a database's schema up to date, and nothing else. Blocks.
    pub fn migrate(url: &DatabaseUrl) -> Result<Migrated, MigrateError> {
        migrate::migrate(url)
    }

    /// One connection for each writer that the backend has use for; not yet connected.
    pub(crate) fn batch_stores(&self) -> Vec<Box<dyn BatchStore>> {
        match &self.url {
            DatabaseUrl::Sqlite(path) => vec![Box::new(SqliteBatch::new(path))],
            DatabaseUrl::Postgres(url) => {
                (0..POSTGRES_WRITERS).map(|_| Box::new(PostgresBatch::new(url)) as Box<dyn BatchStore>).collect()
            }
        }
    }
}

/// A reader of SQLite cannot write, whatever it is asked.
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
