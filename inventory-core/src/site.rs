//! A site's settings, and what they make of a request's places.

use std::collections::BTreeMap;

use crate::catalog::{CatalogReference, Unit, VariantTooLarge};
use crate::ids::{LevelId, LocationId, SiteId, UnitId};
use crate::order::OrderPolicies;

/// What a site has settled about its stock as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteSettings {
    /// The id of the place that is meant when a request names none. Stock of the default
    /// location follows the role: naming the location, or renaming it, moves nothing.
    pub default_location: Option<LocationId>,
    /// Per catalog app id: the option keys that identify stock, in place of the built-in rule.
    pub option_keys: BTreeMap<String, Vec<String>>,
    /// What is done about orders that look wrong.
    pub order_policies: OrderPolicies,
    /// Raised by one with every change, of a unit's settings, too; 0 for a site that never set anything.
    pub revision: i64,
}

/// A level that a request touches, found by the site's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The level's key.
    pub level: LevelId,
    /// The unit's key.
    pub unit_id: UnitId,
    /// The unit itself.
    pub unit: Unit,
    /// Where; `None` is the default location.
    pub location: Option<LocationId>,
}

impl SiteSettings {
    /// The level that `reference` at `location` means on `site`.
    pub fn place(
        &self,
        site: SiteId,
        reference: &CatalogReference,
        location: Option<LocationId>,
    ) -> Result<Place, VariantTooLarge> {
        let keys = self.option_keys.get(reference.app_id()).map(Vec::as_slice);
        Ok(self.place_of(site, Unit::of(reference, keys)?, location))
    }

    /// The level of a unit at `location`.
    pub fn place_of(&self, site: SiteId, unit: Unit, location: Option<LocationId>) -> Place {
        let unit_id = UnitId::of(site, &unit);
        let location = self.fold_location(location);
        Place { level: LevelId::of(unit_id, location), unit_id, unit, location }
    }

    /// Absent and the default location's id are the same place.
    pub fn fold_location(&self, location: Option<LocationId>) -> Option<LocationId> {
        location.filter(|_| location != self.default_location)
    }

    /// The id under which a stored location is shown: the default location's, once it has one.
    pub fn show_location(&self, location: Option<LocationId>) -> Option<LocationId> {
        location.or(self.default_location)
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
        let level = |location| settings.place(site, &reference, location).map(|place| place.level);
        assert_eq!(level(None), level(Some(a)));
        assert_ne!(level(None), level(Some(b)));
        assert_eq!(settings.show_location(None), Some(a));
        let unnamed = SiteSettings::default();
        assert_eq!(unnamed.place(site, &reference, None).map(|place| place.level), level(Some(a)));
    }
}
