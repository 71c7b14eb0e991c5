//! `VerifySite`: levels and ledger are read page by page, beside the orders, and compared.

use inventory_core::catalog::{CatalogReference, Unit};
use inventory_core::command::{Action, Command, Header, LevelNow, Reason, Repair};
use inventory_core::engine::Engine;
use inventory_core::ids::{LocationId, SiteId};
use inventory_core::limits;
use inventory_core::outcome::Verdict;
use inventory_core::site::SiteSettings;
use inventory_core::store::{EntryFilter, StockFilter, StockPage, Store};
use inventory_core::verify::{Difference, Verification};
use inventory_proto::v1;
use tonic::Status;
use uuid::Uuid;

use crate::services::stream::Sender;
use crate::{decode, encode, status};

/// Differences that are told.
const DIFFERENCES_MAX: usize = 1_000;
/// Entries between two messages.
const TELL_EVERY: i64 = 10_000;

/// Reads, compares, and where asked to, repairs.
pub(super) async fn verify(
    store: Store,
    engine: Engine,
    site: SiteId,
    repair_as: Option<String>,
    to: Sender<v1::VerifySiteResponse>,
) -> Result<(), Status> {
    let Some((settings, known_to)) = store.site(site).await.map_err(status::of_error)? else {
        return Err(status::not_found("SITE_NOT_FOUND", "nothing was ever written for this site"));
    };
    let mut verification = Verification::new(site, known_to);
    read_levels(&store, site, &settings, &mut verification).await?;
    let expected = verification.last_needed();
    let mut after_sequence = 0;
    while after_sequence < expected {
        let filter = EntryFilter { after_sequence, up_to_sequence: Some(expected), ..EntryFilter::default() };
        let page = store.list_entries(site, filter, limits::PAGE_ROWS_MAX).await.map_err(status::of_error)?;
        let Some(last) = page.entries.last() else {
            return Err(status::damaged(format!("the ledger ends at {after_sequence}, and the site at {expected}")));
        };
        after_sequence = last.sequence;
        for entry in &page.entries {
            let location = settings.fold_location(entry.location);
            verification.entry(entry, location).map_err(|gap| status::damaged(gap.to_string()))?;
        }
        if verification.entries() % TELL_EVERY < limits::PAGE_ROWS_MAX {
            let entries = verification.entries();
            let far = v1::VerifySiteResponse { entries, entries_expected: expected, ..Default::default() };
            if to.send(Ok(far)).await.is_err() {
                return Ok(());
            }
        }
    }
    let entries = verification.entries();
    let (levels, differences) = verification.finish();
    let mut result =
        v1::VerifySiteResponse { entries, entries_expected: expected, levels, done: true, ..Default::default() };
    result.difference_count = i64::try_from(differences.len()).unwrap_or(i64::MAX);
    let told = differences.len().min(DIFFERENCES_MAX);
    let names = store.name_levels(differences[..told].iter().map(|difference| difference.level).collect());
    let names = names.await.map_err(status::of_error)?;
    for difference in differences.into_iter().take(DIFFERENCES_MAX) {
        let named = difference.missing.clone().or_else(|| names.get(&difference.level).cloned());
        // A level that had a row when it was read has one for ever.
        let Some((unit, location)) = named else { continue };
        let repaired = match &repair_as {
            Some(actor) => repair(&engine, site, &unit, location, &difference, actor).await?,
            None => false,
        };
        result.differences.push(told_of(&settings, unit, location, &difference, repaired));
    }
    // Nobody may be left to read it.
    let _ = to.send(Ok(result)).await;
    Ok(())
}

async fn read_levels(
    store: &Store,
    site: SiteId,
    settings: &SiteSettings,
    verification: &mut Verification,
) -> Result<(), Status> {
    let mut after = None;
    loop {
        let page = store.list_stock(site, StockFilter::default(), after, limits::PAGE_ROWS_MAX);
        let StockPage { stock, looked_to } = page.await.map_err(status::of_error)?;
        stock.iter().for_each(|row| verification.level(row, settings.fold_location(row.location)));
        match looked_to {
            Some(last) => after = Some(last),
            None => return Ok(()),
        }
    }
}

/// Whether the level is what its entries come to again.
async fn repair(
    engine: &Engine,
    site: SiteId,
    unit: &Unit,
    location: Option<LocationId>,
    difference: &Difference,
    actor: &str,
) -> Result<bool, Status> {
    let Difference { available, revision, recomputed, .. } = *difference;
    // Its own options identify the unit, so they name it again; unless the site's settings changed
    // since it was made, and then the level that they name differs, and is left as it is.
    let Ok(reference) = CatalogReference::new(&unit.app_id, &unit.item_id, unit.variant.options()) else {
        return Ok(false);
    };
    let (reason, note) = (Reason::Correction, String::new());
    let header =
        Header { site, request_id: Uuid::new_v4().to_string(), order: None, reason, actor: actor.to_owned(), note };
    let found = LevelNow { available, revision };
    let action = Action::Repair(Repair { reference, location, found, recomputed });
    let Ok(command) = Command::new(header, action) else { return Ok(false) };
    let outcome = engine.submit(command, decode::default_deadline()).await.map_err(status::of_error)?;
    Ok(matches!(outcome.verdict, Verdict::Applied(levels) if !levels.is_empty()))
}

fn told_of(
    settings: &SiteSettings,
    unit: Unit,
    location: Option<LocationId>,
    difference: &Difference,
    repaired: bool,
) -> v1::LevelDifference {
    let Difference { level: _, missing: _, available, revision, recomputed, entries } = *difference;
    v1::LevelDifference {
        catalog_reference: Some(encode::catalog_reference(unit)),
        location_id: encode::location(settings.show_location(location)),
        available,
        recomputed,
        revision,
        entries,
        repaired,
    }
}
