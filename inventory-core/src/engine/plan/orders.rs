//! What the commands of a batch make of their orders: each sees what the ones before it did.

use std::collections::hash_map::Entry;

use crate::command::Command;
use crate::decide::Movement;
use crate::engine::plan::Plan;
use crate::ids::{OrderId, SiteId};
use crate::order::{OrderPast, Part, PastCall, Question};
use crate::outcome::Noticed;
use crate::site::Place;

impl Plan {
    /// Takes in what an order did before. Of one of which nothing is told, the first call that asks is
    /// taken to be its first, and the batch is written only if it is.
    pub(crate) fn know_order(&mut self, site: SiteId, order: OrderId, past: OrderPast) {
        self.orders.insert((site, order), past);
    }

    /// The order whose past is asked about. One of which nothing is known is taken to be new.
    pub(super) fn questioned(&mut self, command: &Command) -> Option<(SiteId, OrderId)> {
        let (order, question) = command.question()?;
        let key = (command.header.site, order);
        if let Entry::Vacant(unknown) = self.orders.entry(key) {
            debug_assert_eq!(question, Question::Repeat, "what an order holds is looked up beforehand");
            unknown.insert(OrderPast::default());
            self.writes.new_orders.push(key);
        }
        Some(key)
    }

    /// Takes note of what an order does, for its next call of this batch.
    pub(super) fn remember(&mut self, command: &Command, places: &[Place], movements: &[Movement]) {
        let Some(order) = command.header.order else { return };
        let Some(past) = self.orders.get_mut(&(command.header.site, order)) else { return };
        let part = |movement: &Movement| {
            let Place { unit_id: unit, location, .. } = places[movement.place];
            (Part { unit, location, subscription: movement.subscription, asked: movement.asked }, movement.delta)
        };
        let (kind, reason) = (command.action.kind(), command.header.reason);
        past.calls.push(PastCall { kind, reason, parts: movements.iter().map(part).collect() });
    }

    /// What was noticed about a call, and what is done about it.
    pub(super) fn noticed(movements: &[Movement]) -> Vec<Noticed> {
        let repeat = movements.iter().any(|movement| movement.marks.suspected_repeat);
        let mut over_returns = movements.iter().filter(|movement| movement.marks.over_return).peekable();
        let over_return = over_returns.peek().is_some();
        let clipped = over_returns.any(|movement| movement.delta < movement.asked);
        let noticed = [
            (repeat, Noticed::RepeatReported),
            (over_return && !clipped, Noticed::OverReturnReported),
            (clipped, Noticed::OverReturnClipped),
        ];
        noticed.into_iter().filter(|(is_so, _)| *is_so).map(|(_, noticed)| noticed).collect()
    }
}
