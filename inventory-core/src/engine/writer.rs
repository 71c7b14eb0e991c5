//! The writer: one thread, one connection, one batch after the other. diesel blocks, so it is a
//! thread and not a task.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::commit::{self, Books, Failure};
use crate::engine::known::Known;
use crate::engine::plan::Answer;
use crate::engine::queue::{Pending, PendingPrune, PendingSettings, Queue, Work};
use crate::engine::settings::SettingsCache;
use crate::error::{Error, StoreError};
use crate::limits;
use crate::outcome::{Outcome, Verdict};
use crate::store::batch::BatchStore;

/// Everything a writer owns.
pub(crate) struct Writer {
    books: Books,
    connected: bool,
    /// Batches for which repeats are still looked up beforehand: they come in bursts.
    watchful: u32,
}

impl Writer {
    pub(crate) fn new(store: Box<dyn BatchStore>, settings: Arc<SettingsCache>) -> Self {
        let books = Books { store, settings, known: Known::default(), guarded: 0 };
        Self { books, connected: false, watchful: 0 }
    }

    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self, mut queue: Queue) {
        while let Some(work) = queue.next() {
            match work {
                Work::Batch(batch) => self.settle(batch),
                Work::Settings(pending) => self.settle_settings(pending),
                Work::Prune(pending) => self.settle_prune(pending),
            }
        }
    }

    /// Answers every command of the batch, whatever happens.
    fn settle(&mut self, batch: Vec<Pending>) {
        let (late, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(|pending| pending.deadline <= Instant::now());
        for pending in late {
            pending.answer(Err(Error::Expired));
        }
        if batch.is_empty() {
            return;
        }
        let started = Instant::now();
        let look_up = self.watchful > 0;
        self.watchful = self.watchful.saturating_sub(1);
        match self.attempt(|books, watchful| commit::batch(books, &batch, watchful || look_up)) {
            Ok(answers) => {
                measure(&answers, started.elapsed());
                for (pending, answer) in batch.into_iter().zip(answers) {
                    pending.answer(answer);
                }
            }
            Err(Error::Internal(_)) if batch.len() > 1 => {
                // One of them makes the statement fail: run alone, only that one will.
                for pending in batch {
                    self.settle(vec![pending]);
                }
            }
            Err(error) => {
                for pending in batch {
                    pending.answer(Err(error.clone()));
                }
            }
        }
    }

    fn settle_settings(&mut self, pending: PendingSettings) {
        let PendingSettings { site, change, reply } = pending;
        let result = self.attempt(|books, _| commit::settings(books, site, &change));
        let _ = reply.send(result.and_then(|answer| answer));
    }

    fn settle_prune(&mut self, pending: PendingPrune) {
        let PendingPrune { after, before, reply } = pending;
        let _ = reply.send(self.attempt(|books, _| Ok(books.store.prune(after, before)?)));
    }

    /// Runs a transaction until it gives an answer, a bounded number of times. The closure is
    /// told whether to look repeats up.
    fn attempt<T>(&mut self, transaction: impl Fn(&mut Books, bool) -> Result<T, Failure>) -> Result<T, Error> {
        let mut watchful = false;
        let mut last = None;
        for attempt in 0..limits::BATCH_ATTEMPTS_MAX {
            if !self.connected {
                // Behind a new connection there may be another server, which has other books: one
                // that took over without the last commits can even have the same sequence.
                self.books.known.forget();
                if let Err(error) = self.books.store.connect() {
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot connect to the database");
                    return Err(Error::before_commit(error));
                }
                self.connected = true;
            }
            let failure = match transaction(&mut self.books, watchful) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match failure {
                Failure::Unknown(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the outcome of a commit is unknown");
                    self.connected = false;
                    return Err(Error::Unknown(Arc::new(error)));
                }
                Failure::RepeatFound => {
                    self.watchful = limits::WATCHFUL_BATCHES;
                    watchful = true;
                    self.give_up();
                }
                Failure::NotWritten(error) => {
                    tracing::warn!(attempt, error = &error as &dyn std::error::Error, "a batch was not written");
                    self.give_up();
                    match error {
                        StoreError::Gone(_) => self.connected = false,
                        // Rare: only another process on the same SQLite file, or a failover.
                        StoreError::Conflict(_) => std::thread::sleep(Duration::from_millis(5 << attempt)),
                        StoreError::Fault(_) | StoreError::Damaged(_) => return Err(Error::before_commit(error)),
                    }
                    last = Some(error);
                }
            }
        }
        Err(Error::before_commit(last.unwrap_or(StoreError::Damaged("a repeat that cannot be found"))))
    }

    /// Rolls back; a connection that cannot even do that is made anew.
    fn give_up(&mut self) {
        if self.books.store.rollback().is_err() {
            self.connected = false;
        }
    }
}

/// Counts what came of a committed batch.
fn measure(answers: &[Answer], took: Duration) {
    metrics::histogram!("inventory_batch_commands").record(answers.len() as f64);
    metrics::histogram!("inventory_batch_seconds").record(took.as_secs_f64());
    for answer in answers {
        metrics::counter!("inventory_commands_total", "outcome" => outcome_label(answer)).increment(1);
    }
}

fn outcome_label(answer: &Answer) -> &'static str {
    match answer {
        Ok(Outcome { repeated: true, .. }) => "repeated",
        Ok(Outcome { verdict: Verdict::Applied(_), .. }) => "applied",
        Ok(Outcome { verdict: Verdict::Refused(_), .. }) => "refused",
        Err(_) => "failed",
    }
}
