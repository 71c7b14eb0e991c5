//! Ledger entries, as readers get them.

use crate::model::access::Author;
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
    /// Findings of the rules.
    pub marks: Marks,
    /// The kind of the request.
    pub kind: Kind,
    /// The reason that the request gave.
    pub reason: Reason,
    /// The order.
    pub order: Option<OrderId>,
    /// The idempotency key of the request.
    pub request_id: String,
    /// Who called, and on whose behalf.
    pub author: Author,
    /// When it was recorded: microseconds since 1970.
    pub recorded_at: i64,
    /// The caller's note.
    pub note: String,
}

impl Entry {
    /// The pieces that changed hands: negative if an order took them, positive if they came back.
    pub fn pieces(&self) -> i64 {
        pieces(self.asked, self.delta, self.marks)
    }
}

/// The pieces that changed hands by an entry of an order. Items that are not counted change hands without a change of
/// the level; of a clipped return, the pieces that were refused do not.
pub(crate) const fn pieces(asked: i64, delta: i64, marks: Marks) -> i64 {
    if marks.over_return { delta } else { asked }
}

/// Findings of the rules about an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The request is a suspected duplicate of another one under another key.
    pub suspected_repeat: bool,
    /// The request gives back more than the order holds.
    pub over_return: bool,
    /// An unrestricted request took a unit outside of its sales window.
    pub outside_sales_window: bool,
}

impl Marks {
    /// The number that stands for them in the database; a bit for each.
    pub const fn code(self) -> i16 {
        (self.suspected_repeat as i16) | (self.over_return as i16) << 1 | (self.outside_sales_window as i16) << 2
    }

    /// The marks of a stored number.
    pub const fn from_code(code: i16) -> Self {
        Self { suspected_repeat: code & 1 != 0, over_return: code & 2 != 0, outside_sales_window: code & 4 != 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_stored_as_bits() {
        for code in 0..8 {
            assert_eq!(Marks::from_code(code).code(), code);
        }
    }
}
