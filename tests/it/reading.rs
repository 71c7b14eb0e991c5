//! `export` and `verify` on a database only read: they create nothing, migrate nothing, and leave every byte as it is.

use std::path::Path;
use std::process::Output;

use inventory_tests::books;
use inventory_tests::programs::program;
use inventory_tests::requests::{guid, set, set_item};
use inventory_tests::world::{Backend, Database, World};

fn run(arguments: &[&str], site: &str, database_url: &str) -> Output {
    let mut command = program("inventory-grpc");
    command.args(arguments).args(["--site-id", site, "--database-url", database_url]);
    command.output().expect("the program starts")
}

/// One sentence on standard error, and exit code 1.
fn refused(arguments: &[&str], site: &str, database_url: &str, part: &str) {
    let output = run(arguments, site, database_url);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    assert!(said.contains(part) && said.trim_end().lines().count() == 1, "{arguments:?}: {said}");
}

const COMMANDS: [&[&str]; 3] = [&["export", "stock"], &["export", "ledger"], &["verify"]];

#[test]
fn a_missing_file_stays_missing() {
    let folder = tempfile::TempDir::new().expect("the temporary folder is writable");
    let url = format!("sqlite:{}", folder.path().join("inventory.db").display());
    for command in COMMANDS {
        refused(command, &guid(), &url, "inventory.db: no such file");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder can be read").count(), 0);
}

#[test]
fn another_schema_is_refused_and_stays_as_it_is() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        if backend == Backend::Postgres {
            for command in COMMANDS {
                refused(command, &guid(), &database.text, "no tables of this service");
            }
        }
        let mut migrate = program("inventory-grpc");
        migrate.args(["migrate", "--database-url", &database.text]);
        assert!(migrate.output().expect("the program starts").status.success());
        let steps = books::count(&database.url, "SELECT count(*) AS wrong FROM __diesel_schema_migrations");
        for (change, part) in [
            ("DELETE FROM __diesel_schema_migrations WHERE version > '20261124000006'", "is older than this program's"),
            (
                "INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000001needs20991230000001')",
                "is newer than this program",
            ),
        ] {
            books::execute(&database.url, change).expect("the schema's steps can be changed");
            for command in COMMANDS {
                refused(command, &guid(), &database.text, part);
            }
        }
        let after = books::count(&database.url, "SELECT count(*) AS wrong FROM __diesel_schema_migrations");
        assert!(after <= steps, "no step was added: {backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_copy_is_read_byte_by_byte_as_it_is() {
    let world = World::start(Backend::Sqlite).await;
    world.stock().set_stock(set(&world.site, vec![set_item("A", 7)])).await.expect("the level can be set");
    let copy = tempfile::TempDir::new().expect("the temporary folder is writable");
    let file = copy.path().join("copy.db");
    books::script(&world.database.url, &format!("VACUUM INTO '{}'", file.display()));
    let before = std::fs::read(&file).expect("the copy can be read");
    let url = format!("sqlite:{}", file.display());
    let site = world.site.clone();
    let listed = |folder: &Path| -> Vec<_> {
        let entries = std::fs::read_dir(folder).expect("the folder can be read");
        entries.map(|entry| entry.expect("the entry can be read").file_name()).collect()
    };
    tokio::task::spawn_blocking(move || {
        for command in COMMANDS {
            let output = run(command, &site, &url);
            assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        refused(&["export", "stock"], &guid(), &url, "nothing was ever written for the site");
        refused(&["verify"], &guid(), &url, "nothing was ever written for this site");
    })
    .await
    .expect("no panic");
    assert_eq!(listed(copy.path()), ["copy.db"], "no file beside it");
    assert!(std::fs::read(&file).expect("the copy can be read") == before, "no byte has changed");
}
