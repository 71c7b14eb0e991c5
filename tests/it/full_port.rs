//! A server with few files, and callers that take all of them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::site_service_client::SiteServiceClient;
use inventory_tests::call_stream::CallStream;
use inventory_tests::programs::{Running, program};
use inventory_tests::requests::guid;
use inventory_tests::world::{Backend, Database};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::attacks::others::FULL_PORT;

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);

/// A gRPC server that may open 64 files, so its port holds 16 connections. Its metrics have a port too.
fn server(database: &Database, log: &Path) -> Running {
    let server = program("inventory-grpc");
    let mut command = Command::new("sh");
    let script = format!(
        "ulimit -n 64 && exec {} serve --grpc-listen 127.0.0.1:0 --database-url {} --admin-listen 127.0.0.1:0",
        server.get_program().display(),
        database.text,
    );
    command.args(["-c", &script]);
    Running::start_logging(command, 2, log)
}

async fn connected(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("the URL is valid");
    endpoint.connect().await.expect("the port is open")
}

/// A new caller's first call.
async fn ask(address: SocketAddr) -> Result<(), Status> {
    let request = v1::GetSiteRequest { site_id: guid() };
    let call = async { SiteServiceClient::new(connected(address).await).get_site(request).await.map(drop) };
    tokio::time::timeout(LONG, call).await.expect("a new caller is answered")
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_only_ask_for_the_health_keep_no_place_on_a_full_port() {
    let database = Database::fresh(Backend::Sqlite);
    let server = server(&database, &database.folder().join("log"));
    let address = server.addresses[0];
    let mut holders = Vec::new();
    for _ in 0..16 {
        let channel = connected(address).await;
        let check = HealthCheckRequest { service: String::new() };
        HealthClient::new(channel.clone()).check(check).await.expect("the server tells its health");
        holders.push(channel);
    }
    for _ in 0..3 {
        assert_eq!(ask(address).await.expect_err("an unknown site").code(), Code::NotFound);
    }
    FULL_PORT.bounds(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_streams_who_leave_free_their_places_at_once() {
    let database = Database::fresh(Backend::Sqlite);
    let server = server(&database, &database.folder().join("log"));
    let address = server.addresses[0];
    // If their places were free only after seconds, so many rounds would take longer than LONG.
    let rounds = async {
        for _ in 0..20 {
            let mut streams = Vec::new();
            for _ in 0..16 {
                streams.push(CallStream::open(AvailabilityServiceClient::new(connected(address).await)).await);
            }
        }
    };
    tokio::time::timeout(LONG, rounds).await.expect("new callers find places");
    FULL_PORT.bounds(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_files_neither_fill_the_log_nor_keep_callers_out() {
    let database = Database::fresh(Backend::Sqlite);
    let log = database.folder().join("log");
    let server = server(&database, &log);
    let (address, admin) = (server.addresses[0], server.addresses[1]);
    let silent = join_all((0..100).flat_map(|_| [address, admin]).map(TcpStream::connect)).await;
    let silent: Vec<TcpStream> = silent.into_iter().flatten().collect();
    for _ in 0..20 {
        assert_eq!(ask(address).await.expect_err("an unknown site").code(), Code::NotFound);
        let metrics = async {
            let mut stream = TcpStream::connect(admin).await.expect("the port is open");
            let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            stream.write_all(request).await.expect("the bytes can be sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            assert!(answer.contains("inventory_build_info"), "{answer}");
        };
        tokio::time::timeout(LONG, metrics).await.expect("the metrics are served");
    }
    let lines = std::fs::read_to_string(&log).expect("the log can be read").lines().count();
    assert!(lines < 100, "{lines} lines");
    FULL_PORT.bounds(&server);
    drop(silent);
}
