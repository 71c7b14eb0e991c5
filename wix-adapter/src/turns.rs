//! How many calls are checked before what is under way has its turn again.
//!
//! To check a token is most of the adapter's work. Under overload thousands of calls arrive at the same time, and a
//! call under way passes through some ten other tasks: the stream to the server, its connection, and back. If each of
//! these waited for thousands of checks, hardly a call would be answered in its time; and its callers, refused at once,
//! would call again, for as long as the load lasts. So calls wait here, in the order in which they came, and a few of
//! them are checked each time the runtime looks for events.
//!
//! `--bench overload` measures it: the servers stop for 2.3 seconds at twice the rate that they reach. Without turns, a
//! tenth of the rate was answered afterwards.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

/// Checks for each worker of the runtime between two looks for events. Tokio looks after 61 steps of tasks, or when no
/// task is ready. A call that is refused takes two steps, so these take a quarter of all steps at most. With 32, they
/// took all of them.
const CHECKS: usize = 8;

/// Hands out turns.
pub(crate) struct Turns {
    state: Arc<State>,
    /// Ends with this.
    _refill: JoinSet<()>,
}

struct State {
    left: Semaphore,
    taken: Notify,
}

impl Turns {
    /// For the runtime in which this is called.
    pub(crate) fn new() -> Self {
        let checks = CHECKS * Handle::current().metrics().num_workers();
        let state = Arc::new(State { left: Semaphore::new(checks), taken: Notify::new() });
        let refill = JoinSet::from_iter([Arc::clone(&state).refill(checks)]);
        Self { state, _refill: refill }
    }

    /// Waits until a call may be checked. A call that is given up while it waits takes no check from the others.
    pub(crate) async fn take(&self) {
        // The semaphore is never closed.
        if let Ok(turn) = self.state.left.acquire().await {
            turn.forget();
            self.state.taken.notify_one();
        }
    }
}

impl State {
    async fn refill(self: Arc<Self>, checks: usize) {
        loop {
            self.taken.notified().await;
            // Goes on when the runtime has looked for events.
            tokio::task::yield_now().await;
            // A call that was given up may have put back its permit meanwhile.
            self.left.add_permits(checks.saturating_sub(self.left.available_permits()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio::runtime::Builder;
    use tokio::task::yield_now;

    use super::*;

    /// Callers whose next call is there as soon as the last one has ended.
    const CALLERS: usize = 4_000;
    /// Other tasks that a call under way passes through.
    const STEPS: usize = 10;

    async fn step(stream: &mut UnixStream) -> u8 {
        stream.write_all(b".").await.expect("the other end is open");
        stream.read_u8().await.expect("the other end is open")
    }

    #[test]
    fn a_call_under_way_is_answered_before_each_of_those_who_wait_is_checked() {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("the runtime starts");
        let checked = runtime.block_on(runtime.spawn(async {
            let (turns, checked) = (Arc::new(Turns::new()), Arc::new(AtomicUsize::new(0)));
            for _ in 0..CALLERS {
                let (turns, checked) = (Arc::clone(&turns), Arc::clone(&checked));
                tokio::spawn(async move {
                    loop {
                        turns.take().await;
                        checked.fetch_add(1, Ordering::Relaxed);
                        yield_now().await;
                    }
                });
            }
            let (mut near, mut far) = UnixStream::pair().expect("a pair of sockets");
            tokio::spawn(async move { while step(&mut far).await == b'.' {} });
            while checked.load(Ordering::Relaxed) < CALLERS {
                yield_now().await;
            }
            let before = checked.load(Ordering::Relaxed);
            for _ in 0..STEPS {
                step(&mut near).await;
            }
            checked.load(Ordering::Relaxed) - before
        }));
        let checked = checked.expect("no panic");
        assert!(checked < CALLERS, "{checked} calls were checked in {STEPS} steps of one that was under way");
    }
}
