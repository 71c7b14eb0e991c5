//! Requests, as the core understands them.
//!
//! Every field is checked, and a refusal lists all bad fields by their paths (`fields`). Messages are taken apart by
//! name, without `..`, so a new field of the contract is a compile error here. Nothing here asks the core or the store:
//! whether a unit exists or a level suffices is decided later.

mod availability;
mod fields;
mod kind;
mod ledger;
mod levels;
mod metadata;
mod site;
mod stock;
#[cfg(test)]
mod tests;
mod time;
mod unit;
mod unit_change;

use inventory_core::model::action::Quantity;
use inventory_core::model::command::Reason;
use inventory_core::model::ids::{LocationId, OrderId, SiteId, parse_guid};
use inventory_core::model::limits;
use inventory_core::store::Terms;
use inventory_proto::v1;
use tracing::Span;
use tracing::field::display;
use uuid::Uuid;

pub(crate) use self::availability::{Change, bad_field, change, decrement, increment};
pub(crate) use self::fields::{Checked, Fields};
pub(crate) use self::ledger::{EntryQuery, explain_level, get_order, list_entries, verify_site, watch_entries};
pub(crate) use self::levels::{batch_get_stock, get_stock, list_stock};
pub(crate) use self::metadata::{Caller, caller, deadline, default_deadline};
pub(crate) use self::site::{get_site, list_setting_changes, list_sites, update_site};
pub(crate) use self::stock::{adjust_stock, move_stock, set_stock};
pub(crate) use self::time::{time_in_text, whole_micros};
pub(crate) use self::unit::{get_unit, list_units};
pub(crate) use self::unit_change::{batch_update_units, update_unit};
use crate::violation::At;

/// What is said of a policy's number that this version does not know.
const UNKNOWN_POLICY: &str = "is not a policy of this version";

/// A read of one site.
#[derive(Debug)]
pub(crate) struct Read<T> {
    /// The site.
    pub(crate) site: SiteId,
    /// On what terms it is read.
    pub(crate) terms: Terms,
    /// What is asked.
    pub(crate) query: T,
}

/// The ids by which people search the log, as far as a request has them.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    site: Option<Uuid>,
    order: Option<Uuid>,
    request_id: String,
}

impl Ids {
    /// Reads them from the fields of a request that may be bad.
    pub(crate) fn new(site_id: &str, order_id: &str, request_id: &str) -> Self {
        // A longer one is refused, and would make a long line.
        let end = request_id.char_indices().nth(limits::REQUEST_ID_CHARS_MAX).map_or(request_id.len(), |(end, _)| end);
        Self { site: parse_guid(site_id), order: parse_guid(order_id), request_id: request_id[..end].to_owned() }
    }

    /// Gives them to the current span.
    pub(crate) fn record(&self) {
        self.site.inspect(record_site);
        self.order.inspect(record_order);
        if !self.request_id.is_empty() {
            record_request(&self.request_id);
        }
    }
}

fn record_site(id: &Uuid) {
    Span::current().record("site.id", display(id));
}

fn record_order(id: &Uuid) {
    Span::current().record("order.id", display(id));
}

fn record_request(id: &str) {
    Span::current().record("request.id", id);
}

/// The fields that many messages have. The call's span gets those by which people search the log.
impl Fields {
    /// The site.
    fn site_id(&mut self, text: &str) -> Checked<SiteId> {
        let site = self.guid(At::REQUEST, "site_id", text)?;
        record_site(&site);
        Ok(SiteId::from_uuid(site))
    }

    /// The order.
    fn order_id(&mut self, text: &str) -> Checked<OrderId> {
        let order = self.guid(At::REQUEST, "order_id", text)?;
        record_order(&order);
        Ok(OrderId::from_uuid(order))
    }

    /// A location; `None` if the field is empty.
    pub(crate) fn location(&mut self, at: At, field: &str, text: &str) -> Checked<Option<LocationId>> {
        Ok(self.optional_guid(at, field, text)?.map(LocationId::from_uuid))
    }

    /// The idempotency key. An empty one is replaced by a new one.
    fn request_id(&mut self, text: String) -> Checked<String> {
        match text.is_empty() {
            true => Ok(Uuid::new_v4().to_string()),
            false => {
                let key = self.text(At::REQUEST, "request_id", text, limits::REQUEST_ID_CHARS_MAX)?;
                record_request(&key);
                Ok(key)
            }
        }
    }

    /// The pieces of an item.
    fn quantity(&mut self, at: At, pieces: i64) -> Checked<Quantity> {
        match Quantity::new(pieces) {
            Some(quantity) => Ok(quantity),
            None => self.bad(at, "quantity", format_args!("must be 1 to {}", limits::QUANTITY_MAX)),
        }
    }

    /// Joins a read's site, sequence number and query.
    fn read<T>(&mut self, site: Checked<SiteId>, at_least_sequence: i64, query: Checked<T>) -> Checked<Read<T>> {
        let at_least_sequence = self.not_negative(At::REQUEST, "at_least_sequence", at_least_sequence);
        let terms = Terms { at_least_sequence: at_least_sequence?, ..Terms::default() };
        Ok(Read { site: site?, terms, query: query? })
    }
}

/// A reason. A number of a later version is read as none, because it must not stop a change of stock.
fn reason(number: i32) -> Reason {
    match v1::Reason::try_from(number).unwrap_or_default() {
        v1::Reason::Unspecified => Reason::Unspecified,
        v1::Reason::OrderPlaced => Reason::OrderPlaced,
        v1::Reason::OrderPaid => Reason::OrderPaid,
        v1::Reason::OrderEdited => Reason::OrderEdited,
        v1::Reason::OrderCanceled => Reason::OrderCanceled,
        v1::Reason::OrderRefunded => Reason::OrderRefunded,
        v1::Reason::OrderRejected => Reason::OrderRejected,
        v1::Reason::Received => Reason::Received,
        v1::Reason::Damaged => Reason::Damaged,
        v1::Reason::Lost => Reason::Lost,
        v1::Reason::Found => Reason::Found,
        v1::Reason::Correction => Reason::Correction,
        v1::Reason::Returned => Reason::Returned,
        v1::Reason::Theft => Reason::Theft,
        v1::Reason::Transfer => Reason::Transfer,
    }
}
