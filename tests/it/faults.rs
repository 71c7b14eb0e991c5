//! Something fails at each fault point of a batch, in each way: a statement, the connection, the writer's thread, the
//! whole process. Or the writer just stops there for a while, and another server writes.
//!
//! Whatever it is, the calls can be explained by the model, before and after: what was answered was done once, what was
//! refused took nothing, and what was left unknown is settled by the same request again. The service recovers by
//! itself: nobody repairs or restarts anything, but a process that died.
//!
//! The points are those of `inventory_core::engine::storage::faults`. One that no scenario reaches fails the test.

mod killed;
mod planted;
mod scenario;
mod shop;

use inventory_core::engine::storage::faults::{Action, Failure, Faults, Point};
use inventory_core::store::{DatabaseUrl, Open, Store};
use inventory_tests::books;
use inventory_tests::world::{Backend, Database};

use self::scenario::Scenario;
use self::shop::Shop;

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_fails_on_sqlite() {
    failures(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_fails_on_postgres() {
    failures(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_on_sqlite() {
    table(Backend::Sqlite, |_| vec![Action::Lose]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_on_postgres() {
    table(Backend::Postgres, |_| vec![Action::Lose]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_panics_on_sqlite() {
    table(Backend::Sqlite, |_| vec![Action::Panic]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_panics_on_postgres() {
    table(Backend::Postgres, |_| vec![Action::Panic]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_stops_for_a_while_on_sqlite() {
    table(Backend::Sqlite, |_| vec![Action::Pause]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_stops_for_a_while_on_postgres() {
    table(Backend::Postgres, |_| vec![Action::Pause]).await;
}

/// A statement that has succeeded does not fail, so these are about the points before.
async fn failures(backend: Backend) {
    let fail = |point| match point {
        Point::Before(_) => [Failure::Conflict, Failure::Full, Failure::Wrong].map(Action::Fail).to_vec(),
        Point::After(_) | Point::BeforeAnswer => Vec::new(),
    };
    table(backend, fail).await;
}

/// The faults of a database.
fn faults_of(url: &DatabaseUrl) -> Faults {
    match url {
        DatabaseUrl::Sqlite(path) => Faults::of(path),
        DatabaseUrl::Postgres(url) => Faults::of(url),
    }
}

/// All points on the way of a batch.
fn points(backend: Backend) -> Vec<Point> {
    match backend {
        Backend::Sqlite => Point::of_sqlite(),
        Backend::Postgres => Point::of_postgres(),
    }
}

/// Lets each action happen at each point of each scenario.
async fn table(backend: Backend, actions: impl Fn(Point) -> Vec<Action>) {
    let database = Database::fresh(backend);
    let store = Store::open(database.url.clone(), Open::Migrate).expect("the store opens");
    let mut unreached = points(backend);
    let mut faults = 0;
    for &scenario in Scenario::of(backend) {
        let shop = Shop::open(&database, &store);
        shop.prepare().await;
        let reached = shop.trace(scenario).await;
        shop.close().await;
        unreached.retain(|point| !reached.contains(point));
        for point in points(backend).into_iter().filter(|point| reached.contains(point) && scenario.tries(*point)) {
            for action in actions(point) {
                let shop = Shop::open(&database, &store);
                shop.prepare().await;
                shop.strike(scenario, point, action).await;
                shop.close().await;
                faults += 1;
            }
        }
    }
    assert!(unreached.is_empty(), "no scenario reaches {unreached:?}");
    books::prove(&database.url);
    println!("{faults} faults");
}
