//! Generates load at little cost, because it shares the machine with the servers: it writes whole requests to
//! kept-alive connections, and reads only status and length of an answer.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;

use crate::bench::door::Door;

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

/// Status and whole length of the answer in `buffer`; `None` until its head is complete.
fn head(buffer: &[u8]) -> Option<(u16, usize)> {
    let end = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&buffer[..end]).expect("the head is ASCII");
    let status = text.get(9..12).and_then(|status| status.parse().ok()).expect("the answer has a status");
    let length = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, length)| length.trim().parse().expect("the length is a number"));
    Some((status, end + length))
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
                let mut connection = server.connect().await;
                let (mut latency, mut statuses) = (histogram(), BTreeMap::new());
                let mut buffer = Vec::with_capacity(4_096);
                let mut sent = Instant::now();
                while sent < measured.end
                    && let Some(request) = requests.get(next.replace(next.get() + 1))
                {
                    connection.write_all(request).await.expect("the server reads the request");
                    connection.flush().await.expect("the server reads the request");
                    buffer.clear();
                    let status = loop {
                        assert_ne!(
                            connection.read_buf(&mut buffer).await.expect("the server answers"),
                            0,
                            "the server closed the connection"
                        );
                        match head(&buffer) {
                            Some((status, length)) if buffer.len() >= length => break status,
                            _ => {}
                        }
                    };
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
        futures_util::future::join_all((0..connections).map(worker)).await
    }));
    (results, next.get() > requests.len())
}

/// Open loop: requests are due at a steady rate, whether or not earlier ones were answered. Latency counts from the
/// moment when a request was due, so a stall of the server counts for all requests that were due meanwhile (no
/// coordinated omission).
pub fn open(address: SocketAddr, requests: &[Vec<u8>], connections: usize, rate: f64) -> Loaded {
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now() + Duration::from_millis(20);
    let results = std::thread::scope(|scope| {
        let worker = |_| {
            let next = Arc::clone(&next);
            scope.spawn(move || {
                let mut connection = TcpStream::connect(address).expect("the server accepts connections");
                connection.set_nodelay(true).expect("every TCP socket has the option");
                let (mut latency, mut statuses) = (histogram(), BTreeMap::new());
                let mut buffer = vec![0_u8; 65_536];
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(request) = requests.get(index) else { return (latency, statuses) };
                    let due = started + Duration::from_secs_f64(index as f64 / rate);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    connection.write_all(request).expect("the server reads the request");
                    let mut filled = 0;
                    let status = loop {
                        let read = connection.read(&mut buffer[filled..]).expect("the server answers");
                        assert_ne!(read, 0, "the server closed the connection");
                        filled += read;
                        match head(&buffer[..filled]) {
                            Some((status, length)) if filled >= length => break status,
                            _ => {}
                        }
                    };
                    *statuses.entry(status).or_insert(0) += 1;
                    latency.saturating_record(due.elapsed().as_micros() as u64);
                }
            })
        };
        let workers: Vec<_> = (0..connections).map(worker).collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
    });
    merge(started.elapsed(), results)
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
