//! The journal of settings: who changed which setting of a site, a catalog, a unit or a token, and when.
//!
//! A change holds only the settings that differ. A setting that is not set is `null`.

use serde_json::{Map, Value, json};

use crate::model::access::{Author, Token};
use crate::model::catalog::Unit;
use crate::model::ids::SiteId;
use crate::model::kind::{CatalogSettings, Counting, SalesWindow, UnitState};
use crate::model::site::{OrderPolicies, OverReturnPolicy, SiteSettings, SuspectedRepeatPolicy};
use crate::model::unit::UnitSettings;

/// The subject of a change that deleted its whole site. Triggers of the database know it too.
pub const DELETION: &str = "deletion";

/// Settings that were changed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// The site. `None` for a token.
    pub site: Option<SiteId>,
    /// What was changed: `site`, `catalog APP`, `unit APP/ITEM`, `unit APP/ITEM/VARIANT` or `token NAME`; [`DELETION`]
    /// if the whole site was deleted.
    pub subject: String,
    /// Who changed it.
    pub author: Author,
    /// When it was changed: microseconds since 1970.
    pub recorded_at: i64,
    /// The settings before: a JSON object.
    pub before: String,
    /// The settings after: a JSON object with the same names.
    pub after: String,
}

/// A row of the journal, as readers get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its number. Later changes of a site have greater ones; they have gaps.
    pub id: i64,
    /// The change.
    pub change: SettingChange,
}

/// Makes the journal's rows of one transaction.
#[derive(Clone, Debug)]
pub struct Journal<'a> {
    /// The site. `None` for a token.
    pub site: Option<SiteId>,
    /// Who makes the changes.
    pub author: &'a Author,
    /// When: microseconds since 1970.
    pub recorded_at: i64,
}

impl Journal<'_> {
    /// The changes of a site's settings: one for the site itself, and one for each catalog. Only real ones.
    pub fn site(&self, before: &SiteSettings, after: &SiteSettings) -> Vec<SettingChange> {
        let mut changes: Vec<SettingChange> =
            self.change("site".to_owned(), site_map(before), site_map(after)).into_iter().collect();
        let mut apps: Vec<&String> = before.catalogs.keys().chain(after.catalogs.keys()).collect();
        apps.sort_unstable();
        apps.dedup();
        for app in apps {
            let map = |settings: &SiteSettings| catalog_map(settings.catalogs.get(app));
            changes.extend(self.change(format!("catalog {app}"), map(before), map(after)));
        }
        changes
    }

    /// The change of a unit's settings. `None` if they are the same.
    pub fn unit(&self, unit: &Unit, before: &UnitSettings, after: &UnitSettings) -> Option<SettingChange> {
        let Unit { app_id, item_id, variant } = unit;
        let subject = match variant.options().is_empty() {
            true => format!("unit {app_id}/{item_id}"),
            false => format!("unit {app_id}/{item_id}/{}", variant.as_str()),
        };
        self.change(subject, unit_map(before), unit_map(after))
    }

    /// The change of a token. `None` if it is the same.
    pub fn token(&self, before: Option<&Token>, after: &Token) -> Option<SettingChange> {
        let subject = format!("token {}", after.name);
        self.change(subject, before.map(token_map).unwrap_or_default(), token_map(after))
    }

    /// The deletion of the site with all of its `entries`. It names none of the merchant's data.
    pub fn deletion(&self, why: &str, entries: i64) -> SettingChange {
        let Self { site, author, recorded_at } = self;
        SettingChange {
            site: *site,
            subject: DELETION.to_owned(),
            author: (*author).clone(),
            recorded_at: *recorded_at,
            before: json!({ "entries": entries, "why": null }).to_string(),
            after: json!({ "entries": 0, "why": why }).to_string(),
        }
    }

    fn change(&self, subject: String, before: Map<String, Value>, after: Map<String, Value>) -> Option<SettingChange> {
        let (mut old, mut new) = (Map::new(), Map::new());
        for name in before.keys().chain(after.keys()) {
            let value = |map: &Map<String, Value>| map.get(name).cloned().unwrap_or_default();
            if value(&before) != value(&after) {
                old.insert(name.clone(), value(&before));
                new.insert(name.clone(), value(&after));
            }
        }
        let Self { site, author, recorded_at } = self;
        let change = || SettingChange {
            site: *site,
            subject,
            author: (*author).clone(),
            recorded_at: *recorded_at,
            before: Value::Object(old).to_string(),
            after: Value::Object(new.clone()).to_string(),
        };
        (!new.is_empty()).then(change)
    }
}

fn site_map(settings: &SiteSettings) -> Map<String, Value> {
    let SiteSettings { default_location, catalogs: _, order_policies, revision: _ } = settings;
    let OrderPolicies { suspected_repeats, over_returns } = order_policies;
    let suspected_repeats = match suspected_repeats {
        SuspectedRepeatPolicy::Report => "report",
        SuspectedRepeatPolicy::Suppress => "suppress",
    };
    let over_returns = match over_returns {
        OverReturnPolicy::Report => "report",
        OverReturnPolicy::Clip => "clip",
    };
    map([
        ("default_location_id", json!(default_location.map(|id| id.to_string()))),
        ("suspected_repeats", json!(suspected_repeats)),
        ("over_returns", json!(over_returns)),
    ])
}

fn catalog_map(settings: Option<&CatalogSettings>) -> Map<String, Value> {
    let default = CatalogSettings::default();
    let CatalogSettings { option_keys, counting, unstocked } = settings.unwrap_or(&default);
    let mut map = counting_map(counting);
    map.insert("option_keys".to_owned(), json!(option_keys));
    map.insert("unstocked".to_owned(), json!(unstocked));
    map
}

fn counting_map(counting: &Counting) -> Map<String, Value> {
    let Counting { tracking, backorder_limit, counts_subscriptions } = counting;
    map([
        ("tracking", json!(tracking)),
        ("backorder_limit", json!(backorder_limit)),
        ("counts_subscriptions", json!(counts_subscriptions)),
    ])
}

fn unit_map(settings: &UnitSettings) -> Map<String, Value> {
    let UnitSettings { sku, name, state } = settings;
    // Whether it was stocked is no setting.
    let UnitState { counting, window: SalesWindow { from, until }, stocked: _ } = state;
    let mut map = counting_map(counting);
    map.insert("sku".to_owned(), json!(sku.as_ref().map(|sku| sku.as_str())));
    map.insert("name".to_owned(), json!(Some(name).filter(|name| !name.is_empty())));
    map.insert("sell_from_micros".to_owned(), json!(from));
    map.insert("sell_until_micros".to_owned(), json!(until));
    map
}

fn token_map(token: &Token) -> Map<String, Value> {
    let Token { name: _, scopes, sites, created_at, expires_at, revoked_at } = token;
    map([
        ("scopes", json!(scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>())),
        ("sites", json!(sites.iter().map(SiteId::to_string).collect::<Vec<_>>())),
        ("created_micros", json!(created_at)),
        ("expires_micros", json!(expires_at)),
        ("revoked_micros", json!(revoked_at)),
    ])
}

fn map<const N: usize>(settings: [(&str, Value); N]) -> Map<String, Value> {
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::catalog::Variant;
    use crate::model::kind::{Tracking, Unstocked};

    fn texts(changes: impl IntoIterator<Item = SettingChange>) -> Vec<(String, String, String)> {
        changes.into_iter().map(|SettingChange { subject, before, after, .. }| (subject, before, after)).collect()
    }

    fn row(subject: &str, before: &str, after: &str) -> (String, String, String) {
        (subject.into(), before.into(), after.into())
    }

    #[test]
    fn a_change_holds_what_differs_and_nothing_else() {
        let author = Author { actor: "erp".into(), on_behalf_of: "ann".into() };
        let journal = Journal { site: None, author: &author, recorded_at: 7 };
        let before = SiteSettings::default();
        let mut after = before.clone();
        assert_eq!(journal.site(&before, &after), []);
        after.order_policies.over_returns = OverReturnPolicy::Clip;
        let catalog = CatalogSettings { unstocked: Some(Unstocked::Sell), ..CatalogSettings::default() };
        after.catalogs.insert("app".into(), catalog);
        let expected = [
            row("site", r#"{"over_returns":"report"}"#, r#"{"over_returns":"clip"}"#),
            row("catalog app", r#"{"unstocked":null}"#, r#"{"unstocked":"sell"}"#),
        ];
        let changes = journal.site(&before, &after);
        assert_eq!((&changes[0].author, changes[0].recorded_at), (&author, 7));
        assert_eq!(texts(changes), expected);
        assert_eq!(texts(journal.site(&after, &before))[1], row("catalog app", &expected[1].2, &expected[1].1));
    }

    #[test]
    fn whether_a_unit_was_stocked_is_no_setting() {
        let author = Author::default();
        let journal = Journal { site: None, author: &author, recorded_at: 0 };
        let unit = Unit { app_id: "app".into(), item_id: "A".into(), variant: Variant::default() };
        let before = UnitSettings::default();
        let mut after = UnitSettings { state: UnitState::STOCKED, ..before.clone() };
        assert_eq!(journal.unit(&unit, &before, &after), None);
        after.state.counting.tracking = Some(Tracking::Status);
        let expected = row("unit app/A", r#"{"tracking":null}"#, r#"{"tracking":"status"}"#);
        assert_eq!(texts(journal.unit(&unit, &before, &after)), [expected]);
    }
}
