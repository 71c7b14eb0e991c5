//! What became of a command. A refusal is an answer, not an error: it is decided, recorded and
//! given again to a repeat.

use serde::{Deserialize, Serialize};

use crate::catalog::{Unit, Variant};
use crate::ids::{LocationId, SiteId, parse_guid};

/// The durable outcome of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whose stock.
    pub site: SiteId,
    /// The site's sequence after the request: that of its last entry, or, where it made none,
    /// that of the entry before it.
    pub sequence: i64,
    /// Whether this is the recorded outcome of an earlier request with the same key.
    pub repeated: bool,
    /// Applied or refused.
    pub verdict: Verdict,
    /// What was noticed about it in the light of its order's past, and what was done about that. Nothing
    /// of a repeat.
    pub noticed: Vec<Noticed>,
}

/// What was noticed, and what was done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// A suspected repeat was carried out.
    RepeatReported,
    /// A suspected repeat was not carried out.
    RepeatSuppressed,
    /// More was given back than the order held.
    OverReturnReported,
    /// Only what the order held was given back.
    OverReturnClipped,
}

/// Applied or refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it was carried out. Lists the levels that changed, as they were right after.
    Applied(Vec<LevelAfter>),
    /// None of it was carried out.
    Refused(Refusal),
}

/// A level right after a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelAfter {
    /// Of what.
    pub unit: Unit,
    /// Where; `None` is a default location that has not been given an id.
    pub location: Option<LocationId>,
    /// The level.
    pub available: i64,
}

/// Why nothing was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// There is not enough. Lists every level that is short.
    Short(Vec<Shortage>),
    /// A level would leave the range of a 64-bit number.
    OutOfRange {
        /// Index of the (first) item that would do it.
        item: usize,
    },
    /// Two items of one request set the same level.
    SameLevelTwice {
        /// Index of the earlier item.
        first: usize,
        /// Index of the later item.
        item: usize,
    },
    /// A count is of a time that the ledger has not reached.
    NotYet {
        /// Index of the item.
        item: usize,
    },
    /// Levels are not what the caller believed them to be. Lists every one of them, as it is.
    Changed(Vec<Changed>),
}

/// A level that is not what the caller believed it to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Index of the item.
    pub item: usize,
    /// Of what.
    #[serde(with = "stored_unit")]
    pub unit: Unit,
    /// Where; `None` is a default location that has not been given an id.
    #[serde(with = "stored_location")]
    pub location: Option<LocationId>,
    /// The level.
    pub available: i64,
    /// The number of its changes so far.
    pub revision: i64,
}

/// One level that is short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// Of what.
    #[serde(with = "stored_unit")]
    pub unit: Unit,
    /// Where; `None` is a default location that has not been given an id.
    #[serde(with = "stored_location")]
    pub location: Option<LocationId>,
    /// Pieces asked for, over all items of the request.
    pub asked: i64,
    /// Pieces that were there.
    pub available: i64,
    /// Pieces that were missing.
    pub short: i64,
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

mod stored_location {
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
