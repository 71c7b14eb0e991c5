//! Page tokens: opaque to callers, and good only for the query that they came from.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use inventory_core::limits;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::Status;

use crate::status::invalid;

/// The number of rows that a page is to have.
pub fn size(page_size: i32) -> Result<i64, Status> {
    match i64::from(page_size) {
        0 => Ok(limits::PAGE_ROWS_DEFAULT),
        rows @ 1..=limits::PAGE_ROWS_MAX => Ok(rows),
        _ => Err(invalid("page_size", format!("must be 0 to {}", limits::PAGE_ROWS_MAX))),
    }
}

/// The token of the page after `cursor` of `query`.
pub fn token(query: &str, cursor: &impl Serialize) -> String {
    // Strings and numbers always serialize.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&(query, cursor)).unwrap_or_default())
}

/// Where the page after `token` begins; `None` for the first page.
pub fn cursor<C: DeserializeOwned>(query: &str, token: &str) -> Result<Option<C>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    match bytes.and_then(|bytes| serde_json::from_slice::<(String, C)>(&bytes).ok()) {
        Some((of, cursor)) if of == query => Ok(Some(cursor)),
        Some(_) => Err(invalid("page_token", "belongs to another query")),
        None => Err(not_ours()),
    }
}

/// The token is none that this service has given.
pub fn not_ours() -> Status {
    invalid("page_token", "is not a page token of this service")
}
