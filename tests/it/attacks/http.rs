//! Attacks on the adapter's port by bytes of HTTP/1.1.

use std::time::Duration;

use futures_util::future::join_all;
use inventory_tests::raw_http1::{post, statuses};
use inventory_tests::wix_caller::{item, order};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Target;

const PATH: &str = "/v1/decrement";
/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);

async fn answers(target: &Target, bytes: impl AsRef<[u8]>) -> Vec<u16> {
    statuses(target.front.addresses[0], bytes.as_ref()).await
}

pub(super) async fn pipelined_orders(target: &Target) -> i64 {
    let tokens: Vec<String> =
        (0..200).map(|_| target.wix.token(order(&target.site, json!([item("good", 1)])))).collect();
    let requests = tokens.iter().flat_map(|token| std::iter::repeat_n(post(PATH, token), 5));
    assert_eq!(answers(target, requests.collect::<String>()).await, [200; 1_001]);
    200
}

pub(super) async fn pipelined_and_unread(target: &Target) -> i64 {
    let mut stream = TcpStream::connect(target.front.addresses[0]).await.expect("the port is open");
    let requests = "GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n".repeat(300_000);
    // The adapter takes no more after a while, and closes the connection in the end.
    let written = tokio::time::timeout(LONG, stream.write_all(requests.as_bytes())).await;
    assert!(written.expect("the connection is closed").is_err(), "the adapter took all requests");
    0
}

pub(super) async fn content_length_with_transfer_encoding(target: &Target) -> i64 {
    // The connection ends after the answer, so what follows is not read as a request.
    let second = post(PATH, "not.a.token");
    let lengths =
        ["content-length: 4\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 4"];
    for lengths in lengths {
        let first = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\n{lengths}\r\n\r\n3\r\na.b\r\n0\r\n\r\n");
        assert_eq!(answers(target, format!("{first}{second}")).await, [401], "{lengths}");
    }
    0
}

pub(super) async fn contradicting_lengths(target: &Target) -> i64 {
    for lengths in [
        "content-length: 3\r\ncontent-length: 4",
        "content-length: 3, 4",
        "content-length: +3",
        "content-length: -3",
        "content-length: 0x3",
        "content-length: 3.0",
        "content-length:",
        "content-length: 99999999999999999999",
        "transfer-encoding: gzip",
        "transfer-encoding: chunked, gzip",
        "transfer-encoding: xchunked",
    ] {
        let request = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\n{lengths}\r\n\r\na.b{}", post(PATH, "a.b"));
        assert_eq!(answers(target, request).await, [400], "{lengths}");
    }
    let old = format!("POST {PATH} HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(answers(target, old).await, [400]);
    0
}

pub(super) async fn malformed_heads(target: &Target) -> i64 {
    for line in [
        "x: a\0b",
        "x\0y: a",
        "x y: a",
        "content-length : 3",
        " content-length: 3",
        "x: a\r\n content-length: 3",
        "x: a\rcontent-length: 3",
        ": a",
        "x",
        "x\u{e9}: a",
    ] {
        let request = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\n{line}\r\n\r\n{}", post(PATH, "a.b"));
        assert_eq!(answers(target, request).await, [400], "{line:?}");
    }
    for first in ["", "POST\r\n", "POST  /v1/decrement HTTP/1.1\r\n", "POST /v1/decrement HTTP/9.9\r\n", "\0\r\n"] {
        let seen = answers(target, format!("{first}host: x\r\n\r\n{}", post(PATH, "a.b"))).await;
        assert_eq!(seen, [400], "{first:?}");
    }
    0
}

pub(super) async fn header_floods(target: &Target) -> i64 {
    let header = |count: usize| "x: y\r\n".repeat(count);
    let long = format!("x: {}\r\n", "y".repeat(16_000_000));
    for headers in [header(101), header(100_000), long] {
        let request = format!("POST {PATH} HTTP/1.1\r\n{headers}\r\n");
        let all = join_all((0..8).map(|_| answers(target, &request))).await;
        // Those that are still sending when the answer comes may not read it.
        assert!(all.iter().all(|seen| seen.is_empty() || *seen == [431]), "{all:?}");
        assert!(headers.len() > 100_000 || all.iter().all(|seen| *seen == [431]), "{all:?}");
    }
    0
}

pub(super) async fn chunk_floods(target: &Target) -> i64 {
    let chunked = |body: &str| format!("POST {PATH} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{body}");
    let bytes = "1\r\na\r\n".repeat(100_000);
    assert_eq!(answers(target, chunked(&format!("{bytes}0\r\n\r\n"))).await, [401, 200]);
    let extensions = format!("3;{}\r\na.b\r\n0\r\n\r\n", "x".repeat(1_000_000));
    let many = format!("{}0\r\n\r\n", "1;x=y\r\na\r\n".repeat(200_000));
    let trailers = format!("3\r\na.b\r\n0\r\n{}\r\n", "x: y\r\n".repeat(100_000));
    for body in [
        "ffffffffffffffff\r\na.b",
        "ffffffffffffffffff\r\na.b",
        "-1\r\na.b",
        "x\r\na.b",
        "3\r\na.bXX0\r\n\r\n",
        &extensions,
        &many,
        &trailers,
    ] {
        let seen = answers(target, chunked(body)).await;
        assert!(seen.is_empty() || seen.iter().all(|status| [400, 408, 413].contains(status)), "{body:.40}: {seen:?}");
    }
    0
}

pub(super) async fn other_protocols(target: &Target) -> i64 {
    let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[0x5a; 512]].concat();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for bytes in [hello, preface] {
        let seen = answers(target, bytes).await;
        assert!(seen.is_empty() || seen == [400], "{seen:?}");
    }
    for upgrade in ["h2c", "websocket", "TLS/1.0"] {
        let headers = format!("host: x\r\nconnection: upgrade\r\nupgrade: {upgrade}\r\nhttp2-settings: AAMAAABk");
        let request = format!("POST {PATH} HTTP/1.1\r\n{headers}\r\ncontent-length: 3\r\n\r\na.b");
        assert_eq!(answers(target, request).await, [401, 200], "{upgrade}");
    }
    let connect = "CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n";
    assert_eq!(answers(target, connect).await, [404, 200]);
    0
}
