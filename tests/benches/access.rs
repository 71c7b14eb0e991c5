//! What tokens and TLS cost: HOT from the signed HTTP body and over plain gRPC, with and without each, in turns.
//!
//!     cargo bench -p inventory-tests --bench access
//!
//! `BENCH_RUNS` is the number of rounds, `BENCH_SECS` the seconds of each measurement. The load generator pays for its
//! side of TLS on the same cores.

use std::time::Duration;

use inventory_tests::bench::calls::{Call, IN_FLIGHT};
use inventory_tests::bench::fixtures::{Workload, requests};
use inventory_tests::bench::load::{self, Window};
use inventory_tests::bench::report::{Figure, Table, heading, runs, seconds};
use inventory_tests::bench::rig::{Guards, Rig};
use inventory_tests::programs::Running;

/// Connections of the load generator over HTTP.
const CONNECTIONS: usize = 64;
const CASES: [(&str, Guards); 4] = [
    ("neither", Guards { token: false, tls: false }),
    ("token", Guards { token: true, tls: false }),
    ("TLS", Guards { token: false, tls: true }),
    ("token and TLS", Guards { token: true, tls: true }),
];

/// What one case reached in one round: orders per second, and the processor time of an order in microseconds.
#[derive(Default)]
struct Reached {
    http: Vec<f64>,
    unary: Vec<f64>,
    stream: Vec<f64>,
    adapter: Vec<f64>,
    server: Vec<f64>,
}

fn main() {
    heading("access");
    let window = Window { warm_up: Duration::from_secs(2), measured: Duration::from_secs_f64(seconds()) };
    let most = Workload::Hot.orders_per_second() * (window.warm_up + window.measured).as_secs_f64();
    let orders = requests(Workload::Hot, 1, most as usize);
    let mut cases: Vec<Reached> = CASES.iter().map(|_| Reached::default()).collect();
    for round in 1..=runs() {
        for ((name, guards), reached) in CASES.iter().zip(&mut cases) {
            let rig = Rig::guarded(*guards);
            let cpu = || rig.servers.iter().map(Running::cpu_seconds).collect::<Vec<_>>();
            let before = cpu();
            let http = load::during(rig.http.clone(), &orders, CONNECTIONS, window).expect(200);
            let spent: Vec<_> = cpu().iter().zip(before).map(|(after, before)| (after - before) * 1e6).collect();
            let each = http.answered() as f64;
            reached.http.push(http.rate());
            reached.adapter.push(spent[0] / each);
            reached.server.push(spent[1] / each);
            reached.unary.push(Call::Unary.during(rig.grpc.clone(), window).rate());
            reached.stream.push(Call::Stream.during(rig.grpc.clone(), window).rate());
            eprintln!("round {round}, {name}: {:.0}/s", http.rate());
        }
    }
    let mut table = Table::new(&[
        "HOT, Postgres",
        "signed HTTP, orders /s",
        "÷ neither",
        &format!("gRPC, unary, {IN_FLIGHT} in flight: orders /s"),
        "÷ neither",
        "gRPC, stream: orders /s",
        "÷ neither",
        "CPU µs an order over HTTP: adapter + server",
    ]);
    let plain = &cases[0];
    for ((name, _), reached) in CASES.iter().zip(&cases) {
        let mut row = vec![(*name).to_owned()];
        let pairs = [(&reached.http, &plain.http), (&reached.unary, &plain.unary), (&reached.stream, &plain.stream)];
        for (own, plain) in pairs {
            let ratios = own.iter().zip(plain).map(|(own, plain)| own / plain).collect::<Vec<_>>();
            row.extend([Figure::from(own.clone()).shown(0), Figure::from(ratios).shown(2)]);
        }
        let median = |figures: &Vec<f64>| format!("{:.0}", Figure::from(figures.clone()).median());
        row.push(format!("{} + {}", median(&reached.adapter), median(&reached.server)));
        table.add(row);
    }
    table.print();
}
