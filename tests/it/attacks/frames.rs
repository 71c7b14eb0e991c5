//! Attacks on the gRPC port by frames of HTTP/2.

use futures_util::future::join_all;
use inventory_tests::raw_http1::statuses;
use inventory_tests::raw_http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, Seen,
    WINDOW_UPDATE, frame, head, send_frames, settings,
};

use super::Target;

const ORDER: &str = "/inventory.v1.AvailabilityService/DecrementAvailability";
const WINDOW: u32 = 1 << 20;

const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Sends frames on some connections at the same time. Returns what each of them saw.
async fn flood<I: Iterator<Item = Vec<u8>>>(target: &Target, connections: usize, frames: impl Fn() -> I) -> Vec<Seen> {
    let address = target.server.addresses[0];
    join_all((0..connections).map(|_| send_frames(address, WINDOW, frames()))).await
}

/// The server may end a connection while bytes are on their way to it. Then the caller may not read why.
fn ended(seen: Seen, errors: &[u32]) -> bool {
    match seen {
        Seen::Ended(error) => errors.contains(&error),
        Seen::Closed => true,
        Seen::Alive => false,
    }
}

/// The streams of so many calls.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|call| 2 * call + 1)
}

pub(super) async fn rapid_reset(target: &Target) -> i64 {
    for flags in [END_HEADERS, END_HEADERS | END_STREAM] {
        let frames = || {
            let call =
                move |id| [frame(HEADERS, flags, id, &head(ORDER)), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])].concat();
            streams(50_000).map(call)
        };
        let seen = flood(target, 4, frames).await;
        assert!(seen.iter().all(|seen| *seen == Seen::Alive || ended(*seen, &[ENHANCE_YOUR_CALM])), "{seen:?}");
    }
    0
}

pub(super) async fn continuation_flood(target: &Target) -> i64 {
    // A header that enters no table: its name and its value.
    let header = [&[0, 1, b'x', 127, 128, 126][..], &[b'y'; 16_255]].concat();
    for part in [Vec::new(), header] {
        let frames = || {
            let begin = [frame(HEADERS, 0, 1, &head(ORDER))];
            begin.into_iter().chain(std::iter::repeat_n(frame(CONTINUATION, 0, 1, &part), 10_000))
        };
        let seen = flood(target, 4, frames).await;
        assert!(seen.iter().all(|seen| ended(*seen, &[ENHANCE_YOUR_CALM, PROTOCOL_ERROR])), "{seen:?}");
    }
    0
}

pub(super) async fn settings_and_ping_floods(target: &Target) -> i64 {
    let one_call = || [frame(HEADERS, END_HEADERS, 1, &head(ORDER))].into_iter();
    let floods: [(&str, Vec<Vec<u8>>); 7] = [
        ("empty settings", vec![frame(SETTINGS, 0, 0, &[])]),
        ("a table that grows and shrinks", vec![settings(1, 0), settings(1, u32::MAX)]),
        ("a window that grows and shrinks", vec![settings(4, 0), settings(4, (1 << 31) - 1)]),
        ("pings", vec![frame(PING, 0, 0, b"whatever")]),
        ("priorities", vec![frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 7]), frame(PRIORITY, 0, 5, &[0, 0, 0, 3, 7])]),
        ("windows", vec![frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])]),
        ("unknown frames", vec![frame(77, 0, 1, &[0; 100])]),
    ];
    for (name, kinds) in floods {
        let frames = || one_call().chain(kinds.iter().cycle().take(200_000).cloned());
        let seen = flood(target, 2, frames).await;
        assert!(seen.iter().all(|seen| *seen == Seen::Alive), "{name}: {seen:?}");
    }
    0
}

pub(super) async fn goodbyes(target: &Target) -> i64 {
    let goodbye = frame(GOAWAY, 0, 0, &[0; 8]);
    let call = |id| frame(HEADERS, END_HEADERS | END_STREAM, id, &head(ORDER));
    let frames = || streams(10_000).map(|id| [goodbye.clone(), call(id)].concat());
    let seen = flood(target, 4, frames).await;
    assert!(seen.iter().all(|seen| *seen == Seen::Alive || ended(*seen, &[NO_ERROR, PROTOCOL_ERROR])), "{seen:?}");
    0
}

pub(super) async fn data_floods(target: &Target) -> i64 {
    for data in [&[][..], &[0]] {
        let frames = || {
            let begin = [frame(HEADERS, END_HEADERS, 1, &head(ORDER))];
            begin.into_iter().chain(std::iter::repeat_n(frame(DATA, 0, 1, data), 200_000))
        };
        let seen = flood(target, 4, frames).await;
        let calm = [ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, STREAM_CLOSED];
        assert!(seen.iter().all(|seen| ended(*seen, &calm)), "{data:?}: {seen:?}");
    }
    0
}

pub(super) async fn compressed_heads(target: &Target) -> i64 {
    // A header that enters the table, and is named by one byte from then on.
    let enter = [&[0x40, 1, b'x', 127, 0xa1, 0x1e][..], &[b'y'; 4_000]].concat();
    let first = [head(ORDER), enter].concat();
    let again = [head(ORDER), vec![0x80 | 62; 16_000]].concat();
    let frames = || {
        let begin = [frame(HEADERS, END_HEADERS | END_STREAM, 1, &first)];
        begin.into_iter().chain(streams(500).skip(1).map(|id| frame(HEADERS, END_HEADERS | END_STREAM, id, &again)))
    };
    let seen = flood(target, 4, frames).await;
    let right = |seen: &Seen| *seen == Seen::Alive || ended(*seen, &[ENHANCE_YOUR_CALM, PROTOCOL_ERROR]);
    assert!(seen.iter().all(right), "{seen:?}");
    0
}

pub(super) async fn full_heads(target: &Target) -> i64 {
    // Many short headers cost more memory than one long header.
    let header = |index: u32| [&[0, 4][..], format!("{index:04}").as_bytes(), &[1, b'y']].concat();
    let full = (0..430).fold(head(ORDER), |head, index| [head, header(index)].concat());
    let frames = || streams(4_000).map(|id| frame(HEADERS, END_HEADERS, id, &full));
    let seen = flood(target, 5, frames).await;
    assert!(seen.iter().all(|seen| *seen == Seen::Alive), "{seen:?}");
    0
}

pub(super) async fn closed_windows(target: &Target) -> i64 {
    let path = "/inventory.v1.SiteService/ListSites";
    let call = |id| [frame(HEADERS, END_HEADERS, id, &head(path)), frame(DATA, END_STREAM, id, &[0; 5])].concat();
    let address = target.server.addresses[0];
    let seen = join_all((0..4).map(|_| send_frames(address, 0, streams(4_000).map(call)))).await;
    assert!(seen.iter().all(|seen| *seen == Seen::Alive), "{seen:?}");
    0
}

pub(super) async fn broken_frames(target: &Target) -> i64 {
    let call = |id| frame(HEADERS, END_HEADERS, id, &head(ORDER));
    let rows: [(&str, Vec<u8>); 12] = [
        ("data of no stream", frame(DATA, 0, 0, &[0])),
        ("data of a stream that was never opened", frame(DATA, 0, 9, &[0])),
        ("a head on an even stream", call(2)),
        ("streams that count down", [call(9), call(3)].concat()),
        ("a head inside a head", [frame(HEADERS, 0, 1, &head(ORDER)), call(3)].concat()),
        ("more of a head that is complete", [call(1), frame(CONTINUATION, END_HEADERS, 1, &[])].concat()),
        ("a frame of 16 MB", [&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1][..], &[0; 20_000]].concat()),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[])),
        ("settings of five bytes", frame(SETTINGS, 0, 0, &[0; 5])),
        ("a ping of nine bytes", frame(PING, 0, 0, &[0; 9])),
        ("a window beyond its largest", frame(WINDOW_UPDATE, 0, 0, &((1_u32 << 31) - 1).to_be_bytes())),
        ("a head that cannot be decompressed", frame(HEADERS, END_HEADERS, 1, &[0xff; 20])),
    ];
    const COMPRESSION_ERROR: u32 = 9;
    for (name, bytes) in rows {
        let seen = flood(target, 1, || std::iter::once(bytes.clone())).await;
        let errors = [PROTOCOL_ERROR, FRAME_SIZE_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, COMPRESSION_ERROR];
        assert!(ended(seen[0], &errors), "{name}: {seen:?}");
    }
    0
}

pub(super) async fn no_frames(target: &Target) -> i64 {
    let http = b"POST /v1/decrement HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\na.b".to_vec();
    let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[0x5a; 512]].concat();
    for bytes in [http, hello, vec![0x5a; 1_000_000]] {
        assert_eq!(statuses(target.server.addresses[0], &bytes).await, [0_u16; 0]);
    }
    0
}
