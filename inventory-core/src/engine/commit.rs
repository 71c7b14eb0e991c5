//! One batch, one transaction. There are two ways to it, which differ in when the sites are locked.
//!
//! A batch of which everything is known from the commits before is decided first, and written by one
//! statement that locks the sites, sees that they still are what they were, writes, and commits: one
//! round trip. Any other batch goes step by step:
//!
//! 1. lock the sites (their rows, in the order of their ids);
//! 2. where repeats are expected, find the requests that are recorded;
//! 3. find the levels that the items mean, by the locked settings: in memory or else in the store; and
//!    what orders did before whose return or second call is to be judged;
//! 4. decide each command in order of arrival, in memory;
//! 5. write levels, entries, outcomes and sequences;
//! 6. COMMIT.
//!
//! Most orders are new, and what an order did before costs a look. So a decrement is decided as the first
//! call of its order, and written only if that is so; where it is not, the batch is decided again with
//! what the store says of its orders. Increments mostly follow something, so their orders are looked up
//! at once: without a lock, since nothing is written unless the site's sequence still is what it was.
//!
//! Only after the commit is there an answer to give. This is the only file that begins or ends a
//! transaction that writes stock.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::command::Action;
use crate::engine::known::Known;
use crate::engine::plan::{Answer, Plan};
use crate::engine::queue::Pending;
use crate::engine::settings::SettingsCache;
use crate::error::{Error, StoreError};
use crate::ids::{LevelId, OrderId, SiteId, UnitId};
use crate::limits;
use crate::order::Question;
use crate::site::Place;
use crate::store::batch::{BatchStore, CommitError, LevelRow, LoadedLevels, Written};
use crate::unit::UnitRules;

/// Why a transaction gave no answers.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A repeat is among the commands: look repeats up, and run again. Nothing was written.
    RepeatFound,
    /// An order that was taken to be new is not: look orders up, and run again. Nothing was written.
    OrderFound,
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
    pub(crate) known: Known,
    /// Batches that are to lock first: others write to the same sites.
    pub(crate) guarded: u32,
}

/// What is asked of the store before a batch is decided, and not left to be found when it is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LookUp {
    /// Which commands are repeats.
    pub(crate) repeats: bool,
    /// What any order did before.
    pub(crate) orders: bool,
}

/// Commits a batch and returns its answers in order. After a failure the transaction is still to
/// be rolled back.
pub(crate) fn batch(books: &mut Books, batch: &[Pending], look_up: LookUp) -> Result<Vec<Answer>, Failure> {
    if batch.iter().any(|pending| matches!(pending.command.action, Action::Repair(_))) {
        // What is repaired is what stands in the store, not what should.
        books.known.forget();
    }
    if books.guarded > 0 {
        books.guarded -= 1;
    } else if !look_up.repeats
        && let Some(answers) = at_once(books, batch, look_up)?
    {
        return Ok(answers);
    }
    step_by_step(books, batch, look_up)
}

/// Commits a batch from what is known; `None` where that is not enough, or is out of date.
fn at_once(books: &mut Books, batch: &[Pending], look_up: LookUp) -> Result<Option<Vec<Answer>>, Failure> {
    let Books { store, settings: _, known, guarded } = books;
    let Some(sites) = known.sites(&sites_of(batch)) else { return Ok(None) };
    let mut plan = Plan::new(now_micros(), sites);
    let places = current_places(batch, &plan);
    if places.iter().any(Result::is_err) || !counts_of(batch, &places).is_empty() {
        return Ok(None);
    }
    if !recall_levels(&mut plan, known, levels_of(batch, &places)).is_empty() {
        return Ok(None);
    }
    load_orders(&mut plan, store.as_mut(), orders_of(batch, look_up.orders))?;
    decide(&mut plan, batch, &places);
    let (writes, answers) = plan.finish();
    if !writes.new_levels.is_empty() {
        return Ok(None);
    }
    if writes.requests.is_empty() {
        return Ok(Some(answers));
    }
    // Until it has returned, nobody knows what the levels are.
    let levels = std::mem::take(known);
    match store.write_at_once(&writes)? {
        Written::All => {
            *known = levels;
            known.committed(&writes);
            Ok(Some(answers))
        }
        Written::RepeatFound => {
            *known = levels;
            Err(Failure::RepeatFound)
        }
        Written::OrderFound => {
            *known = levels;
            Err(Failure::OrderFound)
        }
        Written::Outdated => {
            *guarded = limits::GUARDED_BATCHES;
            Ok(None)
        }
    }
}

fn step_by_step(books: &mut Books, batch: &[Pending], look_up: LookUp) -> Result<Vec<Answer>, Failure> {
    let Books { store, settings, known, guarded: _ } = books;
    let sites = store.begin(&sites_of(batch))?;
    for row in &sites {
        settings.learn(row.site, &row.settings);
        known.lock(row);
    }
    let mut plan = Plan::new(now_micros(), sites);
    let places = current_places(batch, &plan);
    // What cannot be carried out today may have been carried out before the settings changed.
    if look_up.repeats || places.iter().any(Result::is_err) {
        let requests = sorted(batch.iter().map(|pending| (pending.command.site(), pending.command.key)));
        plan.know_requests(store.recorded(&requests)?);
    }
    load_levels(&mut plan, known, store.as_mut(), levels_of(batch, &places))?;
    load_orders(&mut plan, store.as_mut(), orders_of(batch, look_up.orders))?;
    for (site, level, sequence) in counts_of(batch, &places) {
        if sequence <= plan.sequence(site) {
            let available = store.level_at(site, level, plan.last_sequence(level), sequence)?;
            plan.know_past(level, sequence, available);
        }
    }
    decide(&mut plan, batch, &places);
    let (writes, answers) = plan.finish();
    if writes.requests.is_empty() {
        // Only repeats: there is nothing to make durable that is not so already.
        store.rollback()?;
        return Ok(answers);
    }
    match store.write(&writes)? {
        Written::All => {}
        Written::RepeatFound => return Err(Failure::RepeatFound),
        Written::OrderFound => return Err(Failure::OrderFound),
        Written::Outdated => return Err(StoreError::Damaged("a locked site that changed").into()),
    }
    // Until COMMIT has returned, nobody knows what the levels are.
    let levels = std::mem::take(known);
    store.commit()?;
    *known = levels;
    known.committed(&writes);
    Ok(answers)
}

/// Gives the plan the levels that it needs: from memory, or else from the store.
fn load_levels(
    plan: &mut Plan,
    known: &mut Known,
    store: &mut dyn BatchStore,
    needed: Vec<NeededLevel>,
) -> Result<(), StoreError> {
    let missing = recall_levels(plan, known, needed);
    if missing.is_empty() {
        return Ok(());
    }
    let keys: Vec<(LevelId, UnitId)> = missing.iter().map(|(level, unit, _)| (*level, *unit)).collect();
    let LoadedLevels { rows, rules } = store.levels(&keys)?;
    let rows: HashMap<LevelId, LevelRow> = rows.into_iter().map(|row| (row.level, row)).collect();
    let rules: HashMap<UnitId, UnitRules> = rules.into_iter().collect();
    for (level, unit, site) in missing {
        let (row, rules) = (rows.get(&level).copied(), rules.get(&unit).copied());
        known.learn(site, level, row);
        if let Some(row) = row {
            plan.know_level(site, row);
        }
        if let Some(rules) = rules {
            known.learn_rules(site, unit, rules);
            plan.know_rules(unit, rules);
        }
    }
    Ok(())
}

/// Gives the plan what is known of the levels that it needs, and tells those of which nothing is.
fn recall_levels(plan: &mut Plan, known: &Known, needed: Vec<NeededLevel>) -> Vec<NeededLevel> {
    let mut missing = Vec::new();
    for (level, unit, site) in needed {
        match known.level(site, level) {
            Some(row) => {
                if let Some(row) = row {
                    plan.know_level(site, row);
                }
                if let Some(rules) = known.rules(site, unit) {
                    plan.know_rules(unit, rules);
                }
            }
            None => missing.push((level, unit, site)),
        }
    }
    missing
}

/// Gives the plan what orders did before.
fn load_orders(plan: &mut Plan, store: &mut dyn BatchStore, needed: Vec<(SiteId, OrderId)>) -> Result<(), StoreError> {
    if needed.is_empty() {
        return Ok(());
    }
    for ((site, order), past) in needed.iter().zip(store.orders(&needed)?) {
        plan.know_order(*site, *order, past);
    }
    Ok(())
}

/// Decides each command in order of arrival.
fn decide(plan: &mut Plan, batch: &[Pending], places: &[Places<'_>]) {
    for (pending, places) in batch.iter().zip(places) {
        // Whoever set the deadline has been told that it passed.
        if pending.deadline <= Instant::now() {
            plan.answer(Err(Error::Expired));
        } else {
            plan.decide(&pending.command, places.as_deref());
        }
    }
}

/// What the items of a command mean, where they mean anything.
type Places<'a> = Result<Cow<'a, [Place]>, Error>;

/// What the items mean now: settings may have changed since they were submitted.
fn current_places<'a>(batch: &'a [Pending], plan: &Plan) -> Vec<Places<'a>> {
    let current = |pending: &'a Pending| match plan.settings(pending.command.site()) {
        // Compared whole: after a failover, another change may bear the same revision.
        Some(settings) if *settings != *pending.settings => {
            SettingsCache::places(settings, &pending.command).map(Cow::Owned)
        }
        Some(_) | None => pending.places.as_deref().map(Cow::Borrowed).map_err(Error::clone),
    };
    batch.iter().map(current).collect()
}

fn sites_of(batch: &[Pending]) -> Vec<SiteId> {
    sorted(batch.iter().map(|pending| pending.command.site()))
}

/// A level that a batch needs, its unit and its site.
type NeededLevel = (LevelId, UnitId, SiteId);

/// The levels that commands touch, in the order of their keys.
fn levels_of(batch: &[Pending], places: &[Places<'_>]) -> Vec<NeededLevel> {
    let known =
        batch.iter().zip(places).filter_map(|(pending, places)| Some((pending.command.site(), places.as_ref().ok()?)));
    sorted(known.flat_map(|(site, places)| places.iter().map(move |place| (place.level, place.unit_id, site))))
}

/// The orders whose past is looked up: of every return, and, where asked for, of every call that may be a
/// repeat.
fn orders_of(batch: &[Pending], repeats: bool) -> Vec<(SiteId, OrderId)> {
    let asked = batch.iter().filter_map(|pending| {
        let (order, question) = pending.command.question()?;
        match question {
            Question::Return => Some((pending.command.site(), order)),
            Question::Repeat => repeats.then_some((pending.command.site(), order)),
        }
    });
    sorted(asked)
}

/// The levels that are counted as of a sequence.
fn counts_of(batch: &[Pending], places: &[Places<'_>]) -> Vec<(SiteId, LevelId, i64)> {
    let mut counts = Vec::new();
    for (pending, places) in batch.iter().zip(places) {
        if let (Action::Set { targets }, Ok(places)) = (&pending.command.action, places) {
            let counted = targets.iter().zip(places.iter());
            let counted = counted.filter_map(|(target, place)| Some((place.level, target.as_of?)));
            counts.extend(counted.map(|(level, sequence)| (pending.command.site(), level, sequence)));
        }
    }
    counts
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
