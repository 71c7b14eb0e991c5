//! An HTTP/1.1 client made of bytes, for requests that no library sends.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends bytes, and after them a request for the health that ends the connection. Returns the statuses of all answers,
/// until the server closes the connection. The last one is that of the health, unless the server closed before.
pub async fn statuses(address: SocketAddr, bytes: &[u8]) -> Vec<u16> {
    let stream = TcpStream::connect(address).await.expect("the port is open");
    let (mut from, mut to) = stream.into_split();
    let write = async {
        // The server may answer and close while this is still sending.
        let _ = to.write_all(bytes).await;
        let _ = to.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    };
    let mut answers = Vec::new();
    let read = async {
        let mut buffer = [0; 65_536];
        // An error is an end too.
        while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
            answers.extend_from_slice(&buffer[..bytes]);
        }
    };
    tokio::join!(write, read);
    let answers = String::from_utf8_lossy(&answers);
    let status = |after: &str| after.get(..3).and_then(|status| status.parse().ok());
    // No body of an answer has these words.
    answers.split("HTTP/1.1 ").skip(1).filter_map(status).collect()
}

/// The bytes of a POST.
pub fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
