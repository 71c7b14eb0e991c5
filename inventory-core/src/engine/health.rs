//! Whether the writers can commit. Readiness follows this, and nothing else.
//!
//! A writer that committed within `FRESH` can commit. Of any other a probe finds out: a small durable write through
//! the writer's own queue and connection, so a writer that hangs in a commit is noticed too. A probe needs little room,
//! and may find some on a disk that is full for an order. So it does not outweigh a commit that found none within
//! `NO_ROOM_FOR`.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::engine::message::{Reply, Task, Ticket};
use crate::engine::queue::QueueSender;
use crate::model::error::{Error, Failed, StoreError, Trouble};

/// How long a commit shows that its writer can commit, and how long a probe may take.
const FRESH: Duration = Duration::from_secs(1);
/// How long a commit that found no room shows that its writer cannot commit, unless another one succeeds.
const NO_ROOM_FOR: Duration = Duration::from_secs(10);
/// The pause between two looks at the writers.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The pause before a look that a failed commit asks for.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Whether the writers can commit.
#[derive(Clone, Debug)]
pub enum Health {
    /// Nobody has looked yet.
    Starting,
    /// All of them can.
    Ready,
    /// One of them cannot.
    NotReady(NotReady),
}

/// Why a writer cannot commit.
#[derive(Clone, Debug)]
pub enum NotReady {
    /// Its last commit, or a probe, failed.
    Failed(Arc<Error>),
    /// It has not finished its work in time.
    Silent,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Silent => write!(f, "a writer has not finished a commit for {} s", FRESH.as_secs()),
        }
    }
}

impl std::error::Error for NotReady {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed(error) => error.source(),
            Self::Silent => None,
        }
    }
}

impl Health {
    /// Whether the two are the same to an observer.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Starting, Self::Starting) | (Self::Ready, Self::Ready) => true,
            (Self::NotReady(one), Self::NotReady(other)) => one.to_string() == other.to_string(),
            (Self::Starting | Self::Ready | Self::NotReady(_), _) => false,
        }
    }
}

/// The commits of one writer, as its health sees them. Cheap to clone.
#[derive(Clone)]
pub(super) struct Pulse {
    last: Arc<Mutex<Last>>,
    failed: Arc<Notify>,
}

/// What is known of the last commits.
#[derive(Default)]
enum Last {
    /// Nothing that a probe would not tell.
    #[default]
    Unknown,
    Committed(Instant),
    /// The disk had no room, or failed.
    NoRoom(Instant, Arc<Error>),
}

impl Pulse {
    /// A commit succeeded.
    pub(super) fn committed(&self) {
        *self.lock() = Last::Committed(Instant::now());
    }

    /// A probe succeeded.
    pub(super) fn probed(&self) {
        let mut last = self.lock();
        if last.no_room().is_none() {
            *last = Last::Committed(Instant::now());
        }
    }

    /// A commit, or a probe, failed because of the store.
    pub(super) fn failed(&self, error: &Error) {
        *self.lock() = match error {
            Error::Failed(Failed::StoreUnavailable(why)) if is_of_disk(why) => {
                Last::NoRoom(Instant::now(), Arc::new(error.clone()))
            }
            Error::Failed(_) | Error::Invalid(_) => Last::Unknown,
        };
        self.failed.notify_one();
    }

    fn is_fresh(&self) -> bool {
        match *self.lock() {
            Last::Committed(at) => at.elapsed() < FRESH,
            Last::Unknown | Last::NoRoom(..) => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Last {
    /// The error of a commit that found no room a short time ago.
    fn no_room(&self) -> Option<Arc<Error>> {
        match self {
            Self::NoRoom(at, error) if at.elapsed() < NO_ROOM_FOR => Some(Arc::clone(error)),
            Self::NoRoom(..) | Self::Unknown | Self::Committed(_) => None,
        }
    }
}

/// Whether the database's disk is why it can do nothing.
fn is_of_disk(error: &StoreError) -> bool {
    matches!(error, StoreError::Unable(Trouble::DiskFull | Trouble::DiskFailed, _))
}

/// The health of all writers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Monitor {
    health: watch::Sender<Health>,
    failed: Arc<Notify>,
}

impl Monitor {
    pub(super) fn new() -> Self {
        Self { health: watch::Sender::new(Health::Starting), failed: Arc::new(Notify::new()) }
    }

    /// The pulse of a new writer.
    pub(super) fn pulse(&self) -> Pulse {
        Pulse { last: Arc::default(), failed: Arc::clone(&self.failed) }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Looks at the writers, again and again. Never ends.
    pub(super) async fn run(&self, writers: &[(QueueSender, Pulse)]) {
        loop {
            let looks: JoinSet<_> = writers.iter().map(|(queue, pulse)| look(queue.clone(), pulse.clone())).collect();
            let looks = looks.join_all().await;
            let found = looks.into_iter().find_map(Result::err).map_or(Health::Ready, Health::NotReady);
            self.health.send_if_modified(|health| {
                let is_new = !health.is(&found);
                if is_new {
                    *health = found;
                }
                is_new
            });
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.failed.notified() => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }
}

/// Whether a writer can commit.
async fn look(queue: QueueSender, pulse: Pulse) -> Result<(), NotReady> {
    if pulse.is_fresh() {
        return Ok(());
    }
    if let Some(error) = pulse.lock().no_room() {
        return Err(NotReady::Failed(error));
    }
    let failed = |error: Error| NotReady::Failed(Arc::new(error));
    let (reply, answer) = Reply::new();
    let ticket = Ticket::until(Instant::now() + FRESH);
    match queue.send_task(Task::Probe(reply), ticket) {
        Ok(()) => {}
        Err(Failed::Overloaded) => return Err(NotReady::Silent),
        Err(error) => return Err(failed(error.into())),
    }
    match tokio::time::timeout(FRESH, answer).await {
        Ok(Ok(Ok(()))) => Ok(()),
        // The writer may have committed something else meanwhile.
        _ if pulse.is_fresh() => Ok(()),
        Ok(Ok(Err(Error::Failed(Failed::Expired)))) | Err(_) => Err(NotReady::Silent),
        Ok(Ok(Err(error))) => Err(failed(error)),
        Ok(Err(_)) => Err(failed(Failed::NoAnswer.into())),
    }
}
