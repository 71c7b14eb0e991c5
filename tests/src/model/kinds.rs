//! How the model counts and sells units: by their own settings, by those of their catalogs, and by the built-in ones.

use super::{Model, UNITS, Why};

/// Number of catalogs of a site. By its built-in policy, the first refuses a unit that was never stocked, and the
/// second sells it.
pub const CATALOGS: usize = 2;

/// The catalog of a unit: the first half of the units belongs to the first one.
pub fn catalog_of(unit: usize) -> usize {
    unit * CATALOGS / UNITS
}

/// How a unit is tracked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tracking {
    /// By the number of pieces.
    Quantity,
    /// In stock or not.
    Status,
    /// Never short.
    Untracked,
}

/// How units are counted. `None`: the setting comes from elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counting {
    /// How they are tracked.
    pub tracking: Option<Tracking>,
    /// The backorder limit.
    pub backorder_limit: Option<i64>,
    /// Whether items sold as subscriptions change a level.
    pub counts_subscriptions: Option<bool>,
}

/// The settings of a catalog.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Catalog {
    /// How its units are counted.
    pub counting: Counting,
    /// Whether a unit is sold that was never stocked. `None`: the built-in policy.
    pub sells: Option<bool>,
}

/// What the model knows of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Unit {
    /// How it is counted.
    pub counting: Counting,
    /// The first moment at which it is sold.
    pub sell_from: Option<i64>,
    /// The first moment at which it is no longer sold.
    pub sell_until: Option<i64>,
    /// Whether its level was ever set or adjusted.
    pub stocked: bool,
}

/// A change of a unit's settings. `None` leaves a setting as it is; `Some(None)` takes it away.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UnitChange {
    /// How it is tracked.
    pub tracking: Option<Option<Tracking>>,
    /// The backorder limit.
    pub backorder_limit: Option<Option<i64>>,
    /// Whether items sold as subscriptions change a level.
    pub counts_subscriptions: Option<Option<bool>>,
    /// The first moment at which it is sold.
    pub sell_from: Option<Option<i64>>,
    /// The first moment at which it is no longer sold.
    pub sell_until: Option<Option<i64>>,
}

/// The settings of a unit that are in force.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InForce {
    /// How it is tracked.
    pub tracking: Tracking,
    /// The backorder limit.
    pub backorder_limit: i64,
    /// Whether items sold as subscriptions change a level.
    pub counts_subscriptions: bool,
}

impl InForce {
    /// Whether an item changes its level.
    pub fn counts(&self, subscription: bool) -> bool {
        self.tracking == Tracking::Quantity && (self.counts_subscriptions || !subscription)
    }
}

impl Model {
    /// Changes a unit. Returns whether its sales window would be open at some time; if not, nothing is changed.
    pub fn change_unit(&mut self, unit: usize, change: &UnitChange) -> bool {
        let UnitChange { tracking, backorder_limit, counts_subscriptions, sell_from, sell_until } = *change;
        let mut after = self.units[unit];
        let counting = &mut after.counting;
        counting.tracking = tracking.unwrap_or(counting.tracking);
        counting.backorder_limit = backorder_limit.unwrap_or(counting.backorder_limit);
        counting.counts_subscriptions = counts_subscriptions.unwrap_or(counting.counts_subscriptions);
        after.sell_from = sell_from.unwrap_or(after.sell_from);
        after.sell_until = sell_until.unwrap_or(after.sell_until);
        if let (Some(from), Some(until)) = (after.sell_from, after.sell_until)
            && from >= until
        {
            self.note(Case::EmptyWindow);
            return false;
        }
        self.units[unit] = after;
        true
    }

    /// The settings of a unit that are in force.
    pub fn in_force(&self, unit: usize) -> InForce {
        let (own, catalog) = (self.units[unit].counting, self.catalogs[catalog_of(unit)].counting);
        let tracking = own.tracking.or(catalog.tracking).unwrap_or(Tracking::Quantity);
        InForce {
            tracking: if self.is_sold_unstocked(unit) { Tracking::Untracked } else { tracking },
            backorder_limit: own.backorder_limit.or(catalog.backorder_limit).unwrap_or(0),
            counts_subscriptions: own.counts_subscriptions.or(catalog.counts_subscriptions).unwrap_or(true),
        }
    }

    /// Whether a unit is untracked because it was never stocked.
    pub(super) fn is_sold_unstocked(&self, unit: usize) -> bool {
        let (own, catalog) = (&self.units[unit], catalog_of(unit));
        let sells = self.catalogs[catalog].sells.unwrap_or(catalog == 1);
        sells && !own.stocked && own.counting.tracking.is_none()
    }

    /// Why a unit is not on sale now; `None` if it is.
    pub(super) fn closed(&self, unit: usize) -> Option<Why> {
        let Unit { sell_from, sell_until, .. } = self.units[unit];
        if sell_from.is_some_and(|from| self.time < from) {
            Some(Why::NotOnSaleYet)
        } else if sell_until.is_some_and(|until| self.time >= until) {
            Some(Why::NoLongerOnSale)
        } else {
            None
        }
    }

    /// Counts that a case occurred.
    pub(super) fn note(&mut self, case: Case) {
        self.tally[case as usize] += 1;
    }
}

/// A case that a long random run must meet.
#[derive(Clone, Copy, Debug)]
pub enum Case {
    /// A suspected duplicate is applied.
    Duplicate,
    /// A suspected duplicate is suppressed.
    SuppressedDuplicate,
    /// A suspected duplicate of items that are not counted is applied.
    UncountedDuplicate,
    /// An over-return is applied.
    OverReturn,
    /// An over-return is clipped.
    ClippedReturn,
    /// Items that are not counted are returned, no more than the order holds.
    UncountedReturn,
    /// Items that are not counted are returned, more than the order holds.
    UncountedOverReturn,
    /// Counted items are returned that the order took while they were not counted.
    CountedAfterUncounted,
    /// A stocked unit that is untracked is sold.
    SoldUntracked,
    /// A unit tracked by status is sold.
    SoldByStatus,
    /// A unit is sold because it was never stocked.
    SoldUnstocked,
    /// A unit is refused because it was never stocked.
    RefusedUnstocked,
    /// A unit that was never stocked is refused, and the request has another one that would be sold.
    RefusedBesideSold,
    /// An unstocked unit that its catalog sells is set to its level, 0.
    StockedWithZero,
    /// A move of a unit that is not counted is recorded.
    UncountedMove,
    /// A restricted decrement comes before the sales window.
    BeforeWindow,
    /// A restricted decrement comes after the sales window.
    AfterWindow,
    /// A unit is refused for its sales window, and is short as well.
    ClosedAndShort,
    /// A unit is sold at the first moment of its sales window.
    FirstMoment,
    /// A unit is refused at the first moment after its sales window.
    LastMoment,
    /// An unrestricted decrement outside of the sales window is marked.
    Marked,
    /// A sales window that would never be open is refused.
    EmptyWindow,
    /// The clock shows an earlier time than the site's last request.
    ClockBehind,
}

impl Case {
    /// All cases, in the order of their numbers.
    pub const ALL: [Self; 23] = [
        Self::Duplicate,
        Self::SuppressedDuplicate,
        Self::UncountedDuplicate,
        Self::OverReturn,
        Self::ClippedReturn,
        Self::UncountedReturn,
        Self::UncountedOverReturn,
        Self::CountedAfterUncounted,
        Self::SoldUntracked,
        Self::SoldByStatus,
        Self::SoldUnstocked,
        Self::RefusedUnstocked,
        Self::RefusedBesideSold,
        Self::StockedWithZero,
        Self::UncountedMove,
        Self::BeforeWindow,
        Self::AfterWindow,
        Self::ClosedAndShort,
        Self::FirstMoment,
        Self::LastMoment,
        Self::Marked,
        Self::EmptyWindow,
        Self::ClockBehind,
    ];
}
