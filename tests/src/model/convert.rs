//! The requests of the model as commands of the engine, and the engine's answers and entries as the model has them.

use std::time::{Duration, Instant};

use inventory_core::model::access::Author;
use inventory_core::model::action::{Action, Adjustment, Expected, Line, Move, Quantity, Target};
use inventory_core::model::catalog::{CatalogReference, Unit, WIX_BOOKINGS};
use inventory_core::model::command::{Command, Header, Reason};
use inventory_core::model::entry::Entry;
use inventory_core::model::error::{Error, Invalid};
use inventory_core::model::ids::{LocationId, OrderId, SiteId};
use inventory_core::model::outcome::{Outcome, Refusal, Shortage, ShortageReason, Verdict};
use inventory_core::model::unit::{Sku, UnitSelector};
use uuid::Uuid;

use super::kinds::{CATALOGS, catalog_of};
use super::{Answer, Request, UNITS, Why};
use crate::wix_caller::CATALOG;

/// The catalogs of a site. An unknown app refuses a unit that was never stocked, Wix Bookings sells it.
pub const APPS: [&str; CATALOGS] = [CATALOG, WIX_BOOKINGS];
/// The location of the second half of the items.
pub const LOCATION: Uuid = Uuid::from_u128(7);

/// The deadline of a call. No call takes that long.
pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// The SKU with a number.
pub fn sku(index: usize) -> Sku {
    Sku::new(&format!("sku-{index}")).expect("the value is in bounds")
}

/// The unit of an item, by the catalog's names.
pub fn by_reference(item: usize) -> UnitSelector {
    let unit = item % UNITS;
    let reference = CatalogReference::new(APPS[catalog_of(unit)], &format!("item-{unit}"), serde_json::Map::new());
    UnitSelector::Reference(reference.expect("the value is in bounds"))
}

/// The unit that has a SKU.
pub fn by_sku(index: usize) -> UnitSelector {
    UnitSelector::Sku(sku(index))
}

/// The location of an item.
pub fn location(item: usize) -> Option<LocationId> {
    (item >= UNITS).then(|| LocationId::from_uuid(LOCATION))
}

/// The order of a request.
pub fn order(number: usize) -> OrderId {
    OrderId::from_uuid(Uuid::from_u128(number as u128))
}

/// A request as a command of the engine.
pub fn command(site: SiteId, key: u64, is_by_sku: bool, request: &Request) -> Command {
    let unit = |item: usize| if is_by_sku { by_sku(item % UNITS) } else { by_reference(item) };
    let quantity = |pieces| Quantity::new(pieces).expect("the value is in bounds");
    let lines = |lines: &[super::Line]| -> Vec<Line> {
        let line = |&(item, pieces, subscription): &super::Line| Line {
            unit: unit(item),
            location: location(item),
            quantity: quantity(pieces),
            subscription,
        };
        lines.iter().map(line).collect()
    };
    let (mut of_order, mut reason) = (None, Reason::Unspecified);
    let action = match request {
        Request::Decrement(asked, restricted, number, placed) => {
            of_order = Some(order(*number));
            reason = if *placed { Reason::OrderPlaced } else { Reason::OrderEdited };
            Action::Decrement { lines: lines(asked), restricted: *restricted }
        }
        Request::Increment(asked, number) => {
            of_order = Some(order(*number));
            Action::Increment { lines: lines(asked) }
        }
        Request::Set(targets) => {
            let target = |&super::Target { item, level, expected, expected_revision, as_of }: &super::Target| Target {
                unit: unit(item),
                location: location(item),
                available: level,
                expected: Expected { available: expected, revision: expected_revision },
                as_of,
            };
            Action::Set { targets: targets.iter().map(target).collect() }
        }
        Request::Adjust(deltas) => {
            let adjustment =
                |&(item, delta): &(usize, i64)| Adjustment { unit: unit(item), location: location(item), delta };
            Action::Adjust { adjustments: deltas.iter().map(adjustment).collect() }
        }
        Request::Move(moves, restricted) => {
            let item = |&(from, to, pieces): &(usize, usize, i64)| Move {
                unit: unit(from),
                from: location(from),
                to: location(to),
                quantity: quantity(pieces),
            };
            Action::Move { moves: moves.iter().map(item).collect(), restricted: *restricted }
        }
    };
    let (author, note) = (Author::default(), String::new());
    let header = Header { site, request_id: key.to_string(), order: of_order, reason, author, note };
    Command::new(header, action).expect("the value is in bounds")
}

/// The engine's answer, in the terms of the model; or an error that the model does not know.
pub fn answer(answer: Result<Outcome, Error>) -> Result<Answer, Error> {
    Ok(match answer {
        Ok(Outcome { sequence, verdict: Verdict::Applied(_), .. }) => Answer::Applied(sequence),
        Ok(Outcome { verdict: Verdict::Refused(Refusal::Short(short)), .. }) => {
            Answer::Short(short.iter().map(shortage).collect())
        }
        Ok(Outcome { verdict: Verdict::Refused(Refusal::Changed(changed)), .. }) => {
            Answer::Changed(changed.iter().map(|level| (item(&level.unit, level.location), level.available)).collect())
        }
        Ok(Outcome { verdict: Verdict::Refused(Refusal::NotYet { .. }), .. }) => Answer::NotYet,
        Ok(other) => panic!("the model does not know this outcome: {other:?}"),
        Err(Error::Invalid(Invalid::KeyReused)) => Answer::KeyReused,
        Err(error) => return Err(error),
    })
}

fn shortage(shortage: &Shortage) -> super::Shortage {
    let Shortage { unit, location, asked, available, short, reason } = shortage;
    let why = match reason {
        ShortageReason::InsufficientStock => Why::InsufficientStock,
        ShortageReason::NotOnSaleYet => Why::NotOnSaleYet,
        ShortageReason::NoLongerOnSale => Why::NoLongerOnSale,
    };
    super::Shortage { item: item(unit, *location), asked: *asked, available: *available, short: *short, why }
}

/// The model's item for a level.
pub fn item(unit: &Unit, location: Option<LocationId>) -> usize {
    let number = unit.item_id.strip_prefix("item-").and_then(|number| number.parse::<usize>().ok());
    number.expect("the ids are item-NUMBER") + if location.is_some() { UNITS } else { 0 }
}

/// An entry of the ledger, in the terms of the model.
pub fn entry(entry: Entry) -> super::Entry {
    super::Entry {
        item: item(&entry.unit, entry.location),
        asked: entry.asked,
        delta: entry.delta,
        subscription: entry.subscription,
        duplicate: entry.marks.suspected_repeat,
        over_return: entry.marks.over_return,
        outside_window: entry.marks.outside_sales_window,
        time: entry.recorded_at,
    }
}
