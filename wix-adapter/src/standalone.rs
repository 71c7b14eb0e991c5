//! `wix-adapter standalone`: the adapter and the gRPC server in one process, and the demo.
//!
//! This is the only file of the crate that names `inventory-grpc`. The adapter still talks gRPC to the server, over
//! loopback, or by a pipe in the process if the port has TLS. So both halves behave as in two processes. At a stop the
//! adapter ends first, then the server.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use inventory_grpc::access::OwnToken;
use inventory_grpc::config::Listen;
use inventory_grpc::server::Options;
use inventory_program::drain::{Drain, Stop};
use inventory_program::{Out, OutputError, Reload, Reloaded, tell, with_causes};
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_proto::{Bearer, v1};
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use crate::caller::Call;
use crate::client::{self, Upstreams};
use crate::config::{Http, Wix};
use crate::convert::Method;
use crate::routes::Adapter;
use crate::send::Target;
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

/// The demo's public key cannot be read, although its private key exists.
#[derive(Debug, thiserror::Error)]
#[error("--demo: cannot read the public key file {public}; remove the private key file {private} to make both anew")]
pub struct NoDemoKey {
    public: String,
    private: String,
    source: std::io::Error,
}

/// Serves until `stop` begins. Then it answers the requests under way, commits what is queued, and returns.
///
/// `admin` is where the metrics are served. `reload` asks for certificates and keys to be read again. Both ports have
/// the same certificate. Only the gRPC port asks for certificates of callers, because Wix has none.
pub async fn run(
    settings: Standalone,
    admin: Option<SocketAddr>,
    stop: Stop,
    reload: Reload,
) -> Result<(), Box<dyn Error>> {
    let protection = &settings.grpc.protection;
    if settings.demo && protection.is_tls() {
        return Err("--demo shows calls without TLS: leave out --tls-cert".into());
    }
    let rehearsal = settings.wix.rehearsal(reload.clone())?;
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
    Out::default().addresses([("grpc", Some(grpc_at)), ("http", Some(http_at)), ("admin", admin)])?;
    inventory_grpc::tell_start(backend, grpc_at, Some(http_at), admin);

    let endpoint = Endpoint::from_shared(format!("http://{}", reachable(grpc_at)))?;
    let connection = client::settings(endpoint.clone());
    let channel = match protection.is_tls() {
        false => connection.connect_lazy(),
        // The adapter needs neither the certificate's name nor a certificate of its own to reach its own process.
        true => connection.connect_with_connector_lazy(grpc.pipe()),
    };
    let upstreams = Upstreams::in_process(channel, Reloaded::fixed(bearer.clone()));
    let verifier = Verifier::reloaded(&app_id, keys).with_rehearsal(rehearsal);
    let adapter = Adapter { verifier, upstreams };
    // The adapter stops first: its requests under way still need the server.
    let close_grpc = CancellationToken::new();
    let grpc_stop = stop.but_closing(close_grpc.clone());
    let grpc_server = tokio::spawn(inventory_grpc::server::serve(grpc, store, options, grpc_stop));
    let http_server = tokio::spawn(server::serve(http, adapter, stop));
    if settings.demo
        && let Err(error) = tour(endpoint, bearer, http_at).await
    {
        tell(format_args!("the demo failed, and the servers keep running: {}", with_causes(error.as_ref())));
    }
    http_server.await?;
    close_grpc.cancel();
    Ok(grpc_server.await??)
}

/// The public half of the demo's key. Makes the key if there is none.
fn demo_key(private: &Path) -> Result<String, Box<dyn Error>> {
    if !private.exists() {
        signing::write_new(private)?;
    }
    let public = signing::public_file(private);
    let key = std::fs::read_to_string(&public);
    let shown = |path: &Path| path.display().to_string();
    Ok(key.map_err(|source| NoDemoKey { public: shown(&public), private: shown(private), source })?)
}

/// Sends one order and prints it: the signed call, the answer, the ledger entry, and commands to try next.
async fn tour(grpc: Endpoint, bearer: Bearer, http: SocketAddr) -> Result<(), Box<dyn Error>> {
    let channel = grpc.connect().await?;
    let sku = stock_demo_items(StockServiceClient::with_interceptor(channel.clone(), bearer.clone())).await?;
    let url = format!("http://{}", reachable(http));
    let wix = Target::demo(url.parse()?).simulator()?;
    let call = wix.call(Method::Decrement, &[("shirt", 1)]);
    let answer = wix.send(&call).await?;
    let mut out = Out::default();
    out.line("\nA signed order for 1 shirt was sent as Wix sends it. The answer:")?;
    out.line(format_args!("  {} {}", answer.status, answer.body))?;
    out.line("The ledger entry that proves it:")?;
    let ledger = LedgerServiceClient::with_interceptor(channel, bearer);
    out.line(format_args!("  {}", proof(ledger, &call.order_id).await?))?;
    hints(&mut out, &url, &authority(&grpc), &call, &sku)?;
    Ok(())
}

/// Prints commands that work against these servers, whatever their ports are.
fn hints(out: &mut Out, url: &str, grpc: &str, call: &Call, sku: &str) -> Result<(), OutputError> {
    // The path by which this program was started, so that the commands can be copied as they are.
    let program = std::env::args().next().unwrap_or_else(|| "wix-adapter".to_owned());
    let (at, asked) = (format!("--url {url}"), format!("--grpc-upstream {grpc}"));
    let Call { order_id, request_id, .. } = call;
    out.line("\nThe servers keep running. In another terminal, from this folder:")?;
    out.line("  # a replay of the same request: the recorded answer, and no second entry")?;
    out.line(format_args!("  {program} send {at} decrement --item shirt \\"))?;
    out.line(format_args!("    --order-id {order_id} --request-id {request_id}"))?;
    out.line("  # more than is available: refused, and all shortages are listed")?;
    out.line(format_args!("  {program} send {at} decrement --item mug:99 --item last-one:2"))?;
    out.line("  # twenty buyers for the last five pieces; `send --help` lists the other scenarios")?;
    out.line(format_args!("  {program} send {at} rush {asked}"))?;
    out.line("  # the stock of the site, why a number is what it is, and every entry as it happens")?;
    let Inventory { build, path } = Inventory::beside(Path::new(&program));
    if let Some(build) = build {
        out.line(format_args!("  {build}"))?;
    }
    out.line(format_args!("  export SITE_ID={} GRPC_UPSTREAM={grpc}", demo::SITE_ID))?;
    for command in ["stock show", &format!("why {sku}"), "watch"] {
        out.line(format_args!("  {} {command}", path.display()))?;
    }
    Ok(())
}

/// How a person runs `inventory-grpc`.
struct Inventory {
    /// The command that builds it first, if cargo has not built it yet.
    build: Option<&'static str>,
    path: PathBuf,
}

impl Inventory {
    /// Beside this program, if it is there or if cargo builds it into that folder. Otherwise wherever the shell finds
    /// it.
    fn beside(program: &Path) -> Self {
        let path = program.with_file_name("inventory-grpc");
        if path.exists() {
            return Self { build: None, path };
        }
        match program.parent().and_then(build_into) {
            Some(build) => Self { build: Some(build), path },
            None => Self { build: None, path: "inventory-grpc".into() },
        }
    }
}

/// The command by which cargo builds `inventory-grpc` into a folder. `None` if that is no folder of cargo's own
/// profiles.
fn build_into(folder: &Path) -> Option<&'static str> {
    let target = folder.parent()?;
    if !target.ends_with("target") && !target.join("CACHEDIR.TAG").exists() {
        return None;
    }
    match folder.file_name()?.to_str()? {
        "release" => Some("cargo build --release --bin inventory-grpc"),
        "debug" => Some("cargo build --bin inventory-grpc"),
        _ => None,
    }
}

/// The address of the gRPC server, for grpcurl.
fn authority(endpoint: &Endpoint) -> String {
    endpoint.uri().authority().map(ToString::to_string).unwrap_or_default()
}

/// Stocks the demo's items that were never stocked, and gives those without a SKU their ids as SKUs. Returns the SKU of
/// the first item.
async fn stock_demo_items(mut client: StockServiceClient<Caller>) -> Result<String, tonic::Status> {
    let reference = |item: &str| {
        let (app_id, catalog_item_id) = (demo::CATALOG_APP_ID.to_owned(), item.to_owned());
        v1::CatalogReference { app_id, catalog_item_id, ..Default::default() }
    };
    let site_id = demo::SITE_ID.to_owned();
    let asked =
        demo::STOCK.map(|(item, _)| v1::BatchGetStockItem { unit: Some(reference(item).into()), ..Default::default() });
    let request = v1::BatchGetStockRequest { site_id: site_id.clone(), items: asked.into(), ..Default::default() };
    let present = client.batch_get_stock(request).await?.into_inner().stock;
    let (mut items, mut requests) = (Vec::new(), Vec::new());
    for (&(item, available), stock) in demo::STOCK.iter().zip(&present) {
        if stock.revision == 0 {
            let unit = Some(reference(item).into());
            items.push(v1::SetStockItem { unit, available, ..Default::default() });
        }
        if stock.sku.is_empty() {
            let (unit, new_sku) = (Some(reference(item).into()), Some(item.to_owned()));
            requests.push(v1::UpdateUnitRequest { unit, new_sku, ..Default::default() });
        }
    }
    if !requests.is_empty() {
        client.batch_update_units(v1::BatchUpdateUnitsRequest { site_id: site_id.clone(), requests }).await?;
    }
    if !items.is_empty() {
        client.set_stock(v1::SetStockRequest { site_id, items, ..Default::default() }).await?;
    }
    let sku = present.into_iter().next().map(|stock| stock.sku).filter(|sku| !sku.is_empty());
    Ok(sku.unwrap_or_else(|| demo::STOCK[0].0.to_owned()))
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
