//! The latency of an order: on an idle system compared with a bare commit, and at a steady rate from an open loop,
//! where latency counts from the moment when the order was due.
//!
//!     cargo bench --bench latency

use inventory_tests::bench::chart::{Point, Series, svg};
use inventory_tests::bench::fixtures::{Workload, requests};
use inventory_tests::bench::limits::{naive_open, raw_commits};
use inventory_tests::bench::load;
use inventory_tests::bench::report::{Figure, Table, heading, runs, scaled};
use inventory_tests::bench::rig::{Rig, Shape};
use inventory_tests::world::Backend;

const SHAPES: [(Shape, Backend); 2] =
    [(Shape::TwoProcesses(Backend::Postgres), Backend::Postgres), (Shape::Standalone, Backend::Sqlite)];
/// Threads of the open loop. That is more than are busy at any offered rate.
const CONNECTIONS: usize = 64;

fn main() {
    heading("latency");
    let all = requests(Workload::Hot, 1, scaled(50_000));
    let mut idle =
        Table::new(&["idle: an order at a time", "p50 ms", "p99 ms", "p50 ÷ commit", "p99 ÷ commit", "commit p50 ms"]);
    let mut open = Table::new(&["open loop, HOT", "offered /s", "of the maximum", "answered /s", "p50 ms", "p99 ms"]);
    for (shape, backend) in SHAPES {
        let (mut p50, mut p99, mut commit) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..runs() {
            commit.push(raw_commits(backend, scaled(2_000)).value_at_quantile(0.5) as f64 / 1_000.0);
            let rig = Rig::start(shape);
            let (warm, rest) = all.split_at(scaled(500));
            load::closed(rig.http, warm, 1).expect(200);
            let loaded = load::closed(rig.http, &rest[..scaled(2_000)], 1).expect(200);
            p50.push(loaded.millis(50.0));
            p99.push(loaded.millis(99.0));
        }
        let [p50, p99, commit] = [p50, p99, commit].map(Figure::from);
        idle.row(vec![
            format!("{backend:?}"),
            p50.shown(2),
            p99.shown(2),
            format!("{:.1}", p50.median() / commit.median()),
            format!("{:.1}", p99.median() / commit.median()),
            commit.shown(2),
        ]);

        let maximum = Figure::of(runs(), || {
            let rig = Rig::start(shape);
            load::closed(rig.http, &all[..scaled(30_000)], CONNECTIONS).expect(200).rate()
        });
        for share in [0.25, 0.5, 0.75] {
            let rate = maximum.median() * share;
            let (mut answered, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..runs() {
                let rig = Rig::start(shape);
                let (warm, rest) = all.split_at(scaled(5_000));
                load::closed(rig.http, warm, CONNECTIONS).expect(200);
                let due = rest.len().min((rate * 5.0) as usize);
                let loaded = load::open(rig.http, &rest[..due], CONNECTIONS, rate).expect(200);
                answered.push(loaded.rate());
                p50.push(loaded.millis(50.0));
                p99.push(loaded.millis(99.0));
            }
            let [answered, p50, p99] = [answered, p50, p99].map(Figure::from);
            let share = format!("{:.0} %", share * 100.0);
            open.row(vec![
                format!("{backend:?}"),
                format!("{rate:.0}"),
                share,
                answered.shown(0),
                p50.shown(2),
                p99.shown(2),
            ]);
        }
    }
    idle.print();
    open.print();
    chart(&all);
}

/// Offers rising rates, up to more than the servers can answer, and draws the chart.
fn chart(all: &[Vec<u8>]) {
    let mut table = Table::new(&["Postgres, HOT, open loop", "offered /s", "answered /s", "p99 ms"]);
    let (mut ours, mut naive) = (Vec::new(), Vec::new());
    for offered in [250.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 6_000.0, 8_000.0, 10_000.0, 12_000.0, 14_000.0, 16_000.0] {
        let count = scaled((offered * 3.0) as usize);
        let rig = Rig::start(Shape::TwoProcesses(Backend::Postgres));
        let (warm, rest) = all.split_at(scaled(2_000));
        load::closed(rig.http, warm, CONNECTIONS).expect(200);
        let loaded = load::open(rig.http, &rest[..rest.len().min(count)], CONNECTIONS, offered).expect(200);
        ours.push(Point { offered, answered: loaded.rate(), p99: loaded.millis(99.0) });
        if offered <= 4_000.0 {
            let (answered, latency) = naive_open(Backend::Postgres, CONNECTIONS, count, offered);
            naive.push(Point { offered, answered, p99: latency.value_at_quantile(0.99) as f64 / 1_000.0 });
        }
    }
    let series = [
        Series { name: "signed HTTP to durable answer", colour: "#1667c4", points: ours },
        Series { name: "a transaction per order, without HTTP", colour: "#c4481d", points: naive },
    ];
    for Series { name, points, .. } in &series {
        for Point { offered, answered, p99 } in points {
            table.row(vec![(*name).into(), format!("{offered:.0}"), format!("{answered:.0}"), format!("{p99:.1}")]);
        }
    }
    table.print();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/latency.svg");
    let title = "HOT on Postgres: all orders take one of the same item; 2 cores for load, servers and database";
    std::fs::write(path, svg(title, &series)).expect("the folder of the chart is writable");
    println!("\nwritten: {path}");
}
