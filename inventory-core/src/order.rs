//! What an order has done before, and what that makes of its next call.
//!
//! - **Suspected repeat**: a decrement as an order is placed or paid, with the same items as an earlier one
//!   of the order of which nothing has been returned since.
//! - **Over-return**: an increment beyond what the order still holds. It is reckoned by unit, over all
//!   locations, since goods may come back to another place than they left (Wix: a line may be
//!   restocked at up to five, documented in parts).
//!
//! Neither is certain: an order may well be placed twice by a shop that says so under two names. So by
//! default they are only marked, and a site may settle that they are not carried out.

use std::collections::HashMap;

use crate::command::{Kind, Reason, stored_as};
use crate::ids::{LocationId, UnitId};
use crate::limits;

/// What is done about a suspected repeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SuspectedRepeats {
    /// It is carried out, and marked.
    #[default]
    Report,
    /// It is answered as if it were carried out, and nothing is entered.
    Suppress,
}

/// What is done about an over-return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverReturns {
    /// It is carried out, and marked.
    #[default]
    Report,
    /// Only what the order holds is given back. Of an order that was never seen nothing is known: its
    /// increments are carried out and marked.
    Clip,
}

stored_as!(SuspectedRepeats { Report = 1, Suppress = 2 });
stored_as!(OverReturns { Report = 1, Clip = 2 });

/// What a site has settled about orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderPolicies {
    /// About suspected repeats.
    pub suspected_repeats: SuspectedRepeats,
    /// About over-returns.
    pub over_returns: OverReturns,
}

/// What was noticed about an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Its request looks like a repeat of another under another key.
    pub suspected_repeat: bool,
    /// It gives back, or was to give back, more than its order holds.
    pub over_return: bool,
}

impl Marks {
    /// The number that stands for them in the store.
    pub const fn code(self) -> i16 {
        (self.suspected_repeat as i16) | (self.over_return as i16) << 1
    }

    /// What a stored number means.
    pub const fn from_code(code: i16) -> Self {
        Self { suspected_repeat: code & 1 != 0, over_return: code & 2 != 0 }
    }
}

/// How a call is looked at in the light of its order's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Whether it is a repeat. Most such calls are the first of their order.
    Repeat,
    /// Whether it returns too much. Most such calls follow others.
    Return,
}

impl Question {
    /// The question that a call of this kind and reason raises.
    pub(crate) fn about(kind: Kind, reason: Reason) -> Option<Self> {
        match kind {
            Kind::Decrement => takes_as_ordered(kind, reason).then_some(Self::Repeat),
            Kind::Increment => Some(Self::Return),
            Kind::Set | Kind::Adjust | Kind::Move | Kind::Repair => None,
        }
    }
}

fn takes_as_ordered(kind: Kind, reason: Reason) -> bool {
    kind == Kind::Decrement && matches!(reason, Reason::OrderPlaced | Reason::OrderPaid)
}

/// What one call of an order asked of one unit at one location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// Of what.
    pub unit: UnitId,
    /// Where; `None` is the default location.
    pub location: Option<LocationId>,
    /// Whether it was sold as a subscription.
    pub subscription: bool,
    /// The change that was asked for.
    pub asked: i64,
}

/// A call of an order that was carried out.
#[derive(Clone, Debug)]
pub(crate) struct PastCall {
    pub(crate) kind: Kind,
    pub(crate) reason: Reason,
    /// With the change that was made of each.
    pub(crate) parts: Vec<(Part, i64)>,
}

/// An order's calls so far, in their order.
#[derive(Clone, Debug, Default)]
pub struct OrderPast {
    pub(crate) calls: Vec<PastCall>,
    /// Whether some call was answered without an entry: so the order was seen, even if it took nothing.
    pub(crate) answered: bool,
}

impl OrderPast {
    /// Whether there is more than is looked at (`limits::ORDER_ENTRIES_MAX`): nothing is noticed any more.
    fn is_too_long(&self) -> bool {
        let entries: usize = self.calls.iter().map(|call| call.parts.len()).sum();
        entries > limits::ORDER_ENTRIES_MAX
    }

    /// Whether a call that asks for `parts` looks like a repeat.
    pub(crate) fn has_taken(&self, parts: impl Iterator<Item = Part>) -> bool {
        if self.calls.is_empty() || self.is_too_long() {
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
            let of_these = |unit: UnitId| wanted.iter().any(|part| part.unit == unit);
            call.kind == Kind::Increment && call.parts.iter().any(|(part, _)| of_these(part.unit))
        };
        // Of several, the last: of it the least can have been returned.
        let last = self.calls.iter().rposition(same);
        last.is_some_and(|index| !self.calls[index + 1..].iter().any(returns))
    }

    /// What the order holds of each unit; `None` where that cannot be told.
    pub(crate) fn holdings(&self) -> Option<Holdings> {
        if self.is_too_long() {
            return None;
        }
        let mut held: HashMap<UnitId, i64> = HashMap::new();
        for (part, delta) in self.calls.iter().flat_map(|call| &call.parts) {
            let net = held.entry(part.unit).or_default();
            *net = net.saturating_sub(*delta);
        }
        Some(Holdings { held, seen: self.answered || !self.calls.is_empty() })
    }
}

/// What an order holds while one of its calls gives things back.
pub(crate) struct Holdings {
    held: HashMap<UnitId, i64>,
    /// Whether the order was seen before.
    pub(crate) seen: bool,
}

impl Holdings {
    /// How many of `pieces` the order holds.
    pub(crate) fn of(&self, unit: UnitId, pieces: i64) -> i64 {
        self.held.get(&unit).map_or(0, |held| pieces.min((*held).max(0)))
    }

    /// Takes note that so many are given back.
    pub(crate) fn give_back(&mut self, unit: UnitId, pieces: i64) {
        let held = self.held.entry(unit).or_default();
        *held = held.saturating_sub(pieces);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const A: UnitId = UnitId::from_uuid(Uuid::from_u128(1));
    const B: UnitId = UnitId::from_uuid(Uuid::from_u128(2));

    /// Kind, reason, and what was asked for and done.
    type Told<'a> = (Kind, Reason, &'a [(UnitId, i64)]);

    fn part(unit: UnitId, asked: i64) -> Part {
        Part { unit, location: None, subscription: false, asked }
    }

    fn past(calls: &[Told<'_>]) -> OrderPast {
        let call = |(kind, reason, parts): &Told<'_>| PastCall {
            kind: *kind,
            reason: *reason,
            parts: parts.iter().map(|(unit, delta)| (part(*unit, *delta), *delta)).collect(),
        };
        OrderPast { calls: calls.iter().map(call).collect(), ..OrderPast::default() }
    }

    #[test]
    fn what_looks_like_a_repeat() {
        use Kind::{Decrement, Increment};
        use Reason::{OrderCanceled, OrderEdited, OrderPaid, OrderPlaced};
        type Row<'a> = (&'a str, &'a [Told<'a>], bool);
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
            assert_eq!(past(calls).has_taken([part(A, -1), part(B, -2)].into_iter()), *expected, "{what}");
        }
        let elsewhere = Part { location: Some(LocationId::from_uuid(Uuid::from_u128(9))), ..part(A, -1) };
        assert!(!past(&[(Decrement, OrderPlaced, &[(A, -1)])]).has_taken(std::iter::once(elsewhere)));
    }

    #[test]
    fn what_an_order_holds() {
        let calls: &[Told<'_>] = &[
            (Kind::Decrement, Reason::OrderPlaced, &[(A, -3), (B, -1)]),
            (Kind::Increment, Reason::OrderRefunded, &[(A, 1), (B, 4)]),
        ];
        let mut holdings = past(calls).holdings().expect("short");
        assert_eq!((holdings.of(A, 5), holdings.of(A, 1), holdings.of(B, 1), holdings.seen), (2, 1, 0, true));
        holdings.give_back(A, 2);
        assert_eq!(holdings.of(A, 5), 0);
        assert!(!OrderPast::default().holdings().expect("short").seen);
        let mut endless = past(calls);
        endless.calls = endless.calls.into_iter().cycle().take(limits::ORDER_ENTRIES_MAX / 2).collect();
        assert!(endless.holdings().is_some());
        endless.calls.push(endless.calls[0].clone());
        assert!(endless.holdings().is_none());
    }

    #[test]
    fn marks_are_stored_as_bits() {
        for code in 0..4 {
            assert_eq!(Marks::from_code(code).code(), code);
        }
    }
}
