//! The operator's commands.
//!
//! They use the public contract, as any client could: against a running server, or against one that they start for
//! themselves on a database. They have no other way to the stock.

pub mod export;
pub mod import;
mod output;
mod rows;
pub mod verify;

use std::error::Error;
use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use inventory_core::store::Store;
use inventory_proto::ACTOR_METADATA;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::site_service_client::SiteServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::config::Upstream;
use crate::server::{self, Options, ServeError};

/// The actor of a command's changes in the ledger.
const ACTOR: &str = "inventory-grpc";
/// Bytes of an answer: a page of 1,000 entries with the longest options.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A connection to the server that a command asks.
struct Connection {
    channel: Channel,
    /// The server that the command started for itself.
    own: Option<(CancellationToken, JoinHandle<Result<(), ServeError>>)>,
}

impl Connection {
    async fn open(upstream: &Upstream) -> Result<Self, Box<dyn Error>> {
        let Upstream { grpc_upstream, database_url, site_id: _ } = upstream;
        let Some(url) = database_url.clone() else {
            let address = grpc_upstream.strip_prefix("http://").unwrap_or(grpc_upstream);
            let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| {
                format!("--grpc-upstream (GRPC_UPSTREAM): {grpc_upstream:?} must be HOST:PORT or http://HOST:PORT")
            })?;
            let absent = |_| format!("no server answers at {grpc_upstream}; start it, or pass --database-url");
            return Ok(Self { channel: endpoint.connect().await.map_err(absent)?, own: None });
        };
        let store = tokio::task::spawn_blocking(|| Store::open(url)).await??;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = Endpoint::from_shared(format!("http://{}", listener.local_addr()?))?;
        let stop = CancellationToken::new();
        // How long outcomes are kept is a setting of the servers. The command does not know it, so it keeps them all.
        let served = tokio::spawn(server::serve(listener, store, Options::default(), stop.clone().cancelled_owned()));
        Ok(Self { channel: endpoint.connect().await?, own: Some((stop, served)) })
    }

    fn stock(&self) -> StockServiceClient<Channel> {
        StockServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    fn sites(&self) -> SiteServiceClient<Channel> {
        SiteServiceClient::new(self.channel.clone())
    }

    fn ledger(&self) -> LedgerServiceClient<Channel> {
        LedgerServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Waits until the command's own server has finished everything.
    async fn close(self) -> Result<(), Box<dyn Error>> {
        drop(self.channel);
        if let Some((stop, served)) = self.own {
            stop.cancel();
            served.await??;
        }
        Ok(())
    }
}

/// A request that names the caller.
fn signed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(ACTOR_METADATA, MetadataValue::from_static(ACTOR));
    request
}

/// A server's error as a sentence for a person.
fn sentence(status: Status) -> Box<dyn Error> {
    status.message().into()
}

/// A progress bar on a terminal; elsewhere nothing is shown.
fn progress(length: u64, work: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos} of {human_len}, {eta} left");
    let bar = ProgressBar::new(length).with_message(work.to_owned());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
