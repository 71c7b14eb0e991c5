//! A running server and one of its sites, as the commands that people type ask them; and what an error of the server
//! means for a person: one sentence that names the flag, the unit or the address.

use std::error::Error;
use std::time::Duration;

use inventory_core::model::limits;
use inventory_program::{Unsettled, with_causes};
use inventory_proto::{ERROR_DOMAIN, ON_BEHALF_OF_METADATA, v1};
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

use super::page::count;
use super::{Connection, signed};
use crate::config::by_hand::Ask;
use crate::config::unit_name::UnitName;

/// Reasons of the server after which it is not known whether a write was applied.
const UNKNOWN: [&str; 2] = ["OUTCOME_UNKNOWN", "DEADLINE"];
/// Reasons of the server after which the same call may succeed later.
const PASSING: [&str; 7] = [
    "STOPPING",
    "STORE_UNAVAILABLE",
    "SEQUENCE_NOT_REACHED",
    "OVERLOADED",
    "TOO_MANY_WATCHERS",
    "UNREAD_ANSWERS",
    "DEADLINE",
];
/// The scopes of a token.
const READ: &str = "stock:read";
const WRITE: &str = "stock:write";

/// A connection to the server, and the site that is asked about.
pub(super) struct Session {
    pub(super) connection: Connection,
    /// Where the server is.
    pub(super) address: String,
    pub(super) site_id: String,
    timeout: Duration,
    has_token: bool,
}

impl Session {
    /// Connects. `Unsettled` if no server answers.
    pub(super) async fn open(ask: &Ask) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            connection: Connection::to(&ask.remote).await?,
            address: ask.remote.server.address(),
            site_id: ask.remote.site_id.clone(),
            timeout: ask.timeout(),
            has_token: ask.remote.token_file.is_some(),
        })
    }

    /// A request that reads.
    pub(super) fn read<T>(&self, message: T) -> Request<T> {
        let mut request = signed(message);
        request.set_timeout(self.timeout);
        request
    }

    /// A request that writes. Without a token it also names the user of the system.
    pub(super) fn write<T>(&self, message: T) -> Request<T> {
        let mut request = self.read(message);
        let user = std::env::var("USER").ok().filter(|user| user.len() <= limits::ACTOR_CHARS_MAX);
        // A token needs a scope of its own to name somebody else.
        if !self.has_token
            && let Some(Ok(user)) = user.map(AsciiMetadataValue::try_from)
        {
            request.metadata_mut().insert(ON_BEHALF_OF_METADATA, user);
        }
        request
    }

    /// The site. `None` if nothing was ever written for it.
    pub(super) async fn site(&self) -> Result<Option<v1::Site>, Box<dyn Error>> {
        let request = v1::GetSiteRequest { site_id: self.site_id.clone() };
        match self.connection.sites().get_site(self.read(request)).await {
            Ok(answer) => Ok(answer.into_inner().site),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(self.not_read(&status, None)),
        }
    }

    /// Why a read failed. `unit` is the one that the person named.
    pub(super) fn not_read(&self, status: &Status, unit: Option<&UnitName>) -> Box<dyn Error> {
        match reason_of(status) {
            Some(reason) if reason != "DEADLINE" => self.told(status, &reason, unit, READ).into(),
            Some(_) | None => Unsettled(format!("{}: {}", self.address, self.ended(status))).into(),
        }
    }

    /// Why a write of `unit` under the idempotency key `key` failed, or that nobody knows whether it did.
    pub(super) fn not_written(&self, status: &Status, unit: &UnitName, key: &str) -> Box<dyn Error> {
        match reason_of(status) {
            Some(reason) if !UNKNOWN.contains(&reason.as_str()) => self.told(status, &reason, Some(unit), WRITE).into(),
            Some(_) | None => Unsettled(format!(
                "{}: {}; it is not known whether the level of {} was changed: run the same command again with \
                 --idempotency-key {key}, which changes it at most once",
                self.address,
                self.ended(status),
                unit.typed,
            ))
            .into(),
        }
    }

    /// How a call ended that the server did not decide.
    fn ended(&self, status: &Status) -> String {
        match (status.code(), reason_of(status)) {
            // tonic cancels a call whose time is over.
            (Code::Cancelled | Code::DeadlineExceeded, _) => {
                let seconds = i64::try_from(self.timeout.as_secs()).unwrap_or(i64::MAX);
                format!("no answer within {} (--timeout-seconds)", count(seconds, "second", "seconds"))
            }
            (_, Some(_)) => status.message().to_owned(),
            (_, None) => transport(status),
        }
    }

    /// What the server decided.
    fn told(&self, status: &Status, reason: &str, unit: Option<&UnitName>, scope: &str) -> String {
        let Self { address, site_id, .. } = self;
        let named = unit.map_or("", |unit| &unit.typed);
        match reason {
            "UNIT_NOT_FOUND" => format!(
                "UNIT {named}: no unit of the site {site_id} has this SKU; `inventory-grpc stock show` lists the \
                 units, and APP/ITEM names a unit without a SKU"
            ),
            "UNAUTHENTICATED" if self.has_token => {
                format!("{address}: the server does not accept the token of --token-file (TOKEN_FILE)")
            }
            "UNAUTHENTICATED" => format!("{address}: the server wants a token; give --token-file (TOKEN_FILE)"),
            "PERMISSION_DENIED" => format!(
                "{address}: the token of --token-file (TOKEN_FILE) lacks the scope {scope}, or is not good for the \
                 site {site_id}"
            ),
            "REQUEST_ID_REUSED" => "--idempotency-key: the key was used for another change; give a new one".to_owned(),
            _ => match status.get_details_bad_request().and_then(|bad| bad.field_violations.into_iter().next()) {
                Some(violation) => format!("{}: {}", flag(&violation.field, named), violation.description),
                None => format!("{address}: {}", status.message()),
            },
        }
    }
}

/// The stable reason of a status of the service. `None` for one of the transport.
pub(super) fn reason_of(status: &Status) -> Option<String> {
    let info = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN);
    info.map(|info| info.reason)
}

/// Whether the same call may succeed later: the server, its database or the connection was away.
pub(super) fn passes(status: &Status) -> bool {
    reason_of(status).is_none_or(|reason| PASSING.contains(&reason.as_str()))
}

/// How the transport ended a call.
pub(super) fn transport(status: &Status) -> String {
    let causes = Error::source(status).map(with_causes).filter(|causes| causes != status.message());
    match (status.message(), causes) {
        ("", causes) => causes.unwrap_or_else(|| status.code().to_string()),
        (message, Some(causes)) => format!("{message}: {causes}"),
        (message, None) => message.to_owned(),
    }
}

/// A new idempotency key.
pub(super) fn new_key() -> String {
    format!("by-hand-{}", Uuid::new_v4())
}

/// What a person typed for a field of a request.
fn flag(field: &str, named: &str) -> String {
    let name = field.trim_start_matches("items[0].");
    match name {
        "site_id" => "--site-id (SITE_ID)".to_owned(),
        "location_id" => "--location-id".to_owned(),
        "note" => "--note".to_owned(),
        "request_id" => "--idempotency-key".to_owned(),
        "at_sequence" | "at_time" => "--at".to_owned(),
        "after_sequence" => "--after".to_owned(),
        "order_id" => "ORDER_ID".to_owned(),
        "available" => "LEVEL".to_owned(),
        "delta" => "DELTA".to_owned(),
        // The item as a whole.
        "items[0]" | "sku" => format!("UNIT {named}"),
        name if name.starts_with("catalog_reference") => format!("UNIT {named}"),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_told_as_it_is_typed() {
        let rows = [
            ("site_id", "--site-id (SITE_ID)"),
            ("items[0].delta", "DELTA"),
            ("items[0].location_id", "--location-id"),
            ("items[0].catalog_reference.options", "UNIT app/x"),
            ("catalog_reference.catalog_item_id", "UNIT app/x"),
            ("items[0]", "UNIT app/x"),
            ("at_time", "--at"),
            ("page_size", "page_size"),
        ];
        for (field, typed) in rows {
            assert_eq!(flag(field, "app/x"), typed, "{field}");
        }
    }

    #[test]
    fn only_what_the_service_says_settles_a_call() {
        let of_service = crate::status::not_found(crate::status::UNIT_NOT_FOUND, "no unit");
        assert_eq!((reason_of(&of_service).as_deref(), passes(&of_service)), (Some("UNIT_NOT_FOUND"), false));
        let stopping = crate::status::stopping();
        assert!(passes(&stopping));
        let of_transport = Status::unavailable("connection reset");
        assert_eq!((reason_of(&of_transport), passes(&of_transport)), (None, true));
        assert_eq!(transport(&of_transport), "connection reset");
    }
}
