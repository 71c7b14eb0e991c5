//! A snapshot: one read transaction of one site. Everything that is read from it belongs to one moment.

use std::collections::HashMap;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::model::catalog::Unit;
use crate::model::error::{Error, Invalid, StoreError};
use crate::model::ids::{LocationId, SiteId};
use crate::model::level::ResolvedLevel;
use crate::model::site::Site;
use crate::model::unit::{Sku, UnitSelector};
use crate::store::connection::{AnyConnection, on};
use crate::store::read::Caller;
use crate::store::records::{SiteRecord, UnitRecord};
use crate::store::tables::{site, unit};

/// One read transaction of one site. Its locations are as stored.
pub struct Snapshot<'a> {
    connection: AnyConnection<'a>,
    pub(super) site: Site,
    exists: bool,
    caller: Caller,
}

impl<'a> Snapshot<'a> {
    /// Begins a read transaction, and reads the site in it.
    pub(super) fn begin(mut connection: AnyConnection<'a>, id: SiteId, caller: Caller) -> Result<Self, StoreError> {
        let begin = match &connection {
            AnyConnection::Sqlite(_) => "BEGIN".to_owned(),
            // A limit of 0 would be none.
            AnyConnection::Postgres(_) => format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {}",
                caller.time_left().as_millis().max(1)
            ),
        };
        on!(&mut connection, |c| c.batch_execute(&begin))?;
        // From here on, dropping it ends the transaction.
        let mut snapshot = Self { connection, site: Site::unwritten(id), exists: false, caller };
        let found: Option<SiteRecord> =
            on!(&mut snapshot.connection, |c| site::table.filter(site::site_id.eq(id)).first(c).optional())?;
        if let Some(record) = found {
            snapshot.site = record.try_into()?;
            snapshot.exists = true;
        }
        Ok(snapshot)
    }

    /// The connection, for the next statements. Fails once nobody waits for the read any more.
    pub(super) fn connection(&mut self) -> Result<&mut AnyConnection<'a>, StoreError> {
        self.caller.waits()?;
        Ok(&mut self.connection)
    }

    /// The site. One that is not stored has sequence number 0 and default settings.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Ends the transaction; returns the site, and whether it is stored.
    pub(super) fn end(self) -> (Site, bool) {
        (self.site.clone(), self.exists)
    }

    /// The level that a unit and a location mean.
    pub(super) fn resolve_one(
        &mut self,
        unit: &UnitSelector,
        location: Option<LocationId>,
    ) -> Result<ResolvedLevel, Error> {
        let mut levels = self.resolve(&[(unit.clone(), location)])?;
        Ok(levels.pop().ok_or(Invalid::UnknownSku { item: 0 })?)
    }

    /// The levels that units and locations mean, in their order.
    pub(super) fn resolve(
        &mut self,
        items: &[(UnitSelector, Option<LocationId>)],
    ) -> Result<Vec<ResolvedLevel>, Error> {
        let sku = |(unit, _): &(UnitSelector, _)| match unit {
            UnitSelector::Sku(sku) => Some(sku.as_str().to_owned()),
            UnitSelector::Reference(_) => None,
        };
        let units = self.units_of_skus(items.iter().filter_map(sku).collect())?;
        let Site { id, settings, .. } = &self.site;
        let level = |(item, (unit, location)): (usize, &(UnitSelector, Option<LocationId>))| match unit {
            UnitSelector::Reference(reference) => {
                settings.resolve(*id, reference, *location).map_err(|why| Invalid::Variant { item, why }.into())
            }
            UnitSelector::Sku(sku) => {
                let unit = units.get(sku).ok_or(Invalid::UnknownSku { item })?;
                Ok(settings.level_of(*id, unit.clone(), *location))
            }
        };
        items.iter().enumerate().map(level).collect()
    }

    fn units_of_skus(&mut self, skus: Vec<String>) -> Result<HashMap<Sku, Unit>, StoreError> {
        if skus.is_empty() {
            return Ok(HashMap::new());
        }
        let id = self.site.id;
        let found: Vec<(Option<String>, UnitRecord)> = on!(self.connection()?, |c| {
            unit::table
                .filter(unit::site_id.eq(id).and(unit::sku.eq_any(&skus)))
                .select((unit::sku, UnitRecord::as_select()))
                .load(c)
        })?;
        Ok(found.into_iter().filter_map(|(sku, unit)| Some((Sku::from_stored(sku?), unit.into()))).collect())
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        // A connection that cannot roll back is broken, and the pool replaces it when it is next taken.
        let _ = on!(&mut self.connection, |c| c.batch_execute("ROLLBACK"));
    }
}
