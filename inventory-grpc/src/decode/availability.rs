//! The requests of `AvailabilityService`.

use std::time::Duration;

use inventory_core::model::access::Author;
use inventory_core::model::action::{Action, Line};
use inventory_core::model::command::{Command, Header};
use inventory_core::model::limits;
use inventory_proto::v1;
use inventory_proto::v1::change_availability_request;
use tonic::Status;

use crate::decode::fields::{Checked, Fields};
use crate::decode::metadata::bounded;
use crate::decode::{reason, stock};
use crate::violation::At;

/// Takes stock away.
pub(crate) fn decrement(request: v1::DecrementAvailabilityRequest, author: Author) -> Result<Command, Status> {
    let v1::DecrementAvailabilityRequest { site_id, items, restrict_inventory_value, order_id, reason, request_id } =
        request;
    let mut fields = Fields::default();
    let header = header(&mut fields, &site_id, &order_id, reason, request_id, author);
    let restricted = restrict_inventory_value.unwrap_or(true);
    let action = lines(&mut fields, items).map(|lines| Action::Decrement { lines, restricted });
    let command = stock::command(&mut fields, header, action);
    fields.finish(command)
}

/// Gives stock back.
pub(crate) fn increment(request: v1::IncrementAvailabilityRequest, author: Author) -> Result<Command, Status> {
    let v1::IncrementAvailabilityRequest { site_id, items, order_id, reason, request_id } = request;
    let mut fields = Fields::default();
    let header = header(&mut fields, &site_id, &order_id, reason, request_id, author);
    let action = lines(&mut fields, items).map(|lines| Action::Increment { lines });
    let command = stock::command(&mut fields, header, action);
    fields.finish(command)
}

/// A call of a stream, as the core understands it.
pub(crate) struct Change {
    /// The command.
    pub(crate) command: Command,
    /// How long the caller waits for its answer.
    pub(crate) timeout: Duration,
}

/// Decodes a call of a stream.
pub(crate) fn change(
    change: Option<change_availability_request::Change>,
    timeout: Option<prost_types::Duration>,
    author: Author,
) -> Result<Change, Status> {
    use change_availability_request::Change::{Decrement, Increment};
    let timeout = match timeout.map(Duration::try_from).transpose() {
        Ok(timeout) => bounded(timeout),
        Err(_) => return bad_field("timeout", "must not be negative"),
    };
    let command = match change {
        Some(Decrement(request)) => decrement(request, author),
        Some(Increment(request)) => increment(request, author),
        None => return bad_field("change", "is required"),
    };
    Ok(Change { command: command?, timeout })
}

/// Refuses a call of a stream for a field of its envelope.
pub(crate) fn bad_field<T>(field: &str, description: &str) -> Result<T, Status> {
    let mut fields = Fields::default();
    let bad = fields.bad(At::REQUEST, field, description);
    fields.finish(bad)
}

fn header(
    fields: &mut Fields,
    site_id: &str,
    order_id: &str,
    reason_number: i32,
    request_id: String,
    author: Author,
) -> Checked<Header> {
    let site = fields.site_id(site_id);
    let order = fields.order_id(order_id);
    let request_id = fields.request_id(request_id);
    let reason = reason(reason_number);
    Ok(Header { site: site?, request_id: request_id?, order: Some(order?), reason, author, note: String::new() })
}

fn lines(fields: &mut Fields, items: Vec<v1::Item>) -> Checked<Vec<Line>> {
    fields.each("items", limits::AVAILABILITY_ITEMS_MAX, items, |fields, at, item| {
        let v1::Item { unit, location_id, quantity, subscription_item: subscription } = item;
        let unit = fields.unit(at, unit);
        let location = fields.location(at, "location_id", &location_id);
        let quantity = fields.quantity(at, quantity);
        Ok(Line { unit: unit?, location: location?, quantity: quantity?, subscription })
    })
}
