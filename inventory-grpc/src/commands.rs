//! The operator's commands.
//!
//! They use the public contract, as any client could: against a running server, or against one that they start for
//! themselves on a database. They have no other way to the stock. Some work on the database itself: `token`, `ledger
//! archive` and `site delete`, because no caller may change tokens or remove entries; `backup` and `copy`, because they
//! take all rows as they are. `stock`, `why`, `order` and `watch` are for people, and ask a running server only.

pub mod archive;
pub mod backup;
pub mod copy;
pub mod export;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
pub mod health;
pub mod import;
mod json;
mod names;
pub mod order;
mod output;
mod page;
mod print;
mod proof;
mod rows;
mod session;
pub mod site;
pub mod stock;
pub mod token;
pub mod verify;
pub mod watch;
pub mod why;

use std::error::Error;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use inventory_core::store::{Open, Store};
use inventory_program::tls::BadUpstream;
use inventory_program::{Unsettled, with_causes};
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::site_service_client::SiteServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_proto::{ACTOR_METADATA, Bearer, v1};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::access::OwnToken;
use crate::config::{Remote, Upstream};
use crate::server::{self, Options, ServeError};

/// The actor of a command's changes in the ledger.
const ACTOR: &str = "inventory-grpc";
/// Time for a new connection to a running server.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of an answer. `BatchGetStock`, the writes of an import and the result of `VerifySite` have up to 1,000 levels
/// or units, perhaps with the longest options. Pages have at most 1 MiB.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A connection that sends the command's token.
type Caller = InterceptedService<Channel, Bearer>;

/// A connection to the server that a command asks.
struct Connection {
    channel: Channel,
    bearer: Bearer,
    /// The server that the command started for itself.
    own: Option<(CancellationToken, JoinHandle<Result<(), ServeError>>)>,
}

impl Connection {
    /// Connects to the running server. `Unsettled` if it does not answer.
    async fn to(remote: &Remote) -> Result<Self, Box<dyn Error>> {
        let Remote { server, token_file, site_id: _ } = remote;
        let bearer = token_file.as_deref().map(|file| Bearer::read("--token-file (TOKEN_FILE)", file)).transpose()?;
        let bearer = bearer.unwrap_or_default();
        let channel = server.connect(|endpoint| endpoint.connect_timeout(CONNECT_TIME_MAX)).await;
        match channel {
            Ok(channel) => Ok(Self { channel, bearer, own: None }),
            Err(error @ BadUpstream::NoAnswer { .. }) => Err(Unsettled(with_causes(&error)).into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Connects to the running server, or to one of its own on the command's database, which is opened as `how` says.
    async fn open(upstream: &Upstream, how: Open) -> Result<Self, Box<dyn Error>> {
        let Upstream { remote, database_url } = upstream;
        let Some(url) = database_url.clone() else { return Self::to(remote).await };
        let store = tokio::task::spawn_blocking(move || Store::open(url, how)).await??;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = Endpoint::from_shared(format!("http://{}", listener.local_addr()?))?;
        let stop = CancellationToken::new();
        // How long outcomes are kept is a setting of the servers. The command does not know it, so it keeps them all.
        let token = OwnToken::new(ACTOR)?;
        let bearer = Bearer::new(token.text())?;
        let options = Options { serves_others: false, own_token: Some(token), ..Options::default() };
        let served = tokio::spawn(server::serve(listener, store, options, stop.clone()));
        Ok(Self { channel: endpoint.connect().await?, bearer, own: Some((stop, served)) })
    }

    fn stock(&self) -> StockServiceClient<Caller> {
        StockServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    fn sites(&self) -> SiteServiceClient<Caller> {
        SiteServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    fn ledger(&self) -> LedgerServiceClient<Caller> {
        LedgerServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
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

/// Fails if nothing was ever written for the site. Returns the site.
async fn existing_site(connection: &Connection, site_id: &str) -> Result<v1::Site, Box<dyn Error>> {
    let request = v1::GetSiteRequest { site_id: site_id.to_owned() };
    match connection.sites().get_site(signed(request)).await {
        Ok(answer) => Ok(answer.into_inner().site.unwrap_or_default()),
        Err(status) if status.code() == Code::NotFound => {
            Err(format!("--site-id (SITE_ID): nothing was ever written for the site {site_id}").into())
        }
        Err(status) => Err(sentence(status)),
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
