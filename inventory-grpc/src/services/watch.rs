//! `WatchEntries`: follows a site's ledger for as long as somebody reads.
//!
//! An idle watcher reads nothing: it waits until its site's known sequence number grows. The engine raises that number
//! for this server's commits, and [`look_for_commits`] for those of other servers: one task for the whole server, which
//! asks the store only while somebody watches. Sequence numbers are given out under the site's lock, so a reader that
//! sees an entry sees all before it. So reading on after the last sent entry gives every entry once and in order,
//! whichever server wrote it, and a slow reader delays nobody.

use std::sync::Arc;
use std::time::Duration;

use inventory_core::engine::feed::{Feed, Watch};
use inventory_core::model::entry::Entry;
use inventory_core::model::error::{Error, Failed, Invalid};
use inventory_core::model::ids::SiteId;
use inventory_core::store::{EntryFilter, Page, SiteRead, Snapshot, Store, Terms};
use inventory_program::listen::CallerInfo;
use inventory_program::with_causes;
use inventory_proto::v1;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::stream::Sender;
use crate::encode;
use crate::large;
use crate::page::fit;
use crate::status::{self, Paths, of_error};

/// How often the store is asked for commits of other servers.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a stream sends nothing.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// Entries of one message.
const ENTRIES_MAX: i64 = 200;
/// Time for a reader to take a message.
const TAKE_TIME_MAX: Duration = Duration::from_secs(30);
/// Messages with entries that are made, or wait for their reader, at a time.
const MESSAGES_MAX: usize = 1_024;
/// Watchers that read at a time. When a site with many watchers commits, other reads still get a connection.
const READS_AT_A_TIME: usize = 2;

/// The commits of all servers, as watchers see them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Commits {
    feed: Feed,
    /// Told of every new watcher.
    watched: Arc<Notify>,
    /// Held by watchers while they read.
    reads: Arc<Semaphore>,
    /// Held by watchers from a read until the entries are taken.
    messages: Arc<Semaphore>,
}

impl Commits {
    /// Over the engine's feed.
    pub(crate) fn new(feed: Feed) -> Self {
        let (reads, messages) = (Semaphore::new(READS_AT_A_TIME), Semaphore::new(MESSAGES_MAX));
        Self { feed, watched: Arc::new(Notify::new()), reads: Arc::new(reads), messages: Arc::new(messages) }
    }

    /// Begins to watch a site. Fails if too many watch already.
    pub(super) fn watch(&self, site: SiteId) -> Result<Watched, Failed> {
        let watch = self.feed.watch(site)?;
        self.watched.notify_one();
        Ok(Watched { site, watch, reads: Arc::clone(&self.reads), messages: Arc::clone(&self.messages) })
    }
}

/// Publishes what other servers commit to watched sites. Sleeps while nobody watches. Never ends.
pub(crate) async fn look_for_commits(store: Store, commits: Commits) {
    let Commits { feed, watched, reads: _, messages: _ } = commits;
    let mut failing = false;
    loop {
        let sites = feed.watched();
        if sites.is_empty() {
            watched.notified().await;
            continue;
        }
        match store.sequences(sites).await {
            Ok(sequences) => {
                failing = false;
                sequences.into_iter().for_each(|(site, sequence)| feed.publish(site, sequence));
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(
                        error = with_causes(&error),
                        "commits of other servers are not seen; looking again until they are"
                    );
                }
                failing = true;
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A site that is watched for one stream.
pub(super) struct Watched {
    site: SiteId,
    watch: Watch,
    reads: Arc<Semaphore>,
    messages: Arc<Semaphore>,
}

/// A page of entries, with the site as it was when they were read.
type EntriesRead = SiteRead<Page<Entry, i64>>;

impl Watched {
    /// Sends the entries after the sequence number `after`, and heartbeats. Ends when the server stops. A reader that
    /// takes no message for [`TAKE_TIME_MAX`] loses its connection.
    pub(super) async fn follow(
        mut self,
        store: Store,
        mut after: i64,
        stopping: CancellationToken,
        caller: Option<CallerInfo>,
        to: Sender<v1::WatchEntriesResponse>,
    ) -> Result<(), Status> {
        let mut message = self.messages.clone().acquire_owned().await.ok();
        let mut page = self.first_page(&store, after).await?;
        loop {
            let SiteRead { site, value: Page { rows, next }, .. } = page;
            let looked_at = rows.last().map_or(after, |last| last.sequence);
            let default = site.settings.default_location;
            let encode = |entry| encode::entry(entry, default);
            let (entries, next) = fit(Page { rows, next }, |entry: &Entry| entry.sequence, encode);
            after = next.unwrap_or(looked_at);
            send(&to, &stopping, v1::WatchEntriesResponse { entries, sequence: after }).await?;
            self.watch.sent(after);
            // Nothing more is read for a reader that has not taken this.
            room(&to, &stopping, caller.as_ref()).await?;
            drop(message.take());
            if next.is_none() {
                self.wait_after(after, &stopping, &to, caller.as_ref()).await?;
            }
            message = self.messages.clone().acquire_owned().await.ok();
            page = self.next_page(&store, after).await?;
        }
    }

    /// The first entries after `after`, perhaps none. INVALID_ARGUMENT if the ledger is shorter, ENTRIES_ARCHIVED if
    /// some of them are archived.
    async fn first_page(&self, store: &Store, after: i64) -> Result<EntriesRead, Status> {
        let _permit = self.reads.acquire().await;
        let read = store.read_page(self.site, Terms::default(), move |snapshot| {
            let sequence = snapshot.site().sequence;
            if after > sequence {
                return Err(Error::Invalid(Invalid::AfterLastEntry { sequence }));
            }
            let cut = snapshot.cut()?.sequence;
            if after < cut {
                return Err(Error::Invalid(Invalid::Archived { cut }));
            }
            snapshot.list_entries(&after_sequence(after), ENTRIES_MAX)
        });
        read.await.map_err(|error| of_error(error, Paths::WATCH))
    }

    /// The entries after `after`, at least one: the read waits for it, because the database that is read may lag behind
    /// the one that committed.
    async fn next_page(&self, store: &Store, after: i64) -> Result<EntriesRead, Status> {
        let _permit = self.reads.acquire().await;
        let query = move |snapshot: &mut Snapshot<'_>| snapshot.list_entries(&after_sequence(after), ENTRIES_MAX);
        let terms = Terms { at_least_sequence: after.saturating_add(1), ..Terms::default() };
        let read = store.read_page(self.site, terms, query);
        read.await.map_err(|error| of_error(error, Paths::WATCH))
    }

    /// Waits until the site has an entry after `after`, and sends heartbeats meanwhile.
    async fn wait_after(
        &mut self,
        after: i64,
        stopping: &CancellationToken,
        to: &Sender<v1::WatchEntriesResponse>,
        caller: Option<&CallerInfo>,
    ) -> Result<(), Status> {
        loop {
            tokio::select! {
                () = self.watch.reaches(after.saturating_add(1)) => return Ok(()),
                () = tokio::time::sleep(HEARTBEAT_EVERY) => {
                    send(to, stopping, v1::WatchEntriesResponse { entries: Vec::new(), sequence: after }).await?;
                    room(to, stopping, caller).await?;
                }
                () = stopping.cancelled() => return Err(status::stopping()),
            }
        }
    }
}

fn after_sequence(after_sequence: i64) -> EntryFilter {
    EntryFilter { after_sequence, ..EntryFilter::default() }
}

/// Sends a message. Fails if the server stops before the reader takes it.
async fn send(
    to: &Sender<v1::WatchEntriesResponse>,
    stopping: &CancellationToken,
    message: v1::WatchEntriesResponse,
) -> Result<(), Status> {
    tokio::select! {
        // If the reader has left, `stream` ends the task anyway.
        _ = to.send(Ok(message)) => Ok(()),
        () = stopping.cancelled() => Err(status::stopping()),
    }
}

/// Waits until the reader has taken the messages so far.
async fn room(
    to: &Sender<v1::WatchEntriesResponse>,
    stopping: &CancellationToken,
    caller: Option<&CallerInfo>,
) -> Result<(), Status> {
    tokio::select! {
        // If the reader has left, `stream` ends the task anyway.
        _ = to.reserve() => Ok(()),
        () = tokio::time::sleep(TAKE_TIME_MAX) => {
            if let Some(caller) = caller {
                large::close(caller, "watched entries");
            }
            Err(status::of_failed(Failed::Overloaded))
        }
        () = stopping.cancelled() => Err(status::stopping()),
    }
}
