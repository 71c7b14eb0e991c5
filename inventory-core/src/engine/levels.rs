//! Levels as this writer's last commits left them.
//!
//! Every change of a level raises its site's sequence. So while a site is locked and its sequence
//! is the one that was seen last, nobody has changed a level since, and what is known need not be
//! loaded again: that saves a round trip per batch, and a look-up per item.

use std::collections::HashMap;

use crate::ids::{LevelId, SiteId};
use crate::limits;
use crate::store::batch::{LevelRow, SiteRow, Writes};

/// What a writer knows of the levels of sites.
#[derive(Default)]
pub(crate) struct KnownLevels {
    sites: HashMap<SiteId, Known>,
    count: usize,
}

#[derive(Default)]
struct Known {
    sequence: i64,
    /// `None` for a level that is not stored.
    levels: HashMap<LevelId, Option<LevelRow>>,
}

impl KnownLevels {
    /// Takes note of a locked site; forgets its levels where somebody else has changed any.
    pub(crate) fn lock(&mut self, row: &SiteRow) {
        if self.count > limits::KNOWN_LEVELS_MAX {
            self.forget();
        }
        let known = self.sites.entry(row.site).or_default();
        if known.sequence != row.sequence {
            self.count = self.count.saturating_sub(known.levels.len());
            *known = Known { sequence: row.sequence, levels: HashMap::new() };
        }
    }

    /// What is known of a level of a locked site; `None` where nothing is.
    pub(crate) fn get(&self, site: SiteId, level: LevelId) -> Option<Option<LevelRow>> {
        self.sites.get(&site)?.levels.get(&level).copied()
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
        for (site, sequence) in &writes.sites {
            if let Some(known) = self.sites.get_mut(site) {
                known.sequence = *sequence;
            }
        }
        let new = writes.new_levels.iter().map(|new| (new.site, &new.write));
        for (site, write) in writes.levels.iter().map(|(site, write)| (*site, write)).chain(new) {
            let row = LevelRow { level: write.level, available: write.available, revision: write.revision };
            self.learn(site, write.level, Some(row));
        }
    }

    /// Forgets everything: what was written is not known to be committed.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}
