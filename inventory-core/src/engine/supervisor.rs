//! Replaces a writer whose database server does not answer any more, after another server has taken over.
//!
//! diesel blocks the thread of a writer until the server answers. A server whose processes are stopped, or a machine
//! that hangs, keeps its connections open, so the wait has no end. Nobody else can close the connection. So the
//! supervisor leaves the old writer to itself: it answers the callers of that batch that the outcome is unknown, and
//! starts a new writer on the same queue.
//!
//! It does so only if it helps. When a writer has worked at one batch for `limits::WRITER_STUCK_AFTER`, its supervisor
//! connects as the writer would. If it reaches another server than the writer's, that has taken over, and the new
//! writer starts with this connection. If it reaches the same server, that one lives, and a new writer would wait for
//! the same: for a standby that is away, most likely. Then the writer stays, its callers are answered at their
//! deadlines, and the supervisor looks again. So there are never more threads left behind than servers were lost.
//!
//! A writer that was left behind answers nobody, takes nothing from the queue, and ends as soon as its call returns.
//! Its batch may be committed by then; the idempotency keys make that harmless.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::engine::clock::Clock;
use crate::engine::feed::Feed;
use crate::engine::health::Pulse;
use crate::engine::measure::{Ending, Measures};
use crate::engine::message::{Pending, answer_for_writer};
use crate::engine::queue::Queue;
use crate::engine::resolve::SettingsCache;
use crate::engine::storage::{BatchStore, Server};
use crate::engine::writer::Writer;
use crate::model::error::{Failed, StoreError, Trouble};
use crate::model::limits;

/// What the writers of one queue share.
pub(super) struct Post {
    pub(super) index: usize,
    pub(super) queue: Arc<Mutex<Queue>>,
    pub(super) settings: Arc<SettingsCache>,
    pub(super) feed: Feed,
    pub(super) clock: Clock,
    pub(super) pulse: Pulse,
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
    fn supervise(&self, mut shift: Shift, mut spare: Box<dyn BatchStore>) {
        let mut connect_at = Instant::now();
        while let Ok(()) | Err(RecvTimeoutError::Timeout) = shift.end.recv_timeout(limits::SUPERVISE_EVERY) {
            if !shift.progress.is_stuck() || connect_at > Instant::now() {
                continue;
            }
            let found = spare.connect();
            connect_at = Instant::now() + limits::SUPERVISOR_CONNECTS_EVERY;
            // Drops the connection too, if it is not used.
            let Some(next) = spare.another() else { continue };
            let store = std::mem::replace(&mut spare, next);
            let Ok(server) = found else { continue };
            let Some(batch) = shift.progress.replace(&server) else { continue };
            tracing::warn!(
                writer = self.index,
                calls = batch.len(),
                "a database server does not answer; a new writer works with the one that took over"
            );
            self.disappoint(&batch);
            match self.begin(store, Some(server)) {
                // Nobody waits for the old thread.
                Ok(next) => shift = next,
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
    fn disappoint(&self, batch: &[Pending]) {
        let cause = "its server does not answer, and another one has taken over".into();
        let error = Failed::OutcomeUnknown(Arc::new(StoreError::Gone(Trouble::Timeout, cause))).into();
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
    /// The server of the writer's connection; `None` without one.
    server: Option<Server>,
    /// Since when it works at what it does; `None` while it waits for work.
    since: Option<Instant>,
    /// The batch. A task's caller learns nothing before its deadline.
    batch: Option<Arc<Vec<Pending>>>,
    replaced: bool,
}

impl Progress {
    fn on(server: Option<Server>) -> Self {
        Self(Arc::new(Mutex::new(State { server, ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the writer has a connection.
    pub(super) fn is_connected(&self) -> bool {
        self.state().server.is_some()
    }

    /// The writer has a connection to this server, or none.
    pub(super) fn connected(&self, server: Option<Server>) {
        self.state().server = server;
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
        (state.since, state.server) = (None, None);
        state.batch.take()
    }

    /// Whether another writer has taken the place of this one.
    pub(super) fn is_replaced(&self) -> bool {
        self.state().replaced
    }

    fn is_stuck(&self) -> bool {
        self.state().is_stuck()
    }

    /// Lets another writer that is connected to `server` take the place of this one, unless that is on the same
    /// server, or has gone on. Returns its batch.
    fn replace(&self, server: &Server) -> Option<Arc<Vec<Pending>>> {
        let mut state = self.state();
        if !state.is_stuck() || state.server.as_ref() == Some(server) {
            return None;
        }
        state.replaced = true;
        state.batch.take()
    }
}

impl State {
    fn is_stuck(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= limits::WRITER_STUCK_AFTER)
    }
}
