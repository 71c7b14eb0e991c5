//! A site that floods holds up no other: the adapter sends of each only so much that the server reads all of it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::poll_fn;
use futures_util::{Stream, StreamExt};
use inventory_proto::v1;
use inventory_proto::v1::availability_service_server::{AvailabilityService, AvailabilityServiceServer};
use inventory_proto::v1::change_availability_request::Change;
use inventory_proto::v1::change_availability_response::Outcome;
use inventory_tests::programs::{Running, adapter};
use inventory_tests::requests::guid;
use inventory_tests::wix_caller::{WixCaller, item, order};
use inventory_tests::world::serve;
use prost::Message;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::attacks::others::FLOODING_SITE;

/// Items of calls under way that a server takes from one stream.
const ITEMS_MAX: usize = 40_000;
/// Their bytes, of one site: half of what a server takes from one stream.
const BYTES_MAX: usize = 10 * 1024 * 1024;

/// A server that never answers the orders of one site, and those of others at once.
struct Slow {
    site: String,
    flood: Arc<Mutex<Flood>>,
}

/// What came from that site. Until half of the time of its first order is over, nobody has given up.
#[derive(Default)]
struct Flood {
    until: Option<Instant>,
    orders: usize,
    items: usize,
    bytes: usize,
}

impl Flood {
    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }

    fn came(&mut self, order: &v1::DecrementAvailabilityRequest, time: Duration) {
        self.until.get_or_insert(Instant::now() + time / 2);
        self.orders += 1;
        self.items += order.items.len();
        self.bytes += order.encoded_len();
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
                    flood.lock().expect("no panic").came(&order, time);
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

/// An adapter before a server that never answers the orders of one site.
struct Flooded {
    wix: WixCaller,
    flooding: String,
    small: String,
    flood: Arc<Mutex<Flood>>,
    front: Running,
}

impl Flooded {
    async fn start() -> Self {
        let (flooding, small) = (guid(), guid());
        let flood = Arc::new(Mutex::new(Flood::default()));
        let server = Slow { site: flooding.clone(), flood: Arc::clone(&flood) }.start().await;
        let front = adapter(server);
        Self { wix: WixCaller::new(front.addresses[0]), flooding, small, flood, front }
    }

    fn flood(&self) -> MutexGuard<'_, Flood> {
        self.flood.lock().expect("no panic")
    }

    /// An order of another site is answered.
    async fn answers_others(&self) {
        let answer = self.wix.call("decrement", order(&self.small, json!([item("A", 1)]))).await;
        assert_eq!(answer.status, 200);
    }

    /// The site sends so many orders of these items at once. Nobody answers them; others are answered meanwhile.
    /// Returns what is under way then.
    async fn sends(&self, count: usize, items: &Value) -> (usize, usize) {
        let orders = (0..count).map(|_| {
            let (wix, data) = (self.wix.clone(), order(&self.flooding, items.clone()));
            async move { wix.call("decrement", data).await.status }
        });
        let flooded = tokio::spawn(join_all(orders));
        while !self.flood().is_over() {
            self.answers_others().await;
        }
        let sent = {
            let flood = self.flood();
            (flood.items, flood.bytes)
        };
        assert!(flooded.await.expect("no panic").iter().all(|status| *status == 503), "nobody answered them");
        FLOODING_SITE.bounds(&self.front);
        sent
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_site_holds_up_no_other() {
    let flooded = Flooded::start().await;
    let items: Vec<_> = (0..300).map(|number| item(&format!("A{number}"), 1)).collect();
    let (items, _) = flooded.sends(200, &json!(items)).await;
    assert!((1..=ITEMS_MAX).contains(&items), "{items} of 60,000 items are under way");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_large_orders_holds_up_no_other() {
    let flooded = Flooded::start().await;
    let mut large = item("A", 1);
    large["catalogReference"]["options"] = json!({ "customTextFields": "x".repeat(500_000) });
    // The adapter has memory for all of them.
    let (_, bytes) = flooded.sends(40, &json!([large])).await;
    assert!((1..=BYTES_MAX).contains(&bytes), "{bytes} of 20 MB are under way");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_who_leave_make_no_room_for_more_than_the_server_reads() {
    /// Half of the room.
    const ORDERS_MAX: usize = 500;
    let flooded = Flooded::start().await;
    for _ in 0..30 {
        let orders = (0..100).map(|_| {
            let data = order(&flooded.flooding, json!([item("A", 1)]));
            tokio::time::timeout(Duration::from_millis(100), flooded.wix.call("decrement", data))
        });
        assert!(join_all(orders).await.iter().all(Result::is_err), "nobody answers");
    }
    flooded.answers_others().await;
    let orders = flooded.flood().orders;
    assert!((1..=ORDERS_MAX).contains(&orders), "the server has {orders} orders that it has not answered");
    FLOODING_SITE.bounds(&flooded.front);
}
