//! `WatchEntries`: follows a site's ledger for as long as somebody reads.
//!
//! An idle watcher reads nothing: it waits until its site's known sequence number grows. The engine raises that number
//! for this server's commits, and [`look_for_commits`] for those of other servers: one task for the whole server, which
//! asks the store only while somebody watches. Sequence numbers are given out under the site's lock, so a reader that
//! sees an entry sees all before it. So reading on after the last sent entry gives every entry once and in order,
//! whichever server wrote it, and a slow reader delays nobody.
//!
//! What watchers have not read is bounded. At most [`MESSAGES_MAX`] messages are on their way to their connections,
//! which count what callers do not take. Nothing is read for a caller that has not taken the message before, or while
//! its connection or the port has as much unread as it may have. The entries stay in the ledger meanwhile.

use std::sync::Arc;
use std::time::Duration;

use inventory_core::engine::feed::{Feed, Watch};
use inventory_core::model::entry::Entry;
use inventory_core::model::error::{Error, Failed, Invalid};
use inventory_core::model::ids::SiteId;
use inventory_core::store::{EntryFilter, Page, SiteRead, Snapshot, Store, Terms};
use inventory_program::with_causes;
use inventory_proto::v1;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::stream::Reader;
use crate::encode;
use crate::page::fit;
use crate::status::{self, Paths, of_error};

/// How often the store is asked for commits of other servers.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a stream sends nothing.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// Entries of one message.
const ENTRIES_MAX: i64 = 200;
/// Messages with entries that are made, or that their connections do not have yet, at a time. Each has at most 1 MiB.
const MESSAGES_MAX: usize = 64;
/// How often a watcher looks whether its caller, and all callers together, take their answers again.
const LOOK_IF_TAKEN_EVERY: Duration = Duration::from_secs(1);
/// Looks after which a watcher gives up.
const LOOKS_MAX: u32 = 60;
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
    /// Held by watchers from a read until the connection has the entries.
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

/// The right to read a page, and then to make a message of it.
struct Turn {
    read: Option<OwnedSemaphorePermit>,
    _message: Option<OwnedSemaphorePermit>,
}

impl Watched {
    /// Gives the reader the entries after the sequence number `after`, and heartbeats. Ends only with an error.
    pub(super) async fn follow(
        mut self,
        store: Store,
        mut after: i64,
        reader: Reader<v1::WatchEntriesResponse>,
    ) -> Result<(), Status> {
        let mut turn = self.turn(after, &reader).await?;
        let mut page = self.first_page(&store, after).await?;
        loop {
            // Another watcher may read while this one makes its message.
            drop(turn.read.take());
            let SiteRead { site, value: Page { rows, next }, .. } = page;
            let looked_at = rows.last().map_or(after, |last| last.sequence);
            let default = site.settings.default_location;
            let encode = |entry| encode::entry(entry, default);
            let (entries, next) = fit(Page { rows, next }, |entry: &Entry| entry.sequence, encode);
            after = next.unwrap_or(looked_at);
            reader.give(v1::WatchEntriesResponse { entries, sequence: after }).await?;
            drop(turn);
            self.watch.sent(after);
            // Nothing more is read for a reader that has not taken this.
            reader.taken().await?;
            if next.is_none() {
                self.wait_after(after, &reader).await?;
            }
            turn = self.turn(after, &reader).await?;
            page = self.next_page(&store, after).await?;
        }
    }

    /// Waits for the right to read a page for a reader. Nothing is read while its connection, or the port, has as much
    /// unread as it may have. RESOURCE_EXHAUSTED if that lasts for a minute.
    async fn turn(&self, after: i64, reader: &Reader<v1::WatchEntriesResponse>) -> Result<Turn, Status> {
        for _ in 0..LOOKS_MAX {
            // Watchers that may not read stay out of the queue of those that may.
            if reader.takes_answers() {
                let message = self.messages.clone().acquire_owned().await.ok();
                let read = self.reads.clone().acquire_owned().await.ok();
                // Others may have got messages meanwhile.
                if reader.takes_answers() {
                    return Ok(Turn { read, _message: message });
                }
            }
            tokio::time::sleep(LOOK_IF_TAKEN_EVERY).await;
            // Finds out whether it is this reader that does not read. Then it loses its connection.
            reader.send(heartbeat(after)).await?;
        }
        Err(status::unread_answers())
    }

    /// The first entries after `after`, perhaps none. INVALID_ARGUMENT if the ledger is shorter, ENTRIES_ARCHIVED if
    /// some of them are archived.
    async fn first_page(&self, store: &Store, after: i64) -> Result<EntriesRead, Status> {
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
        let query = move |snapshot: &mut Snapshot<'_>| snapshot.list_entries(&after_sequence(after), ENTRIES_MAX);
        let terms = Terms { at_least_sequence: after.saturating_add(1), ..Terms::default() };
        let read = store.read_page(self.site, terms, query);
        read.await.map_err(|error| of_error(error, Paths::WATCH))
    }

    /// Waits until the site has an entry after `after`, and gives the reader heartbeats meanwhile.
    async fn wait_after(&mut self, after: i64, reader: &Reader<v1::WatchEntriesResponse>) -> Result<(), Status> {
        let next = after.saturating_add(1);
        while tokio::time::timeout(HEARTBEAT_EVERY, self.watch.reaches(next)).await.is_err() {
            reader.send(heartbeat(after)).await?;
        }
        Ok(())
    }
}

/// A message without entries: those up to `after` have been sent.
fn heartbeat(after: i64) -> v1::WatchEntriesResponse {
    v1::WatchEntriesResponse { entries: Vec::new(), sequence: after }
}

fn after_sequence(after_sequence: i64) -> EntryFilter {
    EntryFilter { after_sequence, ..EntryFilter::default() }
}
