//! The HTTP server.

use std::io;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;

use crate::routes::{Adapter, router};

/// Serves until `stop` completes; then takes no new connection, answers what is under way, and
/// returns.
pub async fn serve(
    listener: TcpListener,
    adapter: Adapter,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = listener.tap_io(|connection| {
        // An answer is one small write: waiting to fill a packet only delays it. Where the socket
        // refuses the option, the call itself will tell.
        let _ = connection.set_nodelay(true);
    });
    axum::serve(listener, router(adapter)).with_graceful_shutdown(stop).await
}
