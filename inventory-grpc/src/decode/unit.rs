//! Units: how a request names them, and the requests that read their settings.

use inventory_core::model::catalog::{BadReference, CatalogReference, Unit};
use inventory_core::model::limits;
use inventory_core::model::unit::{Sku, UnitSelector};
use inventory_core::store::UnitScope;
use inventory_proto::{UnitRef, json, v1};
use prost_types::Struct;
use serde_json::Map;
use tonic::Status;

use crate::decode::Read;
use crate::decode::fields::{Checked, Fields};
use crate::page::Page;
use crate::violation::At;

/// The path of the item's id in a message that names a unit.
const ITEM_ID: &str = "catalog_reference.catalog_item_id";
/// The path of the options, in either form.
const OPTIONS: &str = "catalog_reference.options";

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
pub(crate) fn list_units(request: v1::ListUnitsRequest) -> Result<Read<(UnitScope, Page<Unit>)>, Status> {
    let v1::ListUnitsRequest { site_id, page_size, page_token, at_least_sequence, app_id, catalog_item_id } = request;
    let mut fields = Fields::default();
    let site = fields.site_id(&site_id);
    let scope = fields.scope(&app_id, &catalog_item_id);
    let query = match (&site, &scope) {
        (Ok(site), Ok(scope)) => Ok(format!("units of {site} {scope:?}")),
        (Err(recorded), _) | (_, Err(recorded)) => Err(*recorded),
    };
    let page = Page::decode(&mut fields, query, page_size, &page_token);
    let asked = scope.and_then(|scope| Ok((scope, page?)));
    let read = fields.read(site, at_least_sequence, asked);
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

    /// A catalog app's id.
    pub(crate) fn app_id(&mut self, at: At, field: &str, text: &str) -> Checked<String> {
        match CatalogReference::new(text, "any", Map::new()) {
            Ok(reference) => Ok(reference.app_id().to_owned()),
            Err(_) => self.bad_name(at, field, text, limits::APP_ID_CHARS_MAX),
        }
    }

    /// Which units a list shows: the filters `app_id` and `catalog_item_id`.
    pub(crate) fn scope(&mut self, app_id: &str, item_id: &str) -> Checked<UnitScope> {
        match (app_id.is_empty(), item_id.is_empty()) {
            (true, true) => Ok(UnitScope::Site),
            (false, true) => self.app_id(At::REQUEST, "app_id", app_id).map(UnitScope::App),
            (true, false) => self.bad(At::REQUEST, "catalog_item_id", "needs app_id"),
            (false, false) => {
                let app_id = self.app_id(At::REQUEST, "app_id", app_id);
                let item_id = self.item_id(At::REQUEST, "catalog_item_id", item_id);
                Ok(UnitScope::Item(app_id?, item_id?))
            }
        }
    }

    fn reference(&mut self, at: At, reference: v1::CatalogReference) -> Checked<CatalogReference> {
        let v1::CatalogReference { app_id, catalog_item_id: item_id, options, options_json } = reference;
        let (json::Lenient { fields: options, unreadable }, readable) = match self.options(at, options, &options_json) {
            Ok(options) => (options, Ok(())),
            Err(recorded) => (json::Lenient::default(), Err(recorded)),
        };
        let reference = match CatalogReference::new(&app_id, &item_id, options) {
            Ok(reference) => Ok(reference.with_unreadable(unreadable)),
            Err(BadReference::ItemId) => self.bad_name(at, ITEM_ID, &item_id, limits::ITEM_ID_CHARS_MAX),
            Err(BadReference::AppId) => {
                let bad = self.bad_name(at, "catalog_reference.app_id", &app_id, limits::APP_ID_CHARS_MAX);
                // `new` stops at the first bad field, so the other one is checked by itself.
                self.item_id(at, ITEM_ID, &item_id).and(bad)
            }
        };
        readable.and(reference)
    }

    /// The options of a reference, in the form that the caller chose.
    fn options(&mut self, at: At, options: Option<Struct>, text: &str) -> Checked<json::Lenient> {
        match (options, text) {
            (options, "") => match json::read_struct(options.unwrap_or_default()) {
                Ok(object) => Ok(object),
                Err(json::NotANumber) => self.bad(at, OPTIONS, "holds a number that is not finite"),
            },
            (Some(_), _) => self.bad(at, "catalog_reference.options_json", "cannot be set beside options"),
            (None, text) => match json::read_object(text) {
                Some(object) => Ok(object),
                None => self.bad(at, OPTIONS, "must be a JSON object"),
            },
        }
    }

    /// A catalog item's id.
    fn item_id(&mut self, at: At, field: &str, text: &str) -> Checked<String> {
        match CatalogReference::new("any", text, Map::new()) {
            Ok(reference) => Ok(reference.item_id().to_owned()),
            Err(_) => self.bad_name(at, field, text, limits::ITEM_ID_CHARS_MAX),
        }
    }

    /// Records that a SKU is out of bounds.
    pub(super) fn bad_sku<T>(&mut self, at: At, field: &str) -> Checked<T> {
        let max = limits::SKU_CHARS_MAX;
        self.bad(at, field, format_args!("must have at most {max} characters, none of them NUL"))
    }
}
