//! Generates load at little cost, because it shares the machine with the servers: it writes whole requests to
//! kept-alive connections, and reads only status and length of an answer.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;

use crate::bench::door::{Connection, Door};

/// The result of a load.
pub struct Loaded {
    /// Seconds that were measured.
    pub seconds: f64,
    /// Latencies in microseconds, of the answers that came in these seconds.
    pub latency: Histogram<u64>,
    /// The number of answers with each status, those outside of the measured seconds included.
    pub statuses: BTreeMap<u16, usize>,
}

impl Loaded {
    /// Measured answers per second.
    pub fn rate(&self) -> f64 {
        self.latency.len() as f64 / self.seconds
    }

    /// The number of answers in all, which is that of the requests.
    pub fn answered(&self) -> usize {
        self.statuses.values().sum()
    }

    /// Panics unless every answer has this status.
    pub fn expect(self, status: u16) -> Self {
        assert!(self.statuses.keys().all(|one| *one == status), "not all answers are {status}: {:?}", self.statuses);
        self
    }

    /// A percentile of the latency, in milliseconds.
    pub fn millis(&self, percentile: f64) -> f64 {
        self.latency.value_at_quantile(percentile / 100.0) as f64 / 1_000.0
    }
}

/// When a closed loop measures, and when it ends.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The servers work for so long before the measurement starts.
    pub warm_up: Duration,
    /// The measurement takes so long.
    pub measured: Duration,
}

pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds are in order")
}

/// The status of a call whose connection ended before its answer could be read.
pub const CUT: u16 = 0;

/// One connection, which is made again when the server ends it.
struct Caller<'a> {
    server: &'a Door,
    connection: Option<Box<dyn Connection>>,
    buffer: Vec<u8>,
}

impl<'a> Caller<'a> {
    async fn connected(server: &'a Door) -> Self {
        Self { server, connection: Some(server.connect().await), buffer: Vec::with_capacity(4_096) }
    }

    /// Sends a request and reads its answer. Returns the status.
    async fn exchange(&mut self, request: &[u8]) -> u16 {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.server.connect().await,
        };
        // A server that refuses a large request at once does not read all of it, but its answer is there.
        let _ = async { connection.write_all(request).await.and(connection.flush().await) }.await;
        self.buffer.clear();
        loop {
            match connection.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return CUT,
                Ok(_) => {}
            }
            match head(&self.buffer) {
                Some(head) if self.buffer.len() >= head.length => {
                    self.connection = (!head.is_last).then_some(connection);
                    return head.status;
                }
                _ => {}
            }
        }
    }
}

/// The head of an answer.
struct Head {
    status: u16,
    /// Bytes of the head and the body.
    length: usize,
    /// Whether the server ends the connection.
    is_last: bool,
}

/// The head of the answer in `buffer`; `None` until it is complete.
fn head(buffer: &[u8]) -> Option<Head> {
    let end = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&buffer[..end]).expect("the head is ASCII");
    let status = text.get(9..12).and_then(|status| status.parse().ok()).expect("the answer has a status");
    let header = |wanted: &str| {
        let mut headers = text.lines().filter_map(|line| line.split_once(':'));
        headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let length = header("content-length").map_or(0, |length| length.parse().expect("the length is a number"));
    Some(Head { status, length: end + length, is_last: header("connection") == Some("close") })
}

/// Closed loop: each connection sends its next request after the answer to the previous one, until all are sent.
pub fn closed(server: impl Into<Door>, requests: &[Vec<u8>], connections: usize) -> Loaded {
    let started = Instant::now();
    let (results, _) = drive(&server.into(), requests, connections, started..started + FOREVER);
    merge(started.elapsed(), results)
}

/// The same until the window ends. It sends no request twice, so it takes the first requests, and leaves the rest. The
/// window is shorter if the requests run out. Panics if less than half of it is left.
pub fn during(server: impl Into<Door>, requests: &[Vec<u8>], connections: usize, window: Window) -> Loaded {
    let start = Instant::now() + window.warm_up;
    let (results, ran_out) = drive(&server.into(), requests, connections, start..start + window.measured);
    if !ran_out {
        return merge(window.measured, results);
    }
    let measured = start.elapsed();
    let advice = "raise the rate for which `Workload::orders_per_second` has them signed";
    assert!(measured >= window.measured / 2, "{} requests ran out too early; {advice}", requests.len());
    merge(measured.min(window.measured), results)
}

/// Longer than any benchmark.
const FOREVER: Duration = Duration::from_secs(86_400);

/// Sends requests until the end of the range or of the requests. Latencies are those of answers within the range.
/// Returns also whether the requests ran out.
fn drive(server: &Door, requests: &[Vec<u8>], connections: usize, measured: Range<Instant>) -> (Vec<Worked>, bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the runtime starts");
    let next = Rc::new(Cell::new(0_usize));
    let results = runtime.block_on(LocalSet::new().run_until(async {
        let worker = |_| {
            let (next, measured) = (Rc::clone(&next), measured.clone());
            async move {
                let mut caller = Caller::connected(server).await;
                let (mut latency, mut statuses) = (histogram(), BTreeMap::new());
                let mut sent = Instant::now();
                while sent < measured.end
                    && let Some(request) = requests.get(next.replace(next.get() + 1))
                {
                    let status = caller.exchange(request).await;
                    *statuses.entry(status).or_insert(0) += 1;
                    let answered = Instant::now();
                    if measured.contains(&answered) {
                        latency.saturating_record((answered - sent).as_micros() as u64);
                    }
                    sent = answered;
                }
                (latency, statuses)
            }
        };
        join_all((0..connections).map(worker)).await
    }));
    (results, next.get() > requests.len())
}

/// Open loop: requests are due at a steady rate, whether or not earlier ones were answered. Latency counts from the
/// moment when a request was due, so a stall of the server counts for all requests that were due meanwhile (no
/// coordinated omission). The clock of the generator ticks every millisecond, and that is part of the latency.
pub fn open(server: impl Into<Door>, requests: &[Vec<u8>], connections: usize, rate: f64) -> Loaded {
    open_by_status(server, requests, connections, rate, || ()).0
}

/// The same, with the latencies of the answers of each status, from the moment when the request was sent. A request is
/// sent when it is due and a connection is free. `connected` is called before the first.
pub fn open_by_status(
    server: impl Into<Door>,
    requests: &[Vec<u8>],
    connections: usize,
    rate: f64,
    connected: impl FnOnce(),
) -> (Loaded, BTreeMap<u16, Histogram<u64>>) {
    let (server, next) = (server.into(), Cell::new(0_usize));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the runtime starts");
    let callers = runtime.block_on(join_all((0..connections).map(|_| Caller::connected(&server))));
    connected();
    // Of all connections together: a histogram takes 140 kB, and those of 4,000 connections a second of a core.
    let latency = RefCell::new(histogram());
    let by_status = RefCell::new(BTreeMap::new());
    let started = Instant::now() + Duration::from_millis(20);
    let worker = async |mut caller: Caller| {
        loop {
            let index = next.replace(next.get() + 1);
            let Some(request) = requests.get(index) else { return };
            let due = started + Duration::from_secs_f64(index as f64 / rate);
            tokio::time::sleep_until(due.into()).await;
            let sent = Instant::now();
            let status = caller.exchange(request).await;
            let mut by_status = by_status.borrow_mut();
            let of_status: &mut Histogram<u64> = by_status.entry(status).or_insert_with(histogram);
            of_status.saturating_record(sent.elapsed().as_micros() as u64);
            latency.borrow_mut().saturating_record(due.elapsed().as_micros() as u64);
        }
    };
    let workers = LocalSet::new();
    runtime.block_on(workers.run_until(join_all(callers.into_iter().map(worker))));
    let (seconds, by_status) = (started.elapsed().as_secs_f64(), by_status.into_inner());
    let statuses = by_status.iter().map(|(status, latency)| (*status, latency.len() as usize)).collect();
    (Loaded { seconds, latency: latency.into_inner(), statuses }, by_status)
}

/// What one connection measured: the latency, and the number of answers with each status.
type Worked = (Histogram<u64>, BTreeMap<u16, usize>);

fn merge(took: Duration, results: Vec<Worked>) -> Loaded {
    let (mut latency, mut statuses) = (histogram(), BTreeMap::new());
    for (own, counts) in results {
        latency.add(own).expect("the bounds are the same");
        for (status, count) in counts {
            *statuses.entry(status).or_insert(0) += count;
        }
    }
    Loaded { seconds: took.as_secs_f64(), latency, statuses }
}
