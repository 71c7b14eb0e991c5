//! What is to be done to levels, item by item.

use crate::catalog::CatalogReference;
use crate::ids::LocationId;
use crate::limits;

/// Pieces of an item: 1 to `limits::QUANTITY_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity(i64);

impl Quantity {
    /// `None` when out of bounds.
    pub fn new(pieces: i64) -> Option<Self> {
        (1..=limits::QUANTITY_MAX).contains(&pieces).then_some(Self(pieces))
    }

    /// The number of pieces.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// One item of an availability request.
#[derive(Clone, Debug)]
pub struct Line {
    /// What is taken or given back.
    pub reference: CatalogReference,
    /// Where; `None` is the default location.
    pub location: Option<LocationId>,
    /// How many pieces.
    pub quantity: Quantity,
    /// Whether the shop sold it as a subscription.
    pub subscription: bool,
}

/// One item of a stock request: the level is to be this.
#[derive(Clone, Debug)]
pub struct Target {
    /// Which stock.
    pub reference: CatalogReference,
    /// Where; `None` is the default location.
    pub location: Option<LocationId>,
    /// The level from now on.
    pub available: i64,
    /// What the caller believes the level to be before.
    pub expected: Expected,
    /// The sequence at which the level was counted: changes since then are kept. `None` is now.
    pub as_of: Option<i64>,
}

/// What a level is believed to be; what is `None` is not compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The level.
    pub available: Option<i64>,
    /// The number of its changes so far.
    pub revision: Option<i64>,
}

/// One item of an adjustment: the level is to change by this.
#[derive(Clone, Debug)]
pub struct Adjustment {
    /// Which stock.
    pub reference: CatalogReference,
    /// Where; `None` is the default location.
    pub location: Option<LocationId>,
    /// The change; 0 changes nothing.
    pub delta: i64,
}

/// One item of a move: so many pieces are to be elsewhere.
#[derive(Clone, Debug)]
pub struct Move {
    /// Which stock.
    pub reference: CatalogReference,
    /// From where; `None` is the default location.
    pub from: Option<LocationId>,
    /// To where; `None` is the default location.
    pub to: Option<LocationId>,
    /// How many pieces.
    pub quantity: Quantity,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Take stock away: all lines or none. `restricted`: no level may end lower than its unit may be.
    Decrement {
        /// What to take.
        lines: Vec<Line>,
        /// Whether to refuse rather than go below zero, or below minus the unit's backorder limit.
        restricted: bool,
    },
    /// Give stock back. Never refused for the level.
    Increment {
        /// What to give back.
        lines: Vec<Line>,
    },
    /// Make levels what they are said to be.
    Set {
        /// Which levels.
        targets: Vec<Target>,
    },
    /// Change levels by so much: goods that came, broke or were found. Never refused for the level,
    /// since what is reported has happened already.
    Adjust {
        /// Which levels.
        adjustments: Vec<Adjustment>,
    },
    /// Move stock between locations: all items or none.
    Move {
        /// What to move.
        moves: Vec<Move>,
        /// Whether to refuse rather than leave a level below zero.
        restricted: bool,
    },
    /// Bring one level back to what its entries come to.
    Repair(Repair),
}

/// A level that is not the sum of its entries.
#[derive(Clone, Debug)]
pub struct Repair {
    /// Which stock.
    pub reference: CatalogReference,
    /// Where; `None` is the default location.
    pub location: Option<LocationId>,
    /// The level as it was found; it is repaired only if it still is so.
    pub found: LevelNow,
    /// What its entries come to.
    pub recomputed: i64,
}

/// A level before a request; the default is that of a level never written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelNow {
    /// The level.
    pub available: i64,
    /// The number of its changes so far.
    pub revision: i64,
}

/// The kind of a change, as it is stored and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Availability was taken.
    Decrement,
    /// Availability was given back.
    Increment,
    /// Levels were set.
    Set,
    /// Levels were adjusted.
    Adjust,
    /// Stock was moved between locations.
    Move,
    /// A level was brought back to what its entries come to.
    Repair,
}

impl Action {
    /// The kind of change this is.
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

    /// How many items it lists.
    pub fn item_count(&self) -> usize {
        match self {
            Self::Decrement { lines, .. } | Self::Increment { lines } => lines.len(),
            Self::Set { targets } => targets.len(),
            Self::Adjust { adjustments } => adjustments.len(),
            Self::Move { moves, .. } => moves.len(),
            Self::Repair(_) => 1,
        }
    }

    /// How many places one item names: a move names two, where from and where to.
    pub const fn places_per_item(&self) -> usize {
        match self {
            Self::Decrement { .. }
            | Self::Increment { .. }
            | Self::Set { .. }
            | Self::Adjust { .. }
            | Self::Repair(_) => 1,
            Self::Move { .. } => 2,
        }
    }

    /// Reference and location of every place, in the order of the items.
    pub(crate) fn places(&self) -> Box<dyn Iterator<Item = (&CatalogReference, Option<LocationId>)> + '_> {
        match self {
            Self::Decrement { lines, .. } | Self::Increment { lines } => {
                Box::new(lines.iter().map(|line| (&line.reference, line.location)))
            }
            Self::Set { targets } => Box::new(targets.iter().map(|target| (&target.reference, target.location))),
            Self::Adjust { adjustments } => Box::new(adjustments.iter().map(|item| (&item.reference, item.location))),
            Self::Repair(repair) => Box::new(std::iter::once((&repair.reference, repair.location))),
            Self::Move { moves, .. } => {
                Box::new(moves.iter().flat_map(|item| [(&item.reference, item.from), (&item.reference, item.to)]))
            }
        }
    }
}
