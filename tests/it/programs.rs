//! The programs as an operator runs them: wrong settings, migrations, signals, the demonstration.

use inventory_tests::books;
use inventory_tests::programs::{Running, adapter, finish_saying, grpc_server, program};
use inventory_tests::test_keys::app_key;
use inventory_tests::wix_caller::{APP_ID, WixCaller, item, order};
use inventory_tests::world::{Backend, Database};
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

#[test]
fn a_wrong_setting_ends_the_program_with_a_message_that_names_it() {
    let rows: [(&str, &[&str], &str); 11] = [
        ("inventory-grpc", &["serve", "--database-url", "mysql://x"], "a database is sqlite:PATH or postgres://"),
        ("inventory-grpc", &["serve", "--grpc-listen", "here"], "--grpc-listen"),
        ("inventory-grpc", &["serve", "--grpc-listen", "0.0.0.0:0"], "--allow-plaintext"),
        (
            "inventory-grpc",
            &["migrate", "--database-url", "sqlite:/nowhere/at/all.db"],
            "cannot connect to the database",
        ),
        ("wix-adapter", &["serve"], "--wix-app-id (WIX_APP_ID) is required"),
        ("wix-adapter", &["serve", "--wix-app-id", APP_ID], "--wix-public-key (WIX_PUBLIC_KEY)"),
        ("wix-adapter", &["serve", "--wix-app-id", APP_ID, "--wix-public-key", "y"], "public key 1 cannot be read"),
        ("wix-adapter", &["serve", "--grpc-upstream", "ftp://x"], "must be HOST:PORT or http://HOST:PORT"),
        ("wix-adapter", &["serve", "--grpc-upstream", "a:1,b"], "invalid value 'b' for '--grpc-upstream"),
        ("wix-adapter", &["serve", "--drain-seconds", "5", "--announce-seconds", "5"], "--announce-seconds"),
        ("wix-adapter", &["send", "decrement", "--item", "a:x"], "must be ITEM or ITEM:QUANTITY"),
    ];
    for (name, arguments, message) in rows {
        let mut command = program(name);
        command.args(arguments);
        let (code, output) = finish_saying(command);
        assert_ne!(code, 0, "{name} {arguments:?}");
        assert!(output.contains(message), "{name} {arguments:?}: {output}");
    }
}

#[test]
fn migrations_run_once_and_a_schema_that_misses_something_is_refused() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        let migrate = || {
            let mut command = program("inventory-grpc");
            command.args(["migrate", "--database-url", &database.text]);
            finish_saying(command)
        };
        let (code, output) = migrate();
        assert!(code == 0 && output.contains("applied"), "{output}");
        let (code, output) = migrate();
        assert!(code == 0 && output.contains("up to date"), "{output}");
        let record = |version: &str| {
            let step = format!("INSERT INTO __diesel_schema_migrations (version) VALUES ('{version}')");
            books::execute(&database.url, &step).expect("the step of a later version can be recorded");
        };
        // A later version added something. Then this one is a version to go back to.
        record("29991231000001");
        let (code, output) = migrate();
        assert!(code == 0 && output.contains("up to date"), "{output}");
        assert!(grpc_server(&database.text).terminate().success());
        // But a command that takes or removes all rows must know all tables and columns.
        let [archives, copied] = ["archives", "copy.db"].map(|name| database.folder().join(name).display().to_string());
        let (copied, site) = (format!("sqlite:{copied}"), Uuid::new_v4().to_string());
        let rows: [(&[&str], &str); 3] = [
            (&["copy", "--to", &copied], "--from"),
            (&["ledger", "archive", "--before", "2020-01", "--to", &archives], "--database-url"),
            (&["site", "delete", "--site-id", &site, "--by", "a", "--reason", "b", "--yes"], "--database-url"),
        ];
        for (arguments, flag) in rows {
            let mut command = program("inventory-grpc");
            command.args(arguments).args([flag, &database.text]);
            let (code, output) = finish_saying(command);
            assert!(code == 1 && output.contains("29991231000001, which is newer than this program"), "{output}");
        }
        // A still later one took something away that this one uses.
        record("29991231000002needs29991231000001");
        let (code, output) = migrate();
        assert!(code != 0 && output.contains("newer than this program"), "{output}");
        let mut command = program("inventory-grpc");
        command.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", &database.text]);
        let (code, output) = finish_saying(command);
        assert!(code != 0 && output.contains("newer than this program"), "{output}");
    }
}

#[test]
fn the_database_refuses_to_change_or_remove_ledger_entries() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        let mut command = program("inventory-grpc");
        command.args(["migrate", "--database-url", &database.text]);
        assert_eq!(finish_saying(command).0, 0);
        let site = match backend {
            Backend::Sqlite => "zeroblob(16)",
            Backend::Postgres => "CAST('00000000-0000-0000-0000-000000000000' AS uuid)",
        };
        let change = format!(
            "INSERT INTO change (site_id, first_sequence, last_sequence, kind, reason, request_id, actor, recorded_at) \
             VALUES ({site}, 1, 1, 1, 0, 'r', '', 0)"
        );
        books::execute(&database.url, &change).expect("a row can be added");
        let columns = "site_id, sequence, change_sequence, previous_sequence, unit_id, \
                       delta, level_before, level_after, floor, subscription";
        for table in ["change", "ledger"] {
            let row = format!("INSERT INTO ledger ({columns}) VALUES ({site}, 1, 1, 0, {site}, 1, 0, 1, NULL, false)");
            if table == "ledger" {
                books::execute(&database.url, &row).expect("a row can be added");
            }
            for alter in [format!("DELETE FROM {table}"), format!("UPDATE {table} SET site_id = site_id")] {
                let error = books::execute(&database.url, &alter).expect_err(&alter).to_string();
                assert!(error.contains("never changed or removed"), "{error}");
            }
        }
        for wrong in ["2, 0, 1, NULL", "-1, 0, -1, 0"] {
            let row = format!("INSERT INTO ledger ({columns}) VALUES ({site}, 2, 2, 0, {site}, {wrong}, false)");
            let error = books::execute(&database.url, &row).expect_err(wrong).to_string();
            assert!(error.to_lowercase().contains("check"), "{error}");
        }
        // The rows above belong to no level. The check of the books would find that, so the database is not dropped.
        std::mem::forget(database);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_requests_under_way_and_exits_with_0() {
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

/// The README's first command, and the orders of its tour.
#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_shows_an_order_and_its_proof() {
    let folder = TempDir::new().expect("the temporary folder is writable");
    let mut command = program("wix-adapter");
    command.current_dir(folder.path());
    command.args(["standalone", "--demo", "--http-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"]);
    let servers = Running::start(command, 2);
    let url = format!("http://{}", servers.addresses[1]);
    let key = folder.path().join("wix-demo-key.pem");
    let send = |arguments: &[&str]| {
        let mut command = program("wix-adapter");
        command.current_dir(folder.path()).arg("send").args(arguments).args(["--url", &url]);
        finish_saying(command)
    };
    // The demonstration has written the key and set the stock once an order is applied.
    let mut tries = 0;
    while !key.exists() || send(&["decrement", "--item", "mug"]).1.contains("shortages") {
        tries += 1;
        assert!(tries < 200, "the demonstration did not start within 200 tries");
    }
    let order_id = Uuid::new_v4().to_string();
    let same = ["decrement", "--item", "mug:2", "--order-id", &order_id, "--request-id", "r1"];
    let first = send(&same);
    assert!(first.1.contains("200 {}"), "{}", first.1);
    assert_eq!(send(&same), first, "the replay gets the recorded answer");
    let (_, short) = send(&["decrement", "--item", "mug:99", "--item", "last-one:2"]);
    assert!(short.contains("428") && short.contains("last-one") && short.contains(r#""available":2"#), "{short}");
    assert!(send(&["increment", "--item", "mug:1"]).1.contains("200 {}"));
    assert_eq!(servers.terminate().code(), Some(0));
    assert!(!app_key().public.is_empty());
}
