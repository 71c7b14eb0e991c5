//! What a merchant settles for a unit: how it is called, and how it is counted.

use crate::catalog::{CatalogReference, Unit};
use crate::command::stored_as;
use crate::limits;

/// What is counted of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tracking {
    /// Pieces.
    #[default]
    Quantity,
    /// Only whether there are any: a level above zero is in stock. Orders, adjustments and moves are
    /// entered in the ledger and leave the level as it is; it is changed by setting it.
    Status,
}

stored_as!(Tracking { Quantity = 1, Status = 2 });

/// How a unit is counted: what the rules need to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitRules {
    /// What is counted.
    pub tracking: Tracking,
    /// A restricted decrement may leave a level at minus this; 0 to `limits::BACKORDER_LIMIT_MAX`.
    pub backorder_limit: i64,
    /// Whether items sold as subscriptions are taken from stock.
    pub counts_subscriptions: bool,
}

impl Default for UnitRules {
    fn default() -> Self {
        Self { tracking: Tracking::Quantity, backorder_limit: 0, counts_subscriptions: true }
    }
}

impl UnitRules {
    /// Whether an item changes the level.
    pub(crate) fn counts(&self, subscription: bool) -> bool {
        self.tracking == Tracking::Quantity && (self.counts_subscriptions || !subscription)
    }
}

/// Everything that is settled for a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitSettings {
    /// The merchant's own name for it, `limits::SKU_CHARS_MAX` characters at most; no two units of a site
    /// have the same.
    pub sku: Option<String>,
    /// What people call it, `limits::UNIT_NAME_CHARS_MAX` characters at most.
    pub name: String,
    /// How it is counted.
    pub rules: UnitRules,
}

/// What to change about a unit's settings; what is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct UnitChange {
    /// Its sku; `Some(None)` takes it away.
    pub sku: Option<Option<String>>,
    /// Its name.
    pub name: Option<String>,
    /// What is counted of it.
    pub tracking: Option<Tracking>,
    /// How far a restricted decrement may go below zero.
    pub backorder_limit: Option<i64>,
    /// Whether items sold as subscriptions are taken from stock.
    pub counts_subscriptions: Option<bool>,
}

impl UnitChange {
    /// The settings after the change.
    pub(crate) fn of(&self, before: &UnitSettings) -> UnitSettings {
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

/// A unit, as a reader may name it.
#[derive(Clone, Debug, PartialEq)]
pub enum UnitName {
    /// By the catalog.
    Reference(CatalogReference),
    /// By the merchant's own name.
    Sku(String),
}

/// A unit with what is settled for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettledUnit {
    /// The unit.
    pub unit: Unit,
    /// What is settled for it.
    pub settings: UnitSettings,
}

const _: () = assert!(limits::BACKORDER_LIMIT_MAX < i64::MAX);
