//! Replaces a writer whose connection to the database does not answer any more.
//!
//! diesel blocks the thread of a writer until the server answers. A server whose processes are stopped, or a machine
//! that hangs, keeps its connections open, so the wait has no end. Nobody else can close the connection. So the
//! supervisor leaves the old writer to itself: it answers the callers of that batch that the outcome is unknown, and
//! starts a new writer on the same queue.
//!
//! It does so only if it helps. When a writer has worked at one batch for `limits::WRITER_STUCK_AFTER`, its supervisor
//! connects as the writer would (`spare`).
//!
//! - If it reaches **another server** than the writer's, that has taken over. The new writer starts with this
//!   connection.
//! - If it reaches **the same server**, that one lives. Most likely the writer waits for a standby that is away, and a
//!   new writer would wait for the same. So the writer stays, its callers are answered at their deadlines, and the
//!   supervisor looks again. After `limits::WRITER_HUNG_AFTER` the supervisor also commits something, which waits for
//!   the standby too. If that succeeds, nothing but the writer's own connection hangs: somebody has stopped its process
//!   of Postgres, for example. Then a new writer starts with the supervisor's connection.
//!
//! The writer's server is the one that it was connected to last, also while it connects again. A writer that was never
//! connected has none: it is treated as if the supervisor had reached the same server.
//!
//! A queue leaves at most `limits::HUNG_WRITERS_MAX` writers and `limits::LATE_CONNECTS_MAX` connections behind on
//! servers that live. Each time that another server takes over, it leaves one more writer behind at most.
//!
//! A writer that was left behind answers nobody and takes nothing from the queue. When its call returns, it finishes
//! the transaction that it is in, and ends. On a server that lives, its transaction is still there, and goes on when
//! its process does:
//!
//! - Its locks stay until then. The new writer sets their sites `aside`: orders for these fail, and the other sites of
//!   the queue go on.
//! - It may still commit, so the outcome of its batch is unknown. It cannot write over what the new writer has written.
//!   Either it holds the locks of its sites, and the new writer could not write to them. Or its statement has still to
//!   lock them, and then compares their sequence numbers first. A call that was sent again meets the first one by its
//!   idempotency key, whichever of both is committed first.

pub(super) mod spare;

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::engine::clock::Clock;
use crate::engine::feed::Feed;
use crate::engine::health::Pulse;
use crate::engine::measure::{Ending, Measures};
use crate::engine::message::{Pending, answer_for_writer};
use crate::engine::queue::Queue;
use crate::engine::resolve::SettingsCache;
use crate::engine::storage::{BatchStore, Server};
use crate::engine::supervisor::spare::{Connected, Probe, Spare};
use crate::engine::writer::Writer;
use crate::model::error::{Failed, StoreError, Trouble};
use crate::model::limits;

/// How long the writers of an engine are waited for. The default has the times of `limits`; tests have shorter ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long a writer works at one batch before another writer may take its place on the same server.
    pub hung_after: Duration,
    /// How long a supervisor waits for its connection.
    pub connect: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { hung_after: limits::WRITER_HUNG_AFTER, connect: limits::SUPERVISOR_CONNECT_MAX }
    }
}

/// Why a writer is replaced that is on a server which is lost.
const TAKEN_OVER: &str = "its database server does not answer, and another one has taken over";
/// Why a writer is replaced that is on a server which lives, or that was never connected.
const HUNG: &str = "its connection does not answer, although its database server commits for others";
/// Why a writer stays although it hangs, and what helps.
const FULL: &str = "it has left too many connections behind; end their sessions, or restart this server";

/// What the writers of one queue share.
pub(super) struct Post {
    pub(super) index: usize,
    pub(super) queue: Arc<Mutex<Queue>>,
    pub(super) settings: Arc<SettingsCache>,
    pub(super) feed: Feed,
    pub(super) clock: Clock,
    pub(super) pulse: Pulse,
    pub(super) patience: Patience,
}

/// A writer at work.
struct Shift {
    thread: JoinHandle<()>,
    progress: Progress,
    /// Nothing is sent: it ends with the thread.
    end: Receiver<()>,
}

/// Starts a writer on `store`, with a supervisor if the store may lead to other servers. The thread ends with them.
pub(super) fn start(post: Post, store: Box<dyn BatchStore>) -> std::io::Result<JoinHandle<()>> {
    let spare = store.another();
    let shift = post.begin(store, None)?;
    match spare {
        None => Ok(shift.thread),
        Some(spare) => {
            let spare = Spare::new(spare, post.index, post.patience.connect);
            let thread = std::thread::Builder::new().name(format!("supervisor-{}", post.index));
            thread.spawn(move || post.supervise(shift, spare))
        }
    }
}

impl Post {
    fn begin(&self, store: Box<dyn BatchStore>, server: Option<Server>) -> std::io::Result<Shift> {
        let (progress, measures) = (Progress::on(server), Measures::of_writer(self.index));
        let (settings, feed) = (Arc::clone(&self.settings), self.feed.clone());
        let (clock, pulse) = (self.clock.clone(), self.pulse.clone());
        let writer = Writer::new(store, settings, feed, clock, pulse, measures, progress.clone());
        let (queue, (sender, end)) = (Arc::clone(&self.queue), channel());
        let thread = std::thread::Builder::new().name(format!("writer-{}", self.index)).spawn(move || {
            let _sender = sender;
            writer.run(&queue);
        })?;
        Ok(Shift { thread, progress, end })
    }

    /// Looks at the writer until it ends.
    fn supervise(&self, mut shift: Shift, mut spare: Spare) {
        let hung_after = self.patience.hung_after;
        // Writers that hang on servers that live.
        let mut left_behind: Vec<JoinHandle<()>> = Vec::new();
        let mut is_full_told = false;
        let mut connect_at = Instant::now();
        while let Ok(()) | Err(RecvTimeoutError::Timeout) = shift.end.recv_timeout(limits::SUPERVISE_EVERY) {
            if !shift.progress.is_stuck() || connect_at > Instant::now() {
                continue;
            }
            left_behind.retain(|thread| !thread.is_finished());
            let has_room = left_behind.len() < limits::HUNG_WRITERS_MAX;
            let is_full = !has_room && shift.progress.has_worked_for(hung_after);
            if is_full && !is_full_told {
                tracing::error!(writer = self.index, cause = FULL, "no new writer takes the place of a stuck one");
            }
            is_full_told = is_full;
            let probe = if has_room { shift.progress.probe_after(hung_after) } else { Probe::Nowhere };
            let found = spare.connect(probe);
            connect_at = Instant::now() + limits::SUPERVISOR_CONNECTS_EVERY;
            // If the connection is not used, it ends here.
            let Some(Connected { store, server, has_committed }) = found else { continue };
            if has_committed {
                // A standby that comes back lets this commit and the writer's return at the same moment. The writer
                // gets time to finish.
                let _ = shift.end.recv_timeout(limits::SUPERVISE_EVERY);
            }
            let hung_after = has_committed.then_some(hung_after);
            let Some(batch) = shift.progress.replace(&server, hung_after) else { continue };
            let cause = if has_committed { HUNG } else { TAKEN_OVER };
            tracing::warn!(
                writer = self.index,
                calls = batch.len(),
                cause,
                "a new writer takes the place of a stuck one"
            );
            // Only after `replace`: from then on, a late connection of the old writer is not adopted.
            store.adopted(&server);
            self.disappoint(&batch, cause);
            match self.begin(store, Some(server)) {
                Ok(next) => {
                    let old = std::mem::replace(&mut shift, next);
                    // Nobody waits for the old thread.
                    left_behind.extend(has_committed.then_some(old.thread));
                }
                Err(error) => {
                    tracing::error!(%error, writer = self.index, "the system refused a thread: restart this server");
                    return;
                }
            }
        }
        if let Err(panic) = shift.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }

    /// Answers callers whose batch has no known end.
    fn disappoint(&self, batch: &[Pending], cause: &str) {
        let error = Failed::OutcomeUnknown(Arc::new(StoreError::Gone(Trouble::Timeout, cause.into()))).into();
        let measures = Measures::of_writer(self.index);
        measures.outcome_unknown();
        measures.ended(Ending::Unknown, batch.len());
        self.pulse.failed(&error);
        answer_for_writer(batch, &error);
    }
}

/// What a writer is doing, as it tells its supervisor. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The server of the writer's last connection; `None` if it has never had one.
    server: Option<Server>,
    /// Whether it still has that connection.
    is_connected: bool,
    /// Since when it works at what it does; `None` while it waits for work.
    since: Option<Instant>,
    /// The batch. A task's caller learns nothing before its deadline.
    batch: Option<Arc<Vec<Pending>>>,
    replaced: bool,
}

impl Progress {
    fn on(server: Option<Server>) -> Self {
        Self(Arc::new(Mutex::new(State { is_connected: server.is_some(), server, ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the writer has a connection.
    pub(super) fn is_connected(&self) -> bool {
        self.state().is_connected
    }

    /// The writer has connected to this server. Adopts the connection, unless another writer has taken its place.
    pub(super) fn connected(&self, server: Server, adopt: impl FnOnce(&Server)) {
        // `replace` waits for this lock, so the connection of the new writer is always adopted later.
        let mut state = self.state();
        if !state.replaced {
            adopt(&server);
            (state.server, state.is_connected) = (Some(server), true);
        }
    }

    /// The writer does not use its connection again.
    pub(super) fn disconnected(&self) {
        self.state().is_connected = false;
    }

    /// The writer begins to work at a batch, or at a task if that is empty.
    pub(super) fn begins(&self, batch: Vec<Pending>) -> Arc<Vec<Pending>> {
        let batch = Arc::new(batch);
        let mut state = self.state();
        (state.since, state.batch) = (Some(Instant::now()), Some(Arc::clone(&batch)));
        batch
    }

    /// The writer has finished; gives the batch back. `None` if another writer has taken its place.
    pub(super) fn ends(&self, batch: Arc<Vec<Pending>>) -> Option<Vec<Pending>> {
        let mut state = self.state();
        (state.since, state.batch) = (None, None);
        // Only `replace` has taken another clone.
        Arc::try_unwrap(batch).ok().filter(|_| !state.replaced)
    }

    /// The writer has panicked, and its connection is not used again. Gives the batch back; `None` if there is none, or
    /// another writer has taken its place.
    pub(super) fn broke(&self) -> Option<Arc<Vec<Pending>>> {
        let mut state = self.state();
        (state.since, state.is_connected) = (None, false);
        state.batch.take()
    }

    /// Whether another writer has taken the place of this one.
    pub(super) fn is_replaced(&self) -> bool {
        self.state().replaced
    }

    fn is_stuck(&self) -> bool {
        self.state().is_stuck()
    }

    fn has_worked_for(&self, time: Duration) -> bool {
        self.state().has_worked_for(time)
    }

    /// Where the supervisor commits something: on the writer's server, if the writer has worked at one batch for this
    /// time.
    fn probe_after(&self, time: Duration) -> Probe {
        let state = self.state();
        if !state.has_worked_for(time) {
            return Probe::Nowhere;
        }
        state.server.clone().map_or(Probe::Anywhere, Probe::On)
    }

    /// Lets another writer that is connected to `server` take the place of this one, unless that has gone on. If its
    /// server is the same, or it was never connected, it must have worked at its batch for the time `hung_after`;
    /// `None` lets it stay. Returns its batch.
    fn replace(&self, server: &Server, hung_after: Option<Duration>) -> Option<Arc<Vec<Pending>>> {
        let mut state = self.state();
        let is_lost = state.server.as_ref().is_some_and(|known| known != server);
        let is_hung = hung_after.is_some_and(|time| state.has_worked_for(time));
        if !state.is_stuck() || !(is_lost || is_hung) {
            return None;
        }
        state.replaced = true;
        state.batch.take()
    }
}

impl State {
    fn is_stuck(&self) -> bool {
        self.has_worked_for(limits::WRITER_STUCK_AFTER)
    }

    /// Whether the writer has worked at one batch for this time.
    fn has_worked_for(&self, time: Duration) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= time)
    }
}
