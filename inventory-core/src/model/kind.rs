//! Kinds of items: how the units of a catalog are counted and sold.
//!
//! Each setting comes from the unit itself, or else from its catalog (a setting of the site), or else it is built in.
//! Built in: pieces are counted, there are no backorders, subscriptions count, and a unit that was never stocked has
//! 0 pieces. In Wix Bookings and Wix Restaurants Orders a unit that was never stocked is sold instead: each booking and
//! each dish is an item of its own, which nobody stocks.

use serde::{Deserialize, Serialize};

use crate::model::catalog::{WIX_BOOKINGS, WIX_RESTAURANTS};

/// How a unit is tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tracking {
    /// By the number of pieces.
    Quantity,
    /// In stock or not: a level above zero is in stock. Orders, adjustments and moves are recorded and leave the
    /// level as it is; only setting it changes it.
    Status,
    /// Never short. Orders, adjustments and moves are recorded and leave the level as it is.
    Untracked,
}

coded!(Tracking { Quantity = 1, Status = 2, Untracked = 3 });

/// What a unit is that was never stocked: no SetStock, AdjustStock or import named it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unstocked {
    /// It has 0 pieces.
    Refuse,
    /// It is untracked until it is stocked.
    Sell,
}

/// How a unit is counted. `None`: decided elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counting {
    /// How it is tracked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracking: Option<Tracking>,
    /// A restricted decrement may leave a level at minus this; 0 to `limits::BACKORDER_LIMIT_MAX`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backorder_limit: Option<i64>,
    /// Whether items sold as subscriptions are taken from stock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts_subscriptions: Option<bool>,
}

/// A site's settings for one catalog app. `None`: the built-in setting. The default is the built-in settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CatalogSettings {
    /// The option keys that identify stock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub option_keys: Option<Vec<String>>,
    /// How units without settings of their own are counted.
    #[serde(flatten)]
    pub counting: Counting,
    /// What units are that were never stocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unstocked: Option<Unstocked>,
}

/// Where a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The unit itself.
    Unit,
    /// The site's settings for the unit's catalog.
    Catalog,
    /// Neither says anything.
    BuiltIn,
}

/// A setting in force, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce<T> {
    /// The setting.
    pub value: T,
    /// Where it comes from.
    pub source: Source,
}

impl<T> InForce<T> {
    /// The first that says something: unit, catalog, built in.
    fn first(unit: Option<T>, catalog: Option<T>, built_in: T) -> Self {
        match (unit, catalog) {
            (Some(value), _) => Self { value, source: Source::Unit },
            (None, Some(value)) => Self { value, source: Source::Catalog },
            (None, None) => Self { value: built_in, source: Source::BuiltIn },
        }
    }
}

/// What goes for the units of one catalog that have no settings of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatalogRules {
    counting: Counting,
    unstocked: InForce<Unstocked>,
}

impl CatalogRules {
    /// The rules of a catalog app under a site's settings for it, if it has any.
    pub fn of(app_id: &str, settings: Option<&CatalogSettings>) -> Self {
        let built_in = match app_id {
            WIX_BOOKINGS | WIX_RESTAURANTS => Unstocked::Sell,
            _ => Unstocked::Refuse,
        };
        Self {
            counting: settings.map(|settings| settings.counting).unwrap_or_default(),
            unstocked: InForce::first(None, settings.and_then(|settings| settings.unstocked), built_in),
        }
    }
}

/// How a unit is counted: the settings in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitRules {
    /// How it is tracked.
    pub tracking: InForce<Tracking>,
    /// A restricted decrement may leave a level at minus this.
    pub backorder_limit: InForce<i64>,
    /// Whether items sold as subscriptions are taken from stock.
    pub counts_subscriptions: InForce<bool>,
}

impl UnitRules {
    /// The settings in force for a unit in this state.
    pub fn in_force(unit: &UnitState, catalog: &CatalogRules) -> Self {
        let UnitState { counting: own, window: _, stocked: _ } = *unit;
        let CatalogRules { counting: theirs, unstocked } = *catalog;
        let tracking = match unit.is_sold_unstocked(catalog) {
            true => InForce { value: Tracking::Untracked, source: unstocked.source },
            false => InForce::first(own.tracking, theirs.tracking, Tracking::Quantity),
        };
        Self {
            tracking,
            backorder_limit: InForce::first(own.backorder_limit, theirs.backorder_limit, 0),
            counts_subscriptions: InForce::first(own.counts_subscriptions, theirs.counts_subscriptions, true),
        }
    }

    /// Whether an item changes the level.
    pub fn counts(&self, subscription: bool) -> bool {
        match self.tracking.value {
            Tracking::Quantity => self.counts_subscriptions.value || !subscription,
            Tracking::Status | Tracking::Untracked => false,
        }
    }
}

/// When a unit is sold: from `from` on, and before `until`. Times are microseconds since 1970; `None` is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SalesWindow {
    /// The first moment at which it is sold.
    pub from: Option<i64>,
    /// The first moment at which it is no longer sold.
    pub until: Option<i64>,
}

/// Why a unit is not on sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Its sale has not begun.
    NotYet,
    /// Its sale has ended.
    NoLonger,
}

impl SalesWindow {
    /// Why the window is closed at `time`; `None` if it is open.
    pub fn closed_at(&self, time: i64) -> Option<Closed> {
        if self.from.is_some_and(|from| time < from) {
            Some(Closed::NotYet)
        } else if self.until.is_some_and(|until| time >= until) {
            Some(Closed::NoLonger)
        } else {
            None
        }
    }

    /// Whether the window is open at some time.
    pub fn opens(&self) -> bool {
        self.from.zip(self.until).is_none_or(|(from, until)| from < until)
    }
}

/// What the rules know of a unit: the settings of its own, and whether it was ever stocked. The default is a unit that
/// nothing was ever written for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitState {
    /// How it is counted.
    pub counting: Counting,
    /// When it is sold.
    pub window: SalesWindow,
    /// Whether a SetStock, AdjustStock or import has named it.
    pub stocked: bool,
}

impl UnitState {
    /// A unit that was stocked and has no settings of its own, as most have.
    pub const STOCKED: Self = Self {
        counting: Counting { tracking: None, backorder_limit: None, counts_subscriptions: None },
        window: SalesWindow { from: None, until: None },
        stocked: true,
    };

    /// Whether the unit is sold because it was never stocked. Only its own tracking goes before that policy.
    pub fn is_sold_unstocked(&self, catalog: &CatalogRules) -> bool {
        !self.stocked && self.counting.tracking.is_none() && catalog.unstocked.value == Unstocked::Sell
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::catalog::WIX_STORES;

    fn counting(tracking: Tracking) -> Counting {
        Counting { tracking: Some(tracking), ..Counting::default() }
    }

    #[test]
    fn the_unit_goes_before_its_catalog_and_the_catalog_before_the_built_in_settings() {
        use Source::{BuiltIn, Catalog, Unit};
        use Tracking::{Quantity, Status, Untracked};
        let none = Counting::default();
        let (refuse, sell) = (Some(Unstocked::Refuse), Some(Unstocked::Sell));
        // Name, app, the unit's own settings and whether it is stocked, the catalog's settings, what applies.
        type Row<'a> = (&'a str, &'a str, (Counting, bool), (Counting, Option<Unstocked>), (Tracking, Source));
        let rows: &[Row<'_>] = &[
            ("stores, never stocked", WIX_STORES, (none, false), (none, None), (Quantity, BuiltIn)),
            ("unknown app, never stocked", "app", (none, false), (none, None), (Quantity, BuiltIn)),
            ("bookings, never stocked", WIX_BOOKINGS, (none, false), (none, None), (Untracked, BuiltIn)),
            ("restaurants, never stocked", WIX_RESTAURANTS, (none, false), (none, None), (Untracked, BuiltIn)),
            ("bookings, stocked", WIX_BOOKINGS, (none, true), (none, None), (Quantity, BuiltIn)),
            ("bookings that refuse", WIX_BOOKINGS, (none, false), (none, refuse), (Quantity, BuiltIn)),
            ("stores that sell", WIX_STORES, (none, false), (none, sell), (Untracked, Catalog)),
            ("stores that sell, stocked", WIX_STORES, (none, true), (none, sell), (Quantity, BuiltIn)),
            ("a catalog by status", WIX_STORES, (none, false), (counting(Status), None), (Status, Catalog)),
            ("a catalog by status that sells", "app", (none, false), (counting(Status), sell), (Untracked, Catalog)),
            ("the same, stocked", "app", (none, true), (counting(Status), sell), (Status, Catalog)),
            ("a unit's own", WIX_BOOKINGS, (counting(Quantity), false), (counting(Status), sell), (Quantity, Unit)),
            (
                "a unit's own, untracked",
                "app",
                (counting(Untracked), true),
                (counting(Status), None),
                (Untracked, Unit),
            ),
        ];
        for &(what, app_id, (own, stocked), (theirs, unstocked), (value, source)) in rows {
            let settings = CatalogSettings { option_keys: None, counting: theirs, unstocked };
            let catalog = CatalogRules::of(app_id, Some(&settings));
            let unit = UnitState { counting: own, stocked, ..UnitState::default() };
            assert_eq!(UnitRules::in_force(&unit, &catalog).tracking, InForce { value, source }, "{what}");
        }
    }

    #[test]
    fn each_setting_is_looked_for_by_itself() {
        let own = Counting { backorder_limit: Some(3), ..Counting::default() };
        let theirs = Counting { tracking: None, backorder_limit: Some(9), counts_subscriptions: Some(false) };
        let settings = CatalogSettings { counting: theirs, ..CatalogSettings::default() };
        let unit = UnitState { counting: own, ..UnitState::STOCKED };
        let rules = UnitRules::in_force(&unit, &CatalogRules::of(WIX_STORES, Some(&settings)));
        assert_eq!(rules.tracking, InForce { value: Tracking::Quantity, source: Source::BuiltIn });
        assert_eq!(rules.backorder_limit, InForce { value: 3, source: Source::Unit });
        assert_eq!(rules.counts_subscriptions, InForce { value: false, source: Source::Catalog });
    }

    #[test]
    fn a_window_has_exact_edges() {
        let window = SalesWindow { from: Some(10), until: Some(20) };
        let at = |time| window.closed_at(time);
        assert_eq!([at(9), at(10), at(19), at(20)], [Some(Closed::NotYet), None, None, Some(Closed::NoLonger)]);
        assert_eq!(SalesWindow::default().closed_at(i64::MIN), None);
        let opens = |from, until| SalesWindow { from, until }.opens();
        assert!(opens(Some(1), Some(2)) && opens(Some(2), None) && opens(None, Some(2)));
        assert!(!opens(Some(2), Some(2)) && !opens(Some(3), Some(2)));
    }

    #[test]
    fn settings_survive_their_stored_form() {
        let settings = CatalogSettings {
            option_keys: Some(vec!["size".into()]),
            counting: Counting { tracking: Some(Tracking::Untracked), backorder_limit: Some(1), ..Counting::default() },
            unstocked: Some(Unstocked::Sell),
        };
        let text = serde_json::to_string(&settings).expect("it serializes");
        let expected = r#"{"option_keys":["size"],"tracking":"untracked","backorder_limit":1,"unstocked":"sell"}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<CatalogSettings>(&text).expect("it reads"), settings);
        assert_eq!(serde_json::to_string(&CatalogSettings::default()).expect("it serializes"), "{}");
    }
}
