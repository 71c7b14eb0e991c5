//! `WatchEntries`: a site's ledger, followed for as long as somebody reads.
//!
//! A site's sequences are given out under its lock, so whoever sees an entry sees all before it: to
//! follow the ledger is to read on after the last entry that was told. The database is asked, not
//! the engine, so it does not matter which server wrote an entry, and a slow reader delays nobody.

use std::time::{Duration, Instant};

use inventory_core::ids::SiteId;
use inventory_core::store::{EntryFilter, Store};
use inventory_proto::v1;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::services::stream::Sender;
use crate::{encode, status};

/// How often the ledger is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long nothing is said.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// Entries of one message.
const ENTRIES_MAX: i64 = 500;

/// Follows the ledger after the sequence `after`.
pub(super) async fn watch(
    store: Store,
    site: SiteId,
    mut after: i64,
    stopping: CancellationToken,
    to: Sender<v1::WatchEntriesResponse>,
) -> Result<(), Status> {
    if after > store.sequence(site).await.map_err(status::of_error)? {
        return Err(status::invalid("after_sequence", "is after the last entry of the site"));
    }
    // The first message comes at once: it tells that the watch has begun, and where.
    let mut beat = Instant::now();
    loop {
        let mut entries = Vec::new();
        if store.sequence(site).await.map_err(status::of_error)? > after {
            let filter = EntryFilter { after_sequence: after, ..EntryFilter::default() };
            entries = store.list_entries(site, filter, ENTRIES_MAX).await.map_err(status::of_error)?.entries;
        }
        after = entries.last().map_or(after, |last| last.sequence);
        let quiet = entries.is_empty();
        if !quiet || Instant::now() >= beat {
            let entries = entries.into_iter().map(encode::entry).collect();
            let message = v1::WatchEntriesResponse { entries, sequence: after };
            tokio::select! {
                sent = to.send(Ok(message)) => if sent.is_err() {
                    return Ok(());
                },
                () = stopping.cancelled() => return Err(status::stopping()),
            }
            beat = Instant::now() + HEARTBEAT_EVERY;
        }
        if quiet {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stopping.cancelled() => return Err(status::stopping()),
            }
        }
    }
}
