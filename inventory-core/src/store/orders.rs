//! What orders did: for the writer, the past by which their next call is judged; for readers, their calls.

use diesel::prelude::*;

use crate::command::{Kind, Reason};
use crate::error::{Error, StoreError};
use crate::ids::{LocationId, OrderId, SiteId, UnitId};
use crate::limits;
use crate::order::{OrderPast, Part, PastCall};
use crate::outcome::Refusal;
use crate::store::faults::classify;
use crate::store::read::on_either;
use crate::store::rows::stored_refusal;
use crate::store::schema::{change, request};
use crate::store::{Readers, Store};

/// An entry of an order, with the header of its change.
#[derive(Queryable)]
pub(crate) struct StoredPart {
    pub(crate) sequence: i64,
    pub(crate) change_sequence: i64,
    pub(crate) kind: i16,
    pub(crate) reason: i16,
    pub(crate) unit: UnitId,
    pub(crate) location: Option<LocationId>,
    pub(crate) subscription: bool,
    pub(crate) asked: Option<i64>,
    pub(crate) delta: i64,
}

/// Rows of an order that are read, whichever they are: one more than are looked at.
pub(crate) const PARTS_MAX: i64 = limits::ORDER_ENTRIES_MAX as i64 + 1;

/// Joins an order's entries into its calls.
pub(crate) fn order_past(mut parts: Vec<StoredPart>, answered: bool) -> Result<OrderPast, StoreError> {
    let mut past = OrderPast { answered, ..OrderPast::default() };
    parts.sort_unstable_by_key(|part| part.sequence);
    for call in parts.chunk_by(|one, next| one.change_sequence == next.change_sequence) {
        let (kind, reason) = (known_kind(call[0].kind)?, known_reason(call[0].reason));
        let part = |stored: &StoredPart| {
            let StoredPart { unit, location, subscription, delta, .. } = *stored;
            (Part { unit, location, subscription, asked: stored.asked.unwrap_or(delta) }, delta)
        };
        past.calls.push(PastCall { kind, reason, parts: call.iter().map(part).collect() });
    }
    Ok(past)
}

/// A call that an order made, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What it asked for.
    pub kind: Kind,
    /// Why.
    pub reason: Reason,
    /// The caller's name for the request.
    pub request_id: String,
    /// Who asked.
    pub actor: String,
    /// When it was decided: microseconds since 1970.
    pub recorded_at: i64,
    /// The site's sequence after it: that of its last entry, or of the entry before it.
    pub sequence: i64,
    /// What came of it.
    pub outcome: CallOutcome,
}

/// What came of a call of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// It was carried out.
    Applied {
        /// The sequence of its first entry.
        first_sequence: i64,
    },
    /// It was taken for a repeat of an earlier one, and not carried out.
    Suppressed,
    /// It was refused.
    Refused(Refusal),
}

impl Call {
    /// Where it stands among the calls of its order: one without entries came before the one that made the
    /// entry after it.
    fn position(&self) -> (i64, bool, i64) {
        match self.outcome {
            CallOutcome::Applied { first_sequence } => (first_sequence, true, self.recorded_at),
            CallOutcome::Suppressed | CallOutcome::Refused(_) => {
                (self.sequence.saturating_add(1), false, self.recorded_at)
            }
        }
    }
}

impl Store {
    /// The first calls of an order, at most `limits::ORDER_CALLS_MAX`, in their order. Those that made no
    /// entry are known only as long as the outcomes of requests are kept.
    pub async fn order_calls(&self, id: SiteId, order: OrderId) -> Result<Vec<Call>, Error> {
        self.read(move |readers| {
            let mut calls = entered(readers, id, order)?;
            calls.extend(answered(readers, id, order)?);
            calls.sort_by_key(Call::position);
            calls.truncate(usize::try_from(limits::ORDER_CALLS_MAX).unwrap_or(usize::MAX));
            Ok(calls)
        })
        .await
    }
}

/// The calls that made entries.
fn entered(readers: &Readers, id: SiteId, order: OrderId) -> Result<Vec<Call>, StoreError> {
    let rows: Vec<(i16, i16, String, String, i64, i64, i64)> = on_either!(readers, |connection| {
        change::table
            .filter(change::site_id.eq(id).and(change::order_id.eq(order)))
            .order(change::first_sequence)
            .limit(limits::ORDER_CALLS_MAX)
            .select((
                change::kind,
                change::reason,
                change::request_id,
                change::actor,
                change::recorded_at,
                change::first_sequence,
                change::last_sequence,
            ))
            .load(connection)
    })?;
    let call = |(kind, reason, request_id, actor, recorded_at, first_sequence, sequence)| {
        let outcome = CallOutcome::Applied { first_sequence };
        Ok(Call {
            kind: known_kind(kind)?,
            reason: known_reason(reason),
            request_id,
            actor,
            recorded_at,
            sequence,
            outcome,
        })
    };
    rows.into_iter().map(call).collect()
}

/// The calls that were answered without an entry.
fn answered(readers: &Readers, id: SiteId, order: OrderId) -> Result<Vec<Call>, StoreError> {
    type Row = ((Option<i16>, Option<i16>, Option<String>, Option<String>), (i64, i64, Option<String>));
    let rows: Vec<Row> = on_either!(readers, |connection| {
        request::table
            .filter(request::site_id.eq(id).and(request::order_id.eq(order)))
            .order((request::first_sequence, request::recorded_at))
            .limit(limits::ORDER_CALLS_MAX)
            .select((
                (request::kind, request::reason, request::request_id, request::actor),
                (request::recorded_at, request::last_sequence, request::refusal),
            ))
            .load(connection)
    })?;
    let call = |((kind, reason, request_id, actor), (recorded_at, sequence, refusal)): Row| {
        let outcome = match refusal {
            None => CallOutcome::Suppressed,
            Some(text) => CallOutcome::Refused(stored_refusal(&text)?),
        };
        Ok(Call {
            kind: known_kind(kind.unwrap_or_default())?,
            reason: known_reason(reason.unwrap_or_default()),
            request_id: request_id.unwrap_or_default(),
            actor: actor.unwrap_or_default(),
            recorded_at,
            sequence,
            outcome,
        })
    };
    rows.into_iter().map(call).collect()
}

pub(crate) fn known_kind(kind: i16) -> Result<Kind, StoreError> {
    Kind::from_code(kind).ok_or(StoreError::Damaged("a kind of change this version does not know"))
}

pub(crate) fn known_reason(reason: i16) -> Reason {
    // A reason only explains; an unknown one from a newer version must not hide the call.
    Reason::from_code(reason).unwrap_or_default()
}
