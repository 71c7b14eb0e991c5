//! Bodies that never end take a bounded memory, and keep nobody from an answer.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use inventory_tests::programs::{adapter, grpc_server};
use inventory_tests::raw_http1::{post, statuses};
use inventory_tests::requests::guid;
use inventory_tests::wix_caller::{WixCaller, item, order};
use inventory_tests::world::{Backend, Database};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::attacks::others;

/// Uploads at the same time.
const UPLOADS: usize = 300;
/// Bytes that each of them sends, of those that it announces.
const SENT: usize = 4_190_000;
const ANNOUNCED: usize = 4 * 1024 * 1024;
/// Bytes of an order of 300 items with long options.
const OF_300_ITEMS: usize = 350_000;
/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);

fn head(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n")
}

/// Sends an unfinished body. Returns what the server answers.
async fn upload(address: SocketAddr, path: &str, bytes: &[u8]) -> String {
    let stream = TcpStream::connect(address).await.expect("the port is open");
    let (mut from, mut to) = stream.into_split();
    let write = async {
        // The server may answer and close while this is still sending.
        let _ = to.write_all(head(path, ANNOUNCED).as_bytes()).await;
        let _ = to.write_all(bytes).await;
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    let read = async {
        let mut buffer = [0; 4_096];
        // An error is an end too.
        while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..bytes]);
        }
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
    String::from_utf8_lossy(&answer).to_lowercase()
}

/// The status of the answer to a head alone.
async fn answer_to_head(address: SocketAddr, path: &str, length: usize) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the port is open");
    stream.write_all(head(path, length).as_bytes()).await.expect("the bytes can be sent");
    let mut line = vec![0; 12];
    stream.read_exact(&mut line).await.expect("an answer");
    String::from_utf8_lossy(&line).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_uploads_take_a_bounded_memory_and_hold_up_nobody() {
    let database = Database::fresh(Backend::Sqlite);
    let server = grpc_server(&database.text);
    let front = adapter(server.addresses[0]);
    let address = front.addresses[0];
    let (wix, site) = (WixCaller::new(address), guid());
    let bytes: &'static [u8] = vec![b'x'; SENT].leak();
    let increment = async || wix.call("increment", order(&site, json!([item("A", 1)]))).await.status;
    assert_eq!(increment().await, 200);
    for path in ["/v1/decrement", "/wrong"] {
        let uploads = join_all((0..UPLOADS).map(|_| tokio::spawn(upload(address, path, bytes))));
        let mut uploads = std::pin::pin!(tokio::time::timeout(LONG, uploads));
        let answers = loop {
            tokio::select! {
                answers = &mut uploads => break answers.expect("all uploads are answered"),
                status = increment() => assert_eq!(status, 200, "an order meanwhile, {path}"),
            }
        };
        // All bodies share 64 MiB. A vector that grows takes twice its size.
        others::UPLOADS.bounds(&front);
        let answers: Vec<String> = answers.into_iter().map(|answer| answer.expect("no panic")).collect();
        let count = |status: &str| answers.iter().filter(|answer| answer.contains(status)).count();
        match path {
            "/wrong" => assert!(count(" 404 ") > 0 && count(" 408 ") == 0, "{answers:?}"),
            _ => {
                assert!(count(" 503 ") > 0, "{answers:?}");
                assert_eq!(count(" 503 "), count("retry-after: 1"), "{answers:?}");
            }
        }
    }
    assert_eq!(answer_to_head(address, "/v1/decrement", 5 * 1024 * 1024).await, "HTTP/1.1 413");
    assert_eq!(answer_to_head(address, "/wrong", 1_000).await, "HTTP/1.1 404");
    assert_eq!(increment().await, 200);
}

/// Uploads without end. Eight of them leave less memory for large bodies than an order of 300 items takes.
fn fill_the_memory(address: SocketAddr) {
    let bytes: &'static [u8] = vec![b'x'; SENT].leak();
    for _ in 0..12 {
        tokio::spawn(async move {
            loop {
                upload(address, "/v1/decrement", bytes).await;
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_finds_no_room_is_refused_unread() {
    let server = grpc_server(&Database::fresh(Backend::Sqlite).text);
    let front = adapter(server.addresses[0]);
    let address = front.addresses[0];
    fill_the_memory(address);
    let refused = async {
        loop {
            match asked(address, ANNOUNCED).await.1.as_str() {
                "HTTP/1.1 503" => break,
                line => assert_eq!(line, "HTTP/1.1 100"),
            }
        }
    };
    tokio::time::timeout(LONG, refused).await.expect("the adapter asks for no body for which it has no room");
    begun(address, 16 * 1024).await;
}

/// A connection that is closed before its body is read may take the answer with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_body_of_300_items_gets_its_answer_and_keeps_its_connection() {
    let server = grpc_server(&Database::fresh(Backend::Sqlite).text);
    let front = adapter(server.addresses[0]);
    let address = front.addresses[0];
    fill_the_memory(address);
    let call = post("/v1/increment", &"x".repeat(OF_300_ITEMS));
    let refused = async {
        loop {
            // The second answer is that of the health, on the same connection.
            match statuses(address, call.as_bytes()).await.as_slice() {
                [401, 200] => {}
                answers => break assert_eq!(answers, [503, 200]),
            }
        }
    };
    tokio::time::timeout(LONG, refused).await.expect("no room for a body at some time");
}

/// Sends a head. Returns when the adapter asks for the body or answers, with the beginning of that.
async fn asked(address: SocketAddr, length: usize) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.expect("the port is open");
    let head = head("/v1/increment", length).replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("the bytes can be sent");
    let line = status_of(&mut stream, &mut [0; 12]).await;
    (stream, line)
}

/// Sends a head, and returns when the adapter asks for the body.
async fn begun(address: SocketAddr, length: usize) -> TcpStream {
    let (mut stream, line) = asked(address, length).await;
    assert_eq!(line, "HTTP/1.1 100");
    stream.read_exact(&mut [0; " Continue\r\n\r\n".len()]).await.expect("the rest of the line");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_call_begins_with_its_head() {
    // A server that accepts connections and answers nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let front = tokio::task::spawn_blocking(move || (adapter(silent.local_addr().expect("a port")), silent));
    let (front, _silent) = front.await.expect("no panic");
    let address = front.addresses[0];
    let wix = WixCaller::new(address);
    let token = wix.token(order(&guid(), json!([item("A", 1)])));
    let mut first = begun(address, token.len()).await;
    for _ in 0..300 {
        assert_eq!(wix.get("/healthz").await, 200);
    }
    let mut second = begun(address, token.len()).await;
    second.write_all(token.as_bytes()).await.expect("the bytes can be sent");
    first.write_all(token.as_bytes()).await.expect("the bytes can be sent");
    // The one whose head came first is the first to be given up, although its body came last.
    let (mut one, mut other) = ([0; 12], [0; 12]);
    tokio::select! {
        biased;
        read = status_of(&mut second, &mut other) => panic!("the second is answered first: {read}"),
        read = status_of(&mut first, &mut one) => assert_eq!(read, "HTTP/1.1 503"),
    }
    assert_eq!(status_of(&mut second, &mut other).await, "HTTP/1.1 503");
}

/// The beginning of an answer.
async fn status_of(stream: &mut TcpStream, line: &mut [u8; 12]) -> String {
    stream.read_exact(line).await.expect("an answer");
    String::from_utf8_lossy(line).into_owned()
}
