//! A site's settings, and the levels that its requests mean by them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::catalog::{BadVariant, CatalogReference, Unit};
use crate::model::ids::{LevelId, LocationId, SiteId};
use crate::model::kind::{CatalogRules, CatalogSettings};
use crate::model::level::ResolvedLevel;

/// What happens to a suspected duplicate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SuspectedRepeatPolicy {
    /// It is applied and marked.
    #[default]
    Report,
    /// It is answered as if it were applied, without entries.
    Suppress,
}

/// What happens to an over-return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverReturnPolicy {
    /// It is applied and marked.
    #[default]
    Report,
    /// Only what the order holds is given back. An increment of an order that was never seen is applied and marked.
    Clip,
}

coded!(SuspectedRepeatPolicy { Report = 1, Suppress = 2 });
coded!(OverReturnPolicy { Report = 1, Clip = 2 });

/// A site's policies about orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderPolicies {
    /// For suspected duplicates.
    pub suspected_repeats: SuspectedRepeatPolicy,
    /// For over-returns.
    pub over_returns: OverReturnPolicy,
}

/// The settings of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteSettings {
    /// The id of the default location. Stock at the default location is stored without a location id, so naming or
    /// renaming it moves nothing.
    pub default_location: Option<LocationId>,
    /// Per catalog app id: the settings that differ from the built-in ones; at most `limits::CATALOGS_MAX`.
    pub catalogs: BTreeMap<String, CatalogSettings>,
    /// The policies about orders.
    pub order_policies: OrderPolicies,
    /// Raised by one with every change of the site's settings or of a unit's. 0 for a site that never set anything.
    pub revision: i64,
}

/// Changes of a site's settings. `None` leaves a setting as it is.
#[derive(Clone, Debug, Default)]
pub struct SiteChange {
    /// The default location's id.
    pub default_location: Option<LocationId>,
    /// Per catalog app id, all of its settings; the default ones return to the built-in settings. Other apps stay.
    pub catalogs: Vec<(String, CatalogSettings)>,
    /// The policy for suspected duplicates.
    pub suspected_repeats: Option<SuspectedRepeatPolicy>,
    /// The policy for over-returns.
    pub over_returns: Option<OverReturnPolicy>,
}

impl SiteChange {
    /// The settings after the change. The revision stays: the commit raises it.
    pub fn apply(&self, before: &SiteSettings) -> SiteSettings {
        let Self { default_location, catalogs, suspected_repeats, over_returns } = self;
        let mut after = before.clone();
        after.default_location = default_location.or(before.default_location);
        for (app_id, settings) in catalogs {
            match *settings == CatalogSettings::default() {
                true => after.catalogs.remove(app_id),
                false => after.catalogs.insert(app_id.clone(), settings.clone()),
            };
        }
        let policies = &mut after.order_policies;
        policies.suspected_repeats = suspected_repeats.unwrap_or(policies.suspected_repeats);
        policies.over_returns = over_returns.unwrap_or(policies.over_returns);
        after
    }
}

/// A site as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Which site.
    pub id: SiteId,
    /// The sequence number of its last entry; 0 if it has none.
    pub sequence: i64,
    /// The time of its last batch: microseconds since 1970; 0 if it had none. The next batch is not before it, whatever
    /// the clock of its server says.
    pub recorded_at: i64,
    /// Its settings.
    pub settings: SiteSettings,
}

impl Site {
    /// A site that nothing was ever written for.
    pub fn unwritten(id: SiteId) -> Self {
        Self { id, sequence: 0, recorded_at: 0, settings: SiteSettings::default() }
    }
}

impl SiteSettings {
    /// The level of the unit that `reference` identifies on `site`, at `location`.
    pub fn resolve(
        &self,
        site: SiteId,
        reference: &CatalogReference,
        location: Option<LocationId>,
    ) -> Result<ResolvedLevel, BadVariant> {
        let keys = self.catalogs.get(reference.app_id()).and_then(|catalog| catalog.option_keys.as_deref());
        Ok(self.level_of(site, Unit::of(reference, keys)?, location))
    }

    /// The level of `unit` on `site`, at `location`.
    pub fn level_of(&self, site: SiteId, unit: Unit, location: Option<LocationId>) -> ResolvedLevel {
        let unit_id = unit.id(site);
        let location = self.stored_location(location);
        let catalog = self.catalog_rules(&unit.app_id);
        ResolvedLevel { id: LevelId::of(unit_id, location), unit_id, unit: Arc::new(unit), location, catalog }
    }

    /// What goes for the units of a catalog app that have no settings of their own.
    pub fn catalog_rules(&self, app_id: &str) -> CatalogRules {
        CatalogRules::of(app_id, self.catalogs.get(app_id))
    }

    /// A location as it is stored. Absent and the default location's id are the same level.
    pub fn stored_location(&self, location: Option<LocationId>) -> Option<LocationId> {
        location.filter(|_| location != self.default_location)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn absent_and_the_default_location_are_one_level() {
        let (a, b) = (LocationId::from_uuid(Uuid::from_u128(1)), LocationId::from_uuid(Uuid::from_u128(2)));
        let site = SiteId::from_uuid(Uuid::from_u128(9));
        let settings = SiteSettings { default_location: Some(a), ..SiteSettings::default() };
        let reference = CatalogReference::new("app", "item", Map::new()).expect("in bounds");
        let level = |location| settings.resolve(site, &reference, location).map(|level| level.id);
        assert_eq!(level(None), level(Some(a)));
        assert_ne!(level(None), level(Some(b)));
        let unnamed = SiteSettings::default();
        assert_eq!(unnamed.resolve(site, &reference, None).map(|level| level.id), level(Some(a)));
    }
}
