//! Units, as requests name and settle them.

use inventory_core::catalog::CatalogReference;
use inventory_core::ids::{LocationId, SiteId};
use inventory_core::limits;
use inventory_core::unit::{Tracking, UnitChange, UnitName};
use inventory_proto::v1;
use tonic::Status;

use super::stock::each;
use super::{catalog_reference, optional_location, site_id_of, text};
use crate::status::invalid;

/// A change of a unit's settings.
pub fn unit_change(request: v1::UpdateUnitRequest) -> Result<(SiteId, CatalogReference, UnitChange), Status> {
    let v1::UpdateUnitRequest {
        site_id,
        catalog_reference: reference,
        sku,
        name,
        tracking,
        backorder_limit,
        counts_subscriptions,
    } = request;
    let site = site_id_of(&site_id)?;
    let reference = catalog_reference(reference, String::new)?;
    let sku = sku.map(|sku| text(sku, limits::SKU_CHARS_MAX, "sku")).transpose()?;
    let sku = sku.map(|sku| Some(sku).filter(|sku| !sku.is_empty()));
    let name = name.map(|name| text(name, limits::UNIT_NAME_CHARS_MAX, "name")).transpose()?;
    let tracking = tracking_of(tracking)?;
    if backorder_limit.is_some_and(|limit| !(0..=limits::BACKORDER_LIMIT_MAX).contains(&limit)) {
        return Err(invalid("backorder_limit", format!("must be 0 to {}", limits::BACKORDER_LIMIT_MAX)));
    }
    Ok((site, reference, UnitChange { sku, name, tracking, backorder_limit, counts_subscriptions }))
}

/// A unit by exactly one of its names; `prefix` is the path of the message that they stand in.
pub fn unit_name(
    reference: Option<v1::CatalogReference>,
    sku: String,
    prefix: impl Fn() -> String,
) -> Result<UnitName, Status> {
    match (reference, optional_sku(sku, || format!("{}sku", prefix()))?) {
        (reference, None) => catalog_reference(reference, prefix).map(UnitName::Reference),
        (None, Some(sku)) => Ok(UnitName::Sku(sku)),
        (Some(_), Some(_)) => Err(invalid(format!("{}sku", prefix()), "must not stand beside catalog_reference")),
    }
}

/// A unit that a request may name.
pub fn optional_unit_name(reference: Option<v1::CatalogReference>, sku: String) -> Result<Option<UnitName>, Status> {
    if reference.is_none() && sku.is_empty() {
        return Ok(None);
    }
    unit_name(reference, sku, String::new).map(Some)
}

/// A sku, where there is one.
fn optional_sku(sku: String, path: impl Fn() -> String) -> Result<Option<String>, Status> {
    Ok(Some(text(sku, limits::SKU_CHARS_MAX, &path())?).filter(|sku| !sku.is_empty()))
}

/// A unit and its location; `prefix` is the path of the message that they stand in.
pub fn named_place(
    reference: Option<v1::CatalogReference>,
    sku: String,
    location_id: &str,
    prefix: impl Fn() -> String,
) -> Result<(UnitName, Option<LocationId>), Status> {
    let name = unit_name(reference, sku, &prefix)?;
    Ok((name, optional_location(location_id, || format!("{}location_id", prefix()))?))
}

/// Units with their locations, as `BatchGetStock` lists them.
pub fn named_places(items: Vec<v1::BatchGetStockItem>) -> Result<Vec<(UnitName, Option<LocationId>)>, Status> {
    each(items, |(index, item): (usize, v1::BatchGetStockItem)| {
        let v1::BatchGetStockItem { catalog_reference, location_id, sku } = item;
        named_place(catalog_reference, sku, &location_id, || format!("items[{index}]."))
    })
}

fn tracking_of(tracking: i32) -> Result<Option<Tracking>, Status> {
    match v1::Tracking::try_from(tracking).map_err(|_| invalid("tracking", "is not a tracking of this version"))? {
        v1::Tracking::Unspecified => Ok(None),
        v1::Tracking::Quantity => Ok(Some(Tracking::Quantity)),
        v1::Tracking::Status => Ok(Some(Tracking::Status)),
    }
}
