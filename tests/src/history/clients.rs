//! A gRPC caller that speaks in the terms of the model, and records what it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::change_availability_request::Change;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_proto::{UnitRef, v1};
use tonic::Status;
use tonic::transport::Channel;

use super::{Asked, History, Line, Seen};
use crate::call_stream::{SharedStream, unary};
use crate::errors::{error_of, insufficient_stock, stock_changed};
use crate::model::convert::{APPS, LOCATION};
use crate::model::kinds::catalog_of;
use crate::model::{Answer, Request, Shortage, Target, UNITS, Why};
use crate::requests::{all_pages, reference_of, sku};

/// A gRPC caller whose calls are recorded. Items, orders and keys are those of the model. Every second call about an
/// order travels on a stream, which all clones share. Cheap to clone.
#[derive(Clone)]
pub struct RecordedGrpc {
    history: History,
    channel: Channel,
    stream: SharedStream,
    /// The number of calls about orders so far.
    orders: Arc<AtomicUsize>,
}

/// What an error says about a request.
pub(super) enum Said {
    Refused(Answer),
    /// Nothing was done, and the same request may be done later.
    NotDone,
    /// It may have been done.
    Unknown,
}

impl RecordedGrpc {
    /// A caller of the server behind `channel`.
    pub fn new(history: &History, channel: Channel) -> Self {
        let stream = SharedStream::new(AvailabilityServiceClient::new(channel.clone()));
        Self { history: history.clone(), channel, stream, orders: Arc::default() }
    }

    /// Sends a request. With `by_sku`, its items are named by the SKUs with their numbers; the test has to give them
    /// these SKUs before.
    pub async fn write(&self, site: &str, key: u64, by_sku: bool, request: &Request) -> Result<Answer, Status> {
        let call = self.history.begin(site, Asked::Write(key, request.clone()));
        match self.send(site, key.to_string(), by_sku, request).await {
            Ok(sequence) => {
                call.answered(Answer::Applied(sequence));
                Ok(Answer::Applied(sequence))
            }
            Err(status) => match said(&self.history, site, &status) {
                Said::Refused(answer) => {
                    call.answered(answer.clone());
                    Ok(answer)
                }
                Said::NotDone => {
                    call.not_done();
                    Err(status)
                }
                Said::Unknown => Err(status),
            },
        }
    }

    async fn send(&self, site: &str, key: String, by_sku: bool, request: &Request) -> Result<i64, Status> {
        let mut stock = StockServiceClient::new(self.channel.clone());
        let (site_id, request_id) = (site.to_owned(), key);
        let lines = |lines: &[crate::model::Line]| -> Vec<v1::Item> {
            let line = |&(item, quantity, subscription_item): &crate::model::Line| v1::Item {
                unit: unit_of(item, by_sku),
                location_id: location_of(item),
                quantity,
                subscription_item,
            };
            lines.iter().map(line).collect()
        };
        let order_id = |order: usize| uuid::Uuid::from_u128(order as u128).to_string();
        Ok(match request {
            Request::Decrement(asked, restricted, order, placed) => {
                let reason = if *placed { v1::Reason::OrderPlaced } else { v1::Reason::OrderEdited }.into();
                let request = v1::DecrementAvailabilityRequest {
                    site_id,
                    items: lines(asked),
                    restrict_inventory_value: Some(*restricted),
                    order_id: order_id(*order),
                    reason,
                    request_id,
                };
                self.order_call(request).await?.sequence
            }
            Request::Increment(asked, order) => {
                let (items, order_id, reason) = (lines(asked), order_id(*order), 0);
                let request = v1::IncrementAvailabilityRequest { site_id, items, order_id, reason, request_id };
                self.order_call(request).await?.sequence
            }
            Request::Set(targets) => {
                let item = |target: &Target| v1::SetStockItem {
                    unit: unit_of(target.item, by_sku),
                    location_id: location_of(target.item),
                    available: target.level,
                    expected_available: target.expected,
                    expected_revision: target.expected_revision,
                    as_of_sequence: target.as_of.unwrap_or_default(),
                };
                let items = targets.iter().map(item).collect();
                let request = v1::SetStockRequest { site_id, items, request_id, ..Default::default() };
                stock.set_stock(request).await?.into_inner().sequence
            }
            Request::Adjust(deltas) => {
                let item = |&(item, delta): &(usize, i64)| v1::AdjustStockItem {
                    unit: unit_of(item, by_sku),
                    location_id: location_of(item),
                    delta,
                };
                let items = deltas.iter().map(item).collect();
                let request = v1::AdjustStockRequest { site_id, items, request_id, ..Default::default() };
                stock.adjust_stock(request).await?.into_inner().sequence
            }
            Request::Move(moves, restricted) => {
                let item = |&(from, to, quantity): &(usize, usize, i64)| v1::MoveStockItem {
                    unit: unit_of(from, by_sku),
                    from_location_id: location_of(from),
                    to_location_id: location_of(to),
                    quantity,
                };
                let (items, allow_negative) = (moves.iter().map(item).collect(), !restricted);
                let request = v1::MoveStockRequest { site_id, items, request_id, allow_negative, ..Default::default() };
                stock.move_stock(request).await?.into_inner().sequence
            }
        })
    }

    /// Makes a call about an order: in turn without a stream and on the stream.
    async fn order_call(&self, change: impl Into<Change>) -> Result<v1::AppliedChange, Status> {
        if self.orders.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            unary(AvailabilityServiceClient::new(self.channel.clone()), change).await
        } else {
            self.stream.call(change).await
        }
    }

    /// Reads a level, from a database that has reached `at_least`.
    pub async fn level(&self, site: &str, item: usize, at_least: i64) -> Result<i64, Status> {
        let call = self.history.begin(site, Asked::Level(item, at_least));
        let request = v1::GetStockRequest {
            site_id: site.to_owned(),
            unit: unit_of(item, false),
            location_id: location_of(item),
            at_least_sequence: at_least,
        };
        let answer = StockServiceClient::new(self.channel.clone()).get_stock(request).await?.into_inner();
        let stock = answer.stock.expect("the answer holds the stock");
        call.end(Seen::Level(stock.available, stock.revision, stock.last_sequence));
        Ok(stock.available)
    }

    /// Reads what an order took and returned, from a database that has reached `at_least`.
    pub async fn order(&self, site: &str, order: usize, at_least: i64) -> Result<(), Status> {
        let call = self.history.begin(site, Asked::Order(order, at_least));
        let order_id = uuid::Uuid::from_u128(order as u128).to_string();
        let request = v1::GetOrderRequest {
            site_id: site.to_owned(),
            order_id,
            at_least_sequence: at_least,
            ..Default::default()
        };
        let lines = match LedgerServiceClient::new(self.channel.clone()).get_order(request).await {
            Ok(answer) => answer.into_inner().lines,
            Err(status) if error_of(&status).1 == "ORDER_NOT_FOUND" => Vec::new(),
            Err(status) => return Err(status),
        };
        let line = |line: &v1::OrderLine| {
            let item = self.item(site, line.catalog_reference.as_ref(), &line.location_id);
            (item, line.taken, line.returned)
        };
        let mut lines: Vec<(usize, i64, i64)> = lines.iter().map(line).collect();
        lines.sort_unstable();
        call.end(Seen::Order(lines));
        Ok(())
    }

    fn item(&self, site: &str, reference: Option<&v1::CatalogReference>, location_id: &str) -> usize {
        self.history.item(site, unit_name(reference), !location_id.is_empty())
    }

    /// Reads the ledgers of all sites, when no call is under way, and checks the history.
    pub async fn check(&self) {
        for site in self.history.sites() {
            let page = async |page_token| {
                let request = v1::ListEntriesRequest {
                    site_id: site.clone(),
                    page_size: 1_000,
                    page_token,
                    ..Default::default()
                };
                let page = LedgerServiceClient::new(self.channel.clone()).list_entries(request).await;
                let page = page.expect("entries can be read").into_inner();
                (page.entries, page.next_page_token)
            };
            let entries: Vec<v1::Entry> = all_pages(page).await;
            let line = |entry: v1::Entry| Line {
                unit: unit_name(entry.catalog_reference.as_ref()).to_owned(),
                elsewhere: !entry.location_id.is_empty(),
                key: entry.request_id,
                delta: entry.delta,
            };
            self.history.ledger(&site, &entries.into_iter().map(line).collect::<Vec<_>>());
        }
        self.history.check();
    }
}

/// The name of a unit of an answer.
pub(super) fn unit_name(reference: Option<&v1::CatalogReference>) -> &str {
    &reference.expect("an answer names its unit").catalog_item_id
}

/// The unit of an item, as any request names one.
fn unit_of<U: From<UnitRef> + From<v1::CatalogReference>>(item: usize, by_sku: bool) -> Option<U> {
    let unit = item % UNITS;
    if by_sku { sku(&format!("sku-{unit}")) } else { reference_of(APPS[catalog_of(unit)], &format!("item-{unit}")) }
}

fn location_of(item: usize) -> String {
    if item < UNITS { String::new() } else { LOCATION.to_string() }
}

/// What an error says about a request.
pub(super) fn said(history: &History, site: &str, status: &Status) -> Said {
    let item = |reference: Option<&v1::CatalogReference>, location: &str| {
        history.item(site, unit_name(reference), !location.is_empty())
    };
    let (_, reason, field) = error_of(status);
    match reason.as_str() {
        "INSUFFICIENT_STOCK" => {
            let shortage = |short: &v1::Shortage| Shortage {
                item: item(short.catalog_reference.as_ref(), &short.location_id),
                asked: short.asked,
                available: short.available,
                short: short.short,
                why: match short.reason() {
                    v1::ShortageReason::Unspecified | v1::ShortageReason::InsufficientStock => Why::InsufficientStock,
                    v1::ShortageReason::NotOnSaleYet => Why::NotOnSaleYet,
                    v1::ShortageReason::NoLongerOnSale => Why::NoLongerOnSale,
                },
            };
            Said::Refused(Answer::Short(insufficient_stock(status).shortages.iter().map(shortage).collect()))
        }
        "STOCK_CHANGED" => {
            let level = |level: &v1::ChangedLevel| {
                (item(level.catalog_reference.as_ref(), &level.location_id), level.available)
            };
            Said::Refused(Answer::Changed(stock_changed(status).levels.iter().map(level).collect()))
        }
        "INVALID_FIELD" if field.ends_with("as_of_sequence") => Said::Refused(Answer::NotYet),
        "REQUEST_ID_REUSED" => Said::Refused(Answer::KeyReused),
        "OVERLOADED" | "STORE_UNAVAILABLE" | "STOPPING" | "INTERNAL" | "INVALID_FIELD" => Said::NotDone,
        _ => Said::Unknown,
    }
}
