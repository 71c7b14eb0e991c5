//! Prometheus metrics of a program, over HTTP.
//!
//! Every metric of the process is served. Nothing is recorded while no address is set.

use std::net::SocketAddr;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder};

/// Metrics cannot be served at the address.
#[derive(Debug, thiserror::Error)]
#[error("--admin-listen (ADMIN_LISTEN): cannot serve metrics at {listen}; choose an address and port that are free")]
pub struct MetricsError {
    listen: SocketAddr,
    source: BuildError,
}

/// Serves Prometheus metrics at `GET /metrics` on `listen` until the process ends. Does nothing for `None`.
///
/// Must be called inside the runtime, and at most once with an address. The port is bound when it returns.
pub fn serve_metrics(listen: Option<SocketAddr>) -> Result<(), MetricsError> {
    let Some(listen) = listen else { return Ok(()) };
    PrometheusBuilder::new().with_http_listener(listen).install().map_err(|source| MetricsError { listen, source })
}
