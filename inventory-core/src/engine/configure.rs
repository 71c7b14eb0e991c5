//! Changes of settings, each a transaction of its own, with its rows in the journal. What to write is decided by pure
//! functions; `commit` commits.

use std::collections::HashMap;
use std::sync::Arc;

use crate::engine::commit::{self, Books, Failure};
use crate::engine::message::ConfiguredUnits;
use crate::engine::storage::{SiteSku, UnitWrite};
use crate::model::access::Author;
use crate::model::catalog::Unit;
use crate::model::error::Invalid;
use crate::model::ids::{SiteId, UnitId};
use crate::model::journal::{Journal, SettingChange};
use crate::model::kind::UnitRules;
use crate::model::level::ResolvedLevel;
use crate::model::limits;
use crate::model::site::{Site, SiteChange};
use crate::model::unit::{ConfiguredUnit, Sku, UnitChange, UnitSelector, UnitSettings};

/// Changes a site's settings. A change that changes nothing writes nothing, unless it creates the site.
pub(super) fn site(books: &mut Books, id: SiteId, change: &SiteChange, author: &Author) -> Result<Site, Failure> {
    let before = commit::lock(books, id)?;
    let settings = change.apply(&before.settings);
    if let Some(location) = settings.default_location
        && before.settings.default_location != Some(location)
        && books.store.location_in_use(id, location)?
    {
        return Err(Invalid::LocationInUse.into());
    }
    if settings.catalogs.len() > limits::CATALOGS_MAX {
        return Err(Invalid::TooManyCatalogs { max: limits::CATALOGS_MAX }.into());
    }
    if settings == before.settings && before.settings.revision > 0 {
        commit::unchanged(books)?;
        return Ok(before);
    }
    let journal = Journal { site: Some(id), author, recorded_at: books.clock.now() };
    books.store.write_journal(&journal.site(&before.settings, &settings))?;
    commit::settings(books, Site { settings, ..before })
}

/// Changes the settings of units, in their order: all or none. Units that are not stored are created.
pub(super) fn units(
    books: &mut Books,
    id: SiteId,
    changes: &[(UnitSelector, UnitChange)],
    author: &Author,
) -> Result<ConfiguredUnits, Failure> {
    let site = commit::lock(books, id)?;
    let sequence = site.sequence;
    let mut known = load(books, &site, changes)?;
    let mut units = Vec::with_capacity(changes.len());
    for (item, (selector, change)) in changes.iter().enumerate() {
        units.push(known.change(&site, item, selector, change)?);
    }
    let journal = Journal { site: Some(id), author, recorded_at: books.clock.now() };
    let (writes, changes) = known.writes(id, &journal);
    if writes.is_empty() {
        commit::unchanged(books)?;
    } else {
        books.store.write_units(&writes)?;
        books.store.write_journal(&changes)?;
        commit::settings(books, site)?;
    }
    Ok(ConfiguredUnits { units, sequence })
}

/// Units and SKUs while changes are applied one after the other.
struct Known {
    /// The stored settings, and those after the changes so far.
    units: HashMap<UnitId, (Option<UnitSettings>, UnitSettings)>,
    /// In the order of their first change.
    changed: Vec<(UnitId, Unit)>,
    /// Which unit has a SKU.
    skus: HashMap<Sku, Option<Unit>>,
}

/// Loads every SKU and unit that the changes name.
fn load(books: &mut Books, site: &Site, changes: &[(UnitSelector, UnitChange)]) -> Result<Known, Failure> {
    let mut named: Vec<SiteSku> = Vec::new();
    for (selector, change) in changes {
        let selected = match selector {
            UnitSelector::Sku(sku) => Some(sku),
            UnitSelector::Reference(_) => None,
        };
        let new = change.sku.as_ref().and_then(Option::as_ref);
        named.extend(selected.into_iter().chain(new).map(|sku| (site.id, sku.clone())));
    }
    named.sort_unstable();
    named.dedup();
    let mut skus: HashMap<Sku, Option<Unit>> = named.iter().map(|(_, sku)| (sku.clone(), None)).collect();
    if !named.is_empty() {
        skus.extend(books.store.units_of_skus(&named)?.into_iter().map(|((_, sku), unit)| (sku, Some(unit))));
    }
    let mut ids: Vec<UnitId> = skus.values().flatten().map(|unit| unit.id(site.id)).collect();
    for (item, (selector, _)) in changes.iter().enumerate() {
        if let UnitSelector::Reference(_) = selector {
            ids.push(select(&skus, site, item, selector)?.unit_id);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    let stored = books.store.units(&ids)?.into_iter().map(|(id, settings)| (id, (Some(settings.clone()), settings)));
    Ok(Known { units: stored.collect(), changed: Vec::new(), skus })
}

/// The unit that a selector means, at the default location.
fn select(
    skus: &HashMap<Sku, Option<Unit>>,
    site: &Site,
    item: usize,
    selector: &UnitSelector,
) -> Result<ResolvedLevel, Invalid> {
    match selector {
        UnitSelector::Reference(reference) => {
            site.settings.resolve(site.id, reference, None).map_err(|why| Invalid::Variant { item, why })
        }
        UnitSelector::Sku(sku) => {
            let unit = skus.get(sku).cloned().flatten().ok_or(Invalid::UnknownSku { item })?;
            Ok(site.settings.level_of(site.id, unit, None))
        }
    }
}

impl Known {
    /// Applies one change.
    fn change(
        &mut self,
        site: &Site,
        item: usize,
        selector: &UnitSelector,
        change: &UnitChange,
    ) -> Result<ConfiguredUnit, Invalid> {
        let ResolvedLevel { unit, unit_id: id, catalog, .. } = select(&self.skus, site, item, selector)?;
        let unit = Arc::unwrap_or_clone(unit);
        let before = self.units.get(&id).map(|(_, now)| now.clone()).unwrap_or_default();
        let settings = change.apply(&before);
        if !settings.state.window.opens() {
            return Err(Invalid::EmptyWindow { item });
        }
        if settings.sku != before.sku {
            if let Some(sku) = &settings.sku {
                if let Some(Some(holder)) = self.skus.get(sku)
                    && *holder != unit
                {
                    return Err(Invalid::SkuTaken { item, unit: Box::new(holder.clone()) });
                }
                self.skus.insert(sku.clone(), Some(unit.clone()));
            }
            if let Some(old) = before.sku {
                self.skus.insert(old, None);
            }
        }
        let (_, now) = self.units.entry(id).or_insert_with(|| (None, UnitSettings::default()));
        *now = settings.clone();
        if self.changed.iter().all(|(known, _)| *known != id) {
            self.changed.push((id, unit.clone()));
        }
        let rules = UnitRules::in_force(&settings.state, &catalog);
        Ok(ConfiguredUnit { unit, settings, rules })
    }

    /// The units whose settings differ from the stored ones, and the rows of the journal. A unit that is only created
    /// has none.
    fn writes(self, site: SiteId, journal: &Journal<'_>) -> (Vec<UnitWrite>, Vec<SettingChange>) {
        let Self { mut units, changed, skus: _ } = self;
        let (mut writes, mut changes) = (Vec::new(), Vec::new());
        for (id, unit) in changed {
            let Some((stored, settings)) = units.remove(&id) else { continue };
            if stored.as_ref() != Some(&settings) {
                changes.extend(journal.unit(&unit, &stored.unwrap_or_default(), &settings));
                writes.push(UnitWrite { site, id, unit, settings });
            }
        }
        (writes, changes)
    }
}
