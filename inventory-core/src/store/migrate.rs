//! The steps of the schema, embedded from `migrations/`.
//!
//! A program works on a database that has steps of later versions, as long as these only add to the schema. So old and
//! new servers run side by side during an upgrade, and an upgrade can be taken back. A step that takes something away
//! says in its name which step a program must know to do without it, as in
//! `2027-03-01-000020-needs-2027-01-15-000019_drop_x`. A program that does not know that step refuses the database.
//! CONTRIBUTING.md has the rule for steps.
//!
//! The target of a copy has one more step until the copy has ended: a mark. So no program takes half a copy for a
//! database.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::SqliteConnection;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::store::connection::AnyConnection;
use crate::store::{DatabaseUrl, classify, sqlite};

const SQLITE: EmbeddedMigrations = embed_migrations!("../migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("../migrations/postgres");

/// The lock by which servers that start together take turns. Any number that no other program uses.
const ADVISORY_LOCK: i64 = 7_461_966_240_120_001;

/// How long a step waits for a lock of a table. Everybody else who wants the table waits behind it, so it must give way
/// before the writers of running servers do (`limits::LOCK_WAIT_MS_MAX`). Somebody who reads for long only delays it.
const LOCK_WAIT: &str = "SET lock_timeout = '200ms'";
/// How often a step asks for its locks before the upgrade fails, and the pause in between.
const LOCK_TRIES: u32 = 120;
const LOCK_PAUSE: Duration = Duration::from_millis(300);

/// What the service's role may do on Postgres: read everything, add rows, change what has a state, and forget outcomes.
/// It changes and removes no entry of the ledger, and no token. `{role}` is a quoted name.
const GRANTS: &str = "GRANT USAGE ON SCHEMA public TO {role}; \
    GRANT SELECT ON site, unit, level, change, ledger, waypoint, request, token, journal, age_mark, \
        cut, balance, holding, __diesel_schema_migrations TO {role}; \
    GRANT INSERT ON site, unit, level, change, ledger, waypoint, request, journal, age_mark TO {role}; \
    GRANT UPDATE ON site, unit, level TO {role}; \
    GRANT DELETE ON request, age_mark TO {role}";

/// How the mark of a copy's target begins. What follows tells the source.
const COPY_OF: &str = "copy-of-";

/// What stands in the version of a step that takes something away, before the version of the step that a program must
/// know.
const NEEDS: &str = "needs";

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
    /// The database has a step that this program does not know, and must know for what it is to do.
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
    /// The database is half a copy.
    #[error("the database is the target of a copy that has not ended; run the same `inventory-grpc copy` again")]
    HalfCopied,
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

/// Brings the schema up to date. If no step is missing, it only reads: so a role that may not change the schema can
/// start a server.
pub(crate) fn migrate(url: &DatabaseUrl) -> Result<Migrated, MigrateError> {
    match url {
        DatabaseUrl::Sqlite(path) => {
            let mut connection = SqliteConnection::establish(path)?;
            connection.batch_execute(&sqlite::session()).map_err(|error| MigrateError::Step(error.into()))?;
            if lacks_nothing(&mut AnyConnection::Sqlite(&mut connection))? {
                return Ok(Migrated::new());
            }
            let mut done = Migrated::new();
            run(&mut connection, &mut done, SQLITE)?;
            Ok(done)
        }
        DatabaseUrl::Postgres(url) => {
            let mut connection = PgConnection::establish(url)?;
            // Even to look by `applied_migrations` takes the right to create tables.
            if lacks_nothing(&mut AnyConnection::Postgres(&mut connection))? {
                return Ok(Migrated::new());
            }
            let lock = format!("SELECT pg_advisory_lock({ADVISORY_LOCK})");
            connection.batch_execute(&lock).map_err(|error| MigrateError::Step(error.into()))?;
            // The lock ends with the connection.
            connection.batch_execute(LOCK_WAIT).map_err(|error| MigrateError::Step(error.into()))?;
            run_between_readers(&mut connection)
        }
    }
}

/// Whether all steps are applied. Reads only.
fn lacks_nothing(connection: &mut AnyConnection<'_>) -> Result<bool, MigrateError> {
    match check(connection) {
        Ok(()) => Ok(true),
        Err(MigrateError::Empty | MigrateError::Older { .. }) => Ok(false),
        Err(refused) => Err(refused),
    }
}

/// Runs the steps. One that does not get its locks is tried again, from its start.
fn run_between_readers(connection: &mut PgConnection) -> Result<Migrated, MigrateError> {
    let mut done = Migrated::new();
    for _ in 1..LOCK_TRIES {
        match run(connection, &mut done, POSTGRES) {
            Err(MigrateError::Step(error)) if is_lock_timeout(error.as_ref()) => std::thread::sleep(LOCK_PAUSE),
            Err(error) => return Err(error),
            Ok(()) => return Ok(done),
        }
    }
    run(connection, &mut done, POSTGRES)?;
    Ok(done)
}

/// Runs the steps that are missing, and adds them to `done`, also if a later one fails.
fn run<C>(connection: &mut C, done: &mut Migrated, steps: EmbeddedMigrations) -> Result<(), MigrateError>
where
    C: MigrationHarness<C::Backend> + Connection,
    EmbeddedMigrations: MigrationSource<C::Backend>,
{
    let applied = connection.applied_migrations().map_err(MigrateError::Step)?;
    let applied = applied.iter().map(ToString::to_string).collect();
    // Whether it is older does not matter here.
    if let Err(refused @ (MigrateError::Newer { .. } | MigrateError::HalfCopied)) =
        compare(&known::<C::Backend>(&steps)?, applied)
    {
        return Err(refused);
    }
    for step in connection.pending_migrations(steps).map_err(MigrateError::Step)? {
        done.push(connection.run_migration(&step).map_err(MigrateError::Step)?.to_string());
    }
    Ok(())
}

fn is_lock_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| classify::is_lock_timeout(&error.to_string()))
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

/// Checks that a database has this program's schema, perhaps with additions of later versions. Writes nothing.
pub(crate) fn check(connection: &mut AnyConnection<'_>) -> Result<(), MigrateError> {
    compare(&known_to(connection)?, applied(connection)?)
}

/// Checks that a database has this program's schema and nothing else. A command that takes or removes all rows must
/// know all tables and columns.
pub(crate) fn check_whole(connection: &mut AnyConnection<'_>) -> Result<(), MigrateError> {
    compare_whole(&known_to(connection)?, applied(connection)?)
}

/// The same for the target of a copy, whether or not the copy has ended.
pub(crate) fn check_copy(connection: &mut AnyConnection<'_>) -> Result<(), MigrateError> {
    let mut applied = applied(connection)?;
    applied.retain(|step| !step.starts_with(COPY_OF));
    compare_whole(&known_to(connection)?, applied)
}

/// The source of the copy whose target the database is; `None` if it is no such target, or the copy has ended.
pub(crate) fn copy_of(connection: &mut AnyConnection<'_>) -> Result<Option<String>, MigrateError> {
    match applied(connection) {
        Ok(applied) => Ok(applied.iter().find_map(|step| step.strip_prefix(COPY_OF)).map(str::to_owned)),
        Err(MigrateError::Empty) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Marks a database as the target of a copy. `source` has at most 40 letters and digits.
pub(crate) fn begin_copy(connection: &mut AnyConnection<'_>, source: &str) -> Result<(), MigrateError> {
    write_mark(connection, &format!("INSERT INTO __diesel_schema_migrations (version) VALUES ('{COPY_OF}{source}')"))
}

/// Takes the mark away.
pub(crate) fn end_copy(connection: &mut AnyConnection<'_>) -> Result<(), MigrateError> {
    write_mark(connection, &format!("DELETE FROM __diesel_schema_migrations WHERE version LIKE '{COPY_OF}%'"))
}

fn write_mark(connection: &mut AnyConnection<'_>, sql: &str) -> Result<(), MigrateError> {
    let written = match connection {
        AnyConnection::Sqlite(connection) => connection.batch_execute(sql),
        AnyConnection::Postgres(connection) => connection.batch_execute(sql),
    };
    written.map_err(|error| MigrateError::Step(error.into()))
}

/// The steps that a database has. Writes nothing.
fn applied(connection: &mut AnyConnection<'_>) -> Result<Vec<String>, MigrateError> {
    let query = diesel::sql_query("SELECT version FROM __diesel_schema_migrations");
    let applied = match connection {
        AnyConnection::Sqlite(connection) => query.load::<Applied>(&mut **connection),
        AnyConnection::Postgres(connection) => query.load::<Applied>(&mut **connection),
    };
    match applied {
        Ok(applied) => Ok(applied.into_iter().map(|row| row.version).collect()),
        Err(error) if names_no_table(&error) => Err(MigrateError::Empty),
        Err(error) => Err(MigrateError::Step(error.into())),
    }
}

fn known_to(connection: &AnyConnection<'_>) -> Result<Vec<String>, MigrateError> {
    match connection {
        AnyConnection::Sqlite(_) => known::<diesel::sqlite::Sqlite>(&SQLITE),
        AnyConnection::Postgres(_) => known::<diesel::pg::Pg>(&POSTGRES),
    }
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

/// Whether the applied steps are the known ones. Unknown steps that only add may be there too.
fn compare(known: &[String], applied: Vec<String>) -> Result<(), MigrateError> {
    if applied.iter().any(|step| step.starts_with(COPY_OF)) {
        return Err(MigrateError::HalfCopied);
    }
    let takes_away = |step: &&String| match step.split_once(NEEDS) {
        Some((_, needed)) => !known.iter().any(|step| step.split(NEEDS).next() == Some(needed)),
        None => false,
    };
    if let Some(newer) = applied.iter().filter(|step| !known.contains(step)).filter(takes_away).max() {
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

/// Whether the applied steps are the known ones, and no others.
fn compare_whole(known: &[String], applied: Vec<String>) -> Result<(), MigrateError> {
    compare(known, applied.clone())?;
    match applied.into_iter().filter(|step| !known.contains(step)).max() {
        Some(found) => Err(MigrateError::Newer { found }),
        None => Ok(()),
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
        assert!(
            of(&["1", "2", "3", "4", "5needs3", "7needs2"]).is_ok(),
            "these only add, or take away what 3 replaced"
        );
        assert!(matches!(of(&["1", "2", "4"]), Err(MigrateError::Older { needed, .. }) if needed == "3"));
        let found = of(&["1", "2", "3", "4", "5needs4", "6"]);
        assert!(matches!(found, Err(MigrateError::Newer { found }) if found == "5needs4"));
        assert!(matches!(of(&["1", "2", "3", "copy-of-x"]), Err(MigrateError::HalfCopied)));
        let whole = |applied: &[&str]| compare_whole(&known, applied.iter().map(|step| (*step).to_owned()).collect());
        assert!(whole(&["1", "2", "3"]).is_ok());
        assert!(matches!(whole(&["1", "2", "3", "4"]), Err(MigrateError::Newer { found }) if found == "4"));
        assert!(matches!(whole(&["1", "2", "4"]), Err(MigrateError::Older { .. })));
    }
}
