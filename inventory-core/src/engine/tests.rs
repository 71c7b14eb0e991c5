//! The engine over a store with faults: what callers get when something breaks.

mod faulty;
mod locked;
mod supervised;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Map;
use tokio::task::JoinHandle;
use uuid::Uuid;

use self::faulty::{Books, Fault, Faulty};
use super::*;
use crate::model::access::Author;
use crate::model::action::{Action, Line, Quantity};
use crate::model::catalog::CatalogReference;
use crate::model::command::{Header, Reason};
use crate::model::error::Invalid;
use crate::model::ids::LocationId;
use crate::model::outcome::Verdict;

/// No answer here takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

fn engine(faults: &[Fault]) -> (Engine, Arc<Mutex<Books>>) {
    engine_with(faults, Patience::default())
}

fn engine_with(faults: &[Fault], patience: Patience) -> (Engine, Arc<Mutex<Books>>) {
    let books = Arc::new(Mutex::new(Books { faults: faults.to_vec(), ..Books::default() }));
    let store = Faulty::over(Arc::clone(&books));
    (Engine::with_writers(vec![Box::new(store)], &Clock::system(), patience).expect("a thread starts"), books)
}

fn give(request_id: &str, pieces: i64) -> Command {
    give_to(1, request_id, pieces)
}

fn give_to(site: u128, request_id: &str, pieces: i64) -> Command {
    let unit = UnitSelector::Reference(CatalogReference::new("app", "item", Map::new()).expect("in bounds"));
    let quantity = Quantity::new(pieces).expect("in bounds");
    let lines = vec![Line { unit, location: None, quantity, subscription: false }];
    let site = SiteId::from_uuid(Uuid::from_u128(site));
    let (request_id, author) = (request_id.to_owned(), Author::default());
    let header = Header { site, request_id, order: None, reason: Reason::Unspecified, author, note: String::new() };
    Command::new(header, Action::Increment { lines }).expect("in bounds")
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// Submits a command, as a caller that waits beside the test.
fn submitted(engine: &Engine, command: Command) -> JoinHandle<Result<Outcome, Error>> {
    let engine = engine.clone();
    tokio::spawn(async move { engine.submit(command, soon()).await })
}

/// Waits until the books are as `are` says.
async fn until(books: &Mutex<Books>, are: impl Fn(&Books) -> bool) {
    while !are(&books.lock().expect("no panic")) {
        tokio::task::yield_now().await;
    }
}

fn is_applied(answer: &Result<Outcome, Error>) -> bool {
    matches!(answer, Ok(Outcome { verdict: Verdict::Applied(_), .. }))
}

#[tokio::test]
async fn no_answer_comes_before_commit_has_returned() {
    let (engine, books) = engine(&[]);
    let gate = Arc::clone(&books.lock().expect("no panic").gate);
    let waiting = {
        let _closed = gate.lock().await;
        let waiting = submitted(&engine, give("a", 1));
        // The task has had every chance to finish.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished());
        waiting
    };
    assert!(is_applied(&waiting.await.expect("no panic")));
}

#[tokio::test]
async fn waiting_commands_are_committed_together() {
    let (engine, books) = engine(&[]);
    let gate = Arc::clone(&books.lock().expect("no panic").gate);
    let all = {
        let _closed = gate.lock().await;
        let all: Vec<_> = (0..100).map(|index| submitted(&engine, give(&index.to_string(), 1))).collect();
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        all
    };
    for one in all {
        assert!(is_applied(&one.await.expect("no panic")));
    }
    let batches = books.lock().expect("no panic").batches.clone();
    assert_eq!(batches.iter().sum::<usize>(), 100);
    assert!(batches.len() <= 3, "the first, and all that came during its commit: {batches:?}");
}

#[tokio::test]
async fn a_connection_lost_before_commit_is_replaced() {
    let (engine, books) = engine(&[Fault::ConnectionLostBeforeCommit, Fault::BeginConflicts]);
    assert!(is_applied(&engine.submit(give("a", 1), soon()).await));
    assert_eq!(books.lock().expect("no panic").connects, 2);
}

#[tokio::test]
async fn retries_are_bounded() {
    let (engine, _) = engine(&[Fault::BeginConflicts; limits::BATCH_ATTEMPTS_MAX as usize]);
    assert!(matches!(engine.submit(give("a", 1), soon()).await, Err(Error::Failed(Failed::StoreUnavailable(_)))));
    assert!(is_applied(&engine.submit(give("a", 1), soon()).await), "and then it goes on");
}

#[tokio::test]
async fn an_unreachable_database_is_reported() {
    let (engine, _) = engine(&[Fault::ConnectFails]);
    assert!(matches!(engine.submit(give("a", 1), soon()).await, Err(Error::Failed(Failed::StoreUnavailable(_)))));
    assert!(is_applied(&engine.submit(give("a", 1), soon()).await));
}

#[tokio::test]
async fn an_unknown_commit_is_reported_as_unknown() {
    let (engine, books) = engine(&[Fault::CommitUnknown]);
    assert!(matches!(engine.submit(give("a", 1), soon()).await, Err(Error::Failed(Failed::OutcomeUnknown(_)))));
    assert!(is_applied(&engine.submit(give("a", 1), soon()).await), "the same key finds out");
    assert_eq!(books.lock().expect("no panic").connects, 2, "the old connection is not trusted");
}

#[tokio::test]
async fn a_command_that_breaks_its_batch_fails_alone() {
    let (engine, books) = engine(&[Fault::Poisoned(666)]);
    let quantities = [1, 2, 666, 4, 5];
    let submit = |pieces: i64| engine.submit(give(&pieces.to_string(), pieces), soon());
    let gate = Arc::clone(&books.lock().expect("no panic").gate);
    let mut answers: Vec<_> = quantities.iter().map(|&pieces| Box::pin(submit(pieces))).collect();
    {
        // Polled once each while nothing can commit, so that all are queued.
        let _closed = gate.lock().await;
        for answer in &mut answers {
            tokio::select! { biased; _ = answer => panic!("answered before commit"), () = std::future::ready(()) => {} }
        }
    }
    for (pieces, answer) in quantities.iter().zip(answers) {
        let answer = answer.await;
        match pieces {
            666 => assert!(matches!(answer, Err(Error::Failed(Failed::Internal(_))))),
            _ => assert!(is_applied(&answer), "{pieces}: {answer:?}"),
        }
    }
    let levels: Vec<i64> = books.lock().expect("no panic").levels.values().copied().collect();
    assert_eq!(levels, [12]);
}

#[tokio::test]
async fn a_replay_is_found_by_its_key_and_not_written() {
    let (engine, books) = engine(&[]);
    assert!(is_applied(&engine.submit(give("a", 1), soon()).await));
    let again = engine.submit(give("a", 1), soon()).await.expect("the recorded outcome");
    assert!(again.replayed);
    assert!(matches!(engine.submit(give("a", 2), soon()).await, Err(Error::Invalid(Invalid::KeyReused))));
    assert_eq!(books.lock().expect("no panic").batches, [1, 0], "the replay commits too, and writes nothing");
}

#[tokio::test]
async fn a_replay_waits_for_its_commit_as_the_first_call_did() {
    let (engine, books) = engine(&[]);
    assert!(is_applied(&engine.submit(give("a", 1), soon()).await));
    books.lock().expect("no panic").faults.push(Fault::CommitUnknown);
    let replay = engine.submit(give("a", 1), soon()).await;
    assert!(matches!(replay, Err(Error::Failed(Failed::OutcomeUnknown(_)))), "{replay:?}");
    assert!(is_applied(&engine.submit(give("a", 1), soon()).await));
}

#[tokio::test]
async fn a_panic_costs_one_batch_and_the_writer_goes_on() {
    let (engine, books) = engine(&[]);
    assert!(is_applied(&engine.submit(give("a", 1), soon()).await));
    books.lock().expect("no panic").faults.push(Fault::Panic);
    let answer = engine.submit(give("b", 1), soon()).await;
    assert!(matches!(answer, Err(Error::Failed(Failed::OutcomeUnknown(_)))), "{answer:?}");
    another_server_sets(&books, 50, false);
    assert_eq!(level_after(engine.submit(give("b", 1), soon()).await), 51, "a new connection has an empty cache");
    engine.drain().await;
}

#[tokio::test]
async fn a_panic_takes_the_answers_of_its_own_batch_alone() {
    // One command makes a batch fail, so each of them runs alone; one of those panics.
    let (engine, _) = engine(&[Fault::Poisoned(13), Fault::Panic]);
    let (commands, mut answers) = engine.stream();
    let asked = ["poisoned", "panics", "good", "good too"].into_iter().zip([13, 7, 1, 2]);
    let command = |(key, pieces): (&str, i64)| StreamCommand::new(pieces.unsigned_abs(), give(key, pieces), soon());
    commands.submit(asked.map(command).collect());
    let mut told = HashMap::new();
    while told.len() < 4 {
        let answered = tokio::time::timeout(PATIENCE, answers.next()).await.expect("each command is answered");
        let answered = answered.expect("the stream is open");
        told.extend(answered.into_iter().map(|Answered { id, result, .. }| (id, result)));
    }
    assert!(matches!(told[&13], Err(Error::Failed(Failed::Internal(_)))), "{:?}", told[&13]);
    assert!(matches!(told[&7], Err(Error::Failed(Failed::OutcomeUnknown(_)))), "{:?}", told[&7]);
    assert!(is_applied(&told[&1]) && is_applied(&told[&2]), "{told:?}");
    engine.drain().await;
}

#[tokio::test]
async fn a_command_whose_deadline_has_passed_is_dropped() {
    let (engine, books) = engine(&[]);
    let past = Instant::now();
    let answer = engine.submit(give("late", 1), past).await;
    assert!(matches!(answer, Err(Error::Failed(Failed::Expired | Failed::NoAnswer))));
    assert!(is_applied(&engine.submit(give("b", 1), soon()).await));
    assert_eq!(books.lock().expect("no panic").batches, [1], "the late one was never written");
}

#[tokio::test]
async fn a_change_of_settings_whose_deadline_has_passed_is_dropped() {
    let (engine, books) = engine(&[]);
    let site = SiteId::from_uuid(Uuid::from_u128(1));
    let change = SiteChange { default_location: Some(LocationId::from_uuid(Uuid::from_u128(5))), ..Default::default() };
    let late = engine.configure_site(site, change, Author::default(), Instant::now()).await;
    assert!(matches!(late, Err(Error::Failed(Failed::Expired | Failed::NoAnswer))), "{late:?}");
    let units = engine.configure_units(site, Vec::new(), Author::default(), Instant::now()).await;
    assert!(matches!(units, Err(Error::Failed(Failed::Expired | Failed::NoAnswer))), "{units:?}");
    let site = engine.configure_site(site, SiteChange::default(), Author::default(), soon()).await.expect("in time");
    assert_eq!(site.settings.default_location, None, "the late change was never written");
    assert_eq!(books.lock().expect("no panic").batches, [0], "one commit, of settings");
}

#[tokio::test]
async fn a_full_queue_is_refused_at_once() {
    let (engine, books) = engine(&[]);
    let gate = Arc::clone(&books.lock().expect("no panic").gate);
    let mut waiting: Vec<_> = Vec::new();
    let mut refused = 0;
    {
        let _closed = gate.lock().await;
        for index in 0..limits::QUEUE_COMMANDS_MAX + limits::BATCH_COMMANDS_MAX + 2 {
            let mut answer = Box::pin({
                let engine = engine.clone();
                async move { engine.submit(give(&index.to_string(), 1), soon()).await }
            });
            tokio::select! {
                biased;
                told = &mut answer => {
                    assert!(matches!(told, Err(Error::Failed(Failed::Overloaded))));
                    refused += 1;
                }
                () = std::future::ready(()) => waiting.push(answer),
            }
        }
    }
    assert!(refused >= 2);
    for answer in waiting {
        assert!(is_applied(&answer.await));
    }
}

#[tokio::test]
async fn draining_finishes_what_is_queued_and_refuses_the_rest() {
    let (engine, books) = engine(&[]);
    let mut answers: Vec<_> = (0..50)
        .map(|index| {
            Box::pin({
                let engine = engine.clone();
                async move { engine.submit(give(&index.to_string(), 1), soon()).await }
            })
        })
        .collect();
    for answer in &mut answers {
        tokio::select! { biased; _ = answer => {}, () = std::future::ready(()) => {} }
    }
    engine.drain().await;
    assert_eq!(books.lock().expect("no panic").batches.iter().sum::<usize>(), 50);
    assert!(matches!(engine.submit(give("after", 1), soon()).await, Err(Error::Failed(Failed::Stopping))));
}

/// Changes the only level without the engine, as another server would.
fn another_server_sets(books: &Mutex<Books>, level: i64, raises_the_sequence: bool) {
    let mut books = books.lock().expect("no panic");
    books.levels.values_mut().for_each(|available| *available = level);
    books.sequence += i64::from(raises_the_sequence);
}

fn level_after(answer: Result<Outcome, Error>) -> i64 {
    match answer.map(|outcome| outcome.verdict) {
        Ok(Verdict::Applied(levels)) => levels[0].available,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn cached_levels_are_never_older_than_the_sequence_number() {
    let (engine, books) = engine(&[]);
    assert_eq!(level_after(engine.submit(give("a", 1), soon()).await), 1);
    assert_eq!(level_after(engine.submit(give("b", 1), soon()).await), 2);
    another_server_sets(&books, 50, true);
    assert_eq!(level_after(engine.submit(give("c", 1), soon()).await), 51, "another server wrote");
    // After a failover the books may differ at the same sequence number.
    another_server_sets(&books, 70, false);
    books.lock().expect("no panic").faults.push(Fault::ConnectionLostBeforeCommit);
    assert_eq!(level_after(engine.submit(give("d", 1), soon()).await), 71, "a new connection has an empty cache");
}

#[tokio::test]
async fn a_site_waits_for_no_other_site_s_backlog() {
    let (engine, books) = engine(&[]);
    let gate = Arc::clone(&books.lock().expect("no panic").gate);
    let (commands, mut answers) = engine.stream();
    let mut other = {
        let _closed = gate.lock().await;
        let flood = (0..10 * limits::BATCH_COMMANDS_MAX as u64)
            .map(|id| StreamCommand::new(id, give(&id.to_string(), 1), soon()))
            .collect();
        commands.submit(flood);
        let mut other = Box::pin(engine.submit(give_to(2, "other", 1), soon()));
        tokio::select! { biased; told = &mut other => panic!("{told:?}"), () = std::future::ready(()) => {} }
        other
    };
    // Whatever the writer took before the gate closed, the other site is in the batch after.
    let mut before = 0;
    loop {
        tokio::select! {
            biased;
            told = &mut other => {
                assert!(is_applied(&told), "{told:?}");
                break;
            }
            some = answers.next() => {
                let some = some.expect("the stream is open");
                before += some.iter().filter(|one| is_applied(&one.result)).count();
            }
        }
    }
    assert!(before <= 2 * limits::BATCH_COMMANDS_MAX, "{before} commands of the flood came first");
}
