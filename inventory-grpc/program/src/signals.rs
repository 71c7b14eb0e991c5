//! The signals that stop a program.
//!
//! The first SIGTERM or Ctrl-C (SIGINT) starts a graceful stop. Later ones are ignored. Only SIGKILL ends a program
//! that does not stop.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that the first SIGTERM or Ctrl-C cancels. Must be called inside the runtime.
pub fn stop_on_signal() -> std::io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("stopping: no new requests; finishing those under way");
        cancel.cancel();
    });
    Ok(stop)
}
