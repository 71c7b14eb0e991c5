//! A site that floods holds up no other: the adapter sends of each only so much that the server reads all of it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::poll_fn;
use futures_util::{Stream, StreamExt};
use inventory_proto::v1;
use inventory_proto::v1::availability_service_server::{AvailabilityService, AvailabilityServiceServer};
use inventory_proto::v1::change_availability_request::Change;
use inventory_proto::v1::change_availability_response::Outcome;
use inventory_tests::requests::guid;
use inventory_tests::wix_caller::{WixCaller, item, order};
use inventory_tests::world::{serve, start_adapter};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// Items of calls under way that a server takes from one stream.
const ITEMS_MAX: usize = 40_000;

/// A server that never answers the orders of one site, and those of others at once.
struct Slow {
    site: String,
    flood: Arc<Mutex<Flood>>,
}

/// What came from that site until half of the time of its first order was over. Nobody has given up so early, so the
/// adapter counts all of it as under way.
#[derive(Default)]
struct Flood {
    until: Option<Instant>,
    items: usize,
}

impl Flood {
    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }

    fn came(&mut self, items: usize, time: Duration) {
        self.until.get_or_insert(Instant::now() + time / 2);
        if !self.is_over() {
            self.items += items;
        }
    }
}

impl Slow {
    async fn start(self) -> SocketAddr {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<AvailabilityServiceServer<Self>>().await;
        serve(Server::builder().add_service(health).add_service(AvailabilityServiceServer::new(self))).await
    }
}

#[tonic::async_trait]
impl AvailabilityService for Slow {
    type ChangeAvailabilityStream = Pin<Box<dyn Stream<Item = Result<v1::ChangeAvailabilityResponse, Status>> + Send>>;

    async fn decrement_availability(
        &self,
        _: Request<v1::DecrementAvailabilityRequest>,
    ) -> Result<Response<v1::DecrementAvailabilityResponse>, Status> {
        Err(Status::unimplemented("the adapter sends everything on the stream"))
    }

    async fn increment_availability(
        &self,
        _: Request<v1::IncrementAvailabilityRequest>,
    ) -> Result<Response<v1::IncrementAvailabilityResponse>, Status> {
        Err(Status::unimplemented("the adapter sends everything on the stream"))
    }

    async fn change_availability(
        &self,
        request: Request<Streaming<v1::ChangeAvailabilityRequest>>,
    ) -> Result<Response<Self::ChangeAvailabilityStream>, Status> {
        let (site, flood, mut calls) = (self.site.clone(), Arc::clone(&self.flood), request.into_inner());
        let (sender, mut answers) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(call)) = calls.next().await {
                let v1::ChangeAvailabilityRequest { correlation_id, timeout, change, .. } = call;
                let Some(Change::Decrement(order)) = change else { panic!("the test sends orders alone") };
                if order.site_id == site {
                    let time = timeout.and_then(|time| Duration::try_from(time).ok());
                    let time = time.expect("the adapter says how long it waits");
                    flood.lock().expect("no panic").came(order.items.len(), time);
                    continue;
                }
                let outcome = Some(Outcome::Applied(v1::AppliedChange::default()));
                // The adapter may have gone.
                let _ = sender.send(Ok(v1::ChangeAvailabilityResponse { correlation_id, outcome }));
            }
        });
        Ok(Response::new(poll_fn(move |context| answers.poll_recv(context)).boxed()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_site_holds_up_no_other() {
    let (flooding, small) = (guid(), guid());
    let flood = Arc::new(Mutex::new(Flood::default()));
    let server = Slow { site: flooding.clone(), flood: Arc::clone(&flood) }.start().await;
    let stop = CancellationToken::new();
    let wix = WixCaller::new(start_adapter(server, stop.clone()).await);
    let items: Vec<_> = (0..300).map(|number| item(&format!("A{number}"), 1)).collect();
    let orders = (0..200).map(|_| {
        let (wix, data) = (wix.clone(), order(&flooding, json!(items)));
        async move { wix.call("decrement", data).await.status }
    });
    let flooded = tokio::spawn(join_all(orders));
    while !flood.lock().expect("no panic").is_over() {
        let answer = wix.call("decrement", order(&small, json!([item("A", 1)]))).await;
        assert_eq!(answer.status, 200);
    }
    let sent = flood.lock().expect("no panic").items;
    assert!((1..=ITEMS_MAX).contains(&sent), "{sent} of 60,000 items are under way");
    assert!(flooded.await.expect("no panic").iter().all(|status| *status == 503), "nobody answered them");
    stop.cancel();
}
