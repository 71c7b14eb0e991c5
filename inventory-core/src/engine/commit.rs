//! One batch, one transaction. This is the only file that commits, be it stock or settings, so "no answer before
//! COMMIT has returned" can be checked here.
//!
//! A batch commits on one of two paths. They differ in when the sites are locked:
//!
//! - **Optimistic**: everything the batch needs is cached. It is decided first. Then the store locks the sites,
//!   compares their sequence numbers, revisions and times, writes, and commits: one statement and one round trip on
//!   Postgres, a short transaction on SQLite.
//! - **Locked**:
//!   1. lock the sites (their rows, in the order of their ids);
//!   2. if replays are expected, find the recorded requests;
//!   3. resolve the items by the locked settings, and load the levels from the cache or the store, and the histories of
//!      orders that are judged;
//!   4. decide each command in order of arrival, in memory;
//!   5. write levels, entries, outcomes and sequence numbers;
//!   6. COMMIT.
//!
//! Most orders are new, and a look at an order's history costs time. So a decrement is decided as the first call of its
//! order, and the write verifies that it is; if not, the batch runs again with the histories loaded. Increments mostly
//! follow earlier calls, so their histories are loaded first, without a lock: the write compares the site's sequence
//! number anyway.
//!
//! A replay is answered from the record of its first call, and its answer is as durable: a batch of replays alone
//! commits too. On Postgres a record may be visible before a synchronous standby has it: the commit that wrote it lost
//! its connection while it waited. That may have been another server's commit, so no writer can know that there is no
//! such record. But the standby receives the log in order. The locks of the sites' rows are in the log, behind every
//! record that is visible under them, so COMMIT returns when the standby has those records too. On SQLite a commit
//! becomes visible only after it is on the disk, and a new connection syncs what an earlier process left
//! (`store/sqlite.rs`).
//!
//! A batch has one reading of the clock. For each site, its time is that reading or the site's last time, whichever is
//! later; the write refuses a batch whose time would be before the site's. So a site's time never runs backwards, even
//! if several servers with different clocks write to it.

mod load;

pub(super) use self::load::sites_of;

use std::sync::Arc;

use crate::engine::batch::{Answer, Batch};
use crate::engine::cache::Cache;
use crate::engine::clock::Clock;
use crate::engine::feed::Feed;
use crate::engine::health::Pulse;
use crate::engine::measure::{Measures, Retry};
use crate::engine::message::Pending;
use crate::engine::resolve::SettingsCache;
use crate::engine::storage::{BatchStore, CommitError, Writes, Written};
use crate::model::action::Action;
use crate::model::error::{Invalid, StoreError};
use crate::model::ids::SiteId;
use crate::model::limits;
use crate::model::site::Site;

/// Why a transaction gave no answers. Nothing was written unless the variant says otherwise.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request itself is wrong.
    Invalid(Invalid),
    /// A replay is among the commands: look replays up, and run again.
    ReplayFound,
    /// An order that was assumed to be new is not: load the histories of orders, and run again.
    OrderFound,
    /// The store failed before COMMIT, or said that it did not commit.
    NotWritten(StoreError),
    /// The connection was lost during COMMIT. It may have been written.
    Unknown(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::NotWritten(error)
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::NotCommitted(error) => Self::NotWritten(error),
            CommitError::Unknown(error) => Self::Unknown(error),
        }
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

/// What a writer works with: its store, and what it knows without asking the store.
pub(super) struct Books {
    pub(super) store: Box<dyn BatchStore>,
    pub(super) settings: Arc<SettingsCache>,
    pub(super) cache: Cache,
    pub(super) feed: Feed,
    pub(super) clock: Clock,
    /// Told of every commit.
    pub(super) pulse: Pulse,
    pub(super) measures: Measures,
    /// Batches that still take the locked path, because another server writes to the same sites, or holds their rows.
    pub(super) lock_first: u32,
}

/// What a batch asks of the store before it is decided, instead of finding out when it is written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LookUp {
    /// Which commands are replays.
    pub(super) check_replays: bool,
    /// The history of every order, also of orders that are probably new.
    pub(super) load_orders: bool,
}

/// Commits a batch; returns its answers in order. After a failure the transaction is still to be rolled back.
pub(super) fn batch(books: &mut Books, pending: &[Pending], look_up: LookUp) -> Result<Vec<Answer>, Failure> {
    if pending.iter().any(|(change, _)| matches!(change.command.action(), Action::Repair(_))) {
        // A repair compares with what the store holds, not with what the cache says that it holds.
        books.cache.clear();
    }
    if books.lock_first > 0 {
        books.lock_first -= 1;
    } else if !look_up.check_replays
        && let Some(answers) = optimistic(books, pending, look_up)?
    {
        return Ok(answers);
    }
    locked(books, pending, look_up)
}

/// The optimistic path; `None` if the cache does not suffice or is outdated.
fn optimistic(books: &mut Books, pending: &[Pending], look_up: LookUp) -> Result<Option<Vec<Answer>>, Failure> {
    let Books { store, settings: _, cache, feed, clock, pulse, measures, lock_first } = books;
    let Some(sites) = cache.sites(&load::sites_of(pending)) else { return Ok(None) };
    let now = clock.now();
    let mut batch = Batch::new(now, sites, pending.len());
    let Some(levels) = load::resolve_cached(pending, &batch, cache) else { return Ok(None) };
    if levels.iter().any(Result::is_err) || !load::counts_of(pending, &levels).is_empty() {
        return Ok(None);
    }
    if !load::cached_levels(&mut batch, cache, load::levels_of(pending, &levels)).is_empty() {
        return Ok(None);
    }
    load::orders(&mut batch, store.as_mut(), load::orders_of(pending, look_up.load_orders))?;
    load::process(&mut batch, pending, &levels);
    let (mut writes, answers) = batch.finish();
    if !writes.new_levels.is_empty() || !writes.stocked_units.is_empty() {
        return Ok(None);
    }
    if writes.requests.is_empty() {
        // Every command has expired. A replay is always found on the locked path.
        return Ok(Some(answers));
    }
    // Only in a test that has planted a bug, here and on the locked path.
    store.faults().spoil(&mut writes);
    // Until the statement has returned, nobody knows the levels.
    let known = std::mem::take(cache);
    match store.write_and_commit(&writes)? {
        Written::All => {
            *cache = known;
            pulse.committed();
            committed(cache, feed, &writes);
            measures.clock_ahead(ahead_of(now, &writes));
            Ok(Some(answers))
        }
        Written::ReplayFound => {
            *cache = known;
            Err(Failure::ReplayFound)
        }
        Written::OrderFound => {
            *cache = known;
            Err(Failure::OrderFound)
        }
        Written::Outdated => {
            *lock_first = limits::LOCK_FIRST_BATCHES;
            measures.retried(Retry::Outdated);
            store.rollback()?;
            Ok(None)
        }
    }
}

/// The locked path.
fn locked(books: &mut Books, pending: &[Pending], look_up: LookUp) -> Result<Vec<Answer>, Failure> {
    let Books { store, settings, cache, feed, clock, pulse, measures, lock_first: _ } = books;
    let sites = store.begin(&load::sites_of(pending))?;
    for site in &sites {
        settings.store(site.id, &site.settings);
        cache.lock(site);
    }
    let now = clock.now();
    let mut batch = Batch::new(now, sites, pending.len());
    let levels = load::resolve(pending, &batch, cache, store.as_mut())?;
    // A command whose items cannot be resolved today may have been applied before the settings changed.
    if look_up.check_replays || levels.iter().any(Result::is_err) {
        batch.add_recorded(store.recorded(&load::requests_of(pending))?);
    }
    load::levels(&mut batch, cache, store.as_mut(), load::levels_of(pending, &levels))?;
    load::orders(&mut batch, store.as_mut(), load::orders_of(pending, look_up.load_orders))?;
    load::past_levels(&mut batch, store.as_mut(), load::counts_of(pending, &levels))?;
    load::process(&mut batch, pending, &levels);
    let (mut writes, answers) = batch.finish();
    if writes.requests.is_empty() {
        // A record that is visible here need not be on the standby yet: the commit that wrote it may have lost its
        // connection while it waited. The COMMIT of a transaction that locked a row waits for everything before it.
        if answers.iter().any(Result::is_ok) {
            store.commit()?;
        } else {
            store.rollback()?;
        }
        return Ok(answers);
    }
    store.faults().spoil(&mut writes);
    match store.write(&writes)? {
        Written::All => {}
        Written::ReplayFound => return Err(Failure::ReplayFound),
        Written::OrderFound => return Err(Failure::OrderFound),
        Written::Outdated => return Err(StoreError::Damaged("a locked site that changed").into()),
    }
    // Until COMMIT has returned, nobody knows the levels.
    let known = std::mem::take(cache);
    store.commit()?;
    pulse.committed();
    *cache = known;
    committed(cache, feed, &writes);
    measures.clock_ahead(ahead_of(now, &writes));
    Ok(answers)
}

/// Commits changes of settings that are written already, of the site or of its units. The site's revision rises, so
/// that every server's cache of the site is outdated, and every item is resolved anew.
pub(super) fn settings(books: &mut Books, mut site: Site) -> Result<Site, Failure> {
    let Books { store, settings, cache, pulse, .. } = books;
    site.settings.revision = site.settings.revision.saturating_add(1);
    store.write_site(&site)?;
    store.commit()?;
    pulse.committed();
    settings.store(site.id, &site.settings);
    cache.lock(&site);
    Ok(site)
}

/// Ends a change of settings that changes nothing. The settings may come from a commit that was not confirmed, so this
/// one waits for it, as a replay does.
pub(super) fn unchanged(books: &mut Books) -> Result<(), Failure> {
    Ok(books.store.commit()?)
}

/// Commits what a command of the operator has written: the change of a token, a step of archiving, the deletion of a
/// site. No writer of the engine makes these commits.
pub(super) fn by_operator(store: &mut dyn BatchStore) -> Result<(), CommitError> {
    store.commit()
}

/// Commits something that changes nothing, to learn whether commits succeed.
pub(super) fn probe(books: &mut Books) -> Result<(), Failure> {
    books.store.probe()?;
    books.pulse.probed();
    Ok(())
}

fn committed(cache: &mut Cache, feed: &Feed, writes: &Writes) {
    cache.committed(writes);
    for site in writes.sites.iter().filter(|site| site.sequence > site.before.sequence) {
        feed.publish(site.before.id, site.sequence);
    }
}

/// How far the times of a batch are ahead of the clock's reading `now`, in microseconds.
fn ahead_of(now: i64, writes: &Writes) -> i64 {
    writes.sites.iter().map(|site| site.recorded_at.saturating_sub(now)).max().unwrap_or_default()
}

/// Locks one site for a transaction of its own.
pub(super) fn lock(books: &mut Books, site: SiteId) -> Result<Site, Failure> {
    let mut sites = books.store.begin(&[site])?;
    Ok(sites.pop().ok_or(StoreError::Damaged("no row for a site that was just locked"))?)
}
