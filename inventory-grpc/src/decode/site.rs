//! The messages of `SiteService`.

use inventory_core::engine::SettingsChange;
use inventory_core::ids::SiteId;
use inventory_core::limits;
use inventory_core::order::{OverReturns, SuspectedRepeats};
use inventory_proto::v1;
use tonic::Status;

use super::{app_id_of, optional_location, site_id_of};
use crate::status::invalid;

/// A change of settings.
pub fn settings(request: v1::UpdateSiteRequest) -> Result<(SiteId, SettingsChange), Status> {
    let v1::UpdateSiteRequest {
        site_id,
        default_location_id,
        option_keys,
        reset_option_keys,
        suspected_repeats,
        over_returns,
    } = request;
    let site = site_id_of(&site_id)?;
    let default_location = optional_location(&default_location_id, || "default_location_id".into())?;
    if option_keys.len() + reset_option_keys.len() > limits::OPTION_KEY_APPS_MAX {
        return Err(invalid("option_keys", format!("must name at most {} apps", limits::OPTION_KEY_APPS_MAX)));
    }
    let mut changes = Vec::with_capacity(option_keys.len() + reset_option_keys.len());
    for (index, v1::OptionKeys { app_id, keys }) in option_keys.into_iter().enumerate() {
        let app_id = app_id_of(&app_id, || format!("option_keys[{index}].app_id"))?;
        let bad = |key: &String| !(1..=limits::OPTION_KEY_CHARS_MAX).contains(&key.chars().count());
        if keys.len() > limits::OPTION_KEYS_MAX || keys.iter().any(bad) {
            let (count, chars) = (limits::OPTION_KEYS_MAX, limits::OPTION_KEY_CHARS_MAX);
            let told = format!("must be at most {count} keys of 1 to {chars} characters");
            return Err(invalid(format!("option_keys[{index}].keys"), told));
        }
        changes.push((app_id, Some(keys)));
    }
    for (index, app_id) in reset_option_keys.into_iter().enumerate() {
        changes.push((app_id_of(&app_id, || format!("reset_option_keys[{index}]"))?, None));
    }
    let suspected_repeats = suspected_repeats_of(suspected_repeats)?;
    let over_returns = over_returns_of(over_returns)?;
    Ok((site, SettingsChange { default_location, option_keys: changes, suspected_repeats, over_returns }))
}

fn suspected_repeats_of(policy: i32) -> Result<Option<SuspectedRepeats>, Status> {
    let unknown = |_| invalid("suspected_repeats", "is not a policy of this version");
    match v1::SuspectedRepeatPolicy::try_from(policy).map_err(unknown)? {
        v1::SuspectedRepeatPolicy::Unspecified => Ok(None),
        v1::SuspectedRepeatPolicy::Report => Ok(Some(SuspectedRepeats::Report)),
        v1::SuspectedRepeatPolicy::Suppress => Ok(Some(SuspectedRepeats::Suppress)),
    }
}

fn over_returns_of(policy: i32) -> Result<Option<OverReturns>, Status> {
    let unknown = |_| invalid("over_returns", "is not a policy of this version");
    match v1::OverReturnPolicy::try_from(policy).map_err(unknown)? {
        v1::OverReturnPolicy::Unspecified => Ok(None),
        v1::OverReturnPolicy::Report => Ok(Some(OverReturns::Report)),
        v1::OverReturnPolicy::Clip => Ok(Some(OverReturns::Clip)),
    }
}
