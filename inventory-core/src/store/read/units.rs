//! Reading units and their settings.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};

use super::{Page, Snapshot};
use crate::model::catalog::Unit;
use crate::model::error::Error;
use crate::model::unit::{ConfiguredUnit, UnitSelector};
use crate::store::connection::on;
use crate::store::records::{SettingsRecord, UnitRecord};
use crate::store::shared;
use crate::store::tables::unit;

impl Snapshot<'_> {
    /// A unit with its settings; `None` if nothing was ever written for it.
    pub fn unit(&mut self, selector: &UnitSelector) -> Result<Option<ConfiguredUnit>, Error> {
        let level = self.resolve_one(selector, None)?;
        let found = shared::units(&mut self.connection, &[level.unit_id])?.pop();
        Ok(found.map(|(_, settings)| ConfiguredUnit { unit: level.unit, settings }))
    }

    /// A page of the site's units in the order of app id, item id and variant, after `after`.
    pub fn list_units(&mut self, after: Option<&Unit>, rows: i64) -> Result<Page<ConfiguredUnit, Unit>, Error> {
        let id = self.site.id;
        let found: Vec<(UnitRecord, SettingsRecord)> = on!(&mut self.connection, |c| {
            let mut query = unit::table
                .filter(unit::site_id.eq(id))
                .select((UnitRecord::as_select(), SettingsRecord::as_select()))
                .into_boxed();
            if let Some(Unit { app_id, item_id, variant }) = after {
                // A row comparison, which the index on these columns answers. diesel has no word for it.
                let from = sql::<Bool>("(unit.app_id, unit.item_id, unit.variant) > (")
                    .bind::<Text, _>(app_id)
                    .sql(", ")
                    .bind::<Text, _>(item_id)
                    .sql(", ")
                    .bind::<Text, _>(variant.as_str())
                    .sql(")");
                query = query.filter(from);
            }
            query.order((unit::app_id, unit::item_id, unit::variant)).limit(rows + 1).load(c)
        })?;
        let configured = |(unit, settings): (UnitRecord, SettingsRecord)| -> Result<_, Error> {
            Ok(ConfiguredUnit { unit: unit.into(), settings: settings.try_into()? })
        };
        let units = found.into_iter().map(configured).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(units, rows, |configured| configured.unit.clone()))
    }
}
