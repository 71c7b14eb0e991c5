//! The settings of the commands that people type: `stock`, `why`, `order` and `watch`.

use std::time::Duration;

use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use inventory_core::model::ids::parse_guid;
use inventory_proto::v1;
use prost_types::Timestamp;

use super::Remote;
use super::unit_name::{self, UnitName};
use crate::decode::time_in_text;

/// How a unit is named, for the help of the commands.
pub const UNIT: &str = "\
UNIT is a SKU, such as MUG-W, or the catalog's names:
  APP/ITEM              such as 33333333-3333-4333-8333-333333333333/mug
  APP/ITEM/KEY=VALUE    with the options that identify it, separated by commas: APP/shirt/size=M,color=red
  APP/ITEM/{...}        with the options as a JSON object, for numbers and commas
  sku:SKU               a SKU that has a slash
  {...}                 ids that have a slash: {\"app_id\": \"a/b\", \"catalog_item_id\": \"c\", \"options\": {}}";

/// Whom to ask, and how to print the answer.
#[derive(Debug, Args)]
pub struct Ask {
    /// The site of the running server.
    #[command(flatten)]
    pub remote: Remote,
    /// Print JSON for programs: one object with the field names of the contract. Numbers are JSON numbers.
    #[arg(long)]
    pub json: bool,
    /// Seconds to wait for an answer, 1 to 60. The server itself answers within 10.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub timeout_seconds: u64,
}

impl Ask {
    /// How long to wait for an answer.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }
}

/// What can be done with stock levels.
#[derive(Debug, Subcommand)]
pub enum Stock {
    /// Show levels: of the whole site, or of one unit at all of its locations.
    #[command(after_help = UNIT)]
    Show(Show),
    /// Set a level, such as after a count.
    #[command(after_help = UNIT)]
    Set(Set),
    /// Change a level by a number of pieces, such as -2 for two broken ones.
    #[command(after_help = UNIT)]
    Adjust(Adjust),
}

/// Which levels to show.
#[derive(Debug, Args)]
pub struct Show {
    /// The unit; unset: all units. APP/ITEM shows all variants of the item.
    #[arg(value_parser = unit_name::parse)]
    pub unit: Option<UnitName>,
    /// Only levels at this location, a GUID.
    #[arg(long, value_parser = guid)]
    pub location_id: Option<String>,
    /// Only levels below this number: 0 finds the negative ones.
    #[arg(long, allow_negative_numbers = true)]
    pub below: Option<i64>,
    /// Whom to ask.
    #[command(flatten)]
    pub ask: Ask,
}

/// A level.
#[derive(Debug, Args)]
pub struct Place {
    /// The unit.
    #[arg(value_parser = unit_name::parse)]
    pub unit: UnitName,
    /// The location, a GUID. Unset: the site's default location.
    #[arg(long, value_parser = guid)]
    pub location_id: Option<String>,
}

/// What goes with a change of stock.
#[derive(Debug, Args)]
pub struct Change {
    /// Why the stock changes.
    #[arg(long, value_parser = reasons())]
    pub reason: Option<v1::Reason>,
    /// A note for the ledger, at most 200 characters.
    #[arg(long)]
    pub note: Option<String>,
    /// The idempotency key, at most 128 characters; a new one unless given. The same key and change again is a replay:
    /// it changes nothing, and tells the outcome of the first call.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub idempotency_key: Option<String>,
}

/// Which level to set.
#[derive(Debug, Args)]
pub struct Set {
    /// The level.
    #[command(flatten)]
    pub place: Place,
    /// The new level.
    #[arg(allow_negative_numbers = true)]
    pub level: i64,
    /// What goes with it.
    #[command(flatten)]
    pub change: Change,
    /// Whom to ask.
    #[command(flatten)]
    pub ask: Ask,
}

/// Which level to adjust.
#[derive(Debug, Args)]
pub struct Adjust {
    /// The level.
    #[command(flatten)]
    pub place: Place,
    /// The pieces to add, such as 12; negative to take away, such as -2.
    #[arg(allow_negative_numbers = true)]
    pub delta: i64,
    /// What goes with it.
    #[command(flatten)]
    pub change: Change,
    /// Whom to ask.
    #[command(flatten)]
    pub ask: Ask,
}

/// Which level to explain.
#[derive(Debug, Args)]
pub struct Why {
    /// The level.
    #[command(flatten)]
    pub place: Place,
    /// Explain the level as of this sequence number, or this time, such as 2026-11-24T18:00:00Z. Unset: now.
    #[arg(long, value_parser = moment)]
    pub at: Option<Moment>,
    /// Whom to ask.
    #[command(flatten)]
    pub ask: Ask,
}

/// Which order to show.
#[derive(Debug, Args)]
pub struct Order {
    /// The order, a GUID.
    #[arg(value_parser = guid)]
    pub order_id: String,
    /// Whom to ask.
    #[command(flatten)]
    pub ask: Ask,
}

/// From where to watch.
#[derive(Debug, Args)]
pub struct Watch {
    /// Print the entries after this sequence number first; 0: all, if none is archived. Unset: only those that are made
    /// from now on.
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
    pub after: Option<i64>,
    /// Whom to ask.
    #[command(flatten)]
    pub ask: Ask,
}

/// A moment in the life of a site.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moment {
    /// After the entry with this sequence number.
    Sequence(i64),
    /// At this time.
    Time(Timestamp),
}

fn moment(text: &str) -> Result<Moment, String> {
    match (text.parse(), time_in_text(text)) {
        (Ok(sequence), _) if sequence > 0 => Ok(Moment::Sequence(sequence)),
        (_, Some(time)) => Ok(Moment::Time(time)),
        (_, None) => Err("must be a sequence number, at least 1, or a time such as 2026-11-24T18:00:00Z".to_owned()),
    }
}

fn guid(text: &str) -> Result<String, String> {
    parse_guid(text).map(|guid| guid.to_string()).ok_or_else(|| "must be a GUID".to_owned())
}

/// The reasons that a person can give: those that are not about an order.
const REASONS: [(&str, v1::Reason); 8] = [
    ("received", v1::Reason::Received),
    ("damaged", v1::Reason::Damaged),
    ("lost", v1::Reason::Lost),
    ("found", v1::Reason::Found),
    ("correction", v1::Reason::Correction),
    ("returned", v1::Reason::Returned),
    ("theft", v1::Reason::Theft),
    ("transfer", v1::Reason::Transfer),
];

fn reasons() -> impl TypedValueParser<Value = v1::Reason> {
    PossibleValuesParser::new(REASONS.map(|(name, _)| name)).try_map(|typed| {
        let found = REASONS.into_iter().find(|(name, _)| *name == typed);
        found.map(|(_, reason)| reason).ok_or("is no reason")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_sequence_number_or_a_time() {
        assert_eq!(moment("42"), Ok(Moment::Sequence(42)));
        let time = Timestamp { seconds: 1_795_543_200, nanos: 0 };
        assert_eq!(moment("2026-11-24T18:00:00Z"), Ok(Moment::Time(time)));
        assert_eq!(moment("2026-11-24T19:00:00+01:00"), Ok(Moment::Time(time)));
        for bad in ["", "0", "-1", "yesterday", "2026-11-24", "2026-11-24T18:00:00"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_reason_that_is_not_about_an_order_can_be_given() {
        let all = (1..).map_while(|number| v1::Reason::try_from(number).ok());
        let by_hand: Vec<v1::Reason> =
            all.filter(|reason| !reason.as_str_name().starts_with("REASON_ORDER_")).collect();
        assert_eq!(by_hand, REASONS.map(|(_, reason)| reason));
        for (name, reason) in REASONS {
            assert_eq!(reason.as_str_name(), format!("REASON_{}", name.to_ascii_uppercase()));
        }
    }
}
