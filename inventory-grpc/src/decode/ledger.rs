//! The requests of `LedgerService`.

use inventory_core::model::action::Kind;
use inventory_core::model::ids::{LocationId, OrderId, SiteId};
use inventory_core::model::unit::UnitSelector;
use inventory_core::reports::explain;
use inventory_core::store::EntryFilter;
use inventory_proto::v1;
use tonic::Status;

use crate::decode::Read;
use crate::decode::fields::{Checked, Fields};
use crate::page::{FOREIGN, Page};
use crate::violation::At;

/// Lines of an order's page if the caller names no size. Most orders have one page.
const ORDER_LINES_DEFAULT: i32 = 1_000;

/// Which entries are asked for.
#[derive(Debug)]
pub(crate) struct EntryQuery {
    /// What the entries are filtered by, but for the times and the page.
    pub(crate) filter: EntryFilter,
    /// Only entries recorded at this time or later: microseconds since 1970.
    pub(crate) start: Option<i64>,
    /// Only entries recorded before this time: microseconds since 1970.
    pub(crate) end: Option<i64>,
}

/// Asks for a page of entries.
pub(crate) fn list_entries(request: v1::ListEntriesRequest) -> Result<Read<(EntryQuery, Page<i64>)>, Status> {
    let v1::ListEntriesRequest {
        site_id,
        order_id,
        unit,
        after_sequence,
        up_to_sequence,
        page_size,
        page_token,
        location_id,
        kind: kind_number,
        start_time,
        end_time,
        newest_first,
        at_least_sequence,
    } = request;
    let mut fields = Fields::default();
    let site = fields.site_id(&site_id);
    let order = fields.optional_guid(At::REQUEST, "order_id", &order_id);
    let unit = fields.optional_unit(At::REQUEST, unit);
    let after_sequence = fields.not_negative(At::REQUEST, "after_sequence", after_sequence);
    let up_to_sequence = fields.not_negative(At::REQUEST, "up_to_sequence", up_to_sequence);
    let location = fields.location(At::REQUEST, "location_id", &location_id);
    let kind = kind(&mut fields, kind_number);
    let start = fields.time("start_time", start_time);
    let end = fields.time("end_time", end_time);
    let query = || -> Checked<EntryQuery> {
        let filter = EntryFilter {
            order: order?.map(OrderId::from_uuid),
            unit: unit?,
            at: location?.map(Some),
            kind: kind?,
            after_sequence: after_sequence?,
            up_to_sequence: Some(up_to_sequence?).filter(|sequence| *sequence > 0),
            newest_first,
        };
        Ok(EntryQuery { filter, start: start?, end: end? })
    };
    let query = query();
    let text = match (&site, &query) {
        (Ok(site), Ok(query)) => Ok(format!("entries of {site} {query:?}")),
        (Err(recorded), _) | (_, Err(recorded)) => Err(*recorded),
    };
    let page = Page::decode(&mut fields, text, page_size, &page_token);
    let asked = query.and_then(|query| Ok((query, page?)));
    let read = fields.read(site, at_least_sequence, asked);
    fields.finish(read)
}

/// Asks for an order, and for a page of its lines. The page starts after so many lines.
pub(crate) fn get_order(request: v1::GetOrderRequest) -> Result<Read<(OrderId, Page<i64>)>, Status> {
    let v1::GetOrderRequest { site_id, order_id, at_least_sequence, page_size, page_token } = request;
    let mut fields = Fields::default();
    let site = fields.site_id(&site_id);
    let order = fields.order_id(&order_id);
    let text = match (&site, &order) {
        (Ok(site), Ok(order)) => Ok(format!("order {order} of {site}")),
        (Err(recorded), _) | (_, Err(recorded)) => Err(*recorded),
    };
    let rows = if page_size == 0 { ORDER_LINES_DEFAULT } else { page_size };
    let page = Page::decode(&mut fields, text, rows, &page_token);
    let page = page.and_then(|page: Page<i64>| match page.after {
        Some(skipped) if skipped <= 0 => fields.bad(At::REQUEST, "page_token", FOREIGN),
        Some(_) | None => Ok(page),
    });
    let asked = order.and_then(|order| Ok((order, page?)));
    let read = fields.read(site, at_least_sequence, asked);
    fields.finish(read)
}

/// Asks why a level is what it is.
pub(crate) fn explain_level(
    request: v1::ExplainLevelRequest,
) -> Result<Read<(UnitSelector, Option<LocationId>, explain::At)>, Status> {
    let v1::ExplainLevelRequest { site_id, unit, location_id, at_sequence, at_time, at_least_sequence } = request;
    let mut fields = Fields::default();
    let site = fields.site_id(&site_id);
    let unit = fields.unit(At::REQUEST, unit);
    let location = fields.location(At::REQUEST, "location_id", &location_id);
    let sequence = fields.not_negative(At::REQUEST, "at_sequence", at_sequence);
    let time = fields.time("at_time", at_time);
    let asked = || {
        let when = match (sequence?, time?) {
            (0, None) => explain::At::Now,
            (0, Some(time)) => explain::At::Time(time),
            (sequence, _) => explain::At::Sequence(sequence),
        };
        Ok((unit?, location?, when))
    };
    let read = fields.read(site, at_least_sequence, asked());
    fields.finish(read)
}

/// Asks to follow a site's ledger after a sequence number.
pub(crate) fn watch_entries(request: v1::WatchEntriesRequest) -> Result<(SiteId, i64), Status> {
    let v1::WatchEntriesRequest { site_id, after_sequence } = request;
    let mut fields = Fields::default();
    let site = fields.site_id(&site_id);
    let after_sequence = fields.not_negative(At::REQUEST, "after_sequence", after_sequence);
    let decoded = site.and_then(|site| Ok((site, after_sequence?)));
    fields.finish(decoded)
}

/// Asks to verify a site, and whether to repair it.
pub(crate) fn verify_site(request: v1::VerifySiteRequest) -> Result<(SiteId, bool), Status> {
    let v1::VerifySiteRequest { site_id, repair } = request;
    let mut fields = Fields::default();
    let site = fields.site_id(&site_id);
    fields.finish(site.map(|site| (site, repair)))
}

fn kind(fields: &mut Fields, number: i32) -> Checked<Option<Kind>> {
    match v1::Kind::try_from(number) {
        Ok(v1::Kind::Unspecified) => Ok(None),
        Ok(v1::Kind::Decrement) => Ok(Some(Kind::Decrement)),
        Ok(v1::Kind::Increment) => Ok(Some(Kind::Increment)),
        Ok(v1::Kind::Set) => Ok(Some(Kind::Set)),
        Ok(v1::Kind::Adjust) => Ok(Some(Kind::Adjust)),
        Ok(v1::Kind::Move) => Ok(Some(Kind::Move)),
        Ok(v1::Kind::Repair) => Ok(Some(Kind::Repair)),
        Err(_) => fields.bad(At::REQUEST, "kind", "is not a kind of this version"),
    }
}
