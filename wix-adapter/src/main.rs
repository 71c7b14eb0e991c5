//! The program `wix-adapter`.

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use wix_adapter::client::Upstream;
use wix_adapter::config::{Cli, Command, Http, Serve};
use wix_adapter::routes::Adapter;
use wix_adapter::send;
use wix_adapter::server;
#[cfg(feature = "standalone")]
use wix_adapter::standalone;
use wix_adapter::token::Verifier;

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
            eprintln!("wix-adapter: the runtime cannot be started: {error}");
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
    match run(cli.command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wix-adapter: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Serve(settings) => serve(*settings).await,
        #[cfg(feature = "standalone")]
        Command::Standalone(settings) => {
            measure(&settings.http)?;
            standalone::run(*settings, stop_on_signal()?).await
        }
        Command::Send(settings) => send::send(*settings).await,
    }
}

async fn serve(settings: Serve) -> Result<(), Box<dyn Error>> {
    let (app_id, keys) = settings.wix.read()?;
    measure(&settings.http)?;
    let listener = TcpListener::bind(settings.http.http_listen).await?;
    println!("http listening on {}", listener.local_addr()?);
    let adapter = Adapter { verifier: Verifier::new(&app_id, keys), upstream: Upstream::new(settings.grpc_upstream) };
    Ok(server::serve(listener, adapter, stop_on_signal()?.cancelled_owned()).await?)
}

fn measure(http: &Http) -> Result<(), Box<dyn Error>> {
    if let Some(listen) = http.admin_listen {
        PrometheusBuilder::new().with_http_listener(listen).install()?;
    }
    Ok(())
}

/// Cancelled by SIGTERM or Ctrl-C.
fn stop_on_signal() -> std::io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("stopping: finishing what is under way");
        cancel.cancel();
    });
    Ok(stop)
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
