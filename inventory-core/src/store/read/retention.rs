//! Reading what is left of entries that are gone: the cut of the site, the balances, and the holdings of orders.

use diesel::prelude::*;

use super::{Page, Snapshot};
use crate::model::error::Error;
use crate::model::ids::{LevelId, LocationId, OrderId};
use crate::model::retention::{Balance, Cut, Holding};
use crate::model::unit::UnitSelector;
use crate::store::connection::on;
use crate::store::records::UnitRecord;
use crate::store::retention;
use crate::store::tables::{balance, holding, level, request, unit};

impl Snapshot<'_> {
    /// Up to where the site's entries are gone.
    pub fn cut(&mut self) -> Result<Cut, Error> {
        let id = self.site.id;
        Ok(retention::cut(self.connection()?, id)?)
    }

    /// The level of a unit at a location (`None`: the default location) as of the cut, and the sequence number of its
    /// last entry before it; `None` if it has no such entry.
    pub fn balance_of(
        &mut self,
        unit: &UnitSelector,
        location: Option<LocationId>,
    ) -> Result<Option<(i64, i64)>, Error> {
        let (id, level) = (self.site.id, self.resolve_one(unit, location)?);
        Ok(retention::balance(self.connection()?, id, level.id)?)
    }

    /// A page of the site's levels as of its cut, in the order of their keys, after `after`.
    pub fn balances(&mut self, after: Option<LevelId>, rows: i64) -> Result<Page<Balance, LevelId>, Error> {
        let id = self.site.id;
        let found: Vec<(LevelId, UnitRecord, Option<LocationId>, i64, i64, i64)> = on!(self.connection()?, |c| {
            let mut query = balance::table
                .inner_join(unit::table.on(unit::unit_id.eq(balance::unit_id)))
                .filter(balance::site_id.eq(id))
                .select((
                    balance::level_id,
                    UnitRecord::as_select(),
                    balance::location_id,
                    balance::available,
                    balance::revision,
                    balance::last_sequence,
                ))
                .into_boxed();
            if let Some(after) = after {
                query = query.filter(balance::level_id.gt(after));
            }
            // The site is fixed. To name it lets the index give the order.
            query.order((balance::site_id, balance::level_id)).limit(rows + 1).load(c)
        })?;
        let balance = |(level, unit, location, available, revision, last_sequence): (_, UnitRecord, _, _, _, _)| {
            Balance { level, unit: unit.into(), location, available, revision, last_sequence }
        };
        Ok(Page::cut(found.into_iter().map(balance).collect(), rows, |balance| balance.level))
    }

    /// What an order did by entries that are gone, per unit and location.
    pub fn holdings(&mut self, order: OrderId) -> Result<Vec<Holding>, Error> {
        let id = self.site.id;
        let found: Vec<(UnitRecord, Option<LocationId>, i64, i64)> = on!(self.connection()?, |c| {
            holding::table
                .inner_join(level::table.on(level::level_id.eq(holding::level_id)))
                .inner_join(unit::table.on(unit::unit_id.eq(level::unit_id)))
                .filter(holding::site_id.eq(id).and(holding::order_id.eq(order)))
                .order((holding::site_id, holding::order_id, holding::level_id))
                .select((UnitRecord::as_select(), level::location_id, holding::taken, holding::returned))
                .load(c)
        })?;
        let holding = |(unit, location, taken, returned): (UnitRecord, _, _, _)| Holding {
            unit: unit.into(),
            location,
            taken,
            returned,
        };
        Ok(found.into_iter().map(holding).collect())
    }

    /// The first entry up to `last` that the replay of a recorded request would be answered from; `None` if there is
    /// none. Reads all recorded requests of the site.
    pub fn first_replayable(&mut self, last: i64) -> Result<Option<i64>, Error> {
        let id = self.site.id;
        Ok(on!(self.connection()?, |c| {
            let recorded = request::table.filter(request::site_id.eq(id).and(request::first_sequence.le(last)));
            let with_entries = recorded.filter(request::last_sequence.ge(request::first_sequence));
            with_entries.select(diesel::dsl::min(request::first_sequence)).first(c)
        })?)
    }
}
