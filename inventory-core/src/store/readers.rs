//! The connections for reading: a pool, and a permit for each connection, so that reads that wait hold no thread.
//!
//! A server of Postgres that hangs keeps the threads of its reads, and with them its connections and permits. So pool
//! and permits are replaced as a whole as soon as a writer reaches another server. Reads that hang end with the old
//! server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::r2d2::{Builder, ConnectionManager, CustomizeConnection, Pool};
use diesel::sqlite::SqliteConnection;
use tokio::sync::Semaphore;

use crate::engine::storage::Server;
use crate::model::limits;
use crate::store::read::session;

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
    /// The server that the writers reached last.
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

    /// A writer has reached a server of Postgres. If it is not the one that it was, reads get new connections too. Does
    /// not wait for them.
    pub(crate) fn follow(&self, server: &Server, url: &str) {
        let mut state = self.state();
        let before = state.server.replace(server.clone());
        if before.is_some_and(|before| before != *server) {
            let pool = postgres_pool().build_unchecked(ConnectionManager::new(url));
            state.lines = Lines::over(Readers::Postgres(pool));
        }
    }
}

/// A pool of connections to Postgres, of which one is always open.
pub(crate) fn postgres_pool() -> Builder<ConnectionManager<PgConnection>> {
    let pool = Pool::builder().max_size(limits::READERS_MAX).min_idle(Some(1));
    pool.connection_timeout(limits::READER_WAIT_MAX).connection_customizer(Box::new(Prepare))
}

/// Prepares a reader's connection to Postgres.
#[derive(Debug)]
struct Prepare;

impl CustomizeConnection<PgConnection, diesel::r2d2::Error> for Prepare {
    fn on_acquire(&self, connection: &mut PgConnection) -> Result<(), diesel::r2d2::Error> {
        Ok(connection.batch_execute(&session())?)
    }
}
