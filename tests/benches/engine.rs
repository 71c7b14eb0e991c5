//! The engine alone: no network, no JSON, no signatures.
//!
//!     cargo bench --bench engine

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use inventory_core::engine::Engine;
use inventory_core::engine::clock::Clock;
use inventory_core::model::access::Author;
use inventory_core::model::action::{Action, Expected, Line, Quantity, Target};
use inventory_core::model::catalog::CatalogReference;
use inventory_core::model::command::{Command, Header, Reason};
use inventory_core::model::ids::{OrderId, SiteId};
use inventory_core::model::unit::UnitSelector;
use inventory_core::store::{Open, Store};
use inventory_tests::bench::fixtures::Workload;
use inventory_tests::bench::limits::raw_commits;
use inventory_tests::bench::report::{Figure, Table, heading, runs, scaled, wanted};
use inventory_tests::postgres::Durability;
use inventory_tests::world::{Backend, Database};
use uuid::Uuid;

fn main() {
    heading("engine");
    let mut table = Table::new(&["store", "workload", "callers", "orders /s", "× raw commits", "raw commits /s"]);
    let rows = [
        (Workload::Hot, 1, 2_000),
        (Workload::Hot, 64, 60_000),
        (Workload::Hot, 512, 120_000),
        (Workload::Spread, 64, 60_000),
        (Workload::Spread, 512, 120_000),
        (Workload::Bulk, 64, 3_000),
    ];
    for backend in [Backend::Postgres, Backend::Sqlite] {
        if !wanted(&format!("{backend:?}")) {
            continue;
        }
        let raw = Figure::of(runs(), || 1e6 / raw_commits(backend, scaled(2_000)).mean());
        for (workload, callers, count) in rows {
            let rate = Figure::of(runs(), || run(backend, workload, callers, scaled(count)));
            table.row(vec![
                format!("{backend:?}"),
                workload.name().into(),
                callers.to_string(),
                rate.shown(0),
                format!("{:.1}", rate.median() / raw.median()),
                raw.shown(0),
            ]);
        }
    }
    table.print();
}

fn run(backend: Backend, workload: Workload, callers: usize, count: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the runtime starts");
    let database = Database::with_durability(backend, Durability::Full);
    let store = Store::open(database.url.clone(), Open::Migrate).expect("the store opens");
    runtime.block_on(async {
        let engine = Engine::start(&store, Clock::default()).expect("writers start");
        let site = SiteId::from_uuid(Uuid::from_u128(0x5eed));
        let deadline = || Instant::now() + Duration::from_secs(60);
        for first in (0..inventory_tests::bench::fixtures::ITEMS).step_by(1_000) {
            let targets = (first..first + 1_000)
                .map(|item| Target {
                    unit: unit(item),
                    location: None,
                    available: 1_000_000_000,
                    expected: Expected::default(),
                    as_of: None,
                })
                .collect();
            let command = Command::new(header(site, None), Action::Set { targets }).expect("the value is in bounds");
            engine.submit(command, deadline()).await.expect("the levels can be set");
        }
        let started = Instant::now();
        let caller = |caller: usize| {
            let engine = engine.clone();
            async move {
                let mut random = fastrand::Rng::with_seed(caller as u64);
                for _ in 0..count / callers {
                    let line = |item| Line {
                        unit: unit(item),
                        location: None,
                        quantity: Quantity::new(1).expect("the value is in bounds"),
                        subscription: false,
                    };
                    let lines = workload.items(&mut random).into_iter().map(line).collect();
                    let order = OrderId::from_uuid(Uuid::from_u128(random.u128(..)));
                    let action = Action::Decrement { lines, restricted: true };
                    let command = Command::new(header(site, Some(order)), action).expect("the value is in bounds");
                    engine.submit(command, deadline()).await.expect("the order is applied");
                }
            }
        };
        join_all((0..callers).map(caller)).await;
        let seconds = started.elapsed().as_secs_f64();
        engine.drain().await;
        (count / callers * callers) as f64 / seconds
    })
}

fn unit(item: usize) -> UnitSelector {
    let reference = CatalogReference::new("bench", &format!("item-{item}"), serde_json::Map::new());
    UnitSelector::Reference(reference.expect("the value is in bounds"))
}

fn header(site: SiteId, order: Option<OrderId>) -> Header {
    let request_id = Uuid::new_v4().to_string();
    let author = Author { actor: "bench".into(), ..Author::default() };
    Header { site, request_id, order, reason: Reason::OrderPlaced, author, note: String::new() }
}
