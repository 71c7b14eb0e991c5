//! The steps of the schema, embedded from `migrations/`. A database of a newer schema is refused, because an older
//! program does not know what the newer schema promises.

use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::store::{DatabaseUrl, sqlite};

const SQLITE: EmbeddedMigrations = embed_migrations!("../migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("../migrations/postgres");

/// The lock by which servers that start together take turns. Any number that no other program uses.
const ADVISORY_LOCK: i64 = 7_461_966_240_120_001;

/// The steps that were applied. Empty if the schema was up to date.
pub type Migrated = Vec<String>;

/// Why the schema cannot be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database cannot be reached.
    #[error("cannot connect to the database")]
    Connect(#[from] diesel::ConnectionError),
    /// The database has steps that this version does not know.
    #[error("the database has schema {found}, which is newer than this program; run a newer version of it")]
    Newer {
        /// The newest unknown step.
        found: String,
    },
    /// A step failed.
    #[error("cannot bring the schema up to date")]
    Step(#[source] Box<dyn std::error::Error + Send + Sync>),
}

pub(crate) fn migrate(url: &DatabaseUrl) -> Result<Migrated, MigrateError> {
    match url {
        DatabaseUrl::Sqlite(path) => {
            let mut connection = SqliteConnection::establish(path)?;
            connection.batch_execute(&sqlite::session()).map_err(|error| MigrateError::Step(error.into()))?;
            run(&mut connection, SQLITE)
        }
        DatabaseUrl::Postgres(url) => {
            let mut connection = PgConnection::establish(url)?;
            let lock = format!("SELECT pg_advisory_lock({ADVISORY_LOCK})");
            connection.batch_execute(&lock).map_err(|error| MigrateError::Step(error.into()))?;
            // The lock ends with the connection.
            run(&mut connection, POSTGRES)
        }
    }
}

fn run<C>(connection: &mut C, steps: EmbeddedMigrations) -> Result<Migrated, MigrateError>
where
    C: MigrationHarness<C::Backend> + Connection,
    EmbeddedMigrations: MigrationSource<C::Backend>,
{
    let known = MigrationSource::<C::Backend>::migrations(&steps).map_err(MigrateError::Step)?;
    let known: Vec<String> = known.iter().map(|step| step.name().version().to_string()).collect();
    let applied = connection.applied_migrations().map_err(MigrateError::Step)?;
    if let Some(newer) = applied.iter().map(ToString::to_string).filter(|step| !known.contains(step)).max() {
        return Err(MigrateError::Newer { found: newer });
    }
    let done = connection.run_pending_migrations(steps).map_err(MigrateError::Step)?;
    Ok(done.iter().map(ToString::to_string).collect())
}
