//! The program `wix-adapter`: reads the settings and runs one subcommand.
//!
//! It has no logic of its own. A wrong setting ends it with one sentence on standard error and exit code 1 or 2.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use inventory_program::Reload;
use wix_adapter::cli::{Cli, Command};
use wix_adapter::client::Upstream;
use wix_adapter::config::Serve;
use wix_adapter::routes::Adapter;
#[cfg(feature = "standalone")]
use wix_adapter::standalone;
use wix_adapter::token::Verifier;
use wix_adapter::{send, server};

/// A request makes many small allocations on one thread, and another thread frees them. mimalloc is fast at that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Cli { command, otlp_endpoint } = Cli::parse();
    inventory_program::run("wix-adapter", otlp_endpoint, async {
        match command {
            Command::Serve(settings) => serve(*settings).await,
            #[cfg(feature = "standalone")]
            Command::Standalone(settings) => {
                inventory_program::serve_metrics(settings.http.admin_listen)?;
                standalone::run(*settings, inventory_program::stop_on_signal()?).await
            }
            Command::Send(settings) => send::send(*settings).await,
        }
    })
}

async fn serve(settings: Serve) -> Result<(), Box<dyn Error>> {
    let (app_id, keys) = settings.wix.read()?;
    inventory_program::serve_metrics(settings.http.admin_listen)?;
    let listener = server::bind(settings.http.http_listen).await?;
    println!("http listening on {}", listener.local_addr()?);
    // SIGHUP is not handled yet: the file is read again when it changes.
    let bearer = settings.bearer(Reload::never())?;
    let upstream = Upstream::new(settings.grpc_upstream).with_token(bearer);
    let adapter = Adapter { verifier: Verifier::new(&app_id, keys), upstream };
    Ok(server::serve(listener, adapter, inventory_program::stop_on_signal()?.cancelled_owned()).await?)
}
