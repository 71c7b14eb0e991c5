//! The program `wix-adapter`.

#[path = "../../inventory-grpc/src/program.rs"]
mod program;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use tokio::net::TcpListener;
use wix_adapter::client::Upstream;
use wix_adapter::config::{Cli, Command, Serve};
use wix_adapter::routes::Adapter;
#[cfg(feature = "standalone")]
use wix_adapter::standalone;
use wix_adapter::token::Verifier;
use wix_adapter::{send, server};

/// Requests are many small allocations on one thread and their release on another, for which this
/// allocator is made.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Cli { command, otlp_endpoint } = Cli::parse();
    program::run("wix-adapter", otlp_endpoint, async {
        match command {
            Command::Serve(settings) => serve(*settings).await,
            #[cfg(feature = "standalone")]
            Command::Standalone(settings) => {
                program::serve_metrics(settings.http.admin_listen)?;
                standalone::run(*settings, program::stop_on_signal()?).await
            }
            Command::Send(settings) => send::send(*settings).await,
        }
    })
}

async fn serve(settings: Serve) -> Result<(), Box<dyn Error>> {
    let (app_id, keys) = settings.wix.read()?;
    program::serve_metrics(settings.http.admin_listen)?;
    let listener = TcpListener::bind(settings.http.http_listen).await?;
    println!("http listening on {}", listener.local_addr()?);
    let adapter = Adapter { verifier: Verifier::new(&app_id, keys), upstream: Upstream::new(settings.grpc_upstream) };
    Ok(server::serve(listener, adapter, program::stop_on_signal()?.cancelled_owned()).await?)
}
