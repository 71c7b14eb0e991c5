//! The connections for reading: a pool, and a permit for each connection, so that reads that wait hold no thread.
//!
//! A server of Postgres that hangs keeps the threads of its reads, and with them its connections and permits. So pool
//! and permits are replaced as a whole as soon as a writer uses a connection to another server. Reads that hang end
//! with the old server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use diesel::ConnectionError::BadConnection;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::r2d2::{Builder, ConnectionManager, CustomizeConnection, ManageConnection, Pool};
use diesel::sqlite::SqliteConnection;
use tokio::sync::Semaphore;

use crate::engine::storage::Server;
use crate::model::limits;
use crate::store::postgres::SESSION;
use crate::store::sqlite::Files;
use crate::store::{Open, sqlite};

/// A pool of connections.
#[derive(Clone)]
pub(crate) enum Readers {
    Sqlite(Pool<ConnectionManager<SqliteConnection>>),
    Postgres(Pool<ConnectionManager<PgConnection>>),
}

/// The connections for reading, and the right to use them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Lines {
    pub(crate) readers: Readers,
    /// A permit for each connection.
    pub(crate) permits: Arc<Semaphore>,
    /// Those of reads of pages, which need one of the others too.
    pub(crate) page_permits: Arc<Semaphore>,
}

/// The lines of today. Clones share them.
#[derive(Clone)]
pub(crate) struct Reading(Arc<Mutex<State>>);

struct State {
    lines: Lines,
    /// The server of the connection that a writer adopted last.
    server: Option<Server>,
}

impl Lines {
    fn over(readers: Readers) -> Self {
        let permits = Arc::new(Semaphore::new(limits::READERS_MAX as usize));
        Self { readers, permits, page_permits: Arc::new(Semaphore::new(limits::PAGE_READERS_MAX)) }
    }
}

impl Reading {
    pub(crate) fn over(readers: Readers) -> Self {
        Self(Arc::new(Mutex::new(State { lines: Lines::over(readers), server: None })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lines(&self) -> Lines {
        self.state().lines.clone()
    }

    /// A writer uses a connection to this server of Postgres from now on. If the last one led to another server, reads
    /// get new connections too. Does not wait for them.
    pub(crate) fn follow(&self, server: &Server, url: &str) {
        let mut state = self.state();
        let before = state.server.replace(server.clone());
        if before.is_some_and(|before| before != *server) {
            let pool = postgres_pool().build_unchecked(ConnectionManager::new(url));
            state.lines = Lines::over(Readers::Postgres(pool));
        }
    }
}

/// A pool of connections to SQLite, as long as its files stay the same ones.
pub(crate) fn sqlite_pool(how: Open, files: Arc<Files>) -> Builder<ConnectionManager<SqliteConnection>> {
    pool().connection_customizer(Box::new(ToSqlite { how, files }))
}

/// A pool of connections to Postgres. It keeps at least one open.
pub(crate) fn postgres_pool() -> Builder<ConnectionManager<PgConnection>> {
    pool().min_idle(Some(1)).connection_customizer(Box::new(ToPostgres))
}

fn pool<M: ManageConnection>() -> Builder<M> {
    Pool::builder().max_size(limits::READERS_MAX).connection_timeout(limits::READER_WAIT_MAX)
}

/// Prepares a reader's connection to SQLite, which becomes unable to write.
#[derive(Debug)]
struct ToSqlite {
    how: Open,
    files: Arc<Files>,
}

impl CustomizeConnection<SqliteConnection, diesel::r2d2::Error> for ToSqlite {
    fn on_acquire(&self, connection: &mut SqliteConnection) -> Result<(), diesel::r2d2::Error> {
        // The pool also opens connections by itself, when no read has checked.
        self.files.check().map_err(|error| diesel::r2d2::Error::ConnectionError(BadConnection(error.to_string())))?;
        match self.how {
            Open::Migrate | Open::AsIs => connection.batch_execute(&sqlite::session())?,
            Open::ReadOnly => connection.batch_execute(&sqlite::patience())?,
        }
        connection.batch_execute("PRAGMA query_only = ON")?;
        Ok(())
    }
}

/// Prepares a reader's connection to Postgres.
#[derive(Debug)]
struct ToPostgres;

impl CustomizeConnection<PgConnection, diesel::r2d2::Error> for ToPostgres {
    fn on_acquire(&self, connection: &mut PgConnection) -> Result<(), diesel::r2d2::Error> {
        // Plans that sort are avoided too: they look cheap while the planner takes a table to be small. Reads without a
        // deadline of their own end in time as well.
        let time = limits::ANSWER_TIME_DEFAULT.as_millis();
        let session = format!("{SESSION}; SET enable_sort = off; SET statement_timeout = {time}");
        Ok(connection.batch_execute(&session)?)
    }
}
