//! What both programs do around their work: logs, traces, metrics, runtime, signals, last words.
//!
//! One file for two programs: `wix-adapter` includes it by its path, since it must not depend on
//! this crate (but for `standalone.rs`).

use std::error::Error;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;

use metrics_exporter_prometheus::PrometheusBuilder;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Runs a program to its end: 0 when it ends well, otherwise its last words on standard error.
pub(crate) fn run(
    name: &'static str,
    otlp: Option<String>,
    work: impl Future<Output = Result<(), Box<dyn Error>>>,
) -> ExitCode {
    let done = runtime().map_err(Into::into).and_then(|runtime| {
        runtime.block_on(async {
            let traces = observe(name, otlp.as_deref())?;
            let done = work.await;
            if let Some(traces) = traces
                && let Err(error) = traces.shutdown()
            {
                tracing::warn!(%error, "the last traces were not delivered");
            }
            done
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {}", chain(error.as_ref()));
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

/// Logs on standard error, as text for people and as JSON for machines; traces over OTLP (gRPC)
/// where an endpoint is set.
fn observe(name: &'static str, otlp: Option<&str>) -> Result<Option<SdkTracerProvider>, Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if std::io::stderr().is_terminal() { lines.boxed() } else { lines.json().boxed() };
    let traces = match otlp {
        None => None,
        Some(endpoint) => {
            let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
            let resource = Resource::builder().with_service_name(name).build();
            Some(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
        }
    };
    let spans = traces.as_ref().map(|traces| tracing_opentelemetry::layer().with_tracer(traces.tracer(name)));
    tracing_subscriber::registry().with(lines).with(spans).with(filter).init();
    Ok(traces)
}

/// Serves Prometheus metrics, where an address is set.
pub(crate) fn serve_metrics(listen: Option<SocketAddr>) -> Result<(), Box<dyn Error>> {
    if let Some(listen) = listen {
        PrometheusBuilder::new().with_http_listener(listen).install()?;
    }
    Ok(())
}

/// Cancelled by SIGTERM or Ctrl-C.
pub(crate) fn stop_on_signal() -> std::io::Result<CancellationToken> {
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
