//! What waits for a writer, and how it is gathered into batches.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use crate::command::Command;
use crate::engine::plan::Answer;
use crate::error::Error;
use crate::ids::{LocationId, SiteId};
use crate::limits;
use crate::site::{Place, SiteSettings};
use crate::store::batch::PrunedTo;

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

/// A change of a site's settings on its way.
pub(crate) struct PendingSettings {
    pub(crate) site: SiteId,
    pub(crate) change: SettingsChange,
    pub(crate) reply: oneshot::Sender<Result<(SiteSettings, i64), Error>>,
}

/// A step of pruning on its way.
pub(crate) struct PendingPrune {
    pub(crate) after: PrunedTo,
    pub(crate) before: i64,
    pub(crate) reply: oneshot::Sender<Result<Option<PrunedTo>, Error>>,
}

/// What to change about a site's settings; what is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct SettingsChange {
    /// The default location's id.
    pub default_location: Option<LocationId>,
    /// Per catalog app id, the option keys that identify stock; `None` returns to the built-in
    /// rule. Apps that are not listed stay as they are.
    pub option_keys: Vec<(String, Option<Vec<String>>)>,
}

/// What a writer is handed.
pub(crate) enum Job {
    /// A change of stock.
    Change(Box<Pending>),
    /// A change of settings: a batch of its own, since it decides what later items mean.
    Settings(PendingSettings),
    /// A step of pruning.
    Prune(PendingPrune),
    /// Finish what is queued, then end.
    Stop,
}

/// The next thing a writer does.
pub(crate) enum Work {
    /// Commands to commit together.
    Batch(Vec<Pending>),
    /// Settings to write.
    Settings(PendingSettings),
    /// A step of pruning to take.
    Prune(PendingPrune),
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
                Job::Settings(settings) => return Some(Work::Settings(settings)),
                Job::Prune(prune) => return Some(Work::Prune(prune)),
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
