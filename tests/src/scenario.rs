//! Scenarios: the steps of one site, each with the ledger entries or the refusal that it must bring. Orders take every
//! way: a gRPC call, a stream of calls, and signed HTTP; all other steps take gRPC.
//!
//! A scenario has a new site and one order. The id of a unit says to which catalog the unit belongs.

use inventory_proto::v1;
use inventory_proto::v1::change_availability_request::Change;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::call_stream::CallStream;
use crate::errors::{insufficient_stock, reason_of};
use crate::requests::{guid, reference_of};
use crate::wix_caller::{CATALOG, item_of, order};
use crate::world::World;

/// The app id of Wix Bookings.
pub const BOOKINGS: &str = "13d21c63-b5ec-5912-8397-c3a5ddb27a97";
/// The app id of Wix Restaurants Orders.
pub const RESTAURANTS: &str = "9a5d83fd-8570-482e-81ab-cfa88942ee60";
/// The app id of Wix Stores.
pub const STORES: &str = "215238eb-22a5-4c36-9e7b-e7c08025e04e";

/// The catalog of a unit of a scenario: `booking…`, `dish…`, `product…`, or else the tests' own catalog.
pub fn app_of(id: &str) -> &'static str {
    let known = [("booking", BOOKINGS), ("dish", RESTAURANTS), ("product", STORES)];
    known.into_iter().find(|(start, _)| id.starts_with(start)).map_or(CATALOG, |(_, app_id)| app_id)
}

/// Units, each with a quantity, a level or a change.
pub type Units = &'static [(&'static str, i64)];

/// What is done.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a scenario has a few steps")]
pub enum Step {
    /// A restricted order takes pieces, because it is edited.
    Take(Units),
    /// The same without restriction.
    TakeUnrestricted(Units),
    /// A restricted order takes pieces as subscriptions.
    Subscribe(Units),
    /// A restricted order takes pieces, because it is placed.
    Place(Units),
    /// The same without restriction.
    PlaceUnrestricted(Units),
    /// The order gives pieces back.
    Return(Units),
    /// Levels are set.
    Set(Units),
    /// Levels are adjusted.
    Adjust(Units),
    /// Pieces are moved from the default location to another one.
    Move(Units),
    /// Settings of a unit are changed.
    Unit(&'static str, v1::UpdateUnitRequest),
    /// Settings of the site are changed.
    Site(v1::UpdateSiteRequest),
    /// The clock of the server is set: microseconds since 1970.
    Clock(i64),
}

/// What a step must bring.
#[derive(Clone, Debug)]
pub enum Brings {
    /// Entries without marks: unit, change asked for, change made, level after it.
    Entries(&'static [(&'static str, i64, i64, i64)]),
    /// Entries with these marks.
    Marked(&'static [v1::Mark], &'static [(&'static str, i64, i64, i64)]),
    /// A refusal: unit, pieces asked for, level, pieces missing, why.
    Refusal(&'static [(&'static str, i64, i64, i64, v1::ShortageReason)]),
}

/// Nothing: the step is applied and makes no entry.
pub const NOTHING: Brings = Brings::Entries(&[]);

/// Steps, and what each must bring.
pub struct Scenario {
    /// What it shows.
    pub name: &'static str,
    /// The steps.
    pub steps: Vec<(Step, Brings)>,
}

/// The way that orders take.
#[derive(Clone, Copy, Debug)]
enum Way {
    Grpc,
    Stream,
    Wix,
}

/// An entry: unit, change asked for, change made, level after it, marks.
type EntryRow = (String, i64, i64, i64, Vec<v1::Mark>);
/// A shortage: unit, pieces asked for, level, pieces missing, why.
type ShortageRow = (String, i64, i64, i64, String);

/// Runs scenarios in every way. Panics at the first step that brings something else.
pub async fn run(world: &World, scenarios: &[Scenario]) {
    for Scenario { name, steps } in scenarios {
        for way in [Way::Grpc, Way::Stream, Way::Wix] {
            let mut run = Run { world, way, site: guid(), order: guid(), other_location: guid(), sequence: 0 };
            for (number, (step, brings)) in (1..).zip(steps) {
                let at = format!("{name}, by {way:?}, step {number}: {step:?}");
                let expected = match brings {
                    Brings::Entries(rows) => Ok(entries(rows, &[])),
                    Brings::Marked(marks, rows) => Ok(entries(rows, marks)),
                    Brings::Refusal(rows) => Err(rows.iter().map(shortage_row).collect::<Vec<_>>()),
                };
                let done = run.step(step).await;
                let entered = run.new_entries().await;
                assert_eq!(done.map(|()| entered.clone()), expected, "{at}");
                assert!(expected.is_ok() || entered.is_empty(), "{at}: a refused step made entries: {entered:?}");
            }
        }
    }
}

fn entries(rows: &[(&str, i64, i64, i64)], marks: &[v1::Mark]) -> Vec<EntryRow> {
    let row = |&(id, asked, delta, after): &(&str, i64, i64, i64)| (id.to_owned(), asked, delta, after, marks.to_vec());
    rows.iter().map(row).collect()
}

fn shortage_row(&(id, asked, available, short, why): &(&str, i64, i64, i64, v1::ShortageReason)) -> ShortageRow {
    (id.to_owned(), asked, available, short, reason_name(why).to_owned())
}

/// The name of a reason without its prefix, as Wix gets it.
fn reason_name(reason: v1::ShortageReason) -> &'static str {
    reason.as_str_name().trim_start_matches("SHORTAGE_REASON_")
}

/// A scenario under way.
struct Run<'a> {
    world: &'a World,
    way: Way,
    site: String,
    order: String,
    other_location: String,
    /// The sequence number of the last entry that was compared.
    sequence: i64,
}

impl Run<'_> {
    async fn step(&self, step: &Step) -> Result<(), Vec<ShortageRow>> {
        use v1::Reason::{OrderEdited, OrderPlaced};
        match *step {
            Step::Take(units) => self.take(units, OrderEdited, true, false).await,
            Step::TakeUnrestricted(units) => self.take(units, OrderEdited, false, false).await,
            Step::Subscribe(units) => self.take(units, OrderEdited, true, true).await,
            Step::Place(units) => self.take(units, OrderPlaced, true, false).await,
            Step::PlaceUnrestricted(units) => self.take(units, OrderPlaced, false, false).await,
            Step::Return(units) => self.give(units).await,
            Step::Set(_) | Step::Adjust(_) | Step::Move(_) => {
                self.change_stock(step).await;
                Ok(())
            }
            Step::Unit(id, ref change) => {
                let unit = reference_of(app_of(id), id);
                let request = v1::UpdateUnitRequest { site_id: self.site.clone(), unit, ..change.clone() };
                self.world.stock().update_unit(request).await.expect("the settings are valid");
                Ok(())
            }
            Step::Site(ref change) => {
                let request = v1::UpdateSiteRequest { site_id: self.site.clone(), ..change.clone() };
                self.world.sites().update_site(request).await.expect("the settings are valid");
                Ok(())
            }
            Step::Clock(micros) => {
                self.world.clock.set(micros);
                Ok(())
            }
        }
    }

    async fn take(
        &self,
        units: Units,
        reason: v1::Reason,
        restricted: bool,
        subscribed: bool,
    ) -> Result<(), Vec<ShortageRow>> {
        let request = || v1::DecrementAvailabilityRequest {
            site_id: self.site.clone(),
            items: self.items(units, subscribed),
            restrict_inventory_value: Some(restricted),
            order_id: self.order.clone(),
            reason: reason.into(),
            request_id: guid(),
        };
        match self.way {
            Way::Grpc => {
                let answer = self.world.availability().decrement_availability(request()).await;
                answer.map(drop).map_err(|status| shortages_of(&status))
            }
            Way::Stream => self.stream(request()).await,
            Way::Wix => self.call("decrement", units, reason, restricted, subscribed).await,
        }
    }

    async fn give(&self, units: Units) -> Result<(), Vec<ShortageRow>> {
        let reason = v1::Reason::OrderRefunded;
        let request = || v1::IncrementAvailabilityRequest {
            site_id: self.site.clone(),
            items: self.items(units, false),
            order_id: self.order.clone(),
            reason: reason.into(),
            request_id: guid(),
        };
        match self.way {
            Way::Grpc => {
                let answer = self.world.availability().increment_availability(request()).await;
                answer.map(drop).map_err(|status| shortages_of(&status))
            }
            Way::Stream => self.stream(request()).await,
            Way::Wix => self.call("increment", units, reason, true, false).await,
        }
    }

    /// Calls on a stream.
    async fn stream(&self, change: impl Into<Change>) -> Result<(), Vec<ShortageRow>> {
        let mut stream = CallStream::open(self.world.availability()).await;
        stream.call(change).await.map(drop).map_err(|status| shortages_of(&status))
    }

    fn items(&self, units: Units, subscription_item: bool) -> Vec<v1::Item> {
        let item = |&(id, quantity): &(&str, i64)| v1::Item {
            unit: reference_of(app_of(id), id),
            quantity,
            subscription_item,
            ..Default::default()
        };
        units.iter().map(item).collect()
    }

    /// Calls the adapter as Wix does.
    async fn call(
        &self,
        method: &str,
        units: Units,
        reason: v1::Reason,
        restricted: bool,
        subscribed: bool,
    ) -> Result<(), Vec<ShortageRow>> {
        let mut items: Vec<Value> = units.iter().map(|(id, quantity)| item_of(app_of(id), id, *quantity)).collect();
        items.iter_mut().for_each(|item| item["subscriptionItem"] = json!(subscribed));
        let mut data = order(&self.site, json!(items));
        let request = &mut data["request"];
        request["orderId"] = json!(self.order);
        request["reason"] = json!(reason.as_str_name().trim_start_matches("REASON_"));
        request["restrictInventoryValue"] = json!(restricted);
        let answer = self.world.wix.call(method, data).await;
        if answer.status == 200 {
            return Ok(());
        }
        assert_eq!(answer.status, 428, "{}", answer.text);
        assert_eq!(answer.body["applicationError"]["code"], "DECREMENT_NOT_POSSIBLE");
        let shortages = answer.error_data("shortages").as_array().expect("a refusal lists its shortages");
        let number = |short: &Value, name: &str| short[name].as_i64().expect("a number");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let row = |short: &Value| {
            let numbers = ["asked", "available", "short"].map(|name| number(short, name));
            (
                text(&short["catalogReference"]["catalogItemId"]),
                numbers[0],
                numbers[1],
                numbers[2],
                text(&short["reason"]),
            )
        };
        Err(shortages.iter().map(row).collect())
    }

    async fn change_stock(&self, step: &Step) {
        let (site_id, request_id, mut stock) = (self.site.clone(), guid(), self.world.stock());
        match *step {
            Step::Set(units) => {
                let item = |&(id, available): &(&str, i64)| v1::SetStockItem {
                    unit: reference_of(app_of(id), id),
                    available,
                    ..Default::default()
                };
                let items = units.iter().map(item).collect();
                let request = v1::SetStockRequest { site_id, items, request_id, ..Default::default() };
                stock.set_stock(request).await.expect("the levels can be set");
            }
            Step::Adjust(units) => {
                let item = |&(id, delta): &(&str, i64)| v1::AdjustStockItem {
                    unit: reference_of(app_of(id), id),
                    delta,
                    ..Default::default()
                };
                let items = units.iter().map(item).collect();
                let request = v1::AdjustStockRequest { site_id, items, request_id, ..Default::default() };
                stock.adjust_stock(request).await.expect("the levels can be adjusted");
            }
            Step::Move(units) => {
                let item = |&(id, quantity): &(&str, i64)| v1::MoveStockItem {
                    unit: reference_of(app_of(id), id),
                    to_location_id: self.other_location.clone(),
                    quantity,
                    ..Default::default()
                };
                let items = units.iter().map(item).collect();
                let request = v1::MoveStockRequest { site_id, items, request_id, ..Default::default() };
                stock.move_stock(request).await.expect("the stock can be moved");
            }
            _ => panic!("{step:?} changes no stock"),
        }
    }

    /// The entries since the last step.
    async fn new_entries(&mut self) -> Vec<EntryRow> {
        let request = v1::ListEntriesRequest {
            site_id: self.site.clone(),
            after_sequence: self.sequence,
            page_size: 1_000,
            ..Default::default()
        };
        let entries =
            self.world.ledger().list_entries(request).await.expect("entries can be read").into_inner().entries;
        self.sequence = entries.last().map_or(self.sequence, |entry| entry.sequence);
        let row = |entry: &v1::Entry| {
            let id = entry.catalog_reference.as_ref().expect("an entry names its unit").catalog_item_id.clone();
            (id, entry.asked_delta, entry.delta, entry.level_after, entry.marks().collect())
        };
        entries.iter().map(row).collect()
    }
}

/// The shortages of a refused order. Panics at any other error.
fn shortages_of(status: &Status) -> Vec<ShortageRow> {
    assert_eq!((status.code(), reason_of(status).as_str()), (Code::FailedPrecondition, "INSUFFICIENT_STOCK"));
    let row = |short: v1::Shortage| {
        let why = reason_name(short.reason()).to_owned();
        let id = short.catalog_reference.expect("a shortage names its unit").catalog_item_id;
        (id, short.asked, short.available, short.short, why)
    };
    insufficient_stock(status).shortages.into_iter().map(row).collect()
}
