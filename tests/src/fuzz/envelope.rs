//! The signed data of a call. The input is the claim `data`, as its text stands in the claims.
//!
//! - It is converted, or refused by a field whose path and description quote nothing of the content.
//! - The call is the same after the data was written again, by us or with its keys in another order.
//! - The gRPC decoders take the call within their bounds, or refuse it by fields; such a refusal is Wix's 428.

use axum::response::IntoResponse;
use inventory_proto::json::{Lenient, mend_surrogates, read_object};
use inventory_proto::v1;
use inventory_proto::v1::change_availability_request::Change;
use serde_json::Value;
use wix_adapter::answer;
use wix_adapter::convert::{Converted, Method};
use wix_adapter::fuzz::convert_unsigned;
use wix_adapter::wire::{BadField, Data};

use super::{NOW, requests};
use crate::wix_caller::APP_ID;

/// Characters of the path of a bad field, at most.
const FIELD_CHARS_MAX: usize = 100;
/// What may be said of a bad field.
const DESCRIPTIONS: [&str; 4] = ["is required", "has the wrong type", "is not JSON", "must be ECOM_INVENTORY"];

/// The property.
pub fn envelope(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for method in [Method::Decrement, Method::Increment] {
        match convert(method, text) {
            Some(Ok(Converted { change, wix_request_id: _ })) => {
                same_when_written_again(method, text, &change);
                decoded_or_refused(method, change);
            }
            Some(Err(bad)) => quotes_nothing(&bad),
            None => {}
        }
    }
}

/// Converts the data; `None` if the claims around it are not good.
fn convert(method: Method, data: &str) -> Option<Result<Converted, BadField>> {
    let claims = format!(r#"{{"aud":"{APP_ID}","iss":"wix.com","iat":{NOW},"exp":{NOW},"data":{data}}}"#);
    convert_unsigned(method, APP_ID, claims.as_bytes(), "a.b.c", NOW).ok()
}

fn quotes_nothing(bad: &BadField) {
    let BadField { field, description } = bad;
    let of_path = |c: char| c.is_ascii_alphanumeric() || ".[]".contains(c);
    assert!(!field.is_empty() && field.len() <= FIELD_CHARS_MAX && field.chars().all(of_path), "{field:?}");
    assert!(DESCRIPTIONS.contains(&description.as_str()), "{description:?}");
}

fn same_when_written_again(method: Method, text: &str, change: &Change) {
    let mended = mend_surrogates(text);
    let text = mended.as_deref().unwrap_or(text);
    // The data of a text that leaves its place in the claims stands elsewhere.
    if let Ok(data) = serde_json::from_str::<Data<'_>>(text) {
        let written = serde_json::to_string(&data).expect("data can be written");
        assert_eq!(&converted(method, &written), change, "{written}");
    }
    // The values of this library have sorted keys. It reads fewer numbers and less nesting than the adapter.
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        let written = serde_json::to_string_pretty(&value).expect("a value can be written");
        assert_eq!(read_options(converted(method, &written)), read_options(change.clone()), "{written}");
    }
}

fn converted(method: Method, data: &str) -> Change {
    match convert(method, data) {
        Some(Ok(converted)) => converted.change,
        other => panic!("{data} is good no more: {other:?}"),
    }
}

/// The call with the options of its items in one spelling.
fn read_options(mut change: Change) -> Change {
    let (Change::Decrement(v1::DecrementAvailabilityRequest { items, .. })
    | Change::Increment(v1::IncrementAvailabilityRequest { items, .. })) = &mut change;
    for item in items {
        if let Some(v1::item::Unit::CatalogReference(reference)) = &mut item.unit {
            let text = &reference.options_json;
            // What is no object is refused, however it is spelled. An unreadable value is its text, spaces included;
            // it identifies nothing.
            let object = read_object(text).map(|Lenient { mut fields, mut unreadable }| {
                unreadable.sort_unstable();
                fields.retain(|key, _| !unreadable.contains(key));
                format!("{fields:?} {unreadable:?}")
            });
            reference.options_json = object.unwrap_or_default();
        }
    }
    change
}

fn decoded_or_refused(method: Method, change: Change) {
    match inventory_grpc::fuzz::change(change) {
        Ok(command) => requests::within_bounds(&command),
        Err(status) => {
            requests::names_fields("ChangeAvailabilityRequest", &status);
            let answered = answer::of_result(method, Err(status)).into_response();
            assert_eq!(answered.status(), 428);
        }
    }
}
