//! The HTTP server: binds the address and serves the routes, with TLS or without.
//!
//! A stop is graceful: requests under way get their answers, if they end in time.

use std::net::SocketAddr;

use axum::response::IntoResponse;
use inventory_program::Reload;
use inventory_program::drain::Stop;
use inventory_program::listen::{ListenError, Listener, Protocol, serve_http};
use inventory_program::tls::Protection;

use crate::answer::Answer;
use crate::routes::{Adapter, router};

/// Binds the address of `--http-listen`; port 0 takes any free port. `reload` asks for certificates to be read again.
pub fn bind(address: SocketAddr, protection: &Protection, reload: Reload) -> Result<Listener, ListenError> {
    Listener::bind("--http-listen (HTTP_LISTEN)", address, Protocol::Http1, protection, reload)
}

/// Serves until `stop` closes the port. Then it answers the requests under way, and returns when all are answered or
/// cut.
pub async fn serve(listener: impl Into<Listener>, adapter: Adapter, stop: impl Into<Stop>) {
    let stop = stop.into();
    serve_http(listener.into(), router(adapter, stop.clone()), || Answer::Unavailable.into_response(), stop).await;
}
