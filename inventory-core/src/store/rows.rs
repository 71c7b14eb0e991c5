//! Rows as they are read, and what they mean. The statements written in diesel's own terms stand
//! here as macros, because each must be compiled once for either backend.

use diesel::Queryable;

use crate::error::StoreError;
use crate::ids::{Fingerprint, LocationId, RequestKey, SiteId};
use crate::order::{OrderPolicies, OverReturns, SuspectedRepeats};
use crate::outcome::Refusal;
use crate::site::SiteSettings;
use crate::store::batch::{RecordedRow, SiteRow};
use crate::store::units::stored_unit;

/// A row of `site`.
#[derive(Queryable)]
pub(crate) struct StoredSite {
    pub(crate) site: SiteId,
    pub(crate) sequence: i64,
    pub(crate) default_location: Option<LocationId>,
    pub(crate) option_keys: String,
    pub(crate) revision: i64,
    pub(crate) suspected_repeats: i16,
    pub(crate) over_returns: i16,
}

impl TryFrom<StoredSite> for SiteRow {
    type Error = StoreError;

    fn try_from(stored: StoredSite) -> Result<Self, StoreError> {
        let StoredSite { site, sequence, default_location, option_keys, revision, suspected_repeats, over_returns } =
            stored;
        let option_keys =
            serde_json::from_str(&option_keys).map_err(|_| StoreError::Damaged("option keys that are not JSON"))?;
        let unknown = StoreError::Damaged("an order policy that this version does not know");
        let policies = SuspectedRepeats::from_code(suspected_repeats).zip(OverReturns::from_code(over_returns));
        let (suspected_repeats, over_returns) = policies.ok_or(unknown)?;
        let order_policies = OrderPolicies { suspected_repeats, over_returns };
        Ok(Self { site, sequence, settings: SiteSettings { default_location, option_keys, order_policies, revision } })
    }
}

/// A row of `request`, less its time.
#[derive(Queryable)]
pub(crate) struct StoredRequest {
    pub(crate) site: SiteId,
    pub(crate) key: RequestKey,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) first_sequence: i64,
    pub(crate) last_sequence: i64,
    pub(crate) refusal: Option<String>,
}

/// An entry of a recorded request, with its unit.
#[derive(Queryable)]
pub(crate) struct StoredSpan {
    pub(crate) site: SiteId,
    pub(crate) sequence: i64,
    pub(crate) app_id: String,
    pub(crate) item_id: String,
    pub(crate) variant: String,
    pub(crate) location: Option<LocationId>,
    pub(crate) level_after: i64,
}

/// Gives each recorded request its entries; `spans` are in the order of site and sequence.
pub(crate) fn join_recorded(found: Vec<StoredRequest>, spans: Vec<StoredSpan>) -> Result<Vec<RecordedRow>, StoreError> {
    let entry = |span: &StoredSpan| {
        let unit = stored_unit((span.app_id.clone(), span.item_id.clone(), span.variant.clone()));
        (unit, span.location, span.level_after)
    };
    let row = |request: StoredRequest| {
        let StoredRequest { site, key, fingerprint, first_sequence, last_sequence, refusal } = request;
        let start = spans.partition_point(|span| (span.site, span.sequence) < (site, first_sequence));
        let end = spans.partition_point(|span| (span.site, span.sequence) <= (site, last_sequence));
        Ok(RecordedRow {
            key,
            fingerprint,
            last_sequence,
            refusal: refusal.as_deref().map(stored_refusal).transpose()?,
            entries: spans.get(start..end).unwrap_or_default().iter().map(entry).collect(),
        })
    };
    found.into_iter().map(row).collect()
}

/// A refusal, as it is recorded.
pub(crate) fn stored_refusal(text: &str) -> Result<Refusal, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Damaged("a refusal that is not JSON"))
}

macro_rules! location_in_use {
    ($connection:expr, $site:expr, $location:expr) => {{
        use crate::store::schema::level;
        let own = level::table.filter(level::site_id.eq($site)).filter(level::location_id.eq($location));
        diesel::select(diesel::dsl::exists(own)).get_result($connection)
    }};
}

macro_rules! write_settings {
    ($connection:expr, $site:expr, $settings:expr) => {{
        use crate::store::schema::site;
        let option_keys = serde_json::json!($settings.option_keys).to_string();
        diesel::update(site::table.filter(site::site_id.eq($site)))
            .set((
                site::default_location_id.eq($settings.default_location),
                site::option_keys.eq(option_keys),
                site::revision.eq($settings.revision),
                site::suspected_repeats.eq($settings.order_policies.suspected_repeats.code()),
                site::over_returns.eq($settings.order_policies.over_returns.code()),
            ))
            .execute($connection)
            .map(|_| ())
    }};
}

/// A level as it was at a sequence: its chain is entered at the first waypoint from there on, or else at
/// its last entry, and followed back.
macro_rules! level_at {
    ($connection:expr, $site:expr, $level:expr, $head:expr, $sequence:expr) => {{
        let waypoint = crate::store::chain::waypoint!($connection, $level, $sequence, 0)?;
        let (start, most) = (waypoint.unwrap_or($head), crate::limits::WAYPOINT_EVERY + 1);
        let links = crate::store::chain::links!($connection, $site, start, $sequence, most)?;
        Ok(links.last().filter(|link| link.sequence <= $sequence).map_or(0, |link| link.level_after))
    }};
}

/// Deletes the old among the next records of requests, and tells where the next step begins. Its cost
/// is that of the records it looks at, whether or not they are old: no index is kept for their age.
macro_rules! prune_requests {
    ($connection:expr, $after:expr, $before:expr) => {{
        use crate::store::Guid;
        use diesel::sql_types::BigInt;
        let (site, key): (SiteId, RequestKey) = $after;
        // `$1` is a name to SQLite and a number to Postgres; numbered by first use, they are the same.
        let next: Option<crate::store::rows::PruneEnd> = diesel::sql_query(
            "SELECT site_id, request_key FROM request WHERE (site_id, request_key) > ($1, $2) \
             ORDER BY site_id, request_key LIMIT 1 OFFSET $3",
        )
        .bind::<Guid, _>(site)
        .bind::<Guid, _>(key)
        .bind::<BigInt, _>(crate::limits::PRUNED_ROWS - 1)
        .get_result($connection)
        .optional()?;
        let next = next.map(|crate::store::rows::PruneEnd { site_id, request_key }| (site_id, request_key));
        let last = (SiteId::from_uuid(uuid::Uuid::max()), RequestKey::from_uuid(uuid::Uuid::max()));
        let (last_site, last_key) = next.unwrap_or(last);
        diesel::sql_query(
            "DELETE FROM request WHERE (site_id, request_key) > ($1, $2) \
             AND (site_id, request_key) <= ($3, $4) AND recorded_at < $5",
        )
        .bind::<Guid, _>(site)
        .bind::<Guid, _>(key)
        .bind::<Guid, _>(last_site)
        .bind::<Guid, _>(last_key)
        .bind::<BigInt, _>($before)
        .execute($connection)
        .map(|_| next)
    }};
}

/// Where a step of pruning ends.
#[derive(diesel::QueryableByName)]
pub(crate) struct PruneEnd {
    #[diesel(sql_type = crate::store::Guid)]
    pub(crate) site_id: SiteId,
    #[diesel(sql_type = crate::store::Guid)]
    pub(crate) request_key: RequestKey,
}

pub(crate) use {level_at, location_in_use, prune_requests, write_settings};
