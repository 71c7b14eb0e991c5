//! What the core says, as messages.

use inventory_core::catalog::Unit;
use inventory_core::command::{Kind, Reason};
use inventory_core::explain::{Explained, Sum};
use inventory_core::ids::{LocationId, SiteId};
use inventory_core::journal::OrderLine;
use inventory_core::order::{Marks, OrderPolicies, OverReturns, SuspectedRepeats};
use inventory_core::outcome::{Changed, LevelAfter, Refusal, Shortage};
use inventory_core::site::SiteSettings;
use inventory_core::store::{Call, CallOutcome, Entry, Stock};
use inventory_core::unit::{SettledUnit, Tracking, UnitRules, UnitSettings};
use inventory_proto::{json, v1};
use prost_types::Timestamp;

use crate::status;

/// A unit, by the options that identify it.
pub fn catalog_reference(unit: Unit) -> v1::CatalogReference {
    let Unit { app_id, item_id, variant } = unit;
    let options = variant.options();
    let options = (!options.is_empty()).then(|| json::from_json(options));
    v1::CatalogReference { app_id, catalog_item_id: item_id, options }
}

/// A location's id; empty where it has none.
pub fn location(location: Option<LocationId>) -> String {
    location.map(|id| id.to_string()).unwrap_or_default()
}

/// A level right after a request.
pub fn level(level: LevelAfter) -> v1::Level {
    let LevelAfter { unit, location: at, available } = level;
    v1::Level { catalog_reference: Some(catalog_reference(unit)), location_id: location(at), available }
}

/// A level that is short.
pub fn shortage(shortage: Shortage) -> v1::Shortage {
    let Shortage { unit, location: at, asked, available, short } = shortage;
    v1::Shortage {
        catalog_reference: Some(catalog_reference(unit)),
        location_id: location(at),
        asked,
        available,
        short,
    }
}

/// A level that is not what was expected.
pub fn changed(changed: Changed) -> v1::ChangedLevel {
    let Changed { item, unit, location: at, available, revision } = changed;
    v1::ChangedLevel {
        // Below the bound on the items of a request.
        item: i32::try_from(item).unwrap_or(i32::MAX),
        catalog_reference: Some(catalog_reference(unit)),
        location_id: location(at),
        available,
        revision,
    }
}

/// Why a level is what it is, with at most `orders_max` orders.
pub fn explained(explained: Explained, entries: Vec<v1::Entry>, orders_max: usize) -> v1::ExplainLevelResponse {
    let Explained { available, sequence, before, entries: explained_entries, sums, orders } = explained;
    let sum = |Sum { kind: of_kind, reason: why, entries, delta }| v1::ExplainedSum {
        kind: kind(of_kind).into(),
        reason: reason(why).into(),
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
            .take(orders_max)
            .map(|(order, net)| v1::OrderHolding { order_id: order.to_string(), net })
            .collect(),
        entries,
    }
}

/// Stock of a unit at a location.
pub fn stock(stock: Stock) -> v1::Stock {
    let Stock { unit, location: at, available, revision, last_sequence, settings } = stock;
    let UnitSettings { sku, name, rules } = settings;
    v1::Stock {
        catalog_reference: Some(catalog_reference(unit)),
        location_id: location(at),
        available,
        revision,
        last_sequence,
        sku: sku.unwrap_or_default(),
        name,
        tracking: tracking(rules.tracking).into(),
        backorder_limit: rules.backorder_limit,
    }
}

/// A unit with what is settled for it.
pub fn unit(unit: SettledUnit) -> v1::Unit {
    let SettledUnit { unit, settings: UnitSettings { sku, name, rules } } = unit;
    let UnitRules { tracking: counted, backorder_limit, counts_subscriptions } = rules;
    v1::Unit {
        catalog_reference: Some(catalog_reference(unit)),
        sku: sku.unwrap_or_default(),
        name,
        tracking: tracking(counted).into(),
        backorder_limit,
        counts_subscriptions,
    }
}

/// A line of the ledger.
pub fn entry(entry: Entry) -> v1::Entry {
    let Entry {
        sequence,
        change_sequence,
        unit,
        location: at,
        asked,
        delta,
        level_after,
        subscription,
        marks: noticed,
        kind: of_kind,
        reason: why,
        order,
        request_id,
        actor,
        recorded_at,
        note,
    } = entry;
    v1::Entry {
        sequence,
        delta,
        level_after,
        reason: reason(why).into(),
        order_id: order.map(|id| id.to_string()).unwrap_or_default(),
        catalog_reference: Some(catalog_reference(unit)),
        location_id: location(at),
        kind: kind(of_kind).into(),
        change_sequence,
        request_id,
        actor,
        subscription_item: subscription,
        record_time: Some(timestamp(recorded_at)),
        note,
        asked_delta: asked,
        marks: marks(noticed),
    }
}

/// Short levels that are told of all refusals of an order together.
const SHORTAGES_MAX: usize = 500;

/// The calls that an order made.
pub fn calls(calls: Vec<Call>) -> Vec<v1::OrderCall> {
    let mut left = SHORTAGES_MAX;
    let told = |one| {
        let mut told = call(one);
        told.shortage_count = i32::try_from(told.shortages.len()).unwrap_or(i32::MAX);
        told.shortages.truncate(left);
        left -= told.shortages.len();
        told
    };
    calls.into_iter().map(told).collect()
}

fn call(call: Call) -> v1::OrderCall {
    let Call { kind: of_kind, reason: why, request_id, actor, recorded_at, sequence, outcome } = call;
    let mut told = v1::OrderCall {
        kind: kind(of_kind).into(),
        reason: reason(why).into(),
        request_id,
        actor,
        record_time: Some(timestamp(recorded_at)),
        sequence,
        ..Default::default()
    };
    match outcome {
        CallOutcome::Applied { first_sequence } => {
            told.set_outcome(v1::CallOutcome::Applied);
            told.change_sequence = first_sequence;
        }
        CallOutcome::Suppressed => told.set_outcome(v1::CallOutcome::Suppressed),
        CallOutcome::Refused(refusal) => {
            told.set_outcome(v1::CallOutcome::Refused);
            told.refusal = status::refusal_reason(&refusal).to_owned();
            if let Refusal::Short(shortages) = refusal {
                told.shortages = shortages.into_iter().map(shortage).collect();
            }
        }
    }
    told
}

/// A line of an order's journal.
pub fn order_line(line: OrderLine) -> v1::OrderLine {
    let OrderLine { unit, location: at, taken, returned } = line;
    v1::OrderLine {
        catalog_reference: Some(catalog_reference(unit)),
        location_id: location(at),
        taken,
        returned,
        net: taken.saturating_sub(returned),
    }
}

/// A site with its settings.
pub fn site(site: SiteId, settings: SiteSettings, sequence: i64) -> v1::Site {
    let SiteSettings { default_location, option_keys, order_policies, revision } = settings;
    let OrderPolicies { suspected_repeats, over_returns } = order_policies;
    v1::Site {
        site_id: site.to_string(),
        default_location_id: location(default_location),
        option_keys: option_keys.into_iter().map(|(app_id, keys)| v1::OptionKeys { app_id, keys }).collect(),
        sequence,
        revision,
        suspected_repeats: match suspected_repeats {
            SuspectedRepeats::Report => v1::SuspectedRepeatPolicy::Report,
            SuspectedRepeats::Suppress => v1::SuspectedRepeatPolicy::Suppress,
        }
        .into(),
        over_returns: match over_returns {
            OverReturns::Report => v1::OverReturnPolicy::Report,
            OverReturns::Clip => v1::OverReturnPolicy::Clip,
        }
        .into(),
    }
}

fn tracking(tracking: Tracking) -> v1::Tracking {
    match tracking {
        Tracking::Quantity => v1::Tracking::Quantity,
        Tracking::Status => v1::Tracking::Status,
    }
}

fn marks(Marks { suspected_repeat, over_return }: Marks) -> Vec<i32> {
    let repeat = suspected_repeat.then_some(v1::Mark::SuspectedRepeat);
    let over_return = over_return.then_some(v1::Mark::OverReturn);
    repeat.into_iter().chain(over_return).map(i32::from).collect()
}

fn kind(kind: Kind) -> v1::Kind {
    match kind {
        Kind::Decrement => v1::Kind::Decrement,
        Kind::Increment => v1::Kind::Increment,
        Kind::Set => v1::Kind::Set,
        Kind::Adjust => v1::Kind::Adjust,
        Kind::Move => v1::Kind::Move,
        Kind::Repair => v1::Kind::Repair,
    }
}

fn reason(reason: Reason) -> v1::Reason {
    match reason {
        Reason::Unspecified => v1::Reason::Unspecified,
        Reason::OrderPlaced => v1::Reason::OrderPlaced,
        Reason::OrderPaid => v1::Reason::OrderPaid,
        Reason::OrderEdited => v1::Reason::OrderEdited,
        Reason::OrderCanceled => v1::Reason::OrderCanceled,
        Reason::OrderRefunded => v1::Reason::OrderRefunded,
        Reason::OrderRejected => v1::Reason::OrderRejected,
        Reason::Received => v1::Reason::Received,
        Reason::Damaged => v1::Reason::Damaged,
        Reason::Lost => v1::Reason::Lost,
        Reason::Found => v1::Reason::Found,
        Reason::Correction => v1::Reason::Correction,
        Reason::Returned => v1::Reason::Returned,
        Reason::Theft => v1::Reason::Theft,
        Reason::Transfer => v1::Reason::Transfer,
    }
}

fn timestamp(micros: i64) -> Timestamp {
    let nanos = micros.rem_euclid(1_000_000) * 1_000;
    // Below 1,000,000,000 by the line above.
    Timestamp { seconds: micros.div_euclid(1_000_000), nanos: i32::try_from(nanos).unwrap_or_default() }
}
