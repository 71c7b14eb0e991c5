//! Removes from the database what the files of an archive hold.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use inventory_core::engine::retention::{Keeper, RetentionError};
use inventory_core::model::error::{StoreError, Trouble};
use inventory_core::model::ids::{SiteId, parse_guid};
use inventory_core::store::{EntryFilter, Snapshot, Store, Terms};

use super::super::progress;
use super::manifest::Manifest;
use super::write::SITES;
use crate::encode::timestamp;

/// How often a step is tried that meets locks of others.
const ATTEMPTS_MAX: u32 = 50;
/// The pause before it is tried again.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(100);

/// A row of the list of sites.
struct Archived {
    site: SiteId,
    /// The last entry that the files do not have, because an earlier archive has it.
    after: i64,
    last: i64,
    time: String,
    request_id: String,
}

/// Removes the entries; returns how many there still were.
pub(super) async fn remove(store: &Store, folder: &Path, manifest: &Manifest) -> Result<i64, Box<dyn Error>> {
    let path = folder.join(&manifest.sites.name);
    let told = |error: csv::Error| format!("--to: cannot read {}: {error}", path.display());
    // To connect is a commit. Files whose entries are all removed need none.
    let mut keeper = None;
    let bar = progress(manifest.entries(), "removing");
    let mut removed = 0;
    for row in csv::Reader::from_path(&path).map_err(told)?.records() {
        let row = row.map_err(told)?;
        let archived = archived(&row).ok_or_else(|| format!("--to: {}: not a row of this file", path.display()))?;
        let mut cut = begin(store, &archived).await?;
        while cut < archived.last {
            let connected = match &mut keeper {
                Some(connected) => connected,
                None => keeper.insert(Keeper::connect(store)?),
            };
            let started = Instant::now();
            let now = step(connected, &archived).await?;
            if now <= cut {
                return Err(format!("site {}: the entries after {cut} cannot be removed", archived.site).into());
            }
            removed += now - cut;
            bar.inc(u64::try_from(now - cut).unwrap_or_default());
            cut = now;
            // Half of the time is for the orders of the site.
            tokio::time::sleep(started.elapsed()).await;
        }
    }
    bar.finish_and_clear();
    Ok(removed)
}

fn archived(row: &csv::StringRecord) -> Option<Archived> {
    let [site, after, last, time, request_id] = row.iter().collect::<Vec<_>>()[..] else { return None };
    const { assert!(SITES.len() == 5) };
    Some(Archived {
        site: SiteId::from_uuid(parse_guid(site)?),
        after: after.parse().ok()?,
        last: last.parse().ok()?,
        time: time.to_owned(),
        request_id: request_id.to_owned(),
    })
}

/// The cut of a site, once it is certain that the files are of this database, and have everything that is removed: the
/// last entry must be the same, and the files must begin at the cut or before.
async fn begin(store: &Store, archived: &Archived) -> Result<i64, Box<dyn Error>> {
    let Archived { site, after, last, time, request_id } = archived;
    let last = *last;
    let query = move |snapshot: &mut Snapshot<'_>| {
        let cut = snapshot.cut()?.sequence;
        if cut >= last {
            return Ok((cut, None));
        }
        let filter = EntryFilter { after_sequence: last - 1, up_to_sequence: Some(last), ..EntryFilter::default() };
        Ok((cut, snapshot.list_entries(&filter, 1)?.rows.pop()))
    };
    let (cut, entry) = store.read_page(*site, Terms::default(), query).await?.value;
    let is_same =
        entry.is_some_and(|entry| timestamp(entry.recorded_at).to_string() == *time && entry.request_id == *request_id);
    if cut < last && !is_same {
        let what = format!("entry {last} of the site {site} is another one in this database than in the files");
        return Err(format!("--to: {what}; name the folder of this database's archives").into());
    }
    if cut < *after {
        let what = format!("these files begin after entry {after}, and the database still has those after {cut}");
        return Err(format!("--to: site {site}: {what}; archive the earlier months first").into());
    }
    Ok(cut)
}

/// One step. If somebody else's lock is in the way, it is tried again.
async fn step(keeper: &mut Keeper, archived: &Archived) -> Result<i64, RetentionError> {
    let mut attempt = 1;
    loop {
        match keeper.archive(archived.site, archived.last) {
            Err(RetentionError::Store(StoreError::Conflict(..) | StoreError::Unable(Trouble::LockHeld, _)))
                if attempt < ATTEMPTS_MAX =>
            {
                attempt += 1
            }
            done => return done,
        }
        tokio::time::sleep(ATTEMPT_PAUSE).await;
    }
}
