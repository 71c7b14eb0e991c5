//! The one place that chooses the HTTP status of a call: it maps gRPC codes and the adapter's own refusals to answers.
//!
//! A 428 stops a purchase, so it is given only if it is known that nothing was taken: our server itself said so, or the
//! call was never sent to it. Whatever may have been applied, or may succeed later, is a 503.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use inventory_proto::codec::UNDECODABLE;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::convert::Method;
use crate::refusal::Details;
use crate::wire::BadField;

/// An answer to Wix.
#[derive(Debug)]
pub enum Answer {
    /// Applied: 200 `{}` (documented).
    Done,
    /// Refused, and nothing was changed: 428 with the method's code (documented) and `data`.
    NotPossible(Method, Value),
    /// The token was refused: 401, without a detail that an attacker could use.
    Unauthorized,
    /// The body is too large: 413.
    TooLarge,
    /// The body did not arrive in time: 408.
    TooSlow,
    /// The path is none of the plugin's: 404.
    NoSuchPath,
    /// The method is not POST: 405.
    WrongMethod,
    /// Not now: 503 with `Retry-After`. Whether the change was applied may be unknown.
    Unavailable,
    /// A bug or a wrong configuration of ours: 500.
    Bug,
}

/// The answer to the result of a call to the server.
pub fn of_result(method: Method, result: Result<(), Status>) -> Answer {
    let Err(status) = result else { return Answer::Done };
    let details = Details::of(&status);
    match (status.code(), details) {
        // A message of ours that the server cannot decode is our bug; Wix's request may be good.
        (Code::InvalidArgument, Some(details)) if details.reason() == UNDECODABLE => Answer::Bug,
        (Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::AlreadyExists, Some(details)) => {
            Answer::NotPossible(method, details.data())
        }
        // Not from our server, so it is not known that nothing was taken, and a retry would end the same way.
        (Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::AlreadyExists, None) => {
            Answer::Bug
        }
        (Code::Internal, Some(_)) => Answer::Bug,
        // The transport reports a broken stream as INTERNAL.
        (Code::Internal, None) => Answer::Unavailable,
        (
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled
            | Code::Unknown,
            Some(_) | None,
        ) => Answer::Unavailable,
        // Wix names no SKU and the server sees only the adapter's own token, so these codes mean that we did something
        // wrong.
        (
            Code::Ok
            | Code::NotFound
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented
            | Code::DataLoss,
            Some(_) | None,
        ) => Answer::Bug,
    }
}

/// The answer to signed data that has a bad field.
pub fn of_bad_field(method: Method, bad: &BadField) -> Answer {
    let BadField { field, description } = bad;
    Answer::NotPossible(method, json!({"reason": "INVALID_FIELD", "field": field, "description": description}))
}

impl Answer {
    /// The values of the label `answer` in metrics.
    pub const LABELS: [&'static str; 9] = [
        "done",
        "not_possible",
        "unauthorized",
        "too_large",
        "too_slow",
        "no_such_path",
        "wrong_method",
        "unavailable",
        "bug",
    ];

    /// The place of this answer's label among [`Self::LABELS`].
    pub const fn index(&self) -> usize {
        match self {
            Self::Done => 0,
            Self::NotPossible(..) => 1,
            Self::Unauthorized => 2,
            Self::TooLarge => 3,
            Self::TooSlow => 4,
            Self::NoSuchPath => 5,
            Self::WrongMethod => 6,
            Self::Unavailable => 7,
            Self::Bug => 8,
        }
    }

    /// Whether something is wrong on our side. A refusal is none.
    pub const fn is_failure(&self) -> bool {
        match self {
            Self::Unavailable | Self::Bug => true,
            Self::Done
            | Self::NotPossible(..)
            | Self::Unauthorized
            | Self::TooLarge
            | Self::TooSlow
            | Self::NoSuchPath
            | Self::WrongMethod => false,
        }
    }

    /// The value of the label `answer` in metrics.
    pub const fn label(&self) -> &'static str {
        Self::LABELS[self.index()]
    }
}

impl Answer {
    /// The status, and the body as JSON.
    fn parts(&self) -> (StatusCode, Value) {
        let message = |text: &str| json!({"message": text});
        match self {
            Self::Done => (StatusCode::OK, json!({})),
            Self::NotPossible(method, data) => {
                let error = json!({"code": not_possible(*method), "data": data});
                (StatusCode::PRECONDITION_REQUIRED, json!({"applicationError": error}))
            }
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, message("the token was not accepted")),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, message("the body is too large")),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, message("the body did not arrive in time")),
            Self::NoSuchPath => (StatusCode::NOT_FOUND, message("no such path")),
            Self::WrongMethod => (StatusCode::METHOD_NOT_ALLOWED, message("use POST")),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, message("try again")),
            Self::Bug => (StatusCode::INTERNAL_SERVER_ERROR, message("internal error")),
        }
    }
}

/// The code of a refusal (documented).
const fn not_possible(method: Method) -> &'static str {
    match method {
        Method::Decrement => "DECREMENT_NOT_POSSIBLE",
        Method::Increment => "INCREMENT_NOT_POSSIBLE",
    }
}

/// Whether an adapter gives this answer. Otherwise something before it does, such as a proxy.
pub fn is_of_adapter(status: u16, body: &str) -> bool {
    let Ok(body) = serde_json::from_str::<Value>(body) else { return false };
    if status == StatusCode::PRECONDITION_REQUIRED.as_u16() {
        let code = &body["applicationError"]["code"];
        return [Method::Decrement, Method::Increment].iter().any(|method| code == not_possible(*method));
    }
    let fixed = [
        Answer::Done,
        Answer::Unauthorized,
        Answer::TooLarge,
        Answer::TooSlow,
        Answer::NoSuchPath,
        Answer::WrongMethod,
        Answer::Unavailable,
        Answer::Bug,
    ];
    fixed.iter().map(Answer::parts).any(|(own, own_body)| (own.as_u16(), own_body) == (status, body.clone()))
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let (status, body) = self.parts();
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use inventory_proto::ERROR_DOMAIN;
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    /// The HTTP status for a gRPC code, with a reason of our server or without details.
    fn http(code: Code, reason: Option<&str>) -> u16 {
        let status = match reason {
            None => Status::new(code, "message"),
            Some(reason) => {
                let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
                Status::with_error_details(code, "message", details)
            }
        };
        of_result(Method::Decrement, Err(status)).into_response().status().as_u16()
    }

    #[test]
    fn answers_of_the_adapter_are_told_from_those_of_a_proxy() {
        let refusal = |method| Answer::NotPossible(method, json!({"reason": "X"}));
        let ours = [refusal(Method::Decrement), refusal(Method::Increment), Answer::Done, Answer::Unavailable];
        for answer in ours {
            let (status, body) = answer.parts();
            assert!(is_of_adapter(status.as_u16(), &body.to_string()), "{answer:?}");
        }
        let others =
            [(200, ""), (200, "<html>"), (200, "{\"message\":\"try again\"}"), (401, "{}"), (428, "{}"), (502, "{}")];
        for (status, body) in others {
            assert!(!is_of_adapter(status, body), "{status} {body}");
        }
    }

    #[test]
    fn every_code_has_an_answer() {
        // Code, a reason of our server, the answer to it, the answer to the code without details.
        let rows = [
            (Code::Ok, "X", 500, 500),
            (Code::Cancelled, "X", 503, 503),
            (Code::Unknown, "X", 503, 503),
            (Code::InvalidArgument, "INVALID_FIELD", 428, 500),
            (Code::InvalidArgument, UNDECODABLE, 500, 500),
            (Code::DeadlineExceeded, "DEADLINE", 503, 503),
            (Code::NotFound, "UNIT_NOT_FOUND", 500, 500),
            (Code::AlreadyExists, "REQUEST_ID_REUSED", 428, 500),
            (Code::PermissionDenied, "X", 500, 500),
            (Code::ResourceExhausted, "OVERLOADED", 503, 503),
            (Code::FailedPrecondition, "INSUFFICIENT_STOCK", 428, 500),
            (Code::Aborted, "STOCK_CHANGED", 503, 503),
            (Code::OutOfRange, "LEVEL_OUT_OF_RANGE", 428, 500),
            (Code::Unimplemented, "X", 500, 500),
            (Code::Internal, "INTERNAL", 500, 503),
            (Code::Unavailable, "OUTCOME_UNKNOWN", 503, 503),
            (Code::DataLoss, "LEDGER_DAMAGED", 500, 500),
            (Code::Unauthenticated, "X", 500, 500),
        ];
        for (code, reason, ours, others) in rows {
            assert_eq!((http(code, Some(reason)), http(code, None)), (ours, others), "{code:?} {reason}");
        }
        assert_eq!(of_result(Method::Increment, Ok(())).into_response().status(), StatusCode::OK);
    }
}
