//! The requests of `StockService` that change levels.

use inventory_core::model::access::Author;
use inventory_core::model::action::{Action, Adjustment, Expected, Move, Target};
use inventory_core::model::command::{BadItemCount, Command, Header, Reason};
use inventory_core::model::limits;
use inventory_proto::v1;
use tonic::Status;

use crate::decode::fields::{Checked, Fields};
use crate::decode::reason;
use crate::violation::At;

/// Sets levels.
pub(crate) fn set_stock(request: v1::SetStockRequest, author: Author) -> Result<Command, Status> {
    let v1::SetStockRequest { site_id, items, request_id, reason: number, note } = request;
    let mut fields = Fields::default();
    let header = header(&mut fields, &site_id, request_id, reason(number), note, author);
    let targets = fields.each("items", limits::STOCK_ITEMS_MAX, items, |fields, at, item| {
        let v1::SetStockItem { unit, location_id, available, expected_available, expected_revision, as_of_sequence } =
            item;
        let unit = fields.unit(at, unit);
        let location = fields.location(at, "location_id", &location_id);
        let expected = Expected { available: expected_available, revision: expected_revision };
        let as_of = fields.not_negative(at, "as_of_sequence", as_of_sequence);
        let as_of = Some(as_of?).filter(|sequence| *sequence > 0);
        Ok(Target { unit: unit?, location: location?, available, expected, as_of })
    });
    let command = command(&mut fields, header, targets.map(|targets| Action::Set { targets }));
    fields.finish(command)
}

/// Changes levels by deltas.
pub(crate) fn adjust_stock(request: v1::AdjustStockRequest, author: Author) -> Result<Command, Status> {
    let v1::AdjustStockRequest { site_id, items, request_id, reason: number, note } = request;
    let mut fields = Fields::default();
    let header = header(&mut fields, &site_id, request_id, reason(number), note, author);
    let adjustments = fields.each("items", limits::STOCK_ITEMS_MAX, items, |fields, at, item| {
        let v1::AdjustStockItem { unit, location_id, delta } = item;
        let unit = fields.unit(at, unit);
        let location = fields.location(at, "location_id", &location_id);
        let delta = if delta == 0 { fields.bad(at, "delta", "must not be 0") } else { Ok(delta) };
        Ok(Adjustment { unit: unit?, location: location?, delta: delta? })
    });
    let command = command(&mut fields, header, adjustments.map(|adjustments| Action::Adjust { adjustments }));
    fields.finish(command)
}

/// Moves stock between locations.
pub(crate) fn move_stock(request: v1::MoveStockRequest, author: Author) -> Result<Command, Status> {
    let v1::MoveStockRequest { site_id, items, request_id, allow_negative, note } = request;
    let mut fields = Fields::default();
    let header = header(&mut fields, &site_id, request_id, Reason::Transfer, note, author);
    let moves = fields.each("items", limits::STOCK_ITEMS_MAX, items, |fields, at, item| {
        let v1::MoveStockItem { unit, from_location_id, to_location_id, quantity } = item;
        let unit = fields.unit(at, unit);
        let from = fields.location(at, "from_location_id", &from_location_id);
        let to = fields.location(at, "to_location_id", &to_location_id);
        let quantity = fields.quantity(at, quantity);
        Ok(Move { unit: unit?, from: from?, to: to?, quantity: quantity? })
    });
    let action = moves.map(|moves| Action::Move { moves, restricted: !allow_negative });
    let command = command(&mut fields, header, action);
    fields.finish(command)
}

/// Joins header and action.
pub(super) fn command(fields: &mut Fields, header: Checked<Header>, action: Checked<Action>) -> Checked<Command> {
    match Command::new(header?, action?) {
        Ok(command) => Ok(command),
        Err(BadItemCount { max }) => fields.bad(At::REQUEST, "items", format_args!("must be 1 to {max} items")),
    }
}

fn header(
    fields: &mut Fields,
    site_id: &str,
    request_id: String,
    reason: Reason,
    note: String,
    author: Author,
) -> Checked<Header> {
    let site = fields.site_id(site_id);
    let request_id = fields.request_id(request_id);
    let note = fields.text(At::REQUEST, "note", note, limits::NOTE_CHARS_MAX);
    Ok(Header { site: site?, request_id: request_id?, order: None, reason, author, note: note? })
}
