//! The memory of both processes during a million orders of SPREAD on Postgres.
//!
//!     cargo bench --bench memory
//!
//! The first run signs a million requests and keeps them (1.2 GB), which takes minutes.

use inventory_tests::bench::fixtures::{Workload, requests};
use inventory_tests::bench::load;
use inventory_tests::bench::report::{Table, heading, scaled};
use inventory_tests::bench::rig::{Rig, Shape};
use inventory_tests::world::Backend;

const CONNECTIONS: usize = 64;
const PARTS: u64 = 20;

fn main() {
    heading("memory");
    let mut table = Table::new(&["orders", "wix-adapter MB", "inventory-grpc MB", "orders /s"]);
    let rig = Rig::start(Shape::TwoProcesses(Backend::Postgres));
    let mut done = 0;
    for part in 0..PARTS {
        let requests = requests(Workload::Spread, 100 + part, scaled(50_000));
        let loaded = load::closed(rig.http.clone(), &requests, CONNECTIONS).expect(200);
        done += requests.len();
        if [1, 4, PARTS / 2, PARTS].contains(&(part + 1)) {
            let memory = rig.servers.iter().map(|server| format!("{:.1}", server.resident_megabytes()));
            let memory: Vec<String> = memory.collect();
            table.row([vec![done.to_string()], memory, vec![format!("{:.0}", loaded.rate())]].concat());
        }
    }
    table.print();
}
