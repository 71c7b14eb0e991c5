//! The HTTP server: binds the address and serves the routes.
//!
//! A stop is graceful: requests under way get their answers. It does not speak TLS; a proxy before it does.

use std::io;
use std::net::SocketAddr;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;

use crate::routes::{Adapter, router};

/// The HTTP address cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("--http-listen (HTTP_LISTEN): cannot listen on {address}; choose an address and port that are free")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// Binds the address of `--http-listen`; port 0 takes any free port.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, source })
}

/// Serves until `stop` completes. Then it accepts no new connection, answers the requests under way, and returns.
pub async fn serve(
    listener: TcpListener,
    adapter: Adapter,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = listener.tap_io(|connection| {
        // An answer is one small write, which Nagle's algorithm would only delay. A socket that refuses the option
        // still works, so the error is ignored.
        let _ = connection.set_nodelay(true);
    });
    axum::serve(listener, router(adapter)).with_graceful_shutdown(stop).await
}
