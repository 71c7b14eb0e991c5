//! Messages, as the core understands them. Every field is checked, and a bad one is named by its
//! path in the request. Messages are taken apart by name, so that a new field of the contract is
//! a compile error here and not a silent omission.

#[cfg(test)]
mod fuzz;
mod site;
mod stock;
mod unit;

use std::time::{Duration, Instant};

use inventory_core::catalog::{BadReference, CatalogReference};
use inventory_core::command::{Action, BadItemCount, Command, Header, Kind, Line, Quantity, Reason};
use inventory_core::ids::{LocationId, OrderId, SiteId, parse_guid};
use inventory_core::limits;
use inventory_proto::{ACTOR_METADATA, json, v1};
use prost_types::Timestamp;
use tonic::Status;
use tonic::metadata::MetadataMap;
use uuid::Uuid;

pub use self::site::settings;
pub use self::stock::{adjust_stock, move_stock, set_stock};
pub use self::unit::{named_place, named_places, optional_unit_name, unit_change, unit_name};
use crate::status::invalid;

/// A decrement.
pub fn decrement(request: v1::DecrementAvailabilityRequest, actor: String) -> Result<Command, Status> {
    let v1::DecrementAvailabilityRequest { site_id, items, restrict_inventory_value, order_id, reason, request_id } =
        request;
    let header = availability_header(&site_id, &order_id, reason, request_id, actor)?;
    let restricted = restrict_inventory_value.unwrap_or(true);
    command(header, Action::Decrement { lines: lines(items)?, restricted })
}

/// An increment.
pub fn increment(request: v1::IncrementAvailabilityRequest, actor: String) -> Result<Command, Status> {
    let v1::IncrementAvailabilityRequest { site_id, items, order_id, reason, request_id } = request;
    let header = availability_header(&site_id, &order_id, reason, request_id, actor)?;
    command(header, Action::Increment { lines: lines(items)? })
}

/// A reference and its location; `prefix` is the path of the message they stand in.
pub fn place(
    reference: Option<v1::CatalogReference>,
    location_id: &str,
    prefix: impl Fn() -> String,
) -> Result<(CatalogReference, Option<LocationId>), Status> {
    let reference = catalog_reference(reference, &prefix)?;
    Ok((reference, optional_location(location_id, || format!("{}location_id", prefix()))?))
}

/// A reference; `prefix` is the path of the message it stands in.
pub fn catalog_reference(
    reference: Option<v1::CatalogReference>,
    prefix: impl Fn() -> String,
) -> Result<CatalogReference, Status> {
    let path = |field: &str| format!("{}catalog_reference{field}", prefix());
    let Some(reference) = reference else { return Err(invalid(path(""), "is required")) };
    let v1::CatalogReference { app_id, catalog_item_id, options } = reference;
    let options = json::to_json(options.unwrap_or_default())
        .map_err(|json::NotANumber| invalid(path(".options"), "holds a number that is not finite"))?;
    CatalogReference::new(&app_id, &catalog_item_id, options).map_err(|bad| match bad {
        BadReference::AppId => invalid(
            path(".app_id"),
            format!("must have 1 to {} characters, none of them NUL", limits::APP_ID_CHARS_MAX),
        ),
        BadReference::ItemId => invalid(
            path(".catalog_item_id"),
            format!("must have 1 to {} characters, none of them NUL", limits::ITEM_ID_CHARS_MAX),
        ),
    })
}

/// The site that a request names.
pub fn site_id_of(text: &str) -> Result<SiteId, Status> {
    guid(text, || "site_id".into()).map(SiteId::from_uuid)
}

/// The order that a request names.
pub fn order_id_of(text: &str) -> Result<OrderId, Status> {
    guid(text, || "order_id".into()).map(OrderId::from_uuid)
}

/// The order that a request may name.
pub fn optional_order_id_of(text: &str) -> Result<Option<OrderId>, Status> {
    Ok(optional_guid(text, || "order_id".into())?.map(OrderId::from_uuid))
}

/// The location that a request may name.
pub fn optional_location_id_of(text: &str) -> Result<Option<LocationId>, Status> {
    optional_location(text, || "location_id".into())
}

/// The catalog app that a request may name.
pub fn optional_app_id_of(text: &str) -> Result<Option<String>, Status> {
    if text.is_empty() { Ok(None) } else { app_id_of(text, || "app_id".into()).map(Some) }
}

/// The kind of change that a request may name.
pub fn optional_kind(kind: i32) -> Result<Option<Kind>, Status> {
    match v1::Kind::try_from(kind).map_err(|_| invalid("kind", "is not a kind of this version"))? {
        v1::Kind::Unspecified => Ok(None),
        v1::Kind::Decrement => Ok(Some(Kind::Decrement)),
        v1::Kind::Increment => Ok(Some(Kind::Increment)),
        v1::Kind::Set => Ok(Some(Kind::Set)),
        v1::Kind::Adjust => Ok(Some(Kind::Adjust)),
        v1::Kind::Move => Ok(Some(Kind::Move)),
        v1::Kind::Repair => Ok(Some(Kind::Repair)),
    }
}

/// A time that a request may name, in microseconds since 1970.
pub fn optional_time(time: Option<Timestamp>, field: &str) -> Result<Option<i64>, Status> {
    let Some(Timestamp { seconds, nanos }) = time else { return Ok(None) };
    let micros = seconds.checked_mul(1_000_000).and_then(|micros| micros.checked_add(i64::from(nanos / 1_000)));
    match micros {
        Some(micros) if (0..1_000_000_000).contains(&nanos) => Ok(Some(micros)),
        Some(_) | None => Err(invalid(field, "must be a time of nanos 0 to 999,999,999")),
    }
}

/// A text of at most so many characters.
fn text(text: String, chars_max: usize, field: &str) -> Result<String, Status> {
    // Postgres has no NUL in its texts.
    if text.chars().count() > chars_max || text.contains('\0') {
        return Err(invalid(field, format!("must have at most {chars_max} characters, none of them NUL")));
    }
    Ok(text)
}

/// A number that counts something.
pub fn not_negative(value: i64, field: &str) -> Result<(), Status> {
    if value < 0 { Err(invalid(field, "must not be negative")) } else { Ok(()) }
}

/// Who asks, by the metadata of the call.
pub fn actor(metadata: &MetadataMap) -> Result<String, Status> {
    let Some(value) = metadata.get(ACTOR_METADATA) else { return Ok(String::new()) };
    match value.to_str() {
        Ok(actor) if actor.len() <= limits::ACTOR_CHARS_MAX => Ok(actor.to_owned()),
        _ => Err(invalid(ACTOR_METADATA, format!("must have at most {} ASCII characters", limits::ACTOR_CHARS_MAX))),
    }
}

/// Until when the caller waits, by the `grpc-timeout` of the call.
pub fn deadline(metadata: &MetadataMap) -> Instant {
    let timeout = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(timeout_of);
    Instant::now() + timeout.unwrap_or(limits::ANSWER_TIME_DEFAULT).min(limits::ANSWER_TIME_DEFAULT)
}

/// Until when a call waits that names no time.
pub fn default_deadline() -> Instant {
    Instant::now() + limits::ANSWER_TIME_DEFAULT
}

/// At most eight digits and a unit, as gRPC over HTTP/2 writes it.
fn timeout_of(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u32 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(3_600) * count),
        "M" => Some(Duration::from_secs(60) * count),
        "S" => Some(Duration::from_secs(1) * count),
        "m" => Some(Duration::from_millis(1) * count),
        "u" => Some(Duration::from_micros(1) * count),
        "n" => Some(Duration::from_nanos(1) * count),
        _ => None,
    }
}

fn availability_header(
    site_id: &str,
    order_id: &str,
    reason: i32,
    request_id: String,
    actor: String,
) -> Result<Header, Status> {
    Ok(Header {
        site: site_id_of(site_id)?,
        request_id: request_id_of(request_id)?,
        order: Some(order_id_of(order_id)?),
        reason: reason_of(reason),
        actor,
        note: String::new(),
    })
}

fn lines(items: Vec<v1::Item>) -> Result<Vec<Line>, Status> {
    count(items.len(), limits::AVAILABILITY_ITEMS_MAX)?;
    let line = |(index, item): (usize, v1::Item)| {
        let v1::Item { catalog_reference, location_id, quantity, subscription_item } = item;
        let (reference, location) = place(catalog_reference, &location_id, || format!("items[{index}]."))?;
        let quantity = quantity_of(quantity, index)?;
        Ok(Line { reference, location, quantity, subscription: subscription_item })
    };
    items.into_iter().enumerate().map(line).collect()
}

fn quantity_of(quantity: i64, index: usize) -> Result<Quantity, Status> {
    let told = || invalid(format!("items[{index}].quantity"), format!("must be 1 to {}", limits::QUANTITY_MAX));
    Quantity::new(quantity).ok_or_else(told)
}

fn command(header: Header, action: Action) -> Result<Command, Status> {
    Command::new(header, action).map_err(|BadItemCount { max }| bad_count(max))
}

fn count(items: usize, max: usize) -> Result<(), Status> {
    if (1..=max).contains(&items) { Ok(()) } else { Err(bad_count(max)) }
}

fn bad_count(max: usize) -> Status {
    invalid("items", format!("must be 1 to {max} items"))
}

fn request_id_of(request_id: String) -> Result<String, Status> {
    match request_id.is_empty() {
        true => Ok(Uuid::new_v4().to_string()),
        false => text(request_id, limits::REQUEST_ID_CHARS_MAX, "request_id"),
    }
}

fn app_id_of(app_id: &str, path: impl Fn() -> String) -> Result<String, Status> {
    let reference = CatalogReference::new(app_id, "any", serde_json::Map::new());
    let told = || format!("must have 1 to {} characters, none of them NUL", limits::APP_ID_CHARS_MAX);
    reference.map(|reference| reference.app_id().to_owned()).map_err(|_| invalid(path(), told()))
}

fn guid(text: &str, path: impl Fn() -> String) -> Result<Uuid, Status> {
    parse_guid(text).ok_or_else(|| invalid(path(), "must be a GUID"))
}

fn optional_guid(text: &str, path: impl Fn() -> String) -> Result<Option<Uuid>, Status> {
    if text.is_empty() { Ok(None) } else { guid(text, path).map(Some) }
}

fn optional_location(text: &str, path: impl Fn() -> String) -> Result<Option<LocationId>, Status> {
    Ok(optional_guid(text, path)?.map(LocationId::from_uuid))
}

fn reason_of(reason: i32) -> Reason {
    // Unknown numbers are a newer caller's, and must not stop a change of stock.
    match v1::Reason::try_from(reason).unwrap_or_default() {
        v1::Reason::Unspecified => Reason::Unspecified,
        v1::Reason::OrderPlaced => Reason::OrderPlaced,
        v1::Reason::OrderPaid => Reason::OrderPaid,
        v1::Reason::OrderEdited => Reason::OrderEdited,
        v1::Reason::OrderCanceled => Reason::OrderCanceled,
        v1::Reason::OrderRefunded => Reason::OrderRefunded,
        v1::Reason::OrderRejected => Reason::OrderRejected,
        v1::Reason::Received => Reason::Received,
        v1::Reason::Damaged => Reason::Damaged,
        v1::Reason::Lost => Reason::Lost,
        v1::Reason::Found => Reason::Found,
        v1::Reason::Correction => Reason::Correction,
        v1::Reason::Returned => Reason::Returned,
        v1::Reason::Theft => Reason::Theft,
        v1::Reason::Transfer => Reason::Transfer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        assert_eq!(timeout_of("2500m"), Some(Duration::from_millis(2_500)));
        assert_eq!(timeout_of("3S"), Some(Duration::from_secs(3)));
        assert_eq!(timeout_of("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        for bad in ["", "m", "5", "5x", "-1S", "5ä"] {
            assert_eq!(timeout_of(bad), None, "{bad}");
        }
    }
}
