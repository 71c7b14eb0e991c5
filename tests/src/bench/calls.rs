//! Orders of one hot item over plain gRPC, as internal services send them, and what a call costs without an order.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::future::join_all;
use hdrhistogram::Histogram;
use inventory_proto::Bearer;
use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use uuid::Uuid;

use crate::bench::door::Door;
use crate::bench::fixtures::{SITE, reference};
use crate::bench::load::{Loaded, Window, histogram};
use crate::call_stream::CallStream;

/// Calls in flight.
pub const IN_FLIGHT: usize = 64;
/// Connections of the load generator. With one, the task of that connection would be the limit.
const CONNECTIONS: usize = 2;

/// What is called. Each kind is a row of the benchmark's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A health check: a unary call that does nothing. It limits every unary call.
    Empty,
    /// An order, as a unary call.
    Unary,
    /// An order, as a message of a stream.
    Stream,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Empty, Self::Unary, Self::Stream];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty unary call",
            Self::Unary => "order, unary call",
            Self::Stream => "order, message of a stream",
        }
    }

    /// Pieces of the hot item that `count` calls take.
    pub fn pieces(self, count: usize) -> i64 {
        match self {
            Self::Empty => 0,
            Self::Unary | Self::Stream => count as i64,
        }
    }

    /// Calls until the window ends: a closed loop. Panics unless every call succeeds.
    pub fn during(self, server: impl Into<Door>, window: Window) -> Loaded {
        let server = server.into();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the runtime starts");
        runtime.block_on(async {
            let channels: Vec<Channel> = (0..CONNECTIONS).map(|_| server.channel()).collect();
            match self {
                Self::Empty => closed(&channels, window, check).await,
                Self::Unary => closed(&channels, window, |channel| decrement(channel, server.bearer.clone())).await,
                Self::Stream => streams(&channels, window, &server.bearer).await,
            }
        })
    }
}

async fn closed(channels: &[Channel], window: Window, call: impl AsyncFn(Channel)) -> Loaded {
    let start = Instant::now() + window.warm_up;
    let end = start + window.measured;
    let worker = |index: usize| {
        let (channel, call) = (channels[index % CONNECTIONS].clone(), &call);
        async move {
            let (mut latency, mut answered) = (histogram(), 0_usize);
            let mut sent = Instant::now();
            while sent < end {
                call(channel.clone()).await;
                let now = Instant::now();
                answered += 1;
                if (start..end).contains(&now) {
                    latency.saturating_record((now - sent).as_micros() as u64);
                }
                sent = now;
            }
            (latency, answered)
        }
    };
    loaded(window, join_all((0..IN_FLIGHT).map(worker)).await)
}

/// Sends orders on one stream of each channel. Each answer lets the next order go.
async fn streams(channels: &[Channel], window: Window, bearer: &Bearer) -> Loaded {
    let start = Instant::now() + window.warm_up;
    let end = start + window.measured;
    let worker = async |channel: &Channel| {
        let client = AvailabilityServiceClient::new(channel.clone());
        let opened = CallStream::open_with(client, |request| bearer.sign(request.metadata_mut())).await;
        let mut stream = opened.expect("the stream opens");
        let (mut latency, mut answered) = (histogram(), 0_usize);
        let mut sent = BTreeMap::new();
        for _ in 0..IN_FLIGHT / CONNECTIONS {
            sent.insert(stream.send(order()), Instant::now());
        }
        while !sent.is_empty() {
            let (id, answer) = stream.next().await.expect("the stream is open").expect("the stream is open");
            answer.expect("the order is applied");
            let (now, began) = (Instant::now(), sent.remove(&id).expect("an order is answered once"));
            answered += 1;
            if (start..end).contains(&now) {
                latency.saturating_record((now - began).as_micros() as u64);
            }
            if now < end {
                sent.insert(stream.send(order()), now);
            }
        }
        (latency, answered)
    };
    loaded(window, join_all(channels.iter().map(worker)).await)
}

fn loaded(window: Window, workers: Vec<(Histogram<u64>, usize)>) -> Loaded {
    let (mut latency, mut answered) = (histogram(), 0);
    for (own, count) in workers {
        latency.add(own).expect("the bounds are the same");
        answered += count;
    }
    // A gRPC call that succeeds has the HTTP status 200.
    Loaded { seconds: window.measured.as_secs_f64(), latency, statuses: BTreeMap::from([(200, answered)]) }
}

async fn check(channel: Channel) {
    let request = HealthCheckRequest { service: String::new() };
    HealthClient::new(channel).check(request).await.expect("the server answers");
}

async fn decrement(channel: Channel, bearer: Bearer) {
    AvailabilityServiceClient::with_interceptor(channel, bearer)
        .decrement_availability(order())
        .await
        .expect("the order is applied");
}

/// A new order of one piece of the hot item. Its ids cost little, because the generator shares the machine with the
/// servers.
fn order() -> v1::DecrementAvailabilityRequest {
    static RUN: LazyLock<u64> = LazyLock::new(|| Uuid::new_v4().as_u64_pair().0);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = Uuid::from_u64_pair(*RUN, NEXT.fetch_add(1, Ordering::Relaxed)).to_string();
    v1::DecrementAvailabilityRequest {
        site_id: SITE.into(),
        items: vec![v1::Item { unit: Some(reference(0).into()), quantity: 1, ..Default::default() }],
        order_id: id.clone(),
        request_id: id,
        ..Default::default()
    }
}
