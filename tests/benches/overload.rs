//! What callers meet when more comes than the machine can do: orders at twice the rate that it reached, the same while
//! the servers stop for a while, and a small site beside a site that floods with orders of 300 items. Both sites share
//! a writer. The load comes first on the two cores, as if it came from another machine.
//!
//!     cargo bench -p inventory-tests --bench overload
//!
//! `BENCH_ONLY="hot bulk pause flood"` picks parts.

use std::time::Duration;

use inventory_tests::bench::fixtures::{SITE, Workload, requests, requests_of};
use inventory_tests::bench::load::{self, CUT, Window};
use inventory_tests::bench::report::{Figure, Table, heading, runs, seconds, wanted};
use inventory_tests::bench::rig::{Rig, Shape, stock_site};
use inventory_tests::programs::Running;
use inventory_tests::world::Backend;

/// Connections of the closed loop, and of the small site: with so many, its orders are sent when they are due.
const CONNECTIONS: usize = 64;
/// Connections of the open loop: Wix has as many as it has shoppers at checkout. A port takes 4,096. An order that is
/// due waits until one of them is free.
const MANY: usize = 4_000;
/// Longer than the time of a call: none that waits then is answered.
const PAUSE: Duration = Duration::from_millis(2_300);
/// The small site. Its id and that of `SITE` have the same remainder for every number of writers up to ten, so one
/// writer has both.
const SMALL: &str = "5eed0000-0000-4000-8000-0000000013b1";
/// Orders per second of the small site.
const SMALL_RATE: f64 = 50.0;
const SHAPES: [(&str, Shape); 2] =
    [("Postgres", Shape::TwoProcesses(Backend::Postgres)), ("SQLite, `standalone`", Shape::Standalone)];

fn main() {
    heading("overload");
    let window = Window { warm_up: Duration::from_secs(1), measured: Duration::from_secs_f64(seconds()) };
    let cases = [("hot", Workload::Hot, false), ("bulk", Workload::Bulk, false), ("pause", Workload::Hot, true)];
    let cases = cases.into_iter().filter(|(name, ..)| wanted(name)).map(|(_, workload, stops)| (workload, stops));
    let cases: Vec<_> = cases.collect();
    if !cases.is_empty() {
        twice_the_rate(window, &cases);
    }
    if wanted("flood") {
        beside_a_flood(window);
    }
}

/// For each case: the workload, and whether the servers stop for a while.
fn twice_the_rate(window: Window, cases: &[(Workload, bool)]) {
    let mut table = Table::new(&[
        "at twice the rate",
        "store",
        "reached /s",
        "offered /s",
        "answered 200 /s",
        "p99 ms",
        "slowest ms",
        "refused with 503",
        "p50 ms",
        "p99 ms",
        "slowest ms",
        "connection closed",
        "p99 ms of all, from when due",
        "peak memory of each process, MB",
    ]);
    for &(workload, stops) in cases {
        let most = workload.orders_per_second() * seconds();
        let closed = requests(workload, 1, (most * 1.5) as usize);
        let twice = requests(workload, 2, (most * 2.0) as usize);
        let stopped = if stops { format!(", {:.1} s stopped", PAUSE.as_secs_f64()) } else { String::new() };
        let label = format!("{}{stopped}", workload.name());
        for (name, shape) in SHAPES {
            let rig = Rig::behind_the_load(shape);
            let reached = load::during(rig.http.clone(), &closed, CONNECTIONS, window).expect(200).rate();
            let offered = 2.0 * reached;
            let twice = &twice[..twice.len().min((offered * seconds()) as usize)];
            let (loaded, by_status) = std::thread::scope(|scope| {
                load::open_by_status(rig.http.clone(), twice, MANY, offered, || {
                    if stops {
                        scope.spawn(|| stop_for_a_while(&rig.servers));
                    }
                })
            });
            let of = |status| by_status.get(&status).map_or(0, |latency| latency.len());
            let at = |status: u16, quantile| {
                let latency = by_status.get(&status);
                latency.map_or("–".into(), |all| format!("{:.0}", all.value_at_quantile(quantile) as f64 / 1_000.0))
            };
            assert_eq!(of(200) + of(503) + of(CUT), twice.len() as u64, "another status: {:?}", loaded.statuses);
            let memory = rig.servers.iter().map(|server| format!("{:.0}", server.peak_megabytes()));
            table.row(vec![
                label.clone(),
                name.into(),
                format!("{reached:.0}"),
                format!("{offered:.0}"),
                format!("{:.0}", of(200) as f64 / loaded.seconds),
                at(200, 0.99),
                at(200, 1.0),
                of(503).to_string(),
                at(503, 0.5),
                at(503, 0.99),
                at(503, 1.0),
                of(CUT).to_string(),
                format!("{:.0}", loaded.millis(99.0)),
                memory.collect::<Vec<_>>().join(" + "),
            ]);
            rig.servers.into_iter().for_each(|server| assert!(Running::terminate(server).success()));
        }
    }
    table.print();
}

/// Stops the servers after a second, for as long as `PAUSE`. Then they go on.
fn stop_for_a_while(servers: &[Running]) {
    std::thread::sleep(Duration::from_secs(1));
    servers.iter().for_each(Running::freeze);
    std::thread::sleep(PAUSE);
    servers.iter().for_each(Running::thaw);
}

fn beside_a_flood(window: Window) {
    let flood = requests(Workload::Bulk, 1, (Workload::Bulk.orders_per_second() * (seconds() + 2.0)) as usize);
    let small = requests_of(SMALL, Workload::Hot, 3, (SMALL_RATE * seconds()) as usize);
    let more = requests_of(SMALL, Workload::Hot, 4, small.len());
    let mut table = Table::new(&[
        "a small site, 50 orders /s",
        "alone: p50 ms",
        "p99 ms",
        "beside the flood: p50 ms",
        "p99 ms",
        "the flood's orders /s",
        "p50 ms",
    ]);
    for (name, shape) in SHAPES {
        let mut figures: [Vec<f64>; 6] = Default::default();
        for _ in 0..runs() {
            let rig = Rig::behind_the_load(shape);
            stock_site(&rig.grpc, SMALL, 1);
            let alone = load::open(rig.http.clone(), &small, CONNECTIONS, SMALL_RATE).expect(200);
            let (flooded, beside) = std::thread::scope(|scope| {
                let flooding = scope.spawn(|| load::during(rig.http.clone(), &flood, CONNECTIONS, window).expect(200));
                std::thread::sleep(window.warm_up);
                let beside = load::open(rig.http.clone(), &more, CONNECTIONS, SMALL_RATE).expect(200);
                (flooding.join().expect("no panic"), beside)
            });
            let [p50, p99] = [50.0, 99.0];
            let own = [
                alone.millis(p50),
                alone.millis(p99),
                beside.millis(p50),
                beside.millis(p99),
                flooded.rate(),
                flooded.millis(p50),
            ];
            figures.iter_mut().zip(own).for_each(|(figures, figure)| figures.push(figure));
            rig.servers.into_iter().for_each(|server| assert!(server.terminate().success()));
        }
        let shown = figures.map(|figures| Figure::from(figures).shown(1));
        table.row([vec![name.to_owned()], shown.to_vec()].concat());
    }
    table.print();
    println!("\nthe flood: site {SITE}, {CONNECTIONS} connections, orders of 300 items");
}
