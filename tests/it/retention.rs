//! How long the outcomes of requests are kept, and who may delete them.

use inventory_tests::books;
use inventory_tests::programs::program;
use inventory_tests::world::{Backend, Database};

const SITE: &str = "5eed0000-0000-4000-8000-000000000002";

/// A command that opens a database itself does not know how long its servers keep outcomes. So it deletes none.
#[test]
fn commands_delete_no_outcomes() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        let file = database.folder().join("stock.csv");
        std::fs::write(&file, "app_id,catalog_item_id,available\na,1,5\n").expect("the folder is writable");
        let run = |args: &[&str]| {
            let mut command = program("inventory-grpc");
            let output = command.args(args).args(["--database-url", &database.text]).env("SITE_ID", SITE).output();
            assert!(output.expect("the program starts").status.success(), "{args:?} failed");
        };
        run(&["import", &file.display().to_string()]);
        assert_eq!(books::execute(&database.url, "UPDATE request SET recorded_at = 0"), Ok(1));
        run(&["verify"]);
        run(&["export", "stock"]);
        assert_eq!(books::count(&database.url, "SELECT count(*) AS wrong FROM request"), 1, "{backend:?}");
    }
}
