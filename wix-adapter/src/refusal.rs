//! The details of a status of our server, and the `data` of a refusal that is made from them.
//!
//! Wix defines no shape for `data`. Ours has:
//!
//! - always: `reason`, the server's stable reason;
//! - if levels are short or their units are not on sale: `shortages`, each with a `reason` of its own
//!   (`INSUFFICIENT_STOCK`, `NOT_ON_SALE_YET` or `NO_LONGER_ON_SALE`), and `shortageCount` if there are more than the
//!   server listed;
//! - if fields are bad: `field` and `description` of the first, and all of them in `fields` if there are several.
//!
//! This file chooses no HTTP status: `answer.rs` does.

use inventory_proto::{ERROR_DOMAIN, json, v1};
use prost::Message;
use serde_json::{Value, json};
use tonic::Status;
use tonic_types::pb;

/// The details of a status that our server made.
pub(crate) struct Details {
    status: pb::Status,
    reason: String,
}

impl Details {
    /// Reads the details. `None` if they do not name our server as their origin: a proxy or a broken connection also
    /// produces statuses, and those say nothing about the stock.
    pub(crate) fn of(status: &Status) -> Option<Self> {
        let status = pb::Status::decode(status.details()).ok()?;
        let info: pb::ErrorInfo = find(&status, "google.rpc.ErrorInfo")?;
        (info.domain == ERROR_DOMAIN).then_some(Self { status, reason: info.reason })
    }

    /// The stable reason of the status, such as `INSUFFICIENT_STOCK`.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// The `data` of the refusal.
    pub(crate) fn data(self) -> Value {
        let Self { status, reason } = self;
        let mut data = json!({"reason": reason});
        if let Some(v1::InsufficientStock { shortages, shortage_count }) =
            find(&status, "inventory.v1.InsufficientStock")
        {
            if usize::try_from(shortage_count).is_ok_and(|count| count > shortages.len()) {
                data["shortageCount"] = Value::from(shortage_count);
            }
            data["shortages"] = shortages.into_iter().map(shortage).collect();
        }
        if let Some(pb::BadRequest { field_violations }) = find(&status, "google.rpc.BadRequest") {
            let fields: Vec<Value> = field_violations.into_iter().map(field).collect();
            if let Some(first) = fields.first() {
                data["field"] = first["field"].clone();
                data["description"] = first["description"].clone();
            }
            if fields.len() > 1 {
                data["fields"] = Value::Array(fields);
            }
        }
        data
    }
}

/// The first detail of the message type `name`.
fn find<T: Message + Default>(status: &pb::Status, name: &str) -> Option<T> {
    let has_name = |url: &str| url.rsplit_once('/').is_some_and(|(_, last)| last == name);
    let detail = status.details.iter().find(|detail| has_name(&detail.type_url))?;
    T::decode(detail.value.as_slice()).ok()
}

fn field(violation: pb::bad_request::FieldViolation) -> Value {
    json!({"field": camel_case(&violation.field), "description": violation.description})
}

fn shortage(shortage: v1::Shortage) -> Value {
    let reason = match shortage.reason() {
        // A server that sends none knows no sales windows.
        v1::ShortageReason::Unspecified | v1::ShortageReason::InsufficientStock => "INSUFFICIENT_STOCK",
        v1::ShortageReason::NotOnSaleYet => "NOT_ON_SALE_YET",
        v1::ShortageReason::NoLongerOnSale => "NO_LONGER_ON_SALE",
    };
    let v1::Shortage { catalog_reference, location_id, asked, available, short, reason: _ } = shortage;
    let v1::CatalogReference { app_id, catalog_item_id, options, options_json: _ } =
        catalog_reference.unwrap_or_default();
    let mut reference = json!({"appId": app_id, "catalogItemId": catalog_item_id});
    if let Some(options) = options.and_then(|options| json::to_json(options).ok()) {
        reference["options"] = Value::Object(options);
    }
    let mut value = json!({
        "catalogReference": reference,
        "asked": asked,
        "available": available,
        "short": short,
        "reason": reason,
    });
    if !location_id.is_empty() {
        value["locationId"] = Value::String(location_id);
    }
    value
}

/// The path of a field as Wix spells it: in camel case.
fn camel_case(path: &str) -> String {
    let mut camel = String::with_capacity(path.len());
    let mut upper = false;
    for c in path.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                camel.push(c.to_ascii_uppercase());
                upper = false;
            }
            c => camel.push(c),
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic::Code;
    use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

    use super::*;

    fn data(reason: &str, change: impl FnOnce(&mut pb::Status)) -> Value {
        let info = pb::ErrorInfo { reason: reason.into(), domain: ERROR_DOMAIN.into(), ..Default::default() };
        let mut rich = pb::Status::default();
        push(&mut rich, "google.rpc.ErrorInfo", &info);
        change(&mut rich);
        let status = Status::with_details(Code::FailedPrecondition, "", rich.encode_to_vec().into());
        Details::of(&status).expect("it names our server").data()
    }

    fn push(rich: &mut pb::Status, name: &str, message: &impl Message) {
        let mut details = std::mem::take(&mut rich.details);
        details.push(Default::default());
        if let Some(detail) = details.last_mut() {
            detail.type_url = format!("type.googleapis.com/{name}");
            detail.value = message.encode_to_vec();
        }
        rich.details = details;
    }

    fn short_of(id: &str) -> v1::Shortage {
        let reference = v1::CatalogReference {
            app_id: "app".into(),
            catalog_item_id: id.into(),
            options: Some(Default::default()),
            ..Default::default()
        };
        v1::Shortage { catalog_reference: Some(reference), asked: 3, available: -1, short: 4, ..Default::default() }
    }

    #[test]
    fn data_has_the_shortages_and_their_count_if_more_than_listed() {
        let of = |count| {
            let stock = v1::InsufficientStock { shortages: vec![short_of("A")], shortage_count: count };
            data("INSUFFICIENT_STOCK", |rich| push(rich, "inventory.v1.InsufficientStock", &stock))
        };
        let reference = json!({"appId": "app", "catalogItemId": "A", "options": {}});
        let shortages = json!([{
            "catalogReference": reference,
            "asked": 3,
            "available": -1,
            "short": 4,
            "reason": "INSUFFICIENT_STOCK",
        }]);
        let all = json!({"reason": "INSUFFICIENT_STOCK", "shortages": shortages});
        // A count of 0 comes from a server that does not send it.
        assert_eq!((of(0), of(1)), (all.clone(), all));
        assert_eq!(of(7), json!({"reason": "INSUFFICIENT_STOCK", "shortages": shortages, "shortageCount": 7}));
    }

    #[test]
    fn each_shortage_has_its_reason() {
        for (reason, expected) in [
            (v1::ShortageReason::Unspecified, "INSUFFICIENT_STOCK"),
            (v1::ShortageReason::InsufficientStock, "INSUFFICIENT_STOCK"),
            (v1::ShortageReason::NotOnSaleYet, "NOT_ON_SALE_YET"),
            (v1::ShortageReason::NoLongerOnSale, "NO_LONGER_ON_SALE"),
        ] {
            let one = shortage(v1::Shortage { reason: reason.into(), ..short_of("A") });
            assert_eq!(one["reason"], expected);
        }
    }

    #[test]
    fn data_has_the_first_field_and_all_of_several() {
        let of = |fields: &[&str]| {
            let violation = |field: &&str| FieldViolation::new(*field, "must be a GUID");
            let mut details = ErrorDetails::with_error_info("INVALID_FIELD", ERROR_DOMAIN, HashMap::new());
            details.set_bad_request(fields.iter().map(violation).collect::<Vec<_>>());
            let status = Status::with_error_details(Code::InvalidArgument, "", details);
            Details::of(&status).expect("it names our server").data()
        };
        let first = "items[0].location_id";
        let one = json!({"reason": "INVALID_FIELD", "field": "items[0].locationId", "description": "must be a GUID"});
        assert_eq!(of(&[first]), one);
        let mut two = one;
        two["fields"] = json!([
            {"field": "items[0].locationId", "description": "must be a GUID"},
            {"field": "orderId", "description": "must be a GUID"},
        ]);
        assert_eq!(of(&[first, "order_id"]), two);
    }

    #[test]
    fn details_of_others_are_not_believed() {
        let other = ErrorDetails::with_error_info("INSUFFICIENT_STOCK", "proxy.example", HashMap::new());
        assert!(Details::of(&Status::with_error_details(Code::FailedPrecondition, "", other)).is_none());
        assert!(Details::of(&Status::new(Code::FailedPrecondition, "")).is_none());
        assert!(Details::of(&Status::with_details(Code::FailedPrecondition, "", vec![0xff].into())).is_none());
    }
}
