//! One batch, one transaction:
//!
//! 1. lock the sites (their rows, in the order of their ids);
//! 2. where repeats are expected, find the requests that are recorded;
//! 3. find the levels that the items mean, by the locked settings;
//! 4. decide each command in order of arrival, in memory;
//! 5. write levels, entries, outcomes and sequences;
//! 6. COMMIT. Only then is there an answer to give.
//!
//! This is the only file that begins or ends a transaction that writes stock.

use std::borrow::Cow;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::engine::plan::{Answer, Plan};
use crate::engine::queue::{Pending, SettingsChange};
use crate::engine::settings::SettingsCache;
use crate::error::{Error, StoreError};
use crate::ids::SiteId;
use crate::site::{Place, SiteSettings};
use crate::store::batch::{BatchStore, CommitError, Written};

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

/// Commits a batch and returns its answers in order. After a failure the transaction is still to
/// be rolled back.
pub(crate) fn batch(
    store: &mut dyn BatchStore,
    cache: &SettingsCache,
    batch: &[Pending],
    look_up_repeats: bool,
) -> Result<Vec<Answer>, Failure> {
    let sites = sorted(batch.iter().map(|pending| pending.command.site()));
    let sites = store.begin(&sites)?;
    for row in &sites {
        cache.learn(row.site, &row.settings);
    }
    let mut plan = Plan::new(now_micros(), sites);
    if look_up_repeats {
        let requests = sorted(batch.iter().map(|pending| (pending.command.site(), pending.command.key)));
        plan.know_requests(store.recorded(&requests)?);
    }
    let places: Vec<Result<Cow<'_, [Place]>, Error>> =
        batch.iter().map(|pending| current_places(pending, &plan)).collect();
    let levels = places.iter().flatten().flat_map(|places| places.iter().map(|place| place.level));
    plan.know_levels(store.levels(&sorted(levels))?);
    for (pending, places) in batch.iter().zip(places) {
        match places {
            // Whoever set the deadline has been told that it passed.
            _ if pending.deadline <= Instant::now() => plan.answer(Err(Error::Expired)),
            Ok(places) => plan.decide(&pending.command, &places),
            Err(error) => plan.answer(Err(error)),
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
    store.commit()?;
    Ok(answers)
}

/// Writes a change of settings and returns the new ones with the site's sequence.
pub(crate) fn settings(
    store: &mut dyn BatchStore,
    cache: &SettingsCache,
    site: SiteId,
    change: &SettingsChange,
) -> Result<Result<(SiteSettings, i64), Error>, Failure> {
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
        Some(settings) if settings.revision != pending.settings_revision => {
            SettingsCache::places(settings, &pending.command).map(Cow::Owned)
        }
        Some(_) | None => Ok(Cow::Borrowed(&pending.places)),
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
