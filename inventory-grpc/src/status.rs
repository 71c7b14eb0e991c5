//! The one place where errors of the core become gRPC statuses.
//!
//! Every status of this service's own carries a `google.rpc.ErrorInfo` with a stable reason, which the adapter and any
//! client may read. Bad fields are named by their paths in a `google.rpc.BadRequest`. Refusals, which are outcomes and
//! no errors, are in `status/refusal.rs`. A status never shows the cause of a failure: the cause goes to the log, here,
//! once.

mod refusal;

use std::time::Instant;

use futures_util::future::join;
use inventory_core::model::access::TokenName;
use inventory_core::model::error::{Error, Failed, Invalid};
use inventory_program::repeat::{Repeats, Told};
use inventory_program::with_causes;
use inventory_proto::ERROR_DOMAIN;
use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::pb;

pub(crate) use self::refusal::{of_refusal, refusal_reason};
use crate::violation::{At, Violation};

/// The reason of a request that breaks a bound.
const INVALID_FIELD: &str = "INVALID_FIELD";
/// The reason of a request for a unit that does not exist.
pub(crate) const UNIT_NOT_FOUND: &str = "UNIT_NOT_FOUND";
/// The reason of a request that reaches back to entries that are archived.
const ENTRIES_ARCHIVED: &str = "ENTRIES_ARCHIVED";

/// The calls that fail now, by the reason.
static FAILURES: Repeats = Repeats::new();
/// The calls that are refused for their token now, by the cause.
static REFUSED_TOKENS: Repeats = Repeats::new();

/// Where a request has the fields that an error can be about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paths {
    /// The list whose elements name units; `None` if the request itself names one.
    list: Option<&'static str>,
    /// The field that names a sequence number.
    sequence: &'static str,
}

impl Paths {
    /// The request names one unit.
    pub(crate) const REQUEST: Self = Self { list: None, sequence: "at_sequence" };
    /// The elements of `items` name units.
    pub(crate) const ITEMS: Self = Self { list: Some("items"), sequence: "at_sequence" };
    /// The elements of `requests` name units.
    pub(crate) const REQUESTS: Self = Self { list: Some("requests"), sequence: "at_sequence" };
    /// The request watches the ledger after a sequence number.
    pub(crate) const WATCH: Self = Self { list: None, sequence: "after_sequence" };

    /// The message that names the unit with this index.
    fn unit(self, index: usize) -> At {
        self.list.map_or(At::REQUEST, |list| At::element(list, index))
    }
}

/// INVALID_ARGUMENT for `count` bad fields, of which `listed` are the first.
pub(crate) fn bad_fields(listed: Vec<Violation>, count: usize) -> Status {
    let mut message = match listed.first() {
        Some(Violation { field, description }) => format!("{field}: {description}"),
        None => "the request is not valid".to_owned(),
    };
    if count > 1 {
        message.push_str(&format!("; bad fields: {count}"));
    }
    status(Code::InvalidArgument, INVALID_FIELD, message, vec![bad_request(listed)])
}

/// NOT_FOUND.
pub(crate) fn not_found(reason: &'static str, message: impl Into<String>) -> Status {
    status(Code::NotFound, reason, message.into(), Vec::new())
}

/// NOT_FOUND: nothing was ever written for the site.
pub(crate) fn site_not_found() -> Status {
    not_found("SITE_NOT_FOUND", "nothing was ever written for this site")
}

/// DATA_LOSS: the ledger contradicts itself.
pub(crate) fn damaged(message: String) -> Status {
    tracing::error!(why = message, "the ledger is damaged");
    status(Code::DataLoss, "LEDGER_DAMAGED", message, Vec::new())
}

/// UNAUTHENTICATED: the call has no good token. The text is the same for every cause.
pub(crate) fn unauthenticated() -> Status {
    let message = "the call needs a valid token in its metadata: `authorization: Bearer inv_...`";
    status(Code::Unauthenticated, "UNAUTHENTICATED", message.to_owned(), Vec::new())
}

/// PERMISSION_DENIED: the token is good, but not for this. The text is the same whatever exists.
pub(crate) fn permission_denied() -> Status {
    let message = "the token does not permit this call";
    status(Code::PermissionDenied, "PERMISSION_DENIED", message.to_owned(), Vec::new())
}

/// UNAVAILABLE: the server has not read the tokens yet.
pub(crate) fn tokens_not_read() -> Status {
    let message = "the server could not read the tokens yet; ask again";
    status(Code::Unavailable, "STORE_UNAVAILABLE", message.to_owned(), Vec::new())
}

/// RESOURCE_EXHAUSTED: `max` verifications are under way, and the server does no more at a time.
pub(crate) fn too_many_verifications(max: usize) -> Status {
    let message =
        format!("{max} verifications are under way, and the server does no more; ask again when one has ended");
    exhausted("TOO_MANY_VERIFICATIONS", message)
}

/// RESOURCE_EXHAUSTED: the caller, or all callers together, do not take the answers that they have.
pub(crate) fn unread_answers() -> Status {
    exhausted("UNREAD_ANSWERS", "the answers before this one were not taken in time; take them, then call again".into())
}

fn exhausted(reason: &'static str, message: String) -> Status {
    if let Some(told) = FAILURES.count(reason, Instant::now()) {
        tell_unserved(&told, &message);
    }
    status(Code::ResourceExhausted, reason, message, Vec::new())
}

/// Logs that a call was refused for its token: the first of its kind, and then a count at growing intervals.
pub(crate) fn tell_refused(cause: &'static str, token: Option<&TokenName>) {
    let Some(Told { count, lasted, .. }) = REFUSED_TOKENS.count(cause, Instant::now()) else { return };
    let (seconds, token) = (lasted.as_secs(), token.map(TokenName::as_str));
    tracing::warn!(cause, token, calls = count, seconds, "calls were refused for their token");
}

/// A status as a message of its own: with code, text and details.
pub(crate) fn as_message(status: &Status) -> pb::Status {
    // Our own statuses carry it as their details. A status of the library has none.
    let found = pb::Status::decode(status.details()).ok().filter(|message| message.code != 0);
    let plain = || pb::Status { code: status.code() as i32, message: status.message().to_owned(), details: Vec::new() };
    found.unwrap_or_else(plain)
}

/// UNAVAILABLE: the server stops, and with it a call that would never end by itself.
pub(crate) fn stopping() -> Status {
    of_failed(Failed::Stopping)
}

/// The status of an error.
pub(crate) fn of_error(error: Error, paths: Paths) -> Status {
    match error {
        Error::Invalid(invalid) => of_invalid(invalid, paths),
        Error::Failed(failed) => of_failed(failed),
    }
}

fn of_invalid(invalid: Invalid, paths: Paths) -> Status {
    let message = invalid.to_string();
    match invalid {
        Invalid::KeyReused => status(Code::AlreadyExists, "REQUEST_ID_REUSED", message, Vec::new()),
        Invalid::Variant { item, why: _ } => {
            let field = paths.unit(item).path("catalog_reference.options");
            at_field(Code::InvalidArgument, INVALID_FIELD, field, message)
        }
        Invalid::SkuTaken { item, unit: _ } => {
            at_field(Code::AlreadyExists, "SKU_TAKEN", paths.unit(item).path("new_sku"), message)
        }
        Invalid::UnknownSku { item } => at_field(Code::NotFound, UNIT_NOT_FOUND, paths.unit(item).path("sku"), message),
        Invalid::EmptyWindow { item } => {
            at_field(Code::InvalidArgument, INVALID_FIELD, paths.unit(item).path("sell_until"), message)
        }
        Invalid::TooManyCatalogs { max: _ } => {
            at_field(Code::InvalidArgument, INVALID_FIELD, "catalogs".to_owned(), message)
        }
        Invalid::LocationInUse => status(Code::FailedPrecondition, "LOCATION_IN_USE", message, Vec::new()),
        Invalid::Archived { cut: _ } => status(Code::FailedPrecondition, ENTRIES_ARCHIVED, message, Vec::new()),
        Invalid::AfterLastEntry { sequence: _ } => {
            at_field(Code::InvalidArgument, INVALID_FIELD, paths.sequence.to_owned(), message)
        }
    }
}

/// The status of a failure. Logs it with its causes, unless it is a normal part of the service's work. A failure that
/// repeats makes few lines.
pub(crate) fn of_failed(failed: Failed) -> Status {
    let (code, reason) = match &failed {
        Failed::Overloaded => (Code::ResourceExhausted, "OVERLOADED"),
        Failed::TooManyWatchers => (Code::ResourceExhausted, "TOO_MANY_WATCHERS"),
        Failed::Expired | Failed::NoAnswer => (Code::DeadlineExceeded, "DEADLINE"),
        Failed::Stopping => (Code::Unavailable, "STOPPING"),
        Failed::StoreUnavailable(_) => (Code::Unavailable, "STORE_UNAVAILABLE"),
        Failed::SequenceNotReached { .. } => (Code::Unavailable, "SEQUENCE_NOT_REACHED"),
        Failed::OutcomeUnknown(_) => (Code::Unavailable, "OUTCOME_UNKNOWN"),
        Failed::Internal(_) => (Code::Internal, "INTERNAL"),
    };
    match &failed {
        Failed::Overloaded
        | Failed::TooManyWatchers
        | Failed::Expired
        | Failed::NoAnswer
        | Failed::StoreUnavailable(_)
        | Failed::OutcomeUnknown(_)
        | Failed::Internal(_) => tell(reason, &failed),
        Failed::Stopping | Failed::SequenceNotReached { .. } => {}
    }
    status(code, reason, failed.to_string(), Vec::new())
}

/// Logs that a call failed: the first of its kind, and then a count at growing intervals.
fn tell(reason: &'static str, failed: &Failed) {
    let Some(told) = FAILURES.count(reason, Instant::now()) else { return };
    let (error, calls, seconds) = (with_causes(failed), told.count, told.lasted.as_secs());
    match failed {
        Failed::OutcomeUnknown(_) => {
            tracing::error!(error, reason, calls, seconds, "calls failed without a known outcome");
        }
        Failed::Internal(_) => {
            tracing::error!(error, reason, calls, seconds, "calls failed by a defect; nothing was done");
        }
        Failed::Overloaded
        | Failed::TooManyWatchers
        | Failed::Expired
        | Failed::NoAnswer
        | Failed::StoreUnavailable(_)
        | Failed::Stopping
        | Failed::SequenceNotReached { .. } => tell_unserved(&told, &error),
    }
}

fn tell_unserved(told: &Told, error: &str) {
    let Told { kind: reason, count, lasted, since_last_line: _ } = told;
    tracing::warn!(error, reason, calls = count, seconds = lasted.as_secs(), "calls were not served");
}

/// Logs the end of failures, and of refusals for a token, that have stopped. Never ends.
pub(crate) async fn tell_ends() {
    let failures = FAILURES.follow_ends(|Told { kind: reason, count, lasted, .. }| {
        tracing::info!(reason, calls = count, seconds = lasted.as_secs(), "no call has failed like this for 5 seconds");
    });
    let refusals = REFUSED_TOKENS.follow_ends(|Told { kind: cause, count, lasted, .. }| {
        tracing::info!(
            cause,
            calls = count,
            seconds = lasted.as_secs(),
            "no call has been refused like this for 5 seconds"
        );
    });
    join(failures, refusals).await;
}

/// A status about one field of the request.
fn at_field(code: Code, reason: &'static str, field: String, description: String) -> Status {
    let message = format!("{field}: {description}");
    status(code, reason, message, vec![bad_request(vec![Violation { field, description }])])
}

fn bad_request(violations: Vec<Violation>) -> Any {
    let violation =
        |Violation { field, description }| pb::bad_request::FieldViolation { field, description, ..Default::default() };
    any("google.rpc.BadRequest", &pb::BadRequest { field_violations: violations.into_iter().map(violation).collect() })
}

fn status(code: Code, reason: &'static str, message: String, details: Vec<Any>) -> Status {
    let rich = rich_status(code, reason, message, details);
    Status::with_details(code, rich.message.clone(), rich.encode_to_vec().into())
}

/// The status that travels as the details of an error.
fn rich_status(code: Code, reason: &'static str, message: String, mut details: Vec<Any>) -> pb::Status {
    let info = pb::ErrorInfo { reason: reason.to_owned(), domain: ERROR_DOMAIN.to_owned(), ..Default::default() };
    details.insert(0, any("google.rpc.ErrorInfo", &info));
    pb::Status { code: code as i32, message, details }
}

fn any(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use inventory_core::model::catalog::{BadVariant, Unit, Variant};
    use inventory_core::model::error::{StoreError, Trouble};
    use tonic_types::StatusExt;

    use super::*;

    fn summary(status: &Status) -> (Code, String, String) {
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        let violation = status.get_details_bad_request().and_then(|bad| bad.field_violations.into_iter().next());
        (status.code(), reason, violation.map(|violation| violation.field).unwrap_or_default())
    }

    #[test]
    fn an_invalid_request_gets_the_path_of_its_field() {
        let unit = Unit { app_id: "app".into(), item_id: "A".into(), variant: Variant::default() };
        let taken = |item| Invalid::SkuTaken { item, unit: Box::new(unit.clone()) };
        let rows = [
            (Invalid::KeyReused, Paths::ITEMS, Code::AlreadyExists, "REQUEST_ID_REUSED", ""),
            (taken(0), Paths::REQUEST, Code::AlreadyExists, "SKU_TAKEN", "new_sku"),
            (taken(2), Paths::REQUESTS, Code::AlreadyExists, "SKU_TAKEN", "requests[2].new_sku"),
            (Invalid::UnknownSku { item: 0 }, Paths::REQUEST, Code::NotFound, "UNIT_NOT_FOUND", "sku"),
            (Invalid::UnknownSku { item: 1 }, Paths::ITEMS, Code::NotFound, "UNIT_NOT_FOUND", "items[1].sku"),
            (
                Invalid::Variant { item: 1, why: BadVariant::TooLarge },
                Paths::ITEMS,
                Code::InvalidArgument,
                "INVALID_FIELD",
                "items[1].catalog_reference.options",
            ),
            (Invalid::EmptyWindow { item: 0 }, Paths::REQUEST, Code::InvalidArgument, "INVALID_FIELD", "sell_until"),
            (
                Invalid::EmptyWindow { item: 2 },
                Paths::REQUESTS,
                Code::InvalidArgument,
                "INVALID_FIELD",
                "requests[2].sell_until",
            ),
            (Invalid::TooManyCatalogs { max: 100 }, Paths::REQUEST, Code::InvalidArgument, "INVALID_FIELD", "catalogs"),
            (Invalid::LocationInUse, Paths::REQUEST, Code::FailedPrecondition, "LOCATION_IN_USE", ""),
            (Invalid::Archived { cut: 7 }, Paths::WATCH, Code::FailedPrecondition, "ENTRIES_ARCHIVED", ""),
            (
                Invalid::AfterLastEntry { sequence: 3 },
                Paths::REQUEST,
                Code::InvalidArgument,
                "INVALID_FIELD",
                "at_sequence",
            ),
            (
                Invalid::AfterLastEntry { sequence: 3 },
                Paths::WATCH,
                Code::InvalidArgument,
                "INVALID_FIELD",
                "after_sequence",
            ),
        ];
        for (invalid, paths, code, reason, field) in rows {
            let status = of_error(invalid.clone().into(), paths);
            assert_eq!(summary(&status), (code, reason.to_owned(), field.to_owned()), "{invalid:?}");
        }
    }

    #[test]
    fn a_failure_has_a_code_and_a_reason_and_hides_its_cause() {
        let store = || Arc::new(StoreError::Gone(Trouble::Unreachable, "password=secret".into()));
        let rows = [
            (Failed::Overloaded, Code::ResourceExhausted, "OVERLOADED"),
            (Failed::TooManyWatchers, Code::ResourceExhausted, "TOO_MANY_WATCHERS"),
            (Failed::Expired, Code::DeadlineExceeded, "DEADLINE"),
            (Failed::NoAnswer, Code::DeadlineExceeded, "DEADLINE"),
            (Failed::Stopping, Code::Unavailable, "STOPPING"),
            (Failed::StoreUnavailable(store()), Code::Unavailable, "STORE_UNAVAILABLE"),
            (Failed::SequenceNotReached { sequence: 1, asked: 2 }, Code::Unavailable, "SEQUENCE_NOT_REACHED"),
            (Failed::OutcomeUnknown(store()), Code::Unavailable, "OUTCOME_UNKNOWN"),
            (Failed::Internal(store()), Code::Internal, "INTERNAL"),
        ];
        for (failed, code, reason) in rows {
            let status = of_error(failed.into(), Paths::ITEMS);
            assert_eq!(summary(&status), (code, reason.to_owned(), String::new()));
            assert!(!status.message().contains("secret"), "{reason}");
        }
        for (status, reason) in
            [(too_many_verifications(4), "TOO_MANY_VERIFICATIONS"), (unread_answers(), "UNREAD_ANSWERS")]
        {
            assert_eq!(summary(&status), (Code::ResourceExhausted, reason.to_owned(), String::new()));
        }
    }
}
