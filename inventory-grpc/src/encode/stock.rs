//! Levels and units as messages.

use inventory_core::model::ids::LocationId;
use inventory_core::model::level::Stock;
use inventory_core::model::outcome::{ChangedLevel, LevelAfter, Shortage};
use inventory_core::model::unit::{ConfiguredUnit, Sku, Tracking, UnitRules, UnitSettings};
use inventory_proto::v1;

use super::{catalog_reference, location};

/// A level right after a request.
pub(crate) fn level(level: LevelAfter, default: Option<LocationId>) -> v1::Level {
    let LevelAfter { unit, location: stored, available } = level;
    v1::Level { catalog_reference: Some(catalog_reference(unit)), location_id: location(stored, default), available }
}

/// A level that is short.
pub(crate) fn shortage(shortage: Shortage, default: Option<LocationId>) -> v1::Shortage {
    let Shortage { unit, location: stored, asked, available, short } = shortage;
    v1::Shortage {
        catalog_reference: Some(catalog_reference(unit)),
        location_id: location(stored, default),
        asked,
        available,
        short,
    }
}

/// A level that differs from what the caller expected.
pub(crate) fn changed_level(level: ChangedLevel, default: Option<LocationId>) -> v1::ChangedLevel {
    let ChangedLevel { item, unit, location: stored, available, revision } = level;
    v1::ChangedLevel {
        // A request has at most 1,000 items.
        item: i32::try_from(item).unwrap_or(i32::MAX),
        catalog_reference: Some(catalog_reference(unit)),
        location_id: location(stored, default),
        available,
        revision,
    }
}

/// A stock level with its unit's settings.
pub(crate) fn stock(stock: Stock, default: Option<LocationId>) -> v1::Stock {
    let Stock { unit, location: stored, available, revision, last_sequence, settings } = stock;
    let UnitSettings { sku, name, rules } = settings;
    // A level shows no `counts_subscriptions`: ListUnits and GetUnit do.
    let UnitRules { tracking: tracked, backorder_limit, counts_subscriptions: _ } = rules;
    v1::Stock {
        catalog_reference: Some(catalog_reference(unit)),
        location_id: location(stored, default),
        available,
        revision,
        last_sequence,
        sku: sku_text(sku),
        name,
        tracking: tracking(tracked),
        backorder_limit,
    }
}

/// A unit with its settings.
pub(crate) fn unit(unit: ConfiguredUnit) -> v1::Unit {
    let ConfiguredUnit { unit, settings: UnitSettings { sku, name, rules } } = unit;
    let UnitRules { tracking: tracked, backorder_limit, counts_subscriptions } = rules;
    v1::Unit {
        catalog_reference: Some(catalog_reference(unit)),
        sku: sku_text(sku),
        name,
        tracking: tracking(tracked),
        backorder_limit,
        counts_subscriptions,
    }
}

fn sku_text(sku: Option<Sku>) -> String {
    sku.map(|sku| sku.as_str().to_owned()).unwrap_or_default()
}

fn tracking(tracking: Tracking) -> i32 {
    match tracking {
        Tracking::Quantity => v1::Tracking::Quantity,
        Tracking::Status => v1::Tracking::Status,
    }
    .into()
}
