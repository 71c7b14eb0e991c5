//! What waits for a writer, and how it is gathered into batches.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use crate::command::Command;
use crate::engine::plan::Answer;
use crate::engine::writer::Writer;
use crate::error::Error;
use crate::limits;
use crate::site::{Place, SiteSettings};

/// A command on its way, with the one who waits for it.
pub(crate) struct Pending {
    pub(crate) command: Command,
    /// What its items mean under `settings`.
    pub(crate) places: Result<Vec<Place>, Error>,
    pub(crate) settings: Arc<SiteSettings>,
    pub(crate) deadline: Instant,
    pub(crate) reply: oneshot::Sender<Answer>,
}

impl Pending {
    /// Answers; the caller may have gone away, which is its own affair.
    pub(crate) fn answer(self, answer: Answer) {
        let _ = self.reply.send(answer);
    }
}

/// What a writer is handed.
pub(crate) enum Job {
    /// A change of stock.
    Change(Box<Pending>),
    /// A transaction of its own, between the batches: a change of settings, since it decides what later
    /// items mean, or a step of pruning.
    Alone(Alone),
    /// Finish what is queued, then end.
    Stop,
}

/// What a writer does by itself, and tells whoever waits for it.
pub(crate) type Alone = Box<dyn FnOnce(&mut Writer) + Send>;

/// The next thing a writer does.
pub(crate) enum Work {
    /// Commands to commit together.
    Batch(Vec<Pending>),
    /// A transaction of its own.
    Alone(Alone),
}

/// The writer's end of its queue.
pub(crate) struct Queue {
    jobs: mpsc::Receiver<Job>,
    /// Taken from the queue, but not fitting the batch before it.
    held: Option<Job>,
}

impl Queue {
    pub(crate) fn new() -> (mpsc::Sender<Job>, Self) {
        let (sender, jobs) = mpsc::channel(limits::QUEUE_COMMANDS_MAX);
        (sender, Self { jobs, held: None })
    }

    /// Waits for work, and takes whatever else is waiting up to the limits. There is no timer: an
    /// idle system answers at once, and a busy one fills its queue during the commit before.
    /// `None` when the queue is closed and empty.
    pub(crate) fn next(&mut self) -> Option<Work> {
        let first = loop {
            let job = match self.held.take() {
                Some(job) => job,
                None => self.jobs.blocking_recv()?,
            };
            match job {
                Job::Change(pending) => break *pending,
                Job::Alone(work) => return Some(Work::Alone(work)),
                Job::Stop => self.jobs.close(),
            }
        };
        let mut items = first.command.action.item_count();
        let mut batch = vec![first];
        while batch.len() < limits::BATCH_COMMANDS_MAX {
            match self.jobs.try_recv() {
                Ok(Job::Change(pending)) if items + pending.command.action.item_count() <= limits::BATCH_ITEMS_MAX => {
                    items += pending.command.action.item_count();
                    batch.push(*pending);
                }
                Ok(job) => {
                    self.held = Some(job);
                    break;
                }
                Err(_) => break,
            }
        }
        Some(Work::Batch(batch))
    }
}
