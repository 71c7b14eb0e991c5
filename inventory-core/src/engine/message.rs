//! What callers send to a writer. Each piece of work carries what the writer needs to answer it: where the answer goes,
//! the deadline, the caller's span, and the time at which it was queued.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use crate::engine::resolve::Resolution;
use crate::engine::storage::{Age, PruneCursor};
use crate::model::access::Author;
use crate::model::command::Command;
use crate::model::error::{Error, Failed};
use crate::model::ids::SiteId;
use crate::model::outcome::Outcome;
use crate::model::site::{Site, SiteChange, SiteSettings};
use crate::model::unit::{ConfiguredUnit, UnitChange, UnitSelector};

/// A message to a writer.
pub(super) enum Message {
    /// Changes of stock, which may share a batch with others. They wait in this order.
    Changes(Vec<Pending>),
    /// A transaction of its own.
    Alone(Task, Ticket),
    /// Finish what is queued, then end.
    Stop,
}

/// A change that waits for its batch.
pub(super) type Pending = (Change, Ticket);

/// What a caller holds for a command, such as the memory of its message. It is dropped when the engine has no more of
/// the command, which may be long after its deadline.
pub type Held = Option<Arc<dyn Any + Send + Sync>>;

/// When a message was queued, until when it is wanted, and on whose behalf.
pub(super) struct Ticket {
    pub(super) deadline: Instant,
    pub(super) queued_at: Instant,
    pub(super) span: tracing::Span,
    pub(super) _held: Held,
}

/// Work that is a transaction of its own.
pub(super) enum Task {
    /// A change of a site's settings: it decides what later items mean.
    ConfigureSite(SiteId, Box<SiteChange>, Author, Reply<Site>),
    /// A change of units' settings.
    ConfigureUnits(SiteId, Vec<(UnitSelector, UnitChange)>, Author, Reply<ConfiguredUnits>),
    /// A look at the clock: which records are older than this many microseconds.
    Age(i64, Reply<Age>),
    /// One step of pruning: request records after a cursor, recorded before a time.
    Prune(PruneCursor, i64, Reply<Option<PruneCursor>>),
    /// A durable write that changes nothing.
    Probe(Reply<()>),
}

impl Task {
    /// The site whose settings it changes; `None` for the upkeep of the whole database.
    pub(super) const fn site(&self) -> Option<SiteId> {
        match self {
            Self::ConfigureSite(site, ..) | Self::ConfigureUnits(site, ..) => Some(*site),
            Self::Age(..) | Self::Prune(..) | Self::Probe(..) => None,
        }
    }
}

/// A command, and what its items meant to the caller's thread.
pub(super) struct Change {
    pub(super) command: Command,
    /// What the items mean under `settings`.
    pub(super) resolution: Resolution,
    pub(super) settings: Arc<SiteSettings>,
    pub(super) reply: ChangeReply,
}

/// Where the answer to a change goes.
pub(super) enum ChangeReply {
    /// To the one caller that waits for it.
    Call(Reply<Outcome>),
    /// To a stream of commands: its channel, and the stream's number for the command.
    Stream(mpsc::UnboundedSender<Vec<Answered>>, u64),
}

/// The answer to a command of a stream.
pub struct Answered {
    /// The stream's number for the command.
    pub id: u64,
    /// Its durable outcome.
    pub result: Result<Outcome, Error>,
    /// Freed by the stream, which also made them: that is cheaper than on the writer's thread.
    _decided: Option<(Command, Resolution)>,
}

/// Answers changes, in their order. Answers that follow each other and go to the same stream travel together, so that
/// the stream wakes once for all.
pub(super) fn answer(changes: impl Iterator<Item = (Change, Result<Outcome, Error>)>) {
    let mut together: Option<(mpsc::UnboundedSender<Vec<Answered>>, Vec<Answered>)> = None;
    // The caller may have stopped waiting; ignore the send error.
    let send = |(stream, answers): (mpsc::UnboundedSender<_>, _)| drop(stream.send(answers));
    for (Change { command, resolution, settings: _, reply }, result) in changes {
        let (stream, id) = match reply {
            ChangeReply::Call(reply) => {
                reply.send(result);
                continue;
            }
            ChangeReply::Stream(stream, id) => (stream, id),
        };
        let answered = Answered { id, result, _decided: Some((command, resolution)) };
        match &mut together {
            Some((last, answers)) if last.same_channel(&stream) => answers.push(answered),
            Some(_) | None => {
                if let Some(full) = together.replace((stream, vec![answered])) {
                    send(full);
                }
            }
        }
    }
    if let Some(last) = together {
        send(last);
    }
}

/// Answers changes that a writer holds and will not answer, all with the same error.
pub(super) fn answer_for_writer(changes: &[Pending], error: &Error) {
    for (Change { reply, .. }, _) in changes {
        match reply {
            ChangeReply::Call(reply) => reply.send(Err(error.clone())),
            ChangeReply::Stream(stream, id) => {
                // The caller may have stopped waiting; ignore the send error.
                let _ = stream.send(vec![Answered { id: *id, result: Err(error.clone()), _decided: None }]);
            }
        }
    }
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
        Self { deadline, queued_at: Instant::now(), span: tracing::Span::current(), _held: None }
    }

    /// Whether the deadline has passed.
    pub(super) fn is_expired(&self) -> bool {
        self.deadline <= Instant::now()
    }
}

/// Where the answer goes.
pub(super) struct Reply<T>(Mutex<Option<oneshot::Sender<Result<T, Error>>>>);

impl<T> Reply<T> {
    /// A reply, and the receiver of its answer.
    pub(super) fn new() -> (Self, oneshot::Receiver<Result<T, Error>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Mutex::new(Some(sender))), receiver)
    }

    /// Answers, unless somebody has answered already: a supervisor may answer for its writer.
    pub(super) fn send(&self, answer: Result<T, Error>) {
        let caller = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The caller may have stopped waiting; ignore the send error.
        let _ = caller.map(|caller| caller.send(answer));
    }

    /// Answers that the deadline passed before the task began.
    pub(super) fn expire(&self) {
        self.send(Err(Failed::Expired.into()));
    }
}
