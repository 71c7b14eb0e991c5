//! The settings of a unit, and the two ways to name one.

use crate::model::catalog::{CatalogReference, Unit};
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

/// How a unit is tracked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tracking {
    /// By the number of pieces.
    #[default]
    Quantity,
    /// In stock or not: a level above zero is in stock. Orders, adjustments and moves are recorded and leave the
    /// level as it is; only setting it changes it.
    Status,
}

coded!(Tracking { Quantity = 1, Status = 2 });

/// The settings of a unit that the rules use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitRules {
    /// How it is tracked.
    pub tracking: Tracking,
    /// A restricted decrement may leave a level at minus this; 0 to `limits::BACKORDER_LIMIT_MAX`.
    pub backorder_limit: i64,
    /// Whether items sold as subscriptions are taken from stock.
    pub counts_subscriptions: bool,
}

impl UnitRules {
    /// The rules of a unit without settings of its own.
    pub const DEFAULT: Self = Self { tracking: Tracking::Quantity, backorder_limit: 0, counts_subscriptions: true };

    /// Whether an item changes the level.
    pub fn counts(&self, subscription: bool) -> bool {
        match self.tracking {
            Tracking::Quantity => self.counts_subscriptions || !subscription,
            Tracking::Status => false,
        }
    }
}

impl Default for UnitRules {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// All settings of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitSettings {
    /// The merchant's own name for it. No two units of a site have the same.
    pub sku: Option<Sku>,
    /// A name for people, at most `limits::UNIT_NAME_CHARS_MAX` characters.
    pub name: String,
    /// The settings that the rules use.
    pub rules: UnitRules,
}

/// Changes of a unit's settings. `None` leaves a setting as it is.
#[derive(Clone, Debug, Default)]
pub struct UnitChange {
    /// The SKU; `Some(None)` removes it.
    pub sku: Option<Option<Sku>>,
    /// The name.
    pub name: Option<String>,
    /// How the unit is tracked.
    pub tracking: Option<Tracking>,
    /// How far a restricted decrement may go below zero.
    pub backorder_limit: Option<i64>,
    /// Whether items sold as subscriptions are taken from stock.
    pub counts_subscriptions: Option<bool>,
}

impl UnitChange {
    /// The settings after the change.
    pub fn apply(&self, before: &UnitSettings) -> UnitSettings {
        let UnitSettings { sku, name, rules } = before;
        UnitSettings {
            sku: self.sku.clone().unwrap_or_else(|| sku.clone()),
            name: self.name.clone().unwrap_or_else(|| name.clone()),
            rules: UnitRules {
                tracking: self.tracking.unwrap_or(rules.tracking),
                backorder_limit: self.backorder_limit.unwrap_or(rules.backorder_limit),
                counts_subscriptions: self.counts_subscriptions.unwrap_or(rules.counts_subscriptions),
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
}

const _: () = assert!(limits::BACKORDER_LIMIT_MAX < i64::MAX);
