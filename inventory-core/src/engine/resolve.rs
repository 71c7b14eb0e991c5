//! From the units and locations that a command names to the levels that it means.
//!
//! The caller's own thread resolves a command by a shared cache of site settings, so that the writer need not. Stale
//! settings do no harm: the batch compares them under the site's lock, and resolves again if they differ.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::model::action::Action;
use crate::model::catalog::Unit;
use crate::model::command::Command;
use crate::model::error::Invalid;
use crate::model::ids::SiteId;
use crate::model::level::ResolvedLevel;
use crate::model::site::SiteSettings;
use crate::model::unit::{Sku, UnitSelector};

/// What the items of a command mean.
#[derive(Clone, Debug)]
pub(super) enum Resolution {
    /// These levels, in the order of the items.
    Levels(Vec<ResolvedLevel>),
    /// Nothing: an item cannot be resolved.
    Invalid(Invalid),
    /// Not known yet: an item names a SKU, and only the writer knows SKUs.
    NamesSku,
}

/// The settings of sites, shared by callers and writers.
#[derive(Default)]
pub(super) struct SettingsCache {
    // A site with default settings is not in it, so it does not grow with every site.
    sites: RwLock<HashMap<SiteId, Arc<SiteSettings>>>,
}

impl SettingsCache {
    /// The cached settings of a site; the default ones if none are cached.
    pub(super) fn of(&self, site: SiteId) -> Arc<SiteSettings> {
        let sites = self.sites.read().unwrap_or_else(PoisonError::into_inner);
        sites.get(&site).cloned().unwrap_or_default()
    }

    /// Stores settings that were read under the site's lock.
    pub(super) fn store(&self, site: SiteId, settings: &SiteSettings) {
        if *self.of(site) != *settings {
            let mut sites = self.sites.write().unwrap_or_else(PoisonError::into_inner);
            sites.insert(site, Arc::new(settings.clone()));
        }
    }
}

impl From<Invalid> for Resolution {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

/// Resolves a command that names no SKU.
pub(super) fn resolve(settings: &SiteSettings, command: &Command) -> Resolution {
    match resolve_with(settings, command, |_, _| Err(Resolution::NamesSku)) {
        Ok(levels) => Resolution::Levels(levels),
        Err(unresolved) => unresolved,
    }
}

/// Resolves a command. `unit_of` returns the unit that has the SKU of an item, or why there is none.
pub(super) fn resolve_with<E: From<Invalid>>(
    settings: &SiteSettings,
    command: &Command,
    unit_of: impl Fn(usize, &Sku) -> Result<Unit, E>,
) -> Result<Vec<ResolvedLevel>, E> {
    if let Action::Repair(repair) = command.action() {
        return Ok(vec![repair.level.clone()]);
    }
    let per_item = command.action().levels_per_item();
    let level = |(index, (unit, location)): (usize, (&UnitSelector, _))| {
        let item = index / per_item;
        match unit {
            UnitSelector::Reference(reference) => {
                let level = settings.resolve(command.site(), reference, location);
                level.map_err(|why| Invalid::Variant { item, why }.into())
            }
            UnitSelector::Sku(sku) => Ok(settings.level_of(command.site(), unit_of(item, sku)?, location)),
        }
    };
    command.action().named_levels().enumerate().map(level).collect()
}

/// The SKUs that a command names.
pub(super) fn skus_of(command: &Command) -> impl Iterator<Item = &Sku> {
    command.action().named_levels().filter_map(|(unit, _)| match unit {
        UnitSelector::Sku(sku) => Some(sku),
        UnitSelector::Reference(_) => None,
    })
}
