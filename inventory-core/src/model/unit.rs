//! The settings of a unit, and the two ways to name one.

use crate::model::catalog::{CatalogReference, Unit};
use crate::model::kind::{Counting, SalesWindow, Tracking, UnitRules, UnitState};
use crate::model::limits;

/// The merchant's own name for a unit: 1 to `limits::SKU_CHARS_MAX` characters, no NUL, compared exactly.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sku(String);

impl Sku {
    /// `None` if out of bounds.
    pub fn new(text: &str) -> Option<Self> {
        let chars = text.chars().count();
        ((1..=limits::SKU_CHARS_MAX).contains(&chars) && !text.contains('\0')).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes back text that `as_str` returned.
    pub(crate) fn from_stored(text: String) -> Self {
        Self(text)
    }
}

/// A unit as a request names it.
#[derive(Clone, Debug, PartialEq)]
pub enum UnitSelector {
    /// By the catalog's names.
    Reference(CatalogReference),
    /// By its SKU.
    Sku(Sku),
}

/// All settings of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitSettings {
    /// The merchant's own name for it. No two units of a site have the same.
    pub sku: Option<Sku>,
    /// A name for people, at most `limits::UNIT_NAME_CHARS_MAX` characters.
    pub name: String,
    /// What the rules use.
    pub state: UnitState,
}

/// Changes of a unit's settings. `None` leaves a setting as it is; `Some(None)` takes it away.
#[derive(Clone, Debug, Default)]
pub struct UnitChange {
    /// The SKU.
    pub sku: Option<Option<Sku>>,
    /// The name; an empty one takes it away.
    pub name: Option<String>,
    /// How the unit is tracked. Without a setting of its own, its catalog decides; so for the next two.
    pub tracking: Option<Option<Tracking>>,
    /// How far a restricted decrement may go below zero.
    pub backorder_limit: Option<Option<i64>>,
    /// Whether items sold as subscriptions are taken from stock.
    pub counts_subscriptions: Option<Option<bool>>,
    /// The first moment at which the unit is sold: microseconds since 1970.
    pub sell_from: Option<Option<i64>>,
    /// The first moment at which the unit is no longer sold.
    pub sell_until: Option<Option<i64>>,
}

impl UnitChange {
    /// The settings after the change.
    pub fn apply(&self, before: &UnitSettings) -> UnitSettings {
        let Self { sku, name, tracking, backorder_limit, counts_subscriptions, sell_from, sell_until } = self;
        let UnitState { counting, window, stocked } = before.state;
        UnitSettings {
            sku: sku.clone().unwrap_or_else(|| before.sku.clone()),
            name: name.clone().unwrap_or_else(|| before.name.clone()),
            state: UnitState {
                counting: Counting {
                    tracking: tracking.unwrap_or(counting.tracking),
                    backorder_limit: backorder_limit.unwrap_or(counting.backorder_limit),
                    counts_subscriptions: counts_subscriptions.unwrap_or(counting.counts_subscriptions),
                },
                window: SalesWindow {
                    from: sell_from.unwrap_or(window.from),
                    until: sell_until.unwrap_or(window.until),
                },
                stocked,
            },
        }
    }
}

/// A unit with its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredUnit {
    /// The unit.
    pub unit: Unit,
    /// Its settings.
    pub settings: UnitSettings,
    /// How it is counted: its own settings, or else its catalog's, or else the built-in ones.
    pub rules: UnitRules,
}

const _: () = assert!(limits::BACKORDER_LIMIT_MAX < i64::MAX);
