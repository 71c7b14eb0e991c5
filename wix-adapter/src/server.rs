//! The HTTP server: binds the address and serves the routes, with TLS or without.
//!
//! A stop is graceful: requests under way get their answers.

use std::net::SocketAddr;

use axum::response::IntoResponse;
use inventory_program::Reload;
use inventory_program::listen::{ListenError, Listener, Protocol, serve_http};
use inventory_program::tls::Protection;

use crate::answer::Answer;
use crate::routes::{Adapter, router};

/// Binds the address of `--http-listen`; port 0 takes any free port. `reload` asks for certificates to be read again.
pub fn bind(address: SocketAddr, protection: &Protection, reload: Reload) -> Result<Listener, ListenError> {
    Listener::bind("--http-listen (HTTP_LISTEN)", address, Protocol::Http1, protection, reload)
}

/// Serves until `stop` completes. Then it accepts no new connection, answers the requests under way, and returns.
pub async fn serve(listener: impl Into<Listener>, adapter: Adapter, stop: impl Future<Output = ()>) {
    serve_http(listener.into(), router(adapter), || Answer::Unavailable.into_response(), stop).await;
}
