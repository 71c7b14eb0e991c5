//! Plain gRPC: orders of one hot item with 64 calls in flight, compared with empty unary calls on the same server.
//!
//!     cargo bench --bench grpc

use std::cell::Cell;
use std::time::Instant;

use futures_util::future::join_all;
use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_tests::bench::fixtures::{SITE, item_id};
use inventory_tests::bench::report::{Figure, Table, heading, runs, scaled};
use inventory_tests::bench::rig::stock;
use inventory_tests::postgres::Durability;
use inventory_tests::programs::grpc_server;
use inventory_tests::wix_caller::CATALOG;
use inventory_tests::world::{Backend, Database};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use uuid::Uuid;

const IN_FLIGHT: usize = 64;
/// Connections of the load generator. With one, the task of that connection would be the limit.
const CONNECTIONS: usize = 2;

fn main() {
    heading("grpc");
    let mut table = Table::new(&["store", "orders /s", "empty calls /s", "orders ÷ empty calls"]);
    for backend in [Backend::Postgres, Backend::Sqlite] {
        let (mut orders, mut empty) = (Vec::new(), Vec::new());
        for _ in 0..runs() {
            let database = Database::with_durability(backend, Durability::Full);
            let server = grpc_server(&database.text);
            stock(server.addresses[0], 1);
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the runtime starts");
            let address = format!("http://{}", server.addresses[0]);
            empty.push(runtime.block_on(call_all(&address, scaled(60_000), check)));
            orders.push(runtime.block_on(call_all(&address, scaled(60_000), decrement)));
        }
        let (orders, empty) = (Figure::from(orders), Figure::from(empty));
        let ratio = format!("{:.2}", orders.median() / empty.median());
        table.row(vec![format!("{backend:?}"), orders.shown(0), empty.shown(0), ratio]);
    }
    table.print();
}

async fn call_all(address: &str, count: usize, call: impl AsyncFn(Channel)) -> f64 {
    let endpoint = Endpoint::from_shared(address.to_owned()).expect("the URL is valid");
    let connect = |_| endpoint.connect();
    let channels: Vec<Channel> = join_all((0..CONNECTIONS).map(connect))
        .await
        .into_iter()
        .map(|channel| channel.expect("the server accepts connections"))
        .collect();
    let left = Cell::new(count);
    let started = Instant::now();
    let worker = |index: usize| {
        let (channel, left, call) = (channels[index % CONNECTIONS].clone(), &left, &call);
        async move {
            while let Some(next) = left.get().checked_sub(1) {
                left.set(next);
                call(channel.clone()).await;
            }
        }
    };
    join_all((0..IN_FLIGHT).map(worker)).await;
    count as f64 / started.elapsed().as_secs_f64()
}

async fn check(channel: Channel) {
    let request = HealthCheckRequest { service: String::new() };
    HealthClient::new(channel).check(request).await.expect("the server answers");
}

async fn decrement(channel: Channel) {
    let reference = v1::CatalogReference { app_id: CATALOG.into(), catalog_item_id: item_id(0), ..Default::default() };
    let request = v1::DecrementAvailabilityRequest {
        site_id: SITE.into(),
        items: vec![v1::Item { unit: Some(reference.into()), quantity: 1, ..Default::default() }],
        order_id: Uuid::new_v4().to_string(),
        request_id: Uuid::new_v4().to_string(),
        ..Default::default()
    };
    AvailabilityServiceClient::new(channel).decrement_availability(request).await.expect("the order is applied");
}
