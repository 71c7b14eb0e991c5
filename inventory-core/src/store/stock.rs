//! Reading stock: single levels, and lists in pages of constant cost.

use std::collections::HashMap;

use diesel::prelude::*;

use crate::catalog::Unit;
use crate::error::{Error, StoreError};
use crate::ids::{LevelId, LocationId, SiteId, UnitId};
use crate::site::{Place, SiteSettings};
use crate::store::faults::classify;
use crate::store::read::{cut, on_either};
use crate::store::schema::{level, unit};
use crate::store::units::{self, SettledColumns, UnitColumns};
use crate::store::{Readers, Store};
use crate::unit::{SettledUnit, UnitName, UnitSettings};

/// Stock of a unit at a location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stock {
    /// Of what.
    pub unit: Unit,
    /// Where; `None` is a default location that has not been given an id.
    pub location: Option<LocationId>,
    /// The level; 0 where none was ever written.
    pub available: i64,
    /// Raised by one with every change of the level; 0 where none was ever written.
    pub revision: i64,
    /// The sequence of the entry that made the level what it is; 0 where none was ever written.
    pub last_sequence: i64,
    /// What is settled for the unit.
    pub settings: UnitSettings,
}

/// Where a page of stock ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockCursor {
    /// The last unit of the page.
    pub unit: Unit,
    /// Its last location on the page, as it is stored.
    pub location: Option<LocationId>,
}

/// Which levels are asked for.
#[derive(Clone, Debug, Default)]
pub struct StockFilter {
    /// Of this unit only, at all of its locations.
    pub unit: Option<UnitName>,
    /// Of units of this catalog app only.
    pub app_id: Option<String>,
    /// At this location only.
    pub location: Option<LocationId>,
    /// Below this only.
    pub below: Option<i64>,
    /// Changed after this sequence only; every level that is stored was changed after 0.
    pub changed_after_sequence: i64,
}

/// A page of levels.
#[derive(Clone, Debug, Default)]
pub struct StockPage {
    /// The levels.
    pub stock: Vec<Stock>,
    /// Where there may be more: the last level that this page looked at.
    pub looked_to: Option<StockCursor>,
}

/// What and where a level is, as it is stored.
pub(crate) type Named = (Unit, Option<LocationId>);

type LevelColumns = (SettledColumns, (Option<LocationId>, i64, i64, i64));

impl Store {
    /// The stock that `items` mean, in their order.
    pub async fn stock(&self, id: SiteId, items: Vec<(UnitName, Option<LocationId>)>) -> Result<Vec<Stock>, Error> {
        let settings = self.settings(id).await?;
        let places = self.places(id, &settings, &items).await?;
        let mut stock = self.read(move |readers| stock_at(readers, places)).await?;
        show(&settings, &mut stock);
        Ok(stock)
    }

    /// A unit with what is settled for it; `None` for one that nothing was ever written for.
    pub async fn unit(&self, id: SiteId, name: UnitName) -> Result<Option<SettledUnit>, Error> {
        let Place { unit, unit_id, .. } = self.place_of(id, &self.settings(id).await?, name).await?;
        let found = self.read(move |readers| {
            let row = on_either!(readers, |connection| units::find_unit!(connection, unit_id))?;
            row.map(UnitSettings::try_from).transpose()
        });
        Ok(found.await?.map(|settings| SettledUnit { unit, settings }))
    }

    /// A page of a site's levels, in the order of app id, item id, variant and location: at most `rows`,
    /// taken by their unit or in that order; what the rest of the filter lets through of them.
    pub async fn list_stock(
        &self,
        id: SiteId,
        filter: StockFilter,
        after: Option<StockCursor>,
        rows: i64,
    ) -> Result<StockPage, Error> {
        let settings = self.settings(id).await?;
        let unit = match filter.unit {
            Some(name) => Some(self.place_of(id, &settings, name).await?.unit_id),
            None => None,
        };
        let found = self.read(move |readers| {
            let rows = list_levels(readers, id, unit, filter.app_id.as_deref(), after.as_ref(), rows + 1)?;
            rows.into_iter().map(stock_row).collect::<Result<Vec<_>, _>>()
        });
        let mut stock = found.await?;
        let more = cut(&mut stock, rows);
        let position = |last: &Stock| StockCursor { unit: last.unit.clone(), location: last.location };
        let looked_to = stock.last().filter(|_| more).map(position);
        let at = filter.location.map(|location| settings.fold_location(Some(location)));
        stock.retain(|stock| {
            at.is_none_or(|location| stock.location == location)
                && filter.below.is_none_or(|limit| stock.available < limit)
                && stock.last_sequence > filter.changed_after_sequence
        });
        show(&settings, &mut stock);
        Ok(StockPage { stock, looked_to })
    }

    /// What and where levels are, as they are stored; those that are not stored are left out.
    pub async fn name_levels(&self, levels: Vec<LevelId>) -> Result<HashMap<LevelId, Named>, Error> {
        let found = self.read(move |readers| {
            let rows: Vec<(LevelId, UnitColumns, Option<LocationId>)> = on_either!(readers, |connection| {
                level::table
                    .inner_join(unit::table.on(unit::unit_id.eq(level::unit_id)))
                    .filter(level::level_id.eq_any(levels))
                    .select((level::level_id, (unit::app_id, unit::item_id, unit::variant), level::location_id))
                    .load(connection)
            })?;
            Ok(rows)
        });
        let name = |(level, unit, location)| (level, (units::stored_unit(unit), location));
        Ok(found.await?.into_iter().map(name).collect())
    }

    /// The place that a unit's name means, at the default location.
    pub(crate) async fn place_of(&self, id: SiteId, settings: &SiteSettings, name: UnitName) -> Result<Place, Error> {
        let mut places = self.places(id, settings, &[(name, None)]).await?;
        places.pop().ok_or(Error::UnknownSku { item: 0 })
    }

    /// The places that units' names and locations mean, in their order.
    async fn places(
        &self,
        id: SiteId,
        settings: &SiteSettings,
        items: &[(UnitName, Option<LocationId>)],
    ) -> Result<Vec<Place>, Error> {
        let sku = |(name, _): &(UnitName, Option<LocationId>)| match name {
            UnitName::Sku(sku) => Some(sku.clone()),
            UnitName::Reference(_) => None,
        };
        let by_sku = self.units_of_skus(id, items.iter().filter_map(sku).collect()).await?;
        let place = |(item, (name, location)): (usize, &(UnitName, Option<LocationId>))| match name {
            UnitName::Reference(reference) => {
                settings.place(id, reference, *location).map_err(|_| Error::VariantTooLarge { item })
            }
            UnitName::Sku(sku) => {
                let unit = by_sku.get(sku).ok_or(Error::UnknownSku { item })?;
                Ok(settings.place_of(id, unit.clone(), *location))
            }
        };
        items.iter().enumerate().map(place).collect()
    }

    async fn units_of_skus(&self, id: SiteId, skus: Vec<String>) -> Result<HashMap<String, Unit>, Error> {
        if skus.is_empty() {
            return Ok(HashMap::new());
        }
        let found = self.read(move |readers| {
            let rows: Vec<(Option<String>, UnitColumns)> = on_either!(readers, |connection| {
                unit::table
                    .filter(unit::site_id.eq(id).and(unit::sku.eq_any(skus)))
                    .select((unit::sku, (unit::app_id, unit::item_id, unit::variant)))
                    .load(connection)
            })?;
            Ok(rows)
        });
        let named = |(sku, unit)| Some((sku?, units::stored_unit(unit)));
        Ok(found.await?.into_iter().filter_map(named).collect())
    }
}

/// Gives the default location the id that it is shown by.
fn show(settings: &SiteSettings, stock: &mut [Stock]) {
    for stock in stock {
        stock.location = settings.show_location(stock.location);
    }
}

fn stock_at(readers: &Readers, places: Vec<Place>) -> Result<Vec<Stock>, StoreError> {
    let keys: Vec<LevelId> = places.iter().map(|place| place.level).collect();
    let columns = (level::level_id, (level::available, level::revision, level::last_sequence));
    let rows: Vec<(LevelId, (i64, i64, i64))> = on_either!(readers, |connection| {
        level::table.filter(level::level_id.eq_any(keys)).select(columns).load(connection)
    })?;
    let levels: HashMap<LevelId, (i64, i64, i64)> = rows.into_iter().collect();
    let keys: Vec<UnitId> = places.iter().map(|place| place.unit_id).collect();
    let rows: Vec<(UnitId, units::StoredSettings)> = on_either!(readers, |connection| {
        let settled = unit::table.filter(unit::unit_id.eq_any(keys));
        settled.select((unit::unit_id, units::unit_settings!())).load(connection)
    })?;
    let mut settled: HashMap<UnitId, UnitSettings> = HashMap::with_capacity(rows.len());
    for (unit, settings) in rows {
        settled.insert(unit, settings.try_into()?);
    }
    let stock = |place: Place| {
        let (available, revision, last_sequence) = levels.get(&place.level).copied().unwrap_or_default();
        let settings = settled.get(&place.unit_id).cloned().unwrap_or_default();
        Stock { unit: place.unit, location: place.location, available, revision, last_sequence, settings }
    };
    Ok(places.into_iter().map(stock).collect())
}

fn list_levels(
    readers: &Readers,
    id: SiteId,
    unit_id: Option<UnitId>,
    app_id: Option<&str>,
    after: Option<&StockCursor>,
    rows: i64,
) -> Result<Vec<LevelColumns>, StoreError> {
    use diesel::dsl::sql;
    use diesel::sql_types::{Bool, Text};
    on_either!(readers, |connection| {
        let mut query = unit::table
            .inner_join(level::table.on(level::unit_id.eq(unit::unit_id)))
            .filter(unit::site_id.eq(id))
            .select((
                ((unit::app_id, unit::item_id, unit::variant), units::unit_settings!()),
                (level::location_id, level::available, level::revision, level::last_sequence),
            ))
            .into_boxed();
        if let Some(unit_id) = unit_id {
            query = query.filter(unit::unit_id.eq(unit_id));
        }
        if let Some(app_id) = app_id {
            query = query.filter(unit::app_id.eq(app_id));
        }
        if let Some(StockCursor { unit: last, location }) = after {
            // Row comparisons, which the index on these columns answers; diesel has no word for them. Within
            // one app it is left out: beside an equality, it would be passed over.
            let within = sql::<Bool>("(unit.item_id, unit.variant) >= (")
                .bind::<Text, _>(&last.item_id)
                .sql(", ")
                .bind::<Text, _>(last.variant.as_str())
                .sql(")");
            let from = sql::<Bool>("(unit.app_id, unit.item_id, unit.variant) >= (")
                .bind::<Text, _>(&last.app_id)
                .sql(", ")
                .bind::<Text, _>(&last.item_id)
                .sql(", ")
                .bind::<Text, _>(last.variant.as_str())
                .sql(")");
            let same = unit::app_id
                .eq(&last.app_id)
                .and(unit::item_id.eq(&last.item_id))
                .and(unit::variant.eq(last.variant.as_str()));
            query = match app_id {
                Some(_) => query.filter(within),
                None => query.filter(from),
            };
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
            .load(connection)
    })
}

fn stock_row((settled, level): LevelColumns) -> Result<Stock, StoreError> {
    let SettledUnit { unit, settings } = units::settled(settled)?;
    let (location, available, revision, last_sequence) = level;
    Ok(Stock { unit, location, available, revision, last_sequence, settings })
}
