//! The requests of `SiteService`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use inventory_core::model::ids::SiteId;
use inventory_core::model::kind::{CatalogSettings, Counting};
use inventory_core::model::limits;
use inventory_core::model::site::{OverReturnPolicy, SiteChange, SuspectedRepeatPolicy};
use inventory_proto::v1;
use tonic::Status;

use crate::decode::fields::{Checked, Fields};
use crate::decode::{Read, UNKNOWN_POLICY};
use crate::page::Page;
use crate::violation::At;

/// Asks for a site.
pub(crate) fn get_site(request: v1::GetSiteRequest) -> Result<Read<()>, Status> {
    let v1::GetSiteRequest { site_id } = request;
    let mut fields = Fields::default();
    let site = fields.site_id(&site_id);
    let read = fields.read(site, 0, Ok(()));
    fields.finish(read)
}

/// Asks for a page of sites.
pub(crate) fn list_sites(request: v1::ListSitesRequest) -> Result<Page<SiteId>, Status> {
    let v1::ListSitesRequest { page_size, page_token } = request;
    let mut fields = Fields::default();
    let page = Page::decode(&mut fields, Ok("sites".to_owned()), page_size, &page_token);
    fields.finish(page)
}

/// Asks for a page of the changes of a site's settings, perhaps newest first.
pub(crate) fn list_setting_changes(request: v1::ListSettingChangesRequest) -> Result<Read<(bool, Page<i64>)>, Status> {
    let v1::ListSettingChangesRequest { site_id, page_size, page_token, newest_first } = request;
    let mut fields = Fields::default();
    let site = fields.site_id(&site_id);
    let order = if newest_first { "newest" } else { "oldest" };
    let query = site.map(|site| format!("settings of {site}, {order} first"));
    let page = Page::decode(&mut fields, query, page_size, &page_token);
    let read = fields.read(site, 0, page.map(|page| (newest_first, page)));
    fields.finish(read)
}

/// Changes settings of a site.
pub(crate) fn update_site(request: v1::UpdateSiteRequest) -> Result<(SiteId, SiteChange), Status> {
    let v1::UpdateSiteRequest { site_id, default_location_id, catalogs, suspected_repeats, over_returns } = request;
    let mut fields = Fields::default();
    let site = fields.site_id(&site_id);
    let default_location = fields.location(At::REQUEST, "default_location_id", &default_location_id);
    let catalogs = all_catalogs(&mut fields, catalogs);
    let suspected_repeats = suspected_repeats_policy(&mut fields, suspected_repeats);
    let over_returns = over_returns_policy(&mut fields, over_returns);
    let decoded = || {
        let change = SiteChange {
            default_location: default_location?,
            catalogs: catalogs?,
            suspected_repeats: suspected_repeats?,
            over_returns: over_returns?,
        };
        Ok((site?, change))
    };
    fields.finish(decoded())
}

/// A catalog app's id, and the site's settings for it.
type Catalog = (String, CatalogSettings);

fn all_catalogs(fields: &mut Fields, catalogs: Vec<v1::CatalogSettings>) -> Checked<Vec<Catalog>> {
    if catalogs.len() > limits::CATALOGS_MAX {
        return fields.bad(At::REQUEST, "catalogs", format_args!("must be at most {} catalogs", limits::CATALOGS_MAX));
    }
    let mut named = HashMap::with_capacity(catalogs.len());
    let decoded: Vec<Checked<Catalog>> = catalogs
        .into_iter()
        .enumerate()
        .map(|(index, settings)| catalog(fields, &mut named, index, settings))
        .collect();
    decoded.into_iter().collect()
}

/// The settings for one catalog app. `named` has the index of each app that the request has named so far.
fn catalog(
    fields: &mut Fields,
    named: &mut HashMap<String, usize>,
    index: usize,
    settings: v1::CatalogSettings,
) -> Checked<Catalog> {
    let v1::CatalogSettings { app_id, option_keys: keys, tracking, backorder_limit, counts_subscriptions, unstocked } =
        settings;
    let at = At::element("catalogs", index);
    let app_id = fields.app_id(at, "app_id", &app_id).and_then(|app_id| match named.entry(app_id.clone()) {
        Entry::Vacant(free) => {
            free.insert(index);
            Ok(app_id)
        }
        Entry::Occupied(first) => {
            fields.bad(at, "app_id", format_args!("is named by catalogs[{}] already", first.get()))
        }
    });
    let keys = keys.map(|keys| option_keys(fields, at, keys)).transpose();
    let tracking = fields.tracking(at, tracking);
    let backorder_limit = fields.backorder_limit(at, backorder_limit);
    let unstocked = fields.unstocked(at, unstocked);
    let counting = Counting { tracking: tracking?, backorder_limit: backorder_limit?, counts_subscriptions };
    Ok((app_id?, CatalogSettings { option_keys: keys?, counting, unstocked: unstocked? }))
}

fn option_keys(fields: &mut Fields, at: At, keys: v1::OptionKeys) -> Checked<Vec<String>> {
    let v1::OptionKeys { keys } = keys;
    let (count, chars) = (limits::OPTION_KEYS_MAX, limits::OPTION_KEY_CHARS_MAX);
    let bad = |key: &String| !(1..=chars).contains(&key.chars().count());
    match keys.len() > count || keys.iter().any(bad) {
        true => {
            fields.bad(at, "option_keys.keys", format_args!("must be at most {count} keys of 1 to {chars} characters"))
        }
        false => Ok(keys),
    }
}

fn suspected_repeats_policy(fields: &mut Fields, number: i32) -> Checked<Option<SuspectedRepeatPolicy>> {
    match v1::SuspectedRepeatPolicy::try_from(number) {
        Ok(v1::SuspectedRepeatPolicy::Unspecified) => Ok(None),
        Ok(v1::SuspectedRepeatPolicy::Report) => Ok(Some(SuspectedRepeatPolicy::Report)),
        Ok(v1::SuspectedRepeatPolicy::Suppress) => Ok(Some(SuspectedRepeatPolicy::Suppress)),
        Err(_) => fields.bad(At::REQUEST, "suspected_repeats", UNKNOWN_POLICY),
    }
}

fn over_returns_policy(fields: &mut Fields, number: i32) -> Checked<Option<OverReturnPolicy>> {
    match v1::OverReturnPolicy::try_from(number) {
        Ok(v1::OverReturnPolicy::Unspecified) => Ok(None),
        Ok(v1::OverReturnPolicy::Report) => Ok(Some(OverReturnPolicy::Report)),
        Ok(v1::OverReturnPolicy::Clip) => Ok(Some(OverReturnPolicy::Clip)),
        Err(_) => fields.bad(At::REQUEST, "over_returns", UNKNOWN_POLICY),
    }
}

#[cfg(test)]
mod tests {
    use inventory_core::model::kind::{Tracking, Unstocked};
    use tonic_types::StatusExt;

    use super::*;

    fn update(catalogs: Vec<v1::CatalogSettings>) -> Result<Vec<Catalog>, Vec<(String, String)>> {
        let site_id = "215238eb-22a5-4c36-9e7b-e7c08025e04e".to_owned();
        let decoded = update_site(v1::UpdateSiteRequest { site_id, catalogs, ..Default::default() });
        decoded.map(|(_, change)| change.catalogs).map_err(|status| {
            let bad = status.get_details_bad_request().expect("a BadRequest");
            bad.field_violations.into_iter().map(|violation| (violation.field, violation.description)).collect()
        })
    }

    fn catalog(app_id: &str) -> v1::CatalogSettings {
        v1::CatalogSettings { app_id: app_id.into(), ..Default::default() }
    }

    fn keys(keys: &[&str]) -> Option<v1::OptionKeys> {
        Some(v1::OptionKeys { keys: keys.iter().map(|&key| key.to_owned()).collect() })
    }

    #[test]
    fn what_is_unset_is_built_in() {
        let set = v1::CatalogSettings {
            option_keys: keys(&["date"]),
            tracking: v1::Tracking::Untracked.into(),
            backorder_limit: Some(0),
            counts_subscriptions: Some(true),
            unstocked: v1::Unstocked::Sell.into(),
            ..catalog("app")
        };
        let item_alone = v1::CatalogSettings { option_keys: keys(&[]), ..catalog("other") };
        let expected = CatalogSettings {
            option_keys: Some(vec!["date".into()]),
            counting: Counting {
                tracking: Some(Tracking::Untracked),
                backorder_limit: Some(0),
                counts_subscriptions: Some(true),
            },
            unstocked: Some(Unstocked::Sell),
        };
        let no_keys = CatalogSettings { option_keys: Some(Vec::new()), ..CatalogSettings::default() };
        let third = "215238EB-22A5-4C36-9E7B-E7C08025E04E";
        let decoded = update(vec![set, item_alone, catalog(third)]);
        let third = (third.to_lowercase(), CatalogSettings::default());
        assert_eq!(decoded, Ok(vec![("app".into(), expected), ("other".into(), no_keys), third]));
        assert_eq!(update(Vec::new()), Ok(Vec::new()));
    }

    #[test]
    fn every_bad_catalog_is_named_by_its_path() {
        let bad = v1::CatalogSettings {
            app_id: String::new(),
            option_keys: keys(&["", "x"]),
            tracking: 4,
            backorder_limit: Some(limits::BACKORDER_LIMIT_MAX + 1),
            counts_subscriptions: None,
            unstocked: 3,
        };
        let negative = v1::CatalogSettings { backorder_limit: Some(-1), unstocked: -1, ..catalog("app") };
        let fields: Vec<String> =
            update(vec![bad, negative]).expect_err("bad").into_iter().map(|(field, _)| field).collect();
        let expected = [
            "catalogs[0].app_id",
            "catalogs[0].option_keys.keys",
            "catalogs[0].tracking",
            "catalogs[0].backorder_limit",
            "catalogs[0].unstocked",
            "catalogs[1].backorder_limit",
            "catalogs[1].unstocked",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_catalog_is_named_once_and_not_too_many_are() {
        let guid = "13d21c63-b5ec-5912-8397-c3a5ddb27a97";
        let twice = update(vec![catalog("app"), catalog(guid), catalog(&guid.to_uppercase()), catalog("app")]);
        let again = |index: usize, first: usize| {
            (format!("catalogs[{index}].app_id"), format!("is named by catalogs[{first}] already"))
        };
        assert_eq!(twice, Err(vec![again(2, 1), again(3, 0)]));
        let many = |count: usize| update((0..count).map(|index| catalog(&format!("app-{index}"))).collect());
        assert_eq!(many(100).map(|catalogs| catalogs.len()), Ok(100));
        assert_eq!(many(101), Err(vec![("catalogs".to_owned(), "must be at most 100 catalogs".to_owned())]));
    }
}
