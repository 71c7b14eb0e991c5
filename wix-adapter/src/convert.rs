//! Turns the data that Wix signed into a call to the gRPC server, with its idempotency key.
//!
//! It checks only what the server cannot check: that the call is for this plugin. The server checks all bounds, and
//! reads the options, whose text travels as it is.

use inventory_proto::v1;
use inventory_proto::v1::change_availability_request::Change;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::token::{UnverifiedToken, VerifiedToken};
use crate::wire::{self, BadField};

/// Characters of an idempotency key that the server accepts.
const KEY_CHARS_MAX: usize = 128;
/// The start of a key that spells Wix's id of the request. Hashed keys start otherwise.
const READABLE_KEY: &str = "wix:";

/// A call of the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `POST …/v1/decrement`.
    Decrement,
    /// `POST …/v1/increment`.
    Increment,
}

impl Method {
    /// The last segment of the path.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decrement => "decrement",
            Self::Increment => "increment",
        }
    }

    /// The HTTP method and the end of the path, as traces name a call.
    pub const fn route(self) -> &'static str {
        match self {
            Self::Decrement => "POST /v1/decrement",
            Self::Increment => "POST /v1/increment",
        }
    }
}

/// A call to the server, and Wix's id of it for the log.
#[derive(Debug)]
pub struct Converted {
    /// The call.
    pub change: Change,
    /// Wix's id of the request; empty if it sent none.
    pub wix_request_id: String,
}

/// Converts the signed data. `token` carried it; its hash is the idempotency key if Wix sent no request id.
pub fn convert(
    method: Method,
    verified: VerifiedToken<'_>,
    token: &UnverifiedToken<'_>,
) -> Result<Converted, BadField> {
    let wire::Data { request, metadata } = verified.into_data()?;
    let metadata = metadata.ok_or_else(|| BadField::new("metadata", "is required"))?;
    let wire::Metadata { request_id, instance_id, app_extension_type } = metadata;
    if instance_id.is_empty() {
        return Err(BadField::new("metadata.instanceId", "is required"));
    }
    if !app_extension_type.is_empty() && !app_extension_type.as_str().eq_ignore_ascii_case("ECOM_INVENTORY") {
        return Err(BadField::new("metadata.appExtensionType", "must be ECOM_INVENTORY"));
    }
    let request = request.ok_or_else(|| BadField::new("request", "is required"))?;
    let wix_request_id = request_id.into_owned();
    let request_id = idempotency_key(method, &wix_request_id, token);
    let wire::AvailabilityRequest { items, restrict_inventory_value, order_id, reason } = request;
    let items = items.into_iter().map(item).collect();
    let (site_id, order_id, reason) = (instance_id.into_owned(), order_id.into_owned(), reason_of(reason).into());
    let change = match method {
        Method::Decrement => Change::Decrement(v1::DecrementAvailabilityRequest {
            site_id,
            items,
            restrict_inventory_value,
            order_id,
            reason,
            request_id,
        }),
        Method::Increment => {
            Change::Increment(v1::IncrementAvailabilityRequest { site_id, items, order_id, reason, request_id })
        }
    };
    Ok(Converted { change, wix_request_id })
}

fn item(item: wire::Item<'_>) -> v1::Item {
    let wire::Item { catalog_reference, location_id, quantity, subscription_item } = item;
    let reference = |reference: wire::CatalogReference<'_>| {
        let wire::CatalogReference { catalog_item_id, app_id, options } = reference;
        v1::item::Unit::CatalogReference(v1::CatalogReference {
            app_id: app_id.into_owned(),
            catalog_item_id: catalog_item_id.into_owned(),
            options: None,
            options_json: options.map(|options| options.get().to_owned()).unwrap_or_default(),
        })
    };
    let unit = catalog_reference.map(reference);
    v1::Item { unit, location_id: location_id.into_owned(), quantity, subscription_item }
}

/// The idempotency key: the method and Wix's id of the request, readable if the server accepts it.
///
/// Without an id the key is the hash of the token. The site is not part of the key: the server keeps the keys of each
/// site apart. The content never is: two equal partial refunds are two refunds.
fn idempotency_key(method: Method, wix_request_id: &str, token: &UnverifiedToken<'_>) -> String {
    if wix_request_id.is_empty() {
        // Padding of the signature is no part of the token: the same token with and without it is one request.
        return format!("wix-token:{}", sha256(token.as_str().trim_end_matches('=')));
    }
    let method = method.name();
    let key = format!("{READABLE_KEY}{method}:{wix_request_id}");
    if key.chars().count() > KEY_CHARS_MAX || key.contains('\0') {
        return format!("wix-hash:{method}:{}", sha256(wix_request_id));
    }
    key
}

/// Whether the idempotency key spells Wix's id of the request. A hashed key does not.
pub fn is_readable_key(key: &str) -> bool {
    key.starts_with(READABLE_KEY)
}

/// The SHA-256 of the text, as 64 lower-case hex digits.
fn sha256(text: &str) -> String {
    format!("{:x}", Sha256::digest(text))
}

/// Wix's names of the reasons.
pub const REASONS: [&str; 6] =
    ["ORDER_PLACED", "ORDER_PAID", "ORDER_EDITED", "ORDER_CANCELED", "ORDER_REFUNDED", "ORDER_REJECTED"];

/// Reads the reason by Wix's name of it. A number, an unknown name or `null` must not stop a stock change.
fn reason_of(reason: Option<&RawValue>) -> v1::Reason {
    let name = reason.and_then(|reason| serde_json::from_str::<wire::Text<'_>>(reason.get()).ok());
    match name.as_ref().map(wire::Text::as_str) {
        Some("ORDER_PLACED") => v1::Reason::OrderPlaced,
        Some("ORDER_PAID") => v1::Reason::OrderPaid,
        Some("ORDER_EDITED") => v1::Reason::OrderEdited,
        Some("ORDER_CANCELED") => v1::Reason::OrderCanceled,
        Some("ORDER_REFUNDED") => v1::Reason::OrderRefunded,
        Some("ORDER_REJECTED") => v1::Reason::OrderRejected,
        Some(_) | None => v1::Reason::Unspecified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN_HASH: &str = "wix-token:d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35";

    #[test]
    fn idempotency_keys() {
        // The readable key has 14 characters before the id, so an id of 114 characters still fits.
        let (longest, too_long) = ("x".repeat(114), "x".repeat(115));
        let (longest_in_bytes, too_long_in_bytes) = ("ä".repeat(114), "ä".repeat(115));
        let rows: Vec<(&str, Method, &str, &str, String)> = vec![
            ("a decrement", Method::Decrement, "r1", "1", "wix:decrement:r1".into()),
            ("an increment of the same id", Method::Increment, "r1", "1", "wix:increment:r1".into()),
            ("the token does not matter", Method::Decrement, "r1", "2", "wix:decrement:r1".into()),
            ("letter case matters", Method::Decrement, "R1", "1", "wix:decrement:R1".into()),
            ("colons stay", Method::Decrement, "a:b", "1", "wix:decrement:a:b".into()),
            ("the longest id", Method::Decrement, &longest, "1", format!("wix:decrement:{longest}")),
            (
                "one character more",
                Method::Decrement,
                &too_long,
                "1",
                format!("wix-hash:decrement:{}", sha256(&too_long)),
            ),
            (
                "too long, increment",
                Method::Increment,
                &too_long,
                "1",
                format!("wix-hash:increment:{}", sha256(&too_long)),
            ),
            (
                "characters, not bytes",
                Method::Decrement,
                &longest_in_bytes,
                "1",
                format!("wix:decrement:{longest_in_bytes}"),
            ),
            (
                "one character more, of two bytes",
                Method::Decrement,
                &too_long_in_bytes,
                "1",
                format!("wix-hash:decrement:{}", sha256(&too_long_in_bytes)),
            ),
            ("a NUL", Method::Decrement, "a\0b", "1", format!("wix-hash:decrement:{}", sha256("a\0b"))),
            ("no id", Method::Decrement, "", "2", TOKEN_HASH.into()),
            ("no id, padded token", Method::Decrement, "", "2==", TOKEN_HASH.into()),
            ("no id, another token", Method::Decrement, "", "1", format!("wix-token:{}", sha256("1"))),
        ];
        for (what, method, id, token, expected) in rows {
            let token = UnverifiedToken::from_body(token.as_bytes()).expect("text");
            let key = idempotency_key(method, id, &token);
            assert_eq!(key, expected, "{what}");
            assert!(key.chars().count() <= KEY_CHARS_MAX && !key.contains('\0'), "{what}: the server accepts it");
            assert_eq!(is_readable_key(&key), !id.is_empty() && key.ends_with(id), "{what}");
        }
    }

    #[test]
    fn an_item_names_its_unit_by_catalog_reference() {
        let options: &RawValue = serde_json::from_str(r#"{"b": 1,"a":null}"#).expect("JSON");
        let reference =
            wire::CatalogReference { catalog_item_id: "i".into(), app_id: "a".into(), options: Some(options) };
        let given = wire::Item { catalog_reference: Some(reference), quantity: 2, ..Default::default() };
        let unit = v1::item::Unit::CatalogReference(v1::CatalogReference {
            app_id: "a".into(),
            catalog_item_id: "i".into(),
            options: None,
            options_json: r#"{"b": 1,"a":null}"#.into(),
        });
        assert_eq!(item(given), v1::Item { unit: Some(unit), quantity: 2, ..Default::default() });
        assert_eq!(item(wire::Item::default()), v1::Item::default());
    }

    #[test]
    fn any_reason_is_read() {
        let rows = [
            (r#""ORDER_PAID""#, v1::Reason::OrderPaid),
            (r#""ORDER\u005fPAID""#, v1::Reason::OrderPaid),
            (r#""order_paid""#, v1::Reason::Unspecified),
            (r#""\ud83d""#, v1::Reason::Unspecified),
            ("7", v1::Reason::Unspecified),
            ("null", v1::Reason::Unspecified),
            (r#"{"a":[1e400]}"#, v1::Reason::Unspecified),
        ];
        for (text, reason) in rows {
            assert_eq!(reason_of(serde_json::from_str(text).expect("JSON")), reason, "{text}");
        }
        assert_eq!(reason_of(None), v1::Reason::Unspecified);
        for name in REASONS {
            let text = format!("{name:?}");
            let reason = reason_of(Some(serde_json::from_str(&text).expect("JSON")));
            assert_eq!(reason.as_str_name(), format!("REASON_{name}"));
        }
    }
}
