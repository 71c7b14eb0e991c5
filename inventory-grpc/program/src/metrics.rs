//! Prometheus metrics of a program, over HTTP.
//!
//! Every metric of the process is served. Nothing is recorded while no address is set. A histogram whose
//! name ends in `_seconds` has buckets from half a millisecond to ten seconds. Any other one counts, and its buckets
//! are powers of two.

use std::net::SocketAddr;

use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};

use crate::observe;

const BUILD_INFO: &str = "inventory_build_info";

/// Upper bounds of the buckets of a time, in seconds. Wix waits about three seconds, and a commit takes milliseconds.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of the buckets of a number.
const NUMBERS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Metrics cannot be served at the address.
#[derive(Debug, thiserror::Error)]
#[error("--admin-listen (ADMIN_LISTEN): cannot serve metrics at {listen}; choose an address and port that are free")]
pub struct MetricsError {
    listen: SocketAddr,
    source: BuildError,
}

/// Serves Prometheus metrics at `GET /metrics` on `listen` until the process ends. Does nothing for `None`.
///
/// Must be called inside the runtime, before anything is recorded, and at most once with an address. The port is bound
/// when it returns.
pub fn serve_metrics(listen: Option<SocketAddr>) -> Result<(), MetricsError> {
    let Some(listen) = listen else { return Ok(()) };
    let failed = |source| MetricsError { listen, source };
    let builder = PrometheusBuilder::new().with_http_listener(listen);
    let builder = builder.set_buckets(&NUMBERS).map_err(failed)?;
    let builder = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS).map_err(failed)?;
    builder.install().map_err(failed)?;
    describe_gauge!(BUILD_INFO, "Always 1. The labels name the program and its version.");
    gauge!(BUILD_INFO, "program" => observe::program(), "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(())
}
