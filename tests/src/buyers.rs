//! Buyers that order one piece through an adapter, one order after the other, until they are told to stop. Every order
//! must be answered with 200 at once: a failed one ends the test.

use std::net::SocketAddr;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::wix_caller::{WixCaller, item, order, order_id};

/// The unit that they order.
pub const UNIT: &str = "A";

/// Buyers at work.
pub struct Buyers {
    tasks: JoinSet<Vec<String>>,
    stop: watch::Sender<bool>,
    answered: watch::Receiver<u64>,
}

impl Buyers {
    /// So many buyers for each of these sites.
    pub fn start(adapter: SocketAddr, sites: &[String], of_each: usize) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (count, answered) = watch::channel(0);
        let mut tasks = JoinSet::new();
        for site in sites.iter().flat_map(|site| std::iter::repeat_n(site.clone(), of_each)) {
            let (caller, stopped, count) = (WixCaller::new(adapter), stopped.clone(), count.clone());
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
        Self { tasks, stop, answered }
    }

    /// Waits for the answers to so many more orders.
    pub async fn answered(&mut self, more: u64) {
        let wanted = *self.answered.borrow() + more;
        self.answered.wait_for(|count| *count >= wanted).await.expect("a buyer ends only if an order fails");
    }

    /// Lets each buyer wait for the answer to its last order. Returns the ids of all orders. Each was answered with
    /// 200.
    pub async fn stop(self) -> Vec<String> {
        self.stop.send_replace(true);
        self.tasks.join_all().await.into_iter().flatten().collect()
    }
}
