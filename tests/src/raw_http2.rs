//! An HTTP/2 client made of bytes, for callers that misbehave in ways that no library offers.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// What a client sends first: the preface, and settings. The caller offers windows as large as there can be, so the
/// server may send everything at once.
fn greeting() -> Vec<u8> {
    let largest: u32 = (1 << 31) - 1;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE is setting 4.
    let setting = [&[0, 4][..], &largest.to_be_bytes()].concat();
    bytes.extend(frame(4, 0, 0, &setting));
    // The window of the connection begins with 65,535 bytes.
    bytes.extend(frame(8, 0, 0, &(largest - 65_535).to_be_bytes()));
    bytes
}

/// A frame: its type, its flags, its stream, and what it carries.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is small").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The head of a gRPC call, in HPACK without its dynamic table.
fn head(path: &str) -> Vec<u8> {
    let text = |bytes: &mut Vec<u8>, text: &str| {
        // Lengths up to 126 are one byte.
        bytes.push(u8::try_from(text.len()).expect("the texts are short"));
        bytes.extend(text.as_bytes());
    };
    // POST and http are entries of the static table; of the others, only the names are.
    let mut bytes = vec![0x83, 0x86, 0x04];
    text(&mut bytes, path);
    bytes.push(0x01);
    text(&mut bytes, "x");
    bytes.extend([0x0f, 0x10]);
    text(&mut bytes, "application/grpc");
    bytes.push(0x00);
    text(&mut bytes, "te");
    text(&mut bytes, "trailers");
    bytes
}

/// A connection whose caller sends complete calls and reads nothing, ever.
pub async fn calls_without_reading(address: SocketAddr, path: &str, message: &[u8], calls: u32) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("the port is open");
    let prefixed = [&[0][..], &u32::try_from(message.len()).expect("small").to_be_bytes(), message].concat();
    let mut bytes = greeting();
    for call in 0..calls {
        let id = 2 * call + 1;
        // The end of the head, and the end of the stream.
        bytes.extend(frame(1, 0x4, id, &head(path)));
        bytes.extend(frame(0, 0x1, id, &prefixed));
    }
    // The server may have given up before it has read everything.
    let _ = stream.write_all(&bytes).await;
    stream
}
