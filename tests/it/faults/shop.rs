//! An engine on a database, its sites, and the history of all calls to them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use inventory_core::engine::clock::Clock;
use inventory_core::engine::storage::faults::{Action, Faults, Point, Statement};
use inventory_core::engine::{Engine, StreamCommand};
use inventory_core::model::access::Author;
use inventory_core::model::error::{Error, Failed};
use inventory_core::model::ids::SiteId;
use inventory_core::model::unit::UnitChange;
use inventory_core::store::{EntryFilter, Store, Terms};
use inventory_tests::history::{Asked, History, Line, Seen};
use inventory_tests::model::convert::{self, by_reference, command, location, sku, soon};
use inventory_tests::model::{Answer, UNITS};
use inventory_tests::world::Database;
use uuid::Uuid;

use super::faults_of;
use super::scenario::{Call, NAMED, SITES, Scenario, beginning, elsewhere};

/// Longer than any fault holds the service up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a call is asked again, at most, until its outcome is known.
const ASKED_AGAIN: usize = 3;

/// An engine on a database, and new sites.
pub(super) struct Shop {
    engine: Engine,
    store: Store,
    faults: Faults,
    history: History,
    sites: [SiteId; SITES],
    backend: &'static str,
}

impl Shop {
    pub(super) fn open(database: &Database, store: &Store) -> Self {
        let faults = faults_of(&database.url);
        let engine = Engine::start(store, Clock::system()).expect("writers start");
        let (store, history, backend) = (store.clone(), History::default(), database.url.backend());
        Self { engine, store, faults, history, sites: same_writer(), backend }
    }

    pub(super) async fn close(self) {
        self.engine.drain().await;
    }

    /// Brings the sites to where the scenarios begin.
    pub(super) async fn prepare(&self) {
        let change = UnitChange { sku: Some(Some(sku(NAMED))), ..UnitChange::default() };
        for site in &self.sites[..2] {
            let named = vec![(by_reference(NAMED), change.clone())];
            self.engine.configure_units(*site, named, Author::default(), soon()).await.expect("the SKU is free");
        }
        for call in beginning() {
            let answers = self.submit(&self.engine, &[call]).await;
            assert!(answers[0].is_some(), "nothing fails yet");
        }
    }

    /// The points that a scenario reaches when nothing fails.
    pub(super) async fn trace(&self, scenario: Scenario) -> BTreeSet<Point> {
        self.faults.passed();
        self.arm(scenario.trouble());
        let answers = self.submit(&self.engine, &scenario.burst()).await;
        assert!(answers.iter().all(Option::is_some), "nothing fails: {answers:?}");
        let passed = self.faults.passed();
        self.disarm(&format!("{scenario:?}"));
        let locked = passed.contains(&Point::Before(Statement::LoadLevels));
        let expected = match scenario {
            // A batch that fails on the optimistic path leaves no cache, so its parts take the locked path.
            Scenario::Mixed | Scenario::Locked => true,
            Scenario::Cached | Scenario::Doubted => false,
        };
        assert_eq!(locked, expected, "the path of the batch of {scenario:?}");
        passed
    }

    fn arm(&self, faults: impl IntoIterator<Item = (Point, Action)>) {
        faults.into_iter().for_each(|(point, action)| self.faults.arm(point, action));
    }

    /// Everything that was armed must have happened.
    fn disarm(&self, context: &str) {
        let left = self.faults.disarm();
        assert!(left.is_empty(), "{context}: did not happen: {left:?}");
    }

    /// Lets an action happen at a point while a scenario runs, and checks that all can be explained.
    pub(super) async fn strike(&self, scenario: Scenario, point: Point, action: Action) {
        self.arm(scenario.trouble().into_iter().chain([(point, action)]));
        let burst = scenario.burst();
        let (answers, other) = match action {
            Action::Fail(_) | Action::Lose | Action::Panic | Action::Doubt => {
                (self.submit(&self.engine, &burst).await, Vec::new())
            }
            Action::Pause => self.while_paused(scenario, point, &burst).await,
        };
        let context = format!("{scenario:?}, {action:?}, {point:?}");
        self.disarm(&context);
        let burst = burst.into_iter().chain(other.iter().map(|(call, _)| call.clone())).collect::<Vec<_>>();
        let mut answers: Vec<Option<Answer>> =
            answers.into_iter().chain(other.into_iter().map(|(_, answer)| answer)).collect();
        for _ in 0..ASKED_AGAIN {
            let open: Vec<usize> = (0..burst.len()).filter(|index| answers[*index].is_none()).collect();
            if open.is_empty() {
                break;
            }
            let again: Vec<Call> = open.iter().map(|index| burst[*index].clone()).collect();
            for (index, answer) in open.into_iter().zip(self.submit(&self.engine, &again).await) {
                answers[index] = answer;
            }
        }
        assert!(answers.iter().all(Option::is_some), "{context}: the service does not recover: {answers:?}");
        let replays = self.submit(&self.engine, &burst).await;
        assert_eq!(replays, answers, "{context}: a replay has another answer");
        self.read().await;
        if let Err(unexplained) = self.history.explain() {
            panic!("{context}: site {}: {}", unexplained.site, unexplained.why);
        }
    }

    /// Runs a burst that stops at a point. Meanwhile another server gets an order for one of the sites.
    async fn while_paused(
        &self,
        scenario: Scenario,
        point: Point,
        burst: &[Call],
    ) -> (Vec<Option<Answer>>, Vec<(Call, Option<Answer>)>) {
        let submitted = self.submit(&self.engine, burst);
        let mut submitted = std::pin::pin!(submitted);
        let paused = async {
            while !self.faults.is_paused() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            answers = &mut submitted => panic!("{point:?} is before the answers: {answers:?}"),
            () = paused => {}
        }
        if self.backend == "sqlite" {
            // The other server would wait for the one write lock.
            self.faults.release();
            return (submitted.await, Vec::new());
        }
        let other = Engine::start(&self.store, Clock::system()).expect("writers start");
        let calls = elsewhere();
        let ordered = self.submit(&other, &calls);
        let (answers, ordered) = if is_unlocked(scenario, point) {
            let ordered = ordered.await;
            self.faults.release();
            (submitted.await, ordered)
        } else {
            self.faults.release();
            tokio::join!(submitted, ordered)
        };
        other.drain().await;
        (answers, calls.into_iter().zip(ordered).collect())
    }

    /// Submits calls as one message; returns the answers that say what happened.
    async fn submit(&self, engine: &Engine, calls: &[Call]) -> Vec<Option<Answer>> {
        let (commands, mut answers) = engine.stream();
        let (mut recorded, mut messages) = (BTreeMap::new(), Vec::new());
        for (id, (site, key, by_sku, request)) in (0..).zip(calls) {
            let site = self.sites[*site];
            let call = self.history.begin(&site.as_uuid().to_string(), Asked::Write(*key, request.clone()));
            recorded.insert(id, call);
            messages.push(StreamCommand::new(id, command(site, *key, *by_sku, request), soon()));
        }
        commands.submit(messages);
        let mut found: BTreeMap<u64, Option<Answer>> = BTreeMap::new();
        while found.len() < calls.len() {
            let answered = tokio::time::timeout(PATIENCE, answers.next()).await.expect("an answer comes in time");
            for answered in answered.expect("the stream is open") {
                let call = recorded.remove(&answered.id).expect("one answer for each call");
                let answer = match convert::answer(answered.result) {
                    Ok(answer) => {
                        call.answered(answer.clone());
                        Some(answer)
                    }
                    Err(Error::Failed(Failed::OutcomeUnknown(_) | Failed::NoAnswer)) => None,
                    Err(Error::Failed(
                        Failed::StoreUnavailable(_) | Failed::Internal(_) | Failed::Overloaded | Failed::Stopping,
                    )) => {
                        call.not_done();
                        None
                    }
                    Err(error) => panic!("no fault explains {error:?}"),
                };
                found.insert(answered.id, answer);
            }
        }
        found.into_values().collect()
    }

    /// Reads what the sites have now, as a part of the history.
    async fn read(&self) {
        for site in self.sites {
            let id = site.as_uuid().to_string();
            for item in 0..=NAMED {
                let call = self.history.begin(&id, Asked::Level(item, 0));
                let wanted = vec![(by_reference(item), location(item))];
                let read = self.store.read(site, Terms::default(), move |snapshot| snapshot.stock(&wanted)).await;
                let stock = &read.expect("stock can be read").value[0];
                call.end(Seen::Level(stock.available, stock.revision, stock.last_sequence));
            }
            let entries = self
                .store
                .read(site, Terms::default(), |snapshot| snapshot.list_entries(&EntryFilter::default(), 1_000));
            let entries = entries.await.expect("the ledger can be read").value.rows;
            let line = |entry: inventory_core::model::entry::Entry| Line {
                unit: format!("item-{}", convert::item(&entry.unit, entry.location) % UNITS),
                elsewhere: entry.location.is_some(),
                key: entry.request_id,
                delta: entry.delta,
            };
            self.history.ledger(&id, &entries.into_iter().map(line).collect::<Vec<_>>());
        }
    }
}

/// Whether no site is locked at a point, so that another server can write.
fn is_unlocked(scenario: Scenario, point: Point) -> bool {
    match point {
        Point::Before(statement) => match statement {
            Statement::Begin
            | Statement::LockSites
            | Statement::WriteAndCommit
            | Statement::Confirm
            | Statement::FindLocked => true,
            Statement::LoadOrders | Statement::FindAnswered => scenario == Scenario::Cached,
            _ => false,
        },
        Point::After(statement) => match statement {
            Statement::Begin
            | Statement::Commit
            | Statement::Rollback
            | Statement::WriteAndCommit
            | Statement::Confirm
            | Statement::FindLocked => true,
            Statement::LoadOrders | Statement::FindAnswered => scenario == Scenario::Cached,
            _ => false,
        },
        Point::BeforeAnswer => true,
    }
}

/// New sites of the same writer.
fn same_writer() -> [SiteId; SITES] {
    // Engines divide the sites by the remainder of their ids; no store has more than two writers.
    std::array::from_fn(|_| SiteId::from_uuid(Uuid::from_u128(Uuid::new_v4().as_u128() & !1)))
}
