//! Upgrades a filled database of the first schema. The migration makes the chains of its levels from the ledger.

use inventory_tests::books;
use inventory_tests::programs::program;
use inventory_tests::world::{Backend, Database};

const FIRST_MIGRATION: &str = "2026-11-23-000001_stock";
const ENTRIES: i64 = 300;

#[test]
fn a_database_of_the_first_schema_gets_its_chains() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        let run = |sql: &str| books::execute(&database.url, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let name = match backend {
            Backend::Sqlite => "sqlite",
            Backend::Postgres => "postgres",
        };
        let path = format!("{}/../migrations/{name}/{FIRST_MIGRATION}/up.sql", env!("CARGO_MANIFEST_DIR"));
        books::script(&database.url, &std::fs::read_to_string(path).expect("the first migration can be read"));
        run("CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, \
             run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)");
        run("INSERT INTO __diesel_schema_migrations (version) VALUES ('20261123000001')");
        let id = |digit: char| {
            let digits = digit.to_string().repeat(32);
            match backend {
                Backend::Sqlite => format!("x'{digits}'"),
                Backend::Postgres => format!("CAST('{digits}' AS uuid)"),
            }
        };
        let (site, unit, shop) = (id('1'), id('2'), id('3'));
        run(&format!("INSERT INTO site (site_id, sequence) VALUES ({site}, {ENTRIES})"));
        run(&format!("INSERT INTO unit VALUES ({unit}, {site}, 'app', 'item', '')"));
        // Every third entry belongs to the level at the shop, the others to the level at the default location.
        let mut levels = [(id('4'), "NULL".to_owned(), 0, 0), (id('5'), shop, 0, 0)];
        for sequence in 1..=ENTRIES {
            let (_, location, available, last) = &mut levels[usize::from(sequence % 3 == 0)];
            let before = *available;
            (*available, *last) = (before + 1, sequence);
            run(&format!(
                "INSERT INTO change VALUES ({site}, {sequence}, {sequence}, 2, 0, NULL, '{sequence}', '', 0)"
            ));
            run(&format!(
                "INSERT INTO ledger VALUES ({site}, {sequence}, {sequence}, {unit}, {location}, 1, {before}, \
                 {before} + 1, NULL, false)"
            ));
            let key = match backend {
                Backend::Sqlite => format!("x'{sequence:032}'"),
                Backend::Postgres => format!("CAST('{sequence:032}' AS uuid)"),
            };
            run(&format!("INSERT INTO request VALUES ({site}, {key}, {key}, {sequence}, {sequence}, NULL, 0)"));
        }
        for (level, location, available, last) in &levels {
            run(&format!(
                "INSERT INTO level VALUES ({level}, {site}, {unit}, {location}, {available}, {available}, {last})"
            ));
        }
        let mut migrate = program("inventory-grpc");
        migrate.args(["migrate", "--database-url", &database.text]);
        assert!(migrate.output().expect("the program starts").status.success(), "{backend:?}: migrate failed");
        assert_eq!(books::count(&database.url, "SELECT count(*) AS wrong FROM waypoint"), 3 + 1);
        // Dropping the database checks the rest: every entry names the previous one of its level.
    }
}
