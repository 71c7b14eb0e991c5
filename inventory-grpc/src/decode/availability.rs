//! The requests of `AvailabilityService`.

use inventory_core::model::access::Author;
use inventory_core::model::action::{Action, Line};
use inventory_core::model::command::{Command, Header};
use inventory_core::model::limits;
use inventory_proto::v1;
use tonic::Status;

use crate::decode::fields::{Checked, Fields};
use crate::decode::{reason, stock};

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
