//! Adapter and gRPC server in one process. The adapter still talks gRPC to it, over loopback.
//! The only file here that names `inventory-grpc`.

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use clap::Args;
use inventory_grpc::config::{self, Listen};
use inventory_proto::v1;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::client::Upstream;
use crate::config::{Http, Wix};
use crate::routes::Adapter;
use crate::send::{Send, Sent};
use crate::token::Verifier;
use crate::{demo, keys, server, signing};

/// How to serve in one process.
#[derive(Debug, Args)]
pub struct Standalone {
    /// Where Wix calls.
    #[command(flatten)]
    pub http: Http,
    /// Whom to believe.
    #[command(flatten)]
    pub wix: Wix,
    /// The gRPC server's settings.
    #[command(flatten)]
    pub grpc: Listen,
    /// Try it out: make a signing key, stock a few items, send one signed order, and print what to
    /// type next.
    #[arg(long)]
    pub demo: bool,
}

/// Serves until `stop` is cancelled.
pub async fn run(settings: Standalone, stop: CancellationToken) -> Result<(), Box<dyn Error>> {
    let (app_id, found) = match settings.demo && settings.wix.wix_app_id.is_none() {
        true => (demo::APP_ID.to_owned(), vec![keys::parse(&demo_key(Path::new(demo::KEY_FILE))?)?]),
        false => settings.wix.read()?,
    };
    let retention = config::retention(settings.grpc.request_retention_days);
    let (store, grpc) = inventory_grpc::open(settings.grpc).await?;
    let http = TcpListener::bind(settings.http.http_listen).await?;
    let (grpc_at, http_at) = (grpc.local_addr()?, http.local_addr()?);
    println!("grpc listening on {grpc_at}");
    println!("http listening on {http_at}");

    let endpoint = Endpoint::from_shared(format!("http://{}", reachable(grpc_at)))?;
    let adapter = Adapter { verifier: Verifier::new(&app_id, found), upstream: Upstream::new(endpoint.clone()) };
    // The adapter stops first, so that what it is answering still finds the server.
    let grpc_stop = CancellationToken::new();
    let serve = inventory_grpc::server::serve(grpc, store, retention, grpc_stop.clone().cancelled_owned());
    let grpc_server = tokio::spawn(serve);
    let http_server = tokio::spawn(server::serve(http, adapter, stop.cancelled_owned()));
    if settings.demo
        && let Err(error) = tour(endpoint, http_at).await
    {
        eprintln!("the demonstration did not get through: {error}");
    }
    http_server.await??;
    grpc_stop.cancel();
    Ok(grpc_server.await??)
}

/// A server that listens on all addresses is reached over loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => ([0, 0, 0, 0, 0, 0, 0, 1], v6.port()).into(),
        SocketAddr::V4(_) | SocketAddr::V6(_) => address,
    }
}

/// The public half of the demonstration's key, which is made where there is none. It is kept
/// beside the private one, which nobody else may read.
fn demo_key(private: &Path) -> Result<String, Box<dyn Error>> {
    let public = private.with_extension("public.pem");
    if !private.exists() {
        let files = signing::generate()?;
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(private)?;
        file.write_all(files.private.as_bytes())?;
        std::fs::write(&public, files.public)?;
    }
    Ok(std::fs::read_to_string(&public)?)
}

/// Shows a newcomer one order, from the signed call to the line of the ledger.
async fn tour(grpc: Endpoint, http: SocketAddr) -> Result<(), Box<dyn Error>> {
    let channel = grpc.connect().await?;
    stock_up(StockServiceClient::new(channel.clone())).await?;
    let sent = Send::demo("shirt", format!("http://{}", reachable(http)).parse()?).run().await?;
    let Sent { order_id, request_id, status, body } = sent;
    println!("\nA signed order for 1 shirt was sent as Wix would send it, and answered:\n  {status} {body}");
    println!("The line of the ledger that proves it:\n  {}", proof(channel, &order_id).await?);
    // As it was started, so that the lines can be typed as they stand.
    let program = std::env::args().next().unwrap_or_else(|| "wix-adapter".to_owned());
    println!("\nThe servers go on. In another terminal, from this folder:");
    println!("  # the same request again: the recorded answer, and no second entry");
    println!("  {program} send decrement --item shirt --order-id {order_id} --request-id {request_id}");
    println!("  # more than there is: refused, and the short lines are listed");
    println!("  {program} send decrement --item mug:99 --item last-one:2");
    println!("  # why the numbers are what they are");
    println!("  grpcurl -plaintext -d '{{\"site_id\":\"{}\"}}' \\", demo::SITE_ID);
    println!("    {} inventory.v1.LedgerService/ListEntries", grpc_shown(&grpc));
    Ok(())
}

fn grpc_shown(endpoint: &Endpoint) -> String {
    endpoint.uri().authority().map(ToString::to_string).unwrap_or_default()
}

/// Stocks what was never stocked; what a newcomer has done since stays.
async fn stock_up(mut client: StockServiceClient<Channel>) -> Result<(), tonic::Status> {
    let reference = |item: &str| {
        let (app_id, catalog_item_id) = (demo::CATALOG_APP_ID.to_owned(), item.to_owned());
        Some(v1::CatalogReference { app_id, catalog_item_id, options: None })
    };
    let items =
        demo::STOCK.map(|(item, _)| v1::BatchGetStockItem { catalog_reference: reference(item), ..Default::default() });
    let site_id = demo::SITE_ID.to_owned();
    let present =
        client.batch_get_stock(v1::BatchGetStockRequest { site_id, items: items.into(), ..Default::default() }).await?;
    let missing = demo::STOCK.iter().zip(present.into_inner().stock).filter(|(_, stock)| stock.revision == 0);
    let items: Vec<_> = missing
        .map(|(&(item, available), _)| v1::SetStockItem {
            catalog_reference: reference(item),
            location_id: String::new(),
            available,
            ..Default::default()
        })
        .collect();
    if !items.is_empty() {
        let site_id = demo::SITE_ID.to_owned();
        client
            .set_stock(v1::SetStockRequest { site_id, items, request_id: String::new(), ..Default::default() })
            .await?;
    }
    Ok(())
}

async fn proof(channel: Channel, order_id: &str) -> Result<String, Box<dyn Error>> {
    let request = v1::ListEntriesRequest {
        site_id: demo::SITE_ID.to_owned(),
        order_id: order_id.to_owned(),
        ..Default::default()
    };
    let answer = LedgerServiceClient::new(channel).list_entries(request).await?.into_inner();
    let entry = answer.entries.into_iter().next().ok_or("no entry: the order was refused")?;
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
