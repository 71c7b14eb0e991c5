//! The journal of an order: what it took, gave back and still holds. Derived from the ledger.

use crate::catalog::Unit;
use crate::ids::LocationId;
use crate::store::Entry;

/// What an order did to one unit at one location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderLine {
    /// Of what.
    pub unit: Unit,
    /// Where; `None` is a default location that has not been given an id.
    pub location: Option<LocationId>,
    /// Pieces taken, in all.
    pub taken: i64,
    /// Pieces given back, in all.
    pub returned: i64,
}

/// Sums entries by unit and location, in the order of their first appearance.
#[derive(Debug, Default)]
pub struct Journal {
    lines: Vec<OrderLine>,
}

impl Journal {
    /// Adds an entry of the order.
    pub fn add(&mut self, entry: &Entry) {
        let known = self.lines.iter().position(|line| line.unit == entry.unit && line.location == entry.location);
        let index = known.unwrap_or_else(|| {
            let (unit, location) = (entry.unit.clone(), entry.location);
            self.lines.push(OrderLine { unit, location, taken: 0, returned: 0 });
            self.lines.len() - 1
        });
        let line = &mut self.lines[index];
        let side = if entry.delta < 0 { &mut line.taken } else { &mut line.returned };
        *side = side.saturating_add(entry.delta.saturating_abs());
    }

    /// The sums.
    pub fn into_lines(self) -> Vec<OrderLine> {
        self.lines
    }
}
