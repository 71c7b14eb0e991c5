//! Both backends have the same migration steps, and end in the same tables and columns.

use inventory_tests::books;
use inventory_tests::programs::program;
use inventory_tests::steps;
use inventory_tests::world::{Backend, Database};

use super::assert_none;

const SQLITE_COLUMNS: &str = "SELECT m.name || '.' || c.name AS line \
    FROM sqlite_master m, pragma_table_info(m.name) c \
    WHERE m.type = 'table' AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
    ORDER BY m.name, c.cid";
const POSTGRES_COLUMNS: &str = "SELECT table_name || '.' || column_name AS line FROM information_schema.columns \
    WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_%' ORDER BY table_name, ordinal_position";

/// What one list has and the other lacks, or has at another place.
fn differences(what: &str, sqlite: &[String], postgres: &[String]) -> Vec<String> {
    let only = |of: &[String], other: &[String], backend: &str| -> Vec<String> {
        let missing = of.iter().filter(|name| !other.contains(name));
        missing.map(|name| format!("migrations/{backend}: {what} {name} exists there alone")).collect()
    };
    let mut found = only(sqlite, postgres, "sqlite");
    found.extend(only(postgres, sqlite, "postgres"));
    if found.is_empty() && sqlite != postgres {
        found.push(format!("migrations: {what}s stand in another order"));
    }
    found
}

/// The columns of a migrated database, each as `table.column`.
fn columns(backend: Backend, sql: &str) -> Vec<String> {
    let database = Database::fresh(backend);
    let mut migrate = program("inventory-grpc");
    migrate.args(["migrate", "--database-url", &database.text]);
    assert!(migrate.output().expect("the program starts").status.success(), "migrate failed on {backend:?}");
    books::lines(&database.url, sql)
}

#[test]
fn both_backends_have_the_same_schema() {
    assert_none(differences("step", &steps::all(Backend::Sqlite), &steps::all(Backend::Postgres)));
    let (sqlite, postgres) = (columns(Backend::Sqlite, SQLITE_COLUMNS), columns(Backend::Postgres, POSTGRES_COLUMNS));
    assert!(sqlite.len() > 30, "the columns of SQLite are not all found: {sqlite:?}");
    assert_none(differences("column", &sqlite, &postgres));
}

#[test]
fn a_different_schema_is_found() {
    let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let found = differences("column", &names("unit.id unit.sku"), &names("unit.id unit.name"));
    let expected = [
        "migrations/sqlite: column unit.sku exists there alone",
        "migrations/postgres: column unit.name exists there alone",
    ];
    assert_eq!(found, expected);
    let found = differences("column", &names("unit.id unit.sku"), &names("unit.sku unit.id"));
    assert_eq!(found, ["migrations: columns stand in another order"]);
}
