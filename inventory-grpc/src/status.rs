//! The one place where outcomes and errors of the core become gRPC codes. Every status carries a
//! `google.rpc.ErrorInfo` whose reason is stable; the adapter reads it, and so may any client.

use inventory_core::error::Error;
use inventory_core::outcome::Refusal;
use inventory_proto::{ERROR_DOMAIN, v1};
use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::pb;

use crate::encode;

/// The reason of every request that breaks a bound.
const INVALID_FIELD: &str = "INVALID_FIELD";
/// The reason where a unit is asked for that is not there.
pub const UNIT_NOT_FOUND: &str = "UNIT_NOT_FOUND";
/// Violations that a `PreconditionFailure` lists: details travel in one header, whose size is bounded.
const VIOLATIONS_MAX: usize = 3;

/// A field of a request is out of bounds.
pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Status {
    at_field(Code::InvalidArgument, INVALID_FIELD, field, description)
}

/// There is nothing by that name.
pub fn not_found(reason: &'static str, message: impl Into<String>) -> Status {
    status(Code::NotFound, reason, message.into(), Vec::new())
}

/// The ledger contradicts itself.
pub fn damaged(message: String) -> Status {
    tracing::error!(why = message, "the ledger is damaged");
    status(Code::DataLoss, "LEDGER_DAMAGED", message, Vec::new())
}

/// The books are not as far as the caller has seen them.
pub fn not_reached(now: i64, sequence: i64) -> Status {
    let message = format!("the site is at sequence {now}, and {sequence} was asked for");
    status(Code::Unavailable, "SEQUENCE_NOT_REACHED", message, Vec::new())
}

/// The server stops, and with it what would go on for ever.
pub fn stopping() -> Status {
    status(Code::Unavailable, "STOPPING", "the server is stopping; ask again, or another server".to_owned(), Vec::new())
}

/// The stable reason that tells a refusal from others.
pub fn refusal_reason(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Short(_) => "INSUFFICIENT_STOCK",
        Refusal::OutOfRange { .. } => "LEVEL_OUT_OF_RANGE",
        Refusal::Changed(_) => "STOCK_CHANGED",
        Refusal::NotYet { .. } | Refusal::SameLevelTwice { .. } => INVALID_FIELD,
    }
}

/// A refusal: nothing was carried out.
pub fn of_refusal(refusal: Refusal) -> Status {
    let reason = refusal_reason(&refusal);
    match refusal {
        Refusal::Short(shortages) => {
            let message = match shortages.len() {
                1 => "1 level is short".to_owned(),
                count => format!("{count} levels are short"),
            };
            // A summary for general tools; `InsufficientStock` has them all.
            let violations =
                shortages.iter().take(VIOLATIONS_MAX).map(|shortage| pb::precondition_failure::Violation {
                    r#type: reason.to_owned(),
                    subject: format!("{}/{}", shortage.unit.app_id, shortage.unit.item_id),
                    description: format!(
                        "asked {}, available {}, short {}",
                        shortage.asked, shortage.available, shortage.short
                    ),
                });
            let failure = pb::PreconditionFailure { violations: violations.collect() };
            let short = v1::InsufficientStock { shortages: shortages.into_iter().map(encode::shortage).collect() };
            let details =
                vec![any("google.rpc.PreconditionFailure", &failure), any("inventory.v1.InsufficientStock", &short)];
            status(Code::FailedPrecondition, reason, message, details)
        }
        Refusal::OutOfRange { item } => {
            at_field(Code::OutOfRange, reason, format!("items[{item}]"), "the level would leave the 64-bit range")
        }
        Refusal::Changed(changed) => {
            let message = match changed.len() {
                1 => "1 level is not what was expected".to_owned(),
                count => format!("{count} levels are not what was expected"),
            };
            let levels = v1::StockChanged { levels: changed.into_iter().map(encode::changed).collect() };
            status(Code::Aborted, reason, message, vec![any("inventory.v1.StockChanged", &levels)])
        }
        Refusal::NotYet { item } => {
            invalid(format!("items[{item}].as_of_sequence"), "is after the last entry of the site")
        }
        Refusal::SameLevelTwice { first, item } => {
            invalid(format!("items[{item}]"), format!("means the same level as items[{first}]"))
        }
    }
}

/// An error where items stand in the field `items`.
pub fn of_error(error: Error) -> Status {
    of_error_at(error, |item| format!("items[{item}]."))
}

/// An error where the request itself names one unit.
pub fn of_error_of_one(error: Error) -> Status {
    of_error_at(error, |_| String::new())
}

/// An error; `path_of` is the path of the message in which an item's unit is named.
fn of_error_at(error: Error, path_of: impl Fn(usize) -> String) -> Status {
    let told = error.to_string();
    match &error {
        Error::Unknown(_) | Error::Internal(_) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a request has no outcome to tell");
        }
        Error::Unavailable(_) | Error::Overloaded | Error::Expired | Error::NoAnswer => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a request was not answered");
        }
        Error::KeyReused
        | Error::VariantTooLarge { .. }
        | Error::SkuTaken(_)
        | Error::UnknownSku { .. }
        | Error::LocationInUse => {}
    }
    match error {
        Error::Overloaded => status(Code::ResourceExhausted, "OVERLOADED", told, Vec::new()),
        Error::Expired | Error::NoAnswer => status(Code::DeadlineExceeded, "DEADLINE", told, Vec::new()),
        Error::KeyReused => status(Code::AlreadyExists, "REQUEST_ID_REUSED", told, Vec::new()),
        Error::VariantTooLarge { item } => invalid(format!("{}catalog_reference.options", path_of(item)), told),
        Error::SkuTaken(_) => at_field(Code::AlreadyExists, "SKU_TAKEN", "sku", told),
        Error::UnknownSku { item } => at_field(Code::NotFound, UNIT_NOT_FOUND, format!("{}sku", path_of(item)), told),
        Error::LocationInUse => status(Code::FailedPrecondition, "LOCATION_IN_USE", told, Vec::new()),
        Error::Unavailable(_) => status(Code::Unavailable, "STORE_UNAVAILABLE", told, Vec::new()),
        Error::Unknown(_) => status(Code::Unavailable, "OUTCOME_UNKNOWN", told, Vec::new()),
        Error::Internal(_) => status(Code::Internal, "INTERNAL", told, Vec::new()),
    }
}

/// A status that names a field of the request.
fn at_field(code: Code, reason: &'static str, field: impl Into<String>, description: impl Into<String>) -> Status {
    let (field, description) = (field.into(), description.into());
    let message = format!("{field}: {description}");
    let violation = pb::bad_request::FieldViolation { field, description, ..Default::default() };
    let detail = any("google.rpc.BadRequest", &pb::BadRequest { field_violations: vec![violation] });
    status(code, reason, message, vec![detail])
}

fn status(code: Code, reason: &'static str, message: String, mut details: Vec<Any>) -> Status {
    let info = pb::ErrorInfo { reason: reason.to_owned(), domain: ERROR_DOMAIN.to_owned(), ..Default::default() };
    details.insert(0, any("google.rpc.ErrorInfo", &info));
    let rich = pb::Status { code: code as i32, message: message.clone(), details };
    Status::with_details(code, message, rich.encode_to_vec().into())
}

fn any(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}
