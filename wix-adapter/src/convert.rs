//! From what Wix signed to the gRPC call.

use inventory_proto::{json, v1};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::token::{UnverifiedToken, VerifiedToken};
use crate::wire;

/// Levels of nesting that options may have: below what a protobuf reader takes.
const OPTIONS_DEPTH_MAX: usize = 20;

/// Which of the two calls.
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
}

/// A call to the server.
#[derive(Clone, Debug)]
pub enum Call {
    /// Take stock away.
    Decrement(v1::DecrementAvailabilityRequest),
    /// Give stock back.
    Increment(v1::IncrementAvailabilityRequest),
}

/// A call, and what logs say of it.
#[derive(Debug)]
pub struct Converted {
    /// The call.
    pub call: Call,
    /// Wix's id of the request; empty where it sent none.
    pub wix_request_id: String,
}

/// The content cannot be a request; names the field as Wix spells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadField {
    /// The path below `data.request`, or below `data` for metadata.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

fn bad(field: impl Into<String>, description: impl Into<String>) -> BadField {
    BadField { field: field.into(), description: description.into() }
}

/// Reads the signed content. `token` is the text it came in: the request's identity where Wix
/// sent no request id.
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
    let request_id = request_id(&site_id, method, &wix_request_id, token);
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

/// Reads `data`. Only when that fails is it read again, slower, to find the path of the fault.
fn read(text: &str) -> Result<wire::Data, BadField> {
    serde_json::from_str(text).or_else(|_| {
        let mut reader = serde_json::Deserializer::from_str(text);
        serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let path = error.path().to_string();
            let field = path.strip_prefix("request.").unwrap_or(&path);
            let field = if field == "." { "data" } else { field };
            // The text of the error could quote the content; its kind does not.
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
    let catalog_reference = match catalog_reference {
        None => None,
        Some(wire::CatalogReference { catalog_item_id, app_id, options }) => {
            let options = options.unwrap_or_default();
            if too_deep(&options, OPTIONS_DEPTH_MAX) {
                return Err(bad(format!("items[{index}].catalogReference.options"), "is nested too deeply"));
            }
            Some(v1::CatalogReference { app_id, catalog_item_id, options: Some(json::from_json(options)) })
        }
    };
    Ok(v1::Item { catalog_reference, location_id: location_id.unwrap_or_default(), quantity, subscription_item })
}

fn too_deep(fields: &Map<String, Value>, left: usize) -> bool {
    fn deeper(value: &Value, left: usize) -> bool {
        match value {
            Value::Object(fields) => too_deep(fields, left),
            Value::Array(values) => left == 0 || values.iter().any(|value| deeper(value, left - 1)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    left == 0 || fields.values().any(|value| deeper(value, left - 1))
}

/// What makes a call itself: (installation, method, Wix's request id), or else the token. Never
/// the content: two equal partial refunds are two refunds.
fn request_id(site_id: &str, method: Method, wix_request_id: &str, token: &UnverifiedToken<'_>) -> String {
    let mut hash = Sha256::new();
    if wix_request_id.is_empty() {
        hash.update(b"token\0");
        hash.update(token.as_str().trim_end_matches('='));
    } else {
        for part in ["request", &site_id.to_ascii_lowercase(), method.name(), wix_request_id] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// By name, as Wix writes it. A number, an unknown name or nothing must not stop a change.
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
