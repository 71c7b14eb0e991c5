//! Throughput and p99 over the offered load: ours on Postgres, the peer, and the peer with a naive transaction per
//! order. An open loop offers orders of HOT at rising rates until a contender falls behind. Latency counts from when
//! an order was due. Draws the chart `latency.svg`.
//!
//!     cargo bench -p inventory-tests --bench latency

use std::time::Duration;

use inventory_tests::bench::chart::{Point, Series, svg};
use inventory_tests::bench::contender::Contender;
use inventory_tests::bench::fixtures::{Workload, requests};
use inventory_tests::bench::load::{self, Window};
use inventory_tests::bench::peer::Peer;
use inventory_tests::bench::report::{Table, heading, seconds};

/// Threads of the open loop. That is more than are busy at any rate that a contender keeps up with.
const CONNECTIONS: usize = 64;
/// Orders per second.
const OFFERED: [u32; 14] =
    [250, 500, 1_000, 2_000, 3_000, 4_000, 6_000, 8_000, 10_000, 12_000, 14_000, 16_000, 20_000, 24_000];
/// A contender that answers a smaller share of the offered orders in time has fallen behind.
const KEPT_UP: f64 = 0.9;
const CONTENDERS: [(Contender, &str); 3] =
    [(Contender::OURS, "#1667c4"), (Contender::PEER, "#2f8f4e"), (Contender::NAIVE, "#c4481d")];

fn main() {
    Peer::installed();
    heading("latency");
    let time = Duration::from_secs_f64(seconds() / 2.0);
    let warm_up = (Workload::Hot.orders_per_second() * 2.5) as usize;
    let measured: f64 = OFFERED.iter().map(|offered| f64::from(*offered) * time.as_secs_f64()).sum();
    let all = requests(Workload::Hot, 1, warm_up + measured as usize);
    let mut table = Table::new(&["Postgres, HOT, open loop", "offered /s", "answered /s", "p50 ms", "p99 ms"]);
    let mut series = Vec::new();
    for (contender, colour) in CONTENDERS {
        let started = contender.start(Workload::Hot);
        let window = Window { warm_up: contender.warm_up(), measured: Duration::from_millis(100) };
        let mut sent = load::during(started.http.clone(), &all[..warm_up], CONNECTIONS, window).expect(200).answered();
        let (mut points, mut rest) = (Vec::new(), &all[warm_up..]);
        for offered in OFFERED.map(f64::from) {
            let (due, later) = rest.split_at((offered * time.as_secs_f64()) as usize);
            rest = later;
            let loaded = load::open(started.http.clone(), due, CONNECTIONS, offered).expect(200);
            sent += due.len();
            let (answered, p50, p99) = (loaded.rate(), loaded.millis(50.0), loaded.millis(99.0));
            let name = contender.name();
            let shown = [format!("{offered:.0}"), format!("{answered:.0}"), format!("{p50:.1}"), format!("{p99:.1}")];
            table.row([vec![name], shown.to_vec()].concat());
            points.push(Point { offered, answered, p99 });
            if answered < offered * KEPT_UP {
                break;
            }
        }
        // An order of HOT takes one piece.
        started.end(sent, sent as i64);
        series.push(Series { name: contender.name(), colour, points });
    }
    table.print();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/latency.svg");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let title = format!("HOT: all orders take one of the same item; {cores} cores for load, servers and database");
    std::fs::write(path, svg(&title, &series)).expect("the folder of the chart is writable");
    println!("\nwritten: {path}");
}
