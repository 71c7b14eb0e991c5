//! The operator's commands: import, export and verify, on a database and through a running server.

use std::path::Path;

use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_tests::books;
use inventory_tests::on_both;
use inventory_tests::programs::{finish, grpc_server, program};
use inventory_tests::requests::{decrement, reference_of};
use inventory_tests::scenario::BOOKINGS;
use inventory_tests::wix_caller::{CATALOG, item_of, item_with, order};
use inventory_tests::world::{Backend, Database, World, start_grpc};
use serde_json::json;
use tokio_util::sync::CancellationToken;

on_both!(slots_are_imported_sold_and_copied);

const SITE: &str = "5eed0000-0000-4000-8000-000000000001";
const SHOP: &str = "11111111-2222-4333-8444-555555555555";

/// Runs a command of `inventory-grpc`. Returns exit code, standard output and standard error.
fn run(args: &[&str]) -> (i32, String, String) {
    let mut command = program("inventory-grpc");
    command.args(args).env("SITE_ID", SITE);
    finish(command)
}

/// Writes a file and returns its path.
fn write(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("the folder is writable");
    path.display().to_string()
}

const HEADER: &str = "app_id,catalog_item_id,options,location_id,available,\
                      sku,name,tracking,backorder_limit,counts_subscriptions,sell_from,sell_until";

/// A CSV file with 2,501 levels, of which 357 are 0.
const DEFAULT_LOCATION: &str = "dddddddd-0000-4000-8000-000000000001";

/// A GUID as SQL of the store.
fn stored_guid(backend: Backend, guid: &str) -> String {
    match backend {
        Backend::Sqlite => format!("x'{}'", guid.replace('-', "")),
        Backend::Postgres => format!("CAST('{guid}' AS uuid)"),
    }
}

fn stock() -> String {
    let mut csv = "app_id,catalog_item_id,options,location_id,available\n".to_owned();
    for item in 0..2_500 {
        csv.push_str(&format!("app,item-{item:04},,,{}\n", item % 7 - 1));
    }
    csv.push_str(&format!("app,shirt,\"{{\"\"size\"\":\"\"M\"\"}}\",{SHOP},5\n"));
    csv
}

/// An export that was imported into an empty database.
struct Copy {
    /// What the import printed.
    import: String,
    exported: String,
    /// The export of the second database.
    exported_again: String,
}

fn copy(database: &Database, backend: Backend, format: &str) -> Copy {
    let (folder, other) = (database.folder(), Database::fresh(backend));
    let file = folder.join(format!("export.{format}")).display().to_string();
    let export = ["export", "stock", "--format", format, "--database-url"];
    let first = run(&[&export[..], &[&database.text, "--output", &file]].concat());
    assert_eq!(first.0, 0, "{first:?}");
    let import = run(&["import", &file, "--database-url", &other.text]);
    assert_eq!(import.0, 0, "{import:?}");
    let second = run(&[&export[..], &[&other.text]].concat());
    let exported = std::fs::read_to_string(&file).expect("the export was written");
    Copy { import: import.1, exported, exported_again: second.1 }
}

#[test]
fn an_export_and_its_import_give_the_same_levels() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
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

        // The default location gets an id. The copy has none, and still has the levels at its default location.
        let name = format!("UPDATE site SET default_location_id = {}", stored_guid(backend, DEFAULT_LOCATION));
        assert_eq!(books::execute(&database.url, &name), Ok(1));
        for format in ["csv", "ndjson"] {
            let Copy { import, exported, exported_again } = copy(&database, backend, format);
            assert!(!exported.contains(DEFAULT_LOCATION), "{exported}");
            assert!(import.contains("2144 levels changed"), "{import}");
            assert_eq!(exported_again, exported);
        }
        let ledger = run(&[&["export", "ledger"][..], &own].concat());
        assert_eq!(ledger.1.lines().count(), 1 + 2144);
        assert!(ledger.1.lines().nth(1).is_some_and(|line| line.contains("KIND_SET")), "{}", ledger.1);
    }
}

/// The file has units with settings, with levels and with both. A second file has rows that name units by SKU alone.
#[test]
fn an_export_and_its_import_give_the_same_settings() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        let own = ["--database-url", &database.text];
        let import = |file: &str, more: &[&str]| run(&[&["import", file][..], &own, more].concat());
        let class = "app,class,\"{\"\"date\"\":\"\"mon\"\"}\",,12,CLASS-MON,\"Class, Monday\",QUANTITY,3,false,\
                     2026-01-01T00:00:00Z,2100-01-01T18:00:00.500Z";
        // A booking of a level of 0 is refused, and one without a level is sold.
        let settings = format!(
            "{HEADER}\n\
             {BOOKINGS},full,,,0,,,,,,,\n\
             {BOOKINGS},open,,,,OPEN,,,,,,2100-01-01T00:00:00Z\n\
             {class}\n\
             app,download,,,1,DL,,STATUS,,,,\n\
             app,file,,,,,,UNTRACKED,,,,\n\
             app,mug,,,5,,,,,,,\n\
             app,mug,,{SHOP},7,,,,,,,\n\
             app,planned,,,,PLAN,Not yet stocked,,,,,\n"
        );
        let file = write(folder.path(), "units.csv", &settings);
        let first = import(&file, &[]);
        assert_eq!((first.0, first.1.contains("5 levels changed")), (0, true), "{first:?}");
        let by_sku = write(folder.path(), "by-sku.csv", &format!("sku,available,location_id\nPLAN,9,{SHOP}\nDL,0,\n"));
        let second = import(&by_sku, &[]);
        assert_eq!((second.0, second.1.contains("2 levels changed")), (0, true), "{second:?}");
        let unknown = write(folder.path(), "unknown.csv", "sku,available\nPLAN,9\nNOBODY,1\n");
        let (code, _, errors) = import(&unknown, &[]);
        assert_eq!((code, errors.contains("line 3")), (1, true), "{errors}");

        for format in ["csv", "ndjson"] {
            let Copy { exported, exported_again, .. } = copy(&database, backend, format);
            if format == "csv" {
                // Each unit has its own settings alone.
                let rest = settings.replace("app,download,,,1,", "app,download,,,0,");
                let planned = format!("app,planned,,{SHOP},9,PLAN,");
                assert_eq!(exported, rest.replace("app,planned,,,,PLAN,", &planned));
            }
            assert_eq!(exported_again, exported);
        }
    }
}

#[test]
fn every_bad_row_is_reported_and_nothing_is_imported() {
    let database = Database::fresh(Backend::Sqlite);
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let file = write(folder.path(), "bad.csv", "app_id,catalog_item_id,available\na,1,5\na,,5\na,3,many\n");
    let (code, _, errors) = run(&["import", &file, "--database-url", &database.text]);
    assert_eq!(code, 1);
    assert!(errors.contains("line 3: catalog_item_id: ") && errors.contains("line 4: available: "), "{errors}");
    assert!(errors.contains("nothing was imported; bad rows: 2"), "{errors}");
    // The file does not exist.
    let (code, _, errors) = run(&["import", "/nowhere/at/all.csv", "--database-url", &database.text]);
    assert_eq!((code, errors.contains("/nowhere/at/all.csv: No such file")), (1, true), "{errors}");
    // Two rows for the same level. Only the server can tell, because this option does not identify stock of Wix
    // Bookings.
    let row = |option: i64| {
        let row = serde_json::json!({
            "app_id": BOOKINGS, "catalog_item_id": "x", "options": {"a": option}, "available": option,
        });
        format!("{row}\n")
    };
    let file = write(folder.path(), "same.ndjson", &format!("{}{}", row(1), row(2)));
    let (code, _, errors) = run(&["import", &file, "--database-url", &database.text]);
    assert_eq!((code, errors.contains("line 2: items[1]")), (1, true), "{errors}");
    // Only the server knows the edge of the sales window that is stored.
    let file = write(folder.path(), "from.csv", "app_id,catalog_item_id,sell_from\na,1,2026-01-01T00:00:00Z\n");
    assert_eq!(run(&["import", &file, "--database-url", &database.text]).0, 0);
    let file = write(
        folder.path(),
        "until.csv",
        "app_id,catalog_item_id,sell_until\na,2,2026-01-01T00:00:00Z\na,1,2026-01-01T00:00:00Z\n",
    );
    let (code, _, errors) = run(&["import", &file, "--database-url", &database.text]);
    assert_eq!((code, errors.contains("line 3") && errors.contains("sell_until")), (1, true), "{errors}");
}

#[test]
fn the_commands_work_through_a_running_server() {
    let database = Database::fresh(Backend::Sqlite);
    let server = grpc_server(&database.text);
    let upstream = server.addresses[0].to_string();
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let file = write(folder.path(), "stock.csv", "app_id,catalog_item_id,available\na,1,5\n");
    let imported = run(&["import", &file, "--grpc-upstream", &upstream]);
    assert_eq!((imported.0, imported.1.contains("1 levels changed")), (0, true), "{imported:?}");
    let (code, _, errors) = run(&["export", "stock", "--grpc-upstream", "127.0.0.1:1"]);
    assert_eq!((code, errors.contains("no server answers at 127.0.0.1:1")), (2, true), "{errors}");
    let exported = run(&["export", "stock", "--grpc-upstream", &upstream]);
    assert_eq!(exported.1, format!("{HEADER}\na,1,,,5,,,,,,,\n"));
    // A falsified level is reported, then repaired.
    assert_eq!(books::execute(&database.url, "UPDATE level SET available = 8"), Ok(1));
    let (code, output, _) = run(&["verify", "--grpc-upstream", &upstream]);
    assert_eq!((code, output.contains("\na/1 at the default location: is 8, ")), (1, true), "{output}");
    let (code, output, _) = run(&["verify", "--repair", "--grpc-upstream", &upstream]);
    assert_eq!((code, output.contains("repaired")), (0, true), "{output}");
    assert_eq!(run(&["verify", "--grpc-upstream", &upstream]).0, 0);
}

/// What `verify` says of a variant can be typed into `why`.
#[test]
fn a_variant_that_differs_is_named() {
    let database = Database::fresh(Backend::Sqlite);
    let server = grpc_server(&database.text);
    let upstream = server.addresses[0].to_string();
    let shirt =
        |size: &str, available: i64| format!("a,shirt,\"{{\"\"size\"\":\"\"{size}\"\"}}\",{SHOP},{available}\n");
    let rows = format!("app_id,catalog_item_id,options,location_id,available\n{}{}", shirt("L", 6), shirt("M", 5));
    let file = write(&database.folder(), "stock.csv", &rows);
    assert_eq!(run(&["import", &file, "--grpc-upstream", &upstream]).0, 0);
    assert_eq!(books::execute(&database.url, "UPDATE level SET available = 8 WHERE available = 5"), Ok(1));
    let (code, output, errors) = run(&["verify", "--grpc-upstream", &upstream]);
    assert_eq!(code, 1, "{output}{errors}");
    let line = output.lines().nth(1).expect("one level differs");
    assert_eq!(line, format!("a/shirt/size=M at {SHOP}: is 8, its entries come to 5"), "{output}");
    let (unit, _) = line.split_once(" at ").expect("the unit comes first");
    let (code, page, errors) = run(&["why", unit, "--location-id", SHOP, "--grpc-upstream", &upstream]);
    assert!(code == 0 && page.starts_with("a/shirt/size=M: "), "{page}{errors}");
    assert_eq!(run(&["verify", "--repair", "--grpc-upstream", &upstream]).0, 0);
}

/// A course with three dates, imported through the running server: one sells out, the sale of another has ended. A
/// booking beside it is sold although nobody stocked it, and that is so in a copy too.
async fn slots_are_imported_sold_and_copied(mut world: World) {
    world.site = SITE.to_owned();
    let upstream = world.grpc.to_string();
    let backend = if world.database.text.starts_with("sqlite") { Backend::Sqlite } else { Backend::Postgres };
    let (folder, other) = (world.database.folder(), Database::fresh(backend));
    let slot = |date: &str, rest: &str| format!("{CATALOG},course,\"{{\"\"date\"\":\"\"{date}\"\"}}\",,{rest}\n");
    let file = write(
        &folder,
        "slots.csv",
        &[
            "app_id,catalog_item_id,options,location_id,available,sell_until\n",
            &slot("mon", "12,2026-01-01T00:00:00Z"),
            &slot("tue", "2,2100-01-02T00:00:00Z"),
            &slot("wed", "12,2100-01-03T00:00:00+01:00"),
        ]
        .concat(),
    );
    let imported = run(&["import", &file, "--grpc-upstream", &upstream]);
    assert_eq!((imported.0, imported.1.contains("3 levels changed")), (0, true), "{imported:?}");

    let date = |date: &str| item_with("course", json!({"date": date}));
    let rows = [
        ("two dates and a booking", json!([date("tue"), date("wed"), item_of(BOOKINGS, "massage", 1)]), None),
        ("the sale has ended", json!([date("mon"), date("wed")]), Some("NO_LONGER_ON_SALE")),
        ("the last place", json!([date("tue")]), None),
        ("sold out", json!([date("tue"), date("wed")]), Some("INSUFFICIENT_STOCK")),
    ];
    for (name, items, reason) in rows {
        let answer = world.wix.call("decrement", order(SITE, items)).await;
        assert_eq!(answer.status, if reason.is_some() { 428 } else { 200 }, "{name}");
        let told = answer.error_data("shortages")[0]["reason"].as_str();
        assert_eq!(told, reason, "{name}");
    }

    let copy = folder.join("copy.csv").display().to_string();
    assert_eq!(run(&["export", "stock", "--grpc-upstream", &upstream, "--output", &copy]).0, 0);
    let exported = std::fs::read_to_string(&copy).expect("the export was written");
    let row = |date: &str, available: i64, until: &str| slot(date, &format!("{available},,,,,,,{until}"));
    let expected = [
        row("mon", 12, "2026-01-01T00:00:00Z"),
        row("tue", 0, "2100-01-02T00:00:00Z"),
        row("wed", 11, "2100-01-02T23:00:00Z"),
    ];
    assert_eq!(exported, format!("{HEADER}\n{}", expected.concat()), "the booking was never stocked");
    assert_eq!(run(&["import", &copy, "--database-url", &other.text]).0, 0);
    assert_eq!(run(&["export", "stock", "--database-url", &other.text]).1, exported);

    let stop = CancellationToken::new();
    let server = format!("http://{}", start_grpc(other.url.clone(), stop.clone()).await);
    let mut client = AvailabilityServiceClient::connect(server).await.expect("the server accepts connections");
    let booking = v1::Item { unit: reference_of(BOOKINGS, "massage"), quantity: 1, ..Default::default() };
    let request = v1::DecrementAvailabilityRequest { items: vec![booking], ..decrement(SITE, &[]) };
    client.decrement_availability(request).await.expect("a booking that was never stocked is sold in the copy too");
    stop.cancel();
}
