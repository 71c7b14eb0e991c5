//! What the ledger says, asked over gRPC as any other caller would.
//!
//! A scenario goes on without it. The error of every function here is a sentence that says why it cannot be asked.

use std::time::Duration;

use inventory_program::with_causes;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_proto::{Bearer, v1};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::Asked;
use crate::client;

/// Time for one question.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// Entries that are read after a scenario. No scenario makes more.
const ENTRIES_MAX: i32 = 1_000;

/// The ledger of one site, seen from one catalog.
pub(super) struct Ledger {
    channel: Channel,
    bearer: Bearer,
    address: String,
    site_id: String,
    catalog_app_id: String,
}

impl Ledger {
    /// Connects to the server.
    pub(super) async fn open(asked: &Asked, site_id: &str, catalog_app_id: &str) -> Result<Self, String> {
        let bearer =
            asked.token_file.as_deref().map(|file| Bearer::read("--token-file (TOKEN_FILE)", file)).transpose();
        let bearer = bearer.map_err(|error| with_causes(&error))?.unwrap_or(Bearer::NONE);
        let address = asked.server.grpc_upstream.uri().to_string();
        let channel = asked.server.connect(client::settings).await;
        let channel = channel.map_err(|error| format!("{}; name it with --grpc-upstream", with_causes(&error)))?;
        let (site_id, catalog_app_id) = (site_id.to_owned(), catalog_app_id.to_owned());
        Ok(Self { channel, bearer, address, site_id, catalog_app_id })
    }

    /// The level of an item at the default location.
    pub(super) async fn level(&self, item: &str) -> Result<i64, String> {
        let unit = Some(self.reference(item).into());
        let request = v1::GetStockRequest { site_id: self.site_id.clone(), unit, ..Default::default() };
        let mut client = StockServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone());
        let answer = client.get_stock(timed(request)).await.map_err(|status| self.sentence(&status))?;
        Ok(answer.into_inner().stock.unwrap_or_default().available)
    }

    /// The sequence number of the last entry of an item; 0 if it has none.
    pub(super) async fn last_sequence(&self, item: &str) -> Result<i64, String> {
        let query = v1::ListEntriesRequest { newest_first: true, page_size: 1, ..Default::default() };
        let entries = self.list(item, query).await?;
        Ok(entries.first().map_or(0, |entry| entry.sequence))
    }

    /// The entries of an item after a sequence number, oldest first.
    pub(super) async fn entries_after(&self, item: &str, sequence: i64) -> Result<Vec<v1::Entry>, String> {
        let query = v1::ListEntriesRequest { after_sequence: sequence, page_size: ENTRIES_MAX, ..Default::default() };
        self.list(item, query).await
    }

    async fn list(&self, item: &str, query: v1::ListEntriesRequest) -> Result<Vec<v1::Entry>, String> {
        let unit = Some(self.reference(item).into());
        let query = v1::ListEntriesRequest { site_id: self.site_id.clone(), unit, ..query };
        let mut client: LedgerServiceClient<InterceptedService<Channel, Bearer>> =
            LedgerServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone());
        let answer = client.list_entries(timed(query)).await.map_err(|status| self.sentence(&status))?;
        Ok(answer.into_inner().entries)
    }

    fn reference(&self, item: &str) -> v1::CatalogReference {
        let (app_id, catalog_item_id) = (self.catalog_app_id.clone(), item.to_owned());
        v1::CatalogReference { app_id, catalog_item_id, ..Default::default() }
    }

    fn sentence(&self, status: &Status) -> String {
        let why = match status.code() {
            Code::Unauthenticated => "it wants a token: --token-file (TOKEN_FILE)".to_owned(),
            Code::PermissionDenied => "the token of --token-file has no scope stock:read for this site".to_owned(),
            code => format!("{code:?}: {}", status.message()),
        };
        format!("the server at {} does not answer: {why}", self.address)
    }
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER_TIME_MAX);
    request
}
