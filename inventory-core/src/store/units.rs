//! Units as they are stored. Macros, because each statement must be compiled once for either backend.

use diesel::Queryable;

use crate::catalog::{Unit, Variant};
use crate::error::StoreError;
use crate::unit::{SettledUnit, Tracking, UnitRules, UnitSettings};

/// What is settled for a unit.
#[derive(Queryable)]
pub(crate) struct StoredSettings {
    sku: Option<String>,
    name: String,
    tracking: i16,
    backorder_limit: i64,
    counts_subscriptions: bool,
}

impl TryFrom<StoredSettings> for UnitSettings {
    type Error = StoreError;

    fn try_from(stored: StoredSettings) -> Result<Self, StoreError> {
        let StoredSettings { sku, name, tracking, backorder_limit, counts_subscriptions } = stored;
        Ok(Self { sku, name, rules: stored_rules(tracking, backorder_limit, counts_subscriptions)? })
    }
}

/// How a unit is counted, as it is stored.
pub(crate) fn stored_rules(
    tracking: i16,
    backorder_limit: i64,
    counts_subscriptions: bool,
) -> Result<UnitRules, StoreError> {
    let tracking = Tracking::from_code(tracking).ok_or(StoreError::Damaged("a tracking this version does not know"))?;
    Ok(UnitRules { tracking, backorder_limit, counts_subscriptions })
}

/// The columns of `unit` that say which it is.
pub(crate) type UnitColumns = (String, String, String);

/// The unit that they mean.
pub(crate) fn stored_unit((app_id, item_id, variant): UnitColumns) -> Unit {
    Unit { app_id, item_id, variant: Variant::from_text(variant) }
}

/// The columns of a unit with what is settled for it.
pub(crate) type SettledColumns = (UnitColumns, StoredSettings);

/// What they mean.
pub(crate) fn settled((unit, settings): SettledColumns) -> Result<SettledUnit, StoreError> {
    Ok(SettledUnit { unit: stored_unit(unit), settings: settings.try_into()? })
}

/// Selects what is settled for a unit.
macro_rules! unit_settings {
    () => {{
        use crate::store::schema::unit;
        (unit::sku, unit::name, unit::tracking, unit::backorder_limit, unit::counts_subscriptions)
    }};
}

macro_rules! find_unit {
    ($connection:expr, $unit:expr) => {{
        use crate::store::schema::unit;
        unit::table
            .find($unit)
            .select(crate::store::units::unit_settings!())
            .first::<crate::store::units::StoredSettings>($connection)
            .optional()
    }};
}

macro_rules! unit_of_sku {
    ($connection:expr, $site:expr, $sku:expr) => {{
        use crate::store::schema::unit;
        unit::table
            .filter(unit::site_id.eq($site).and(unit::sku.eq($sku)))
            .select(((unit::app_id, unit::item_id, unit::variant), crate::store::units::unit_settings!()))
            .first::<crate::store::units::SettledColumns>($connection)
            .optional()
    }};
}

macro_rules! write_unit {
    ($connection:expr, $site:expr, $place:expr, $settings:expr) => {{
        use crate::store::schema::unit;
        let settled = (
            unit::sku.eq($settings.sku.as_deref()),
            unit::name.eq(&$settings.name),
            unit::tracking.eq($settings.rules.tracking.code()),
            unit::backorder_limit.eq($settings.rules.backorder_limit),
            unit::counts_subscriptions.eq($settings.rules.counts_subscriptions),
        );
        let named = (
            unit::unit_id.eq($place.unit_id),
            unit::site_id.eq($site),
            unit::app_id.eq(&$place.unit.app_id),
            unit::item_id.eq(&$place.unit.item_id),
            unit::variant.eq($place.unit.variant.as_str()),
        );
        diesel::insert_into(unit::table)
            .values((named, settled))
            .on_conflict(unit::unit_id)
            .do_update()
            .set(settled)
            .execute($connection)
            .map(|_| ())
    }};
}

pub(crate) use {find_unit, unit_of_sku, unit_settings, write_unit};
