//! What orders did: the history that the rules judge by, and the calls that readers get.

use crate::model::access::Author;
use crate::model::action::Kind;
use crate::model::command::Reason;
use crate::model::ids::{LocationId, OrderId, SiteId, UnitId};
use crate::model::outcome::Refusal;

/// An order of a site.
pub type OrderKey = (SiteId, OrderId);

/// What one call of an order asked of one unit at one location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// The unit.
    pub unit: UnitId,
    /// The location as stored; `None` is the default location.
    pub location: Option<LocationId>,
    /// Whether it was sold as a subscription.
    pub subscription: bool,
    /// The change that was asked for.
    pub asked: i64,
}

/// An applied call of an order.
#[derive(Clone, Debug)]
pub struct PastCall {
    /// The kind of request.
    pub kind: Kind,
    /// The reason that it gave.
    pub reason: Reason,
    /// What it asked for, each with the pieces that changed hands.
    pub parts: Vec<(Part, i64)>,
}

/// The earlier calls of an order.
#[derive(Clone, Debug, Default)]
pub struct OrderHistory {
    /// The applied calls, in the order in which they were decided.
    pub calls: Vec<PastCall>,
    /// Whether a call was answered without an entry. Then the order was seen, even if it took nothing.
    pub answered: bool,
}

/// A call of an order, and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderCall {
    /// The kind of request.
    pub kind: Kind,
    /// The reason that it gave.
    pub reason: Reason,
    /// Its idempotency key.
    pub request_id: String,
    /// Who called, and on whose behalf.
    pub author: Author,
    /// When it was decided: microseconds since 1970.
    pub recorded_at: i64,
    /// The site's sequence number after it.
    pub sequence: i64,
    /// The outcome.
    pub outcome: CallOutcome,
}

/// The outcome of a call of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// It was applied.
    Applied {
        /// The sequence number of its first entry.
        first_sequence: i64,
    },
    /// It was suppressed as a duplicate.
    Suppressed,
    /// It was refused.
    Refused(Refusal),
}

impl OrderCall {
    /// Sort key: a call without entries precedes the next entry.
    pub(crate) fn position(&self) -> (i64, bool, i64) {
        match self.outcome {
            CallOutcome::Applied { first_sequence } => (first_sequence, true, self.recorded_at),
            CallOutcome::Suppressed | CallOutcome::Refused(_) => {
                (self.sequence.saturating_add(1), false, self.recorded_at)
            }
        }
    }
}
