//! How a server stops, in three steps: it says that it is not ready, it takes no more calls, and it cuts what is left.
//!
//! A caller that never finishes its call, or never reads its answer, delays the end until the last step and no longer.
//! What was answered by then is durable. A call that is cut has no answer, so its caller asks again.

use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

/// The part of the time to drain during which a server still takes calls, so that balancers learn to avoid it.
const UNREADY_PART: u32 = 10;

/// How long a server may take to stop.
#[derive(Clone, Copy, Debug, Args)]
pub struct Drain {
    /// Seconds that a stop may take, at least 1. For the first tenth the server only says that it is not ready. Then it
    /// takes no more calls and finishes those under way. At the end it cuts what is left.
    #[arg(long, env = "DRAIN_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub drain_seconds: u32,
}

/// The steps of a stop. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    unready: CancellationToken,
    close: CancellationToken,
    cut: CancellationToken,
}

impl Stop {
    /// Takes the steps, one after the other. Returns when the last one is taken.
    pub(crate) async fn take_steps(&self, Drain { drain_seconds }: Drain) {
        let all = Duration::from_secs(u64::from(drain_seconds));
        let unready = all / UNREADY_PART;
        self.unready.cancel();
        tokio::time::sleep(unready).await;
        self.close.cancel();
        tokio::time::sleep(all.saturating_sub(unready)).await;
        self.cut.cancel();
    }

    /// The same stop for a server that others still need: it takes calls until `close` is cancelled.
    #[must_use]
    pub fn but_closing(&self, close: CancellationToken) -> Self {
        Self { close, ..self.clone() }
    }

    /// Whether the server must say that it is not ready.
    pub fn is_unready(&self) -> bool {
        self.unready.is_cancelled()
    }

    /// Waits until the server must say that it is not ready.
    pub async fn unready(&self) {
        self.unready.cancelled().await;
    }

    /// Waits until the server must take no more calls.
    pub async fn closing(&self) {
        self.close.cancelled().await;
    }

    /// Waits until the server must cut what is left.
    pub async fn cutting(&self) {
        self.cut.cancelled().await;
    }
}

/// For a server inside a program: the token is the first and the second step, and nothing is cut.
impl From<CancellationToken> for Stop {
    fn from(token: CancellationToken) -> Self {
        Self { unready: token.clone(), close: token, cut: CancellationToken::new() }
    }
}
