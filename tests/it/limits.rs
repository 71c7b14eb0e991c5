//! Callers that begin a request and never finish it: they keep nobody from an answer, and are gone after seconds.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use inventory_proto::v1;
use inventory_proto::v1::site_service_client::SiteServiceClient;
use inventory_tests::certificates::{Authority, exchange};
use inventory_tests::programs::{Running, program};
use inventory_tests::test_keys::app_key;
use inventory_tests::wix_caller::{APP_ID, WixCaller, item, order};
use inventory_tests::world::{Backend, Database};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use crate::attacks::others::HALF_SENT;

/// Connections that stop in the middle of a request.
const CONNECTIONS: usize = 2_000;
/// No step here takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nothing at all.
const SILENCE: &[u8] = b"";
/// A head without its end.
const HALF_HEAD: &[u8] = b"POST /v1/decrement HTTP/1.1\r\nhost: x\r\ncontent-le";
/// The preface of an HTTP/2 client without its end.
const HALF_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
/// A preface, empty SETTINGS, and the frame of a request's head that says 64 bytes and has 4.
const HALF_CALL: &[u8] =
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x40\x01\x04\0\0\0\x01\x82\x86\x84\x41";
/// The first bytes of a TLS handshake.
const HALF_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03half of a client's hello";

/// Opens the connections, asks something else, and waits until the server has closed all of them.
async fn half_sent(address: SocketAddr, kinds: &[&[u8]], healthy: impl Future<Output = ()>) {
    let opened = stream::iter((0..CONNECTIONS).zip(kinds.iter().cycle())).map(async |(_, bytes)| {
        let mut stream = TcpStream::connect(address).await.expect("the port is open");
        // The server may have closed it already.
        let _ = stream.write_all(bytes).await;
        stream
    });
    // If more of them come at once than the kernel keeps, it forgets some, and a silent one never learns that.
    let opened: Vec<_> = opened.buffer_unordered(100).collect().await;
    in_time("an answer", healthy).await;
    let closed = opened.into_iter().map(async |mut stream| {
        // A server's own greeting may come first. An error is an end too.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    in_time("the end of all connections", join_all(closed)).await;
}

async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("no {what} within {PATIENCE:?}"))
}

fn standalone(database: &Database) -> std::process::Command {
    let mut command = program("wix-adapter");
    command.args(["standalone", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
    command.args(["--database-url", &database.text, "--wix-app-id", APP_ID]);
    command.env("WIX_PUBLIC_KEY", &app_key().public);
    command
}

async fn ask_grpc(channel: Channel, site: &str) {
    let request = v1::GetSiteRequest { site_id: site.to_owned() };
    SiteServiceClient::new(channel).get_site(request).await.expect("a new connection is answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_requests_keep_nobody_from_an_answer() {
    let database = Database::fresh(Backend::Sqlite);
    let servers = Running::start(standalone(&database), 2);
    let (grpc, http) = (servers.addresses[0], servers.addresses[1]);
    let site = Uuid::new_v4().to_string();
    let order = || order(&site, json!([item("A", 1)]));
    half_sent(http, &[SILENCE, HALF_HEAD, HALF_PREFACE, HALF_HELLO], async {
        assert_eq!(WixCaller::new(http).call("increment", order()).await.status, 200);
    })
    .await;
    half_sent(grpc, &[SILENCE, HALF_HEAD, HALF_PREFACE, HALF_CALL], async {
        let endpoint = Endpoint::from_shared(format!("http://{grpc}")).expect("the URL is valid");
        ask_grpc(endpoint.connect_lazy(), &site).await;
    })
    .await;
    assert_eq!(WixCaller::new(http).call("increment", order()).await.status, 200);
    HALF_SENT.bounds(&servers);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_requests_keep_nobody_from_an_answer_over_tls() {
    let database = Database::fresh(Backend::Sqlite);
    let authority = Authority::new();
    let pair = authority.issue("server");
    let mut command = standalone(&database);
    command.arg("--tls-cert").arg(&pair.certificate).arg("--tls-key").arg(&pair.key);
    let servers = Running::start(command, 2);
    let (grpc, http) = (servers.addresses[0], servers.addresses[1]);
    let site = Uuid::new_v4().to_string();
    let token = || WixCaller::new(http).token(order(&site, json!([item("A", 1)])));
    half_sent(http, &[SILENCE, HALF_HELLO, HALF_HELLO, HALF_HEAD], async {
        let mut stream = authority.client(None, "http/1.1").connect(http).await.expect("the handshake ends");
        assert_eq!(exchange(&mut stream, "POST /v1/increment", &token()).await.expect("an answer"), 200);
    })
    .await;
    half_sent(grpc, &[SILENCE, HALF_HELLO, HALF_HELLO, HALF_CALL], async {
        ask_grpc(authority.client(None, "h2").channel(grpc), &site).await;
    })
    .await;
    // The same after the handshake.
    for (address, alpn, bytes) in [(http, "http/1.1", HALF_HEAD), (grpc, "h2", HALF_PREFACE), (grpc, "h2", HALF_CALL)] {
        let mut stream = authority.client(None, alpn).connect(address).await.expect("the handshake ends");
        stream.write_all(bytes).await.expect("the bytes can be sent");
        // An error is an end too.
        let _ = in_time("the end of the connection", stream.read_to_end(&mut Vec::new())).await;
    }
    HALF_SENT.bounds(&servers);
}
