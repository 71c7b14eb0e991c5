//! The requests of `StockService` that read levels.

use inventory_core::model::ids::LocationId;
use inventory_core::model::limits;
use inventory_core::model::unit::UnitSelector;
use inventory_core::store::{StockCursor, StockFilter};
use inventory_proto::v1;
use tonic::Status;

use crate::decode::Read;
use crate::decode::fields::{Checked, Fields};
use crate::page::Page;
use crate::violation::At;

/// A unit and a location; `None` is the default location.
type NamedLevel = (UnitSelector, Option<LocationId>);

/// Asks for the level of a unit at a location.
pub(crate) fn get_stock(request: v1::GetStockRequest) -> Result<Read<NamedLevel>, Status> {
    let v1::GetStockRequest { site_id, unit, location_id, at_least_sequence } = request;
    let mut fields = Fields::default();
    let site = fields.site_id(&site_id);
    let unit = fields.unit(At::REQUEST, unit);
    let location = fields.location(At::REQUEST, "location_id", &location_id);
    let level = unit.and_then(|unit| Ok((unit, location?)));
    let read = fields.read(site, at_least_sequence, level);
    fields.finish(read)
}

/// Asks for several levels.
pub(crate) fn batch_get_stock(request: v1::BatchGetStockRequest) -> Result<Read<Vec<NamedLevel>>, Status> {
    let v1::BatchGetStockRequest { site_id, items, at_least_sequence } = request;
    let mut fields = Fields::default();
    let site = fields.site_id(&site_id);
    let levels = fields.each("items", limits::STOCK_ITEMS_MAX, items, |fields, at, item| {
        let v1::BatchGetStockItem { unit, location_id } = item;
        let unit = fields.unit(at, unit);
        let location = fields.location(at, "location_id", &location_id);
        Ok((unit?, location?))
    });
    let read = fields.read(site, at_least_sequence, levels);
    fields.finish(read)
}

/// Asks for a page of levels.
pub(crate) fn list_stock(request: v1::ListStockRequest) -> Result<Read<(StockFilter, Page<StockCursor>)>, Status> {
    let v1::ListStockRequest {
        site_id,
        page_size,
        page_token,
        unit,
        app_id,
        location_id,
        below,
        changed_after_sequence,
        at_least_sequence,
        catalog_item_id,
    } = request;
    let mut fields = Fields::default();
    let site = fields.site_id(&site_id);
    let unit = fields.optional_unit(At::REQUEST, unit);
    let scope = fields.scope(&app_id, &catalog_item_id);
    let location = fields.location(At::REQUEST, "location_id", &location_id);
    let changed_after_sequence = fields.not_negative(At::REQUEST, "changed_after_sequence", changed_after_sequence);
    let filter = || -> Checked<StockFilter> {
        let changed_after_sequence = changed_after_sequence?;
        Ok(StockFilter { unit: unit?, scope: scope?, location: location?, below, changed_after_sequence })
    };
    let filter = filter();
    let query = match (&site, &filter) {
        (Ok(site), Ok(filter)) => Ok(format!("stock of {site} {filter:?}")),
        (Err(recorded), _) | (_, Err(recorded)) => Err(*recorded),
    };
    let page = Page::decode(&mut fields, query, page_size, &page_token);
    let asked = filter.and_then(|filter| Ok((filter, page?)));
    let read = fields.read(site, at_least_sequence, asked);
    fields.finish(read)
}
