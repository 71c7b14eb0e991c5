//! The proof of a whole database: every site's ledger is added up and compared with every level, as `verify` does.

use std::error::Error;

use indicatif::ProgressBar;
use inventory_core::model::limits;
use inventory_core::model::site::Site;
use inventory_core::reports::verify::{Progress, Verified, verify};
use inventory_core::store::Store;

/// What the proof of all sites came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) sites: i64,
    pub(super) entries: i64,
    pub(super) levels: i64,
    /// Levels that differ from the sum of their entries.
    pub(super) differences: usize,
}

/// Levels differ from the ledger.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} levels differ from the sum of their entries, and did so in the database before; \
     `inventory-grpc verify --repair` sets them to it"
)]
pub(super) struct Differ(usize);

/// Proves all sites. The bar moves by the entries that were added up. `told` is called with each site.
pub(super) async fn prove(
    store: &Store,
    bar: &ProgressBar,
    mut told: impl FnMut(&Verified),
) -> Result<Proof, Box<dyn Error>> {
    let (mut proof, mut after) = (Proof::default(), None);
    loop {
        let page = store.list_sites(None, after, limits::PAGE_ROWS_MAX).await?;
        for Site { id, .. } in page.rows {
            let before = bar.position();
            let moved = async |Progress { entries, expected: _ }| {
                bar.set_position(before.saturating_add(u64::try_from(entries).unwrap_or_default()));
                true
            };
            let verified = verify(store, id, moved).await.map_err(|error| format!("the site {id}: {error}"))?;
            bar.set_position(before.saturating_add(u64::try_from(verified.entries).unwrap_or_default()));
            proof.sites += 1;
            proof.entries = proof.entries.saturating_add(verified.entries);
            proof.levels = proof.levels.saturating_add(verified.levels);
            proof.differences = proof.differences.saturating_add(verified.differences.len());
            told(&verified);
        }
        after = page.next;
        if after.is_none() {
            return Ok(proof);
        }
    }
}

impl Proof {
    /// Fails if a level differs.
    pub(super) fn check(&self) -> Result<(), Differ> {
        match self.differences {
            0 => Ok(()),
            many => Err(Differ(many)),
        }
    }
}

impl std::fmt::Display for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sites, entries, levels, differences } = self;
        write!(f, "{sites} sites, {entries} entries, {levels} levels: {differences} differ")
    }
}
