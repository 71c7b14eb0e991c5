//! The rules of stock: what a command does to levels. No I/O, no clock, no async.
//!
//! 1. All items or none.
//! 2. Items that mean the same level are summed first.
//! 3. A restricted decrement leaves no level below minus its unit's backorder limit, and its refusal names
//!    every short one.
//! 4. An increment or an adjustment is never refused for the level; nothing leaves the 64-bit range.
//! 5. A level is set only where it still is what the caller believes it to be; a count as of an earlier
//!    sequence keeps what has changed since.
//! 6. A level that is not the sum of its entries is repaired by two of them: the difference as it was
//!    found, and its opposite. So the ledger's sum is what it was, and the level is that sum again.
//! 7. What a move takes in one place it adds in another; restricted, it leaves no level below zero.
//! 8. What does not count changes no level: it is entered with a change of 0. Of a unit whose status alone
//!    is tracked, only a restricted decrement is refused, and only when it is out of stock.
//! 9. What an order did before may mark its next call, or keep it from being carried out (`order`).

mod orders;
mod stock;

use crate::action::{Action, LevelNow};
use crate::ids::{LevelId, UnitId};
use crate::order::{Marks, OrderPast, OrderPolicies};
use crate::outcome::Refusal;
use crate::site::Place;
use crate::unit::UnitRules;

/// What is to happen.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Carry these out, in this order.
    Apply(Vec<Movement>),
    /// Do nothing, and say that it was carried out: it was, by an earlier call.
    Suppress,
    /// Do nothing.
    Refuse(Refusal),
}

/// One entry for one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    /// Index of the first of the request's places that means this level.
    pub place: usize,
    /// The level before.
    pub before: i64,
    /// The change that was asked for; never 0.
    pub asked: i64,
    /// The change; 0 where what was asked for does not count.
    pub delta: i64,
    /// The level after: `before + delta`.
    pub after: i64,
    /// The lowest level this movement may leave; `None` when it may leave any.
    pub floor: Option<i64>,
    /// Whether it comes from subscription items.
    pub subscription: bool,
    /// What was noticed about it.
    pub marks: Marks,
}

/// What is known of the books while a command is decided.
pub trait View {
    /// A level as it is.
    fn level(&self, level: LevelId) -> LevelNow;
    /// A level as it was at a sequence, where the ledger has come so far.
    fn level_at(&self, level: LevelId, sequence: i64) -> Option<i64>;
    /// How a unit is counted.
    fn rules(&self, unit: UnitId) -> UnitRules;
    /// What the command's order did before, where the command raises a question about it.
    fn order(&self) -> Option<&OrderPast>;
    /// What the site has settled about orders.
    fn policies(&self) -> OrderPolicies;
}

/// Decides `action`, which names `places`.
pub fn decide(action: &Action, places: &[Place], view: &impl View) -> Decision {
    match action {
        Action::Decrement { lines, restricted } => orders::decrement(lines, places, *restricted, view),
        Action::Increment { lines } => orders::increment(lines, places, view),
        Action::Set { targets } => stock::set(targets, places, view),
        Action::Adjust { adjustments } => stock::adjust(adjustments, places, view),
        Action::Repair(asked) => stock::repair(asked, places, view),
        Action::Move { moves, restricted } => stock::relocate(moves, places, *restricted, view),
    }
}

#[cfg(test)]
mod tests;
