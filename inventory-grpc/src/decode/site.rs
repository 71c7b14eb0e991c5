//! The requests of `SiteService`.

use inventory_core::model::ids::SiteId;
use inventory_core::model::limits;
use inventory_core::model::site::{OverReturnPolicy, SiteChange, SuspectedRepeatPolicy};
use inventory_proto::v1;
use tonic::Status;

use crate::decode::Read;
use crate::decode::fields::{Checked, Fields};
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

/// Changes settings of a site.
pub(crate) fn update_site(request: v1::UpdateSiteRequest) -> Result<(SiteId, SiteChange), Status> {
    let v1::UpdateSiteRequest {
        site_id,
        default_location_id,
        option_keys,
        reset_option_keys,
        suspected_repeats,
        over_returns,
    } = request;
    let mut fields = Fields::default();
    let site = fields.site_id(&site_id);
    let default_location = fields.location(At::REQUEST, "default_location_id", &default_location_id);
    let option_keys = all_option_keys(&mut fields, option_keys, reset_option_keys);
    let suspected_repeats = suspected_repeats_policy(&mut fields, suspected_repeats);
    let over_returns = over_returns_policy(&mut fields, over_returns);
    let decoded = || {
        let change = SiteChange {
            default_location: default_location?,
            option_keys: option_keys?,
            suspected_repeats: suspected_repeats?,
            over_returns: over_returns?,
        };
        Ok((site?, change))
    };
    fields.finish(decoded())
}

/// Per catalog app: its option keys, or `None` for the built-in rule.
type AppKeys = (String, Option<Vec<String>>);

fn all_option_keys(fields: &mut Fields, set: Vec<v1::OptionKeys>, reset: Vec<String>) -> Checked<Vec<AppKeys>> {
    if set.len() + reset.len() > limits::OPTION_KEY_APPS_MAX {
        let bound = format_args!("must name at most {} apps", limits::OPTION_KEY_APPS_MAX);
        return fields.bad(At::REQUEST, "option_keys", bound);
    }
    let set: Vec<Checked<AppKeys>> =
        set.into_iter().enumerate().map(|(index, keys)| app_keys(fields, index, keys)).collect();
    let reset: Vec<Checked<AppKeys>> = reset
        .iter()
        .enumerate()
        .map(|(index, app_id)| Ok((fields.app_id(At::element("reset_option_keys", index), "", app_id)?, None)))
        .collect();
    set.into_iter().chain(reset).collect()
}

fn app_keys(fields: &mut Fields, index: usize, keys: v1::OptionKeys) -> Checked<AppKeys> {
    let v1::OptionKeys { app_id, keys } = keys;
    let at = At::element("option_keys", index);
    let app_id = fields.app_id(at, "app_id", &app_id);
    let (count, chars) = (limits::OPTION_KEYS_MAX, limits::OPTION_KEY_CHARS_MAX);
    let bad = |key: &String| !(1..=chars).contains(&key.chars().count());
    let keys = match keys.len() > count || keys.iter().any(bad) {
        true => fields.bad(at, "keys", format_args!("must be at most {count} keys of 1 to {chars} characters")),
        false => Ok(keys),
    };
    Ok((app_id?, Some(keys?)))
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

/// What is said of a policy's number that this version does not know.
const UNKNOWN_POLICY: &str = "is not a policy of this version";
