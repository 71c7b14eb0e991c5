//! Somebody stops the process of Postgres that serves a writer (`kill -STOP`), and the server goes on. Sites that the
//! process has locked wait for it. All others of the same writer are served by a new one. Whatever the process does
//! when it goes on, no order is lost, and none is applied twice.

use std::time::Duration;

use inventory_core::engine::Patience;
use inventory_core::engine::storage::faults::{Action, Faults, Point, Statement};
use inventory_core::store::DatabaseUrl;
use inventory_grpc::server::Options;
use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::books;
use inventory_tests::replica::Pair;
use inventory_tests::requests::{decrement, guid, reference, set, set_item};
use inventory_tests::tokens::channel_to;
use inventory_tests::wix_caller::{WixCaller, item, order};
use inventory_tests::world::{start_adapter, start_grpc_with};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);
/// A server waits for a minute.
const HUNG_AFTER: Duration = Duration::from_secs(3);

/// Both servers on a Postgres whose processes the test may stop, and two sites of the same writer with 100 pieces of A.
struct Shop {
    /// Fields are dropped in order: first the servers end.
    _stop: DropGuard,
    url: DatabaseUrl,
    faults: Faults,
    channel: Channel,
    wix: WixCaller,
    sites: [String; 2],
    pair: Pair,
}

type Call = JoinHandle<Result<(), Status>>;

impl Shop {
    async fn open() -> Self {
        let pair = tokio::task::spawn_blocking(Pair::start).await.expect("both servers start");
        let url = pair.primary.url();
        let DatabaseUrl::Postgres(text) = &url else { panic!("it is Postgres") };
        let faults = Faults::of(text);
        let stop = CancellationToken::new();
        let patience = Patience { hung_after: HUNG_AFTER, ..Patience::default() };
        let grpc = start_grpc_with(url.clone(), Options { patience, ..Options::default() }, stop.clone()).await;
        let wix = WixCaller::new(start_adapter(grpc, stop.clone()).await);
        let channel = channel_to(grpc);
        // The remainder of a site's id chooses its writer, so ids with the same last digit share one.
        let sites = [guid(), guid()].map(|id| format!("{}0", &id[..35]));
        for site in &sites {
            let request = set(site, vec![set_item("A", 100)]);
            StockServiceClient::new(channel.clone()).set_stock(request).await.expect("the level can be set");
        }
        Self { _stop: stop.drop_guard(), url, faults, channel, wix, sites, pair }
    }

    /// Sends orders of a site until the writer stops at a point on the way of one. Returns that one.
    async fn pause_at(&self, point: Point, order: impl Fn() -> v1::DecrementAvailabilityRequest) -> Paused {
        loop {
            self.faults.arm(point, Action::Pause);
            let order = order();
            let call = tokio::spawn(send(self.channel.clone(), order.clone(), LONG));
            while !self.faults.is_paused() && !call.is_finished() {
                tokio::task::yield_now().await;
            }
            if self.faults.is_paused() {
                return Paused { order, call };
            }
        }
    }

    /// The process of the only writer that has locked sites, and sends no statement now.
    fn process_in_transaction(&self) -> Option<u32> {
        let found = books::lines(
            &self.url,
            "SELECT pid::text AS line FROM pg_stat_activity JOIN pg_locks USING (pid) \
             WHERE state = 'idle in transaction' AND locktype = 'transactionid' AND granted",
        );
        found.first().map(|process| process.parse().expect("it is a number"))
    }

    /// Whether a process serves a connection that sends no statement now, and has no transaction.
    fn is_idle(&self, process: u32) -> bool {
        let idle = format!("SELECT count(*) AS wrong FROM pg_stat_activity WHERE pid = {process} AND state = 'idle'");
        books::count(&self.url, &idle) == 1
    }

    /// Sends an order of one piece of A through the adapter until it is answered with 200.
    async fn sell(&self, site: &str) {
        let data = order(site, json!([item("A", 1)]));
        let sold = async {
            loop {
                match self.wix.call("decrement", data.clone()).await.status {
                    200 => return,
                    503 => {}
                    other => panic!("an order is answered with 200 or 503, not with {other}"),
                }
            }
        };
        tokio::time::timeout(LONG, sold).await.expect("an order of the site is answered");
    }

    async fn level(&self, site: &str) -> i64 {
        let request = v1::GetStockRequest { site_id: site.to_owned(), unit: reference("A"), ..Default::default() };
        let answer = StockServiceClient::new(self.channel.clone()).get_stock(request).await;
        answer.expect("stock can be read").into_inner().stock.expect("the answer holds the stock").available
    }
}

/// An order whose writer has stopped at a point, until the test releases it.
struct Paused {
    order: v1::DecrementAvailabilityRequest,
    call: Call,
}

async fn send(channel: Channel, order: v1::DecrementAvailabilityRequest, time: Duration) -> Result<(), Status> {
    let mut request = Request::new(order);
    request.set_timeout(time);
    AvailabilityServiceClient::new(channel).decrement_availability(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_process_holds_up_the_sites_that_it_has_locked_and_no_others() {
    let shop = Shop::open().await;
    let [locked, free] = &shop.sites;
    let primary = &shop.pair.primary;
    let hanging = loop {
        // The levels of a new unit are not cached, so the order's batch locks its site first.
        let new_unit = || decrement(locked, &[(guid().as_str(), 1)]);
        let Paused { call, order: _ } = shop.pause_at(Point::After(Statement::LockSites), new_unit).await;
        let stopped = shop.process_in_transaction();
        if let Some(process) = stopped {
            primary.freeze_process(process);
        }
        // Postgres may just have ended the session, because it waits for a second alone.
        let is_stopped = stopped.is_some() && shop.process_in_transaction() == stopped;
        shop.faults.release();
        if is_stopped {
            break call;
        }
        primary.thaw();
        let _ = call.await.expect("no panic");
    };
    shop.sell(free).await;
    assert!(hanging.await.expect("no panic").is_err(), "its outcome is not known");
    let try_locked = || send(shop.channel.clone(), decrement(locked, &[("A", 1)]), Duration::from_secs(10));
    let mut refused = try_locked().await.expect_err("the site is locked");
    if refused.code() == Code::DeadlineExceeded {
        // The answer comes shortly before the deadline, and the machine may just have paused.
        refused = try_locked().await.expect_err("the site is locked");
    }
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(refused.message().contains("another transaction holds a lock"), "{refused:?}");
    shop.sell(free).await;

    primary.thaw();
    shop.sell(locked).await;
    assert_eq!((shop.level(locked).await, shop.level(free).await), (99, 98));
    books::prove(&shop.url);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_a_stopped_process_commits_late_is_applied_once() {
    let shop = Shop::open().await;
    let [site, other] = &shop.sites;
    let primary = &shop.pair.primary;
    let hanging = loop {
        // In a transaction, the process of the writer shows itself.
        let new_unit = || decrement(site, &[(guid().as_str(), 1)]);
        let Paused { call, order: _ } = shop.pause_at(Point::After(Statement::LockSites), new_unit).await;
        let process = shop.process_in_transaction();
        shop.faults.release();
        let _ = call.await.expect("no panic");
        // The writer has not sent the statement that writes the order.
        let paused = shop.pause_at(Point::Before(Statement::WriteAndCommit), || decrement(site, &[("A", 1)])).await;
        let process = process.filter(|process| shop.is_idle(*process));
        if let Some(process) = process {
            primary.freeze_process(process);
        }
        shop.faults.release();
        if process.is_some() {
            break paused;
        }
        let _ = paused.call.await.expect("no panic");
    };
    shop.sell(other).await;
    assert!(hanging.call.await.expect("no panic").is_err(), "its outcome is not known");

    // The process reads the statement now. The caller asks again at the same time.
    primary.thaw();
    let asked_again = async { while send(shop.channel.clone(), hanging.order.clone(), LONG).await.is_err() {} };
    tokio::time::timeout(LONG, asked_again).await.expect("the same key finds out");
    let applied = format!("SELECT count(*) AS wrong FROM change WHERE order_id = '{}'", hanging.order.order_id);
    assert_eq!(books::count(&shop.url, &applied), 1);
    shop.sell(site).await;
    assert_eq!(shop.level(other).await, 99);
    books::prove(&shop.url);
}
