//! Readiness and health say what the writers can do: with a database that hangs, that is read-only, that lets nobody
//! in, or whose disk is full, and again when it is well.

use std::process::Command;

use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::books;
use inventory_tests::programs::{Running, program};
use inventory_tests::requests::{decrement, guid, set, set_item};
use inventory_tests::tokens::channel_to;
use inventory_tests::wix_caller::{item, order};
use inventory_tests::world::{Backend, World};
use serde_json::json;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::role::{remove_role, with_role};

const SERVICES: [&str; 5] = [
    "",
    "inventory.v1.AvailabilityService",
    "inventory.v1.StockService",
    "inventory.v1.LedgerService",
    "inventory.v1.SiteService",
];

/// Waits until the health of every service is `wanted`.
async fn until(channel: Channel, wanted: ServingStatus) {
    for service in SERVICES {
        let request = HealthCheckRequest { service: service.to_owned() };
        let watched = HealthClient::new(channel.clone()).watch(request).await;
        let mut changes = watched.unwrap_or_else(|status| panic!("{service:?} is not known: {status}")).into_inner();
        while let Some(change) = changes.message().await.expect("the health can be watched") {
            if change.status() == wanted {
                break;
            }
        }
    }
}

/// Asks the adapter until `/readyz` is answered by `wanted`.
async fn until_readyz(world: &World, wanted: u16) {
    while world.wix.get("/readyz").await != wanted {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_is_not_ready() {
    let (world, link) = World::behind_link().await;
    until(world.channel(), ServingStatus::Serving).await;
    until_readyz(&world, 200).await;
    link.freeze();
    until(world.channel(), ServingStatus::NotServing).await;
    until_readyz(&world, 503).await;
    link.restore();
    until(world.channel(), ServingStatus::Serving).await;
    until_readyz(&world, 200).await;
    world.set(&[("A", 1)]).await;
    assert_eq!(world.wix.call("decrement", order(&world.site, json!([item("A", 1)]))).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_is_not_ready() {
    let world = World::start(Backend::Postgres).await;
    until(world.channel(), ServingStatus::Serving).await;
    world.database.set_read_only(true);
    until(world.channel(), ServingStatus::NotServing).await;
    until_readyz(&world, 503).await;
    world.database.set_read_only(false);
    until(world.channel(), ServingStatus::Serving).await;
    until_readyz(&world, 200).await;
}

/// The disk of the tables is full, and that of the log is not: a probe finds room, and an order does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_postgres_is_not_ready() {
    let world = World::start(Backend::Postgres).await;
    world.set(&[("A", 10)]).await;
    until_readyz(&world, 200).await;
    // What Postgres says when a table cannot grow.
    let fill = "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         RAISE disk_full USING MESSAGE = 'could not extend file \"base/5/16384\": No space left on device'; END $$; \
         CREATE TRIGGER no_room BEFORE INSERT ON ledger FOR EACH STATEMENT EXECUTE FUNCTION no_room()";
    books::script(&world.database.url, fill);
    let data = order(&world.site, json!([item("A", 1)]));
    assert_eq!(world.wix.call("decrement", data.clone()).await.status, 503);
    until(world.channel(), ServingStatus::NotServing).await;
    until_readyz(&world, 503).await;
    books::script(&world.database.url, "DROP TRIGGER no_room ON ledger; DROP FUNCTION no_room()");
    assert_eq!(world.wix.call("decrement", data).await.status, 200);
    until(world.channel(), ServingStatus::Serving).await;
    until_readyz(&world, 200).await;
    assert_eq!(world.level("A").await, 9);
}

/// A server, as a role whose connections Postgres ends and does not let in again, for one reason and then for another.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_and_no_free_connection_are_not_ready_and_say_so() {
    let (database, role, text) = with_role();
    let log = database.folder().join("log");
    let mut command = program("inventory-grpc");
    command.args(["serve", "--grpc-listen", "127.0.0.1:0", "--migrate", "never", "--database-url", &text]);
    let server = Running::start_logging(command, 1, &log);
    let channel = channel_to(server.addresses[0]);
    let site = guid();
    let mut stock = StockServiceClient::new(channel.clone());
    stock.set_stock(set(&site, vec![set_item("A", 10)])).await.expect("levels can be set");
    let mut availability = AvailabilityServiceClient::new(channel.clone());
    let alter = |how: &str| books::script(&database.url, &format!("ALTER ROLE \"{role}\" {how}"));
    // How it is done and undone, what a caller reads, and the words of Postgres, which only the log has.
    for (shut, open, cause, words) in [
        ("NOLOGIN", "LOGIN", "the database refused the login", "is not permitted to log in"),
        ("CONNECTION LIMIT 0", "CONNECTION LIMIT -1", "no connection to the database is free", "too many connections"),
    ] {
        alter(shut);
        books::script(
            &database.url,
            &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"),
        );
        until(channel.clone(), ServingStatus::NotServing).await;
        // The connections end one by one, and the first calls may meet that.
        let said = loop {
            let refused = availability.decrement_availability(decrement(&site, &[("A", 1)])).await;
            let status = refused.expect_err("nobody is let in");
            assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
            let met_the_end = ["was lost", "starting or stopping", "outcome of the commit is unknown"];
            if !met_the_end.iter().any(|part| status.message().contains(part)) {
                break status.message().to_owned();
            }
        };
        assert_eq!(said, format!("the store is not available: {cause}"));
        // The health tells its last cause as soon as it has looked again.
        let told = |line: &str| line.contains("not ready") && line.contains(cause) && line.contains(words);
        while !std::fs::read_to_string(&log).expect("the log can be read").lines().any(told) {}
        alter(open);
        until(channel.clone(), ServingStatus::Serving).await;
        availability.decrement_availability(decrement(&site, &[("A", 1)])).await.expect("the database is open again");
    }
    let left = books::count(&database.url, "SELECT available AS wrong FROM level");
    assert_eq!(left, 8, "what was refused was not taken");
    drop(server);
    remove_role(&database, &role);
}

/// A SQLite server whose database is on a file system of 4 MiB of its own, which only this server sees.
fn on_a_small_disk(folder: &std::path::Path) -> Running {
    let server = program("inventory-grpc");
    let mut command = Command::new("unshare");
    let disk = folder.display();
    let script = format!(
        "mount -t tmpfs -o size=4m tmpfs {disk} && exec {} serve --grpc-listen 127.0.0.1:0 \
         --database-url sqlite:{disk}/inventory.db",
        server.get_program().display()
    );
    command.args(["--map-root-user", "--mount", "sh", "-c", &script]);
    Running::start(command, 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_not_ready_and_says_so() {
    let folder = tempfile::TempDir::new().expect("the temporary folder is writable");
    let server = on_a_small_disk(folder.path());
    let channel = channel_to(server.addresses[0]);
    until(channel.clone(), ServingStatus::Serving).await;
    let site = guid();
    let mut stock = StockServiceClient::new(channel.clone());
    stock.set_stock(set(&site, vec![set_item("A", 1_000_000)])).await.expect("there is room for one");
    // What the server's process sees of its own file system.
    let ballast = format!("/proc/{}/root{}/ballast", server.id(), folder.path().display());
    let fill = std::fs::write(&ballast, vec![0; 8 * 1024 * 1024]);
    assert!(fill.is_err(), "the file system is smaller than that");
    let mut availability = AvailabilityServiceClient::new(channel.clone());
    let refused = loop {
        if let Err(status) = availability.decrement_availability(decrement(&site, &[("A", 1)])).await {
            break status;
        }
    };
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");
    until(channel.clone(), ServingStatus::NotServing).await;
    std::fs::remove_file(&ballast).expect("the ballast can be removed");
    until(channel.clone(), ServingStatus::Serving).await;
    availability.decrement_availability(decrement(&site, &[("A", 1)])).await.expect("there is room again");
}
