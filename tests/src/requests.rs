//! Requests to the gRPC services that several test files send, and how to read all pages of a list.
//!
//! The builders name units of the tests' catalog at the default location. Each request gets an idempotency key of its
//! own. A test sets other fields by struct update: `v1::AdjustStockRequest { note, ..adjust(&site, &[("A", 1)]) }`.

use inventory_proto::{UnitRef, v1};
use uuid::Uuid;

use crate::test_clock::timestamp;
use crate::wix_caller::CATALOG;

/// A new random GUID: a site, an order, a location or an idempotency key.
pub fn guid() -> String {
    Uuid::new_v4().to_string()
}

/// A unit of the tests' catalog without options, as a request or an answer names it.
pub fn reference<U: From<v1::CatalogReference>>(id: &str) -> Option<U> {
    reference_of(CATALOG, id)
}

/// A unit of a catalog without options.
pub fn reference_of<U: From<v1::CatalogReference>>(app_id: &str, id: &str) -> Option<U> {
    let reference = v1::CatalogReference { app_id: app_id.into(), catalog_item_id: id.into(), ..Default::default() };
    Some(reference.into())
}

/// A change of the site's settings for one catalog app.
pub fn catalog(settings: v1::CatalogSettings) -> v1::UpdateSiteRequest {
    v1::UpdateSiteRequest { catalogs: vec![settings], ..Default::default() }
}

/// Changes what units of a catalog are that were never stocked.
pub fn unstocked(app_id: &str, policy: v1::Unstocked) -> v1::UpdateSiteRequest {
    catalog(v1::CatalogSettings { app_id: app_id.into(), unstocked: policy.into(), ..Default::default() })
}

/// Clips over-returns.
pub fn clip() -> v1::UpdateSiteRequest {
    v1::UpdateSiteRequest { over_returns: v1::OverReturnPolicy::Clip.into(), ..Default::default() }
}

/// Changes how a unit is tracked.
pub fn tracked(tracking: v1::Tracking) -> v1::UpdateUnitRequest {
    v1::UpdateUnitRequest { tracking: tracking.into(), ..Default::default() }
}

/// Changes edges of a unit's sales window: microseconds since 1970. `None` leaves an edge as it is.
pub fn window(from: Option<i64>, until: Option<i64>) -> v1::UpdateUnitRequest {
    let (sell_from, sell_until) = (from.map(timestamp), until.map(timestamp));
    v1::UpdateUnitRequest { sell_from, sell_until, ..Default::default() }
}

/// Takes settings of a unit away, by the names of their fields.
pub fn reset(names: &[&str]) -> v1::UpdateUnitRequest {
    let paths = names.iter().map(|name| (*name).to_owned()).collect();
    v1::UpdateUnitRequest { reset_mask: Some(prost_types::FieldMask { paths }), ..Default::default() }
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
