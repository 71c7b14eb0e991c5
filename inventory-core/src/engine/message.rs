//! What callers send to a writer. Each message carries what the writer needs to answer it: the reply channel, the
//! deadline, the caller's span, and the time at which it was queued.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::engine::resolve::Resolution;
use crate::engine::storage::PruneCursor;
use crate::model::access::Author;
use crate::model::command::Command;
use crate::model::error::{Error, Failed};
use crate::model::ids::SiteId;
use crate::model::outcome::Outcome;
use crate::model::site::{Site, SiteChange, SiteSettings};
use crate::model::unit::{ConfiguredUnit, UnitChange, UnitSelector};

/// A message to a writer.
pub(super) struct Message {
    pub(super) work: Work,
    pub(super) ticket: Ticket,
}

/// When a message was queued, until when it is wanted, and on whose behalf.
pub(super) struct Ticket {
    pub(super) deadline: Instant,
    pub(super) queued_at: Instant,
    pub(super) span: tracing::Span,
}

/// The kinds of work of a writer.
pub(super) enum Work {
    /// A change of stock, which may share a batch with others.
    Change(Box<Change>),
    /// A transaction of its own.
    Alone(Task),
    /// Finish what is queued, then end.
    Stop,
}

/// Work that is a transaction of its own.
pub(super) enum Task {
    /// A change of a site's settings: it decides what later items mean.
    ConfigureSite(SiteId, Box<SiteChange>, Author, Reply<Site>),
    /// A change of units' settings.
    ConfigureUnits(SiteId, Vec<(UnitSelector, UnitChange)>, Author, Reply<ConfiguredUnits>),
    /// One step of pruning: request records after a cursor, recorded before a time.
    Prune(PruneCursor, i64, Reply<Option<PruneCursor>>),
    /// A durable write that changes nothing.
    Probe(Reply<()>),
}

/// A command, and what its items meant to the caller's thread.
pub(super) struct Change {
    pub(super) command: Command,
    /// What the items mean under `settings`.
    pub(super) resolution: Resolution,
    pub(super) settings: Arc<SiteSettings>,
    pub(super) reply: Reply<Outcome>,
}

/// Units as they are after a change of their settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredUnits {
    /// The units, one for each change, in their order.
    pub units: Vec<ConfiguredUnit>,
    /// The site's sequence number at that time.
    pub sequence: i64,
}

impl Ticket {
    /// A ticket of the current span, queued now.
    pub(super) fn until(deadline: Instant) -> Self {
        Self { deadline, queued_at: Instant::now(), span: tracing::Span::current() }
    }

    /// Whether the deadline has passed.
    pub(super) fn is_expired(&self) -> bool {
        self.deadline <= Instant::now()
    }
}

/// Where the answer goes.
pub(super) struct Reply<T>(oneshot::Sender<Result<T, Error>>);

impl<T> Reply<T> {
    /// A reply, and the receiver of its answer.
    pub(super) fn new() -> (Self, oneshot::Receiver<Result<T, Error>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    pub(super) fn send(self, answer: Result<T, Error>) {
        // The caller may have stopped waiting; ignore the send error.
        let _ = self.0.send(answer);
    }

    /// Answers that the deadline passed before the work began.
    pub(super) fn expire(self) {
        self.send(Err(Failed::Expired.into()));
    }
}
