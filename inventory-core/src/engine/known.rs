//! Sites and levels as this writer's last commits left them.
//!
//! Every change of a level raises its site's sequence, and every change of settings, of a unit's, too, their
//! revision. So while both are what they were seen to be, nobody has changed anything since, and a batch can
//! be decided from memory. Whether they still are is found out when the batch is written, under the site's
//! lock: what is known here may be old, but it is never acted on when it is.

use std::collections::HashMap;

use crate::ids::{LevelId, SiteId, UnitId};
use crate::limits;
use crate::store::batch::{LevelRow, LevelWrite, SiteRow, Writes};
use crate::unit::UnitRules;

/// What a writer knows of sites and their levels.
#[derive(Default)]
pub(crate) struct Known {
    sites: HashMap<SiteId, KnownSite>,
    count: usize,
}

struct KnownSite {
    row: SiteRow,
    /// `None` for a level that is not stored.
    levels: HashMap<LevelId, Option<LevelRow>>,
    /// Of those units of the levels that are not counted as all others.
    rules: HashMap<UnitId, UnitRules>,
}

impl Known {
    /// Takes note of a locked site; forgets its levels where somebody else has changed any.
    pub(crate) fn lock(&mut self, row: &SiteRow) {
        if self.count > limits::KNOWN_LEVELS_MAX {
            self.forget();
        }
        let known = self.sites.entry(row.site).or_insert_with(|| KnownSite::new(row));
        if known.row != *row {
            self.count = self.count.saturating_sub(known.levels.len());
            *known = KnownSite::new(row);
        }
    }

    /// All of `sites`, where each is known.
    pub(crate) fn sites(&self, sites: &[SiteId]) -> Option<Vec<SiteRow>> {
        sites.iter().map(|site| Some(self.sites.get(site)?.row.clone())).collect()
    }

    /// What is known of a level of a known site; `None` where nothing is.
    pub(crate) fn level(&self, site: SiteId, level: LevelId) -> Option<Option<LevelRow>> {
        self.sites.get(&site)?.levels.get(&level).copied()
    }

    /// How the unit of a known level is counted; `None` for one that is counted as all others.
    pub(crate) fn rules(&self, site: SiteId, unit: UnitId) -> Option<UnitRules> {
        self.sites.get(&site)?.rules.get(&unit).copied()
    }

    /// Takes note of how a unit of a locked site is counted.
    pub(crate) fn learn_rules(&mut self, site: SiteId, unit: UnitId, rules: UnitRules) {
        if let Some(known) = self.sites.get_mut(&site) {
            known.rules.insert(unit, rules);
        }
    }

    /// Takes note of a level of a locked site, as it is stored.
    pub(crate) fn learn(&mut self, site: SiteId, level: LevelId, row: Option<LevelRow>) {
        if let Some(known) = self.sites.get_mut(&site)
            && known.levels.insert(level, row).is_none()
        {
            self.count += 1;
        }
    }

    /// Takes note of what was committed.
    pub(crate) fn committed(&mut self, writes: &Writes) {
        for write in &writes.sites {
            if let Some(known) = self.sites.get_mut(&write.before.site) {
                known.row.sequence = write.sequence;
            }
        }
        let new = writes.new_levels.iter().map(|new| (new.site, &new.write));
        for (site, write) in writes.levels.iter().map(|(site, write)| (*site, write)).chain(new) {
            let LevelWrite { level, available, revision, last_sequence } = *write;
            self.learn(site, level, Some(LevelRow { level, available, revision, last_sequence }));
        }
    }

    /// Forgets everything.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl KnownSite {
    fn new(row: &SiteRow) -> Self {
        Self { row: row.clone(), levels: HashMap::new(), rules: HashMap::new() }
    }
}
