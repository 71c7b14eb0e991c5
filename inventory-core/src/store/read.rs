//! Reading the books. Each query is written once in diesel's terms and compiled for either
//! backend; it runs on a thread where blocking is allowed, on a connection of the pool.

use std::collections::HashMap;

use diesel::prelude::*;

use crate::catalog::{CatalogReference, Unit, Variant};
use crate::error::{Error, StoreError};
use crate::ids::{LevelId, LocationId, SiteId, UnitId};
use crate::site::{Place, SiteSettings};
use crate::store::batch::SiteRow;
use crate::store::faults::classify;
use crate::store::rows::StoredSite;
use crate::store::schema::{level, site, unit};
use crate::store::{Readers, Store};

/// Takes a connection from whichever pool there is and runs the query on it.
macro_rules! on_either {
    ($readers:expr, |$connection:ident| $query:expr) => {
        match $readers {
            Readers::Sqlite(pool) => on_either!(@run pool, |$connection| $query),
            Readers::Postgres(pool) => on_either!(@run pool, |$connection| $query),
        }
    };
    (@run $pool:expr, |$connection:ident| $query:expr) => {{
        let mut pooled = $pool.get().map_err(|error| StoreError::Gone(Box::new(error)))?;
        let $connection = &mut *pooled;
        let result = $query;
        result.map_err(|error| classify($connection, error))
    }};
}

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
    pub unit: Option<CatalogReference>,
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

type LevelColumns = (String, String, String, Option<LocationId>, i64, i64, i64);

impl Store {
    /// A site's settings and sequence; `None` for a site that nothing was ever written for.
    pub async fn site(&self, id: SiteId) -> Result<Option<(SiteSettings, i64)>, Error> {
        let row = self.read(move |readers| site_row(readers, id)).await?;
        Ok(row.map(|row| (row.settings, row.sequence)))
    }

    /// A site's settings; those of a new site where nothing was ever written.
    pub(crate) async fn settings(&self, id: SiteId) -> Result<SiteSettings, Error> {
        Ok(self.site(id).await?.map(|(settings, _)| settings).unwrap_or_default())
    }

    /// The sequence of a site's last entry; 0 where nothing was ever written.
    pub async fn sequence(&self, id: SiteId) -> Result<i64, Error> {
        Ok(self.site(id).await?.map_or(0, |(_, sequence)| sequence))
    }

    /// The stock that `items` mean, in their order.
    pub async fn stock(
        &self,
        id: SiteId,
        items: Vec<(CatalogReference, Option<LocationId>)>,
    ) -> Result<Vec<Stock>, Error> {
        let settings = self.settings(id).await?;
        let place = |(item, (reference, location)): (usize, &(CatalogReference, Option<LocationId>))| {
            settings.place(id, reference, *location).map_err(|_| Error::VariantTooLarge { item })
        };
        let places: Vec<Place> = items.iter().enumerate().map(place).collect::<Result<_, _>>()?;
        let stock = self.read(move |readers| stock_at(readers, places));
        let shown = |stock: Stock| Stock { location: settings.show_location(stock.location), ..stock };
        Ok(stock.await?.into_iter().map(shown).collect())
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
        let place = |reference| settings.place(id, reference, None).map_err(|_| Error::VariantTooLarge { item: 0 });
        let unit = filter.unit.as_ref().map(place).transpose()?.map(|place| place.unit_id);
        let app = filter.app_id.clone();
        let found = self.read(move |readers| list_levels(readers, id, unit, app.as_deref(), after.as_ref(), rows + 1));
        let mut stock: Vec<Stock> = found.await?.into_iter().map(stock_row).collect();
        let more = cut(&mut stock, rows);
        let position = |last: &Stock| StockCursor { unit: last.unit.clone(), location: last.location };
        let looked_to = stock.last().filter(|_| more).map(position);
        let at = filter.location.map(|location| settings.fold_location(Some(location)));
        stock.retain(|stock| {
            at.is_none_or(|location| stock.location == location)
                && filter.below.is_none_or(|limit| stock.available < limit)
                && stock.last_sequence > filter.changed_after_sequence
        });
        for stock in &mut stock {
            stock.location = settings.show_location(stock.location);
        }
        Ok(StockPage { stock, looked_to })
    }

    /// What and where levels are, as they are stored; those that are not stored are left out.
    pub async fn name_levels(&self, levels: Vec<LevelId>) -> Result<HashMap<LevelId, Named>, Error> {
        let found = self.read(move |readers| {
            let rows: Vec<(LevelId, String, String, String, Option<LocationId>)> = on_either!(readers, |connection| {
                level::table
                    .inner_join(unit::table.on(unit::unit_id.eq(level::unit_id)))
                    .filter(level::level_id.eq_any(levels))
                    .select((level::level_id, unit::app_id, unit::item_id, unit::variant, level::location_id))
                    .load(connection)
            })?;
            Ok(rows)
        });
        let name = |(level, app_id, item_id, variant, location)| {
            (level, (Unit { app_id, item_id, variant: Variant::from_text(variant) }, location))
        };
        Ok(found.await?.into_iter().map(name).collect())
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), Error> {
        self.read(|readers| on_either!(readers, |connection| diesel::r2d2::R2D2Connection::ping(connection))).await
    }

    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Readers) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Error> {
        let readers = self.readers.clone();
        match tokio::task::spawn_blocking(move || query(&readers)).await {
            Ok(result) => result.map_err(Error::before_commit),
            Err(_) => Err(Error::before_commit(StoreError::Damaged("a row that stopped its reader"))),
        }
    }
}

/// Cuts a page that was read with one row too many, and tells whether it was.
pub(crate) fn cut<T>(page: &mut Vec<T>, rows: i64) -> bool {
    let size = usize::try_from(rows).unwrap_or(usize::MAX);
    let more = page.len() > size;
    page.truncate(size);
    more
}

fn site_row(readers: &Readers, id: SiteId) -> Result<Option<SiteRow>, StoreError> {
    let row: Option<StoredSite> =
        on_either!(readers, |connection| site::table.filter(site::site_id.eq(id)).first(connection).optional())?;
    row.map(SiteRow::try_from).transpose()
}

fn stock_at(readers: &Readers, places: Vec<Place>) -> Result<Vec<Stock>, StoreError> {
    let keys: Vec<LevelId> = places.iter().map(|place| place.level).collect();
    let columns = (level::level_id, level::available, level::revision, level::last_sequence);
    let rows: Vec<(LevelId, i64, i64, i64)> = on_either!(readers, |connection| {
        level::table.filter(level::level_id.eq_any(keys)).select(columns).load(connection)
    })?;
    let found: HashMap<LevelId, (i64, i64, i64)> = rows
        .into_iter()
        .map(|(level, available, revision, sequence)| (level, (available, revision, sequence)))
        .collect();
    let stock = |place: Place| {
        let (available, revision, last_sequence) = found.get(&place.level).copied().unwrap_or_default();
        Stock { unit: place.unit, location: place.location, available, revision, last_sequence }
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
                unit::app_id,
                unit::item_id,
                unit::variant,
                level::location_id,
                level::available,
                level::revision,
                level::last_sequence,
            ))
            .into_boxed();
        if let Some(unit_id) = unit_id {
            query = query.filter(unit::unit_id.eq(unit_id));
        }
        if let Some(app_id) = app_id {
            query = query.filter(unit::app_id.eq(app_id));
        }
        if let Some(StockCursor { unit: last, location }) = after {
            // A row comparison, which the index on these columns answers; diesel has no word for it.
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
            query = query.filter(from);
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

fn stock_row(row: LevelColumns) -> Stock {
    let (app_id, item_id, variant, location, available, revision, last_sequence) = row;
    let unit = Unit { app_id, item_id, variant: Variant::from_text(variant) };
    Stock { unit, location, available, revision, last_sequence }
}

pub(crate) use on_either;
