//! Bugs that are planted in the engine. What the tests of many callers trust has to find them: the checker of
//! histories, and the proof of the books.

use futures_util::future::join_all;
use inventory_core::engine::storage::faults::Bug;
use inventory_core::store::DatabaseUrl;
use inventory_tests::books;
use inventory_tests::history::{History, RecordedGrpc, Unexplained};
use inventory_tests::model::{Request, Target};
use inventory_tests::postgres::{Durability, fresh_database};
use inventory_tests::requests::guid;
use inventory_tests::tokens::channel_to;
use inventory_tests::world::{Backend, start_grpc};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::faults_of;

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_bug_is_found_on_sqlite() {
    run(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_bug_is_found_on_postgres() {
    run(Backend::Postgres).await;
}

/// Orders of one piece. All are sent at the same time, and then all of them again.
const ORDERS: u64 = 40;

/// What the checks say.
#[derive(Debug)]
struct Checked {
    calls: Result<(), Unexplained>,
    books: Option<String>,
}

async fn run(backend: Backend) {
    let right = check_with(backend, None).await;
    assert!(right.calls.is_ok() && right.books.is_none(), "nothing is wrong without a bug: {right:?}");
    let rows = [
        (Bug::ForgetLevel, "Level(0, 0)", "a level is not its balance and the sum of its entries"),
        (Bug::ForgetRequest, "but its key has the answer Applied", "does not belong to exactly one recorded request"),
    ];
    for (bug, call, claim) in rows {
        let Checked { calls, books } = check_with(backend, Some(bug)).await;
        let why = calls.expect_err("the checker finds the bug").why;
        assert!(why.contains(call), "{bug:?}: {why}");
        let wrong = books.expect("the books show the bug");
        assert!(wrong.contains(claim), "{bug:?}: {wrong}");
    }
}

/// Makes the same calls with a bug and without one, to a new server. Returns what the checks say of them.
async fn check_with(backend: Backend, bug: Option<Bug>) -> Checked {
    // A `Database` would end the test, because its books are wrong.
    let folder = TempDir::new().expect("the temporary folder is writable");
    let text = match backend {
        Backend::Sqlite => format!("sqlite:{}", folder.path().join("inventory.db").display()),
        Backend::Postgres => fresh_database(Durability::None),
    };
    let url: DatabaseUrl = text.parse().expect("the database URL is valid");
    let stop = CancellationToken::new();
    let grpc = start_grpc(url.clone(), stop.clone()).await;
    let history = History::default();
    let caller = RecordedGrpc::new(&history, channel_to(grpc));
    let site = guid();
    let target = Target { item: 0, level: 1_000, expected: None, expected_revision: None, as_of: None };
    caller.write(&site, 1, false, &Request::Set(vec![target])).await.expect("the level can be set");

    let faults = faults_of(&url);
    if let Some(bug) = bug {
        faults.plant(bug);
    }
    let take = |key: u64| {
        let (caller, site) = (caller.clone(), site.clone());
        let order = Request::Decrement(vec![(0, 1, false)], true, key as usize, true);
        async move { caller.write(&site, key, false, &order).await.expect("there is enough") }
    };
    for _ in 0..2 {
        join_all((2..2 + ORDERS).map(&take)).await;
    }
    caller.level(&site, 0, 0).await.expect("the level can be read");
    assert!(!faults.is_planted(), "the bug has happened");
    stop.cancel();
    Checked { calls: history.explain(), books: books::wrong(&url) }
}
