//! Shoppers: orders that come at a steady rate, each signed as Wix signs it. Who gets no answer sends the order again,
//! under the same idempotency key, until it is answered. One in ten leaves after three attempts.
//!
//! [`audit`] compares what was answered with a ledger.

pub mod audit;
pub mod record;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::Method;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::requests::{guid, set, set_item};
use crate::tokens::channel_to;
use crate::wix_caller::{WixCaller, item, order};
use record::{Counts, Known, Record};

/// Sites of both writers of a server.
const SITES: usize = 4;
/// Items of a site, beside the hot one that every order takes.
const ITEMS: u64 = 50;
/// Pieces of each item: more than anybody takes.
const STOCKED: i64 = 1_000_000_000;
/// Shoppers who wait for an answer at a time. Who comes while so many wait turns away.
const WAITING_MAX: u32 = 2_000;
/// Nobody waits longer than this for an answer to one attempt.
const PATIENCE: Duration = Duration::from_secs(3);
/// The pause before the next attempt, as the header `retry-after` of a 503 asks.
const PAUSE: Duration = Duration::from_secs(1);
/// A token older than this is signed anew: it would soon expire.
const TOKEN_AGE_MAX: Duration = Duration::from_secs(200);
/// One shopper in so many leaves without an answer…
const LEAVING: u64 = 10;
/// …after so many attempts.
const ATTEMPTS: usize = 3;

/// Shoppers of several sites. No more come when it is dropped.
pub struct Shoppers {
    shop: Arc<Shop>,
    _stop: DropGuard,
}

/// What all shoppers share.
struct Shop {
    /// One half of every order's id. The other half is its number.
    run: u64,
    sites: Vec<String>,
    adapters: Vec<WixCaller>,
    record: Mutex<Record>,
    answers: watch::Sender<u64>,
    places: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Shoppers {
    /// Stocks the sites through the gRPC server. From then on, shoppers come at `rate` a second. They try the adapters
    /// in turn.
    pub async fn come(grpc: SocketAddr, adapters: &[SocketAddr], rate: u32) -> Self {
        let sites: Vec<String> = (0..SITES).map(|_| guid()).collect();
        for site in &sites {
            let names = (0..ITEMS).map(|number| format!("B{number}")).chain(["A".to_owned()]);
            let levels = names.map(|name| set_item(&name, STOCKED)).collect();
            let mut stock = StockServiceClient::new(channel_to(grpc));
            stock.set_stock(set(site, levels)).await.expect("the levels can be set");
        }
        let stop = CancellationToken::new();
        let shop = Arc::new(Shop {
            run: fastrand::u64(..),
            sites,
            adapters: adapters.iter().map(|address| WixCaller::new(*address)).collect(),
            record: Mutex::new(Record::of(adapters.len())),
            answers: watch::Sender::new(0),
            places: Arc::new(Semaphore::new(WAITING_MAX as usize)),
            stop: stop.clone(),
        });
        tokio::spawn(Arc::clone(&shop).open(rate));
        Self { shop, _stop: stop.drop_guard() }
    }

    /// Waits until so many more orders are answered.
    pub async fn more_answers(&self, count: u64) {
        let mut answers = self.shop.answers.subscribe();
        let enough = *answers.borrow() + count;
        answers.wait_for(|answered| *answered >= enough).await.expect("the sender lives as long as `self`");
    }

    /// Lets no more shoppers come, and waits until each has an answer or has left.
    pub async fn leave(&self) {
        self.shop.stop.cancel();
        let _all = self.shop.places.acquire_many(WAITING_MAX).await.expect("nobody closes the semaphore");
    }

    /// How many orders there were so far.
    pub fn counts(&self) -> Counts {
        self.shop.record().counts
    }

    /// Answers other than 200 and 503. There is no reason for any.
    pub fn wrong_answers(&self) -> Vec<String> {
        self.shop.record().wrong.clone()
    }

    /// The longest times between two answers since this was last asked: of all adapters together, then of each.
    pub fn take_gaps(&self) -> Vec<Duration> {
        self.shop.record().take_gaps()
    }

    /// Sends up to `count` answered orders again, chosen by `random`. Returns when each is answered with 200.
    pub async fn replay(&self, count: usize, random: &mut fastrand::Rng) {
        let chosen: Vec<u64> = {
            let record = self.shop.record();
            let of = 0..record.orders.len();
            let chosen = (0..count).filter(|_| !of.is_empty()).map(|_| random.usize(of.clone()));
            chosen.filter(|number| record.orders[*number] == Known::Answered).map(|number| number as u64).collect()
        };
        let until_answered = |number| async move {
            let data = self.shop.order(number);
            // Not in turn: the first attempt goes to another adapter than that of the order itself.
            for attempt in 1.. {
                let token = self.shop.adapters[0].token(data.clone());
                if self.shop.attempt(number, attempt, token).await {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        futures_util::future::join_all(chosen.into_iter().map(until_answered)).await;
    }
}

impl Shop {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets shoppers in until the door is closed.
    async fn open(self: Arc<Self>, rate: u32) {
        let mut clock = tokio::time::interval(Duration::from_secs(1) / rate);
        while self.stop.run_until_cancelled(clock.tick()).await.is_some() {
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                let number = self.record().sent();
                tokio::spawn(Arc::clone(&self).serve(number, place));
            } else {
                self.record().counts.turned_away += 1;
            }
        }
    }

    /// One shopper, who keeps a place until the order is answered or given up.
    async fn serve(self: Arc<Self>, number: u64, _place: OwnedSemaphorePermit) {
        let attempts = if number % LEAVING == LEAVING - 1 { ATTEMPTS } else { usize::MAX };
        let data = self.order(number);
        let sign = || (Instant::now(), self.adapters[0].token(data.clone()));
        let mut signed = sign();
        for attempt in 0..attempts {
            if signed.0.elapsed() > TOKEN_AGE_MAX {
                signed = sign();
            }
            if self.attempt(number, attempt, signed.1.clone()).await {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Sends an order to one of the adapters. Returns whether nothing is left to do for it.
    async fn attempt(&self, number: u64, attempt: usize, token: String) -> bool {
        let adapter = (number as usize).wrapping_add(attempt) % self.adapters.len();
        let call = self.adapters[adapter].send(Method::POST, "/v1/decrement", token.into_bytes());
        let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, call).await else { return false };
        let mut record = self.record();
        match answer.status {
            200 => {
                record.answered(number, adapter);
                self.answers.send_replace(record.counts.answered);
                true
            }
            503 => false,
            other => {
                record.wrong.push(format!("order {number} got {other}: {}", answer.text));
                true
            }
        }
    }

    /// The data of an order. It is the same whenever it is asked for.
    fn order(&self, number: u64) -> Value {
        let site = &self.sites[number as usize % self.sites.len()];
        let mut data = order(site, json!([item("A", 1), item(&format!("B{}", number % ITEMS), 1)]));
        let id = json!(Uuid::from_u64_pair(self.run, number));
        data["request"]["orderId"] = id.clone();
        data["metadata"]["identity"]["memberId"] = id.clone();
        data["metadata"]["requestId"] = id;
        data
    }

    /// The number of the order with this id; `None` if it is of no order that was sent.
    fn number(&self, id: Uuid) -> Option<usize> {
        let (run, number) = id.as_u64_pair();
        usize::try_from(number).ok().filter(|number| run == self.run && *number < self.record().orders.len())
    }
}
