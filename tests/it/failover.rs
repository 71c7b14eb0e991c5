//! Failover on Postgres: the primary hangs or dies, and its standby takes over. The servers know both by a URL with
//! two hosts.
//!
//! `cargo bench --bench soak` does more of it, with Patroni.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use inventory_proto::v1;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::books;
use inventory_tests::history::{History, RecordedGrpc};
use inventory_tests::model::{Request, Target};
use inventory_tests::replica::{Node, Pair};
use inventory_tests::requests::{guid, reference};
use inventory_tests::shoppers::Shoppers;
use inventory_tests::shoppers::audit::Audit;
use inventory_tests::tokens::channel_to;
use inventory_tests::wix_caller::{WixCaller, item, order, order_id};
use inventory_tests::world::{start_adapter, start_grpc};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The model's item 0.
const ITEM: &str = "item-0";
/// Sites of both writers.
const SITES: usize = 4;
/// A frozen primary would hold up its servers for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends an order until it is answered with 200.
async fn until_answered(wix: &WixCaller, data: &Value) {
    loop {
        match wix.call("decrement", data.clone()).await.status {
            200 => return,
            503 => {}
            other => panic!("an order is answered with 200 or 503, not with {other}"),
        }
    }
}

/// Processes of the primary that are stopped answer nothing, and the kernel keeps their connections open.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_primary_does_not_hold_up_the_orders() {
    let pair = tokio::task::spawn_blocking(Pair::synchronous).await.expect("both servers start");
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let grpc = start_grpc(pair.url(), stop.clone()).await;
    let history = History::default();
    let wix = WixCaller::new(start_adapter(grpc, stop).await).recording(&history);
    let channel = channel_to(grpc);
    let sites: Vec<String> = (0..SITES).map(|_| guid()).collect();
    let caller = RecordedGrpc::new(&history, channel.clone());
    for site in &sites {
        let target = Target { item: 0, level: 1_000, expected: None, expected_revision: None, as_of: None };
        let stocked = caller.write(site, 1, false, &Request::Set(vec![target])).await;
        stocked.expect("the level can be set");
    }
    let mut answered = Vec::new();
    for site in sites.iter().cycle().take(4 * SITES) {
        let data = order(site, json!([item(ITEM, 1)]));
        until_answered(&wix, &data).await;
        answered.push(data);
    }

    // Each of these is in a COMMIT, in a queue, or on its way when the primary freezes.
    let during: Vec<Value> = sites.iter().map(|site| order(site, json!([item(ITEM, 1)]))).collect();
    pair.primary.freeze();
    // More reads than there are connections for reading hang there.
    let level = |site: &str| {
        let request = v1::GetStockRequest { site_id: site.to_owned(), unit: reference(ITEM), ..Default::default() };
        let mut client = StockServiceClient::new(channel.clone());
        async move { client.get_stock(request).await.map(|answer| answer.into_inner().stock.map(|s| s.available)) }
    };
    let hanging: Vec<_> = (0..8).map(|_| tokio::spawn(level(&sites[0]))).collect();
    let frozen = Instant::now();
    let standby = &pair.standby;
    let promoted = async { standby.promote() };
    let ordered = futures_util::future::join_all(during.iter().map(|data| until_answered(&wix, data)));
    let served = async { tokio::join!(promoted, ordered) };
    tokio::time::timeout(PATIENCE, served).await.expect("orders are answered although the primary stays frozen");
    println!("orders were not answered for {:?}", frozen.elapsed());
    let read = async {
        while level(&sites[0]).await.ok() != Some(Some(995)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("reads are answered although the primary stays frozen");
    hanging.iter().for_each(tokio::task::JoinHandle::abort);

    answered.extend(during);
    let recorded = books::lines(&standby.url(), "SELECT order_id::text AS line FROM change WHERE order_id IS NOT NULL");
    assert_eq!(recorded.len(), answered.len(), "each order is recorded once");
    let recorded: HashSet<&str> = recorded.iter().map(String::as_str).collect();
    assert!(answered.iter().all(|data| recorded.contains(order_id(data))), "an answered order is lost");
    books::prove(&standby.url());
    // The reads are not recorded: what they see of the frozen primary need not survive it.
    caller.check().await;
}

/// Orders a second in the rounds.
const RATE: u32 = 50;
/// Answers before and after what happens in a round.
const ANSWERS: u64 = 50;

/// Two gRPC servers with their adapters under load, on a primary and its synchronous standby.
struct Rounds {
    shoppers: Shoppers,
    audit: Audit,
    _stop: DropGuard,
}

impl Rounds {
    async fn on(pair: &Pair) -> Self {
        let stop = CancellationToken::new();
        let mut adapters = Vec::new();
        let mut grpc = None;
        for _ in 0..2 {
            let server = start_grpc(pair.url(), stop.clone()).await;
            adapters.push(start_adapter(server, stop.clone()).await);
            grpc = Some(server);
        }
        let shoppers = Shoppers::come(grpc.expect("there are two"), &adapters, RATE).await;
        Self { shoppers, audit: Audit::default(), _stop: stop.drop_guard() }
    }

    /// Waits until orders are answered.
    async fn served(&self) {
        let served = tokio::time::timeout(PATIENCE, self.shoppers.more_answers(ANSWERS));
        served.await.expect("orders are answered");
    }

    /// The end of a round: every answered order is in the primary's ledger, and none is there twice.
    fn check(&mut self, round: &str, primary: &Node) {
        let findings = self.audit.of_all(&self.shoppers, &primary.url());
        assert!(findings.is_empty(), "after the round `{round}`: {findings:?}");
        books::prove(&primary.url());
        let (counts, gaps) = (self.shoppers.counts(), self.shoppers.take_gaps());
        println!("{round}: {} of {} orders answered, longest gap {:?}", counts.answered, counts.sent, gaps[0]);
    }
}

/// Waits until commits wait for the standby.
fn held_up(primary: &Node) {
    while primary.waiting_for_standby() == 0 {
        std::thread::yield_now();
    }
}

/// The servers change their roles from round to round. The old primary comes back as the standby of the new one.
#[tokio::test(flavor = "multi_thread")]
async fn rounds_of_failover_lose_and_double_no_answered_order() {
    let pair = tokio::task::spawn_blocking(Pair::synchronous).await.expect("both servers start");
    let mut rounds = Rounds::on(&pair).await;
    let (one, two) = (&pair.primary, &pair.standby);

    rounds.served().await;
    one.kill();
    two.promote();
    rounds.served().await;
    rounds.check("the primary dies, the standby is promoted", two);
    pair.rewind(one, two);
    two.require_standby();

    rounds.served().await;
    one.freeze();
    held_up(two);
    one.thaw();
    rounds.served().await;
    rounds.check("the standby is cut off, and comes back", two);

    two.kill();
    pair.restart(two);
    rounds.served().await;
    rounds.check("the primary restarts in place", two);

    // What the restarted primary shows is on no standby, so no replay may be answered from it.
    one.kill();
    held_up(two);
    two.kill();
    pair.restart(two);
    held_up(two);
    two.kill();
    pair.restart(one);
    one.promote();
    rounds.served().await;
    rounds.check("the primary restarts without its standby, and is lost", one);
    pair.rebuild(two, one);
    one.require_standby();

    rounds.served().await;
    one.freeze();
    two.promote();
    rounds.served().await;
    rounds.check("the primary freezes, the standby is promoted", two);
    one.kill();
    pair.rewind(one, two);
    two.require_standby();
    rounds.served().await;
    rounds.check("the frozen primary is back as a standby", two);

    let left = tokio::time::timeout(PATIENCE, rounds.shoppers.leave()).await;
    left.expect("everybody is answered or leaves");
    rounds.check("the last shopper leaves", two);
}
