//! Statements of the writer that both backends understand.

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use uuid::Uuid;

use crate::engine::storage::PruneCursor;
use crate::model::error::StoreError;
use crate::model::ids::{LocationId, RequestKey, SiteId, UnitId};
use crate::model::limits;
use crate::model::site::Site;
use crate::model::unit::UnitSettings;
use crate::store::connection::{AnyConnection, on};
use crate::store::guid::Guid;
use crate::store::records::SettingsRecord;
use crate::store::tables::{level, site, unit};

/// Entries of an order that are read: one more than the rules look at, so that they see that there are more.
pub(crate) const PARTS_MAX: i64 = limits::ORDER_ENTRIES_MAX as i64 + 1;

/// The settings of units. Units that are not stored are left out.
pub(crate) fn units(
    connection: &mut AnyConnection<'_>,
    units: &[UnitId],
) -> Result<Vec<(UnitId, UnitSettings)>, StoreError> {
    let found: Vec<(UnitId, SettingsRecord)> = on!(connection, |c| {
        let found = unit::table.filter(unit::unit_id.eq_any(units));
        found.select((unit::unit_id, SettingsRecord::as_select())).load(c)
    })?;
    found.into_iter().map(|(unit, settings)| Ok((unit, settings.try_into()?))).collect()
}

/// Whether a level of `site` is stored under the location's own id.
pub(crate) fn location_in_use(
    connection: &mut AnyConnection<'_>,
    site: SiteId,
    location: LocationId,
) -> Result<bool, StoreError> {
    on!(connection, |c| {
        let own = level::table.filter(level::site_id.eq(site)).filter(level::location_id.eq(location));
        diesel::select(diesel::dsl::exists(own)).get_result(c)
    })
}

/// Writes the settings of a site.
pub(crate) fn write_site(connection: &mut AnyConnection<'_>, changed: &Site) -> Result<(), StoreError> {
    let Site { id, sequence: _, recorded_at: _, settings } = changed;
    let catalogs = serde_json::json!(settings.catalogs).to_string();
    on!(connection, |c| {
        diesel::update(site::table.find(id))
            .set((
                site::default_location_id.eq(settings.default_location),
                site::catalogs.eq(&catalogs),
                site::revision.eq(settings.revision),
                site::suspected_repeats.eq(settings.order_policies.suspected_repeats.code()),
                site::over_returns.eq(settings.order_policies.over_returns.code()),
            ))
            .execute(c)
    })?;
    Ok(())
}

/// Where a step of pruning ends.
#[derive(QueryableByName)]
struct PruneEnd {
    #[diesel(sql_type = Guid)]
    site_id: SiteId,
    #[diesel(sql_type = Guid)]
    request_key: RequestKey,
}

// `$1` is a name to SQLite and a number to Postgres. Numbered by first use, they are the same.
const PRUNE_END: &str = "SELECT site_id, request_key FROM request WHERE (site_id, request_key) > ($1, $2) \
     ORDER BY site_id, request_key LIMIT 1 OFFSET $3";
const PRUNE: &str = "DELETE FROM request WHERE (site_id, request_key) > ($1, $2) \
     AND (site_id, request_key) <= ($3, $4) AND recorded_at < $5";

/// One step of pruning: deletes the old ones among the next request records; returns the last one looked at. Its cost
/// is that of the records it looks at, old or not: there is no index on their age.
pub(crate) fn prune(
    connection: &mut AnyConnection<'_>,
    after: PruneCursor,
    before: i64,
) -> Result<Option<PruneCursor>, StoreError> {
    let (site, key) = after;
    let next: Option<PruneEnd> = on!(connection, |c| {
        diesel::sql_query(PRUNE_END)
            .bind::<Guid, _>(site)
            .bind::<Guid, _>(key)
            .bind::<BigInt, _>(limits::PRUNED_ROWS - 1)
            .get_result(c)
            .optional()
    })?;
    let next = next.map(|PruneEnd { site_id, request_key }| (site_id, request_key));
    let last = (SiteId::from_uuid(Uuid::max()), RequestKey::from_uuid(Uuid::max()));
    let (last_site, last_key) = next.unwrap_or(last);
    on!(connection, |c| {
        diesel::sql_query(PRUNE)
            .bind::<Guid, _>(site)
            .bind::<Guid, _>(key)
            .bind::<Guid, _>(last_site)
            .bind::<Guid, _>(last_key)
            .bind::<BigInt, _>(before)
            .execute(c)
    })?;
    Ok(next)
}
