//! `LedgerService`.

use inventory_core::engine::Engine;
use inventory_core::explain::Explanation;
use inventory_core::journal;
use inventory_core::limits;
use inventory_core::store::{EntryFilter, EntryPage, Store};
use inventory_proto::v1;
use inventory_proto::v1::ledger_service_server::LedgerService;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::services::reached;
use crate::services::stream::{Messages, stream};
use crate::services::verify::verify;
use crate::services::watch::watch;
use crate::status::{self, of_error_of_one as of_error};
use crate::{decode, encode, page};

/// Tells what happened.
pub struct Ledger {
    /// What is read.
    pub store: Store,
    /// What repairs.
    pub engine: Engine,
    /// Cancelled when the server stops: what would go on for ever ends then.
    pub stopping: CancellationToken,
}

/// Entries that ExplainLevel adds up, lists, and orders that it lists.
const EXPLAINED_MAX: i64 = 10_000;
const EXPLAINED_ENTRIES: usize = 20;
const EXPLAINED_ORDERS: usize = 100;

#[tonic::async_trait]
impl LedgerService for Ledger {
    type WatchEntriesStream = Messages<v1::WatchEntriesResponse>;
    type VerifySiteStream = Messages<v1::VerifySiteResponse>;

    async fn watch_entries(
        &self,
        request: Request<v1::WatchEntriesRequest>,
    ) -> Result<Response<Self::WatchEntriesStream>, Status> {
        let v1::WatchEntriesRequest { site_id, after_sequence } = request.into_inner();
        let site = decode::site_id_of(&site_id)?;
        decode::not_negative(after_sequence, "after_sequence")?;
        let (store, stopping) = (self.store.clone(), self.stopping.clone());
        Ok(Response::new(stream(|to| watch(store, site, after_sequence, stopping, to))))
    }

    async fn verify_site(
        &self,
        request: Request<v1::VerifySiteRequest>,
    ) -> Result<Response<Self::VerifySiteStream>, Status> {
        let (metadata, _, v1::VerifySiteRequest { site_id, repair }) = request.into_parts();
        let site = decode::site_id_of(&site_id)?;
        let repair_as = repair.then(|| decode::actor(&metadata)).transpose()?;
        let (store, engine) = (self.store.clone(), self.engine.clone());
        Ok(Response::new(stream(|to| verify(store, engine, site, repair_as, to))))
    }

    async fn explain_level(
        &self,
        request: Request<v1::ExplainLevelRequest>,
    ) -> Result<Response<v1::ExplainLevelResponse>, Status> {
        let v1::ExplainLevelRequest {
            site_id,
            catalog_reference,
            location_id,
            at_sequence,
            at_time,
            sku,
            at_least_sequence,
        } = request.into_inner();
        let site = decode::site_id_of(&site_id)?;
        let (unit, location) = decode::named_place(catalog_reference, sku, &location_id, String::new)?;
        decode::not_negative(at_sequence, "at_sequence")?;
        let at_time = decode::optional_time(at_time, "at_time")?;
        reached(&self.store, site, at_least_sequence).await?;
        let mut up_to_sequence = (at_sequence > 0).then_some(at_sequence);
        if let (None, Some(time)) = (up_to_sequence, at_time) {
            let just_after = time.saturating_add(1);
            up_to_sequence = Some(self.store.sequence_before(site, just_after).await.map_err(of_error)?);
        }
        let (mut explanation, mut entries) = (Explanation::default(), Vec::new());
        let mut left = EXPLAINED_MAX;
        while left > 0 {
            let filter = EntryFilter {
                unit: Some(unit.clone()),
                at: Some(location),
                up_to_sequence,
                newest_first: true,
                ..EntryFilter::default()
            };
            let page =
                self.store.list_entries(site, filter, left.min(limits::PAGE_ROWS_MAX)).await.map_err(of_error)?;
            for entry in page.entries {
                explanation.add(&entry);
                left -= 1;
                if entries.len() < EXPLAINED_ENTRIES {
                    entries.push(encode::entry(entry));
                }
            }
            match page.looked_to {
                Some(sequence) => up_to_sequence = Some(sequence - 1),
                None => break,
            }
        }
        Ok(Response::new(encode::explained(explanation.finish(), entries, EXPLAINED_ORDERS)))
    }

    async fn list_entries(
        &self,
        request: Request<v1::ListEntriesRequest>,
    ) -> Result<Response<v1::ListEntriesResponse>, Status> {
        let v1::ListEntriesRequest {
            site_id,
            order_id,
            catalog_reference,
            after_sequence,
            up_to_sequence,
            page_size,
            page_token,
            location_id,
            kind,
            start_time,
            end_time,
            newest_first,
            at_least_sequence,
            sku,
        } = request.into_inner();
        let site = decode::site_id_of(&site_id)?;
        let order = decode::optional_order_id_of(&order_id)?;
        let unit = decode::optional_unit_name(catalog_reference, sku)?;
        decode::not_negative(after_sequence, "after_sequence")?;
        decode::not_negative(up_to_sequence, "up_to_sequence")?;
        let size = page::size(page_size)?;
        let location = decode::optional_location_id_of(&location_id)?;
        let kind = decode::optional_kind(kind)?;
        let start = decode::optional_time(start_time, "start_time")?;
        let end = decode::optional_time(end_time, "end_time")?;
        let query = format!(
            "entries of {site} {order:?} {unit:?} {location:?} {kind:?} {after_sequence} {up_to_sequence} {start:?} \
             {end:?} {newest_first}"
        );
        let cursor = page::cursor::<i64>(&query, &page_token)?;
        reached(&self.store, site, at_least_sequence).await?;
        let mut after_sequence = after_sequence;
        let mut up_to_sequence = (up_to_sequence > 0).then_some(up_to_sequence);
        if let Some(start) = start {
            after_sequence = after_sequence.max(self.store.sequence_before(site, start).await.map_err(of_error)?);
        }
        if let Some(end) = end {
            let last = self.store.sequence_before(site, end).await.map_err(of_error)?;
            up_to_sequence = Some(up_to_sequence.map_or(last, |asked| asked.min(last)));
        }
        match cursor {
            Some(looked_to) if newest_first => up_to_sequence = Some(looked_to.saturating_sub(1)),
            Some(looked_to) => after_sequence = looked_to,
            None => {}
        }
        let at = location.map(Some);
        let filter = EntryFilter { order, unit, at, kind, after_sequence, up_to_sequence, newest_first };
        let EntryPage { entries, looked_to } = self.store.list_entries(site, filter, size).await.map_err(of_error)?;
        let next_page_token = looked_to.map(|sequence| page::token(&query, &sequence)).unwrap_or_default();
        let entries = entries.into_iter().map(encode::entry).collect();
        Ok(Response::new(v1::ListEntriesResponse { entries, next_page_token }))
    }

    async fn get_order(&self, request: Request<v1::GetOrderRequest>) -> Result<Response<v1::GetOrderResponse>, Status> {
        let v1::GetOrderRequest { site_id, order_id, at_least_sequence } = request.into_inner();
        let site = decode::site_id_of(&site_id)?;
        let order = decode::order_id_of(&order_id)?;
        reached(&self.store, site, at_least_sequence).await?;
        let (mut entries, mut lines) = (Vec::new(), journal::Journal::default());
        let mut after_sequence = 0;
        loop {
            let filter = EntryFilter { order: Some(order), after_sequence, ..EntryFilter::default() };
            let page = self.store.list_entries(site, filter, limits::PAGE_ROWS_MAX).await.map_err(of_error)?;
            let EntryPage { entries: page, looked_to } = page;
            page.iter().for_each(|entry| lines.add(entry));
            if entries.is_empty() {
                entries = page;
            }
            match looked_to {
                Some(sequence) => after_sequence = sequence,
                None => break,
            }
        }
        let calls = self.store.order_calls(site, order).await.map_err(of_error)?;
        if calls.is_empty() {
            return Err(status::not_found("ORDER_NOT_FOUND", "nothing is known of this order"));
        }
        let lines = lines.into_lines().into_iter().map(encode::order_line).collect();
        let entries = entries.into_iter().map(encode::entry).collect();
        Ok(Response::new(v1::GetOrderResponse { lines, entries, calls: encode::calls(calls) }))
    }
}
