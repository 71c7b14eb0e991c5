//! Prometheus metrics of a program, over HTTP.
//!
//! Every metric of the process is served. The port takes 16 connections and 16 calls; its other bounds are those of
//! HTTP/1. Nothing is recorded while no address is set. A histogram whose name ends in `_seconds` has buckets from half
//! a millisecond to ten seconds. Any other one counts, and its buckets are powers of two.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::drain::Stop;
use crate::listen::{Limits, Listener, Protocol, serve_http};
use crate::observe;

const BUILD_INFO: &str = "inventory_build_info";

/// Upper bounds of the buckets of a time, in seconds. Wix waits about three seconds, and a commit takes milliseconds.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of the buckets of a number.
const NUMBERS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Connections to the port. A collector needs one.
const CONNECTIONS_MAX: usize = 16;
/// How often the histograms take in what was recorded.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Metrics cannot be served at the address.
#[derive(Debug, thiserror::Error)]
#[error("--admin-listen (ADMIN_LISTEN): cannot serve metrics at {listen}; choose an address and port that are free")]
pub struct MetricsError {
    listen: SocketAddr,
    source: Box<dyn Error + Send + Sync>,
}

/// Serves Prometheus metrics at `GET /metrics`, and `GET /health`, on `listen` until the process ends. Does nothing for
/// `None`. Returns the address with its port, which the system chooses if it is 0.
///
/// Must be called inside the runtime, before anything is recorded, and at most once with an address. The port is bound
/// when it returns.
pub fn serve_metrics(listen: Option<SocketAddr>) -> Result<Option<SocketAddr>, MetricsError> {
    let Some(listen) = listen else { return Ok(None) };
    let failed = |source: Box<dyn Error + Send + Sync>| MetricsError { listen, source };
    let listener = Listener::plain(listen).map_err(|error| failed(error.into()))?;
    let address = listener.local_addr().map_err(|error| failed(error.into()))?;
    let handle = recorder().map_err(|error| failed(error.into()))?;
    describe_gauge!(BUILD_INFO, "Always 1. The labels name the program and its version.");
    gauge!(BUILD_INFO, "program" => observe::program(), "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    tokio::spawn({
        let handle = handle.clone();
        async move {
            loop {
                tokio::time::sleep(UPKEEP_EVERY).await;
                handle.run_upkeep();
            }
        }
    });
    let limits = Limits { connections: CONNECTIONS_MAX, calls: CONNECTIONS_MAX, ..Limits::of(Protocol::Http1) };
    let refuse = || answer(StatusCode::SERVICE_UNAVAILABLE, String::new());
    tokio::spawn(serve_http(listener.with_limits(limits), Metrics(handle), refuse, Stop::default()));
    Ok(Some(address))
}

/// Records the metrics of the process from now on.
fn recorder() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    let builder = PrometheusBuilder::new().set_buckets(&NUMBERS)?;
    builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?.install_recorder()
}

/// Answers with all metrics, and to `/health` as long as the program lives.
#[derive(Clone)]
struct Metrics(PrometheusHandle);

impl tower_service::Service<Request<Incoming>> for Metrics {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        ready(Ok(match request.uri().path() {
            "/metrics" => answer(StatusCode::OK, self.0.render()),
            "/health" => answer(StatusCode::OK, "OK\n".to_owned()),
            _ => answer(StatusCode::NOT_FOUND, "the metrics are at /metrics\n".to_owned()),
        }))
    }
}

fn answer(status: StatusCode, text: String) -> Response<String> {
    let mut answer = Response::new(text);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
    answer
}
