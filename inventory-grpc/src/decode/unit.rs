//! Units: how a request names them, and the requests about their settings.

use inventory_core::model::catalog::{BadReference, CatalogReference, Unit};
use inventory_core::model::ids::{SiteId, parse_guid};
use inventory_core::model::limits;
use inventory_core::model::unit::{Sku, Tracking, UnitChange, UnitSelector};
use inventory_proto::{UnitRef, json, v1};
use serde_json::Map;
use tonic::Status;

use crate::decode::Read;
use crate::decode::fields::{Checked, Fields};
use crate::page::Page;
use crate::violation::At;

/// Changes settings of a unit.
pub(crate) fn update_unit(request: v1::UpdateUnitRequest) -> Result<(SiteId, UnitSelector, UnitChange), Status> {
    let mut fields = Fields::default();
    let site = fields.site_id(&request.site_id);
    let change = fields.unit_change(At::REQUEST, request);
    let decoded = site.and_then(|site| change.map(|(unit, change)| (site, unit, change)));
    fields.finish(decoded)
}

/// Changes settings of several units.
pub(crate) fn batch_update_units(
    request: v1::BatchUpdateUnitsRequest,
) -> Result<(SiteId, Vec<(UnitSelector, UnitChange)>), Status> {
    let v1::BatchUpdateUnitsRequest { site_id, requests } = request;
    let mut fields = Fields::default();
    let site = fields.site_id(&site_id);
    let changes = fields.each("requests", limits::STOCK_ITEMS_MAX, requests, |fields, at, request| {
        let own = match site {
            Ok(site) => fields.same_site(at, &request.site_id, site),
            // There is nothing to compare with.
            Err(_) => Ok(()),
        };
        let change = fields.unit_change(at, request);
        own.and(change)
    });
    let decoded = site.and_then(|site| Ok((site, changes?)));
    fields.finish(decoded)
}

/// Asks for a unit.
pub(crate) fn get_unit(request: v1::GetUnitRequest) -> Result<Read<UnitSelector>, Status> {
    let v1::GetUnitRequest { site_id, unit } = request;
    let mut fields = Fields::default();
    let site = fields.site_id(&site_id);
    let unit = fields.unit(At::REQUEST, unit);
    let read = fields.read(site, 0, unit);
    fields.finish(read)
}

/// Asks for a page of units.
pub(crate) fn list_units(request: v1::ListUnitsRequest) -> Result<Read<Page<Unit>>, Status> {
    let v1::ListUnitsRequest { site_id, page_size, page_token, at_least_sequence } = request;
    let mut fields = Fields::default();
    let site = fields.site_id(&site_id);
    let query = site.map(|site| format!("units of {site}"));
    let page = Page::decode(&mut fields, query, page_size, &page_token);
    let read = fields.read(site, at_least_sequence, page);
    fields.finish(read)
}

impl Fields {
    /// The unit that a message names.
    pub(crate) fn unit(&mut self, at: At, unit: Option<impl Into<UnitRef>>) -> Checked<UnitSelector> {
        match self.optional_unit(at, unit)? {
            Some(unit) => Ok(unit),
            None => self.missing(at, "catalog_reference"),
        }
    }

    /// The unit that a message may name.
    pub(crate) fn optional_unit(&mut self, at: At, unit: Option<impl Into<UnitRef>>) -> Checked<Option<UnitSelector>> {
        match unit.map(Into::into) {
            None => Ok(None),
            Some(UnitRef::CatalogReference(reference)) => {
                self.reference(at, reference).map(|reference| Some(UnitSelector::Reference(reference)))
            }
            Some(UnitRef::Sku(sku)) => match Sku::new(&sku) {
                Some(sku) => Ok(Some(UnitSelector::Sku(sku))),
                None if sku.is_empty() => self.missing(at, "sku"),
                None => self.bad_sku(at, "sku"),
            },
        }
    }

    /// The unit that `request` names and the changes of its settings. Does not look at the site.
    pub(crate) fn unit_change(
        &mut self,
        at: At,
        request: v1::UpdateUnitRequest,
    ) -> Checked<(UnitSelector, UnitChange)> {
        let v1::UpdateUnitRequest { site_id: _, unit, new_sku, name, tracking, backorder_limit, counts_subscriptions } =
            request;
        let unit = self.unit(at, unit);
        let sku = new_sku.map(|sku| self.new_sku(at, &sku)).transpose();
        let name = name.map(|name| self.text(at, "name", name, limits::UNIT_NAME_CHARS_MAX)).transpose();
        let tracking = self.tracking(at, tracking);
        let backorder_limit = match backorder_limit {
            Some(limit) if !(0..=limits::BACKORDER_LIMIT_MAX).contains(&limit) => {
                self.bad(at, "backorder_limit", format_args!("must be 0 to {}", limits::BACKORDER_LIMIT_MAX))
            }
            limit => Ok(limit),
        };
        let change = UnitChange {
            sku: sku?,
            name: name?,
            tracking: tracking?,
            backorder_limit: backorder_limit?,
            counts_subscriptions,
        };
        Ok((unit?, change))
    }

    /// A catalog app's id.
    pub(crate) fn app_id(&mut self, at: At, field: &str, text: &str) -> Checked<String> {
        match CatalogReference::new(text, "any", Map::new()) {
            Ok(reference) => Ok(reference.app_id().to_owned()),
            Err(_) => self.bad_name(at, field, text, limits::APP_ID_CHARS_MAX),
        }
    }

    fn reference(&mut self, at: At, reference: v1::CatalogReference) -> Checked<CatalogReference> {
        let v1::CatalogReference { app_id, catalog_item_id: item_id, options } = reference;
        let (options, finite) = match json::to_json(options.unwrap_or_default()) {
            Ok(options) => (options, Ok(())),
            Err(json::NotANumber) => {
                (Map::new(), self.bad(at, "catalog_reference.options", "holds a number that is not finite"))
            }
        };
        let reference = match CatalogReference::new(&app_id, &item_id, options) {
            Ok(reference) => Ok(reference),
            Err(BadReference::ItemId) => self.bad_item_id(at, &item_id),
            Err(BadReference::AppId) => {
                let bad = self.bad_name(at, "catalog_reference.app_id", &app_id, limits::APP_ID_CHARS_MAX);
                // `new` stops at the first bad field, so the other one is checked by itself.
                match CatalogReference::new("any", &item_id, Map::new()) {
                    Ok(_) => bad,
                    Err(_) => self.bad_item_id(at, &item_id),
                }
            }
        };
        finite.and(reference)
    }

    fn bad_item_id<T>(&mut self, at: At, text: &str) -> Checked<T> {
        self.bad_name(at, "catalog_reference.catalog_item_id", text, limits::ITEM_ID_CHARS_MAX)
    }

    /// A SKU to set; `None` removes it.
    fn new_sku(&mut self, at: At, text: &str) -> Checked<Option<Sku>> {
        match Sku::new(text) {
            Some(sku) => Ok(Some(sku)),
            None if text.is_empty() => Ok(None),
            None => self.bad_sku(at, "new_sku"),
        }
    }

    fn bad_sku<T>(&mut self, at: At, field: &str) -> Checked<T> {
        let max = limits::SKU_CHARS_MAX;
        self.bad(at, field, format_args!("must have at most {max} characters, none of them NUL"))
    }

    fn tracking(&mut self, at: At, number: i32) -> Checked<Option<Tracking>> {
        match v1::Tracking::try_from(number) {
            Ok(v1::Tracking::Unspecified) => Ok(None),
            Ok(v1::Tracking::Quantity) => Ok(Some(Tracking::Quantity)),
            Ok(v1::Tracking::Status) => Ok(Some(Tracking::Status)),
            Err(_) => self.bad(at, "tracking", "is not a tracking of this version"),
        }
    }

    /// The site of a request inside a batch: not named, or that of the batch.
    fn same_site(&mut self, at: At, text: &str, site: SiteId) -> Checked<()> {
        match parse_guid(text).map(SiteId::from_uuid) {
            Some(own) if own == site => Ok(()),
            Some(_) => self.bad(at, "site_id", "must be empty or the site_id of the batch"),
            None if text.is_empty() => Ok(()),
            None => self.bad(at, "site_id", "must be a GUID"),
        }
    }
}
