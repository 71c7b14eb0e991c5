//! What the core answers, as messages.
//!
//! This is the only place that shows a location. The core keeps a location as it is stored, where `None` is the default
//! location. Each function that shows one takes the id of the default location, from the same snapshot or outcome as
//! the rest, and shows that id instead. Without an id the field is empty.

mod ledger;
mod stock;

use inventory_core::model::access::Author;
use inventory_core::model::action::Kind;
use inventory_core::model::catalog::Unit;
use inventory_core::model::command::Reason;
use inventory_core::model::ids::LocationId;
use inventory_core::model::journal::{JournalEntry, SettingChange};
use inventory_core::model::kind::{CatalogSettings, Counting, Tracking, Unstocked};
use inventory_core::model::site::{OrderPolicies, OverReturnPolicy, Site, SiteSettings, SuspectedRepeatPolicy};
use inventory_proto::{json, v1};
use prost_types::Timestamp;

pub(crate) use self::ledger::{entry, explained, level_difference, order};
pub(crate) use self::stock::{changed_level, level, shortage, stock, unit};

/// A unit, with the options that identify it.
fn catalog_reference(unit: Unit) -> v1::CatalogReference {
    let Unit { app_id, item_id, variant } = unit;
    let options = variant.options();
    let options = (!options.is_empty()).then(|| json::from_json(options));
    v1::CatalogReference { app_id, catalog_item_id: item_id, options, options_json: String::new() }
}

/// A stored location. `default` is the id of the default location.
fn location(stored: Option<LocationId>, default: Option<LocationId>) -> String {
    stored.or(default).map(|id| id.to_string()).unwrap_or_default()
}

/// A site and its settings.
pub(crate) fn site(site: Site) -> v1::Site {
    // The time of the last batch is for the writers; callers see it in the entries.
    let Site { id, sequence, recorded_at: _, settings } = site;
    let SiteSettings { default_location, catalogs, order_policies, revision } = settings;
    let OrderPolicies { suspected_repeats, over_returns } = order_policies;
    v1::Site {
        site_id: id.to_string(),
        default_location_id: location(None, default_location),
        catalogs: catalogs.into_iter().map(|(app_id, settings)| catalog(app_id, settings)).collect(),
        sequence,
        revision,
        suspected_repeats: match suspected_repeats {
            SuspectedRepeatPolicy::Report => v1::SuspectedRepeatPolicy::Report,
            SuspectedRepeatPolicy::Suppress => v1::SuspectedRepeatPolicy::Suppress,
        }
        .into(),
        over_returns: match over_returns {
            OverReturnPolicy::Report => v1::OverReturnPolicy::Report,
            OverReturnPolicy::Clip => v1::OverReturnPolicy::Clip,
        }
        .into(),
    }
}

/// A site's settings for a catalog app. What is built in stays unset.
fn catalog(app_id: String, settings: CatalogSettings) -> v1::CatalogSettings {
    let CatalogSettings { option_keys, counting, unstocked } = settings;
    let Counting { tracking: tracked, backorder_limit, counts_subscriptions } = counting;
    v1::CatalogSettings {
        app_id,
        option_keys: option_keys.map(|keys| v1::OptionKeys { keys }),
        tracking: tracked.map(tracking).unwrap_or_default(),
        backorder_limit,
        counts_subscriptions,
        unstocked: match unstocked {
            None => v1::Unstocked::Unspecified,
            Some(Unstocked::Refuse) => v1::Unstocked::Refuse,
            Some(Unstocked::Sell) => v1::Unstocked::Sell,
        }
        .into(),
    }
}

/// A change of settings.
pub(crate) fn setting_change(entry: JournalEntry) -> v1::SettingChange {
    let JournalEntry { id: change_id, change } = entry;
    // The caller asked for the site.
    let SettingChange { site: _, subject, author, recorded_at, before, after } = change;
    let Author { actor, on_behalf_of } = author;
    let record_time = Some(timestamp(recorded_at));
    v1::SettingChange { change_id, subject, actor, on_behalf_of, record_time, before, after }
}

fn tracking(tracking: Tracking) -> i32 {
    match tracking {
        Tracking::Quantity => v1::Tracking::Quantity,
        Tracking::Status => v1::Tracking::Status,
        Tracking::Untracked => v1::Tracking::Untracked,
    }
    .into()
}

fn kind(kind: Kind) -> i32 {
    match kind {
        Kind::Decrement => v1::Kind::Decrement,
        Kind::Increment => v1::Kind::Increment,
        Kind::Set => v1::Kind::Set,
        Kind::Adjust => v1::Kind::Adjust,
        Kind::Move => v1::Kind::Move,
        Kind::Repair => v1::Kind::Repair,
    }
    .into()
}

fn reason(reason: Reason) -> i32 {
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
    .into()
}

/// A time given in microseconds since 1970.
pub(crate) fn timestamp(micros: i64) -> Timestamp {
    let nanos = micros.rem_euclid(1_000_000) * 1_000;
    // Below 1,000,000,000 by the line above.
    Timestamp { seconds: micros.div_euclid(1_000_000), nanos: i32::try_from(nanos).unwrap_or_default() }
}
