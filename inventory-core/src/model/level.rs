//! Levels: how much of a unit there is at a location.

use std::sync::Arc;

use crate::model::catalog::Unit;
use crate::model::ids::{LevelId, LocationId, UnitId};
use crate::model::kind::{CatalogRules, UnitRules};
use crate::model::unit::UnitSettings;

/// A level that a request means, found by the site's settings. Inside the core a location stays as it is stored:
/// `None` is the default location, whether or not it has an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedLevel {
    /// The level's key.
    pub id: LevelId,
    /// The unit's key.
    pub unit_id: UnitId,
    /// The unit. Shared with the answer: a writer copies no texts, which another thread would free.
    pub unit: Arc<Unit>,
    /// The location as stored; `None` is the default location.
    pub location: Option<LocationId>,
    /// What goes for the unit where it has no settings of its own.
    pub catalog: CatalogRules,
}

/// The state of a level. The default is that of a level never written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelState {
    /// The level.
    pub available: i64,
    /// The number of its entries.
    pub revision: i64,
}

/// A level as of a sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// The level then.
    Known(i64),
    /// The ledger has not reached the sequence number.
    NotReached,
    /// The entries up to `cut` are gone, and the sequence number is before it.
    Gone {
        /// The sequence number of the last entry that is gone.
        cut: i64,
    },
}

/// A stock level as readers get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stock {
    /// The unit.
    pub unit: Unit,
    /// The location as stored; `None` is the default location.
    pub location: Option<LocationId>,
    /// The level. 0 if it was never written.
    pub available: i64,
    /// The number of its entries. 0 if it was never written.
    pub revision: i64,
    /// The sequence number of its last entry. 0 if it was never written.
    pub last_sequence: i64,
    /// The unit's settings.
    pub settings: UnitSettings,
    /// How the unit is counted.
    pub rules: UnitRules,
}
