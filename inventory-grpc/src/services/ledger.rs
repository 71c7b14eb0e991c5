//! `LedgerService`: reads the ledger, and proves it.

use inventory_core::engine::Engine;
use inventory_core::model::access::Scope;
use inventory_core::reports::{explain, journal};
use inventory_core::store::{SiteRead, Store};
use inventory_program::listen::CallerInfo;
use inventory_proto::v1;
use inventory_proto::v1::ledger_service_server::LedgerService;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::stream::{Messages, stream};
use super::verify::{Verifications, verify};
use super::watch::Commits;
use super::{Call, call, read_large};
use crate::decode::{self, Caller, EntryQuery, Read};
use crate::encode;
use crate::large::LargeAnswers;
use crate::page::fit;
use crate::status::{self, Paths, of_error, of_failed};

/// The service.
pub(crate) struct Ledger {
    /// Reads.
    pub(crate) store: Store,
    /// Bounds the large answers.
    pub(crate) answers: LargeAnswers,
    /// Repairs.
    pub(crate) engine: Engine,
    /// Wakes those who watch a ledger.
    pub(crate) commits: Commits,
    /// Bounds the verifications.
    pub(crate) verifications: Verifications,
    /// Cancelled when the server stops. Ends the calls that would never end by themselves.
    pub(crate) stopping: CancellationToken,
}

#[tonic::async_trait]
impl LedgerService for Ledger {
    type WatchEntriesStream = Messages<v1::WatchEntriesResponse>;
    type VerifySiteStream = Messages<v1::VerifySiteResponse>;

    async fn list_entries(
        &self,
        request: Request<v1::ListEntriesRequest>,
    ) -> Result<Response<v1::ListEntriesResponse>, Status> {
        let (place, asked) = read_large(&self.answers, request, decode::list_entries).await?;
        let Read { site, terms, query: (query, page) } = asked;
        let (last_seen, rows) = (page.after, page.rows);
        let found = self.store.read_page(site, terms, move |snapshot| {
            let EntryQuery { mut filter, start, end } = query;
            if let Some(start) = start {
                filter.after_sequence = filter.after_sequence.max(snapshot.sequence_before(start)?);
            }
            if let Some(end) = end {
                let last = snapshot.sequence_before(end)?;
                filter.up_to_sequence = Some(filter.up_to_sequence.map_or(last, |asked| asked.min(last)));
            }
            match last_seen {
                Some(sequence) if filter.newest_first => filter.up_to_sequence = Some(sequence.saturating_sub(1)),
                Some(sequence) => filter.after_sequence = sequence,
                None => {}
            }
            Ok((snapshot.cut()?.sequence, snapshot.list_entries(&filter, rows)?))
        });
        let SiteRead { site, value: (archived_sequence, found), .. } =
            found.await.map_err(|error| of_error(error, Paths::REQUEST))?;
        let default = site.settings.default_location;
        let (entries, next) = fit(found, |entry| entry.sequence, |entry| encode::entry(entry, default));
        let next_page_token = page.next_token(next);
        Ok(place.answer(v1::ListEntriesResponse { entries, next_page_token, archived_sequence }))
    }

    async fn get_order(&self, request: Request<v1::GetOrderRequest>) -> Result<Response<v1::GetOrderResponse>, Status> {
        let (place, asked) = read_large(&self.answers, request, decode::get_order).await?;
        let Read { site, terms, query: (order, page) } = asked;
        let found = self.store.read_page(site, terms, move |snapshot| journal::order_journal(snapshot, order)).await;
        let SiteRead { site, value, .. } = found.map_err(|error| of_error(error, Paths::REQUEST))?;
        match value {
            Some(journal) => {
                let (skipped, rows) = (page.after.unwrap_or_default(), page.rows);
                let (answer, next) = encode::order(journal, site.settings.default_location, skipped, rows);
                Ok(place.answer(v1::GetOrderResponse { next_page_token: page.next_token(next), ..answer }))
            }
            None => Err(status::not_found("ORDER_NOT_FOUND", "nothing is recorded for this order")),
        }
    }

    async fn explain_level(
        &self,
        request: Request<v1::ExplainLevelRequest>,
    ) -> Result<Response<v1::ExplainLevelResponse>, Status> {
        let (place, asked) = read_large(&self.answers, request, decode::explain_level).await?;
        let Read { site, terms, query } = asked;
        let (unit, location, at) = query;
        let found = self.store.read_page(site, terms, move |snapshot| explain::explain(snapshot, &unit, location, at));
        let SiteRead { site, value, .. } = found.await.map_err(|error| of_error(error, Paths::REQUEST))?;
        Ok(place.answer(encode::explained(value, site.settings.default_location)))
    }

    async fn watch_entries(
        &self,
        request: Request<v1::WatchEntriesRequest>,
    ) -> Result<Response<Self::WatchEntriesStream>, Status> {
        let caller = request.extensions().get::<CallerInfo>().cloned();
        let (Call { access, metadata: _, held: _ }, message) = call(request)?;
        let (site, after_sequence) = decode::watch_entries(message)?;
        // Registered before the first read, so that no commit is missed in between.
        let watched = self.commits.watch(site).map_err(of_failed)?;
        let (store, stopping) = (self.store.clone(), self.stopping.clone());
        // The stream outlives neither the caller's right to it nor the server.
        let follow = async move |reader| {
            tokio::select! {
                ended = watched.follow(store, after_sequence, reader) => ended,
                refused = access.ended() => Err(refused),
                () = stopping.cancelled() => Err(status::stopping()),
            }
        };
        Ok(Response::new(stream(caller, "watched entries", follow)))
    }

    async fn verify_site(
        &self,
        request: Request<v1::VerifySiteRequest>,
    ) -> Result<Response<Self::VerifySiteStream>, Status> {
        let caller = request.extensions().get::<CallerInfo>().cloned();
        let (call, message) = call(request)?;
        let Caller { author, deadline: _, detail_bytes: _ } = decode::caller(&call.metadata, &call.access)?;
        let (site, repair) = decode::verify_site(message)?;
        if repair {
            call.access.check_scope(Scope::StockWrite)?;
            call.access.check_scope(Scope::Admin)?;
        }
        let place = self.verifications.place()?;
        let (store, engine) = (self.store.clone(), self.engine.clone());
        let repair_as = repair.then_some(author);
        let work = async move |reader| {
            // Free again when the task ends. That is at once if the caller leaves.
            let _place = place;
            verify(store, engine, site, repair_as, reader).await
        };
        Ok(Response::new(stream(caller, "a verification", work)))
    }
}
