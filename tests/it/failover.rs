//! Failover on Postgres: the primary hangs or dies, and its standby takes over. The servers know both by a URL with
//! two hosts.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use inventory_proto::v1;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::books;
use inventory_tests::replica::Pair;
use inventory_tests::requests::{guid, reference, set, set_item};
use inventory_tests::tokens::channel_to;
use inventory_tests::wix_caller::{WixCaller, item, order, order_id};
use inventory_tests::world::{start_adapter, start_grpc};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

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
    let wix = WixCaller::new(start_adapter(grpc, stop).await);
    let channel = channel_to(grpc);
    let sites: Vec<String> = (0..SITES).map(|_| guid()).collect();
    for site in &sites {
        let mut stock = StockServiceClient::new(channel.clone());
        stock.set_stock(set(site, vec![set_item("A", 1_000)])).await.expect("the level can be set");
    }
    let mut answered = Vec::new();
    for site in sites.iter().cycle().take(4 * SITES) {
        let data = order(site, json!([item("A", 1)]));
        until_answered(&wix, &data).await;
        answered.push(data);
    }

    // Each of these is in a COMMIT, in a queue, or on its way when the primary freezes.
    let during: Vec<Value> = sites.iter().map(|site| order(site, json!([item("A", 1)]))).collect();
    pair.primary.freeze();
    // More reads than there are connections for reading hang there.
    let level = |site: &str| {
        let request = v1::GetStockRequest { site_id: site.to_owned(), unit: reference("A"), ..Default::default() };
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
}
