//! The steps of the schema, embedded from `migrations/`. A database of a newer schema is refused, because an older
//! program does not know what the newer schema promises.

use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::SqliteConnection;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::store::connection::AnyConnection;
use crate::store::{DatabaseUrl, sqlite};

const SQLITE: EmbeddedMigrations = embed_migrations!("../migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("../migrations/postgres");

/// The lock by which servers that start together take turns. Any number that no other program uses.
const ADVISORY_LOCK: i64 = 7_461_966_240_120_001;

/// What the service's role may do on Postgres: read everything, add rows, change what has a state, and forget outcomes.
/// It changes and removes no entry of the ledger, and no token. `{role}` is a quoted name.
const GRANTS: &str = "GRANT USAGE ON SCHEMA public TO {role}; \
    GRANT SELECT ON site, unit, level, change, ledger, waypoint, request, token, journal, age_mark, \
        __diesel_schema_migrations TO {role}; \
    GRANT INSERT ON site, unit, level, change, ledger, waypoint, request, journal, age_mark TO {role}; \
    GRANT UPDATE ON site, unit, level TO {role}; \
    GRANT DELETE ON request, age_mark TO {role}";

/// The steps that were applied. Empty if the schema was up to date.
pub type Migrated = Vec<String>;

/// Why the schema is not what this program needs.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database cannot be reached.
    #[error("cannot connect to the database")]
    Connect(#[from] diesel::ConnectionError),
    /// There is no such file.
    #[error("{path}: no such file")]
    NoFile {
        /// The file.
        path: String,
    },
    /// The database has steps that this version does not know.
    #[error("the database has schema {found}, which is newer than this program; run a newer version of it")]
    Newer {
        /// The newest unknown step.
        found: String,
    },
    /// The database lacks steps.
    #[error(
        "the database has schema {found}, which is older than this program's {needed}; run `inventory-grpc migrate`"
    )]
    Older {
        /// Its newest step.
        found: String,
        /// The newest step of this program.
        needed: String,
    },
    /// The database has no schema of ours.
    #[error("the database has no tables of this service; run `inventory-grpc migrate`")]
    Empty,
    /// A role of SQLite.
    #[error("--grant-to: SQLite has no roles; set the permissions of its file instead")]
    NoRoles,
    /// A step failed.
    #[error("cannot bring the schema up to date")]
    Step(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Brings the schema up to date.
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
    let applied = connection.applied_migrations().map_err(MigrateError::Step)?;
    let applied = applied.iter().map(ToString::to_string).collect();
    // Whether it is older does not matter here.
    if let Err(newer @ MigrateError::Newer { .. }) = compare(&known::<C::Backend>(&steps)?, applied) {
        return Err(newer);
    }
    let done = connection.run_pending_migrations(steps).map_err(MigrateError::Step)?;
    Ok(done.iter().map(ToString::to_string).collect())
}

/// Lets a role of Postgres run the service, and do no more than that.
pub(crate) fn grant(url: &DatabaseUrl, role: &str) -> Result<(), MigrateError> {
    let DatabaseUrl::Postgres(url) = url else { return Err(MigrateError::NoRoles) };
    let quoted = format!("\"{}\"", role.replace('"', "\"\""));
    let mut connection = PgConnection::establish(url)?;
    let grants = GRANTS.replace("{role}", &quoted);
    connection.batch_execute(&grants).map_err(|error| MigrateError::Step(error.into()))
}

#[derive(QueryableByName)]
struct Applied {
    #[diesel(sql_type = Text)]
    version: String,
}

/// Checks that a database has exactly this program's schema. Writes nothing.
pub(crate) fn check(connection: &mut AnyConnection<'_>) -> Result<(), MigrateError> {
    let query = diesel::sql_query("SELECT version FROM __diesel_schema_migrations");
    let (known, applied) = match connection {
        AnyConnection::Sqlite(connection) => {
            (known::<diesel::sqlite::Sqlite>(&SQLITE)?, query.load::<Applied>(&mut **connection))
        }
        AnyConnection::Postgres(connection) => {
            (known::<diesel::pg::Pg>(&POSTGRES)?, query.load::<Applied>(&mut **connection))
        }
    };
    let applied = match applied {
        Ok(applied) => applied.into_iter().map(|row| row.version).collect(),
        Err(error) if names_no_table(&error) => return Err(MigrateError::Empty),
        Err(error) => return Err(MigrateError::Step(error.into())),
    };
    compare(&known, applied)
}

/// Whether a statement failed because its table does not exist. The text of SQLite is fixed in its source; that of
/// Postgres names the table in every language.
fn names_no_table(error: &diesel::result::Error) -> bool {
    let text = error.to_string();
    text.contains("no such table") || text.contains("__diesel_schema_migrations")
}

/// This program's steps, in order.
fn known<DB: diesel::backend::Backend>(steps: &EmbeddedMigrations) -> Result<Vec<String>, MigrateError>
where
    EmbeddedMigrations: MigrationSource<DB>,
{
    let steps = MigrationSource::<DB>::migrations(steps).map_err(MigrateError::Step)?;
    let mut known: Vec<String> = steps.iter().map(|step| step.name().version().to_string()).collect();
    known.sort_unstable();
    Ok(known)
}

/// The newest step of this program. Both backends have the same ones.
pub(crate) fn newest() -> Result<String, MigrateError> {
    Ok(known::<diesel::sqlite::Sqlite>(&SQLITE)?.pop().unwrap_or_default())
}

/// Whether the applied steps are the known ones.
fn compare(known: &[String], applied: Vec<String>) -> Result<(), MigrateError> {
    if let Some(newer) = applied.iter().filter(|step| !known.contains(step)).max() {
        return Err(MigrateError::Newer { found: newer.clone() });
    }
    match (applied.iter().max(), known.iter().find(|step| !applied.contains(step)), known.last()) {
        (None, _, _) => Err(MigrateError::Empty),
        (Some(found), Some(_), Some(needed)) => {
            Err(MigrateError::Older { found: found.clone(), needed: needed.clone() })
        }
        (Some(_), None, _) | (Some(_), Some(_), None) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_compared_step_by_step() {
        let known = ["1", "2", "3"].map(String::from);
        let of = |applied: &[&str]| compare(&known, applied.iter().map(|step| (*step).to_owned()).collect());
        assert!(of(&["1", "2", "3"]).is_ok());
        assert!(matches!(of(&[]), Err(MigrateError::Empty)));
        assert!(matches!(of(&["1", "2"]), Err(MigrateError::Older { found, needed }) if found == "2" && needed == "3"));
        assert!(matches!(of(&["1", "2", "3", "4"]), Err(MigrateError::Newer { found }) if found == "4"));
    }
}
