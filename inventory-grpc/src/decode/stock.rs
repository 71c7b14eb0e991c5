//! The messages of `StockService`.

use inventory_core::command::{Action, Adjustment, Command, Expected, Header, Move, Reason, Target};
use inventory_core::limits;
use inventory_proto::v1;
use tonic::Status;

use super::{
    catalog_reference, command, count, not_negative, optional_location, place, quantity_of, reason_of, request_id_of,
    site_id_of, text,
};
use crate::status::invalid;

/// Levels to set.
pub fn set_stock(request: v1::SetStockRequest, actor: String) -> Result<Command, Status> {
    let v1::SetStockRequest { site_id, items, request_id, reason, note } = request;
    let header = header(&site_id, request_id, reason_of(reason), note, actor)?;
    let target = |(index, item): (usize, v1::SetStockItem)| {
        let v1::SetStockItem {
            catalog_reference,
            location_id,
            available,
            expected_available,
            expected_revision,
            as_of_sequence,
        } = item;
        let (reference, location) = place(catalog_reference, &location_id, || format!("items[{index}]."))?;
        let expected = Expected { available: expected_available, revision: expected_revision };
        not_negative(as_of_sequence, &format!("items[{index}].as_of_sequence"))?;
        let as_of = (as_of_sequence > 0).then_some(as_of_sequence);
        Ok(Target { reference, location, available, expected, as_of })
    };
    command(header, Action::Set { targets: each(items, target)? })
}

/// Levels to adjust.
pub fn adjust_stock(request: v1::AdjustStockRequest, actor: String) -> Result<Command, Status> {
    let v1::AdjustStockRequest { site_id, items, request_id, reason, note } = request;
    let header = header(&site_id, request_id, reason_of(reason), note, actor)?;
    let adjustment = |(index, item): (usize, v1::AdjustStockItem)| {
        let v1::AdjustStockItem { catalog_reference, location_id, delta } = item;
        let (reference, location) = place(catalog_reference, &location_id, || format!("items[{index}]."))?;
        if delta == 0 {
            return Err(invalid(format!("items[{index}].delta"), "must not be 0"));
        }
        Ok(Adjustment { reference, location, delta })
    };
    command(header, Action::Adjust { adjustments: each(items, adjustment)? })
}

/// Stock to move.
pub fn move_stock(request: v1::MoveStockRequest, actor: String) -> Result<Command, Status> {
    let v1::MoveStockRequest { site_id, items, request_id, restrict_inventory_value, note } = request;
    let header = header(&site_id, request_id, Reason::Transfer, note, actor)?;
    let item = |(index, item): (usize, v1::MoveStockItem)| {
        let v1::MoveStockItem { catalog_reference: reference, from_location_id, to_location_id, quantity } = item;
        let path = |field: &str| format!("items[{index}].{field}");
        let reference = catalog_reference(reference, || path(""))?;
        let from = optional_location(&from_location_id, || path("from_location_id"))?;
        let to = optional_location(&to_location_id, || path("to_location_id"))?;
        Ok(Move { reference, from, to, quantity: quantity_of(quantity, index)? })
    };
    let restricted = restrict_inventory_value.unwrap_or(true);
    command(header, Action::Move { moves: each(items, item)?, restricted })
}

/// Decodes each item, with its index. Their number is looked at first: what is too long is not read.
pub(super) fn each<T, U>(items: Vec<T>, decode: impl Fn((usize, T)) -> Result<U, Status>) -> Result<Vec<U>, Status> {
    count(items.len(), limits::STOCK_ITEMS_MAX)?;
    items.into_iter().enumerate().map(decode).collect()
}

fn header(site_id: &str, request_id: String, reason: Reason, note: String, actor: String) -> Result<Header, Status> {
    let note = text(note, limits::NOTE_CHARS_MAX, "note")?;
    Ok(Header { site: site_id_of(site_id)?, request_id: request_id_of(request_id)?, order: None, reason, actor, note })
}
