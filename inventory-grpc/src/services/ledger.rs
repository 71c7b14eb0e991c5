//! `LedgerService`.

use inventory_core::journal;
use inventory_core::limits;
use inventory_core::store::{EntryFilter, Store};
use inventory_proto::v1;
use inventory_proto::v1::ledger_service_server::LedgerService;
use tonic::{Request, Response, Status};

use crate::{decode, encode, page, status};

/// Tells what happened.
pub struct Ledger {
    /// What is read.
    pub store: Store,
}

#[tonic::async_trait]
impl LedgerService for Ledger {
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
        } = request.into_inner();
        let site = decode::site_id_of(&site_id)?;
        let order = decode::optional_order_id_of(&order_id)?;
        let unit = match catalog_reference {
            None => None,
            reference => Some(decode::catalog_reference(reference, String::new)?),
        };
        for (field, value) in [("after_sequence", after_sequence), ("up_to_sequence", up_to_sequence)] {
            if value < 0 {
                return Err(status::invalid(field, "must not be negative"));
            }
        }
        let size = page::size(page_size)?;
        let query = format!("entries of {site} {order:?} {unit:?} {after_sequence} {up_to_sequence}");
        let after = page::cursor::<i64>(&query, &page_token)?.unwrap_or(after_sequence);
        let filter = EntryFilter {
            order,
            unit,
            after_sequence: after,
            up_to_sequence: (up_to_sequence > 0).then_some(up_to_sequence),
        };
        let mut entries = self.store.list_entries(site, filter, size + 1).await.map_err(of_error)?;
        let last = page::cut(&mut entries, size);
        let next_page_token = last.map(|entry| page::token(&query, &entry.sequence)).unwrap_or_default();
        let entries = entries.into_iter().map(encode::entry).collect();
        Ok(Response::new(v1::ListEntriesResponse { entries, next_page_token }))
    }

    async fn get_order(&self, request: Request<v1::GetOrderRequest>) -> Result<Response<v1::GetOrderResponse>, Status> {
        let v1::GetOrderRequest { site_id, order_id } = request.into_inner();
        let site = decode::site_id_of(&site_id)?;
        let order = decode::order_id_of(&order_id)?;
        let (mut entries, mut lines) = (Vec::new(), journal::Journal::default());
        let mut after_sequence = 0;
        loop {
            let filter = EntryFilter { order: Some(order), after_sequence, ..EntryFilter::default() };
            let page = self.store.list_entries(site, filter, limits::PAGE_ROWS_MAX).await.map_err(of_error)?;
            let Some(last) = page.last() else { break };
            after_sequence = last.sequence;
            page.iter().for_each(|entry| lines.add(entry));
            if entries.is_empty() {
                entries = page;
            }
        }
        if entries.is_empty() {
            return Err(status::not_found("ORDER_NOT_FOUND", "the ledger has no entry of this order"));
        }
        let lines = lines.into_lines().into_iter().map(encode::order_line).collect();
        let entries = entries.into_iter().map(encode::entry).collect();
        Ok(Response::new(v1::GetOrderResponse { lines, entries }))
    }
}

fn of_error(error: inventory_core::error::Error) -> Status {
    status::of_error_at(error, |_| "catalog_reference.options".into())
}
