//! From the signed HTTP body to the durable answer: adapter and server as two processes with Postgres on the same
//! cores, and `standalone` on SQLite.
//!
//!     cargo bench --bench end_to_end

use inventory_tests::bench::fixtures::{Workload, requests};
use inventory_tests::bench::limits::{checking_server, naive_orders, signature_check};
use inventory_tests::bench::load;
use inventory_tests::bench::report::{Figure, Table, heading, runs, scaled};
use inventory_tests::bench::rig::{Rig, Shape};
use inventory_tests::programs::Running;
use inventory_tests::world::Backend;

/// Connections of the load generator.
const CONNECTIONS: usize = 64;

struct Row {
    shape: Shape,
    workload: Workload,
    /// Requests on the new database, before the measured ones.
    fresh: usize,
    measured: usize,
}

const fn row(shape: Shape, workload: Workload, fresh: usize, measured: usize) -> Row {
    Row { shape, workload, fresh, measured }
}

const ROWS: [Row; 7] = [
    row(Shape::TwoProcesses(Backend::Postgres), Workload::Hot, 10_000, 40_000),
    row(Shape::TwoProcesses(Backend::Postgres), Workload::Spread, 10_000, 40_000),
    row(Shape::TwoProcesses(Backend::Postgres), Workload::Bulk, 400, 1_600),
    row(Shape::TwoProcesses(Backend::Postgres), Workload::SoldOut, 10_000, 40_000),
    row(Shape::Standalone, Workload::Hot, 10_000, 40_000),
    row(Shape::Standalone, Workload::Spread, 10_000, 40_000),
    row(Shape::Standalone, Workload::Bulk, 400, 1_600),
];

fn main() {
    let only = std::env::var("BENCH_ONLY").unwrap_or_default();
    heading("end_to_end");
    println!("a check of a token: {:.1} µs of one core", signature_check(scaled(10_000)));
    if only.is_empty() {
        let calls = requests(Workload::Hot, 1, scaled(50_000));
        let rate = Figure::of(runs(), || checking_server(&calls, CONNECTIONS));
        println!("an axum handler that only checks the token: {}/s", rate.shown(0));
    }
    let naive = |backend| match only.as_str() {
        "" => Figure::of(runs(), || naive_orders(backend, CONNECTIONS, scaled(4_000))).median(),
        // A run of selected rows skips the limit to save time.
        _ => f64::NAN,
    };
    let (naive_postgres, naive_sqlite) = (naive(Backend::Postgres), naive(Backend::Sqlite));
    println!(
        "a transaction per order, {CONNECTIONS} connections: Postgres {naive_postgres:.0}/s, SQLite {naive_sqlite:.0}/s"
    );
    let mut table = Table::new(&[
        "store",
        "workload",
        "fresh /s",
        "warmed /s",
        "× naive",
        "p50 ms",
        "p99 ms",
        "CPU µs of each process",
    ]);
    for Row { shape, workload, fresh, measured } in ROWS {
        let store = match shape {
            Shape::TwoProcesses(_) => "Postgres",
            Shape::Standalone => "SQLite",
        };
        if !format!("{store} {}", workload.name()).contains(&only) {
            continue;
        }
        let all = requests(workload, 1, scaled(fresh + measured));
        let (first, rest) = all.split_at(scaled(fresh));
        let status = if workload == Workload::SoldOut { 428 } else { 200 };
        let (mut fresh, mut rate, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut cpu = Vec::new();
        for _ in 0..runs() {
            let rig = Rig::start(shape);
            fresh.push(load::closed(rig.http, first, CONNECTIONS).expect(status).rate());
            let before: Vec<f64> = rig.servers.iter().map(Running::cpu_seconds).collect();
            let loaded = load::closed(rig.http, rest, CONNECTIONS).expect(status);
            let used = rig.servers.iter().zip(before).map(|(server, before)| server.cpu_seconds() - before);
            cpu = used.map(|seconds| format!("{:.0}", seconds * 1e6 / rest.len() as f64)).collect();
            rate.push(loaded.rate());
            p50.push(loaded.millis(50.0));
            p99.push(loaded.millis(99.0));
        }
        let [fresh, rate, p50, p99] = [fresh, rate, p50, p99].map(Figure::from);
        let naive = if store == "Postgres" { naive_postgres } else { naive_sqlite };
        table.row(vec![
            store.into(),
            workload.name().into(),
            fresh.shown(0),
            rate.shown(0),
            format!("{:.1}", rate.median() / naive),
            p50.shown(2),
            p99.shown(2),
            cpu.join(" + "),
        ]);
    }
    table.print();
}
