//! Outcomes of commands. A refusal is an outcome, not an error: it is decided, recorded, and returned to a replay.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::catalog::{Unit, Variant};
use crate::model::ids::{LocationId, SiteId, parse_guid};

/// The durable outcome of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The site.
    pub site: SiteId,
    /// The id under which the default location is shown, if it has one.
    pub default_location: Option<LocationId>,
    /// The site's sequence number after the request: that of its last entry, or of the entry before if it made none.
    pub sequence: i64,
    /// Whether this is a replay: the recorded outcome of an earlier call.
    pub replayed: bool,
    /// Applied or refused.
    pub verdict: Verdict,
    /// Findings of the order rules. Empty for a replay.
    pub findings: Vec<Finding>,
}

/// A finding of the order rules, and what was done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A suspected duplicate was applied.
    DuplicateReported,
    /// A suspected duplicate was not applied.
    DuplicateSuppressed,
    /// An over-return was applied.
    OverReturnReported,
    /// Of an over-return, only what the order held was given back.
    OverReturnClipped,
    /// An unrestricted decrement took a unit outside of its sales window.
    OutsideWindowReported,
}

/// Applied or refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All items were applied. Lists the levels that got an entry, as they were right after.
    Applied(Vec<LevelAfter>),
    /// No item was applied.
    Refused(Refusal),
}

/// A level right after a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelAfter {
    /// The unit.
    pub unit: Arc<Unit>,
    /// The location as stored; `None` is the default location.
    pub location: Option<LocationId>,
    /// The level.
    pub available: i64,
}

/// Why nothing was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Stock is short, or units are not on sale. Lists every such level.
    Short(Vec<Shortage>),
    /// A level would leave the range of a signed 64-bit number.
    OutOfRange {
        /// Index of the first such item.
        item: usize,
    },
    /// Two items set the same level.
    SameLevelTwice {
        /// Index of the earlier item.
        first: usize,
        /// Index of the later item.
        item: usize,
    },
    /// A level was counted at a sequence number that the ledger has not reached.
    NotYet {
        /// Index of the item.
        item: usize,
    },
    /// A level was counted at a sequence number whose entries are archived.
    Gone {
        /// Index of the item.
        item: usize,
        /// The sequence number of the last entry that is archived.
        cut: i64,
    },
    /// Levels differ from what the caller expected. Lists every such level.
    Changed(Vec<ChangedLevel>),
}

/// A level that differs from what the caller expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedLevel {
    /// Index of the item.
    pub item: usize,
    /// The unit.
    #[serde(with = "stored_unit")]
    pub unit: Unit,
    /// The location as stored; `None` is the default location.
    #[serde(with = "stored_location_id")]
    pub location: Option<LocationId>,
    /// The level now.
    pub available: i64,
    /// The number of its entries now.
    pub revision: i64,
}

/// Why a level was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShortageReason {
    /// Stock is short.
    #[default]
    InsufficientStock,
    /// The unit is not on sale yet.
    NotOnSaleYet,
    /// The unit is no longer on sale.
    NoLongerOnSale,
}

/// A level that is short, or whose unit is not on sale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// The unit.
    #[serde(with = "stored_unit")]
    pub unit: Unit,
    /// The location as stored; `None` is the default location.
    #[serde(with = "stored_location_id")]
    pub location: Option<LocationId>,
    /// Pieces asked for, summed over the items of the request.
    pub asked: i64,
    /// The level.
    pub available: i64,
    /// Pieces that are missing. 0 if only the sales window refuses.
    pub short: i64,
    /// Why. The sales window goes before the stock.
    // Refusals that were recorded before there were sales windows have none.
    #[serde(default)]
    pub reason: ShortageReason,
}

mod stored_unit {
    use super::*;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(unit: &Unit, to: S) -> Result<S::Ok, S::Error> {
        (&unit.app_id, &unit.item_id, unit.variant.as_str()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Unit, D::Error> {
        let (app_id, item_id, variant) = <(String, String, String)>::deserialize(from)?;
        Ok(Unit { app_id, item_id, variant: Variant::from_text(variant) })
    }
}

mod stored_location_id {
    use super::*;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(location: &Option<LocationId>, to: S) -> Result<S::Ok, S::Error> {
        location.map(|location| location.to_string()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<LocationId>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        Ok(text.as_deref().and_then(parse_guid).map(LocationId::from_uuid))
    }
}
