//! Rows as they are read, and what they mean. The statements written in diesel's own terms stand
//! here as macros, because each must be compiled once for either backend.

use diesel::Queryable;

use crate::catalog::{Unit, Variant};
use crate::error::StoreError;
use crate::ids::{Fingerprint, LocationId, RequestKey, SiteId};
use crate::site::SiteSettings;
use crate::store::batch::{RecordedRow, SiteRow};

/// A row of `site`.
#[derive(Queryable)]
pub(crate) struct StoredSite {
    pub(crate) site: SiteId,
    pub(crate) sequence: i64,
    pub(crate) default_location: Option<LocationId>,
    pub(crate) option_keys: String,
    pub(crate) revision: i64,
}

impl TryFrom<StoredSite> for SiteRow {
    type Error = StoreError;

    fn try_from(stored: StoredSite) -> Result<Self, StoreError> {
        let StoredSite { site, sequence, default_location, option_keys, revision } = stored;
        let option_keys =
            serde_json::from_str(&option_keys).map_err(|_| StoreError::Damaged("option keys that are not JSON"))?;
        Ok(Self { site, sequence, settings: SiteSettings { default_location, option_keys, revision } })
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
        let variant = Variant::from_text(span.variant.clone());
        let unit = Unit { app_id: span.app_id.clone(), item_id: span.item_id.clone(), variant };
        (unit, span.location, span.level_after)
    };
    let row = |request: StoredRequest| {
        let StoredRequest { site, key, fingerprint, first_sequence, last_sequence, refusal } = request;
        let start = spans.partition_point(|span| (span.site, span.sequence) < (site, first_sequence));
        let end = spans.partition_point(|span| (span.site, span.sequence) <= (site, last_sequence));
        let refusal = refusal.as_deref().map(serde_json::from_str).transpose();
        Ok(RecordedRow {
            key,
            fingerprint,
            last_sequence,
            refusal: refusal.map_err(|_| StoreError::Damaged("a refusal that is not JSON"))?,
            entries: spans.get(start..end).unwrap_or_default().iter().map(entry).collect(),
        })
    };
    found.into_iter().map(row).collect()
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
            ))
            .execute($connection)
            .map(|_| ())
    }};
}

pub(crate) use {location_in_use, write_settings};
