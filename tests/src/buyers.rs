//! Buyers that order one piece through an adapter, one order after the other, until they are told to stop. Every order
//! must be answered with 200 at once: a failed one ends the test. All calls are recorded, and have to be explained by
//! the model.

use std::net::SocketAddr;

use inventory_proto::v1::stock_service_client::StockServiceClient;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::history::{History, RecordedGrpc};
use crate::model::Answer;
use crate::requests::{guid, set, set_item};
use crate::tokens::channel_to;
use crate::wix_caller::{WixCaller, item, order, order_id};

/// The unit that they order.
const UNIT: &str = "A";
/// Pieces of it at each site, before the first order: more than anybody orders.
pub const STOCK: i64 = 1_000_000;

/// Buyers at work.
pub struct Buyers {
    /// The sites.
    pub sites: Vec<String>,
    history: History,
    tasks: JoinSet<Vec<String>>,
    stop: watch::Sender<bool>,
    answered: watch::Receiver<u64>,
}

impl Buyers {
    /// Stocks so many new sites through a gRPC server. Then one buyer of each site orders through the adapter.
    pub async fn come(grpc: SocketAddr, adapter: SocketAddr, sites: usize) -> Self {
        let history = History::default();
        let sites: Vec<String> = (0..sites).map(|_| guid()).collect();
        for site in &sites {
            let request = set(site, vec![set_item(UNIT, STOCK)]);
            let call = history.begin_set(site, &request.request_id, &[(UNIT, STOCK)]);
            let answer = StockServiceClient::new(channel_to(grpc)).set_stock(request).await;
            call.answered(Answer::Applied(answer.expect("the level can be set").into_inner().sequence));
        }
        let (stop, stopped) = watch::channel(false);
        let (count, answered) = watch::channel(0);
        let mut tasks = JoinSet::new();
        for site in sites.clone() {
            let caller = WixCaller::new(adapter).recording(&history);
            let (stopped, count) = (stopped.clone(), count.clone());
            tasks.spawn(async move {
                let mut bought = Vec::new();
                while !*stopped.borrow() {
                    let data = order(&site, json!([item(UNIT, 1)]));
                    let answer = caller.call("decrement", data.clone()).await;
                    assert_eq!(answer.status, 200, "after {} orders: {answer:?}", bought.len());
                    bought.push(order_id(&data).to_owned());
                    count.send_modify(|count| *count += 1);
                }
                bought
            });
        }
        Self { sites, history, tasks, stop, answered }
    }

    /// Waits for the answers to so many more orders.
    pub async fn answered(&mut self, more: u64) {
        let wanted = *self.answered.borrow() + more;
        self.answered.wait_for(|count| *count >= wanted).await.expect("a buyer ends only if an order fails");
    }

    /// Lets each buyer wait for the answer to its last order. Reads the ledgers through a gRPC server, and checks the
    /// calls. Returns the ids of all orders. Each was answered with 200.
    pub async fn stop(self, grpc: SocketAddr) -> Vec<String> {
        self.stop.send_replace(true);
        let bought = self.tasks.join_all().await.into_iter().flatten().collect();
        RecordedGrpc::new(&self.history, channel_to(grpc)).check().await;
        bought
    }
}
