//! The two names of a unit. Each message that names one has a `oneof unit` of the same two fields, for which prost
//! generates a type of its own; this is their common form.

use crate::v1::{self, CatalogReference};

/// A unit as a request names it.
#[derive(Clone, Debug, PartialEq)]
pub enum UnitRef {
    /// By the catalog's names.
    CatalogReference(CatalogReference),
    /// By its SKU.
    Sku(String),
}

macro_rules! names_a_unit {
    ($($message:ident),+ $(,)?) => { $(
        impl From<v1::$message::Unit> for UnitRef {
            fn from(unit: v1::$message::Unit) -> Self {
                match unit {
                    v1::$message::Unit::CatalogReference(reference) => Self::CatalogReference(reference),
                    v1::$message::Unit::Sku(sku) => Self::Sku(sku),
                }
            }
        }

        impl From<UnitRef> for v1::$message::Unit {
            fn from(unit: UnitRef) -> Self {
                match unit {
                    UnitRef::CatalogReference(reference) => Self::CatalogReference(reference),
                    UnitRef::Sku(sku) => Self::Sku(sku),
                }
            }
        }

        impl From<CatalogReference> for v1::$message::Unit {
            fn from(reference: CatalogReference) -> Self {
                Self::CatalogReference(reference)
            }
        }
    )+ };
}

names_a_unit!(
    item,
    set_stock_item,
    adjust_stock_item,
    move_stock_item,
    update_unit_request,
    get_unit_request,
    get_stock_request,
    batch_get_stock_item,
    list_stock_request,
    list_entries_request,
    explain_level_request,
);
