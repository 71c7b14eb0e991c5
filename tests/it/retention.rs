//! How long the outcomes of requests are kept, and who may delete them.

use std::time::Duration;

use inventory_core::engine::Engine;
use inventory_core::engine::clock::Clock;
use inventory_core::store::{Open, Store};
use inventory_proto::v1;
use inventory_tests::books;
use inventory_tests::programs::program;
use inventory_tests::requests::decrement;
use inventory_tests::test_clock::{SECOND, TestClock};
use inventory_tests::world::{Backend, Database, World};

const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

const SITE: &str = "5eed0000-0000-4000-8000-000000000002";

/// A command that opens a database itself does not know how long its servers keep outcomes. So it deletes none.
#[test]
fn commands_delete_no_outcomes() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        let file = database.folder().join("stock.csv");
        std::fs::write(&file, "app_id,catalog_item_id,available\na,1,5\n").expect("the folder is writable");
        let run = |args: &[&str]| {
            let mut command = program("inventory-grpc");
            let output = command.args(args).args(["--database-url", &database.text]).env("SITE_ID", SITE).output();
            assert!(output.expect("the program starts").status.success(), "{args:?} failed");
        };
        run(&["import", &file.display().to_string()]);
        assert_eq!(books::execute(&database.url, "UPDATE request SET recorded_at = 0"), Ok(1));
        run(&["verify"]);
        run(&["export", "stock"]);
        assert_eq!(books::count(&database.url, "SELECT count(*) AS wrong FROM request"), 1, "{backend:?}");
    }
}

/// Prunes as a server does that keeps outcomes for 30 days.
async fn prune(engine: &Engine) {
    engine.prune(Duration::from_micros(30 * DAY.unsigned_abs())).await.expect("outcomes can be pruned");
}

/// An engine beside the servers of the world, with a clock of its own.
async fn engine(world: &World, clock: &TestClock) -> Engine {
    let url = world.database.url.clone();
    let store = tokio::task::spawn_blocking(|| Store::open(url, Open::AsIs)).await.expect("no panic");
    Engine::start(&store.expect("the store opens"), clock.clock()).expect("threads start")
}

/// Sends an order again; returns whether its answer is the recorded one.
async fn is_recorded(world: &World, order: &v1::DecrementAvailabilityRequest) -> bool {
    let answer = world.availability().decrement_availability(order.clone()).await;
    answer.expect("the order is answered").into_inner().repeated_request
}

async fn a_clock_that_is_ahead_prunes_nothing(world: World) {
    let now = Clock::system().now();
    world.clock.set(now);
    world.set(&[("A", 100)]).await;
    let order = decrement(&world.site, &[("A", 1)]);
    assert!(!is_recorded(&world, &order).await);
    prune(&engine(&world, &world.clock).await).await;

    // A server starts with a clock that is a month ahead, and answers orders before it prunes.
    world.clock.set(now + 31 * DAY);
    let ahead = world.clock.clone();
    assert!(!is_recorded(&world, &decrement(&world.site, &[("A", 1)])).await);
    prune(&engine(&world, &ahead).await).await;
    assert!(is_recorded(&world, &order).await, "the record is some seconds old");
    // It is started again, while its clock is still wrong.
    let restarted = engine(&world, &ahead).await;
    ahead.set(now + 31 * DAY + HOUR);
    prune(&restarted).await;
    assert!(is_recorded(&world, &order).await, "the record is an hour old");
    // The clock is set right.
    world.clock.set(now + 2 * HOUR);
    prune(&restarted).await;
    assert!(is_recorded(&world, &order).await, "the record is two hours old");
}

async fn outcomes_are_pruned_after_30_days_of_service(world: World) {
    let now = Clock::system().now();
    world.clock.set(now);
    world.set(&[("A", 100)]).await;
    let order = decrement(&world.site, &[("A", 1)]);
    assert!(!is_recorded(&world, &order).await);
    let engine = engine(&world, &world.clock).await;
    // A server looks at the clock every hour. For ten days nobody does, and nobody can know that they passed.
    for hour in (0..=240).chain(480..=959) {
        world.clock.set(now + hour * HOUR + SECOND);
        prune(&engine).await;
    }
    assert!(is_recorded(&world, &order).await, "the server ran for one hour less than 30 days");
    world.clock.set(now + 960 * HOUR + SECOND);
    prune(&engine).await;
    assert!(!is_recorded(&world, &order).await, "the record is 30 days old");
    let marks = books::count(&world.database.url, "SELECT count(*) AS wrong FROM age_mark");
    assert!(marks <= 722, "marks are not kept for longer than the records: {marks}");
    // The check of the books would miss the pruned outcomes, so the database is not dropped.
    let World { database, .. } = world;
    std::mem::forget(database);
}

inventory_tests::on_both!(a_clock_that_is_ahead_prunes_nothing, outcomes_are_pruned_after_30_days_of_service);
