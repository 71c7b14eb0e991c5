//! Changes of units' settings.
//!
//! A field that is set changes a setting. A path of `reset_mask` takes the unit's own setting away. Neither leaves the
//! setting as it is, and both at once are a bad field.

use inventory_core::model::ids::{SiteId, parse_guid};
use inventory_core::model::limits;
use inventory_core::model::unit::{Sku, UnitChange, UnitSelector};
use inventory_proto::v1;
use prost_types::FieldMask;
use tonic::Status;

use crate::decode::fields::{Checked, Fields};
use crate::violation::At;

/// Paths of a `reset_mask`, at most.
const RESET_PATHS_MAX: usize = 20;
/// Characters of a path that an error shows, at most. The details of an error have a bound.
const PATH_SHOWN_CHARS_MAX: usize = 40;
/// The settings that `reset_mask` can take away.
const RESETTABLE: [&str; 5] = ["tracking", "backorder_limit", "counts_subscriptions", "sell_from", "sell_until"];

/// Changes settings of a unit.
pub(crate) fn update_unit(request: v1::UpdateUnitRequest) -> Result<(SiteId, UnitSelector, UnitChange), Status> {
    let mut fields = Fields::default();
    let site = fields.site_id(&request.site_id);
    let change = fields.unit_change(At::REQUEST, request);
    let decoded = site.and_then(|site| change.map(|(unit, change)| (site, unit, change)));
    fields.finish(decoded)
}

/// Changes settings of several units.
pub(crate) fn batch_update_units(
    request: v1::BatchUpdateUnitsRequest,
) -> Result<(SiteId, Vec<(UnitSelector, UnitChange)>), Status> {
    let v1::BatchUpdateUnitsRequest { site_id, requests } = request;
    let mut fields = Fields::default();
    let site = fields.site_id(&site_id);
    let changes = fields.each("requests", limits::STOCK_ITEMS_MAX, requests, |fields, at, request| {
        let own = match site {
            Ok(site) => fields.same_site(at, &request.site_id, site),
            // There is nothing to compare with.
            Err(_) => Ok(()),
        };
        let change = fields.unit_change(at, request);
        own.and(change)
    });
    let decoded = site.and_then(|site| Ok((site, changes?)));
    fields.finish(decoded)
}

impl Fields {
    /// The unit that `request` names and the changes of its settings. Does not look at the site.
    pub(crate) fn unit_change(
        &mut self,
        at: At,
        request: v1::UpdateUnitRequest,
    ) -> Checked<(UnitSelector, UnitChange)> {
        let v1::UpdateUnitRequest {
            site_id: _,
            unit,
            new_sku,
            name,
            tracking,
            backorder_limit,
            counts_subscriptions,
            sell_from,
            sell_until,
            reset_mask,
        } = request;
        let is_set = |path: &str| match path {
            "tracking" => tracking != 0,
            "backorder_limit" => backorder_limit.is_some(),
            "counts_subscriptions" => counts_subscriptions.is_some(),
            "sell_from" => sell_from.is_some(),
            "sell_until" => sell_until.is_some(),
            _ => false,
        };
        let unit = self.unit(at, unit);
        let sku = new_sku.map(|sku| self.new_sku(at, &sku)).transpose();
        let name = name.map(|name| self.text(at, "name", name, limits::UNIT_NAME_CHARS_MAX)).transpose();
        let own_tracking = self.tracking(at, tracking);
        let own_limit = self.backorder_limit(at, backorder_limit);
        let from = self.edge(at, "sell_from", sell_from);
        let until = self.edge(at, "sell_until", sell_until);
        let reset = self.reset_mask(at, reset_mask.unwrap_or_default(), is_set)?;
        let is_reset = |name: &str| reset.iter().any(|path| path == name);
        let change = UnitChange {
            sku: sku?,
            name: name?,
            tracking: changed(own_tracking?, is_reset("tracking")),
            backorder_limit: changed(own_limit?, is_reset("backorder_limit")),
            counts_subscriptions: changed(counts_subscriptions, is_reset("counts_subscriptions")),
            sell_from: changed(from?, is_reset("sell_from")),
            sell_until: changed(until?, is_reset("sell_until")),
        };
        Ok((unit?, change))
    }

    /// The names of the settings to take away.
    fn reset_mask(&mut self, at: At, mask: FieldMask, is_set: impl Fn(&str) -> bool) -> Checked<Vec<String>> {
        let FieldMask { paths } = mask;
        if paths.len() > RESET_PATHS_MAX {
            return self.bad(at, "reset_mask", format_args!("must have at most {RESET_PATHS_MAX} paths"));
        }
        let mut checked = Ok(());
        for (index, path) in paths.iter().enumerate() {
            if !RESETTABLE.contains(&path.as_str()) {
                let (shown, known) = (shown(index, path), RESETTABLE.join(", "));
                checked = self.bad(at, "reset_mask", format_args!("{shown} is none of {known}"));
            } else if is_set(path) {
                checked = self.bad(at, "reset_mask", format_args!("{path:?} is also set in this request"));
            }
        }
        checked.map(|()| paths)
    }

    /// A SKU to set; `None` removes it.
    fn new_sku(&mut self, at: At, text: &str) -> Checked<Option<Sku>> {
        match Sku::new(text) {
            Some(sku) => Ok(Some(sku)),
            None if text.is_empty() => Ok(None),
            None => self.bad_sku(at, "new_sku"),
        }
    }

    /// The site of a request inside a batch: not named, or that of the batch.
    fn same_site(&mut self, at: At, text: &str, site: SiteId) -> Checked<()> {
        match parse_guid(text).map(SiteId::from_uuid) {
            Some(own) if own == site => Ok(()),
            Some(_) => self.bad(at, "site_id", "must be empty or the site_id of the batch"),
            None if text.is_empty() => Ok(()),
            None => self.bad(at, "site_id", "must be a GUID"),
        }
    }
}

/// The change of a setting: to a value, or away, or none.
fn changed<T>(value: Option<T>, is_reset: bool) -> Option<Option<T>> {
    if is_reset { Some(None) } else { value.map(Some) }
}

/// A path of a mask as an error shows it: itself if it is short and plain, otherwise its place in the mask.
fn shown(index: usize, path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
    match path.len() <= PATH_SHOWN_CHARS_MAX && path.bytes().all(is_plain) {
        true => format!("{path:?}"),
        false => format!("paths[{index}]"),
    }
}

#[cfg(test)]
mod tests {
    use inventory_core::model::kind::Tracking;
    use inventory_proto::DETAIL_BYTES_DEFAULT;
    use prost_types::Timestamp;
    use tonic_types::StatusExt;

    use super::*;

    fn request(paths: &[&str]) -> v1::UpdateUnitRequest {
        v1::UpdateUnitRequest {
            site_id: "215238eb-22a5-4c36-9e7b-e7c08025e04e".into(),
            unit: Some(v1::update_unit_request::Unit::Sku("SKU".into())),
            reset_mask: Some(FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }),
            ..Default::default()
        }
    }

    fn changes(request: v1::UpdateUnitRequest) -> UnitChange {
        update_unit(request).expect("within bounds").2
    }

    /// The bad fields, each with what is wrong.
    fn bad(request: v1::UpdateUnitRequest) -> Vec<(String, String)> {
        let status = update_unit(request).expect_err("out of bounds");
        let bad = status.get_details_bad_request().expect("a BadRequest");
        bad.field_violations.into_iter().map(|violation| (violation.field, violation.description)).collect()
    }

    #[test]
    fn a_setting_is_set_taken_away_or_left_as_it_is() {
        let none = changes(request(&[]));
        assert_eq!((none.tracking, none.backorder_limit, none.counts_subscriptions), (None, None, None));
        assert_eq!((none.sell_from, none.sell_until), (None, None));
        let away = changes(request(&RESETTABLE));
        let away = (away.tracking, away.backorder_limit, away.counts_subscriptions, away.sell_from, away.sell_until);
        assert_eq!(away, (Some(None), Some(None), Some(None), Some(None), Some(None)));
        let both = changes(v1::UpdateUnitRequest {
            tracking: v1::Tracking::Untracked.into(),
            counts_subscriptions: Some(false),
            sell_until: Some(Timestamp { seconds: 7, nanos: 1 }),
            ..request(&["sell_from", "sell_from", "backorder_limit"])
        });
        assert_eq!((both.tracking, both.counts_subscriptions), (Some(Some(Tracking::Untracked)), Some(Some(false))));
        assert_eq!((both.sell_from, both.sell_until), (Some(None), Some(Some(7_000_001))));
        assert_eq!(both.backorder_limit, Some(None));
    }

    #[test]
    fn a_bad_mask_says_which_path_is_wrong() {
        let known = "is none of tracking, backorder_limit, counts_subscriptions, sell_from, sell_until";
        let long = "x".repeat(41);
        let rows: [(v1::UpdateUnitRequest, Vec<String>); 5] = [
            (request(&["name", "sell_from"]), vec![format!("\"name\" {known}")]),
            (
                request(&["tracking", &long, "", "a b"]),
                vec![format!("paths[1] {known}"), format!("\"\" {known}"), format!("paths[3] {known}")],
            ),
            (
                v1::UpdateUnitRequest {
                    tracking: 1,
                    backorder_limit: Some(0),
                    counts_subscriptions: Some(false),
                    sell_from: Some(Timestamp::default()),
                    sell_until: Some(Timestamp { seconds: 1, nanos: 0 }),
                    ..request(&RESETTABLE)
                },
                RESETTABLE.map(|path| format!("{path:?} is also set in this request")).into(),
            ),
            (request(&["tracking"; 20]), Vec::new()),
            (request(&["tracking"; 21]), vec!["must have at most 20 paths".to_owned()]),
        ];
        for (request, expected) in rows {
            let found = if expected.is_empty() { Vec::new() } else { bad(request.clone()) };
            let expected: Vec<_> = expected.into_iter().map(|text| ("reset_mask".to_owned(), text)).collect();
            assert_eq!(found, expected, "{request:?}");
            assert_eq!(update_unit(request).is_ok(), expected.is_empty());
        }
    }

    #[test]
    fn bad_masks_fit_any_client() {
        let paths = vec!["x".repeat(PATH_SHOWN_CHARS_MAX); RESET_PATHS_MAX];
        let one =
            v1::UpdateUnitRequest { reset_mask: Some(FieldMask { paths }), site_id: String::new(), ..request(&[]) };
        let site_id = "215238eb-22a5-4c36-9e7b-e7c08025e04e".to_owned();
        let mut requests = vec![v1::UpdateUnitRequest { site_id: site_id.clone(), ..request(&[]) }; 999];
        requests.push(one);
        let status = batch_update_units(v1::BatchUpdateUnitsRequest { site_id, requests }).expect_err("bad masks");
        assert!(status.details().len() <= DETAIL_BYTES_DEFAULT, "{}", status.details().len());
    }

    #[test]
    fn times_out_of_range_are_bad_fields() {
        let (early, late) = (Timestamp { seconds: -1, nanos: 0 }, Timestamp { seconds: i64::MAX, nanos: 0 });
        let request = v1::UpdateUnitRequest { sell_from: Some(early), sell_until: Some(late), ..request(&[]) };
        let fields: Vec<String> = bad(request).into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["sell_from", "sell_until"]);
    }
}
