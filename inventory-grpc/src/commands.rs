//! The operator's commands. They speak gRPC as anybody could: to a running server, or to one that
//! they start for themselves on a database.

pub mod export;
pub mod import;
mod rows;
pub mod verify;

use std::error::Error;
use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use inventory_core::store::Store;
use inventory_proto::ACTOR_METADATA;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};

use crate::config::{self, Upstream};
use crate::server::{self, ServeError};

/// What a command's changes are signed with in the ledger.
const ACTOR: &str = "inventory-grpc";
/// Bytes of an answer: a page of 1,000 entries with the longest options.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A connection to the server that a command asks.
struct Connection {
    channel: Channel,
    /// The command's own server, where it has one.
    own: Option<(CancellationToken, JoinHandle<Result<(), ServeError>>)>,
}

impl Connection {
    async fn open(upstream: &Upstream) -> Result<Self, Box<dyn Error>> {
        let Upstream { grpc_upstream, database_url, site_id: _ } = upstream;
        let Some(url) = database_url.clone() else {
            let endpoint = Endpoint::from_shared(format!("http://{grpc_upstream}"))?;
            let away = |_| format!("no server answers at {grpc_upstream}; start it, or name a --database-url");
            return Ok(Self { channel: endpoint.connect().await.map_err(away)?, own: None });
        };
        let store = tokio::task::spawn_blocking(|| Store::open(url)).await??;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = Endpoint::from_shared(format!("http://{}", listener.local_addr()?))?;
        let stop = CancellationToken::new();
        let retention = config::retention(config::REQUEST_RETENTION_DAYS);
        let served = tokio::spawn(server::serve(listener, store, retention, stop.clone().cancelled_owned()));
        Ok(Self { channel: endpoint.connect().await?, own: Some((stop, served)) })
    }

    /// Finishes what is under way.
    async fn close(self) -> Result<(), Box<dyn Error>> {
        drop(self.channel);
        if let Some((stop, served)) = self.own {
            stop.cancel();
            served.await??;
        }
        Ok(())
    }
}

/// A request that says who asks.
fn signed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(ACTOR_METADATA, MetadataValue::from_static(ACTOR));
    request
}

/// A bar on a terminal, and nothing elsewhere.
fn progress(length: u64, what: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos} of {human_len}, {eta} left");
    let bar = ProgressBar::new(length).with_message(what.to_owned());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
