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
    /// Seconds that a stop may take, at least 1. At first the server only says that it is not ready
    /// (--announce-seconds). Then it takes no more calls and finishes those under way. At the end it cuts what is
    /// left.
    #[arg(long, env = "DRAIN_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub drain_seconds: u32,
    /// Seconds of the time to drain in which the server still takes calls, but says that it is not ready: as long as
    /// whatever sends it calls needs to notice. Unset: a tenth of the time to drain. Ctrl-C skips this time.
    #[arg(long, env = "ANNOUNCE_SECONDS", value_parser = clap::value_parser!(u32).range(..3_600))]
    pub announce_seconds: Option<u32>,
}

/// The times of a stop do not fit.
#[derive(Debug, thiserror::Error)]
#[error(
    "--announce-seconds (ANNOUNCE_SECONDS) is {announce}, but --drain-seconds (DRAIN_SECONDS) is {drain}: it must be \
     less, so that there is time for the calls under way"
)]
pub struct BadDrain {
    announce: u32,
    drain: u32,
}

/// How long each of the two steps takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// Not ready, but taking calls.
    pub(crate) announce: Duration,
    /// Taking no more calls.
    pub(crate) finish: Duration,
}

impl Drain {
    /// The times of a stop.
    pub(crate) fn times(self) -> Result<Times, BadDrain> {
        let Self { drain_seconds: drain, announce_seconds } = self;
        let all = Duration::from_secs(u64::from(drain));
        let announce = match announce_seconds {
            None => all / UNREADY_PART,
            Some(announce) if announce < drain => Duration::from_secs(u64::from(announce)),
            Some(announce) => return Err(BadDrain { announce, drain }),
        };
        Ok(Times { announce, finish: all.saturating_sub(announce) })
    }
}

impl Times {
    /// The times of a stop that nobody has to notice.
    pub(crate) fn without_announcement(self) -> Self {
        Self { announce: Duration::ZERO, ..self }
    }
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
    pub(crate) async fn take_steps(&self, Times { announce, finish }: Times) {
        self.unready.cancel();
        tokio::time::sleep(announce).await;
        self.close.cancel();
        tokio::time::sleep(finish).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_drain_has_two_parts() {
        let seconds = |seconds: f64| Duration::from_secs_f64(seconds);
        // --drain-seconds, --announce-seconds; how long each step takes.
        let rows = [
            (10, None, Some((1.0, 9.0))),
            (1, None, Some((0.1, 0.9))),
            (10, Some(0), Some((0.0, 10.0))),
            (30, Some(20), Some((20.0, 10.0))),
            (10, Some(10), None),
            (1, Some(5), None),
        ];
        for (drain_seconds, announce_seconds, expected) in rows {
            let times = Drain { drain_seconds, announce_seconds }.times();
            let expected = expected.map(|(announce, finish)| (seconds(announce), seconds(finish)));
            assert_eq!(times.ok().map(|times| (times.announce, times.finish)), expected, "{drain_seconds}");
        }
    }
}
