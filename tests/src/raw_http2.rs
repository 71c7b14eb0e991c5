//! An HTTP/2 client made of bytes, for callers that misbehave in ways that no library offers.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Types of frames.
pub const DATA: u8 = 0;
/// The head of a call.
pub const HEADERS: u8 = 1;
/// Advice that nobody needs.
pub const PRIORITY: u8 = 2;
/// The end of a call before its answer.
pub const RST_STREAM: u8 = 3;
/// Settings of the connection.
pub const SETTINGS: u8 = 4;
/// A question for a sign of life.
pub const PING: u8 = 6;
/// The end of the connection.
pub const GOAWAY: u8 = 7;
/// More room for answers.
pub const WINDOW_UPDATE: u8 = 8;
/// More of a head.
pub const CONTINUATION: u8 = 9;

/// Nothing follows: of a call's data or head, if it has none.
pub const END_STREAM: u8 = 1;
/// The head is complete.
pub const END_HEADERS: u8 = 4;
/// The answer to settings or to a ping.
pub const ACK: u8 = 1;

/// The largest window that there can be.
const LARGEST_WINDOW: u32 = (1 << 31) - 1;
/// The setting of the window with which streams begin.
pub const INITIAL_WINDOW_SIZE: u16 = 4;

/// What a client sends first: the preface, and settings. The window of the connection is as large as there can be, so
/// the server may send everything at once that the windows of the streams allow.
pub fn greeting(stream_window: u32) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(settings(INITIAL_WINDOW_SIZE, stream_window));
    // The window of the connection begins with 65,535 bytes.
    bytes.extend(frame(WINDOW_UPDATE, 0, 0, &(LARGEST_WINDOW - 65_535).to_be_bytes()));
    bytes
}

/// A frame with one setting.
pub fn settings(setting: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&setting.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// A frame: its type, its flags, its stream, and what it carries.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is small").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The head of a gRPC call, in HPACK without its dynamic table.
pub fn head(path: &str) -> Vec<u8> {
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
    let mut bytes = greeting(LARGEST_WINDOW);
    for call in 0..calls {
        let id = 2 * call + 1;
        // The end of the head, and the end of the stream.
        bytes.extend(frame(HEADERS, END_HEADERS, id, &head(path)));
        bytes.extend(frame(DATA, END_STREAM, id, &prefixed));
    }
    // The server may have given up before it has read everything.
    let _ = stream.write_all(&bytes).await;
    stream
}

/// What a caller sees of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The server answered a ping that came last: it has taken everything before.
    Alive,
    /// The server ended the connection for this error.
    Ended(u32),
    /// The connection was closed without a word, or before the caller could read one.
    Closed,
}

/// Sends frames, as fast as the server takes them, and last a ping. Reads everything, and returns what it saw.
pub async fn send_frames(address: SocketAddr, stream_window: u32, frames: impl Iterator<Item = Vec<u8>>) -> Seen {
    const LAST: &[u8; 8] = b"the last";
    let stream = TcpStream::connect(address).await.expect("the port is open");
    let (from, mut to) = stream.into_split();
    let write = async move {
        let mut bytes = greeting(stream_window);
        for frame in frames.chain([frame(PING, 0, 0, LAST)]) {
            bytes.extend(frame);
            if bytes.len() > 64 * 1024 {
                // The server may have closed. The other half sees it.
                let _ = to.write_all(&bytes).await;
                bytes.clear();
            }
        }
        let _ = to.write_all(&bytes).await;
        // The other half ends first.
        std::future::pending::<Seen>().await
    };
    let read = async move {
        let mut from = tokio::io::BufReader::new(from);
        loop {
            let mut head = [0; 9];
            if from.read_exact(&mut head).await.is_err() {
                return Seen::Closed;
            }
            let [one, two, three, kind, flags, ..] = head;
            let length = u32::from_be_bytes([0, one, two, three]);
            let mut payload = vec![0; usize::try_from(length).expect("a frame is small")];
            if from.read_exact(&mut payload).await.is_err() {
                return Seen::Closed;
            }
            match (kind, payload.as_slice()) {
                (PING, payload) if flags == ACK && payload == LAST => return Seen::Alive,
                (GOAWAY, [_, _, _, _, error @ ..]) if error.len() >= 4 => {
                    return Seen::Ended(u32::from_be_bytes([error[0], error[1], error[2], error[3]]));
                }
                _ => {}
            }
        }
    };
    tokio::select! {
        seen = read => seen,
        seen = write => seen,
    }
}
