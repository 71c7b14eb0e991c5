//! Reading units and their settings.

use std::sync::Arc;

use diesel::prelude::*;

use super::{Page, Snapshot};
use crate::model::catalog::Unit;
use crate::model::error::Error;
use crate::model::kind::UnitRules;
use crate::model::unit::{ConfiguredUnit, UnitSelector, UnitSettings};
use crate::store::connection::on;
use crate::store::records::{SettingsRecord, UnitRecord};
use crate::store::shared;
use crate::store::tables::unit;

/// Which units of a site are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UnitScope {
    /// All units.
    #[default]
    Site,
    /// Those of a catalog app.
    App(String),
    /// Those of an item of a catalog app: its variants.
    Item(String, String),
}

/// Narrows a boxed query on `unit` to a scope, and to the units that compare with the unit `$last` as `$compare` says.
/// Row comparisons are what the index on these columns answers; diesel has no word for them. Columns that the scope
/// fixes are left out: beside an equality, the index would not use the comparison.
macro_rules! narrow {
    ($query:ident, $scope:expr, $last:expr, $compare:literal) => {{
        use diesel::dsl::sql;
        use diesel::sql_types::{Bool, Text};
        $query = match $scope {
            UnitScope::Site => $query,
            UnitScope::App(app_id) => $query.filter(unit::app_id.eq(app_id)),
            UnitScope::Item(app_id, item_id) => $query.filter(unit::app_id.eq(app_id).and(unit::item_id.eq(item_id))),
        };
        if let Some(Unit { app_id, item_id, variant }) = $last {
            $query = match $scope {
                UnitScope::Site => $query.filter(
                    sql::<Bool>(concat!("(unit.app_id, unit.item_id, unit.variant) ", $compare, " ("))
                        .bind::<Text, _>(app_id)
                        .sql(", ")
                        .bind::<Text, _>(item_id)
                        .sql(", ")
                        .bind::<Text, _>(variant.as_str())
                        .sql(")"),
                ),
                UnitScope::App(_) => $query.filter(
                    sql::<Bool>(concat!("(unit.item_id, unit.variant) ", $compare, " ("))
                        .bind::<Text, _>(item_id)
                        .sql(", ")
                        .bind::<Text, _>(variant.as_str())
                        .sql(")"),
                ),
                UnitScope::Item(..) => $query
                    .filter(sql::<Bool>(concat!("unit.variant ", $compare, " ")).bind::<Text, _>(variant.as_str())),
            };
        }
    }};
}

pub(super) use narrow;

impl Snapshot<'_> {
    /// A unit with its settings; `None` if nothing was ever written for it.
    pub fn unit(&mut self, selector: &UnitSelector) -> Result<Option<ConfiguredUnit>, Error> {
        let level = self.resolve_one(selector, None)?;
        let found = shared::units(self.connection()?, &[level.unit_id])?.pop();
        Ok(found.map(|(_, settings)| self.configured(Arc::unwrap_or_clone(level.unit), settings)))
    }

    /// A unit with its settings, which are the default ones if nothing was ever written for it.
    pub fn configured_unit(&mut self, selector: &UnitSelector) -> Result<ConfiguredUnit, Error> {
        let level = self.resolve_one(selector, None)?;
        let found = shared::units(self.connection()?, &[level.unit_id])?.pop();
        let settings = found.map(|(_, settings)| settings).unwrap_or_default();
        Ok(self.configured(Arc::unwrap_or_clone(level.unit), settings))
    }

    /// A page of the site's units in the order of app id, item id and variant, after `after`.
    pub fn list_units(
        &mut self,
        scope: &UnitScope,
        after: Option<&Unit>,
        rows: i64,
    ) -> Result<Page<ConfiguredUnit, Unit>, Error> {
        let id = self.site.id;
        let found: Vec<(UnitRecord, SettingsRecord)> = on!(self.connection()?, |c| {
            let mut query = unit::table
                .filter(unit::site_id.eq(id))
                .select((UnitRecord::as_select(), SettingsRecord::as_select()))
                .into_boxed();
            narrow!(query, scope, after, ">");
            query.order((unit::app_id, unit::item_id, unit::variant)).limit(rows + 1).load(c)
        })?;
        let configured = |(unit, settings): (UnitRecord, SettingsRecord)| -> Result<_, Error> {
            Ok(self.configured(unit.into(), settings.try_into()?))
        };
        let units = found.into_iter().map(configured).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(units, rows, |configured| configured.unit.clone()))
    }

    fn configured(&self, unit: Unit, settings: UnitSettings) -> ConfiguredUnit {
        let rules = UnitRules::in_force(&settings.state, &self.site.settings.catalog_rules(&unit.app_id));
        ConfiguredUnit { unit, settings, rules }
    }
}
