//! Whether the books agree with themselves: a site's whole ledger added up, and compared with every
//! level. No I/O: levels are taken in first, then the entries in their order. Orders may go on
//! meanwhile, because each level is compared with the entries that it had when it was taken in.

use std::collections::HashMap;

use crate::catalog::Unit;
use crate::ids::{LevelId, LocationId, SiteId, UnitId};
use crate::store::{Entry, Stock};

/// The state of a recomputation.
#[derive(Debug)]
pub struct Verification {
    site: SiteId,
    /// The site's last entry before the first level was taken in.
    known_to: i64,
    levels: HashMap<LevelId, Compared>,
    entries: i64,
    last_sequence: i64,
    /// Levels that have entries, and no row.
    missing: HashMap<LevelId, (Unit, Option<LocationId>)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Compared {
    available: i64,
    revision: i64,
    last_sequence: i64,
    sum: i64,
    entries: i64,
}

/// A level that is not what its entries come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which level.
    pub level: LevelId,
    /// What and where, if only the entries know it, because there is no such level.
    pub missing: Option<(Unit, Option<LocationId>)>,
    /// The level as it is stored.
    pub available: i64,
    /// The revision as it is stored.
    pub revision: i64,
    /// What its entries come to.
    pub recomputed: i64,
    /// How many entries it has.
    pub entries: i64,
}

/// The ledger itself is damaged: there is nothing to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger goes on with {found} after {after}")]
pub struct Gap {
    /// The last sequence before.
    pub after: i64,
    /// The sequence that follows.
    pub found: i64,
}

impl Verification {
    /// Begins; `known_to` is the site's sequence now, before any level is read.
    pub fn new(site: SiteId, known_to: i64) -> Self {
        let (levels, missing) = (HashMap::new(), HashMap::new());
        Self { site, known_to, levels, entries: 0, last_sequence: 0, missing }
    }

    /// Takes in a level, with its location as it is stored.
    pub fn level(&mut self, stock: &Stock, location: Option<LocationId>) {
        let Stock { unit, location: _, available, revision, last_sequence, settings: _ } = stock;
        let (available, revision, last_sequence) = (*available, *revision, *last_sequence);
        let compared = Compared { available, revision, last_sequence, ..Compared::default() };
        self.levels.insert(LevelId::of(UnitId::of(self.site, unit), location), compared);
    }

    /// Up to where entries must be taken in.
    pub fn last_needed(&self) -> i64 {
        self.levels.values().map(|level| level.last_sequence).fold(self.known_to, i64::max)
    }

    /// Takes in the next entry, with its location as it is stored.
    pub fn entry(&mut self, entry: &Entry, location: Option<LocationId>) -> Result<(), Gap> {
        if entry.sequence != self.last_sequence + 1 {
            return Err(Gap { after: self.last_sequence, found: entry.sequence });
        }
        self.last_sequence = entry.sequence;
        self.entries += 1;
        let id = LevelId::of(UnitId::of(self.site, &entry.unit), location);
        if !self.levels.contains_key(&id) {
            // A level that is new since the first was taken in is none to compare.
            if entry.sequence > self.known_to {
                return Ok(());
            }
            self.missing.insert(id, (entry.unit.clone(), location));
        }
        let level = self.levels.entry(id).or_default();
        if entry.sequence <= level.last_sequence.max(self.known_to) {
            level.sum = level.sum.saturating_add(entry.delta);
            level.entries += 1;
        }
        Ok(())
    }

    /// Entries taken in so far.
    pub fn entries(&self) -> i64 {
        self.entries
    }

    /// The number of levels compared, and those that differ.
    pub fn finish(mut self) -> (i64, Vec<Difference>) {
        let count = i64::try_from(self.levels.len()).unwrap_or(i64::MAX);
        let mut differences = Vec::new();
        for (level, Compared { available, revision, last_sequence: _, sum, entries }) in self.levels {
            if available != sum || revision != entries {
                let missing = self.missing.remove(&level);
                differences.push(Difference { level, missing, available, revision, recomputed: sum, entries });
            }
        }
        differences.sort_unstable_by_key(|difference| difference.level);
        (count, differences)
    }
}
