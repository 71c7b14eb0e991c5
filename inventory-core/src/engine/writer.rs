//! The writer: one thread, one connection, one batch after the other. diesel blocks, so it is a
//! thread and not a task.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::commit::{self, Books, Failure, LookUp};
use crate::engine::known::Known;
use crate::engine::plan::Answer;
use crate::engine::queue::{Pending, Queue, Work};
use crate::engine::settings::SettingsCache;
use crate::error::{Error, StoreError};
use crate::limits;
use crate::outcome::{Noticed, Outcome, Verdict};
use crate::store::batch::BatchStore;

/// Everything a writer owns.
pub(crate) struct Writer {
    books: Books,
    connected: bool,
    /// Batches for which repeats are still looked up beforehand: they come in bursts.
    watchful: u32,
    /// Batches for which orders are still looked up beforehand.
    orderly: u32,
}

impl Writer {
    pub(crate) fn new(store: Box<dyn BatchStore>, settings: Arc<SettingsCache>) -> Self {
        let books = Books { store, settings, known: Known::default(), guarded: 0 };
        Self { books, connected: false, watchful: 0, orderly: 0 }
    }

    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self, mut queue: Queue) {
        while let Some(work) = queue.next() {
            match work {
                Work::Batch(batch) => self.settle(batch),
                Work::Alone(work) => work(&mut self),
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
        match self.attempt(|books, look_up| commit::batch(books, &batch, look_up)) {
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

    /// Runs a transaction until it gives an answer, a bounded number of times. The closure is
    /// told what to look up beforehand.
    pub(crate) fn attempt<T>(
        &mut self,
        transaction: impl Fn(&mut Books, LookUp) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let mut look_up = LookUp { repeats: self.watchful > 0, orders: self.orderly > 0 };
        self.watchful = self.watchful.saturating_sub(1);
        self.orderly = self.orderly.saturating_sub(1);
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
            let failure = match transaction(&mut self.books, look_up) {
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
                    look_up.repeats = true;
                    self.give_up();
                }
                Failure::OrderFound => {
                    // Its first call may have been this very one: a repeat is as likely as a second call.
                    self.orderly = limits::ORDERLY_BATCHES;
                    look_up = LookUp { repeats: true, orders: true };
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
        for noticed in answer.iter().flat_map(|outcome| &outcome.noticed) {
            let (mark, policy) = noticed_labels(*noticed);
            metrics::counter!("inventory_order_marks_total", "mark" => mark, "policy" => policy).increment(1);
        }
    }
}

fn noticed_labels(noticed: Noticed) -> (&'static str, &'static str) {
    match noticed {
        Noticed::RepeatReported => ("suspected_repeat", "report"),
        Noticed::RepeatSuppressed => ("suspected_repeat", "suppress"),
        Noticed::OverReturnReported => ("over_return", "report"),
        Noticed::OverReturnClipped => ("over_return", "clip"),
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
