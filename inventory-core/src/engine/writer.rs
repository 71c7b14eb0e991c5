//! A writer: one thread, one connection, one batch after the other. It is a thread and not a task, because diesel
//! blocks.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{Level, Span};

use crate::engine::aside::{Aside, is_lock_held};
use crate::engine::batch::Answer;
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
use crate::engine::supervisor::Progress;
use crate::model::error::{Error, Failed, StoreError, Trouble};
use crate::model::ids::SiteId;
use crate::model::limits;

/// Everything that a writer owns.
pub(super) struct Writer {
    books: Books,
    progress: Progress,
    aside: Aside,
    /// What is committed next, before anything new. The parts of a batch stand here and on no stack, so that a panic in
    /// one of them does not lose the others.
    parts: VecDeque<Part>,
    /// Batches that still look replays up first: replays come in bursts.
    check_replays: u32,
    /// Batches that still load the history of every order first.
    load_orders: u32,
}

/// Commands that are committed together, if they can be.
struct Part {
    batch: Vec<Pending>,
    if_locked: IfLocked,
}

/// What becomes of a batch that waited for a lock in vain.
#[derive(Clone, Copy)]
enum IfLocked {
    /// The commands of locked sites are set aside; the others go on.
    SetAside,
    /// It runs alone and is of one site, which is set aside, whichever of its rows is locked.
    Alone,
}

impl Writer {
    pub(super) fn new(
        store: Box<dyn BatchStore>,
        settings: Arc<SettingsCache>,
        feed: Feed,
        clock: Clock,
        pulse: Pulse,
        measures: Measures,
        progress: Progress,
    ) -> Self {
        let books = Books { store, settings, cache: Cache::default(), feed, clock, pulse, measures, lock_first: 0 };
        let (aside, parts) = (Aside::default(), VecDeque::new());
        Self { books, progress, aside, parts, check_replays: 0, load_orders: 0 }
    }

    /// Works until the queue is closed and empty, or another writer takes its place.
    pub(super) fn run(mut self, queue: &Mutex<Queue>) {
        while !self.progress.is_replaced() {
            let next = if self.parts.is_empty() { self.next(queue) } else { ControlFlow::Continue(None) };
            let ControlFlow::Continue(next) = next else { return };
            // A bug that one batch meets must not take the sites of this writer away from all other callers. What the
            // panic leaves half done is dropped: the cache, and the connection with its transaction.
            if catch_unwind(AssertUnwindSafe(|| self.work(next))).is_err() {
                self.recover();
            }
        }
    }

    /// The next work in the queue; none if commands are aside and nothing else waits. Breaks at the end of both.
    fn next(&self, queue: &Mutex<Queue>) -> ControlFlow<(), Option<Next>> {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        if self.aside.is_empty() {
            return queue.next().map_or(ControlFlow::Break(()), |next| ControlFlow::Continue(Some(next)));
        }
        let next = queue.try_next().ok();
        drop(queue);
        if next.is_none() {
            std::thread::sleep(limits::LOCK_PAUSE);
        }
        ControlFlow::Continue(next)
    }

    fn work(&mut self, next: Option<Next>) {
        match next {
            Some(Next::Batch(batch)) => {
                batch.iter().for_each(|(_, ticket)| self.books.measures.waited(ticket.queued_at.elapsed()));
                self.parts.push_back(Part { batch, if_locked: IfLocked::SetAside });
            }
            Some(Next::Alone(task, ticket)) => self.alone(task, &ticket),
            None => {}
        }
        if let Some(part) = self.parts.pop_front() {
            self.commit_part(part);
        }
        if self.parts.is_empty() && self.aside.is_due() {
            self.look_aside();
        }
    }

    /// Goes on after a panic, with a new connection and an empty cache. The batch may be committed.
    fn recover(&mut self) {
        tracing::error!("a writer panicked, which is a bug; it goes on with a new connection");
        let cause = "the writer panicked".into();
        let error = Failed::OutcomeUnknown(Arc::new(StoreError::Gone(Trouble::ConnectionLost, cause))).into();
        self.books.pulse.failed(&error);
        let Some(batch) = self.progress.broke() else { return };
        self.books.measures.outcome_unknown();
        self.books.measures.ended(Ending::Unknown, batch.len());
        message::answer_for_writer(&batch, &error);
    }

    /// Lets what was set aside be carried out, if it is free now, or if only a try can show that.
    fn look_aside(&mut self) {
        self.aside.expire(&self.books.measures);
        let mut free = self.aside.sites_to_look_at();
        if !free.is_empty() {
            // If the store fails, it fails for the commands too, which tell their callers.
            let locked = self.locked_sites(&free).unwrap_or_default();
            free.retain(|site| !locked.contains(site));
            let free = self.aside.take_out(&free).into_iter();
            self.parts.extend(free.map(|batch| Part { batch, if_locked: IfLocked::SetAside }));
        }
        if let Some(site) = self.aside.site_to_try() {
            let tried = self.aside.take_out(&[site]).into_iter();
            self.parts.extend(tried.map(|batch| Part { batch, if_locked: IfLocked::Alone }));
        }
    }

    /// Those of `sites` that somebody else's transaction holds.
    fn locked_sites(&mut self, sites: &[SiteId]) -> Result<Vec<SiteId>, Error> {
        let none = self.progress.begins(Vec::new());
        let locked = self.attempt(|books, _| Ok(books.store.locked_sites(sites)?));
        self.progress.ends(none);
        locked
    }

    /// Does work that is a transaction of its own.
    fn alone(&mut self, task: Task, ticket: &Ticket) {
        self.books.measures.waited(ticket.queued_at.elapsed());
        let span = commit_span(1, [ticket].into_iter());
        let _entered = ticket.span.enter();
        let _committing = span.enter();
        let is_late = ticket.is_expired();
        let none = self.progress.begins(Vec::new());
        match task {
            Task::ConfigureSite(_, _, _, reply) if is_late => reply.expire(),
            Task::ConfigureUnits(_, _, _, reply) if is_late => reply.expire(),
            Task::Age(_, reply) if is_late => reply.expire(),
            Task::Prune(_, _, reply) if is_late => reply.expire(),
            Task::Probe(reply) if is_late => reply.expire(),
            Task::ConfigureSite(site, change, author, reply) => {
                reply.send(self.attempt(|books, _| configure::site(books, site, &change, &author)));
            }
            Task::ConfigureUnits(site, changes, author, reply) => {
                reply.send(self.attempt(|books, _| configure::units(books, site, &changes, &author)));
            }
            Task::Age(retention, reply) => {
                reply.send(self.attempt(|books, _| Ok(books.store.age(books.clock.now(), retention)?)));
            }
            Task::Prune(after, before, reply) => {
                reply.send(self.attempt(|books, _| Ok(books.store.prune(after, before)?)));
            }
            Task::Probe(reply) => reply.send(self.attempt(|books, _| commit::probe(books))),
        }
        self.progress.ends(none);
    }

    /// Commits the commands that are in time and whose sites are not set aside.
    fn commit_part(&mut self, Part { mut batch, if_locked }: Part) {
        let late: Vec<Pending> = batch.extract_if(.., |(_, ticket)| ticket.is_expired()).collect();
        late.iter().for_each(|(_, ticket)| {
            ticket.span.in_scope(|| tracing::debug!("dropped a command: its deadline passed in the queue"));
            self.books.measures.ended(Ending::Expired, 1);
        });
        message::answer(late.into_iter().map(|(change, _)| (change, Err(Failed::Expired.into()))));
        let batch = self.aside.take(batch, &self.books.measures);
        if !batch.is_empty() {
            self.commit(batch, if_locked);
        }
    }

    /// Answers every command of the batch, or makes it a part of those that come next.
    fn commit(&mut self, batch: Vec<Pending>, if_locked: IfLocked) {
        let started = Instant::now();
        let batch = self.progress.begins(batch);
        let span = commit_span(batch.len(), batch.iter().map(|(_, ticket)| ticket));
        let attempt = span.in_scope(|| match if_locked {
            IfLocked::SetAside => self.attempt(|books, look_up| commit::batch(books, &batch, look_up)),
            IfLocked::Alone => self.try_alone(&batch),
        });
        drop(span);
        self.books.store.faults().before_answer();
        // A supervisor that has replaced this writer has answered.
        let Some(batch) = self.progress.ends(batch) else { return };
        match attempt {
            Ok(answers) => {
                self.books.measures.committed(&answers, started.elapsed());
                message::answer(batch.into_iter().map(|(change, _)| change).zip(answers));
            }
            Err(Error::Failed(Failed::Internal(_))) if batch.len() > 1 => {
                // One command makes the statement fail. Run alone, only that one fails.
                self.come_next(batch.into_iter().map(|pending| Part { batch: vec![pending], if_locked }));
            }
            Err(error) if is_lock_held(&error) => match if_locked {
                IfLocked::SetAside => self.set_aside(batch),
                IfLocked::Alone => self.aside.put_back(batch, &self.books.measures),
            },
            Err(error) => {
                self.books.measures.ended(Ending::of_error(&error), batch.len());
                message::answer(batch.into_iter().map(|(change, _)| (change, Err(error.clone()))));
            }
        }
    }

    /// Commits a batch that is known to have met a lock. It waits for a short time, since the other sites wait too, and
    /// locks its site first: a write that fails on the optimistic path costs the cache of all sites.
    fn try_alone(&mut self, batch: &[Pending]) -> Result<Vec<Answer>, Error> {
        let result = self.attempt(|books, look_up| {
            books.store.wait_for_locks(limits::LOCK_RETRY_WAIT_MS_MAX)?;
            books.lock_first = books.lock_first.max(1);
            commit::batch(books, batch, look_up)
        });
        if self.books.store.wait_for_locks(limits::LOCK_WAIT_MS_MAX).is_err() {
            // A new connection waits as long as it should.
            self.progress.disconnected();
        }
        result
    }

    /// Goes on without the sites of a batch that somebody else has locked.
    fn set_aside(&mut self, batch: Vec<Pending>) {
        let sites = commit::sites_of(&batch);
        // It stands among the parts while the store is asked, which may panic.
        self.come_next([Part { batch, if_locked: IfLocked::SetAside }].into_iter());
        let locked = self.locked_sites(&sites).unwrap_or_default();
        if !locked.is_empty() {
            self.aside.lock(&locked);
            return;
        }
        let Some(Part { mut batch, .. }) = self.parts.pop_front() else { return };
        // The sites are free again, or another row of one of them is locked. Run alone, only that site is set aside.
        let mut parts = Vec::with_capacity(sites.len());
        for site in sites {
            let (of_site, rest) = batch.into_iter().partition(|(change, _)| change.command.site() == site);
            batch = rest;
            parts.push(Part { batch: of_site, if_locked: IfLocked::Alone });
        }
        self.come_next(parts.into_iter());
    }

    /// Puts the parts of a batch before all others, in their order.
    fn come_next(&mut self, parts: impl DoubleEndedIterator<Item = Part>) {
        parts.rev().for_each(|part| self.parts.push_front(part));
    }

    /// Runs a transaction until it gives an answer, a bounded number of times. The closure is told what to look up
    /// first.
    fn attempt<T>(&mut self, transaction: impl Fn(&mut Books, LookUp) -> Result<T, Failure>) -> Result<T, Error> {
        let result = self.run_attempts(transaction);
        if let Err(error @ Error::Failed(Failed::StoreUnavailable(_) | Failed::OutcomeUnknown(_))) = &result
            && !is_lock_held(error)
        {
            // A lock of somebody else is no sign that the writer cannot commit.
            self.books.pulse.failed(error);
        }
        result
    }

    fn run_attempts<T>(&mut self, transaction: impl Fn(&mut Books, LookUp) -> Result<T, Failure>) -> Result<T, Error> {
        let mut look_up = LookUp { check_replays: self.check_replays > 0, load_orders: self.load_orders > 0 };
        self.check_replays = self.check_replays.saturating_sub(1);
        self.load_orders = self.load_orders.saturating_sub(1);
        let mut last = None;
        for attempt in 0..limits::BATCH_ATTEMPTS_MAX {
            if !self.progress.is_replaced() && !self.progress.is_connected() {
                self.connect()?;
            }
            // Another writer may have taken its place while it connected.
            if self.progress.is_replaced() {
                return Err(Failed::NoAnswer.into());
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
                    self.progress.disconnected();
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
                            self.progress.disconnected();
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
        let server = self.books.store.connect()?;
        let store = &self.books.store;
        self.progress.connected(server, |server| store.adopted(server));
        Ok(())
    }

    /// Rolls back. A connection that cannot even do that is replaced.
    fn roll_back(&mut self) {
        if self.books.store.rollback().is_err() {
            self.progress.disconnected();
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
