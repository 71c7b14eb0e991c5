//! Changes of settings, each a transaction of its own. Whatever is settled, the site's revision is raised:
//! so every server that remembers something of the site, or took an item to mean something, finds out
//! before it writes.

use crate::catalog::CatalogReference;
use crate::engine::commit::{Books, Failure};
use crate::error::{Error, StoreError};
use crate::ids::{LocationId, SiteId};
use crate::order::{OverReturns, SuspectedRepeats};
use crate::site::SiteSettings;
use crate::store::batch::SiteRow;
use crate::unit::{SettledUnit, UnitChange, UnitSettings};

/// What to change about a site's settings; what is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct SettingsChange {
    /// The default location's id.
    pub default_location: Option<LocationId>,
    /// Per catalog app id, the option keys that identify stock; `None` returns to the built-in
    /// rule. Apps that are not listed stay as they are.
    pub option_keys: Vec<(String, Option<Vec<String>>)>,
    /// What is done about suspected repeats.
    pub suspected_repeats: Option<SuspectedRepeats>,
    /// What is done about over-returns.
    pub over_returns: Option<OverReturns>,
}

/// What came of a change of settings.
type Settled<T> = Result<Result<T, Error>, Failure>;

/// Writes a change of a site's settings; returns the new ones and the site's sequence.
pub(crate) fn site(books: &mut Books, site: SiteId, change: &SettingsChange) -> Settled<(SiteSettings, i64)> {
    let SiteRow { site, sequence, mut settings } = locked(books, site)?;
    let SettingsChange { default_location, option_keys, suspected_repeats, over_returns } = change;
    if let Some(location) = *default_location
        && settings.default_location != Some(location)
    {
        if books.store.location_in_use(site, location)? {
            return give_up(books, Error::LocationInUse);
        }
        settings.default_location = Some(location);
    }
    for (app_id, keys) in option_keys {
        match keys {
            Some(keys) => settings.option_keys.insert(app_id.clone(), keys.clone()),
            None => settings.option_keys.remove(app_id),
        };
    }
    let policies = &mut settings.order_policies;
    policies.suspected_repeats = suspected_repeats.unwrap_or(policies.suspected_repeats);
    policies.over_returns = over_returns.unwrap_or(policies.over_returns);
    Ok(Ok((commit(books, SiteRow { site, sequence, settings })?, sequence)))
}

/// Writes a change of a unit's settings, making the unit where it is new; returns it with the site's
/// sequence.
pub(crate) fn unit(
    books: &mut Books,
    site: SiteId,
    reference: &CatalogReference,
    change: &UnitChange,
) -> Settled<(SettledUnit, i64)> {
    let row = locked(books, site)?;
    let sequence = row.sequence;
    let Ok(place) = row.settings.place(site, reference, None) else {
        return give_up(books, Error::VariantTooLarge { item: 0 });
    };
    let before = books.store.unit(place.unit_id)?;
    let settings = change.of(before.as_ref().unwrap_or(&UnitSettings::default()));
    let settled = SettledUnit { unit: place.unit.clone(), settings };
    if before.as_ref() == Some(&settled.settings) {
        books.store.rollback()?;
        return Ok(Ok((settled, sequence)));
    }
    if let Some(sku) = &settled.settings.sku
        && let Some(holder) = books.store.unit_of_sku(site, sku)?
        && holder.unit != place.unit
    {
        return give_up(books, Error::SkuTaken(Box::new(holder.unit)));
    }
    books.store.write_unit(site, &place, &settled.settings)?;
    commit(books, row)?;
    Ok(Ok((settled, sequence)))
}

fn locked(books: &mut Books, site: SiteId) -> Result<SiteRow, Failure> {
    let mut rows = books.store.begin(&[site])?;
    Ok(rows.pop().ok_or(StoreError::Damaged("no row for a site that was just locked"))?)
}

fn give_up<T>(books: &mut Books, error: Error) -> Settled<T> {
    books.store.rollback()?;
    Ok(Err(error))
}

fn commit(books: &mut Books, mut row: SiteRow) -> Result<SiteSettings, Failure> {
    let Books { store, settings: cache, known, guarded: _ } = books;
    row.settings.revision = row.settings.revision.saturating_add(1);
    store.write_settings(row.site, &row.settings)?;
    store.commit()?;
    cache.learn(row.site, &row.settings);
    known.lock(&row);
    Ok(row.settings)
}
