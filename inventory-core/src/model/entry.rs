//! Ledger entries, as readers get them.

use crate::model::action::Kind;
use crate::model::catalog::Unit;
use crate::model::command::Reason;
use crate::model::ids::{LocationId, OrderId};

/// One immutable change of one level, with the header of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The sequence number: per site 1, 2, 3, … in commit order.
    pub sequence: i64,
    /// The sequence number of the first entry of the same request.
    pub change_sequence: i64,
    /// The unit.
    pub unit: Unit,
    /// The location as stored; `None` is the default location.
    pub location: Option<LocationId>,
    /// The change that the request asked for.
    pub asked: i64,
    /// The change of the level. 0 if the items are not counted, or the return was clipped.
    pub delta: i64,
    /// The level after this entry.
    pub level_after: i64,
    /// Whether the items were sold as subscriptions.
    pub subscription: bool,
    /// Findings of the order rules.
    pub marks: Marks,
    /// The kind of the request.
    pub kind: Kind,
    /// The reason that the request gave.
    pub reason: Reason,
    /// The order.
    pub order: Option<OrderId>,
    /// The idempotency key of the request.
    pub request_id: String,
    /// Who called.
    pub actor: String,
    /// When it was recorded: microseconds since 1970.
    pub recorded_at: i64,
    /// The caller's note.
    pub note: String,
}

/// Findings of the order rules about an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The request is a suspected duplicate of another one under another key.
    pub suspected_repeat: bool,
    /// The request gives back more than the order holds.
    pub over_return: bool,
}

impl Marks {
    /// The number that stands for them in the database; a bit for each.
    pub const fn code(self) -> i16 {
        (self.suspected_repeat as i16) | (self.over_return as i16) << 1
    }

    /// The marks of a stored number.
    pub const fn from_code(code: i16) -> Self {
        Self { suspected_repeat: code & 1 != 0, over_return: code & 2 != 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_stored_as_bits() {
        for code in 0..4 {
            assert_eq!(Marks::from_code(code).code(), code);
        }
    }
}
