//! Finds callers that send calls on a stream and do not read the answers.
//!
//! While an answer waits for the caller's window, the connection does not poll the stream, whatever wakes it. So the
//! stream would answer no more, keep the memory of its calls, and not notice that their time is over. A task outside of
//! the stream wakes it now and then. If that leads to no poll, the caller loses its connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Context;

use futures_util::task::AtomicWaker;
use inventory_program::listen::CallerInfo;
use tokio::task::AbortHandle;

use super::stream::TAKE_TIME_MAX;
use crate::large;

/// How often the task wakes the stream without a poll before the caller loses its connection.
const LOOKS: u32 = 3;

/// The polls of a stream.
#[derive(Default)]
pub(super) struct Polled {
    count: AtomicU64,
    waker: AtomicWaker,
    /// The task. It holds what the caller takes of the port, so it ends with the stream.
    watch: OnceLock<AbortHandle>,
}

impl Polled {
    /// Those of a stream to this caller, whose connection is closed if it is not polled in time. The stream ends that
    /// at once by dropping them.
    pub(super) fn watched(caller: Option<CallerInfo>) -> Arc<Self> {
        let polled = Arc::<Self>::default();
        let Some(caller) = caller else { return polled };
        let watched = Arc::downgrade(&polled);
        let watch = tokio::spawn(async move {
            let (mut last, mut without) = (0, 0);
            while let Some(polled) = watched.upgrade() {
                let count = polled.count.load(Ordering::Relaxed);
                without = if count == last { without + 1 } else { 0 };
                if without == LOOKS {
                    large::close(&caller, "answers of a stream of calls");
                    return;
                }
                last = count;
                polled.waker.wake();
                drop(polled);
                tokio::time::sleep(TAKE_TIME_MAX / LOOKS).await;
            }
        });
        polled.watch.get_or_init(|| watch.abort_handle());
        polled
    }

    /// The stream is polled.
    pub(super) fn now(&self, context: &Context<'_>) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.waker.register(context.waker());
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.get() {
            watch.abort();
        }
    }
}
