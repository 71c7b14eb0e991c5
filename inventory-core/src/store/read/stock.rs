//! Reading stock levels: some of them, or lists in pages of constant cost.

use std::collections::HashMap;
use std::sync::Arc;

use diesel::prelude::*;

use super::units::{UnitScope, narrow};
use super::{Page, Snapshot};
use crate::model::catalog::Unit;
use crate::model::error::{Error, StoreError};
use crate::model::ids::{LevelId, LocationId, UnitId};
use crate::model::kind::UnitRules;
use crate::model::level::{ResolvedLevel, Stock};
use crate::model::site::Site;
use crate::model::unit::{UnitSelector, UnitSettings};
use crate::store::connection::{AnyConnection, on};
use crate::store::records::{SettingsRecord, UnitRecord};
use crate::store::shared;
use crate::store::tables::{level, unit};

/// Where a page of levels ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockCursor {
    /// The last unit of the page.
    pub unit: Unit,
    /// Its last location on the page, as stored.
    pub location: Option<LocationId>,
}

/// Which levels are asked for. The filters combine with "and".
#[derive(Clone, Debug, Default)]
pub struct StockFilter {
    /// Only levels of this unit.
    pub unit: Option<UnitSelector>,
    /// Only levels of these units.
    pub scope: UnitScope,
    /// Only levels at this location.
    pub location: Option<LocationId>,
    /// Only levels below this.
    pub below: Option<i64>,
    /// Only levels that changed after this sequence number. Every stored level changed after 0.
    pub changed_after_sequence: i64,
}

type LevelColumns = (Option<LocationId>, i64, i64, i64);

impl Snapshot<'_> {
    /// The levels of units at locations, in their order. A level that was never written is 0.
    pub fn stock(&mut self, items: &[(UnitSelector, Option<LocationId>)]) -> Result<Vec<Stock>, Error> {
        let resolved = self.resolve(items)?;
        let keys: Vec<LevelId> = resolved.iter().map(|level| level.id).collect();
        let columns = (level::level_id, (level::available, level::revision, level::last_sequence));
        let rows: Vec<(LevelId, (i64, i64, i64))> = on!(self.connection()?, |c| {
            level::table.filter(level::level_id.eq_any(&keys)).select(columns).load(c)
        })?;
        let levels: HashMap<LevelId, (i64, i64, i64)> = rows.into_iter().collect();
        let keys: Vec<UnitId> = resolved.iter().map(|level| level.unit_id).collect();
        let settings: HashMap<UnitId, UnitSettings> = shared::units(self.connection()?, &keys)?.into_iter().collect();
        let stock = |level: ResolvedLevel| {
            let (available, revision, last_sequence) = levels.get(&level.id).copied().unwrap_or_default();
            let settings = settings.get(&level.unit_id).cloned().unwrap_or_default();
            let rules = UnitRules::in_force(&settings.state, &level.catalog);
            let (unit, location) = (Arc::unwrap_or_clone(level.unit), level.location);
            Stock { unit, location, available, revision, last_sequence, settings, rules }
        };
        Ok(resolved.into_iter().map(stock).collect())
    }

    /// A page of the site's levels in the order of app id, item id, variant and location. At most `rows` levels are
    /// taken by their unit, or in that order; the page holds those that pass the rest of the filter.
    pub fn list_stock(
        &mut self,
        filter: &StockFilter,
        after: Option<&StockCursor>,
        rows: i64,
    ) -> Result<Page<Stock, StockCursor>, Error> {
        let unit = match &filter.unit {
            Some(selector) => Some(self.resolve_one(selector, None)?.unit_id),
            None => None,
        };
        let site = self.site.clone();
        let stock = list_levels(self.connection()?, &site, unit, &filter.scope, after, rows + 1)?;
        let position = |last: &Stock| StockCursor { unit: last.unit.clone(), location: last.location };
        let mut page = Page::cut(stock, rows, position);
        let at = filter.location.map(|location| site.settings.stored_location(Some(location)));
        page.rows.retain(|stock| {
            at.is_none_or(|location| stock.location == location)
                && filter.below.is_none_or(|limit| stock.available < limit)
                && stock.last_sequence > filter.changed_after_sequence
        });
        Ok(page)
    }
}

fn list_levels(
    connection: &mut AnyConnection<'_>,
    site: &Site,
    unit_id: Option<UnitId>,
    scope: &UnitScope,
    after: Option<&StockCursor>,
    rows: i64,
) -> Result<Vec<Stock>, StoreError> {
    use diesel::dsl::sql;
    use diesel::sql_types::Bool;
    let found: Vec<(UnitRecord, SettingsRecord, LevelColumns)> = on!(connection, |c| {
        let mut query = unit::table
            .inner_join(level::table.on(level::unit_id.eq(unit::unit_id)))
            .filter(unit::site_id.eq(site.id))
            .select((
                UnitRecord::as_select(),
                SettingsRecord::as_select(),
                (level::location_id, level::available, level::revision, level::last_sequence),
            ))
            .into_boxed();
        if let Some(unit_id) = unit_id {
            query = query.filter(unit::unit_id.eq(unit_id));
        }
        narrow!(query, scope, after.map(|after| &after.unit), ">=");
        if let Some(StockCursor { unit: last, location }) = after {
            let same = unit::app_id
                .eq(&last.app_id)
                .and(unit::item_id.eq(&last.item_id))
                .and(unit::variant.eq(last.variant.as_str()));
            query = match location {
                // The default location comes first.
                None => query.filter(diesel::dsl::not(same.and(level::location_id.is_null()))),
                Some(location) => query.filter(diesel::dsl::not(
                    same.and(level::location_id.is_null().or(level::location_id.assume_not_null().le(location))),
                )),
            };
        }
        query
            .order((unit::app_id, unit::item_id, unit::variant))
            .then_order_by(sql::<Bool>("level.location_id IS NOT NULL"))
            .then_order_by(level::location_id)
            .limit(rows)
            .load(c)
    })?;
    let stock = |(unit, settings, (location, available, revision, last_sequence)): (
        UnitRecord,
        SettingsRecord,
        LevelColumns,
    )| {
        let (unit, settings) = (Unit::from(unit), UnitSettings::try_from(settings)?);
        let rules = UnitRules::in_force(&settings.state, &site.settings.catalog_rules(&unit.app_id));
        Ok(Stock { unit, location, available, revision, last_sequence, settings, rules })
    };
    found.into_iter().map(stock).collect()
}
