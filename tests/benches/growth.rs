//! Whether the cost of an order grows with the ledger: throughput of SPREAD on Postgres with 10,000 units, with
//! 1,000,000 units, and with 1,000,000 units and 20,000,000 entries.
//!
//!     cargo bench --bench growth
//!
//! Filling takes minutes; `BENCH_SCALE=0.1` fills a tenth.

use inventory_tests::bench::fixtures::{ITEMS, Workload, requests};
use inventory_tests::bench::load;
use inventory_tests::bench::report::{Figure, Table, heading, runs, scaled};
use inventory_tests::bench::rig::{Rig, Shape, stock};
use inventory_tests::books;
use inventory_tests::world::Backend;

const CONNECTIONS: usize = 64;

fn main() {
    heading("growth");
    let mut table = Table::new(&["units", "entries before", "orders /s", "of the smallest", "p99 ms"]);
    let all: Vec<Vec<u8>> = (0..3).flat_map(|part| requests(Workload::Spread, 100 + part, 50_000)).collect();
    let mut smallest = None;
    // One database grows from step to step.
    let rig = Rig::start(Shape::TwoProcesses(Backend::Postgres));
    let mut parts = all.chunks(all.len().div_ceil(3 * (runs() + 1)));
    for (units, entries) in [(ITEMS, 0), (scaled(1_000_000), 0), (scaled(1_000_000), scaled(20_000_000))] {
        stock(&rig.grpc, units);
        fill(&rig, entries);
        books::execute(&rig.database.url, "CHECKPOINT").expect("the checkpoint completes");
        load::closed(rig.http.clone(), parts.next().expect("there are enough requests"), CONNECTIONS).expect(200);
        let (mut rate, mut p99) = (Vec::new(), Vec::new());
        for part in parts.by_ref().take(runs()) {
            let loaded = load::closed(rig.http.clone(), part, CONNECTIONS).expect(200);
            rate.push(loaded.rate());
            p99.push(loaded.millis(99.0));
        }
        let (rate, p99) = (Figure::from(rate), Figure::from(p99));
        let base = *smallest.get_or_insert(rate.median());
        let share = format!("{:.2}", rate.median() / base);
        table.row(vec![units.to_string(), entries.to_string(), rate.shown(0), share, p99.shown(2)]);
    }
    // The filled entries belong to no level, so the check of the books would fail. The database is not dropped.
    let Rig { servers, database, .. } = rig;
    drop(servers);
    std::mem::forget(database);
    table.print();
}

/// Fills the ledger of another site with orders of one entry each. Their keys are random, as those of real orders.
fn fill(rig: &Rig, entries: usize) {
    let site = "'0001d000-0000-4000-8000-000000000000'::uuid";
    for first in (1..=entries).step_by(500_000) {
        let series = format!("generate_series({first}, {}) AS n", entries.min(first + 499_999));
        let statements = [
            format!(
                "INSERT INTO change SELECT {site}, n, n, 1, 1, gen_random_uuid(), n::text, 'fill', n FROM {series}"
            ),
            format!(
                "INSERT INTO ledger SELECT {site}, n, n, gen_random_uuid(), NULL, -1, 1, 0, 0, false, 0 FROM {series}"
            ),
            format!(
                "INSERT INTO request SELECT {site}, gen_random_uuid(), gen_random_uuid(), n, n, NULL, n FROM {series}"
            ),
        ];
        for statement in statements {
            books::execute(&rig.database.url, &statement).expect("the rows can be inserted");
        }
        eprintln!("filled {}", entries.min(first + 499_999));
    }
}
