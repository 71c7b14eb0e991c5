//! Turns the data that Wix signed into a call to the gRPC server, with its idempotency key.
//!
//! It checks only what the server cannot check: that the JSON has the right types, that the call is for this plugin,
//! and that the options are not nested too deep for protobuf. The server checks all other bounds. Options keep their
//! keys as they are.

use inventory_proto::{json, v1};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::token::{UnverifiedToken, VerifiedToken};
use crate::wire;

/// Levels of nesting that options may have. Protobuf readers stop at 100, and each level of JSON takes several.
const OPTIONS_DEPTH_MAX: usize = 20;
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

/// A call to the server.
#[derive(Clone, Debug)]
pub enum Call {
    /// Takes stock away.
    Decrement(v1::DecrementAvailabilityRequest),
    /// Gives stock back.
    Increment(v1::IncrementAvailabilityRequest),
}

/// A call, and Wix's id of it for the log.
#[derive(Debug)]
pub struct Converted {
    /// The call.
    pub call: Call,
    /// Wix's id of the request; empty if it sent none.
    pub wix_request_id: String,
}

/// A field of the signed data that cannot be converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadField {
    /// Its path as Wix spells it: below `data.request`, or `metadata.…`.
    pub field: String,
    /// What is wrong with it. It quotes nothing of the content.
    pub description: String,
}

fn bad(field: impl Into<String>, description: impl Into<String>) -> BadField {
    BadField { field: field.into(), description: description.into() }
}

/// Converts the signed data. `token` carried it; its hash is the idempotency key if Wix sent no request id.
pub fn convert(method: Method, verified: &VerifiedToken, token: &UnverifiedToken<'_>) -> Result<Converted, BadField> {
    let data = read(verified.data())?;
    let metadata = data.metadata.ok_or_else(|| bad("metadata", "is required"))?;
    let site_id = metadata.instance_id.ok_or_else(|| bad("metadata.instanceId", "is required"))?;
    if let Some(kind) = metadata.app_extension_type
        && !kind.eq_ignore_ascii_case("ECOM_INVENTORY")
    {
        return Err(bad("metadata.appExtensionType", "must be ECOM_INVENTORY"));
    }
    let wix_request_id = metadata.request_id.unwrap_or_default();
    let request = data.request.ok_or_else(|| bad("request", "is required"))?;
    let request_id = idempotency_key(method, &wix_request_id, token);
    let wire::AvailabilityRequest { items, restrict_inventory_value, order_id, reason } = request;
    let items = items.into_iter().enumerate().map(item).collect::<Result<Vec<_>, _>>()?;
    let reason = reason_of(&reason).into();
    let call = match method {
        Method::Decrement => Call::Decrement(v1::DecrementAvailabilityRequest {
            site_id,
            items,
            restrict_inventory_value,
            order_id,
            reason,
            request_id,
        }),
        Method::Increment => {
            Call::Increment(v1::IncrementAvailabilityRequest { site_id, items, order_id, reason, request_id })
        }
    };
    Ok(Converted { call, wix_request_id })
}

/// Reads `data`. Only if that fails is it read a second time, more slowly, to find the path of the bad field.
fn read(text: &str) -> Result<wire::Data, BadField> {
    serde_json::from_str(text).or_else(|_| {
        let mut reader = serde_json::Deserializer::from_str(text);
        serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let path = error.path().to_string();
            let field = path.strip_prefix("request.").unwrap_or(&path);
            let field = if field == "." { "data" } else { field };
            // The text of the error may quote the content; its category does not.
            let problem = match error.inner().classify() {
                serde_json::error::Category::Data => "has the wrong type",
                serde_json::error::Category::Syntax
                | serde_json::error::Category::Eof
                | serde_json::error::Category::Io => "is not JSON",
            };
            bad(field, problem)
        })
    })
}

fn item((index, item): (usize, wire::Item)) -> Result<v1::Item, BadField> {
    let wire::Item { catalog_reference, location_id, quantity, subscription_item } = item;
    let unit = match catalog_reference {
        None => None,
        Some(wire::CatalogReference { catalog_item_id, app_id, options }) => {
            let options = options.unwrap_or_default();
            if too_deep(&options, OPTIONS_DEPTH_MAX) {
                return Err(bad(format!("items[{index}].catalogReference.options"), "is nested too deeply"));
            }
            let options = Some(json::from_json(options));
            Some(v1::item::Unit::CatalogReference(v1::CatalogReference { app_id, catalog_item_id, options }))
        }
    };
    Ok(v1::Item { unit, location_id: location_id.unwrap_or_default(), quantity, subscription_item })
}

fn too_deep(fields: &Map<String, Value>, left: usize) -> bool {
    fn value_too_deep(value: &Value, left: usize) -> bool {
        match value {
            Value::Object(fields) => too_deep(fields, left),
            Value::Array(values) => left == 0 || values.iter().any(|value| value_too_deep(value, left - 1)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    left == 0 || fields.values().any(|value| value_too_deep(value, left - 1))
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

/// Reads the reason by Wix's name of it. A number, an unknown name or `null` must not stop a stock change.
fn reason_of(reason: &Value) -> v1::Reason {
    match reason.as_str() {
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
        let reference = || wire::CatalogReference { catalog_item_id: "i".into(), app_id: "a".into(), options: None };
        let given = wire::Item { catalog_reference: Some(reference()), quantity: 2, ..Default::default() };
        let unit = v1::item::Unit::CatalogReference(v1::CatalogReference {
            app_id: "a".into(),
            catalog_item_id: "i".into(),
            options: Some(json::from_json(Map::new())),
        });
        assert_eq!(item((0, given)), Ok(v1::Item { unit: Some(unit), quantity: 2, ..Default::default() }));
        assert_eq!(item((0, wire::Item::default())), Ok(v1::Item::default()));
    }
}
