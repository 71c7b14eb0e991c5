//! The settings of sites that have any, kept so that a caller's own thread can work out what its
//! items mean. A stale copy does no harm: the batch compares settings under the site's lock.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::command::Command;
use crate::error::Error;
use crate::ids::SiteId;
use crate::site::{Place, SiteSettings};

/// Shared by the engine's callers and its writers.
#[derive(Default)]
pub(crate) struct SettingsCache {
    // Sites that never set anything are not in it, so it does not grow with every caller.
    sites: RwLock<HashMap<SiteId, Arc<SiteSettings>>>,
}

impl SettingsCache {
    /// What is known of a site; the settings of a new site when nothing is.
    pub(crate) fn of(&self, site: SiteId) -> Arc<SiteSettings> {
        let sites = self.sites.read().unwrap_or_else(PoisonError::into_inner);
        sites.get(&site).cloned().unwrap_or_default()
    }

    /// Takes note of settings read under the site's lock.
    pub(crate) fn learn(&self, site: SiteId, settings: &SiteSettings) {
        if *self.of(site) != *settings {
            let mut sites = self.sites.write().unwrap_or_else(PoisonError::into_inner);
            sites.insert(site, Arc::new(settings.clone()));
        }
    }

    /// What the items of `command` mean under `settings`.
    pub(crate) fn places(settings: &SiteSettings, command: &Command) -> Result<Vec<Place>, Error> {
        let per_item = command.action.places_per_item();
        let place = |(index, (reference, location))| {
            let item = index / per_item;
            settings.place(command.site(), reference, location).map_err(|_| Error::VariantTooLarge { item })
        };
        command.action.places().enumerate().map(place).collect()
    }
}
