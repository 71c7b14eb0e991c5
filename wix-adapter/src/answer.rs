//! The one place that names HTTP statuses: what each outcome is to Wix.
//!
//! A 428 stops a purchase, so it is only said when the server itself has said that nothing was
//! taken. Whatever may have been done, or can be tried again, is a 503.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use inventory_proto::{ERROR_DOMAIN, json, v1};
use prost::Message;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::convert::{BadField, Method};

/// What Wix is told.
#[derive(Debug)]
pub enum Answer {
    /// Done: 200 `{}` (documented).
    Done,
    /// Not possible, and nothing was changed: 428 with the method's code (documented).
    NotPossible(Method, Value),
    /// The token was refused: 401, without a detail that an attacker could use.
    Unauthorized,
    /// The body is larger than this server takes: 413.
    TooLarge,
    /// The body did not arrive in time: 408.
    TooSlow,
    /// No such path: 404.
    NoSuchPath,
    /// Not a POST: 405.
    WrongMethod,
    /// Not now: 503. It is not known whether it was done, or it was not.
    Unavailable,
    /// Our bug: 500.
    Bug,
}

/// The answer to what came back from the server.
pub fn of_result(method: Method, result: Result<(), Status>) -> Answer {
    let Err(status) = result else { return Answer::Done };
    // Only the service itself knows that nothing was taken, and it always says who it is.
    let ours = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN);
    match (status.code(), ours) {
        (Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::AlreadyExists, Some(info)) => {
            Answer::NotPossible(method, data_of(&status, &info.reason))
        }
        (Code::Internal, Some(_)) => Answer::Bug,
        (
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal,
            _,
        ) => Answer::Unavailable,
        (
            Code::Ok
            | Code::InvalidArgument
            | Code::OutOfRange
            | Code::FailedPrecondition
            | Code::AlreadyExists
            | Code::NotFound
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented
            | Code::DataLoss,
            _,
        ) => Answer::Bug,
    }
}

/// The answer to content that cannot be a request.
pub fn of_bad_field(method: Method, bad: &BadField) -> Answer {
    let BadField { field, description } = bad;
    Answer::NotPossible(method, json!({"reason": "INVALID_FIELD", "field": field, "description": description}))
}

impl Answer {
    /// A word for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotPossible(..) => "not_possible",
            Self::Unauthorized => "unauthorized",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::NoSuchPath => "no_such_path",
            Self::WrongMethod => "wrong_method",
            Self::Unavailable => "unavailable",
            Self::Bug => "bug",
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let (status, body) = match self {
            Self::Done => (StatusCode::OK, json!({})),
            Self::NotPossible(method, data) => {
                let code = match method {
                    Method::Decrement => "DECREMENT_NOT_POSSIBLE",
                    Method::Increment => "INCREMENT_NOT_POSSIBLE",
                };
                (StatusCode::PRECONDITION_REQUIRED, json!({"applicationError": {"code": code, "data": data}}))
            }
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, json!({"message": "the token was not accepted"})),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, json!({"message": "the body is too large"})),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, json!({"message": "the body did not arrive in time"})),
            Self::NoSuchPath => (StatusCode::NOT_FOUND, json!({"message": "no such path"})),
            Self::WrongMethod => (StatusCode::METHOD_NOT_ALLOWED, json!({"message": "use POST"})),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, json!({"message": "try again"})),
            Self::Bug => (StatusCode::INTERNAL_SERVER_ERROR, json!({"message": "internal error"})),
        };
        let content_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut response = (status, [content_type], body.to_string()).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

/// `data` of a refusal. Wix defines no shape for it; ours names the reason, and the short levels
/// or the field.
fn data_of(status: &Status, reason: &str) -> Value {
    let mut data = json!({"reason": reason});
    if let Some(short) = insufficient_stock(status) {
        data["shortages"] = short.shortages.into_iter().map(shortage).collect();
    }
    if let Some(violation) = status.get_details_bad_request().and_then(|bad| bad.field_violations.into_iter().next()) {
        data["field"] = Value::String(camel_case(&violation.field));
        data["description"] = Value::String(violation.description);
    }
    data
}

fn insufficient_stock(status: &Status) -> Option<v1::InsufficientStock> {
    let rich = tonic_types::Status::decode(status.details()).ok()?;
    let detail = rich.details.into_iter().find(|any| any.type_url.ends_with("/inventory.v1.InsufficientStock"))?;
    v1::InsufficientStock::decode(detail.value.as_slice()).ok()
}

fn shortage(shortage: v1::Shortage) -> Value {
    let v1::Shortage { catalog_reference, location_id, asked, available, short } = shortage;
    let v1::CatalogReference { app_id, catalog_item_id, options } = catalog_reference.unwrap_or_default();
    let mut reference = json!({"appId": app_id, "catalogItemId": catalog_item_id});
    if let Some(options) = options.and_then(|options| json::to_json(options).ok()) {
        reference["options"] = Value::Object(options);
    }
    let mut told = json!({"catalogReference": reference, "asked": asked, "available": available, "short": short});
    if !location_id.is_empty() {
        told["locationId"] = Value::String(location_id);
    }
    told
}

/// A field's path as Wix spells it.
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
