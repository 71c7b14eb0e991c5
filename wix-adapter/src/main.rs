//! The program `wix-adapter`: reads the settings and runs one subcommand.
//!
//! It has no logic of its own. A wrong setting ends it with one sentence on standard error and exit code 1 or 2. `send`
//! and `rehearse` choose their exit codes themselves.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use inventory_program::Out;
use wix_adapter::cli::{Cli, Command};
use wix_adapter::client::{self, Upstreams};
use wix_adapter::config::Serve;
use wix_adapter::routes::Adapter;
#[cfg(feature = "standalone")]
use wix_adapter::standalone;
use wix_adapter::token::Verifier;
use wix_adapter::{health, rehearse, send, server};

/// A request makes many small allocations on one thread, and another thread frees them. mimalloc is fast at that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Cli { command, sight } = Cli::parse();
    inventory_program::run("wix-adapter", sight, async {
        match command {
            Command::Serve(settings) => serve(*settings).await.map(|()| ExitCode::SUCCESS),
            #[cfg(feature = "standalone")]
            Command::Standalone(settings) => {
                let admin = inventory_program::serve_metrics(settings.http.admin_listen)?;
                let stop = inventory_program::stop_on_signal(settings.drain)?;
                let reload = inventory_program::reload_on_signal()?;
                standalone::run(*settings, admin, stop, reload).await.map(|()| ExitCode::SUCCESS)
            }
            Command::Send(settings) => Ok(send::send(*settings).await),
            Command::Rehearse(settings) => Ok(rehearse::rehearse(*settings).await),
            Command::Health(settings) => health::health(settings).await.map(|()| ExitCode::SUCCESS),
        }
    })
}

async fn serve(settings: Serve) -> Result<(), Box<dyn Error>> {
    let stop = inventory_program::stop_on_signal(settings.drain)?;
    let reload = inventory_program::reload_on_signal()?;
    let (app_id, keys) = settings.wix.read(reload.clone())?;
    let rehearsal = settings.wix.rehearsal(reload.clone())?;
    let servers = settings.upstreams.channels(client::settings, &reload)?;
    let bearer = settings.bearer(reload.clone())?;
    let admin = inventory_program::serve_metrics(settings.http.admin_listen)?;
    let upstreams = Upstreams::over(servers, bearer);
    let listener = server::bind(settings.http.http_listen, &settings.protection, reload)?;
    let address = listener.local_addr()?;
    Out::default().addresses([("http", Some(address)), ("admin", admin)])?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        http = %address,
        upstreams = settings.upstreams.names(),
        admin = admin.map(tracing::field::display),
        "started",
    );
    let adapter = Adapter { verifier: Verifier::reloaded(&app_id, keys).with_rehearsal(rehearsal), upstreams };
    server::serve(listener, adapter, stop).await;
    Ok(())
}
