//! Levels and units as messages.

use std::sync::Arc;

use inventory_core::model::ids::LocationId;
use inventory_core::model::kind::{SalesWindow, Source, UnitRules, UnitState};
use inventory_core::model::level::Stock;
use inventory_core::model::outcome::{ChangedLevel, LevelAfter, Shortage, ShortageReason};
use inventory_core::model::unit::{ConfiguredUnit, Sku, UnitSettings};
use inventory_proto::v1;

use super::{catalog_reference, location, timestamp, tracking};

/// A level right after a request.
pub(crate) fn level(level: LevelAfter, default: Option<LocationId>) -> v1::Level {
    let LevelAfter { unit, location: stored, available } = level;
    let unit = catalog_reference(Arc::unwrap_or_clone(unit));
    v1::Level { catalog_reference: Some(unit), location_id: location(stored, default), available }
}

/// A level that is short, or whose unit is not on sale.
pub(crate) fn shortage(shortage: Shortage, default: Option<LocationId>) -> v1::Shortage {
    let Shortage { unit, location: stored, asked, available, short, reason } = shortage;
    v1::Shortage {
        catalog_reference: Some(catalog_reference(unit)),
        location_id: location(stored, default),
        asked,
        available,
        short,
        reason: match reason {
            ShortageReason::InsufficientStock => v1::ShortageReason::InsufficientStock,
            ShortageReason::NotOnSaleYet => v1::ShortageReason::NotOnSaleYet,
            ShortageReason::NoLongerOnSale => v1::ShortageReason::NoLongerOnSale,
        }
        .into(),
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

/// A stock level with its unit's settings in force.
pub(crate) fn stock(stock: Stock, default: Option<LocationId>) -> v1::Stock {
    let Stock { unit, location: stored, available, revision, last_sequence, settings, rules } = stock;
    // A level does not show whether its unit was stocked, nor `counts_subscriptions`, nor where a setting comes from:
    // ListUnits and GetUnit do.
    let UnitSettings { sku, name, state: UnitState { counting: _, window, stocked: _ } } = settings;
    let UnitRules { tracking: tracked, backorder_limit, counts_subscriptions: _ } = rules;
    let SalesWindow { from, until } = window;
    v1::Stock {
        catalog_reference: Some(catalog_reference(unit)),
        location_id: location(stored, default),
        available,
        revision,
        last_sequence,
        sku: sku_text(sku),
        name,
        tracking: tracking(tracked.value),
        backorder_limit: backorder_limit.value,
        sell_from: from.map(timestamp),
        sell_until: until.map(timestamp),
    }
}

/// A unit with its settings in force, and where they come from.
pub(crate) fn unit(unit: ConfiguredUnit) -> v1::Unit {
    let ConfiguredUnit { unit, settings, rules } = unit;
    // The unit's own settings show in the settings in force, by their source.
    let UnitSettings { sku, name, state: UnitState { counting: _, window, stocked } } = settings;
    let UnitRules { tracking: tracked, backorder_limit, counts_subscriptions } = rules;
    let SalesWindow { from, until } = window;
    v1::Unit {
        catalog_reference: Some(catalog_reference(unit)),
        sku: sku_text(sku),
        name,
        tracking: tracking(tracked.value),
        backorder_limit: backorder_limit.value,
        counts_subscriptions: counts_subscriptions.value,
        tracking_source: source(tracked.source),
        backorder_limit_source: source(backorder_limit.source),
        counts_subscriptions_source: source(counts_subscriptions.source),
        stocked,
        sell_from: from.map(timestamp),
        sell_until: until.map(timestamp),
    }
}

fn sku_text(sku: Option<Sku>) -> String {
    sku.map(|sku| sku.as_str().to_owned()).unwrap_or_default()
}

fn source(source: Source) -> i32 {
    match source {
        Source::Unit => v1::SettingSource::Unit,
        Source::Catalog => v1::SettingSource::Catalog,
        Source::BuiltIn => v1::SettingSource::BuiltIn,
    }
    .into()
}
