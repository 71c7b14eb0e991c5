//! `wix-adapter standalone`: the adapter and the gRPC server in one process, and the demo.
//!
//! This is the only file of the crate that names `inventory-grpc`. The adapter still talks gRPC to the server, over
//! loopback, so both halves behave as in two processes. At a stop the adapter ends first, then the server.

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use clap::Args;
use inventory_grpc::access::OwnToken;
use inventory_grpc::config::Listen;
use inventory_grpc::server::Options;
use inventory_program::drain::{Drain, Stop};
use inventory_program::{Reload, Reloaded};
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_proto::{Bearer, v1};
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use crate::client::{self, Upstream};
use crate::config::{Http, Wix};
use crate::routes::Adapter;
use crate::send::{Send, Sent};
use crate::server::{self, reachable};
use crate::token::Verifier;
use crate::{demo, keys, signing};

/// The actor of the adapter's changes in the ledger.
const ACTOR: &str = "wix";

/// A connection to the server in this process.
type Caller = InterceptedService<Channel, Bearer>;

/// Settings of `standalone`.
#[derive(Debug, Args)]
pub struct Standalone {
    /// The listeners.
    #[command(flatten)]
    pub http: Http,
    /// The tokens to accept.
    #[command(flatten)]
    pub wix: Wix,
    /// The gRPC server.
    #[command(flatten)]
    pub grpc: Listen,
    /// Try it out: make a signing key, stock three items, send one signed order, and print what to type next.
    #[arg(long)]
    pub demo: bool,
    /// How to stop.
    #[command(flatten)]
    pub drain: Drain,
}

/// The demo's key files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DemoKeyError {
    /// A file cannot be written.
    #[error("--demo: cannot write the key file {path}; run in a folder that is writable")]
    Write {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The public key cannot be read, although the private key exists.
    #[error(
        "--demo: cannot read the public key file {public}; remove the private key file {private} to make both anew"
    )]
    Read {
        /// The file of the public key.
        public: String,
        /// The file of the private key.
        private: String,
        /// The cause.
        source: std::io::Error,
    },
}

/// Serves until `stop` begins. Then it answers the requests under way, commits what is queued, and returns.
///
/// `reload` asks for certificates and keys to be read again. Both ports have the same certificate. Only the gRPC port
/// asks for certificates of callers, because Wix has none.
pub async fn run(settings: Standalone, stop: Stop, reload: Reload) -> Result<(), Box<dyn Error>> {
    let protection = &settings.grpc.protection;
    if settings.demo && protection.is_tls() {
        return Err("--demo shows calls without TLS: leave out --tls-cert".into());
    }
    let (app_id, keys) = if settings.demo && settings.wix.wix_app_id.is_none() {
        (demo::APP_ID.to_owned(), Reloaded::fixed(vec![keys::parse(&demo_key(Path::new(demo::KEY_FILE))?)?]))
    } else {
        settings.wix.read(reload.clone())?
    };
    // Known to both halves alone, so that they need no setup, whatever tokens the database has.
    let token = OwnToken::new(ACTOR)?;
    let bearer = Bearer::new(token.text())?;
    let options = Options { own_token: Some(token), ..settings.grpc.options() };
    let backend = settings.grpc.database.database_url.backend();
    let http_protection = protection.without_client_certificates();
    let http = server::bind(settings.http.http_listen, &http_protection, reload.clone())?;
    let (store, mut grpc) = inventory_grpc::open(&settings.grpc, reload).await?;
    let (grpc_at, http_at) = (grpc.local_addr()?, http.local_addr()?);
    println!("grpc listening on {grpc_at}");
    println!("http listening on {http_at}");
    inventory_grpc::tell_start(backend, grpc_at, Some(http_at), settings.http.admin_listen);

    let endpoint = Endpoint::from_shared(format!("http://{}", reachable(grpc_at)))?;
    let upstream = match protection.is_tls() {
        false => Upstream::new(endpoint.clone()),
        // The adapter needs neither the certificate's name nor a certificate of its own to reach its own process.
        true => Upstream::over(client::settings(endpoint.clone()).connect_with_connector_lazy(grpc.pipe())),
    };
    let upstream = upstream.with_token(Reloaded::fixed(bearer.clone()));
    let adapter = Adapter { verifier: Verifier::reloaded(&app_id, keys), upstream };
    // The adapter stops first: its requests under way still need the server.
    let close_grpc = CancellationToken::new();
    let grpc_stop = stop.but_closing(close_grpc.clone());
    let grpc_server = tokio::spawn(inventory_grpc::server::serve(grpc, store, options, grpc_stop));
    let http_server = tokio::spawn(server::serve(http, adapter, stop));
    if settings.demo
        && let Err(error) = tour(endpoint, bearer, http_at).await
    {
        eprintln!("the demo failed, and the servers keep running: {}", inventory_program::with_causes(error.as_ref()));
    }
    http_server.await?;
    close_grpc.cancel();
    Ok(grpc_server.await??)
}

/// The public half of the demo's key. Makes the key if there is none: the private file, which only its owner may read,
/// and the public file beside it.
fn demo_key(private: &Path) -> Result<String, Box<dyn Error>> {
    let public = private.with_extension("public.pem");
    let shown = |path: &Path| path.display().to_string();
    if !private.exists() {
        let cannot_write = |path: &Path| {
            let path = shown(path);
            |source| DemoKeyError::Write { path, source }
        };
        let files = signing::generate()?;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(private).map_err(cannot_write(private))?;
        file.write_all(files.private.as_bytes()).map_err(cannot_write(private))?;
        std::fs::write(&public, files.public).map_err(cannot_write(&public))?;
    }
    let key = std::fs::read_to_string(&public);
    Ok(key.map_err(|source| DemoKeyError::Read { public: shown(&public), private: shown(private), source })?)
}

/// Sends one order and prints it: the signed call, the answer, the ledger entry, and commands to try next.
async fn tour(grpc: Endpoint, bearer: Bearer, http: SocketAddr) -> Result<(), Box<dyn Error>> {
    let channel = grpc.connect().await?;
    stock_demo_items(StockServiceClient::with_interceptor(channel.clone(), bearer.clone())).await?;
    let sent = Send::demo("shirt", format!("http://{}", reachable(http)).parse()?).run().await?;
    let Sent { order_id, request_id, status, body } = sent;
    println!("\nA signed order for 1 shirt was sent as Wix sends it. The answer:\n  {status} {body}");
    println!(
        "The ledger entry that proves it:\n  {}",
        proof(LedgerServiceClient::with_interceptor(channel, bearer), &order_id).await?
    );
    // The path by which this program was started, so that the commands can be copied as they are.
    let program = std::env::args().next().unwrap_or_else(|| "wix-adapter".to_owned());
    println!("\nThe servers keep running. In another terminal, from this folder:");
    println!("  # a replay of the same request: the recorded answer, and no second entry");
    println!("  {program} send decrement --item shirt --order-id {order_id} --request-id {request_id}");
    println!("  # more than is available: refused, and all shortages are listed");
    println!("  {program} send decrement --item mug:99 --item last-one:2");
    println!("  # every ledger entry of the site");
    println!("  grpcurl -plaintext -d '{{\"site_id\":\"{}\"}}' \\", demo::SITE_ID);
    println!("    {} inventory.v1.LedgerService/ListEntries", authority(&grpc));
    Ok(())
}

/// The address of the gRPC server, for grpcurl.
fn authority(endpoint: &Endpoint) -> String {
    endpoint.uri().authority().map(ToString::to_string).unwrap_or_default()
}

/// Sets the levels of the demo's items that were never written. Other levels stay as they are.
async fn stock_demo_items(mut client: StockServiceClient<Caller>) -> Result<(), tonic::Status> {
    let reference = |item: &str| {
        let (app_id, catalog_item_id) = (demo::CATALOG_APP_ID.to_owned(), item.to_owned());
        v1::CatalogReference { app_id, catalog_item_id, ..Default::default() }
    };
    let items =
        demo::STOCK.map(|(item, _)| v1::BatchGetStockItem { unit: Some(reference(item).into()), ..Default::default() });
    let site_id = demo::SITE_ID.to_owned();
    let present =
        client.batch_get_stock(v1::BatchGetStockRequest { site_id, items: items.into(), ..Default::default() }).await?;
    let missing = demo::STOCK.iter().zip(present.into_inner().stock).filter(|(_, stock)| stock.revision == 0);
    let items: Vec<_> = missing
        .map(|(&(item, available), _)| v1::SetStockItem {
            unit: Some(reference(item).into()),
            available,
            ..Default::default()
        })
        .collect();
    if !items.is_empty() {
        let site_id = demo::SITE_ID.to_owned();
        client.set_stock(v1::SetStockRequest { site_id, items, ..Default::default() }).await?;
    }
    Ok(())
}

/// The order's ledger entry, as one line.
async fn proof(mut client: LedgerServiceClient<Caller>, order_id: &str) -> Result<String, Box<dyn Error>> {
    let request = v1::ListEntriesRequest {
        site_id: demo::SITE_ID.to_owned(),
        order_id: order_id.to_owned(),
        ..Default::default()
    };
    let answer = client.list_entries(request).await?.into_inner();
    let entry = answer.entries.into_iter().next().ok_or("the order was refused, so it has no ledger entry")?;
    let item = entry.catalog_reference.unwrap_or_default().catalog_item_id;
    Ok(format!(
        "sequence {}: {item} {:+} -> {} ({}, order {})",
        entry.sequence,
        entry.delta,
        entry.level_after,
        v1::Reason::try_from(entry.reason).unwrap_or_default().as_str_name(),
        entry.order_id
    ))
}
