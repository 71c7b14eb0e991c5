//! The changes that a command can make, item by item.

use crate::model::ids::LocationId;
use crate::model::level::{LevelState, ResolvedLevel};
use crate::model::limits;
use crate::model::unit::UnitSelector;

/// Pieces of an item: 1 to `limits::QUANTITY_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity(i64);

impl Quantity {
    /// `None` if out of bounds.
    pub fn new(pieces: i64) -> Option<Self> {
        (1..=limits::QUANTITY_MAX).contains(&pieces).then_some(Self(pieces))
    }

    /// The number of pieces.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// One item of an order.
#[derive(Clone, Debug)]
pub struct Line {
    /// The unit.
    pub unit: UnitSelector,
    /// The location; `None` is the default location.
    pub location: Option<LocationId>,
    /// How many pieces.
    pub quantity: Quantity,
    /// Whether it was sold as a subscription.
    pub subscription: bool,
}

/// A level to set.
#[derive(Clone, Debug)]
pub struct Target {
    /// The unit.
    pub unit: UnitSelector,
    /// The location; `None` is the default location.
    pub location: Option<LocationId>,
    /// The new level.
    pub available: i64,
    /// What the caller expects the level to be.
    pub expected: Expected,
    /// The sequence number at which the level was counted; later changes are kept on top. `None`: counted now.
    pub as_of: Option<i64>,
}

/// What a caller expects of a level. `None` is not compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The level.
    pub available: Option<i64>,
    /// The number of its entries.
    pub revision: Option<i64>,
}

/// A level to change by a delta.
#[derive(Clone, Debug)]
pub struct Adjustment {
    /// The unit.
    pub unit: UnitSelector,
    /// The location; `None` is the default location.
    pub location: Option<LocationId>,
    /// The change. 0 changes nothing.
    pub delta: i64,
}

/// Pieces to move between two locations.
#[derive(Clone, Debug)]
pub struct Move {
    /// The unit.
    pub unit: UnitSelector,
    /// From this location; `None` is the default location.
    pub from: Option<LocationId>,
    /// To this location; `None` is the default location.
    pub to: Option<LocationId>,
    /// How many pieces.
    pub quantity: Quantity,
}

/// A level that differs from the sum of its entries, to be set to that sum.
#[derive(Clone, Debug)]
pub struct Repair {
    /// The level as it is stored. It does not depend on the site's settings.
    pub level: ResolvedLevel,
    /// What the level was found to be. It is repaired only if it still is.
    pub found: LevelState,
    /// The sum of its entries.
    pub recomputed: i64,
}

/// A change of stock.
#[derive(Clone, Debug)]
pub enum Action {
    /// Takes stock away: all lines or none.
    Decrement {
        /// What to take.
        lines: Vec<Line>,
        /// Whether to refuse rather than leave a level below zero, or below minus its unit's backorder limit.
        restricted: bool,
    },
    /// Gives stock back. Never refused for the level.
    Increment {
        /// What to give back.
        lines: Vec<Line>,
    },
    /// Sets levels.
    Set {
        /// Which levels.
        targets: Vec<Target>,
    },
    /// Changes levels by deltas. Never refused for the level: the goods have already come, broken or been found.
    Adjust {
        /// Which levels.
        adjustments: Vec<Adjustment>,
    },
    /// Moves stock between locations: all items or none.
    Move {
        /// What to move.
        moves: Vec<Move>,
        /// Whether to refuse rather than leave a level below zero.
        restricted: bool,
    },
    /// Sets one level to the sum of its entries.
    Repair(Repair),
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Stock was taken.
    Decrement,
    /// Stock was given back.
    Increment,
    /// Levels were set.
    Set,
    /// Levels were adjusted.
    Adjust,
    /// Stock was moved between locations.
    Move,
    /// A level was set to the sum of its entries.
    Repair,
}

coded!(Kind { Decrement = 1, Increment = 2, Set = 3, Adjust = 4, Move = 5, Repair = 6 });

impl Action {
    /// The kind of change.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Decrement { .. } => Kind::Decrement,
            Self::Increment { .. } => Kind::Increment,
            Self::Set { .. } => Kind::Set,
            Self::Adjust { .. } => Kind::Adjust,
            Self::Move { .. } => Kind::Move,
            Self::Repair(_) => Kind::Repair,
        }
    }

    /// The number of items.
    pub fn item_count(&self) -> usize {
        match self {
            Self::Decrement { lines, .. } | Self::Increment { lines } => lines.len(),
            Self::Set { targets } => targets.len(),
            Self::Adjust { adjustments } => adjustments.len(),
            Self::Move { moves, .. } => moves.len(),
            Self::Repair(_) => 1,
        }
    }

    /// The number of levels that one item names: two for a move, one for all others.
    pub const fn levels_per_item(&self) -> usize {
        match self {
            Self::Decrement { .. }
            | Self::Increment { .. }
            | Self::Set { .. }
            | Self::Adjust { .. }
            | Self::Repair(_) => 1,
            Self::Move { .. } => 2,
        }
    }

    /// Unit and location of every level that the items name, in their order. Empty for a repair, whose level is
    /// resolved already.
    pub fn named_levels(&self) -> Box<dyn Iterator<Item = (&UnitSelector, Option<LocationId>)> + '_> {
        match self {
            Self::Decrement { lines, .. } | Self::Increment { lines } => {
                Box::new(lines.iter().map(|line| (&line.unit, line.location)))
            }
            Self::Set { targets } => Box::new(targets.iter().map(|target| (&target.unit, target.location))),
            Self::Adjust { adjustments } => Box::new(adjustments.iter().map(|item| (&item.unit, item.location))),
            Self::Move { moves, .. } => {
                Box::new(moves.iter().flat_map(|item| [(&item.unit, item.from), (&item.unit, item.to)]))
            }
            Self::Repair(_) => Box::new(std::iter::empty()),
        }
    }
}
