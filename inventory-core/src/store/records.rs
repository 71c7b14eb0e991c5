//! Rows as they are read, and what they mean in the model.

use std::sync::Arc;

use diesel::prelude::*;

use crate::engine::storage::RecordedRequest;
use crate::model::action::Kind;
use crate::model::catalog::{Unit, Variant};
use crate::model::command::Reason;
use crate::model::entry::{Marks, pieces};
use crate::model::error::StoreError;
use crate::model::ids::{Fingerprint, LocationId, RequestKey, SiteId, UnitId};
use crate::model::kind::{Counting, SalesWindow, Tracking, UnitState};
use crate::model::order::{OrderHistory, Part, PastCall};
use crate::model::outcome::Refusal;
use crate::model::site::{OrderPolicies, OverReturnPolicy, Site, SiteSettings, SuspectedRepeatPolicy};
use crate::model::unit::{Sku, UnitSettings};
use crate::store::tables::{request, site, unit};

/// A row of `site`.
#[derive(Queryable, Selectable)]
#[diesel(table_name = site)]
pub(crate) struct SiteRecord {
    site_id: SiteId,
    sequence: i64,
    default_location_id: Option<LocationId>,
    catalogs: String,
    revision: i64,
    suspected_repeats: i16,
    over_returns: i16,
    recorded_at: i64,
}

impl TryFrom<SiteRecord> for Site {
    type Error = StoreError;

    fn try_from(record: SiteRecord) -> Result<Self, StoreError> {
        let SiteRecord {
            site_id: id,
            sequence,
            default_location_id: default_location,
            catalogs,
            revision,
            suspected_repeats,
            over_returns,
            recorded_at,
        } = record;
        let catalogs = serde_json::from_str(&catalogs)
            .map_err(|_| StoreError::Damaged("settings of catalogs that this version does not know"))?;
        let policies =
            SuspectedRepeatPolicy::from_code(suspected_repeats).zip(OverReturnPolicy::from_code(over_returns));
        let (suspected_repeats, over_returns) =
            policies.ok_or(StoreError::Damaged("an order policy that this version does not know"))?;
        let order_policies = OrderPolicies { suspected_repeats, over_returns };
        let settings = SiteSettings { default_location, catalogs, order_policies, revision };
        Ok(Self { id, sequence, recorded_at, settings })
    }
}

/// The columns of `unit` that identify it.
#[derive(Queryable, Selectable)]
#[diesel(table_name = unit)]
pub(crate) struct UnitRecord {
    app_id: String,
    item_id: String,
    variant: String,
}

impl From<UnitRecord> for Unit {
    fn from(UnitRecord { app_id, item_id, variant }: UnitRecord) -> Self {
        Self { app_id, item_id, variant: Variant::from_text(variant) }
    }
}

/// The columns of `unit` that hold its settings.
#[derive(Queryable, Selectable)]
#[diesel(table_name = unit)]
pub(crate) struct SettingsRecord {
    sku: Option<String>,
    name: String,
    #[diesel(embed)]
    state: StateRecord,
}

/// The columns of `unit` that the rules use.
#[derive(Queryable, Selectable)]
#[diesel(table_name = unit)]
pub(crate) struct StateRecord {
    tracking: Option<i16>,
    backorder_limit: Option<i64>,
    counts_subscriptions: Option<bool>,
    sell_from: Option<i64>,
    sell_until: Option<i64>,
    stocked: bool,
}

impl TryFrom<SettingsRecord> for UnitSettings {
    type Error = StoreError;

    fn try_from(SettingsRecord { sku, name, state }: SettingsRecord) -> Result<Self, StoreError> {
        Ok(Self { sku: sku.map(Sku::from_stored), name, state: state.try_into()? })
    }
}

impl TryFrom<StateRecord> for UnitState {
    type Error = StoreError;

    fn try_from(record: StateRecord) -> Result<Self, StoreError> {
        let StateRecord { tracking, backorder_limit, counts_subscriptions, sell_from, sell_until, stocked } = record;
        let known =
            |code| Tracking::from_code(code).ok_or(StoreError::Damaged("a tracking that this version does not know"));
        let tracking = tracking.map(known).transpose()?;
        Ok(Self {
            counting: Counting { tracking, backorder_limit, counts_subscriptions },
            window: SalesWindow { from: sell_from, until: sell_until },
            stocked,
        })
    }
}

/// The units that differ from `UnitState::STOCKED`. A unit without a row was never written.
pub(crate) fn unusual(
    units: impl IntoIterator<Item = (UnitId, Option<StateRecord>)>,
) -> Result<Vec<(UnitId, UnitState)>, StoreError> {
    let mut unusual = Vec::new();
    for (unit, record) in units {
        let state = record.map(UnitState::try_from).transpose()?.unwrap_or_default();
        if state != UnitState::STOCKED {
            unusual.push((unit, state));
        }
    }
    Ok(unusual)
}

/// What a replay needs of a row of `request`.
#[derive(Queryable, Selectable)]
#[diesel(table_name = request)]
pub(crate) struct RequestRecord {
    pub(crate) site_id: SiteId,
    pub(crate) request_key: RequestKey,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) first_sequence: i64,
    pub(crate) last_sequence: i64,
    pub(crate) refusal: Option<String>,
}

/// An entry of a recorded request: its site, sequence number, unit, location and level after.
pub(crate) type SpanRecord = (SiteId, i64, UnitRecord, Option<LocationId>, i64);

/// Gives each recorded request its entries. `spans` are in the order of site and sequence number.
pub(crate) fn recorded(found: Vec<RequestRecord>, spans: Vec<SpanRecord>) -> Result<Vec<RecordedRequest>, StoreError> {
    let spans: Vec<_> = spans
        .into_iter()
        .map(|(site, sequence, unit, location, after)| {
            ((site, sequence), (Arc::new(Unit::from(unit)), location, after))
        })
        .collect();
    let request = |record: RequestRecord| {
        let RequestRecord { site_id: site, request_key: key, fingerprint, first_sequence, last_sequence, refusal } =
            record;
        let start = spans.partition_point(|(position, _)| *position < (site, first_sequence));
        let end = spans.partition_point(|(position, _)| *position <= (site, last_sequence));
        let entries = spans.get(start..end).unwrap_or_default();
        Ok(RecordedRequest {
            key,
            fingerprint,
            last_sequence,
            refusal: refusal.as_deref().map(stored_refusal).transpose()?,
            entries: entries.iter().map(|(_, entry)| entry.clone()).collect(),
        })
    };
    found.into_iter().map(request).collect()
}

/// A refusal as it is recorded: JSON.
pub(crate) fn stored_refusal(text: &str) -> Result<Refusal, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Damaged("a refusal that is not JSON"))
}

/// An entry of an order, with the header of its change.
#[derive(Queryable)]
pub(crate) struct PartRecord {
    sequence: i64,
    change_sequence: i64,
    kind: i16,
    reason: i16,
    unit: UnitId,
    location: Option<LocationId>,
    subscription: bool,
    asked: Option<i64>,
    delta: i64,
    marks: Option<i16>,
}

/// Joins an order's entries into its calls.
pub(crate) fn order_history(mut parts: Vec<PartRecord>, answered: bool) -> Result<OrderHistory, StoreError> {
    let mut history = OrderHistory { answered, ..OrderHistory::default() };
    parts.sort_unstable_by_key(|part| part.sequence);
    for call in parts.chunk_by(|one, next| one.change_sequence == next.change_sequence) {
        let (kind, reason) = (stored_kind(call[0].kind)?, stored_reason(call[0].reason));
        let part = |record: &PartRecord| {
            let PartRecord { unit, location, subscription, delta, .. } = *record;
            let asked = record.asked.unwrap_or(delta);
            let marks = record.marks.map(Marks::from_code).unwrap_or_default();
            (Part { unit, location, subscription, asked }, pieces(asked, delta, marks))
        };
        history.calls.push(PastCall { kind, reason, parts: call.iter().map(part).collect() });
    }
    Ok(history)
}

pub(crate) fn stored_kind(kind: i16) -> Result<Kind, StoreError> {
    Kind::from_code(kind).ok_or(StoreError::Damaged("a kind of change that this version does not know"))
}

pub(crate) fn stored_reason(reason: i16) -> Reason {
    // A reason only explains. An unknown one, from a newer version, must not hide the call.
    Reason::from_code(reason).unwrap_or_default()
}
