use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::server::Connected;

use super::connection::Stream;
use super::peers::Peers;
use super::*;

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);
/// Limits that no test reaches by accident.
const WIDE: Limits = Limits { connections: 100, calls: 100, start: LONG, idle: LONG };

/// Answers every request with its path, but a request to `/wait` never.
#[derive(Clone)]
struct Echo;

impl tower_service::Service<Request<Incoming>> for Echo {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        match request.uri().path() {
            "/wait" => Box::pin(std::future::pending()),
            path => Box::pin(std::future::ready(Ok(Response::new(path.to_owned())))),
        }
    }
}

fn refused() -> Response<String> {
    let mut answer = Response::new(String::new());
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer
}

async fn serve(limits: Limits) -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let listener = Listener::from(listener).with_limits(limits);
    let address = listener.local_addr().expect("a bound port");
    let stop = CancellationToken::new();
    tokio::spawn(serve_http(listener, Echo, refused, stop.clone().into()));
    (address, stop.drop_guard())
}

async fn connect(address: SocketAddr, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("the port is open");
    stream.write_all(bytes.as_bytes()).await.expect("the bytes can be sent");
    stream
}

/// Sends a request and waits for the first line of its answer. Empty if the connection is closed instead.
async fn ask(stream: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    // If the connection is closed already, the read tells.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = String::new();
    while !answer.ends_with(path) || answer.is_empty() {
        let mut buffer = [0; 1_024];
        match tokio::time::timeout(LONG, stream.read(&mut buffer)).await.expect("in time") {
            Ok(0) | Err(_) => break,
            Ok(bytes) => answer.push_str(&String::from_utf8_lossy(&buffer[..bytes])),
        }
        if answer.contains(" 503 ") {
            break;
        }
    }
    answer.lines().next().unwrap_or_default().to_owned()
}

async fn assert_closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut rest)).await.expect("the connection is closed");
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

#[tokio::test]
async fn a_caller_that_never_finishes_a_head_loses_its_connection() {
    let (address, _stop) = serve(Limits { start: Duration::from_millis(1), ..WIDE }).await;
    assert_closed(connect(address, "").await).await;
    assert_closed(connect(address, "GET / HTTP/1.1\r\nhost:").await).await;
    // So does one whose second head is late.
    let mut second = connect(address, "").await;
    assert_eq!(ask(&mut second, "/1").await, "HTTP/1.1 200 OK");
    second.write_all(b"GET / HT").await.expect("the bytes can be sent");
    assert_closed(second).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let (address, _stop) = serve(Limits { idle: Duration::from_millis(1), ..WIDE }).await;
    let mut stream = connect(address, "").await;
    assert_eq!(ask(&mut stream, "/1").await, "HTTP/1.1 200 OK");
    assert_closed(stream).await;
}

#[tokio::test]
async fn a_full_port_closes_the_oldest_connection_without_a_call() {
    let (address, _stop) = serve(Limits { connections: 3, ..WIDE }).await;
    let mut caller = connect(address, "").await;
    assert_eq!(ask(&mut caller, "/1").await, "HTTP/1.1 200 OK");
    let half: Vec<_> = futures_util::future::join_all((0..20).map(|_| connect(address, "GET /"))).await;
    let mut late = connect(address, "").await;
    assert_eq!(ask(&mut late, "/2").await, "HTTP/1.1 200 OK");
    assert_eq!(ask(&mut caller, "/3").await, "HTTP/1.1 200 OK", "a connection with a call stays");
    for stream in half.into_iter().take(18) {
        assert_closed(stream).await;
    }
}

#[tokio::test]
async fn a_call_too_many_is_refused_at_once() {
    let (address, _stop) = serve(Limits { calls: 1, ..WIDE }).await;
    let mut first = connect(address, "").await;
    first.write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("the bytes can be sent");
    let mut second = connect(address, "").await;
    // The first call may still be on its way.
    while ask(&mut second, "/").await == "HTTP/1.1 200 OK" {}
    assert_eq!(ask(&mut second, "/").await, "HTTP/1.1 503 Service Unavailable");
    drop(first);
    // The end of the connection ends its call.
    while ask(&mut second, "/").await == "HTTP/1.1 503 Service Unavailable" {}
    assert_eq!(ask(&mut second, "/").await, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_stop_ends_connections_that_are_idle_or_half_sent() {
    let listener = Listener::from(TcpListener::bind("127.0.0.1:0").await.expect("a port is free"));
    let listener = listener.with_limits(Limits { start: Duration::from_millis(1), ..WIDE });
    let address = listener.local_addr().expect("a bound port");
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve_http(listener, Echo, refused, stop.clone().into()));
    let mut idle = connect(address, "").await;
    assert_eq!(ask(&mut idle, "/1").await, "HTTP/1.1 200 OK");
    let half = connect(address, "GET").await;
    stop.cancel();
    tokio::time::timeout(LONG, served).await.expect("in time").expect("no panic");
    assert_closed(idle).await;
    assert_closed(half).await;
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = taken.local_addr().expect("a bound port");
    let bound = Listener::bind("--x (X)", address, Protocol::Http1, &Protection::default(), Reload::never());
    let error = bound.expect_err("the port is in use").to_string();
    assert_eq!(error, format!("--x (X): cannot listen on {address}; choose an address and port that are free"));
}

/// Reads four bytes that have arrived, while these calls wait for their first turn. Returns whether it could.
async fn reads(calls: impl FnOnce(CallerInfo) -> Vec<CallerInfo>) -> bool {
    let (mut caller, own) = tokio::io::duplex(1_024);
    caller.write_all(b"head").await.expect("there is room");
    let peer = Peers::start(Protocol::Http2, WIDE).admit().await;
    let mut connection = Connection::new(Stream::Pipe(own), peer);
    let mut calls = calls(connection.connect_info());
    let read = tokio::spawn(async move { connection.read_exact(&mut [0; 4]).await });
    // The only thread: the other task runs as far as it can.
    tokio::task::yield_now().await;
    let could = read.is_finished();
    // Some have their turn, and the others are given up.
    calls.iter_mut().take(100).for_each(|call| drop(call.begin()));
    calls.truncate(100);
    tokio::time::timeout(LONG, read).await.expect("it is woken").expect("no panic").expect("the bytes are there");
    could
}

#[tokio::test]
async fn no_more_is_read_while_many_calls_wait_for_their_first_turn() {
    assert!(!reads(|info| vec![info; 200]).await);
    assert!(reads(|info| vec![info; 100]).await);
    let begun = |mut info: CallerInfo| {
        info.begin();
        vec![info; 200]
    };
    assert!(reads(begun).await, "calls under way are not counted");
}
