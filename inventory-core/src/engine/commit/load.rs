//! What a batch needs before it can be decided: which sites, levels and orders, and how they are loaded.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::engine::batch::Batch;
use crate::engine::cache::Cache;
use crate::engine::message::{Change, Pending};
use crate::engine::resolve::{Resolution, resolve_with, skus_of};
use crate::engine::storage::{BatchStore, LevelRow, LoadedLevels, SiteSku};
use crate::model::action::Action;
use crate::model::error::{Failed, Invalid, StoreError};
use crate::model::ids::{LevelId, RequestKey, SiteId, UnitId};
use crate::model::kind::UnitState;
use crate::model::level::ResolvedLevel;
use crate::model::order::OrderKey;
use crate::rules::order_history::{Question, question};

/// The levels that the items of a command mean, or why they mean none.
pub(super) type Levels<'a> = Result<Cow<'a, [ResolvedLevel]>, Invalid>;

/// A level that a batch needs, its unit and its site.
pub(super) type NeededLevel = (LevelId, UnitId, SiteId);

/// Resolves each command by the batch's settings and the cache; `None` if a SKU is not cached.
pub(super) fn resolve_cached<'a>(pending: &'a [Pending], batch: &Batch, cache: &Cache) -> Option<Vec<Levels<'a>>> {
    let is_cached = |(change, _): &Pending| {
        let site = change.command.site();
        !needs_skus(change) || skus_of(&change.command).all(|sku| cache.sku(site, sku).is_some())
    };
    pending.iter().all(is_cached).then(|| pending.iter().map(|(change, _)| current(change, batch, cache)).collect())
}

/// Resolves each command by the batch's settings; SKUs that are not cached are looked up.
pub(super) fn resolve<'a>(
    pending: &'a [Pending],
    batch: &Batch,
    cache: &mut Cache,
    store: &mut dyn BatchStore,
) -> Result<Vec<Levels<'a>>, StoreError> {
    let named = pending.iter().filter(|(change, _)| needs_skus(change)).flat_map(|(change, _)| {
        let site = change.command.site();
        skus_of(&change.command).map(move |sku| (site, sku))
    });
    let missing = named.filter(|(site, sku)| cache.sku(*site, sku).is_none());
    let missing: Vec<SiteSku> = sorted(missing.map(|(site, sku)| (site, sku.clone())));
    if !missing.is_empty() {
        let mut found: HashMap<SiteSku, _> = store.units_of_skus(&missing)?.into_iter().collect();
        for (site, sku) in missing {
            let key = (site, sku);
            let unit = found.remove(&key);
            cache.store_sku(site, key.1, unit);
        }
    }
    Ok(pending.iter().map(|(change, _)| current(change, batch, cache)).collect())
}

fn needs_skus(change: &Change) -> bool {
    matches!(change.resolution, Resolution::NamesSku)
}

/// The levels of a command by the batch's settings, which may be newer than those of the caller's thread.
fn current<'a>(change: &'a Change, batch: &Batch, cache: &Cache) -> Levels<'a> {
    let site = change.command.site();
    // A batch holds the site of each of its commands. Settings are compared whole: after a failover, another change
    // may have the same revision.
    let settings = batch.settings(site).unwrap_or(&change.settings);
    match &change.resolution {
        Resolution::Levels(levels) if *settings == *change.settings => Ok(Cow::Borrowed(levels)),
        Resolution::Invalid(invalid) if *settings == *change.settings => Err(invalid.clone()),
        Resolution::Levels(_) | Resolution::Invalid(_) | Resolution::NamesSku => {
            let unit_of = |item, sku: &_| cache.sku(site, sku).flatten().cloned().ok_or(Invalid::UnknownSku { item });
            resolve_with(settings, &change.command, unit_of).map(Cow::Owned)
        }
    }
}

/// Loads the levels that the batch needs, from the cache or else from the store.
pub(super) fn levels(
    batch: &mut Batch,
    cache: &mut Cache,
    store: &mut dyn BatchStore,
    needed: Vec<NeededLevel>,
) -> Result<(), StoreError> {
    let missing = cached_levels(batch, cache, needed);
    if missing.is_empty() {
        return Ok(());
    }
    let keys: Vec<(LevelId, UnitId)> = missing.iter().map(|(level, unit, _)| (*level, *unit)).collect();
    let LoadedLevels { rows, units } = store.levels(&keys)?;
    let rows: HashMap<LevelId, LevelRow> = rows.into_iter().map(|row| (row.id, row)).collect();
    let units: HashMap<UnitId, UnitState> = units.into_iter().collect();
    for (level, unit, site) in missing {
        let (row, state) = (rows.get(&level).copied(), units.get(&unit).copied());
        cache.store_level(site, level, row);
        if let Some(row) = row {
            batch.add_level(site, row);
        }
        if let Some(state) = state {
            cache.store_unit(site, unit, state);
            batch.add_unit(unit, state);
        }
    }
    Ok(())
}

/// Takes the cached levels into the batch; returns those that are not cached.
pub(super) fn cached_levels(batch: &mut Batch, cache: &Cache, needed: Vec<NeededLevel>) -> Vec<NeededLevel> {
    let mut missing = Vec::new();
    for (level, unit, site) in needed {
        match cache.level(site, level) {
            Some(row) => {
                if let Some(row) = row {
                    batch.add_level(site, row);
                }
                if let Some(state) = cache.unit(site, unit) {
                    batch.add_unit(unit, state);
                }
            }
            None => missing.push((level, unit, site)),
        }
    }
    missing
}

/// Loads the histories of orders.
pub(super) fn orders(batch: &mut Batch, store: &mut dyn BatchStore, needed: Vec<OrderKey>) -> Result<(), StoreError> {
    if needed.is_empty() {
        return Ok(());
    }
    for (order, history) in needed.iter().zip(store.orders(&needed)?) {
        batch.add_order(*order, history);
    }
    Ok(())
}

/// Loads levels as of the sequence numbers that counts name.
pub(super) fn past_levels(
    batch: &mut Batch,
    store: &mut dyn BatchStore,
    counts: Vec<(SiteId, LevelId, i64)>,
) -> Result<(), StoreError> {
    for (site, level, sequence) in counts {
        if sequence <= batch.sequence(site) {
            let past = store.level_at(site, level, batch.last_sequence(level), sequence)?;
            batch.add_past_level(level, sequence, past);
        }
    }
    Ok(())
}

/// Answers each command in order of arrival. A command whose deadline has passed is dropped.
pub(super) fn process(batch: &mut Batch, pending: &[Pending], levels: &[Levels<'_>]) {
    for ((change, ticket), levels) in pending.iter().zip(levels) {
        if ticket.is_expired() {
            batch.answer(Err(Failed::Expired.into()));
        } else {
            batch.process(&change.command, levels.as_deref());
        }
    }
}

/// The sites of the commands, in the order of their ids.
pub(in crate::engine) fn sites_of(pending: &[Pending]) -> Vec<SiteId> {
    sorted(pending.iter().map(|(change, _)| change.command.site()))
}

pub(super) fn requests_of(pending: &[Pending]) -> Vec<(SiteId, RequestKey)> {
    sorted(pending.iter().map(|(change, _)| (change.command.site(), change.command.key())))
}

/// The levels that the commands touch, in the order of their keys.
pub(super) fn levels_of(pending: &[Pending], levels: &[Levels<'_>]) -> Vec<NeededLevel> {
    let resolved = pending
        .iter()
        .zip(levels)
        .filter_map(|((change, _), levels)| Some((change.command.site(), levels.as_ref().ok()?)));
    sorted(resolved.flat_map(|(site, levels)| levels.iter().map(move |level| (level.id, level.unit_id, site))))
}

/// The orders whose history is loaded: that of every return, and with `load_orders` of every possible duplicate.
pub(super) fn orders_of(pending: &[Pending], load_orders: bool) -> Vec<OrderKey> {
    let asked = pending.iter().filter_map(|(change, _)| {
        let (order, question) = question(&change.command)?;
        let is_loaded = match question {
            Question::Return => true,
            Question::Duplicate => load_orders,
        };
        is_loaded.then_some((change.command.site(), order))
    });
    sorted(asked)
}

/// The levels that were counted at an earlier sequence number.
pub(super) fn counts_of(pending: &[Pending], levels: &[Levels<'_>]) -> Vec<(SiteId, LevelId, i64)> {
    let mut counts = Vec::new();
    for ((change, _), levels) in pending.iter().zip(levels) {
        if let (Action::Set { targets }, Ok(levels)) = (change.command.action(), levels) {
            let counted = targets.iter().zip(levels.iter());
            let counted = counted.filter_map(|(target, level)| Some((level.id, target.as_of?)));
            counts.extend(counted.map(|(level, sequence)| (change.command.site(), level, sequence)));
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
