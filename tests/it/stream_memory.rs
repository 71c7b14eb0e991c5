//! Streams of calls whose answers are far: the messages that they hold take a bounded memory.

use std::sync::Arc;
use std::time::Duration;

use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use futures_util::future::join_all;
use futures_util::stream;
use inventory_core::store::DatabaseUrl;
use inventory_proto::shared_call::{SharedCall, change_availability};
use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::change_availability_request::Change;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::call_stream::CallStream;
use inventory_tests::programs::grpc_server;
use inventory_tests::requests::{decrement, guid, reference, set, set_item};
use inventory_tests::tokens::channel_to;
use inventory_tests::world::{Backend, Database};
use tonic::Request;

/// Streams, and the calls that each has to send.
const STREAMS: usize = 20;
const CALLS: u64 = 20;
/// Bytes of each call.
const BYTES: usize = 3_500_000;
/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn calls_under_way_hold_a_bounded_memory() {
    let database = Database::fresh(Backend::Postgres);
    let server = grpc_server(&database.text);
    let (channel, site) = (channel_to(server.addresses[0]), guid());
    let mut stock = StockServiceClient::new(channel.clone());
    stock.set_stock(set(&site, vec![set_item("A", 10)])).await.expect("the level can be set");

    // A stranger locks the site, so no call of it is answered.
    let DatabaseUrl::Postgres(url) = database.url.clone() else { panic!("it is on Postgres") };
    let mut stranger = PgConnection::establish(&url).expect("Postgres accepts connections");
    stranger.batch_execute("BEGIN; SELECT FROM site FOR UPDATE").expect("the lock is free");

    let options_json = format!("{{\"customTextFields\":\"{}\"}}", "x".repeat(BYTES));
    let unit = Some(v1::CatalogReference { options_json, ..reference("A").expect("named") }.into());
    let order = v1::DecrementAvailabilityRequest {
        items: vec![v1::Item { unit, quantity: 1, ..Default::default() }],
        ..decrement(&site, &[])
    };
    let change = Arc::new(Change::Decrement(order));
    let timeout = Some(prost_types::Duration { seconds: 10, nanos: 0 });
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
    let most = server.peak_megabytes();
    println!("{counts:?} answers of {STREAMS} streams; at most {most:.0} MB");
    assert!(most < 350.0, "{most} MB");

    stranger.batch_execute("ROLLBACK").expect("the transaction can end");
    let mut stream = CallStream::open(AvailabilityServiceClient::new(channel)).await;
    stream.call(decrement(&site, &[("A", 1)])).await.expect("the site can be sold again");
}
