//! What one command of a batch is decided by: what was loaded, and what the commands before it changed.

use crate::engine::batch::{Batch, BatchLevel};
use crate::model::ids::{LevelId, SiteId, UnitId};
use crate::model::kind::UnitState;
use crate::model::level::{LevelState, Past};
use crate::model::order::{OrderHistory, OrderKey};
use crate::model::site::OrderPolicies;
use crate::rules::View;

/// The view of one command.
pub(super) struct BatchView<'a> {
    pub(super) batch: &'a Batch,
    pub(super) site: SiteId,
    /// The time of the batch for the site: microseconds since 1970.
    pub(super) time: i64,
    /// The order whose history the rules ask about.
    pub(super) order: Option<OrderKey>,
}

impl View for BatchView<'_> {
    fn level(&self, level: LevelId) -> LevelState {
        let state = |level: &BatchLevel| LevelState { available: level.available, revision: level.revision };
        self.batch.levels.get(&level).map(state).unwrap_or_default()
    }

    fn level_at(&self, level: LevelId, sequence: i64) -> Past {
        self.batch.past_levels.get(&(level, sequence)).copied().unwrap_or(Past::NotReached)
    }

    fn unit(&self, unit: UnitId) -> UnitState {
        self.batch.units.get(&unit).copied().unwrap_or(UnitState::STOCKED)
    }

    fn time(&self) -> i64 {
        self.time
    }

    fn order(&self) -> Option<&OrderHistory> {
        self.batch.orders.get(&self.order?)
    }

    fn policies(&self) -> OrderPolicies {
        self.batch.settings(self.site).map(|settings| settings.order_policies).unwrap_or_default()
    }
}
