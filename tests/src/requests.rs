//! Requests to the gRPC services that several test files send, and how to read all pages of a list.
//!
//! The builders name units of the tests' catalog at the default location. Each request gets an idempotency key of its
//! own. A test sets other fields by struct update: `v1::AdjustStockRequest { note, ..adjust(&site, &[("A", 1)]) }`.

use inventory_proto::{UnitRef, v1};
use uuid::Uuid;

use crate::wix_caller::CATALOG;

/// A new random GUID: a site, an order, a location or an idempotency key.
pub fn guid() -> String {
    Uuid::new_v4().to_string()
}

/// A unit of the tests' catalog without options, as a request or an answer names it.
pub fn reference<U: From<v1::CatalogReference>>(id: &str) -> Option<U> {
    let reference = v1::CatalogReference { app_id: CATALOG.into(), catalog_item_id: id.into(), options: None };
    Some(reference.into())
}

/// A unit as a request names it by its SKU.
pub fn sku<U: From<UnitRef>>(sku: &str) -> Option<U> {
    Some(UnitRef::Sku(sku.into()).into())
}

/// The items of an order, each a unit and a quantity.
pub fn items(lines: &[(&str, i64)]) -> Vec<v1::Item> {
    let item = |&(id, quantity): &(&str, i64)| v1::Item { unit: reference(id), quantity, ..Default::default() };
    lines.iter().map(item).collect()
}

/// Takes units for a new order, without a reason.
pub fn decrement(site: &str, lines: &[(&str, i64)]) -> v1::DecrementAvailabilityRequest {
    v1::DecrementAvailabilityRequest {
        site_id: site.to_owned(),
        items: items(lines),
        order_id: guid(),
        request_id: guid(),
        ..Default::default()
    }
}

/// Returns units of an order, without a reason.
pub fn increment(site: &str, order_id: &str, lines: &[(&str, i64)]) -> v1::IncrementAvailabilityRequest {
    v1::IncrementAvailabilityRequest {
        site_id: site.to_owned(),
        items: items(lines),
        order_id: order_id.to_owned(),
        request_id: guid(),
        ..Default::default()
    }
}

/// Sets the level of one unit.
pub fn set_item(id: &str, available: i64) -> v1::SetStockItem {
    v1::SetStockItem { unit: reference(id), available, ..Default::default() }
}

/// Sets levels.
pub fn set(site: &str, items: Vec<v1::SetStockItem>) -> v1::SetStockRequest {
    v1::SetStockRequest { site_id: site.to_owned(), items, request_id: guid(), ..Default::default() }
}

/// Changes the level of one unit by a delta.
pub fn adjust_item(id: &str, delta: i64) -> v1::AdjustStockItem {
    v1::AdjustStockItem { unit: reference(id), delta, ..Default::default() }
}

/// Changes levels by deltas.
pub fn adjust(site: &str, deltas: &[(&str, i64)]) -> v1::AdjustStockRequest {
    let items = deltas.iter().map(|(id, delta)| adjust_item(id, *delta)).collect();
    v1::AdjustStockRequest { site_id: site.to_owned(), items, request_id: guid(), ..Default::default() }
}

/// Reads a list to its end and returns the rows of all pages. `page` gets a page token, the empty one first; it returns
/// the rows of that page and the token of the next one.
pub async fn all_pages<T>(page: impl AsyncFn(String) -> (Vec<T>, String)) -> Vec<T> {
    let (mut rows, mut page_token) = (Vec::new(), String::new());
    loop {
        let (more, next) = page(page_token).await;
        rows.extend(more);
        if next.is_empty() {
            return rows;
        }
        page_token = next;
    }
}
