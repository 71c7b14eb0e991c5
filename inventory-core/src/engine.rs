//! The engine: commands go in from any task, and come back decided and durable.
//!
//! One durable commit costs about the same for one command as for five hundred, so the engine never commits one
//! command while more are waiting. Along a command's path: `resolve` finds the levels that its items mean, `message`
//! carries it through `queue` to `writer`, `batch` decides it, and `commit` makes the batch one transaction on the
//! store behind `storage`. `feed` wakes those who follow the ledger.
//!
//! A writer whose connection to the database hangs is replaced by its `supervisor`. Commands of a site that somebody
//! else has locked are set `aside`.
//!
//! Sites are divided among the writers by their ids: a site's commit does not wait for another writer's, and a site's
//! commands keep their order.

mod aside;
mod batch;
mod cache;
pub mod clock;
mod commit;
mod configure;
pub mod feed;
pub mod health;
mod measure;
mod message;
mod queue;
mod resolve;
pub mod retention;
pub mod storage;
mod stream;
mod supervisor;
pub mod tokens;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use uuid::Uuid;

pub use crate::engine::message::{Answered, ConfiguredUnits, Held};
pub use crate::engine::stream::{Answers, Commands, StreamCommand};
pub use crate::engine::supervisor::Patience;

use crate::engine::clock::Clock;
use crate::engine::feed::Feed;
use crate::engine::health::{Health, Monitor, Pulse};
use crate::engine::message::{Change, ChangeReply, Pending, Reply, Task, Ticket};
use crate::engine::queue::{Queue, QueueSender};
use crate::engine::resolve::{SettingsCache, resolve};
use crate::engine::storage::{Age, BatchStore, OpenWriters};
use crate::engine::supervisor::Post;
use crate::model::access::Author;
use crate::model::command::Command;
use crate::model::error::{Error, Failed};
use crate::model::ids::{RequestKey, SiteId};
use crate::model::limits;
use crate::model::outcome::Outcome;
use crate::model::site::{Site, SiteChange};
use crate::model::unit::{UnitChange, UnitSelector};

/// The handle to the writers. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    writers: Arc<[(QueueSender, Pulse)]>,
    monitor: Monitor,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    settings: Arc<SettingsCache>,
    feed: Feed,
}

impl Engine {
    /// Starts as many writers as the store can use: one for SQLite, which has one write lock, several for Postgres.
    ///
    /// `clock` gives each batch its time. A site's time never runs backwards: a batch is never earlier than the one
    /// before it, whichever server wrote that.
    pub fn start(store: &impl OpenWriters, clock: Clock) -> std::io::Result<Self> {
        Self::start_with(store, clock, Patience::default())
    }

    /// The same, with other times after which a writer that hangs is replaced.
    pub fn start_with(store: &impl OpenWriters, clock: Clock, patience: Patience) -> std::io::Result<Self> {
        Self::with_writers(store.writers(), &clock, patience)
    }

    fn with_writers(stores: Vec<Box<dyn BatchStore>>, clock: &Clock, patience: Patience) -> std::io::Result<Self> {
        let (settings, feed) = (Arc::new(SettingsCache::default()), Feed::default());
        let monitor = Monitor::new();
        let (mut writers, mut threads) = (Vec::new(), Vec::new());
        measure::describe();
        for (index, store) in stores.into_iter().enumerate() {
            let (sender, queue) = Queue::new();
            let (queue, settings) = (Arc::new(Mutex::new(queue)), Arc::clone(&settings));
            let (feed, clock, pulse) = (feed.clone(), clock.clone(), monitor.pulse());
            let post = Post { index, queue, settings, feed, clock, pulse: pulse.clone(), patience };
            threads.push(supervisor::start(post, store)?);
            writers.push((sender, pulse));
        }
        let engine = Self { writers: writers.into(), monitor, threads: Arc::new(Mutex::new(threads)), settings, feed };
        engine.measure();
        Ok(engine)
    }

    /// Applies a command, and returns once its outcome is durable. A command that has been decided is carried through,
    /// even if its caller goes away.
    pub async fn submit(&self, command: Command, deadline: Instant) -> Result<Outcome, Error> {
        self.submit_holding(command, deadline, None).await
    }

    /// The same, for a command for which the caller holds something.
    pub async fn submit_holding(&self, command: Command, deadline: Instant, held: Held) -> Result<Outcome, Error> {
        let writer = self.writer(command.site());
        let (reply, answer) = Reply::new();
        let ticket = Ticket { _held: held, ..Ticket::until(deadline) };
        let pending = self.pending(command, ChangeReply::Call(reply), ticket);
        writer.send_changes(vec![pending]).map_err(|(failed, _)| refused(failed, 1))?;
        answered(answer, deadline).await
    }

    /// Changes a site's settings; returns the site as it is then. A site that is not stored is created. The journal
    /// gets what changed, by `author`.
    pub async fn configure_site(
        &self,
        site: SiteId,
        change: SiteChange,
        author: Author,
        deadline: Instant,
    ) -> Result<Site, Error> {
        let (reply, answer) = Reply::new();
        self.enqueue(site, Task::ConfigureSite(site, Box::new(change), author, reply), deadline)?;
        answered(answer, deadline).await
    }

    /// Changes the settings of units in one transaction: all or none. Units that are not stored are created.
    /// The journal gets what changed, by `author`.
    pub async fn configure_units(
        &self,
        site: SiteId,
        changes: Vec<(UnitSelector, UnitChange)>,
        author: Author,
        deadline: Instant,
    ) -> Result<ConfiguredUnits, Error> {
        let (reply, answer) = Reply::new();
        self.enqueue(site, Task::ConfigureUnits(site, changes, author, reply), deadline)?;
        answered(answer, deadline).await
    }

    /// Deletes the outcomes of requests that are older than `retention`, step by step between the batches. A replay of
    /// such a request is then a new request. Call it every `limits::PRUNE_EVERY_MICROS`: a record grows old by the time
    /// between the calls, not by a clock that jumps (`store/age.rs`).
    pub async fn prune(&self, retention: Duration) -> Result<(), Error> {
        let mut after = (SiteId::from_uuid(Uuid::nil()), RequestKey::from_uuid(Uuid::nil()));
        let retention = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
        let (reply, answer) = Reply::new();
        let deadline = Instant::now() + limits::ANSWER_TIME_DEFAULT;
        self.enqueue(after.0, Task::Age(retention, reply), deadline)?;
        let Age { before, jumped } = answered(answer, deadline).await?;
        if let Some(micros) = jumped {
            let seconds = micros / 1_000_000;
            tracing::warn!(
                seconds,
                "the clock is not where it was expected: either no server ran, or the clock was set; outcomes of \
                 requests are kept longer by that time"
            );
        }
        let Some(before) = before else { return Ok(()) };
        loop {
            let (reply, answer) = Reply::new();
            // Any writer may prune: answered requests need no site lock.
            let deadline = Instant::now() + limits::ANSWER_TIME_DEFAULT;
            self.enqueue(after.0, Task::Prune(after, before, reply), deadline)?;
            match answered(answer, deadline).await? {
                Some(next) => after = next,
                None => return Ok(()),
            }
            tokio::time::sleep(limits::PRUNE_PAUSE).await;
        }
    }

    /// Where the engine publishes the sequence numbers that it commits.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Whether the writers can commit, as [`Engine::monitor`] last found out.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.monitor.subscribe()
    }

    /// Keeps the health current. Never ends.
    pub async fn monitor(&self) {
        self.monitor.run(&self.writers).await;
    }

    /// Exports what changes without an event: the depths of the queues, the watchers, and
    /// whether the writers can commit.
    pub fn measure(&self) {
        for (index, (writer, _)) in self.writers.iter().enumerate() {
            measure::queue_depth(index, writer.depth());
        }
        measure::watchers(self.feed.watchers(), self.feed.lag());
        measure::store_up(matches!(*self.monitor.subscribe().borrow(), Health::Ready));
    }

    /// Refuses new work, finishes what is queued, and ends the writers.
    pub async fn drain(&self) {
        self.writers.iter().for_each(|(writer, _)| writer.stop());
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let join = tokio::task::spawn_blocking(|| {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a writer ended by a panic");
                }
            }
        });
        let _ = join.await;
    }

    /// The queue of the writer of a site.
    fn writer(&self, site: SiteId) -> &QueueSender {
        let index = site.as_uuid().as_u128() % self.writers.len() as u128;
        // The remainder is below the number of writers, which is a usize.
        &self.writers[index as usize].0
    }

    fn pending(&self, command: Command, reply: ChangeReply, ticket: Ticket) -> Pending {
        let settings = self.settings.of(command.site());
        let resolution = resolve(&settings, &command);
        (Change { command, resolution, settings, reply }, ticket)
    }

    fn enqueue(&self, site: SiteId, task: Task, deadline: Instant) -> Result<(), Failed> {
        self.writer(site).send_task(task, Ticket::until(deadline)).map_err(|failed| refused(failed, 1))
    }
}

/// Counts commands that a queue refused.
fn refused(failed: Failed, commands: usize) -> Failed {
    if matches!(failed, Failed::Overloaded) {
        measure::overloaded(commands);
    }
    failed
}

/// Waits for an answer until the deadline.
async fn answered<T>(answer: oneshot::Receiver<Result<T, Error>>, deadline: Instant) -> Result<T, Error> {
    match tokio::time::timeout_at(deadline.into(), answer).await {
        Ok(answer) => answer.unwrap_or(Err(Failed::NoAnswer.into())),
        Err(_) => Err(Failed::NoAnswer.into()),
    }
}
