//! The operator's commands as people run them: on a database, and against a running server.

use std::path::Path;
use std::process::{Command, Stdio};

use inventory_tests::books;
use inventory_tests::programs::{grpc_server, program};
use inventory_tests::world::{Backend, Database};

const SITE: &str = "5eed0000-0000-4000-8000-000000000001";
const SHOP: &str = "11111111-2222-4333-8444-555555555555";

/// Exit code, standard output and standard error.
fn run(args: &[&str]) -> (i32, String, String) {
    let mut command: Command = program("inventory-grpc");
    let output = command.args(args).stdin(Stdio::null()).env("SITE_ID", SITE).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn write(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("it can be written");
    path.display().to_string()
}

const HEADER: &str = "app_id,catalog_item_id,options,location_id,available,\
                      sku,name,tracking,backorder_limit,counts_subscriptions";

fn stock() -> String {
    let mut csv = "app_id,catalog_item_id,options,location_id,available\n".to_owned();
    for item in 0..2_500 {
        csv.push_str(&format!("app,item-{item:04},,,{}\n", item % 7 - 1));
    }
    csv.push_str(&format!("app,shirt,\"{{\"\"size\"\":\"\"M\"\"}}\",{SHOP},5\n"));
    csv
}

#[test]
fn stock_goes_out_as_it_came_in() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        let folder = tempfile::tempdir().expect("a folder");
        let file = write(folder.path(), "stock.csv", &stock());
        let own = ["--database-url", &database.text];
        let import = |file: &str, more: &[&str]| run(&[&["import", file][..], &own, more].concat());

        let dry = import(&file, &["--dry-run"]);
        assert_eq!((dry.0, dry.1.contains("2144 levels would be new")), (0, true), "{dry:?}");
        let first = import(&file, &[]);
        assert_eq!(
            (first.0, first.1.contains("2501 rows: 2144 levels changed, 357 were so already")),
            (0, true),
            "{first:?}"
        );
        let again = import(&file, &[]);
        assert_eq!((again.0, again.1.contains("2501 imported before")), (0, true), "{again:?}");
        let forced = import(&file, &["--again"]);
        assert_eq!((forced.0, forced.1.contains("2501 were so already, 0 imported before")), (0, true), "{forced:?}");
        assert_eq!(run(&[&["verify"][..], &own].concat()).0, 0);

        // Out in both forms, and into other books.
        for (name, format) in [("out.csv", "csv"), ("out.ndjson", "ndjson")] {
            let out = folder.path().join(name).display().to_string();
            let exported = run(&[&["export", "stock", "--output", &out, "--format", format][..], &own].concat());
            assert_eq!(exported.0, 0, "{exported:?}");
            let other = Database::fresh(backend);
            let copied = run(&["import", &out, "--database-url", &other.text]);
            assert_eq!((copied.0, copied.1.contains("2144 levels changed")), (0, true), "{copied:?}");
            let back = run(&["export", "stock", "--database-url", &other.text, "--format", format]);
            assert_eq!(back.1, std::fs::read_to_string(&out).expect("it was written"));
        }
        let ledger = run(&[&["export", "ledger"][..], &own].concat());
        assert_eq!(ledger.1.lines().count(), 1 + 2144);
        assert!(ledger.1.lines().nth(1).is_some_and(|line| line.contains("KIND_SET")), "{}", ledger.1);
    }
}

/// Units with settings, levels and both; rows that name a unit by its SKU alone.
#[test]
fn units_go_out_with_their_settings_as_they_came_in() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        let folder = tempfile::tempdir().expect("a folder");
        let own = ["--database-url", &database.text];
        let import = |file: &str, more: &[&str]| run(&[&["import", file][..], &own, more].concat());
        let settings = format!(
            "{HEADER}\n\
             app,class,\"{{\"\"date\"\":\"\"mon\"\"}}\",,12,CLASS-MON,\"Class, Monday\",QUANTITY,3,false\n\
             app,download,,,1,DL,,STATUS,,\n\
             app,mug,,,5,,,,,\n\
             app,mug,,{SHOP},7,,,,,\n\
             app,planned,,,,PLAN,Not yet stocked,,,\n"
        );
        let file = write(folder.path(), "units.csv", &settings);
        let first = import(&file, &[]);
        assert_eq!((first.0, first.1.contains("4 levels changed")), (0, true), "{first:?}");
        let by_sku = write(folder.path(), "by-sku.csv", &format!("sku,available,location_id\nPLAN,9,{SHOP}\nDL,0,\n"));
        let second = import(&by_sku, &[]);
        assert_eq!((second.0, second.1.contains("2 levels changed")), (0, true), "{second:?}");
        let unknown = write(folder.path(), "unknown.csv", "sku,available\nPLAN,9\nNOBODY,1\n");
        let (code, _, errors) = import(&unknown, &[]);
        assert_eq!((code, errors.contains("line 3")), (1, true), "{errors}");

        for (name, format) in [("out.csv", "csv"), ("out.ndjson", "ndjson")] {
            let out = folder.path().join(name).display().to_string();
            let exported = run(&[&["export", "stock", "--output", &out, "--format", format][..], &own].concat());
            assert_eq!(exported.0, 0, "{exported:?}");
            let other = Database::fresh(backend);
            let copied = run(&["import", &out, "--database-url", &other.text]);
            assert_eq!(copied.0, 0, "{copied:?}");
            let back = run(&["export", "stock", "--database-url", &other.text, "--format", format]);
            let written = std::fs::read_to_string(&out).expect("it was written");
            if format == "csv" {
                let class = "app,class,\"{\"\"date\"\":\"\"mon\"\"}\",,12,CLASS-MON,\"Class, Monday\",QUANTITY,3,false";
                assert!(written.contains(class), "{written}");
                assert!(written.contains(&format!("app,planned,,{SHOP},9,PLAN,Not yet stocked,QUANTITY,0,true")));
            }
            // A level of 0 makes no entry in the empty site, so its row comes back without one. It is 0 all the same.
            let without_zero = |text: &str| match format {
                "csv" => text.replace("app,download,,,0,", "app,download,,,,"),
                _ => text.replace("\"available\":0,", "").replace("\"location_id\":\"\",", ""),
            };
            assert_eq!(without_zero(&back.1), without_zero(&written));
        }
    }
}

#[test]
fn a_bad_row_is_told_and_nothing_is_imported() {
    let database = Database::fresh(Backend::Sqlite);
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "bad.csv", "app_id,catalog_item_id,available\na,1,5\na,,5\na,3,many\n");
    let (code, _, told) = run(&["import", &file, "--database-url", &database.text]);
    assert_eq!(code, 1);
    assert!(told.contains("line 3: catalog_item_id: ") && told.contains("line 4: available: "), "{told}");
    assert!(told.contains("nothing was imported; bad rows: 2"), "{told}");
    // Nothing was even opened.
    let (code, _, told) = run(&["import", "/nowhere/at/all.csv", "--database-url", &database.text]);
    assert_eq!((code, told.contains("/nowhere/at/all.csv: No such file")), (1, true), "{told}");
    // Two rows that only the server knows to be the same level.
    let bookings = "13d21c63-b5ec-5912-8397-c3a5ddb27a97";
    let row = |option: i64| {
        let row = serde_json::json!({
            "app_id": bookings, "catalog_item_id": "x", "options": {"a": option}, "available": option,
        });
        format!("{row}\n")
    };
    let file = write(folder.path(), "same.ndjson", &format!("{}{}", row(1), row(2)));
    let (code, _, told) = run(&["import", &file, "--database-url", &database.text]);
    assert_eq!((code, told.contains("line 2: items[1]")), (1, true), "{told}");
}

#[test]
fn a_running_server_is_asked_where_no_database_is_named() {
    let database = Database::fresh(Backend::Sqlite);
    let server = grpc_server(&database.text);
    let upstream = server.addresses[0].to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "stock.csv", "app_id,catalog_item_id,available\na,1,5\n");
    let imported = run(&["import", &file, "--grpc-upstream", &upstream]);
    assert_eq!((imported.0, imported.1.contains("1 levels changed")), (0, true), "{imported:?}");
    let (code, _, told) = run(&["export", "stock", "--grpc-upstream", "127.0.0.1:1"]);
    assert_eq!((code, told.contains("no server answers at 127.0.0.1:1")), (1, true), "{told}");
    let exported = run(&["export", "stock", "--grpc-upstream", &upstream]);
    assert_eq!(exported.1, format!("{HEADER}\na,1,,,5,,,QUANTITY,0,true\n"));
    // What was falsified is told, then mended.
    assert_eq!(books::execute(&database.url, "UPDATE level SET available = 8"), Ok(1));
    let (code, told, _) = run(&["verify", "--grpc-upstream", &upstream]);
    assert_eq!((code, told.contains("a/1 : is 8, its entries come to 5")), (1, true), "{told}");
    let (code, told, _) = run(&["verify", "--repair", "--grpc-upstream", &upstream]);
    assert_eq!((code, told.contains("repaired")), (0, true), "{told}");
    assert_eq!(run(&["verify", "--grpc-upstream", &upstream]).0, 0);
}
