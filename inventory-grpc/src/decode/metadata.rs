//! What a call says beside its message: who calls, how long the caller waits, and how many bytes of error details it
//! can read.
//!
//! Metadata that is absent has a default. A bad value is INVALID_ARGUMENT at the metadata's name, except for
//! `grpc-timeout`, which the transport owns: a value that gRPC would not write is ignored.

use std::time::{Duration, Instant};

use inventory_core::model::access::Author;
use inventory_core::model::limits;
use inventory_proto::{ACTOR_METADATA, DETAIL_BYTES_DEFAULT, MAX_DETAIL_BYTES_METADATA, ON_BEHALF_OF_METADATA};
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::access::Access;
use crate::decode::fields::{Checked, Fields};
use crate::violation::At;

/// Bytes of error details that a caller can ask for. They hold the shortages of 300 items with the longest options.
const DETAIL_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What a call says beside its message.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Who makes a change.
    pub(crate) author: Author,
    /// Until when the caller waits.
    pub(crate) deadline: Instant,
    /// Bytes of error details that the caller can read.
    pub(crate) detail_bytes: usize,
}

/// Reads the metadata of a call. The actor is the name of the caller's token. Only a caller without a token names
/// itself.
pub(crate) fn caller(metadata: &MetadataMap, access: &Access) -> Result<Caller, Status> {
    if metadata.contains_key(ON_BEHALF_OF_METADATA) {
        access.check_on_behalf()?;
    }
    let mut fields = Fields::default();
    let actor = match access.token_name() {
        Some(name) => Ok(name.as_str().to_owned()),
        None => person(&mut fields, metadata, ACTOR_METADATA),
    };
    let on_behalf_of = person(&mut fields, metadata, ON_BEHALF_OF_METADATA);
    let detail_bytes = detail_bytes(&mut fields, metadata);
    let decoded = || Ok((Author { actor: actor?, on_behalf_of: on_behalf_of? }, detail_bytes?));
    let (author, detail_bytes) = fields.finish(decoded())?;
    Ok(Caller { author, deadline: deadline(metadata), detail_bytes })
}

fn person(fields: &mut Fields, metadata: &MetadataMap, name: &'static str) -> Checked<String> {
    let Some(value) = metadata.get(name) else { return Ok(String::new()) };
    match value.to_str() {
        Ok(person) if person.len() <= limits::ACTOR_CHARS_MAX => Ok(person.to_owned()),
        Ok(_) | Err(_) => {
            let bounds = format_args!("must have at most {} ASCII characters", limits::ACTOR_CHARS_MAX);
            fields.bad(At::REQUEST, name, bounds)
        }
    }
}

/// At least the default, which any caller can read, and at most [`DETAIL_BYTES_MAX`].
fn detail_bytes(fields: &mut Fields, metadata: &MetadataMap) -> Checked<usize> {
    let Some(value) = metadata.get(MAX_DETAIL_BYTES_METADATA) else { return Ok(DETAIL_BYTES_DEFAULT) };
    match value.to_str().ok().and_then(|text| text.parse::<usize>().ok()) {
        Some(bytes) => Ok(bytes.clamp(DETAIL_BYTES_DEFAULT, DETAIL_BYTES_MAX)),
        None => fields.bad(At::REQUEST, MAX_DETAIL_BYTES_METADATA, "must be a whole number of bytes"),
    }
}

/// Until when the caller waits. No call takes longer than `limits::ANSWER_TIME_DEFAULT`.
pub(crate) fn deadline(metadata: &MetadataMap) -> Instant {
    let timeout = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(timeout_of);
    Instant::now() + bounded(timeout)
}

/// How long a caller waits that asked for `timeout`.
pub(crate) fn bounded(timeout: Option<Duration>) -> Duration {
    timeout.unwrap_or(limits::ANSWER_TIME_DEFAULT).min(limits::ANSWER_TIME_DEFAULT)
}

/// The deadline of a call that names none.
pub(crate) fn default_deadline() -> Instant {
    Instant::now() + limits::ANSWER_TIME_DEFAULT
}

/// Reads at most eight digits and a unit, as gRPC over HTTP/2 writes a timeout.
fn timeout_of(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 {
        return None;
    }
    let count: u32 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(3_600) * count),
        "M" => Some(Duration::from_secs(60) * count),
        "S" => Some(Duration::from_secs(1) * count),
        "m" => Some(Duration::from_millis(1) * count),
        "u" => Some(Duration::from_micros(1) * count),
        "n" => Some(Duration::from_nanos(1) * count),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataValue;
    use tonic_types::StatusExt;

    use super::*;

    fn with(name: &'static str, value: &str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert(name, value.parse().expect("ASCII"));
        metadata
    }

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        assert_eq!(timeout_of("2500m"), Some(Duration::from_millis(2_500)));
        assert_eq!(timeout_of("3S"), Some(Duration::from_secs(3)));
        assert_eq!(timeout_of("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        for bad in ["", "m", "5", "5x", "-1S", "5ä", "999999999S"] {
            assert_eq!(timeout_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_caller_gets_the_default_bytes_unless_it_asks_for_more() {
        for (value, bytes) in [("0", 4_096), ("4096", 4_096), ("100000", 100_000), ("99999999", 2_097_152)] {
            let caller = caller(&with(MAX_DETAIL_BYTES_METADATA, value), &Access::Anonymous(None)).expect("a number");
            assert_eq!(caller.detail_bytes, bytes, "{value}");
        }
        assert_eq!(caller(&MetadataMap::new(), &Access::Anonymous(None)).expect("empty").detail_bytes, 4_096);
    }

    #[test]
    fn bad_metadata_is_named() {
        let mut metadata = with(ACTOR_METADATA, &"x".repeat(65));
        metadata.insert(MAX_DETAIL_BYTES_METADATA, MetadataValue::from_static("4 KiB"));
        let status = caller(&metadata, &Access::Anonymous(None)).expect_err("both are bad");
        let fields = status.get_details_bad_request().expect("a BadRequest").field_violations;
        let names: Vec<&str> = fields.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(names, [ACTOR_METADATA, MAX_DETAIL_BYTES_METADATA]);
    }
}
