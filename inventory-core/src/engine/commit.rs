//! One batch, one transaction:
//!
//! 1. lock the sites (their rows, in the order of their ids);
//! 2. where repeats are expected, find the requests that are recorded;
//! 3. find the levels that the items mean, by the locked settings: in memory where they are known
//!    from the commit before, or else in the store;
//! 4. decide each command in order of arrival, in memory;
//! 5. write levels, entries, outcomes and sequences;
//! 6. COMMIT. Only then is there an answer to give.
//!
//! This is the only file that begins or ends a transaction that writes stock.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::engine::levels::KnownLevels;
use crate::engine::plan::{Answer, Plan};
use crate::engine::queue::{Pending, SettingsChange};
use crate::engine::settings::SettingsCache;
use crate::error::{Error, StoreError};
use crate::ids::{LevelId, SiteId};
use crate::site::{Place, SiteSettings};
use crate::store::batch::{BatchStore, CommitError, LevelRow, Written};

/// Why a transaction gave no answers.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A repeat is among the commands: look repeats up, and run again. Nothing was written.
    RepeatFound,
    /// The store failed before COMMIT, or said that it did not commit. Nothing was written.
    NotWritten(StoreError),
    /// The connection was lost during COMMIT: it may have been written.
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

/// A writer's books: the store, and what is known of it without asking.
pub(crate) struct Books {
    pub(crate) store: Box<dyn BatchStore>,
    pub(crate) settings: Arc<SettingsCache>,
    pub(crate) levels: KnownLevels,
}

/// Commits a batch and returns its answers in order. After a failure the transaction is still to
/// be rolled back.
pub(crate) fn batch(books: &mut Books, batch: &[Pending], look_up_repeats: bool) -> Result<Vec<Answer>, Failure> {
    let Books { store, settings, levels } = books;
    let sites = sorted(batch.iter().map(|pending| pending.command.site()));
    let sites = store.begin(&sites)?;
    for row in &sites {
        settings.learn(row.site, &row.settings);
        levels.lock(row);
    }
    let mut plan = Plan::new(now_micros(), sites);
    let places: Vec<Result<Cow<'_, [Place]>, Error>> =
        batch.iter().map(|pending| current_places(pending, &plan)).collect();
    // What cannot be carried out today may have been carried out before the settings changed.
    if look_up_repeats || places.iter().any(Result::is_err) {
        let requests = sorted(batch.iter().map(|pending| (pending.command.site(), pending.command.key)));
        plan.know_requests(store.recorded(&requests)?);
    }
    let needed =
        batch.iter().zip(&places).filter_map(|(pending, places)| Some((pending.command.site(), places.as_ref().ok()?)));
    let needed = needed.flat_map(|(site, places)| places.iter().map(move |place| (place.level, site)));
    know_levels(&mut plan, levels, store.as_mut(), &sorted(needed))?;
    for (pending, places) in batch.iter().zip(places) {
        match places {
            // Whoever set the deadline has been told that it passed.
            _ if pending.deadline <= Instant::now() => plan.answer(Err(Error::Expired)),
            places => plan.decide(&pending.command, places.as_deref()),
        }
    }
    let (writes, answers) = plan.finish();
    if writes.requests.is_empty() {
        // Only repeats: there is nothing to make durable that is not so already.
        store.rollback()?;
        return Ok(answers);
    }
    if store.write(&writes)? == Written::RepeatFound {
        return Err(Failure::RepeatFound);
    }
    // Until COMMIT has returned, nobody knows what the levels are.
    let known = std::mem::take(levels);
    store.commit()?;
    *levels = known;
    levels.committed(&writes);
    Ok(answers)
}

/// Gives the plan the levels that it needs: from memory, or else from the store.
fn know_levels(
    plan: &mut Plan,
    known: &mut KnownLevels,
    store: &mut dyn BatchStore,
    needed: &[(LevelId, SiteId)],
) -> Result<(), StoreError> {
    let mut missing = Vec::new();
    for &(level, site) in needed {
        match known.get(site, level) {
            Some(Some(row)) => plan.know_level(site, row),
            Some(None) => {}
            None => missing.push((level, site)),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let keys: Vec<LevelId> = missing.iter().map(|(level, _)| *level).collect();
    let found: HashMap<LevelId, LevelRow> = store.levels(&keys)?.into_iter().map(|row| (row.level, row)).collect();
    for (level, site) in missing {
        let row = found.get(&level).copied();
        known.learn(site, level, row);
        if let Some(row) = row {
            plan.know_level(site, row);
        }
    }
    Ok(())
}

/// Writes a change of settings and returns the new ones with the site's sequence.
pub(crate) fn settings(
    books: &mut Books,
    site: SiteId,
    change: &SettingsChange,
) -> Result<Result<(SiteSettings, i64), Error>, Failure> {
    let Books { store, settings: cache, levels: _ } = books;
    let mut rows = store.begin(&[site])?;
    let row = rows.pop().ok_or(StoreError::Damaged("no row for a site that was just locked"))?;
    let mut settings = row.settings;
    if let Some(location) = change.default_location
        && settings.default_location != Some(location)
    {
        if store.location_in_use(site, location)? {
            store.rollback()?;
            return Ok(Err(Error::LocationInUse));
        }
        settings.default_location = Some(location);
    }
    for (app_id, keys) in &change.option_keys {
        match keys {
            Some(keys) => settings.option_keys.insert(app_id.clone(), keys.clone()),
            None => settings.option_keys.remove(app_id),
        };
    }
    settings.revision = settings.revision.saturating_add(1);
    store.write_settings(site, &settings)?;
    store.commit()?;
    cache.learn(site, &settings);
    Ok(Ok((settings, row.sequence)))
}

/// What the command's items mean now: settings may have changed since it was submitted.
fn current_places<'a>(pending: &'a Pending, plan: &Plan) -> Result<Cow<'a, [Place]>, Error> {
    let site = pending.command.site();
    match plan.settings(site) {
        // Compared whole: after a failover, another change may bear the same revision.
        Some(settings) if *settings != *pending.settings => {
            SettingsCache::places(settings, &pending.command).map(Cow::Owned)
        }
        Some(_) | None => pending.places.as_deref().map(Cow::Borrowed).map_err(Error::clone),
    }
}

fn sorted<T: Ord>(keys: impl Iterator<Item = T>) -> Vec<T> {
    let mut keys: Vec<T> = keys.collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
