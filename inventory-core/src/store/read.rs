//! Reading the books. Each query is written once in diesel's terms and compiled for either
//! backend; it runs on a thread where blocking is allowed, on a connection of the pool.

use std::collections::HashMap;

use diesel::prelude::*;

use crate::catalog::{CatalogReference, Unit, Variant};
use crate::command::{Kind, Reason};
use crate::error::{Error, StoreError};
use crate::ids::{LevelId, LocationId, OrderId, SiteId};
use crate::site::{Place, SiteSettings};
use crate::store::batch::SiteRow;
use crate::store::faults::classify;
use crate::store::rows::StoredSite;
use crate::store::schema::{change, ledger, level, site, unit};
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

/// Entries with their changes and units.
macro_rules! entry_query {
    () => {
        ledger::table
            .inner_join(
                change::table.on(change::site_id
                    .eq(ledger::site_id)
                    .and(change::first_sequence.eq(ledger::change_sequence))
                    // Follows from the line before; it leads from a change to its entries by key.
                    .and(ledger::sequence.between(change::first_sequence, change::last_sequence))),
            )
            .inner_join(unit::table.on(unit::unit_id.eq(ledger::unit_id)))
            .select((
                (
                    ledger::sequence,
                    ledger::change_sequence,
                    ledger::location_id,
                    ledger::delta,
                    ledger::level_after,
                    ledger::subscription,
                ),
                (unit::app_id, unit::item_id, unit::variant),
                (
                    change::kind,
                    change::reason,
                    change::order_id,
                    change::request_id,
                    change::actor,
                    change::recorded_at,
                ),
            ))
    };
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

/// Which entries are asked for.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    /// Of this order only.
    pub order: Option<OrderId>,
    /// Of this unit only.
    pub unit: Option<CatalogReference>,
    /// Only entries after this sequence.
    pub after_sequence: i64,
    /// Only entries up to and with this sequence.
    pub up_to_sequence: Option<i64>,
}

/// One line of the ledger, with the header of its change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number on the site: 1, 2, 3, … in commit order.
    pub sequence: i64,
    /// The first sequence of the change it belongs to.
    pub change_sequence: i64,
    /// Of what.
    pub unit: Unit,
    /// Where; `None` is a default location that has not been given an id.
    pub location: Option<LocationId>,
    /// The change.
    pub delta: i64,
    /// The level after it.
    pub level_after: i64,
    /// Whether it came from subscription items.
    pub subscription: bool,
    /// What kind of request made it.
    pub kind: Kind,
    /// Why.
    pub reason: Reason,
    /// For which order.
    pub order: Option<OrderId>,
    /// The caller's name for the request.
    pub request_id: String,
    /// Who asked.
    pub actor: String,
    /// When it was committed: microseconds since 1970.
    pub recorded_at: i64,
}

type LevelColumns = (String, String, String, Option<LocationId>, i64, i64, i64);

impl Store {
    /// A site's settings and sequence; `None` for a site that nothing was ever written for.
    pub async fn site(&self, id: SiteId) -> Result<Option<(SiteSettings, i64)>, Error> {
        let row = self.read(move |readers| site_row(readers, id)).await?;
        Ok(row.map(|row| (row.settings, row.sequence)))
    }

    /// The stock that `items` mean, in their order.
    pub async fn stock(
        &self,
        id: SiteId,
        items: Vec<(CatalogReference, Option<LocationId>)>,
    ) -> Result<Vec<Stock>, Error> {
        let settings = self.site(id).await?.map(|(settings, _)| settings).unwrap_or_default();
        let place = |(item, (reference, location)): (usize, &(CatalogReference, Option<LocationId>))| {
            settings.place(id, reference, *location).map_err(|_| Error::VariantTooLarge { item })
        };
        let places: Vec<Place> = items.iter().enumerate().map(place).collect::<Result<_, _>>()?;
        let stock = self.read(move |readers| stock_at(readers, places));
        let shown = |stock: Stock| Stock { location: settings.show_location(stock.location), ..stock };
        Ok(stock.await?.into_iter().map(shown).collect())
    }

    /// A page of a site's levels, in the order of app id, item id, variant and location, with the
    /// settings by which to show their locations.
    pub async fn list_stock(
        &self,
        id: SiteId,
        after: Option<StockCursor>,
        rows: i64,
    ) -> Result<(Vec<Stock>, SiteSettings), Error> {
        let settings = self.site(id).await?.map(|(settings, _)| settings).unwrap_or_default();
        let found = self.read(move |readers| list_levels(readers, id, after.as_ref(), rows)).await?;
        Ok((found.into_iter().map(stock_row).collect(), settings))
    }

    /// A page of a site's ledger, oldest first.
    pub async fn list_entries(&self, id: SiteId, filter: EntryFilter, rows: i64) -> Result<Vec<Entry>, Error> {
        let settings = self.site(id).await?.map(|(settings, _)| settings).unwrap_or_default();
        let unit = match &filter.unit {
            None => None,
            Some(reference) => {
                Some(settings.place(id, reference, None).map_err(|_| Error::VariantTooLarge { item: 0 })?.unit_id)
            }
        };
        let EntryFilter { order, unit: _, after_sequence, up_to_sequence } = filter;
        let found = self.read(move |readers| {
            let rows: Vec<EntryColumns> = on_either!(readers, |connection| {
                let mut query = entry_query!().filter(ledger::site_id.eq(id)).into_boxed();
                query = query.filter(ledger::sequence.gt(after_sequence));
                if let Some(order) = order {
                    query = query.filter(change::site_id.eq(id).and(change::order_id.eq(order)));
                }
                if let Some(unit) = unit {
                    query = query.filter(ledger::unit_id.eq(unit));
                }
                if let Some(last) = up_to_sequence {
                    query = query.filter(ledger::sequence.le(last));
                }
                query.order(ledger::sequence).limit(rows).load(connection)
            })?;
            rows.into_iter().map(Entry::try_from).collect::<Result<Vec<_>, _>>()
        });
        let shown = |entry: Entry| Entry { location: settings.show_location(entry.location), ..entry };
        Ok(found.await?.into_iter().map(shown).collect())
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), Error> {
        self.read(|readers| on_either!(readers, |connection| diesel::r2d2::R2D2Connection::ping(connection))).await
    }

    async fn read<T: Send + 'static>(
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

type EntryColumns = (
    (i64, i64, Option<LocationId>, i64, i64, bool),
    (String, String, String),
    (i16, i16, Option<OrderId>, String, String, i64),
);

impl TryFrom<EntryColumns> for Entry {
    type Error = StoreError;

    fn try_from(row: EntryColumns) -> Result<Self, StoreError> {
        let (entry, (app_id, item_id, variant), header) = row;
        let (sequence, change_sequence, location, delta, level_after, subscription) = entry;
        let (kind, reason, order, request_id, actor, recorded_at) = header;
        Ok(Self {
            sequence,
            change_sequence,
            unit: Unit { app_id, item_id, variant: Variant::from_text(variant) },
            location,
            delta,
            level_after,
            subscription,
            kind: Kind::from_code(kind).ok_or(StoreError::Damaged("a kind of change this version does not know"))?,
            // A reason only explains; an unknown one from a newer version must not hide the entry.
            reason: Reason::from_code(reason).unwrap_or_default(),
            order,
            request_id,
            actor,
            recorded_at,
        })
    }
}
