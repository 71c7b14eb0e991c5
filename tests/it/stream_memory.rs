//! Streams of calls whose answers are far: the messages that they hold take a bounded memory.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream;
use hyper::body::Bytes;
use inventory_proto::shared_call::{SharedCall, change_availability};
use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::change_availability_request::Change;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::call_stream::CallStream;
use inventory_tests::programs::grpc_server;
use inventory_tests::raw_grpc;
use inventory_tests::requests::{decrement, guid, reference, set, set_item};
use inventory_tests::tokens::channel_to;
use inventory_tests::world::{Backend, Database};
use tonic::transport::Endpoint;
use tonic::{Code, Request};

use crate::attacks::others::STREAMS_OF_CALLS;

/// Streams, and the calls that each has to send.
const STREAMS: usize = 20;
const CALLS: u64 = 20;
/// Bytes of each call.
const BYTES: usize = 3_500_000;
/// Calls that find room in any case. The server has memory for 18 at a time.
const ANSWERED_MIN: usize = 10;
/// The method.
const CHANGE: &str = "/inventory.v1.AvailabilityService/ChangeAvailability";
/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);

/// An order of one piece, in a message of `BYTES`.
fn large_order(site: &str) -> v1::DecrementAvailabilityRequest {
    let options_json = format!("{{\"customTextFields\":\"{}\"}}", "x".repeat(BYTES));
    let unit = Some(v1::CatalogReference { options_json, ..reference("A").expect("named") }.into());
    let items = vec![v1::Item { unit, quantity: 1, ..Default::default() }];
    v1::DecrementAvailabilityRequest { items, ..decrement(site, &[]) }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_under_way_hold_a_bounded_memory() {
    hold_a_bounded_memory(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_are_late_hold_a_bounded_memory_too() {
    hold_a_bounded_memory(Duration::from_millis(1)).await;
}

/// Sends many calls with this timeout while nothing can be committed.
async fn hold_a_bounded_memory(timeout: Duration) {
    let database = Database::fresh(Backend::Postgres);
    let (url, link) = database.behind_link().await;
    let server = grpc_server(&url);
    let (channel, site) = (channel_to(server.addresses[0]), guid());
    let mut stock = StockServiceClient::new(channel.clone());
    stock.set_stock(set(&site, vec![set_item("A", 1_000_000)])).await.expect("the level can be set");
    link.freeze();

    let change = Arc::new(Change::Decrement(large_order(&site)));
    let timeout = prost_types::Duration::try_from(timeout).ok();
    server.forget_peak();
    let streams = (0..STREAMS).map(|_| {
        let change = Arc::clone(&change);
        let calls = (0..CALLS).map(move |correlation_id| SharedCall {
            change: Arc::clone(&change),
            head: v1::ChangeAvailabilityRequest { correlation_id, timeout, ..Default::default() },
        });
        let channel = channel_to(server.addresses[0]);
        async move {
            let answers = change_availability(channel, Request::new(stream::iter(calls))).await;
            let mut answers = answers.expect("the stream opens").into_inner();
            let mut count = 0;
            while let Ok(Some(_)) = answers.message().await {
                count += 1;
            }
            count
        }
    });
    let counts = tokio::time::timeout(LONG, join_all(streams)).await.expect("every call has a time");
    println!("{counts:?} answers of {STREAMS} streams");
    assert!(counts.iter().sum::<usize>() >= ANSWERED_MIN, "as many calls as find room are under way");
    STREAMS_OF_CALLS.bounds(&server);

    link.restore();
    let mut stream = CallStream::open(AvailabilityServiceClient::new(channel)).await;
    let sold = async { while stream.call(decrement(&site, &[("A", 1)])).await.is_err() {} };
    tokio::time::timeout(LONG, sold).await.expect("the site can be sold again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_takes_no_answers_keeps_no_memory() {
    let database = Database::fresh(Backend::Sqlite);
    let server = grpc_server(&database.text);
    let (channel, site) = (channel_to(server.addresses[0]), guid());
    let mut stock = StockServiceClient::new(channel.clone());
    stock.set_stock(set(&site, vec![set_item("A", 1_000_000)])).await.expect("the level can be set");

    // No answer fits into the window. The connection answers pings.
    let endpoint = Endpoint::from_shared(format!("http://{}", server.addresses[0])).expect("the URL is valid");
    let greedy = endpoint.initial_stream_window_size(0).connect().await.expect("the server is there");
    let mut answers = Vec::new();
    for _ in 0..STREAMS {
        // An empty message, which is answered at once, and the begin of one of 3.5 MB that never comes.
        let begin = Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 0x38, 0, 0, 8]);
        let called = raw_grpc::call(greedy.clone(), CHANGE, raw_grpc::unfinished([begin])).await;
        answers.push(called.expect("the stream opens"));
    }

    let large = || v1::DecrementAvailabilityRequest { request_id: guid(), ..large_order(&site) };
    let mut availability = AvailabilityServiceClient::new(channel).max_encoding_message_size(2 * BYTES);
    let mut until = async |code| {
        let call = async {
            while availability.decrement_availability(large()).await.map_or_else(|status| status.code(), |_| Code::Ok)
                != code
            {}
        };
        tokio::time::timeout(LONG, call).await.unwrap_or_else(|_| panic!("no call ends with {code:?}"));
    };
    until(Code::ResourceExhausted).await;
    until(Code::Ok).await;
    STREAMS_OF_CALLS.bounds(&server);
    drop(answers);
}
