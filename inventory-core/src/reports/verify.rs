//! Whether the books agree with themselves: a site's whole ledger is added up and compared with every level. Where old
//! entries are archived, the sums begin at the balances as of the cut.
//!
//! Levels are read first, then the entries, page by page, while orders go on. Each level is compared with the entries
//! that it had when it was read. Locations are compared as stored, so a change of the site's settings in the meantime
//! changes nothing.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::catalog::Unit;
use crate::model::entry::Entry;
use crate::model::error::{Error, Invalid};
use crate::model::ids::{LevelId, LocationId, SiteId};
use crate::model::kind::CatalogRules;
use crate::model::level::{ResolvedLevel, Stock};
use crate::model::limits;
use crate::model::retention::Balance;
use crate::model::site::Site;
use crate::store::{EntryFilter, SiteRead, Snapshot, StockFilter, Store, Terms};

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Entries added up so far.
    pub entries: i64,
    /// Entries to add up in all.
    pub expected: i64,
}

/// The result of a verification.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Entries added up.
    pub entries: i64,
    /// Entries that were to be added up.
    pub expected: i64,
    /// Levels compared.
    pub levels: i64,
    /// The sequence number of the last archived entry; 0 if none is archived.
    pub cut: i64,
    /// The levels that differ, in the order of their keys.
    pub differences: Vec<Difference>,
    /// The site after the last read.
    pub site: Site,
}

/// A level that differs from the sum of its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The level.
    pub level: ResolvedLevel,
    /// The level as stored; 0 if it has no row.
    pub available: i64,
    /// Its revision as stored.
    pub revision: i64,
    /// The sum of its entries, and of its balance as of the cut.
    pub recomputed: i64,
    /// The number of its entries, archived ones included.
    pub entries: i64,
}

/// Why a verification has no result.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Nothing was ever written for the site.
    #[error("nothing was ever written for this site")]
    NoSuchSite,
    /// The ledger itself is damaged, so there is nothing to compare with.
    #[error("{0}")]
    Damaged(String),
    /// A read failed.
    #[error(transparent)]
    Read(#[from] Error),
    /// The caller stopped it.
    #[error("the verification was stopped")]
    Stopped,
}

/// Entries between two calls of `progress`.
const REPORT_EVERY: i64 = 10 * limits::PAGE_ROWS_MAX;

/// Verifies a site. `progress` is called before the first entry and about every 10,000 entries; `false` stops.
/// `Invalid::Archived` if entries that were still to be added up are archived meanwhile.
pub async fn verify(
    store: &Store,
    id: SiteId,
    mut progress: impl AsyncFnMut(Progress) -> bool,
) -> Result<Verified, VerifyError> {
    let start = store.read(id, Terms::default(), |_| Ok(())).await?;
    if !start.exists {
        return Err(VerifyError::NoSuchSite);
    }
    let mut sums = Sums::new(id, start.site.sequence);
    let mut site = read_levels(store, &mut sums).await?;
    let cut = read_balances(store, &mut sums).await?;
    let last_needed = sums.last_needed();
    let expected = last_needed - cut;
    if !progress(Progress { entries: 0, expected }).await {
        return Err(VerifyError::Stopped);
    }
    let mut after_sequence = cut;
    while after_sequence < last_needed {
        let filter = EntryFilter { after_sequence, up_to_sequence: Some(last_needed), ..EntryFilter::default() };
        let query = move |snapshot: &mut Snapshot<'_>| {
            // A list that begins at 0 leaves out what is archived.
            match snapshot.cut()?.sequence {
                moved if moved > after_sequence => Err(Invalid::Archived { cut: moved }.into()),
                _ => snapshot.list_entries(&filter, limits::PAGE_ROWS_MAX),
            }
        };
        let read = store.read_page(id, Terms::default(), query).await?;
        site = read.site;
        let Some(last) = read.value.rows.last() else {
            let damage = format!("the ledger ends at {after_sequence}, and the site at {last_needed}");
            return Err(VerifyError::Damaged(damage));
        };
        after_sequence = last.sequence;
        for entry in &read.value.rows {
            sums.add_entry(entry)?;
        }
        let is_due = sums.entries % REPORT_EVERY < limits::PAGE_ROWS_MAX;
        if is_due && !progress(Progress { entries: sums.entries, expected }).await {
            return Err(VerifyError::Stopped);
        }
    }
    let entries = sums.entries;
    let (levels, differences) = sums.finish();
    Ok(Verified { entries, expected, levels, cut, differences, site })
}

async fn read_levels(store: &Store, sums: &mut Sums) -> Result<Site, VerifyError> {
    let mut after = None;
    loop {
        let query = move |snapshot: &mut Snapshot<'_>| {
            snapshot.list_stock(&StockFilter::default(), after.as_ref(), limits::PAGE_ROWS_MAX)
        };
        let SiteRead { site, value: page, .. } = store.read_page(sums.site, Terms::default(), query).await?;
        page.rows.into_iter().for_each(|level| sums.add_level(level));
        match page.next {
            Some(last) => after = Some(last),
            None => return Ok(site),
        }
    }
}

/// Reads the levels as of the cut, which the sums begin with; returns the cut. If it moves meanwhile, reads them anew.
async fn read_balances(store: &Store, sums: &mut Sums) -> Result<i64, VerifyError> {
    loop {
        let (mut balances, mut after) = (Vec::new(), None);
        let mut cuts = Vec::new();
        loop {
            let query = move |snapshot: &mut Snapshot<'_>| {
                Ok((snapshot.cut()?.sequence, snapshot.balances(after, limits::PAGE_ROWS_MAX)?))
            };
            let (cut, page) = store.read_page(sums.site, Terms::default(), query).await?.value;
            cuts.push(cut);
            balances.extend(page.rows);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        cuts.dedup();
        if let [cut] = cuts[..] {
            if cut > sums.known_to {
                // A level that was read before may lack entries that its balance has.
                return Err(Error::Invalid(Invalid::Archived { cut }).into());
            }
            balances.into_iter().for_each(|balance| sums.add_balance(balance));
            sums.last_sequence = cut;
            return Ok(cut);
        }
    }
}

/// Levels, and the sums of their entries so far.
struct Sums {
    site: SiteId,
    /// The site's sequence number before the first level was read.
    known_to: i64,
    levels: HashMap<LevelId, Compared>,
    entries: i64,
    last_sequence: i64,
}

struct Compared {
    unit: Unit,
    location: Option<LocationId>,
    available: i64,
    revision: i64,
    last_sequence: i64,
    sum: i64,
    entries: i64,
}

impl Sums {
    fn new(site: SiteId, known_to: i64) -> Self {
        Self { site, known_to, levels: HashMap::new(), entries: 0, last_sequence: 0 }
    }

    fn add_level(&mut self, level: Stock) {
        let Stock { unit, location, available, revision, last_sequence, settings: _, rules: _ } = level;
        let id = LevelId::of(unit.id(self.site), location);
        let compared = Compared { unit, location, available, revision, last_sequence, sum: 0, entries: 0 };
        self.levels.insert(id, compared);
    }

    /// Begins the sum of a level. One that is new since the first level was read is not compared.
    fn add_balance(&mut self, balance: Balance) {
        let Balance { level, unit, location, available, revision, last_sequence } = balance;
        if !self.levels.contains_key(&level) && last_sequence <= self.known_to {
            let missing = Compared { unit, location, available: 0, revision: 0, last_sequence: 0, sum: 0, entries: 0 };
            self.levels.insert(level, missing);
        }
        if let Some(level) = self.levels.get_mut(&level) {
            (level.sum, level.entries) = (available, revision);
        }
    }

    /// The last sequence number whose entry must be added.
    fn last_needed(&self) -> i64 {
        self.levels.values().map(|level| level.last_sequence).fold(self.known_to, i64::max)
    }

    fn add_entry(&mut self, entry: &Entry) -> Result<(), VerifyError> {
        if entry.sequence != self.last_sequence + 1 {
            let damage = format!("the ledger goes on with {} after {}", entry.sequence, self.last_sequence);
            return Err(VerifyError::Damaged(damage));
        }
        self.last_sequence = entry.sequence;
        self.entries += 1;
        let id = LevelId::of(entry.unit.id(self.site), entry.location);
        if !self.levels.contains_key(&id) {
            // A level that is new since the first one was read is not compared.
            if entry.sequence > self.known_to {
                return Ok(());
            }
            // Its row is missing: it counts as 0.
            let (unit, location) = (entry.unit.clone(), entry.location);
            let missing = Compared { unit, location, available: 0, revision: 0, last_sequence: 0, sum: 0, entries: 0 };
            self.levels.insert(id, missing);
        }
        if let Some(level) = self.levels.get_mut(&id)
            && entry.sequence <= level.last_sequence.max(self.known_to)
        {
            level.sum = level.sum.saturating_add(entry.delta);
            level.entries += 1;
        }
        Ok(())
    }

    /// The number of levels compared, and those that differ.
    fn finish(self) -> (i64, Vec<Difference>) {
        let count = i64::try_from(self.levels.len()).unwrap_or(i64::MAX);
        let difference = |(id, compared): (LevelId, Compared)| {
            let Compared { unit, location, available, revision, last_sequence: _, sum, entries } = compared;
            // A repair compares a level with its ledger, so it does not matter how the unit is counted.
            let catalog = CatalogRules::of(&unit.app_id, None);
            let level = ResolvedLevel { id, unit_id: unit.id(self.site), unit: Arc::new(unit), location, catalog };
            let is_wrong = available != sum || revision != entries;
            is_wrong.then_some(Difference { level, available, revision, recomputed: sum, entries })
        };
        let mut differences: Vec<Difference> = self.levels.into_iter().filter_map(difference).collect();
        differences.sort_unstable_by_key(|difference| difference.level.id);
        (count, differences)
    }
}
