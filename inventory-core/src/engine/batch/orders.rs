//! The order histories of a batch: each command sees what the commands before it did.

use std::collections::hash_map::Entry;

use crate::engine::batch::Batch;
use crate::model::command::Command;
use crate::model::entry::pieces;
use crate::model::level::ResolvedLevel;
use crate::model::order::{OrderHistory, OrderKey, Part, PastCall};
use crate::model::outcome::Finding;
use crate::rules::Movement;
use crate::rules::order_history::{Question, question};

impl Batch {
    /// Takes in the history of an order.
    pub(in crate::engine) fn add_order(&mut self, order: OrderKey, history: OrderHistory) {
        self.orders.insert(order, history);
    }

    /// The order whose history the rules ask about. Without loaded history the order is assumed to be new; the write
    /// verifies it.
    pub(super) fn history_for(&mut self, command: &Command) -> Option<OrderKey> {
        let (order, question) = question(command)?;
        let key = (command.site(), order);
        if let Entry::Vacant(vacant) = self.orders.entry(key) {
            debug_assert_eq!(question, Question::Duplicate, "the history of a return is loaded before");
            vacant.insert(OrderHistory::default());
            self.writes.new_orders.push(key);
        }
        Some(key)
    }

    /// Adds an applied call to its order's history, for the order's next call in this batch.
    pub(super) fn remember(&mut self, command: &Command, levels: &[ResolvedLevel], movements: &[Movement]) {
        let Some(order) = command.header().order else { return };
        let Some(history) = self.orders.get_mut(&(command.site(), order)) else { return };
        let part = |movement: &Movement| {
            let ResolvedLevel { unit_id: unit, location, .. } = levels[movement.level];
            let Movement { subscription, asked, delta, marks, .. } = *movement;
            (Part { unit, location, subscription, asked }, pieces(asked, delta, marks))
        };
        let (kind, reason) = (command.action().kind(), command.header().reason);
        history.calls.push(PastCall { kind, reason, parts: movements.iter().map(part).collect() });
    }
}

/// The findings about an applied call.
pub(super) fn findings(movements: &[Movement]) -> Vec<Finding> {
    let duplicate = movements.iter().any(|movement| movement.marks.suspected_repeat);
    let mut over_returns = movements.iter().filter(|movement| movement.marks.over_return).peekable();
    let over_return = over_returns.peek().is_some();
    let clipped = over_returns.any(|movement| movement.delta < movement.asked);
    let outside = movements.iter().any(|movement| movement.marks.outside_sales_window);
    let findings = [
        (outside, Finding::OutsideWindowReported),
        (duplicate, Finding::DuplicateReported),
        (over_return && !clipped, Finding::OverReturnReported),
        (clipped, Finding::OverReturnClipped),
    ];
    findings.into_iter().filter(|(found, _)| *found).map(|(_, finding)| finding).collect()
}
