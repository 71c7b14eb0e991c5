//! SIGTERM ends the programs in a bounded time, whatever callers and the database do.

use std::net::SocketAddr;
use std::time::Duration;

use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::chaos::Link;
use inventory_tests::programs::{Running, adapter_of, grpc_server, program};
use inventory_tests::requests::{decrement, guid, set, set_item};
use inventory_tests::test_keys::app_key;
use inventory_tests::tokens::channel_to;
use inventory_tests::wix_caller::{APP_ID, WixCaller, item, order};
use inventory_tests::world::{Backend, Database};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::attacks::others::HELD_STOPS;

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);

/// Sends SIGTERM and waits for the end. Returns the exit code.
async fn exit_code(server: Running) -> Option<i32> {
    let ended = tokio::task::spawn_blocking(move || server.terminate_within(LONG)).await;
    ended.expect("no panic").expect("the program ends in time").code()
}

/// A gRPC server that may take so many seconds to stop, with its log.
fn grpc(folder: &TempDir, database_url: &str, seconds: u32) -> Running {
    let mut command = program("inventory-grpc");
    command.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", database_url]);
    command.env("DRAIN_SECONDS", seconds.to_string());
    Running::start_logging(command, 1, &folder.path().join("log"))
}

fn front(folder: &TempDir, grpc: SocketAddr, seconds: u32) -> Running {
    let mut command = program("wix-adapter");
    command.args(["serve", "--http-listen", "127.0.0.1:0", "--wix-app-id", APP_ID]);
    command.args(["--grpc-upstream", &grpc.to_string()]).env("DRAIN_SECONDS", seconds.to_string());
    command.env("WIX_PUBLIC_KEY", &app_key().public);
    Running::start_logging(command, 1, &folder.path().join("log"))
}

fn log(folder: &TempDir) -> String {
    std::fs::read_to_string(folder.path().join("log")).expect("the log can be read")
}

async fn connect(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("the port is open");
    stream.write_all(bytes).await.expect("the bytes can be sent");
    stream
}

/// What an HTTP/2 client sends first: the preface, and empty settings.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_hold_a_grpc_port_open_are_cut() {
    let database = Database::fresh(Backend::Sqlite);
    let folder = TempDir::new().expect("the temporary folder is writable");
    let server = grpc(&folder, &database.text, 2);
    let address = server.addresses[0];
    let site_id = guid();
    for part in 0..5 {
        let items = (0..1_000).map(|unit| set_item(&format!("{part}-{unit}"), 1)).collect();
        StockServiceClient::new(channel_to(address)).set_stock(set(&site_id, items)).await.expect("levels can be set");
    }
    let idle = connect(address, b"").await;
    let half = connect(address, b"PRI * HT").await;
    let silent = connect(address, GREETING).await;
    let mut ledger = LedgerServiceClient::new(channel_to(address));
    // Nobody reads these entries, which are more than a window holds.
    let watch = v1::WatchEntriesRequest { site_id: site_id.clone(), after_sequence: 0 };
    let unread = ledger.watch_entries(watch).await.expect("the ledger can be watched");
    let verify = v1::VerifySiteRequest { site_id, ..Default::default() };
    let verified = ledger.verify_site(verify).await.expect("the site can be verified");
    HELD_STOPS.bounds(&server);
    assert_eq!(exit_code(server).await, Some(0));
    assert!(log(&folder).contains("the time to drain is over: connections were cut"), "{}", log(&folder));
    drop((idle, half, silent, unread, verified));
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_hold_an_http_port_open_are_cut() {
    let database = Database::fresh(Backend::Sqlite);
    let folder = TempDir::new().expect("the temporary folder is writable");
    let server = grpc_server(&database.text);
    let front = front(&folder, server.addresses[0], 1);
    let address = front.addresses[0];
    let idle = connect(address, b"").await;
    let half_head = connect(address, b"POST /v1/decrement HTTP/1.1\r\nhost: x\r\ncontent-le").await;
    let half_body = connect(address, b"POST /v1/decrement HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nx").await;
    let mut kept = connect(address, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(kept.read(&mut [0; 1_024]).await.expect("an answer") > 0);
    HELD_STOPS.bounds(&front);
    assert_eq!(exit_code(front).await, Some(0));
    drop((idle, half_head, half_body, kept));
    assert_eq!(exit_code(server).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_hangs_does_not_hold_up_the_end() {
    let database = Database::fresh(Backend::Postgres);
    let folder = TempDir::new().expect("the temporary folder is writable");
    let (_, host) = database.text.split_once('@').expect("the URL names the user");
    let (host, _) = host.split_once('/').expect("the URL names the database");
    let link = Link::to(host.parse().expect("host and port are an address")).await;
    let through = database.text.replace(host, &link.address.to_string());
    // The link needs this thread's runtime while the server starts.
    let (server, folder) =
        tokio::task::spawn_blocking(move || (grpc(&folder, &through, 2), folder)).await.expect("no panic");
    let channel = channel_to(server.addresses[0]);
    let site = guid();
    let levels = set(&site, vec![set_item("A", 5)]);
    StockServiceClient::new(channel.clone()).set_stock(levels).await.expect("the level can be set");
    link.freeze();
    let order = decrement(&site, &[("A", 1)]);
    let mut client = AvailabilityServiceClient::new(channel.clone());
    let hanging = tokio::spawn(async move { client.decrement_availability(order).await });
    // Once the writer counts as silent, it holds the order.
    let watch = HealthCheckRequest { service: String::new() };
    let mut health = HealthClient::new(channel).watch(watch).await.expect("the health can be watched").into_inner();
    while health.message().await.expect("the health").expect("one more").status() != ServingStatus::NotServing {}
    assert_eq!(exit_code(server).await, Some(0));
    assert!(hanging.await.expect("no panic").is_err(), "it has no answer");
    assert!(log(&folder).contains("a writer has not finished its commit"), "{}", log(&folder));
    link.restore();
}

/// The status of `/readyz`; `None` if the port is closed.
async fn readyz(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.split(' ').nth(1).map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_goes_off_before_the_ports_close() {
    let database = Database::fresh(Backend::Sqlite);
    let folders = [(); 2].map(|()| TempDir::new().expect("the temporary folder is writable"));
    let server = grpc(&folders[0], &database.text, 20);
    let front = front(&folders[1], server.addresses[0], 20);
    let (at_grpc, at_http) = (server.addresses[0], front.addresses[0]);
    while readyz(at_http).await.as_deref() != Some("200") {}
    let stopped = tokio::spawn(exit_code(front));
    let mut answers = Vec::new();
    while let Some(answer) = readyz(at_http).await {
        answers.push(answer);
    }
    assert_eq!(answers.last().map(String::as_str), Some("503"), "{answers:?}");
    assert_eq!(stopped.await.expect("no panic"), Some(0));

    let watch = HealthCheckRequest { service: String::new() };
    let mut health = HealthClient::new(channel_to(at_grpc)).watch(watch).await.expect("it can be watched").into_inner();
    assert_eq!(health.message().await.expect("the health").expect("one").status(), ServingStatus::Serving);
    let stopped = tokio::spawn(exit_code(server));
    assert_eq!(health.message().await.expect("the health").expect("one").status(), ServingStatus::NotServing);
    TcpStream::connect(at_grpc).await.expect("the port is still open");
    while TcpStream::connect(at_grpc).await.is_ok() {}
    assert_eq!(stopped.await.expect("no panic"), Some(0));
}

/// A program that announces its stop for an hour.
fn announcing(mut command: std::process::Command, log: &std::path::Path) -> Running {
    command.env("DRAIN_SECONDS", "3600").env("ANNOUNCE_SECONDS", "3599");
    Running::start_logging(command, 1, log)
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_take_calls_while_they_announce_their_stop() {
    let database = Database::fresh(Backend::Sqlite);
    let folder = TempDir::new().expect("the temporary folder is writable");
    let mut command = program("inventory-grpc");
    command.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", &database.text]);
    let server = announcing(command, &folder.path().join("grpc"));
    let at_grpc = server.addresses[0];
    let front = announcing(adapter_of(&[at_grpc]), &folder.path().join("http"));
    let at_http = front.addresses[0];
    while readyz(at_http).await.as_deref() != Some("200") {}
    front.begin_stop();
    while readyz(at_http).await.as_deref() != Some("503") {}
    let give = || order(&guid(), json!([item("A", 1)]));
    assert_eq!(WixCaller::new(at_http).call("increment", give()).await.status, 200, "a new connection is served");
    drop(front);

    let watch = HealthCheckRequest { service: String::new() };
    let mut health = HealthClient::new(channel_to(at_grpc)).watch(watch).await.expect("it can be watched").into_inner();
    server.begin_stop();
    while health.message().await.expect("the health").expect("one more").status() != ServingStatus::NotServing {}
    let order = decrement(&guid(), &[("A", 1)]);
    let refused = AvailabilityServiceClient::new(channel_to(at_grpc)).decrement_availability(order).await;
    assert_eq!(
        refused.expect_err("there is none").code(),
        tonic::Code::FailedPrecondition,
        "a new connection is served"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_is_not_announced() {
    let database = Database::fresh(Backend::Sqlite);
    let folder = TempDir::new().expect("the temporary folder is writable");
    let mut command = program("inventory-grpc");
    command.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", &database.text]);
    let mut server = announcing(command, &folder.path().join("grpc"));
    let mut front = announcing(adapter_of(&[server.addresses[0]]), &folder.path().join("http"));
    for program in [&mut front, &mut server] {
        program.interrupt();
        assert!(program.wait().success(), "it ends although it could announce its stop for an hour");
    }
}
