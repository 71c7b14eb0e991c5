//! What an order's history says about its next call.
//!
//! - **Suspected duplicate**: an ORDER_PLACED or ORDER_PAID decrement, after an earlier one of the order took the same
//!   items, and none of them has come back since.
//! - **Over-return**: an increment of more than the order holds. It is judged by unit, over all locations, since goods
//!   may come back to another location than they left (Wix: a line may be restocked at up to five, documented in part).
//!
//! Neither is certain: a shop may legitimately place an order twice under two request ids. So by default both are only
//! marked, and a site's policies may change that.

use std::collections::HashMap;

use crate::model::action::Kind;
use crate::model::command::{Command, Reason};
use crate::model::ids::{OrderId, UnitId};
use crate::model::limits;
use crate::model::order::{OrderHistory, Part, PastCall};

/// What the rules ask of the history of a command's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the command is a duplicate. Most such commands are the first of their order.
    Duplicate,
    /// Whether the command returns too much. Most such commands follow others.
    Return,
}

/// The order whose history `command` is judged by, and the question; `None` if it is not judged.
pub fn question(command: &Command) -> Option<(OrderId, Question)> {
    let header = command.header();
    let question = match command.action().kind() {
        kind @ Kind::Decrement => takes_as_ordered(kind, header.reason).then_some(Question::Duplicate),
        Kind::Increment => Some(Question::Return),
        Kind::Set | Kind::Adjust | Kind::Move | Kind::Repair => None,
    };
    Some((header.order?, question?))
}

fn takes_as_ordered(kind: Kind, reason: Reason) -> bool {
    kind == Kind::Decrement && matches!(reason, Reason::OrderPlaced | Reason::OrderPaid)
}

/// Whether the history is longer than the rules look at: then nothing is suspected.
fn is_too_long(history: &OrderHistory) -> bool {
    let entries: usize = history.calls.iter().map(|call| call.parts.len()).sum();
    entries > limits::ORDER_ENTRIES_MAX
}

/// Whether a decrement of `parts` looks like a duplicate of an earlier one.
pub(super) fn is_duplicate(history: &OrderHistory, parts: impl Iterator<Item = Part>) -> bool {
    if history.calls.is_empty() || is_too_long(history) {
        return false;
    }
    let mut wanted: Vec<Part> = parts.collect();
    wanted.sort_unstable();
    let same = |call: &PastCall| {
        let mut taken: Vec<Part> = call.parts.iter().map(|(part, _)| *part).collect();
        taken.sort_unstable();
        takes_as_ordered(call.kind, call.reason) && taken == wanted
    };
    let returns = |call: &PastCall| {
        let is_wanted = |unit: UnitId| wanted.iter().any(|part| part.unit == unit);
        call.kind == Kind::Increment && call.parts.iter().any(|(part, _)| is_wanted(part.unit))
    };
    // If several match, use the latest: it is the least likely to have been returned.
    let last = history.calls.iter().rposition(same);
    last.is_some_and(|index| !history.calls[index + 1..].iter().any(returns))
}

/// What an order holds, while one of its calls gives pieces back.
pub(super) struct Holdings {
    held: HashMap<UnitId, i64>,
    /// Whether the order was seen before.
    pub(super) seen: bool,
}

impl Holdings {
    /// What the order holds of each unit; `None` if its history is too long.
    pub(super) fn of(history: &OrderHistory) -> Option<Self> {
        if is_too_long(history) {
            return None;
        }
        let mut held: HashMap<UnitId, i64> = HashMap::new();
        for (part, pieces) in history.calls.iter().flat_map(|call| &call.parts) {
            let net = held.entry(part.unit).or_default();
            *net = net.saturating_sub(*pieces);
        }
        Some(Self { held, seen: history.answered || !history.calls.is_empty() })
    }

    /// How many of `pieces` the order holds.
    pub(super) fn covers(&self, unit: UnitId, pieces: i64) -> i64 {
        self.held.get(&unit).map_or(0, |held| pieces.min((*held).max(0)))
    }

    /// Takes returned pieces off.
    pub(super) fn give_back(&mut self, unit: UnitId, pieces: i64) {
        let held = self.held.entry(unit).or_default();
        *held = held.saturating_sub(pieces);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::ids::LocationId;

    const A: UnitId = UnitId::from_uuid(Uuid::from_u128(1));
    const B: UnitId = UnitId::from_uuid(Uuid::from_u128(2));

    /// Kind, reason, and what was asked for and applied.
    type Call<'a> = (Kind, Reason, &'a [(UnitId, i64)]);

    fn part(unit: UnitId, asked: i64) -> Part {
        Part { unit, location: None, subscription: false, asked }
    }

    fn history(calls: &[Call<'_>]) -> OrderHistory {
        let call = |(kind, reason, parts): &Call<'_>| PastCall {
            kind: *kind,
            reason: *reason,
            parts: parts.iter().map(|(unit, delta)| (part(*unit, *delta), *delta)).collect(),
        };
        OrderHistory { calls: calls.iter().map(call).collect(), ..OrderHistory::default() }
    }

    #[test]
    fn which_decrements_look_like_duplicates() {
        use Kind::{Decrement, Increment};
        use Reason::{OrderCanceled, OrderEdited, OrderPaid, OrderPlaced};
        type Row<'a> = (&'a str, &'a [Call<'a>], bool);
        let rows: &[Row<'_>] = &[
            ("nothing before", &[], false),
            ("the same", &[(Decrement, OrderPlaced, &[(B, -2), (A, -1)])], true),
            ("the same as it was paid", &[(Decrement, OrderPaid, &[(A, -1), (B, -2)])], true),
            ("the same by an edit", &[(Decrement, OrderEdited, &[(A, -1), (B, -2)])], false),
            ("more", &[(Decrement, OrderPlaced, &[(A, -1), (B, -3)])], false),
            ("less", &[(Decrement, OrderPlaced, &[(A, -1)])], false),
            (
                "returned since",
                &[(Decrement, OrderPlaced, &[(A, -1), (B, -2)]), (Increment, OrderCanceled, &[(B, 1)])],
                false,
            ),
            (
                "returned before",
                &[(Increment, OrderCanceled, &[(A, 1)]), (Decrement, OrderPlaced, &[(A, -1), (B, -2)])],
                true,
            ),
            (
                "returned, and taken again",
                &[
                    (Decrement, OrderPlaced, &[(A, -1), (B, -2)]),
                    (Increment, OrderCanceled, &[(A, 1), (B, 2)]),
                    (Decrement, OrderPlaced, &[(A, -1), (B, -2)]),
                ],
                true,
            ),
        ];
        for (what, calls, expected) in rows {
            let parts = [part(A, -1), part(B, -2)].into_iter();
            assert_eq!(is_duplicate(&history(calls), parts), *expected, "{what}");
        }
        let elsewhere = Part { location: Some(LocationId::from_uuid(Uuid::from_u128(9))), ..part(A, -1) };
        assert!(!is_duplicate(&history(&[(Decrement, OrderPlaced, &[(A, -1)])]), std::iter::once(elsewhere)));
    }

    #[test]
    fn what_an_order_holds() {
        let calls: &[Call<'_>] = &[
            (Kind::Decrement, Reason::OrderPlaced, &[(A, -3), (B, -1)]),
            (Kind::Increment, Reason::OrderRefunded, &[(A, 1), (B, 4)]),
        ];
        let mut holdings = Holdings::of(&history(calls)).expect("short");
        assert_eq!(
            (holdings.covers(A, 5), holdings.covers(A, 1), holdings.covers(B, 1), holdings.seen),
            (2, 1, 0, true)
        );
        holdings.give_back(A, 2);
        assert_eq!(holdings.covers(A, 5), 0);
        assert!(!Holdings::of(&OrderHistory::default()).expect("short").seen);
        let mut endless = history(calls);
        endless.calls = endless.calls.into_iter().cycle().take(limits::ORDER_ENTRIES_MAX / 2).collect();
        assert!(Holdings::of(&endless).is_some());
        endless.calls.push(endless.calls[0].clone());
        assert!(Holdings::of(&endless).is_none());
    }
}
