//! Logs and traces of a program.
//!
//! Logs go to standard error: text on a terminal, JSON lines elsewhere. `RUST_LOG` filters both logs and traces. If it
//! is missing or cannot be read, the level is `info`. Traces go over OTLP (gRPC) to the endpoint of the settings.

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// The endpoint for traces cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("--otlp-endpoint (OTLP_ENDPOINT): cannot use {endpoint:?}; give a URL such as http://127.0.0.1:4317")]
pub(crate) struct ObserveError {
    endpoint: String,
    source: ExporterBuildError,
}

/// Installs logs and traces for the process. Returns the provider of the traces, which must be shut down at the end;
/// `None` if no endpoint is set. Panics if logs are installed already.
pub(crate) fn start(name: &'static str, otlp: Option<&str>) -> Result<Option<SdkTracerProvider>, ObserveError> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let logs = if std::io::stderr().is_terminal() { logs.boxed() } else { logs.json().boxed() };
    let traces = otlp.map(|endpoint| provider(name, endpoint)).transpose()?;
    let spans = traces.as_ref().map(|traces| tracing_opentelemetry::layer().with_tracer(traces.tracer(name)));
    tracing_subscriber::registry().with(logs).with(spans).with(filter).init();
    Ok(traces)
}

fn provider(name: &'static str, endpoint: &str) -> Result<SdkTracerProvider, ObserveError> {
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build();
    let exporter = exporter.map_err(|source| ObserveError { endpoint: endpoint.to_owned(), source })?;
    let resource = Resource::builder().with_service_name(name).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
