//! Reading the calls of an order.

use diesel::prelude::*;

use super::Snapshot;
use crate::model::access::Author;
use crate::model::error::{Error, StoreError};
use crate::model::ids::{OrderId, SiteId};
use crate::model::limits;
use crate::model::order::{CallOutcome, OrderCall};
use crate::store::connection::{AnyConnection, on};
use crate::store::records::{stored_kind, stored_reason, stored_refusal};
use crate::store::tables::{change, request};

impl Snapshot<'_> {
    /// The first calls of an order, at most `limits::ORDER_CALLS_MAX`, in the order in which they were decided. Calls
    /// without entries are known while the outcomes of requests are kept.
    pub fn order_calls(&mut self, order: OrderId) -> Result<Vec<OrderCall>, Error> {
        let site = self.site.id;
        let mut calls = with_entries(self.connection()?, site, order)?;
        calls.extend(without_entries(self.connection()?, site, order)?);
        calls.sort_by_key(OrderCall::position);
        calls.truncate(usize::try_from(limits::ORDER_CALLS_MAX).unwrap_or(usize::MAX));
        Ok(calls)
    }
}

/// A row of `change`, as far as a call needs it.
#[derive(Queryable, Selectable)]
#[diesel(table_name = change)]
struct ChangeRecord {
    kind: i16,
    reason: i16,
    request_id: String,
    actor: String,
    on_behalf_of: String,
    recorded_at: i64,
    first_sequence: i64,
    last_sequence: i64,
}

fn with_entries(connection: &mut AnyConnection<'_>, id: SiteId, order: OrderId) -> Result<Vec<OrderCall>, StoreError> {
    let found: Vec<ChangeRecord> = on!(connection, |c| {
        change::table
            .filter(change::site_id.eq(id).and(change::order_id.eq(order)))
            .order(change::first_sequence)
            .limit(limits::ORDER_CALLS_MAX)
            .select(ChangeRecord::as_select())
            .load(c)
    })?;
    let call = |record: ChangeRecord| {
        let ChangeRecord { kind, reason, request_id, actor, on_behalf_of, recorded_at, first_sequence, last_sequence } =
            record;
        Ok(OrderCall {
            kind: stored_kind(kind)?,
            reason: stored_reason(reason),
            request_id,
            author: Author { actor, on_behalf_of },
            recorded_at,
            sequence: last_sequence,
            outcome: CallOutcome::Applied { first_sequence },
        })
    };
    found.into_iter().map(call).collect()
}

/// A row of `request` of a call without entries.
#[derive(Queryable, Selectable)]
#[diesel(table_name = request)]
struct CallRecord {
    kind: Option<i16>,
    reason: Option<i16>,
    request_id: Option<String>,
    actor: Option<String>,
    on_behalf_of: Option<String>,
    recorded_at: i64,
    last_sequence: i64,
    refusal: Option<String>,
}

fn without_entries(
    connection: &mut AnyConnection<'_>,
    id: SiteId,
    order: OrderId,
) -> Result<Vec<OrderCall>, StoreError> {
    let found: Vec<CallRecord> = on!(connection, |c| {
        request::table
            .filter(request::site_id.eq(id).and(request::order_id.eq(order)))
            .order((request::first_sequence, request::recorded_at))
            .limit(limits::ORDER_CALLS_MAX)
            .select(CallRecord::as_select())
            .load(c)
    })?;
    let call = |record: CallRecord| {
        let CallRecord { kind, reason, request_id, actor, on_behalf_of, recorded_at, last_sequence, refusal } = record;
        Ok(OrderCall {
            kind: stored_kind(kind.unwrap_or_default())?,
            reason: stored_reason(reason.unwrap_or_default()),
            request_id: request_id.unwrap_or_default(),
            author: Author { actor: actor.unwrap_or_default(), on_behalf_of: on_behalf_of.unwrap_or_default() },
            recorded_at,
            sequence: last_sequence,
            outcome: match refusal {
                None => CallOutcome::Suppressed,
                Some(text) => CallOutcome::Refused(stored_refusal(&text)?),
            },
        })
    };
    found.into_iter().map(call).collect()
}
