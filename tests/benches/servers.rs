//! Two servers on one Postgres, each with its adapter, compared with one server: with orders of one hot item of the
//! same site, and with a site for each server.
//!
//!     cargo bench --bench servers

use inventory_tests::bench::door::Door;
use inventory_tests::bench::fixtures::{OTHER_SITE, SITE, Workload, requests_of};
use inventory_tests::bench::load;
use inventory_tests::bench::report::{Figure, Table, heading, runs, scaled};
use inventory_tests::bench::rig::{Rig, Shape, adapter, stock_site};
use inventory_tests::programs::grpc_server;
use inventory_tests::world::Backend;

const CONNECTIONS: usize = 64;

fn main() {
    heading("servers");
    let count = scaled(25_000);
    let (first, second) = (requests_of(SITE, Workload::Hot, 1, count), requests_of(SITE, Workload::Hot, 2, count));
    let other = requests_of(OTHER_SITE, Workload::Hot, 3, count);
    let mut table = Table::new(&["servers", "orders /s", "of one server"]);
    let mut one_server = None;
    let cases = [("one", None), ("two, the same hot site", Some(&second)), ("two, a site each", Some(&other))];
    for (name, others) in cases {
        let rate = Figure::of(runs(), || {
            let rig = Rig::start(Shape::TwoProcesses(Backend::Postgres));
            stock_site(&rig.grpc, OTHER_SITE, 1);
            let Some(others) = others else {
                let both = [first.as_slice(), second.as_slice()].concat();
                return load::closed(rig.http.clone(), &both, CONNECTIONS).expect(200).rate();
            };
            let server = grpc_server(&rig.database.text);
            let adapter = adapter(server.addresses[0]);
            // Each server gets half of the connections, from a thread of its own.
            let loaded = std::thread::scope(|scope| {
                let load =
                    |at: Door, requests| scope.spawn(move || load::closed(at, requests, CONNECTIONS / 2).expect(200));
                let halves = [load(rig.http.clone(), &first), load(adapter.addresses[0].into(), others)];
                halves.map(|half| half.join().expect("no panic"))
            });
            let seconds = loaded.iter().map(|loaded| loaded.seconds).fold(0.0, f64::max);
            (2 * count) as f64 / seconds
        });
        let base = *one_server.get_or_insert(rate.median());
        table.row(vec![name.into(), rate.shown(0), format!("{:.2}", rate.median() / base)]);
    }
    table.print();
}
