//! The programs as an operator meets them: settings, migrations, signals.

use std::process::Command;

use inventory_tests::books;
use inventory_tests::programs::{Running, adapter, grpc_server, program};
use inventory_tests::test_keys::app_key;
use inventory_tests::wix_caller::{WixCaller, item, order};
use inventory_tests::world::{Backend, Database};
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

/// Runs to the end; its exit code and what it said.
fn run(mut command: Command) -> (i32, String) {
    let output = command.output().expect("it runs");
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    (output.status.code().unwrap_or(-1), said)
}

#[test]
fn a_wrong_setting_ends_the_program_with_one_clear_sentence() {
    let rows: [(&str, &[&str], &str); 9] = [
        ("inventory-grpc", &["serve", "--database-url", "mysql://x"], "a database is sqlite:PATH or postgres://"),
        ("inventory-grpc", &["serve", "--grpc-listen", "here"], "--grpc-listen"),
        ("inventory-grpc", &["serve", "--grpc-listen", "0.0.0.0:0"], "--allow-plaintext"),
        (
            "inventory-grpc",
            &["migrate", "--database-url", "sqlite:/nowhere/at/all.db"],
            "cannot connect to the database",
        ),
        ("wix-adapter", &["serve"], "--wix-app-id (WIX_APP_ID) is required"),
        ("wix-adapter", &["serve", "--wix-app-id", "x"], "--wix-public-key (WIX_PUBLIC_KEY)"),
        ("wix-adapter", &["serve", "--wix-app-id", "x", "--wix-public-key", "y"], "public key 1 cannot be read"),
        ("wix-adapter", &["serve", "--grpc-upstream", "ftp://x"], "must be HOST:PORT or http://HOST:PORT"),
        ("wix-adapter", &["send", "decrement", "--item", "a:x"], "must be ITEM or ITEM:QUANTITY"),
    ];
    for (name, arguments, sentence) in rows {
        let mut command = program(name);
        command.args(arguments);
        let (code, said) = run(command);
        assert_ne!(code, 0, "{name} {arguments:?}");
        assert!(said.contains(sentence), "{name} {arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn migrations_run_once_and_a_newer_schema_is_refused() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        let migrate = || {
            let mut command = program("inventory-grpc");
            command.args(["migrate", "--database-url", &database.text]);
            run(command)
        };
        let (code, said) = migrate();
        assert!(code == 0 && said.contains("applied"), "{said}");
        let (code, said) = migrate();
        assert!(code == 0 && said.contains("up to date"), "{said}");
        let newer = "INSERT INTO __diesel_schema_migrations (version) VALUES ('29991231000001')";
        books::execute(&database.url, newer).expect("a step of a newer version");
        let (code, said) = migrate();
        assert!(code != 0 && said.contains("newer than this program"), "{said}");
        let mut command = program("inventory-grpc");
        command.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", &database.text]);
        let (code, said) = run(command);
        assert!(code != 0 && said.contains("newer than this program"), "{said}");
    }
}

#[test]
fn the_ledger_cannot_be_altered_even_in_the_database() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        let mut command = program("inventory-grpc");
        command.args(["migrate", "--database-url", &database.text]);
        assert_eq!(run(command).0, 0);
        let site = match backend {
            Backend::Sqlite => "zeroblob(16)",
            Backend::Postgres => "CAST('00000000-0000-0000-0000-000000000000' AS uuid)",
        };
        let change = format!("INSERT INTO change VALUES ({site}, 1, 1, 1, 0, NULL, 'r', '', 0, '')");
        books::execute(&database.url, &change).expect("a line can be added");
        for table in ["change", "ledger"] {
            let row =
                format!("INSERT INTO ledger VALUES ({site}, 1, 1, {site}, NULL, 1, 0, 1, NULL, false, 0, NULL, NULL)");
            if table == "ledger" {
                books::execute(&database.url, &row).expect("a line can be added");
            }
            for alter in [format!("DELETE FROM {table}"), format!("UPDATE {table} SET site_id = site_id")] {
                let error = books::execute(&database.url, &alter).expect_err(&alter).to_string();
                assert!(error.contains("never changed or removed"), "{error}");
            }
        }
        for wrong in ["2, 0, 1, NULL", "-1, 0, -1, 0"] {
            let row = format!("INSERT INTO ledger VALUES ({site}, 2, 2, {site}, NULL, {wrong}, false, 0, NULL, NULL)");
            let error = books::execute(&database.url, &row).expect_err(wrong).to_string();
            assert!(error.to_lowercase().contains("check"), "{error}");
        }
        // The lines above belong to no level, which the proof of the books would rightly find.
        std::mem::forget(database);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_what_is_under_way_and_exits_with_0() {
    let database = Database::fresh(Backend::Sqlite);
    let server = grpc_server(&database.text);
    let front = adapter(server.addresses[0]);
    let caller = WixCaller::new(front.addresses[0]);
    let site = Uuid::new_v4().to_string();
    let sent = (0..20).map(|_| caller.call("increment", order(&site, json!([item("A", 1)]))));
    let answers = futures_util::future::join_all(sent).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    drop(caller);
    let stopped = tokio::task::spawn_blocking(move || (front.terminate().code(), server.terminate().code())).await;
    assert_eq!(stopped.expect("no panic"), (Some(0), Some(0)));
    assert_eq!(books::count(&database.url, "SELECT available AS wrong FROM level"), 20);
}

/// The README's first command, and its tour.
#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_shows_an_order_and_its_proof() {
    let folder = TempDir::new().expect("a folder");
    let mut command = program("wix-adapter");
    command.current_dir(folder.path());
    command.args(["standalone", "--demo", "--http-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"]);
    let servers = Running::start(command, 2);
    let url = format!("http://{}", servers.addresses[1]);
    let key = folder.path().join("wix-demo-key.pem");
    let send = |arguments: &[&str]| {
        let mut command = program("wix-adapter");
        command.current_dir(folder.path()).arg("send").args(arguments).args(["--url", &url]);
        run(command)
    };
    // The key and the stock are there once the first order gets through.
    let mut tries = 0;
    while !key.exists() || send(&["decrement", "--item", "mug"]).1.contains("shortages") {
        tries += 1;
        assert!(tries < 200, "the demonstration did not come up");
    }
    let order_id = Uuid::new_v4().to_string();
    let same = ["decrement", "--item", "mug:2", "--order-id", &order_id, "--request-id", "r1"];
    let first = send(&same);
    assert!(first.1.contains("200 {}"), "{}", first.1);
    assert_eq!(send(&same), first, "the recorded answer");
    let (_, short) = send(&["decrement", "--item", "mug:99", "--item", "last-one:2"]);
    assert!(short.contains("428") && short.contains("last-one") && short.contains(r#""available":2"#), "{short}");
    assert!(send(&["increment", "--item", "mug:1"]).1.contains("200 {}"));
    assert_eq!(servers.terminate().code(), Some(0));
    assert!(!app_key().public.is_empty());
}
