//! A writer: one thread, one connection, one batch after the other. It is a thread and not a task, because diesel
//! blocks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{Level, Span};

use crate::engine::cache::Cache;
use crate::engine::clock::Clock;
use crate::engine::commit::{self, Books, Failure, LookUp};
use crate::engine::configure;
use crate::engine::feed::Feed;
use crate::engine::health::Pulse;
use crate::engine::measure::{Ending, Measures, Retry};
use crate::engine::message::{self, Pending, Task, Ticket};
use crate::engine::queue::{Next, Queue};
use crate::engine::resolve::SettingsCache;
use crate::engine::storage::BatchStore;
use crate::model::error::{Error, Failed, StoreError};
use crate::model::limits;

/// Everything that a writer owns.
pub(super) struct Writer {
    books: Books,
    connected: bool,
    /// Batches that still look replays up first: replays come in bursts.
    check_replays: u32,
    /// Batches that still load the history of every order first.
    load_orders: u32,
}

impl Writer {
    pub(super) fn new(
        store: Box<dyn BatchStore>,
        settings: Arc<SettingsCache>,
        feed: Feed,
        clock: Clock,
        pulse: Pulse,
        measures: Measures,
    ) -> Self {
        let books = Books { store, settings, cache: Cache::default(), feed, clock, pulse, measures, lock_first: 0 };
        Self { books, connected: false, check_replays: 0, load_orders: 0 }
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self, mut queue: Queue) {
        while let Some(next) = queue.next() {
            match next {
                Next::Batch(batch) => self.commit(batch),
                Next::Alone(task, ticket) => self.alone(task, &ticket),
            }
        }
    }

    /// Does work that is a transaction of its own.
    fn alone(&mut self, task: Task, ticket: &Ticket) {
        self.books.measures.waited(ticket.queued_at.elapsed());
        let span = commit_span(1, [ticket].into_iter());
        let _entered = ticket.span.enter();
        let _committing = span.enter();
        let is_late = ticket.is_expired();
        match task {
            Task::ConfigureSite(_, _, _, reply) if is_late => reply.expire(),
            Task::ConfigureUnits(_, _, _, reply) if is_late => reply.expire(),
            Task::Prune(_, _, reply) if is_late => reply.expire(),
            Task::Probe(reply) if is_late => reply.expire(),
            Task::ConfigureSite(site, change, author, reply) => {
                reply.send(self.attempt(|books, _| configure::site(books, site, &change, &author)));
            }
            Task::ConfigureUnits(site, changes, author, reply) => {
                reply.send(self.attempt(|books, _| configure::units(books, site, &changes, &author)));
            }
            Task::Prune(after, before, reply) => {
                reply.send(self.attempt(|books, _| Ok(books.store.prune(after, before)?)));
            }
            Task::Probe(reply) => reply.send(self.attempt(|books, _| commit::probe(books))),
        }
    }

    /// Answers every command of the batch, whatever happens.
    fn commit(&mut self, batch: Vec<Pending>) {
        batch.iter().for_each(|(_, ticket)| self.books.measures.waited(ticket.queued_at.elapsed()));
        let (late, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(|(_, ticket)| ticket.is_expired());
        late.iter().for_each(|(_, ticket)| {
            ticket.span.in_scope(|| tracing::debug!("dropped a command: its deadline passed in the queue"));
            self.books.measures.ended(Ending::Expired, 1);
        });
        message::answer(late.into_iter().map(|(change, _)| (change, Err(Failed::Expired.into()))));
        if !batch.is_empty() {
            self.commit_in_time(batch);
        }
    }

    fn commit_in_time(&mut self, batch: Vec<Pending>) {
        let started = Instant::now();
        let span = commit_span(batch.len(), batch.iter().map(|(_, ticket)| ticket));
        let attempt = span.in_scope(|| self.attempt(|books, look_up| commit::batch(books, &batch, look_up)));
        drop(span);
        match attempt {
            Ok(answers) => {
                self.books.measures.committed(&answers, started.elapsed());
                message::answer(batch.into_iter().map(|(change, _)| change).zip(answers));
            }
            Err(Error::Failed(Failed::Internal(_))) if batch.len() > 1 => {
                // One command makes the statement fail. Run alone, only that one fails.
                for pending in batch {
                    self.commit_in_time(vec![pending]);
                }
            }
            Err(error) => {
                let ending = match &error {
                    Error::Failed(Failed::OutcomeUnknown(_)) => Ending::Unknown,
                    Error::Failed(_) | Error::Invalid(_) => Ending::Failed,
                };
                self.books.measures.ended(ending, batch.len());
                message::answer(batch.into_iter().map(|(change, _)| (change, Err(error.clone()))));
            }
        }
    }

    /// Runs a transaction until it gives an answer, a bounded number of times. The closure is told what to look up
    /// first.
    fn attempt<T>(&mut self, transaction: impl Fn(&mut Books, LookUp) -> Result<T, Failure>) -> Result<T, Error> {
        let result = self.run_attempts(transaction);
        if let Err(Error::Failed(Failed::StoreUnavailable(_) | Failed::OutcomeUnknown(_))) = &result {
            self.books.pulse.failed();
        }
        result
    }

    fn run_attempts<T>(&mut self, transaction: impl Fn(&mut Books, LookUp) -> Result<T, Failure>) -> Result<T, Error> {
        let mut look_up = LookUp { check_replays: self.check_replays > 0, load_orders: self.load_orders > 0 };
        self.check_replays = self.check_replays.saturating_sub(1);
        self.load_orders = self.load_orders.saturating_sub(1);
        let mut last = None;
        for attempt in 0..limits::BATCH_ATTEMPTS_MAX {
            if !self.connected {
                self.connect()?;
            }
            let failure = match transaction(&mut self.books, look_up) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match failure {
                Failure::Invalid(invalid) => {
                    self.roll_back();
                    return Err(invalid.into());
                }
                Failure::Unknown(error) => {
                    self.books.measures.outcome_unknown();
                    self.connected = false;
                    return Err(Failed::OutcomeUnknown(Arc::new(error)).into());
                }
                Failure::ReplayFound => {
                    self.books.measures.retried(Retry::Replay);
                    self.check_replays = limits::CHECK_REPLAYS_BATCHES;
                    look_up.check_replays = true;
                    self.roll_back();
                }
                Failure::OrderFound => {
                    self.books.measures.retried(Retry::KnownOrder);
                    // The order's earlier call may be this very one: a replay is as likely as a second call.
                    self.load_orders = limits::LOAD_ORDERS_BATCHES;
                    look_up = LookUp { check_replays: true, load_orders: true };
                    self.roll_back();
                }
                Failure::NotWritten(error) => {
                    // The caller's failure is logged where it is answered, and a change of health once.
                    tracing::debug!(attempt, error = &error as &dyn std::error::Error, "a transaction was not written");
                    self.roll_back();
                    match error {
                        StoreError::Gone(..) => {
                            self.connected = false;
                            self.books.measures.retried(Retry::Connection);
                        }
                        // Rare: another process on the same SQLite file, or a failover.
                        StoreError::Conflict(..) => {
                            self.books.measures.retried(Retry::Conflict);
                            std::thread::sleep(Duration::from_millis(5 << attempt));
                        }
                        StoreError::Unable(..) | StoreError::Fault(_) | StoreError::Damaged(_) => {
                            return Err(error.into());
                        }
                    }
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or(StoreError::Damaged("a replay that cannot be found")).into())
    }

    fn connect(&mut self) -> Result<(), Error> {
        // Behind a new connection there may be another server with other books: one that took over without the last
        // commits may even be at the same sequence number.
        self.books.cache.clear();
        self.books.store.connect()?;
        self.connected = true;
        Ok(())
    }

    /// Rolls back. A connection that cannot even do that is replaced.
    fn roll_back(&mut self) {
        if self.books.store.rollback().is_err() {
            self.connected = false;
        }
    }
}

/// The span of a commit: a child of the first call's span, and linked to those of the others. It exists only while
/// traces are sent, and only for calls.
fn commit_span<'a>(commands: usize, mut tickets: impl Iterator<Item = &'a Ticket>) -> Span {
    if !tracing::enabled!(target: "traces", Level::DEBUG) {
        return Span::none();
    }
    let Some(parent) = tickets.find_map(|ticket| ticket.span.id()) else { return Span::none() };
    let span = tracing::debug_span!(target: "traces", parent: parent, "commit", otel.kind = "internal", commands);
    tickets.for_each(|ticket| {
        span.follows_from(&ticket.span);
    });
    span
}
