//! Whether an order's cost grows with the books: throughput of SPREAD on Postgres with 10,000 and
//! 1,000,000 units, and with none and 20,000,000 entries behind it.
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
    // One database that grows, so that each step is measured on top of the one before.
    let rig = Rig::start(Shape::TwoProcesses(Backend::Postgres));
    let mut parts = all.chunks(all.len().div_ceil(3 * (runs() + 1)));
    for (units, entries) in [(ITEMS, 0), (scaled(1_000_000), 0), (scaled(1_000_000), scaled(20_000_000))] {
        stock(rig.grpc, units);
        fill(&rig, entries);
        books::execute(&rig.database.url, "CHECKPOINT").expect("it settles");
        load::closed(rig.http, parts.next().expect("enough"), CONNECTIONS).expect(200);
        let (mut rate, mut p99) = (Vec::new(), Vec::new());
        for part in parts.by_ref().take(runs()) {
            let loaded = load::closed(rig.http, part, CONNECTIONS).expect(200);
            rate.push(loaded.rate());
            p99.push(loaded.millis(99.0));
        }
        let (rate, p99) = (Figure::from(rate), Figure::from(p99));
        let base = *smallest.get_or_insert(rate.median());
        let share = format!("{:.2}", rate.median() / base);
        table.row(vec![units.to_string(), entries.to_string(), rate.shown(0), share, p99.shown(2)]);
    }
    // The entries that were filled in belong to no level: there is nothing to prove.
    let Rig { servers, database, .. } = rig;
    drop(servers);
    std::mem::forget(database);
    table.print();
}

/// Orders of another site, one entry each, as old as the hills: with random keys, as real ones have.
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
            books::execute(&rig.database.url, &statement).expect("it is filled");
        }
        eprintln!("filled {}", entries.min(first + 499_999));
    }
}
