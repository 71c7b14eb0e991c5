//! Entries, and what reports derive from them, as messages.

use std::sync::Arc;

use inventory_core::model::access::Author;
use inventory_core::model::entry::{Entry, Marks};
use inventory_core::model::ids::LocationId;
use inventory_core::model::level::ResolvedLevel;
use inventory_core::model::order::{CallOutcome, OrderCall};
use inventory_core::model::outcome::Refusal;
use inventory_core::reports::explain::{Explained, Sum};
use inventory_core::reports::journal::{OrderJournal, OrderLine};
use inventory_core::reports::verify::Difference;
use inventory_proto::v1;

use super::{catalog_reference, kind, location, reason, stock, timestamp};
use crate::page::Bytes;
use crate::status;

/// Orders that an explanation lists.
const EXPLAINED_ORDERS_MAX: usize = 100;
/// Shortages that are listed of all calls of an order together.
const SHORTAGES_MAX: usize = 500;

/// One entry of the ledger.
pub(crate) fn entry(entry: Entry, default: Option<LocationId>) -> v1::Entry {
    let Entry {
        sequence,
        change_sequence,
        unit,
        location: stored,
        asked,
        delta,
        level_after,
        subscription,
        marks: found,
        kind: kind_of_request,
        reason: reason_given,
        order,
        request_id,
        author: Author { actor, on_behalf_of },
        recorded_at,
        note,
    } = entry;
    v1::Entry {
        sequence,
        delta,
        level_after,
        reason: reason(reason_given),
        order_id: order.map(|id| id.to_string()).unwrap_or_default(),
        catalog_reference: Some(catalog_reference(unit)),
        location_id: location(stored, default),
        kind: kind(kind_of_request),
        change_sequence,
        request_id,
        actor,
        subscription_item: subscription,
        record_time: Some(timestamp(recorded_at)),
        note,
        asked_delta: asked,
        marks: marks(found),
        on_behalf_of,
    }
}

fn marks(Marks { suspected_repeat, over_return, outside_sales_window }: Marks) -> Vec<i32> {
    let suspected_repeat = suspected_repeat.then_some(v1::Mark::SuspectedRepeat);
    let over_return = over_return.then_some(v1::Mark::OverReturn);
    let outside_sales_window = outside_sales_window.then_some(v1::Mark::OutsideSalesWindow);
    [suspected_repeat, over_return, outside_sales_window].into_iter().flatten().map(i32::from).collect()
}

/// The explanation of a level.
pub(crate) fn explained(explained: Explained, default: Option<LocationId>) -> v1::ExplainLevelResponse {
    let Explained { unit, available, sequence, before, entries: explained_entries, sums, orders, last_entries, cut } =
        explained;
    let sum = |Sum { kind: kind_of_request, reason: reason_given, entries, delta }| v1::ExplainedSum {
        kind: kind(kind_of_request),
        reason: reason(reason_given),
        entries,
        delta,
    };
    v1::ExplainLevelResponse {
        available,
        sequence,
        available_before: before,
        explained_entries,
        sums: sums.into_iter().map(sum).collect(),
        order_count: i64::try_from(orders.len()).unwrap_or(i64::MAX),
        orders: orders
            .into_iter()
            .take(EXPLAINED_ORDERS_MAX)
            .map(|(order, net)| v1::OrderHolding { order_id: order.to_string(), net })
            .collect(),
        entries: last_entries.into_iter().map(|one| entry(one, default)).collect(),
        unit: Some(stock::unit(unit)),
        archived_sequence: cut,
    }
}

/// What an order did: its lines after the first `skipped`, at most `rows`, and before them its entries and calls. Also
/// returns how many lines the next page skips; `None` on the last page.
pub(crate) fn order(
    journal: OrderJournal,
    default: Option<LocationId>,
    skipped: i64,
    rows: i64,
) -> (v1::GetOrderResponse, Option<i64>) {
    let OrderJournal { lines, entries, entry_count, cut, calls } = journal;
    let archived_sequence = cut.unwrap_or_default();
    let mut answer = v1::GetOrderResponse { entry_count, archived_sequence, ..Default::default() };
    if skipped == 0 {
        let (mut room, mut bytes) = (SHORTAGES_MAX, Bytes::default());
        let call = |one| {
            let mut one = call(one, default);
            let fitting = one.shortages.iter().take(room).take_while(|shortage| bytes.fit(*shortage)).count();
            room -= fitting;
            one.shortages.truncate(fitting);
            one
        };
        answer.calls = calls.into_iter().map(call).collect();
        let mut bytes = Bytes::default();
        let entries = entries.into_iter().map(|one| entry(one, default));
        answer.entries = entries.take_while(|entry| bytes.fit(entry)).collect();
    }
    let to_skip = usize::try_from(skipped).unwrap_or(usize::MAX);
    let line_count = lines.len();
    let mut bytes = Bytes::default();
    let lines = lines.into_iter().skip(to_skip).take(usize::try_from(rows).unwrap_or(usize::MAX));
    answer.lines = lines.map(|line| order_line(line, default)).take_while(|line| bytes.fit(line)).collect();
    let told = to_skip.saturating_add(answer.lines.len());
    (answer, Some(told).filter(|told| *told < line_count).and_then(|told| i64::try_from(told).ok()))
}

fn order_line(line: OrderLine, default: Option<LocationId>) -> v1::OrderLine {
    let OrderLine { unit, location: stored, taken, returned } = line;
    v1::OrderLine {
        catalog_reference: Some(catalog_reference(unit)),
        location_id: location(stored, default),
        taken,
        returned,
        net: taken.saturating_sub(returned),
    }
}

fn call(call: OrderCall, default: Option<LocationId>) -> v1::OrderCall {
    let OrderCall { kind: kind_of_request, reason: reason_given, request_id, author, recorded_at, sequence, outcome } =
        call;
    let Author { actor, on_behalf_of } = author;
    let mut message = v1::OrderCall {
        kind: kind(kind_of_request),
        reason: reason(reason_given),
        request_id,
        actor,
        on_behalf_of,
        record_time: Some(timestamp(recorded_at)),
        sequence,
        ..Default::default()
    };
    match outcome {
        CallOutcome::Applied { first_sequence } => {
            message.set_outcome(v1::CallOutcome::Applied);
            message.change_sequence = first_sequence;
        }
        CallOutcome::Suppressed => message.set_outcome(v1::CallOutcome::Suppressed),
        CallOutcome::Refused(refusal) => {
            message.set_outcome(v1::CallOutcome::Refused);
            message.refusal = status::refusal_reason(&refusal).to_owned();
            if let Refusal::Short(shortages) = refusal {
                message.shortage_count = i32::try_from(shortages.len()).unwrap_or(i32::MAX);
                message.shortages = shortages.into_iter().map(|one| stock::shortage(one, default)).collect();
            }
        }
    }
    message
}

/// A level that differs from the sum of its entries.
pub(crate) fn level_difference(
    difference: Difference,
    repaired: bool,
    default: Option<LocationId>,
) -> v1::LevelDifference {
    let Difference { level, available, revision, recomputed, entries } = difference;
    let ResolvedLevel { id: _, unit_id: _, unit, location: stored, catalog: _ } = level;
    v1::LevelDifference {
        catalog_reference: Some(catalog_reference(Arc::unwrap_or_clone(unit))),
        location_id: location(stored, default),
        available,
        recomputed,
        revision,
        entries,
        repaired,
    }
}
