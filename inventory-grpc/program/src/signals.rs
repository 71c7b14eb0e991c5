//! The signals that stop a program or make it read its files again.
//!
//! The first SIGTERM or Ctrl-C (SIGINT) starts a stop, which takes a bounded time. Later ones are ignored. SIGHUP ends
//! nothing: the files of certificates, keys and tokens are read again.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::drain::{BadDrain, Drain, Stop};

/// Why a program cannot be stopped as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The system refuses to deliver signals.
    #[error("the system refuses to deliver signals")]
    Signals(#[from] std::io::Error),
    /// The times do not fit.
    #[error(transparent)]
    Drain(#[from] BadDrain),
}

/// The stop that the first SIGTERM or Ctrl-C begins. Nobody but the person at the terminal has to notice Ctrl-C, so no
/// time goes into announcing it. Must be called inside the runtime.
pub fn stop_on_signal(drain: Drain) -> Result<Stop, StopError> {
    let times = drain.times()?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = Stop::default();
    let steps = stop.clone();
    tokio::spawn(async move {
        let times = tokio::select! {
            _ = terminate.recv() => times,
            _ = interrupt.recv() => times.without_announcement(),
        };
        tracing::info!(
            seconds = drain.drain_seconds,
            announced_for = times.announce.as_secs_f64(),
            "stopping: not ready; then finishing the calls under way"
        );
        steps.take_steps(times).await;
    });
    Ok(stop)
}

/// Tells that files must be read again now. Every clone hears every request.
#[derive(Clone, Debug)]
pub struct Reload(pub(crate) watch::Receiver<()>);

/// Requests a reload at every SIGHUP, which no longer ends the process. Must be called inside the runtime.
pub fn reload_on_signal() -> std::io::Result<Reload> {
    let mut hangup = signal(SignalKind::hangup())?;
    let (sender, receiver) = watch::channel(());
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!("SIGHUP: reading the files of certificates, keys and tokens again");
            sender.send_replace(());
        }
    });
    Ok(Reload(receiver))
}

impl Reload {
    /// Requests no reload, ever. Files are still read again when they change.
    pub fn never() -> Self {
        Self(watch::channel(()).1)
    }

    /// Waits for the next request.
    pub(crate) async fn requested(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}
