//! Errors as a program reads them: code, reason, fields and typed details, but never the text.

use inventory_proto::v1;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Code, reason, and the first bad field or an empty text.
pub type ErrorSummary = (Code, String, String);

/// The summary that a test expects.
pub fn error(code: Code, reason: &str, field: &str) -> ErrorSummary {
    (code, reason.to_owned(), field.to_owned())
}

/// The summary of an error. What the error does not carry is empty.
pub fn error_of(status: &Status) -> ErrorSummary {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    let violation = status.get_details_bad_request().and_then(|bad| bad.field_violations.into_iter().next());
    (status.code(), reason, violation.map(|violation| violation.field).unwrap_or_default())
}

/// The reason of an error. Panics if it carries none.
pub fn reason_of(status: &Status) -> String {
    status.get_details_error_info().expect("the error carries an ErrorInfo").reason
}

/// The first bad field of an error. Panics if it names none.
pub fn field_of(status: &Status) -> String {
    status.get_details_bad_request().expect("the error carries a BadRequest").field_violations[0].field.clone()
}

/// The shortages of a refusal. Panics if it lists none.
pub fn insufficient_stock(status: &Status) -> v1::InsufficientStock {
    detail(status, "/inventory.v1.InsufficientStock")
}

/// The levels of a refused SetStock that differ from what the caller expected. Panics if it lists none.
pub fn stock_changed(status: &Status) -> v1::StockChanged {
    detail(status, "/inventory.v1.StockChanged")
}

/// The detail whose type URL ends with `name`.
fn detail<M: Message + Default>(status: &Status, name: &str) -> M {
    let details = tonic_types::Status::decode(status.details()).expect("the error's details can be decoded").details;
    let detail = details.into_iter().find(|any| any.type_url.ends_with(name));
    let detail = detail.unwrap_or_else(|| panic!("the error carries no {name}: {status:?}"));
    M::decode(detail.value.as_slice()).expect("the detail can be decoded")
}
