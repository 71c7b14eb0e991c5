//! A writer's cache of sites, their levels, units and SKUs, as its last commits left them.
//!
//! Every change of a level raises its site's sequence number, and every change of settings raises the site's revision.
//! While both are what the cache says, the cache is current, and a batch can be decided from it. The write compares
//! both under the site's lock, so an outdated cache is never acted on.

use std::collections::HashMap;

use crate::engine::storage::{LevelRow, Writes};
use crate::model::catalog::Unit;
use crate::model::ids::{LevelId, SiteId, UnitId};
use crate::model::kind::UnitState;
use crate::model::limits;
use crate::model::site::Site;
use crate::model::unit::Sku;

/// The cache of one writer.
#[derive(Default)]
pub(super) struct Cache {
    sites: HashMap<SiteId, CachedSite>,
    /// Levels and SKUs in it; with the sites, bounded by `limits::CACHED_LEVELS_MAX`.
    count: usize,
}

struct CachedSite {
    site: Site,
    /// `None` for a level that is not stored.
    levels: HashMap<LevelId, Option<LevelRow>>,
    /// Units that differ from `UnitState::STOCKED`.
    units: HashMap<UnitId, UnitState>,
    /// `None` for a SKU that no unit has.
    skus: HashMap<Sku, Option<Unit>>,
}

impl Cache {
    /// Takes in a locked site. Its levels are dropped if another server changed anything.
    pub(super) fn lock(&mut self, site: &Site) {
        if self.count + self.sites.len() > limits::CACHED_LEVELS_MAX {
            self.clear();
        }
        let cached = self.sites.entry(site.id).or_insert_with(|| CachedSite::new(site));
        let is_current = cached.site.sequence == site.sequence && cached.site.settings == site.settings;
        if is_current {
            cached.site.recorded_at = site.recorded_at;
        } else {
            self.count = self.count.saturating_sub(cached.levels.len() + cached.skus.len());
            *cached = CachedSite::new(site);
        }
    }

    /// All of `sites`; `None` if one is not cached.
    pub(super) fn sites(&self, sites: &[SiteId]) -> Option<Vec<Site>> {
        sites.iter().map(|site| Some(self.sites.get(site)?.site.clone())).collect()
    }

    /// A level; `None` if it is not cached, `Some(None)` if it is not stored.
    pub(super) fn level(&self, site: SiteId, level: LevelId) -> Option<Option<LevelRow>> {
        self.sites.get(&site)?.levels.get(&level).copied()
    }

    /// The unit of a cached level; `None` for `UnitState::STOCKED`.
    pub(super) fn unit(&self, site: SiteId, unit: UnitId) -> Option<UnitState> {
        self.sites.get(&site)?.units.get(&unit).copied()
    }

    /// The unit that has a SKU; `None` if that is not cached, `Some(None)` if no unit has it.
    pub(super) fn sku(&self, site: SiteId, sku: &Sku) -> Option<Option<&Unit>> {
        self.sites.get(&site)?.skus.get(sku).map(Option::as_ref)
    }

    /// Stores a level of a locked site.
    pub(super) fn store_level(&mut self, site: SiteId, level: LevelId, row: Option<LevelRow>) {
        if let Some(cached) = self.sites.get_mut(&site)
            && cached.levels.insert(level, row).is_none()
        {
            self.count += 1;
        }
    }

    /// Stores a unit of a locked site.
    pub(super) fn store_unit(&mut self, site: SiteId, unit: UnitId, state: UnitState) {
        if let Some(cached) = self.sites.get_mut(&site) {
            cached.units.insert(unit, state);
        }
    }

    /// Stores the unit that has a SKU of a locked site.
    pub(super) fn store_sku(&mut self, site: SiteId, sku: Sku, unit: Option<Unit>) {
        if let Some(cached) = self.sites.get_mut(&site)
            && cached.skus.insert(sku, unit).is_none()
        {
            self.count += 1;
        }
    }

    /// Takes in what was committed.
    pub(super) fn committed(&mut self, writes: &Writes) {
        for write in &writes.sites {
            if let Some(cached) = self.sites.get_mut(&write.before.id) {
                cached.site.sequence = write.sequence;
                cached.site.recorded_at = write.recorded_at;
            }
        }
        for stocked in &writes.stocked_units {
            let cached = self.sites.get_mut(&stocked.site).and_then(|site| site.units.get_mut(&stocked.id));
            if let Some(state) = cached {
                state.stocked = true;
            }
        }
        let new = writes.new_levels.iter().map(|new| (new.site, new.row));
        for (site, row) in writes.levels.iter().copied().chain(new) {
            self.store_level(site, row.id, Some(row));
        }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl CachedSite {
    fn new(site: &Site) -> Self {
        Self { site: site.clone(), levels: HashMap::new(), units: HashMap::new(), skus: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn sites_without_levels_are_bounded_too() {
        let mut cache = Cache::default();
        for number in 0..=limits::CACHED_LEVELS_MAX as u128 + 1 {
            cache.lock(&Site::unwritten(SiteId::from_uuid(Uuid::from_u128(number))));
            assert!(cache.sites.len() <= limits::CACHED_LEVELS_MAX + 1);
        }
        assert!(cache.sites.len() < 10, "it began again");
    }
}
