//! The program `inventory-grpc`.

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use inventory_core::store::Store;
use inventory_grpc::config::{Cli, Command, Serve};
use inventory_grpc::server;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Requests are many small allocations on one thread and their release on another, for which this
/// allocator is made: it saves about a tenth of the time of a request.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log();
    match runtime() {
        Ok(runtime) => runtime.block_on(finish(cli)),
        Err(error) => {
            eprintln!("inventory-grpc: the runtime cannot be started: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Half of the cores: the other half is the database's, and the other program's. On two cores a
/// second worker made a request half as dear again, in wake-ups alone (measured end to end).
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread().worker_threads(cores.div_ceil(2)).enable_all().build()
}

async fn finish(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Serve(settings) => serve(settings).await,
        Command::Migrate(database) => migrate(database.database_url),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("inventory-grpc: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Serve) -> Result<(), Box<dyn Error>> {
    if let Some(listen) = settings.admin_listen {
        PrometheusBuilder::new().with_http_listener(listen).install()?;
    }
    let (store, listener) = inventory_grpc::open(settings.listen).await?;
    println!("grpc listening on {}", listener.local_addr()?);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("stopping: finishing what is queued");
    };
    Ok(server::serve(listener, store, stop).await?)
}

fn migrate(url: inventory_core::store::DatabaseUrl) -> Result<(), Box<dyn Error>> {
    let steps = Store::migrate(&url)?;
    if steps.is_empty() {
        println!("{url:?}: the schema is up to date");
    }
    for step in steps {
        println!("{url:?}: applied {step}");
    }
    Ok(())
}

/// Text for people, JSON for machines; both on standard error.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let format = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() { format.init() } else { format.json().init() }
}

/// An error and its causes, as one sentence.
fn chain(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told.push_str(&format!(": {error}"));
        cause = error.source();
    }
    told
}
