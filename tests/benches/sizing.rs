//! What the service takes of disk and of memory: the bytes of a unit, a call, a line and a record on both stores, and
//! the memory of the programs, of a connection and of a watcher.
//!
//!     cargo bench -p inventory-tests --bench sizing

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::join_all;
use inventory_core::store::DatabaseUrl;
use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::site_service_client::SiteServiceClient;
use inventory_tests::bench::door::Door;
use inventory_tests::bench::fixtures::{ITEMS, SITE, Workload, reference, requests};
use inventory_tests::bench::load;
use inventory_tests::bench::report::{Table, machine, scaled};
use inventory_tests::bench::rig::{Rig, Shape, adapter, block_on};
use inventory_tests::books;
use inventory_tests::programs::{Running, grpc_server};
use inventory_tests::requests::{decrement, guid};
use inventory_tests::world::{Backend, Database};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Callers at the same time.
const CALLERS: usize = 64;
/// Connections whose memory is measured. As many are there before.
const CONNECTIONS: usize = 1_000;
/// Watchers whose memory is measured. As many are there before.
const WATCHERS: usize = 2_000;
/// Orders before memory is measured, so that what a program keeps for its work is there.
const WARM_UP: usize = 10_000;
/// Watchers of one connection.
const WATCHERS_OF_ONE: usize = 100;

fn main() {
    println!("\nsizing, {}", machine());
    let mut memory = Table::new(&["memory", "resident"]);
    let mut disk = Table::new(&["bytes", "Postgres", "SQLite"]);
    let [postgres, sqlite] = [Backend::Postgres, Backend::Sqlite].map(|backend| {
        let database = Database::fresh(backend);
        let server = grpc_server(&database.text);
        memory.row(vec![format!("`inventory-grpc`, started, {backend:?}"), megabytes(server.resident_megabytes())]);
        Bytes::of(backend, &mut memory)
    });
    for ((what, postgres), (_, sqlite)) in postgres.rows().into_iter().zip(sqlite.rows()) {
        disk.row(vec![what.to_owned(), format!("{postgres:.0}"), format!("{sqlite:.0}")]);
    }
    let started = adapter(([127, 0, 0, 1], 9).into()).resident_megabytes();
    memory.row(vec!["`wix-adapter`, started".into(), megabytes(started)]);
    for (what, kilobytes) in [
        ("a connection of the adapter's port", connections_of_the_adapter()),
        ("a connection of the gRPC port", connections_of_the_server()),
        ("a watcher", watchers()),
    ] {
        memory.row(vec![what.into(), format!("{kilobytes:.0} kB")]);
    }
    disk.print();
    memory.print();
}

fn megabytes(megabytes: f64) -> String {
    format!("{megabytes:.0} MB")
}

/// What rows take on disk, with their indexes.
struct Bytes {
    /// A unit with its level.
    unit: f64,
    /// A call without its lines.
    call: f64,
    /// A line of a call.
    line: f64,
    /// The record of an idempotency key.
    record: f64,
    /// What stays of an archived line.
    archived_line: f64,
}

impl Bytes {
    /// Measures them with orders of one line and of two. Adds the memory that the server took for that.
    fn of(backend: Backend, memory: &mut Table) -> Self {
        let count = scaled(100_000);
        let rig = Rig::start(Shape::TwoProcesses(backend));
        let taken = |tables: &[&str]| bytes(&rig.database, tables);
        let unit = taken(&["unit", "level"]) / ITEMS as f64;
        let books = || taken(&["change", "ledger", "waypoint"]);
        let (before, records) = (books(), taken(&["request"]));
        block_on(orders(&rig.grpc, count, 1));
        let between = books();
        block_on(orders(&rig.grpc, count, 2));
        let [one, two] = [between - before, books() - between].map(|taken| taken / count as f64);
        let record = (taken(&["request"]) - records) / (2 * count) as f64;

        let server = &rig.servers[1];
        let figures = [server.peak_megabytes(), server.resident_megabytes()].map(megabytes);
        let what = format!("`inventory-grpc`, {} orders from {CALLERS} callers, {backend:?}", 2 * count);
        memory.row(vec![what, format!("{} at the peak, {} after it", figures[0], figures[1])]);

        // As `ledger archive` writes them.
        books::script(
            &rig.database.url,
            "INSERT INTO holding (site_id, order_id, level_id, taken, returned) \
             SELECT change.site_id, change.order_id, level.level_id, 1, 0 FROM change \
             JOIN ledger ON ledger.site_id = change.site_id AND ledger.change_sequence = change.first_sequence \
             JOIN level ON level.unit_id = ledger.unit_id WHERE change.order_id IS NOT NULL",
        );
        let archived_line = taken(&["holding"]) / (3 * count) as f64;
        books::script(&rig.database.url, "DELETE FROM holding");
        Self { unit, call: 2.0 * one - two, line: two - one, record, archived_line }
    }

    fn rows(&self) -> [(&'static str, f64); 5] {
        let Self { unit, call, line, record, archived_line } = *self;
        [
            ("a call", call),
            ("each of its lines", line),
            ("the record of its key", record),
            ("what stays of an archived line", archived_line),
            ("a unit with one level", unit),
        ]
    }
}

/// The bytes of tables, with their indexes.
fn bytes(database: &Database, tables: &[&str]) -> f64 {
    let names = tables.join("', '");
    let sql = match database.url {
        DatabaseUrl::Postgres(_) => format!(
            "SELECT CAST(sum(pg_total_relation_size(name::regclass)) AS bigint) AS wrong \
             FROM unnest(ARRAY['{names}']) AS name"
        ),
        DatabaseUrl::Sqlite(_) => format!(
            "SELECT sum(pgsize) AS wrong FROM dbstat \
             WHERE name IN (SELECT name FROM sqlite_schema WHERE tbl_name IN ('{names}'))"
        ),
    };
    books::count(&database.url, &sql) as f64
}

/// Sends orders of so many lines, each with a new order id and a key as Wix's calls have it.
async fn orders(server: &Door, count: usize, lines: usize) {
    let channel = server.channel();
    let caller = async |caller: usize| {
        let mut client = AvailabilityServiceClient::new(channel.clone());
        let mut random = fastrand::Rng::with_seed(caller as u64);
        for _ in 0..count / CALLERS + usize::from(caller < count % CALLERS) {
            let item = |item| v1::Item { unit: Some(reference(item).into()), quantity: 1, ..Default::default() };
            let order = v1::DecrementAvailabilityRequest {
                items: random.choose_multiple(0..ITEMS, lines).into_iter().map(item).collect(),
                request_id: format!("wix:decrement:{}", guid()),
                ..decrement(SITE, &[])
            };
            client.decrement_availability(order).await.expect("the order is applied");
        }
    };
    join_all((0..CALLERS).map(caller)).await;
}

/// Both servers, after some work.
fn warm() -> Rig {
    let rig = Rig::start(Shape::TwoProcesses(Backend::Postgres));
    load::closed(rig.http.clone(), &requests(Workload::Hot, 1, WARM_UP), CALLERS).expect(200);
    rig
}

/// The kilobytes of resident memory that each of `count` things takes, after as many others. `make` makes them, and all
/// are kept. The first ones use memory that the program had for other work, so they are left out.
fn kilobytes<T>(program: &Running, count: usize, make: impl AsyncFn(usize) -> Vec<T>) -> f64 {
    block_on(async {
        let kept = make(count).await;
        let before = program.resident_megabytes();
        let others = make(count).await;
        let taken = program.resident_megabytes() - before;
        drop((kept, others));
        taken * 1e3 / count as f64
    })
}

/// Connections with one order each, which stay open.
fn connections_of_the_adapter() -> f64 {
    let rig = warm();
    let signed = requests(Workload::Hot, 2, 2 * CONNECTIONS);
    let next = Cell::new(0);
    let connection = async |order: &Vec<u8>| {
        let mut connection = rig.http.connect().await;
        connection.write_all(order).await.expect("the order can be sent");
        let mut answer = [0; 512];
        assert!(connection.read(&mut answer).await.expect("an answer") > 0);
        connection
    };
    kilobytes(&rig.servers[0], CONNECTIONS, async |count| {
        let from = next.replace(next.get() + count);
        let mut kept = Vec::new();
        for orders in signed[from..from + count].chunks(CALLERS) {
            kept.extend(join_all(orders.iter().map(&connection)).await);
        }
        kept
    })
}

/// Connections with one call each, which stay open.
fn connections_of_the_server() -> f64 {
    let rig = warm();
    kilobytes(&rig.servers[1], CONNECTIONS, async |count| {
        let mut kept = Vec::new();
        for _ in 0..count {
            let mut client = SiteServiceClient::new(rig.grpc.channel());
            let request = v1::GetSiteRequest { site_id: SITE.into() };
            client.get_site(request).await.expect("the site is there");
            kept.push(client);
        }
        kept
    })
}

/// Watchers of sites of their own, which nothing happens to.
fn watchers() -> f64 {
    let rig = warm();
    kilobytes(&rig.servers[1], WATCHERS, async |count| {
        let mut kept = Vec::new();
        for _ in 0..count / WATCHERS_OF_ONE {
            let client = LedgerServiceClient::new(rig.grpc.channel());
            for _ in 0..WATCHERS_OF_ONE {
                let request = v1::WatchEntriesRequest { site_id: guid(), after_sequence: 0 };
                let watched = client.clone().watch_entries(request).await.expect("the watch starts");
                let mut messages = watched.into_inner();
                let first = tokio::time::timeout(Duration::from_secs(10), messages.message()).await;
                first.expect("in time").expect("the watch goes on").expect("a first message");
                kept.push(messages);
            }
        }
        kept
    })
}
