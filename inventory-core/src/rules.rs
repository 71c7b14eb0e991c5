//! The rules of stock: what a command does to levels. Pure functions: no I/O, no clock, no async.
//!
//! 1. All items or none.
//! 2. Items of an order that mean the same level are summed first.
//! 3. A restricted decrement leaves no level below minus its unit's backorder limit; its refusal lists every short
//!    level.
//! 4. Increments and adjustments are never refused for the level. No level leaves the 64-bit range.
//! 5. A level is set only if it still is what the caller expects. A count as of an earlier sequence number keeps the
//!    changes since then.
//! 6. A level that differs from the sum of its entries is repaired by two entries: the difference, and its opposite.
//!    The sum of the ledger stays, and the level is that sum again.
//! 7. A move adds at one location what it takes at another. Restricted, it leaves no level below zero.
//! 8. Items that are not counted are recorded with a delta of 0. Of a unit tracked by status, only a restricted
//!    decrement is refused, and only while it is out of stock. An untracked unit is never short.
//! 9. Setting or adjusting a level stocks its unit. A unit that its catalog sells unstocked is counted from then on.
//! 10. Outside of its sales window, a unit is refused to a restricted decrement, however much there is. An unrestricted
//!     one is applied and marked.
//! 11. The history of its order may mark a call, clip it, or suppress it (`order_history`).

mod availability;
pub mod order_history;
mod stock;

use crate::model::action::Action;
use crate::model::entry::Marks;
use crate::model::ids::{LevelId, UnitId};
use crate::model::kind::{UnitRules, UnitState};
use crate::model::level::{LevelState, Past, ResolvedLevel};
use crate::model::order::OrderHistory;
use crate::model::outcome::Refusal;
use crate::model::site::OrderPolicies;

/// The decision about a command.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Apply these, in this order.
    Apply(Vec<Movement>),
    /// A suspected duplicate: change nothing, and answer as if it were applied.
    Suppress,
    /// Change nothing.
    Refuse(Refusal),
}

/// One ledger entry to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    /// Index, among the request's levels, of the first that is this level.
    pub level: usize,
    /// The level before.
    pub before: i64,
    /// The change that was asked for. 0 only where a unit is stocked with a level of 0.
    pub asked: i64,
    /// The change; 0 for items that are not counted.
    pub delta: i64,
    /// The level after: `before + delta`.
    pub after: i64,
    /// The lowest level that this movement may leave; `None` if any.
    pub floor: Option<i64>,
    /// Whether the items were sold as subscriptions.
    pub subscription: bool,
    /// Findings of the rules.
    pub marks: Marks,
}

/// What a command is decided by.
pub trait View {
    /// A level now.
    fn level(&self, level: LevelId) -> LevelState;
    /// A level as of a sequence number.
    fn level_at(&self, level: LevelId, sequence: i64) -> Past;
    /// What is known of a unit.
    fn unit(&self, unit: UnitId) -> UnitState;
    /// The time of the decision: microseconds since 1970.
    fn time(&self) -> i64;
    /// The history of the command's order, if `order_history::question` asks for it.
    fn order(&self) -> Option<&OrderHistory>;
    /// The site's policies about orders.
    fn policies(&self) -> OrderPolicies;
}

/// Decides `action`, whose items mean `levels`.
pub fn decide(action: &Action, levels: &[ResolvedLevel], view: &impl View) -> Decision {
    match action {
        Action::Decrement { lines, restricted } => availability::decrement(lines, levels, *restricted, view),
        Action::Increment { lines } => availability::increment(lines, levels, view),
        Action::Set { targets } => stock::set(targets, levels, view),
        Action::Adjust { adjustments } => stock::adjust(adjustments, levels, view),
        Action::Move { moves, restricted } => stock::relocate(moves, levels, *restricted, view),
        Action::Repair(repair) => stock::repair(repair, levels, view),
    }
}

/// Whether `action`, once it is applied, stocks the units that it names.
pub fn stocks(action: &Action) -> bool {
    match action {
        Action::Set { .. } | Action::Adjust { .. } => true,
        Action::Decrement { .. } | Action::Increment { .. } | Action::Move { .. } | Action::Repair(_) => false,
    }
}

/// How the unit of a level is counted.
fn rules_of(level: &ResolvedLevel, view: &impl View) -> UnitRules {
    UnitRules::in_force(&view.unit(level.unit_id), &level.catalog)
}

/// How the unit of a level is counted once it is stocked.
fn rules_once_stocked(level: &ResolvedLevel, view: &impl View) -> UnitRules {
    UnitRules::in_force(&UnitState { stocked: true, ..view.unit(level.unit_id) }, &level.catalog)
}

#[cfg(test)]
mod tests;
