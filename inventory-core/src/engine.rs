//! The engine: commands go in from any task, and come back decided and durable.
//!
//! One durable commit costs about the same for one command as for five hundred, so whatever waits
//! is committed together: `queue` gathers, `plan` decides, `commit` makes it one transaction, and
//! `writer` is the thread that does so for ever. Sites are divided among writers by their id, so
//! one site's commit does not wait for another's, and one site's commands keep their order.

mod commit;
mod configure;
mod known;
mod plan;
mod queue;
mod settings;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

pub use crate::engine::configure::SettingsChange;

use crate::catalog::CatalogReference;
use crate::command::Command;
use crate::engine::commit::{Books, Failure};
use crate::engine::queue::{Job, Pending, Queue};
use crate::engine::settings::SettingsCache;
use crate::engine::writer::Writer;
use crate::error::Error;
use crate::ids::{RequestKey, SiteId};
use crate::limits;
use crate::outcome::Outcome;
use crate::site::SiteSettings;
use crate::store::Store;
use crate::store::batch::BatchStore;
use crate::unit::{SettledUnit, UnitChange};

/// The handle to the writers. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    writers: Arc<[mpsc::Sender<Job>]>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    cache: Arc<SettingsCache>,
}

impl Engine {
    /// Starts the writers that suit the store: one for SQLite, which has one write lock, and
    /// several for Postgres.
    pub fn start(store: &Store) -> std::io::Result<Self> {
        Self::with_writers(store.batch_stores())
    }

    fn with_writers(stores: Vec<Box<dyn BatchStore>>) -> std::io::Result<Self> {
        let cache = Arc::new(SettingsCache::default());
        let (mut writers, mut threads) = (Vec::new(), Vec::new());
        for (index, store) in stores.into_iter().enumerate() {
            let (sender, queue) = Queue::new();
            let writer = Writer::new(store, Arc::clone(&cache));
            let thread = std::thread::Builder::new().name(format!("writer-{index}"));
            threads.push(thread.spawn(move || writer.run(queue))?);
            writers.push(sender);
        }
        Ok(Self { writers: writers.into(), threads: Arc::new(Mutex::new(threads)), cache })
    }

    /// Carries a command out, and returns once its outcome is durable. A caller that goes away
    /// does not stop a command that has been decided.
    pub async fn submit(&self, command: Command, deadline: Instant) -> Result<Outcome, Error> {
        // Worked out here, on the caller's own thread. Where it fails, or the settings turn out to be
        // old, the batch works it out again under the site's lock: only there is it known.
        let settings = self.cache.of(command.site());
        let places = SettingsCache::places(&settings, &command);
        let site = command.site();
        let (reply, answer) = oneshot::channel();
        let pending = Pending { command, places, settings, deadline, reply };
        self.enqueue(site, Job::Change(Box::new(pending)))?;
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(answer) => answer.unwrap_or(Err(Error::NoAnswer)),
            Err(_) => Err(Error::NoAnswer),
        }
    }

    /// Changes a site's settings; returns the new ones and the site's sequence.
    pub async fn configure(&self, site: SiteId, change: SettingsChange) -> Result<(SiteSettings, i64), Error> {
        self.alone(site, move |books| configure::site(books, site, &change)).await?
    }

    /// Changes a unit's settings; returns it, and the site's sequence. A unit that is not there yet is made.
    pub async fn settle_unit(
        &self,
        site: SiteId,
        reference: CatalogReference,
        change: UnitChange,
    ) -> Result<(SettledUnit, i64), Error> {
        self.alone(site, move |books| configure::unit(books, site, &reference, &change)).await?
    }

    /// Forgets what became of requests that were recorded before the time `before`, in microseconds since
    /// 1970, step by step between the batches: a repeat of them is then a new request.
    pub async fn prune(&self, before: i64) -> Result<(), Error> {
        let mut after = (SiteId::from_uuid(Uuid::nil()), RequestKey::from_uuid(Uuid::nil()));
        loop {
            // Any writer will do: a record is not a site's lock's business once its outcome is told.
            match self.alone(after.0, move |books| Ok(books.store.prune(after, before)?)).await? {
                Some(next) => after = next,
                None => return Ok(()),
            }
            tokio::time::sleep(limits::PRUNE_PAUSE).await;
        }
    }

    /// Refuses what comes from now on, finishes what is queued, and ends the writers.
    pub async fn drain(&self) {
        for writer in self.writers.iter() {
            // A writer that is gone already has nothing left to finish.
            let _ = writer.send(Job::Stop).await;
        }
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

    /// Has the site's writer carry out a transaction of its own, as often as it takes.
    async fn alone<T: Send + 'static>(
        &self,
        site: SiteId,
        transaction: impl Fn(&mut Books) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let work = move |writer: &mut Writer| {
            // Whoever asked may have gone away.
            let _ = reply.send(writer.attempt(|books, _| transaction(books)));
        };
        self.enqueue(site, Job::Alone(Box::new(work)))?;
        answer.await.unwrap_or(Err(Error::NoAnswer))
    }

    fn enqueue(&self, site: SiteId, job: Job) -> Result<(), Error> {
        let index = site.as_uuid().as_u128() % self.writers.len() as u128;
        // The remainder is below the number of writers, which is a usize.
        let writer = &self.writers[index as usize];
        writer.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                metrics::counter!("inventory_commands_total", "outcome" => "overloaded").increment(1);
                Error::Overloaded
            }
            mpsc::error::TrySendError::Closed(_) => Error::Unavailable(None),
        })
    }
}
