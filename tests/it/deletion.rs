//! A site is deleted with everything in it, but for a record in the journal. What comes later begins anew.

use std::io::Write;
use std::process::Stdio;

use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::archives::{JANUARY, MARCH, archive_old_months};
use inventory_tests::books;
use inventory_tests::on_both;
use inventory_tests::programs::{grpc_server, program};
use inventory_tests::requests::{adjust, decrement, guid, reference, set, set_item};
use inventory_tests::tokens::channel_to;
use inventory_tests::world::{Backend, Database, World, start_grpc};
use tokio_util::sync::CancellationToken;
use tonic::Code;

on_both!(nothing_of_a_deleted_site_is_left, a_deleted_site_begins_anew, a_deletion_is_asked_for_and_recorded);

fn backend(world: &World) -> Backend {
    if world.database.text.starts_with("sqlite") { Backend::Sqlite } else { Backend::Postgres }
}

/// A GUID as SQL of the store.
fn stored(world: &World, guid: &str) -> String {
    match backend(world) {
        Backend::Sqlite => format!("x'{}'", guid.replace('-', "")),
        Backend::Postgres => format!("CAST('{guid}' AS uuid)"),
    }
}

/// Runs `site delete`, with a line on standard input. Returns whether it succeeded, and what it said.
fn delete(database_url: &str, site: &str, more: &[&str], typed: &str) -> (bool, String) {
    let mut command = program("inventory-grpc");
    command.args(["site", "delete", "--site-id", site, "--by", "ann", "--reason", "the owner asked for it"]);
    command.args(["--database-url", database_url]).args(more);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut input = child.stdin.take().expect("a pipe");
    // A program that asks nothing reads nothing.
    let _ = input.write_all(format!("{typed}\n").as_bytes());
    drop(input);
    let output = child.wait_with_output().expect("the program ends");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), said)
}

/// Gives every table a row of the site.
async fn fill(world: &World) {
    world.clock.set(JANUARY);
    world.set(&[("A", 5)]).await;
    let order = v1::DecrementAvailabilityRequest { order_id: guid(), ..decrement(&world.site, &[("A", 1)]) };
    world.availability().decrement_availability(order).await.expect("there is stock");
    archive_old_months(&world.database.url, &world.database.text, &world.database.folder());
    world.clock.set(MARCH);
    for _ in 0..64 {
        world.stock().adjust_stock(adjust(&world.site, &[("A", 1)])).await.expect("levels can be adjusted");
    }
    let sku = v1::UpdateUnitRequest { new_sku: Some("SECRET-SKU".into()), ..Default::default() };
    world.configure_unit("A", sku).await.expect("the unit can be changed");
}

/// The tables with the number of their rows that belong to the site. A new table must say whose rows it has: by a
/// column `site_id`, or here.
fn rows(world: &World, site: &str) -> Vec<(String, i64)> {
    let (tables, column) = match backend(world) {
        Backend::Sqlite => (
            "SELECT name AS line FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
             ORDER BY name",
            "SELECT count(*) AS wrong FROM pragma_table_info('TABLE') WHERE name = 'site_id'",
        ),
        Backend::Postgres => (
            "SELECT CAST(table_name AS text) AS line FROM information_schema.tables WHERE table_schema = 'public' \
             ORDER BY table_name",
            "SELECT count(*) AS wrong FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name = 'TABLE' AND column_name = 'site_id'",
        ),
    };
    let url = &world.database.url;
    let mut found = Vec::new();
    for table in books::lines(url, tables) {
        let of_site = match books::count(url, &column.replace("TABLE", &table)) {
            0 => match table.as_str() {
                // Tokens and marks of time belong to no site.
                "token" | "age_mark" | "__diesel_schema_migrations" => continue,
                "waypoint" => "SELECT count(*) AS wrong FROM waypoint".to_owned(),
                other => panic!("the table {other} has no column site_id; say here whose rows it has"),
            },
            _ => format!("SELECT count(*) AS wrong FROM {table} WHERE site_id = {}", stored(world, site)),
        };
        found.push((table, books::count(url, &of_site)));
    }
    found
}

async fn nothing_of_a_deleted_site_is_left(world: World) {
    fill(&world).await;
    let other = guid();
    world.stock().set_stock(set(&other, vec![set_item("A", 3)])).await.expect("the levels can be set");
    let before = rows(&world, &world.site);
    assert!(before.len() > 10, "{before:?}");
    let empty: Vec<_> = before.iter().filter(|(_, rows)| *rows == 0).collect();
    assert!(empty.is_empty(), "the test must fill these tables too: {empty:?}");
    let of_other = rows(&world, &other);

    let (done, said) = delete(&world.database.text, &world.site, &["--yes"], "");
    assert!(done && said.contains("is deleted"), "{said}");
    // What stays is the record of the deletion, and how far the sequence numbers went.
    for (table, rows) in rows(&world, &world.site) {
        let expected = i64::from(["journal", "cut"].contains(&table.as_str()));
        assert_eq!(rows, expected, "{table}");
    }
    if backend(&world) == Backend::Sqlite {
        // Neither the file nor its log has what was deleted, although a server runs.
        let database = world.database.folder().join("inventory.db").display().to_string();
        for file in [database.clone(), database + "-wal"] {
            let bytes = std::fs::read(&file).expect("the file can be read");
            let found = bytes.windows(6).filter(|bytes| bytes == b"SECRET").count();
            assert_eq!(found, 0, "{file}");
        }
    }
    let left = "SELECT subject || before || after AS line FROM journal";
    assert!(!books::lines(&world.database.url, left).concat().contains("SECRET"));
    let mut left = rows(&world, &other);
    left.retain(|(table, _)| table != "waypoint");
    let kept: Vec<_> = of_other.into_iter().filter(|(table, _)| table != "waypoint").collect();
    assert_eq!(left, kept, "another site keeps its rows");
}

async fn a_deleted_site_begins_anew(world: World) {
    // Two servers hold the site in their caches.
    world.set(&[("A", 5), ("B", 7)]).await;
    let stop = CancellationToken::new();
    let second = channel_to(start_grpc(world.database.url.clone(), stop.clone()).await);
    let mut second = AvailabilityServiceClient::new(second);
    let order = decrement(&world.site, &[("A", 1)]);
    world.availability().decrement_availability(order.clone()).await.expect("there is stock");
    second.decrement_availability(decrement(&world.site, &[("B", 1)])).await.expect("there is stock");
    let (done, said) = delete(&world.database.text, &world.site, &["--yes"], "");
    assert!(done, "{said}");

    let get = v1::GetSiteRequest { site_id: world.site.clone() };
    assert_eq!(world.sites().get_site(get).await.expect_err("no such site").code(), Code::NotFound);
    assert_eq!((world.level("A").await, world.level("B").await), (0, 0));
    // A late order finds nothing in stock. It is decided by the new site, not by a cache of the old one.
    let late = second.decrement_availability(decrement(&world.site, &[("B", 1)])).await.expect_err("nothing is there");
    assert_eq!(late.code(), Code::FailedPrecondition);
    // Nor is it the replay of an order of the old site.
    let again = world.availability().decrement_availability(order).await.expect_err("nothing is there");
    assert_eq!(again.code(), Code::FailedPrecondition);
    world.set(&[("A", 2)]).await;
    second.decrement_availability(decrement(&world.site, &[("A", 1)])).await.expect("there is stock");
    assert_eq!((world.level("A").await, world.level("B").await), (1, 0));
    // Four entries were deleted. No sequence number is given twice, so nobody who follows the ledger misses one.
    let entries = world.entries().await;
    assert_eq!(entries.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [5, 6]);
    let result = world.verify(false).await;
    assert_eq!((result.difference_count, result.entries, result.archived_sequence), (0, 2, 4));
    let (done, said) = delete(&world.database.text, &world.site, &["--yes"], "");
    assert!(done, "{said}");
    assert_eq!(world.level("A").await, 0);
    stop.cancel();
}

async fn a_deletion_is_asked_for_and_recorded(world: World) {
    world.set(&[("A", 5)]).await;
    let sku = v1::UpdateUnitRequest { unit: reference("A"), new_sku: Some("MUG".into()), ..Default::default() };
    world.configure_unit("A", sku).await.expect("the unit can be changed");
    for typed in ["", "yes", &guid()] {
        let (done, said) = delete(&world.database.text, &world.site, &[], typed);
        assert!(!done && said.contains("nothing was changed"), "{typed}: {said}");
    }
    assert_eq!(world.level("A").await, 5);
    let (done, said) = delete(&world.database.text, &world.site, &[], &world.site);
    assert!(done && said.contains("is deleted"), "{said}");
    let (done, said) = delete(&world.database.text, &world.site, &["--yes"], "");
    assert!(done && said.contains("nothing is left to do"), "{said}");
    let (done, said) = delete(&world.database.text, &guid(), &["--yes"], "");
    assert!(!done && said.contains("nothing was ever written"), "{said}");

    let list = v1::ListSettingChangesRequest { site_id: world.site.clone(), ..Default::default() };
    let changes = world.sites().list_setting_changes(list).await.expect("the journal can be read").into_inner().changes;
    assert_eq!(changes.len(), 1, "{changes:?}");
    let change = &changes[0];
    assert_eq!((change.subject.as_str(), change.actor.as_str()), ("deletion", "inventory-grpc site"));
    assert_eq!(change.on_behalf_of, "ann");
    let refused = books::execute(&world.database.url, "DELETE FROM journal").expect_err("the journal stays");
    assert!(refused.to_string().contains("never changed or removed"), "{refused}");
}

/// Postgres finds the tables by the search_path of the URL, and so do the functions of the triggers.
#[tokio::test(flavor = "multi_thread")]
async fn the_tables_may_stand_in_another_schema() {
    let mut database = Database::fresh(Backend::Postgres);
    books::script(&database.url, "CREATE SCHEMA shop");
    database.text += "?options=-csearch_path%3Dshop";
    database.url = database.text.parse().expect("the URL is valid");
    let server = grpc_server(&database.text);
    let (site, mut stock) = (guid(), StockServiceClient::new(channel_to(server.addresses[0])));
    for sequence in 1..=2 {
        let done = stock.set_stock(set(&site, vec![set_item("A", 5)])).await.expect("levels can be set").into_inner();
        assert_eq!(done.sequence, sequence, "a deleted site goes on");
        let (done, said) = delete(&database.text, &site, &["--yes"], "");
        assert!(done, "{said}");
    }
    assert!(server.terminate().success());
}
