//! The books as one command of a batch sees them: as they were loaded, and as the commands before it
//! have left them.

use crate::command::LevelNow;
use crate::decide::View;
use crate::engine::plan::{LevelPlan, Plan};
use crate::ids::{LevelId, OrderId, SiteId, UnitId};
use crate::order::{OrderPast, OrderPolicies};
use crate::unit::UnitRules;

/// The view of one command.
pub(super) struct Seen<'a> {
    pub(super) plan: &'a Plan,
    pub(super) site: SiteId,
    /// The order whose past it asks about.
    pub(super) order: Option<(SiteId, OrderId)>,
}

impl View for Seen<'_> {
    fn level(&self, level: LevelId) -> LevelNow {
        let known = |plan: &LevelPlan| LevelNow { available: plan.available, revision: plan.revision };
        self.plan.levels.get(&level).map(known).unwrap_or_default()
    }

    fn level_at(&self, level: LevelId, sequence: i64) -> Option<i64> {
        self.plan.past.get(&(level, sequence)).copied()
    }

    fn rules(&self, unit: UnitId) -> UnitRules {
        self.plan.rules.get(&unit).copied().unwrap_or_default()
    }

    fn order(&self) -> Option<&OrderPast> {
        self.plan.orders.get(&self.order?)
    }

    fn policies(&self) -> OrderPolicies {
        self.plan.policies(self.site)
    }
}
