//! Finds callers that send calls on a stream and do not read the answers.
//!
//! While an answer waits for the caller's window, the connection does not poll the stream, whatever wakes it. So the
//! stream would answer no more, keep the memory of its calls, and not notice that their time is over. A task outside of
//! the stream wakes it now and then. If that leads to no poll, the caller loses its connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Context;

use futures_util::task::AtomicWaker;
use inventory_program::listen::CallerInfo;
use tokio::task::AbortHandle;

use super::stream::TAKE_TIME_MAX;
use crate::large;

/// How often the task wakes the stream without a poll before the caller loses its connection.
const LOOKS: u32 = 3;

/// The polls of a stream. The task that looks at them ends with it: it holds what the caller takes of the port.
pub(super) struct Polled {
    polls: Arc<Polls>,
    task: Option<AbortHandle>,
}

#[derive(Default)]
struct Polls {
    count: AtomicU64,
    waker: AtomicWaker,
}

impl Polled {
    /// Those of a stream to this caller, whose connection is closed if it is not polled in time.
    pub(super) fn watched(caller: Option<CallerInfo>) -> Self {
        let polls = Arc::<Polls>::default();
        let task = caller.map(|caller| tokio::spawn(watch(Arc::clone(&polls), caller)).abort_handle());
        Self { polls, task }
    }

    /// The stream is polled.
    pub(super) fn now(&self, context: &Context<'_>) {
        self.polls.count.fetch_add(1, Ordering::Relaxed);
        self.polls.waker.register(context.waker());
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        self.task.iter().for_each(AbortHandle::abort);
    }
}

/// Wakes the stream now and then, until it is not polled for that.
async fn watch(polls: Arc<Polls>, caller: CallerInfo) {
    let (mut last, mut without) = (0, 0);
    loop {
        let count = polls.count.load(Ordering::Relaxed);
        without = if count == last { without + 1 } else { 0 };
        if without == LOOKS {
            return large::close(&caller, "answers of a stream of calls");
        }
        last = count;
        polls.waker.wake();
        tokio::time::sleep(TAKE_TIME_MAX / LOOKS).await;
    }
}
