//! Reads stay small, end in time, and never stand in each other's way.

use std::time::{Duration, Instant};

use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use inventory_core::model::error::Error;
use inventory_core::model::ids::SiteId;
use inventory_core::store::{DatabaseUrl, EntryFilter, Open, Snapshot, Store, Terms};
use inventory_proto::v1;
use inventory_proto::v1::site_service_client::SiteServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::books;
use inventory_tests::programs::{adapter, grpc_server};
use inventory_tests::requests::{reference, set, set_item};
use inventory_tests::tokens::channel_to;
use inventory_tests::wix_caller::{WixCaller, item, order};
use inventory_tests::world::{Backend, World};
use serde_json::json;
use tokio::sync::oneshot;
use tonic::{Code, Request};

use crate::attacks::others::HUNG_READS;

/// Units of the filled site.
const UNITS: i64 = 700;
/// Entries that are added to it, one per request.
const ENTRIES: i64 = 100_000;
/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);

/// Fills a site with a long ledger as a restore does: without statistics.
pub(crate) async fn filled() -> World {
    let world = World::start(Backend::Postgres).await;
    for table in ["site", "unit", "level", "change", "ledger", "request", "waypoint"] {
        books::script(&world.database.url, &format!("ALTER TABLE {table} SET (autovacuum_enabled = false)"));
    }
    let items = (0..UNITS).map(|unit| set_item(&format!("unit-{unit:03}"), 1)).collect();
    world.stock().set_stock(set(&world.site, items)).await.expect("the levels can be set");
    // Entry n adds 1 to unit n mod UNITS. Every 1,000 entries are of one order.
    let fill = format!(
        "CREATE TEMPORARY TABLE filled AS
             SELECT unit.site_id, {UNITS} + n + 1 AS sequence, unit.unit_id, level_id, n / {UNITS} + 1 AS before,
                    md5((n / 1000)::text)::uuid AS order_id, md5('fill' || n)::uuid AS key, recorded_at
             FROM generate_series(0, {ENTRIES} - 1) AS n
             JOIN (SELECT ledger.site_id, sequence, unit_id, level_id FROM ledger JOIN level USING (unit_id)) AS unit
                 ON unit.sequence = n % {UNITS} + 1
             JOIN site ON site.site_id = unit.site_id;
         INSERT INTO change (site_id, first_sequence, last_sequence, kind, reason, order_id, request_id, actor,
                             recorded_at)
             SELECT site_id, sequence, sequence, 4, 0, order_id, sequence::text, 'filler', recorded_at FROM filled;
         INSERT INTO request (site_id, request_key, fingerprint, first_sequence, last_sequence, recorded_at)
             SELECT site_id, key, key, sequence, sequence, recorded_at FROM filled;
         INSERT INTO ledger (site_id, sequence, change_sequence, previous_sequence, unit_id, delta, level_before,
                             level_after, subscription)
             SELECT site_id, sequence, sequence, sequence - {UNITS}, unit_id, 1, before, before + 1, false FROM filled;
         INSERT INTO waypoint SELECT level_id, sequence FROM filled WHERE (before + 1) % 64 = 0;
         UPDATE level SET available = after, revision = after, last_sequence = last.sequence FROM (
             SELECT level_id, max(before) + 1 AS after, max(sequence) AS sequence FROM filled GROUP BY level_id
         ) AS last WHERE last.level_id = level.level_id;
         UPDATE site SET sequence = sequence + {ENTRIES};"
    );
    books::script(&world.database.url, &fill);
    world
}

/// The rows that all sessions have read so far, by scans of tables and of indexes.
pub(crate) fn rows_read(world: &World) -> i64 {
    // A session reports what it read at its end, at the latest.
    let end = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    books::script(&world.database.url, end);
    let read = "SELECT CAST(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) AS bigint) AS wrong \
                FROM pg_stat_user_tables";
    books::count(&world.database.url, read)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_a_page_does_not_depend_on_statistics() {
    let world = filled().await;
    let site_id = world.site.clone();
    let list = v1::ListEntriesRequest { site_id: site_id.clone(), page_size: 100, ..Default::default() };
    let (unit, order_id) = ("unit-007", "e4da3b7f-bbce-2345-d777-2b0674a318d5"); // md5 of 5
    let pages = [
        ("the first page", list.clone()),
        ("a later page", v1::ListEntriesRequest { after_sequence: 60_000, ..list.clone() }),
        ("the newest page", v1::ListEntriesRequest { newest_first: true, ..list.clone() }),
        ("an order", v1::ListEntriesRequest { order_id: order_id.into(), ..list.clone() }),
        ("an order, from the end", {
            v1::ListEntriesRequest { order_id: order_id.into(), newest_first: true, ..list.clone() }
        }),
        ("a unit", v1::ListEntriesRequest { unit: reference(unit), ..list.clone() }),
        ("a unit, from the end", v1::ListEntriesRequest { unit: reference(unit), newest_first: true, ..list }),
    ];
    let mut before = rows_read(&world);
    let mut check = |what: &str, most: i64| {
        let after = rows_read(&world);
        assert!(after - before <= most, "{what}: {} rows are read, more than {most}", after - before);
        before = after;
    };
    // Of a page of 100: its rows, their changes and their units; of a unit, a part of its chain too.
    for (what, list) in pages {
        let page = world.ledger().list_entries(list).await.expect("entries can be read").into_inner();
        assert_eq!(page.entries.len(), 100, "{what}");
        check(what, 1_500);
    }
    let explain = v1::ExplainLevelRequest { site_id: site_id.clone(), unit: reference(unit), ..Default::default() };
    let explained = world.ledger().explain_level(explain).await.expect("a level can be explained").into_inner();
    assert_eq!(explained.explained_entries, ENTRIES / UNITS + 2);
    check("the explanation of a level", 3_000);
    let get = v1::GetOrderRequest { site_id: site_id.clone(), order_id: order_id.into(), ..Default::default() };
    world.ledger().get_order(get).await.expect("the order can be read");
    check("an order of 1,000 entries", 6_000);
    let list = v1::ListStockRequest { site_id: site_id.clone(), page_size: 100, ..Default::default() };
    let page = world.stock().list_stock(list).await.expect("stock can be read").into_inner();
    assert_eq!(page.stock.len(), 100);
    check("a page of levels", 500);
    let list = v1::ListUnitsRequest { site_id, page_size: 100, ..Default::default() };
    assert_eq!(world.stock().list_units(list).await.expect("units can be read").into_inner().units.len(), 100);
    check("a page of units", 300);
}

/// A transaction of a stranger that lets nobody read the journal of settings, until it is dropped.
fn lock_journal(world: &World) -> PgConnection {
    let DatabaseUrl::Postgres(url) = &world.database.url else { panic!("the test needs Postgres") };
    let mut connection = PgConnection::establish(url).expect("Postgres accepts connections");
    connection.batch_execute("BEGIN; LOCK TABLE journal IN ACCESS EXCLUSIVE MODE").expect("the table can be locked");
    connection
}

/// Waits until so many sessions wait for a lock, as `enough` says.
async fn until_waiting(world: &World, enough: impl Fn(i64) -> bool) {
    let waiting = "SELECT count(*) AS wrong FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let wait = async {
        while !enough(books::count(&world.database.url, waiting)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, wait).await.expect("the number of waiting sessions is reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_hang_end_at_their_deadline_and_hold_up_nobody_else() {
    let world = World::start(Backend::Postgres).await;
    world.set(&[("A", 100)]).await;
    let server = grpc_server(&world.database.text);
    let front = adapter(server.addresses[0]);
    let (channel, wix) = (channel_to(server.addresses[0]), WixCaller::new(front.addresses[0]));
    let level = async || {
        let request = v1::GetStockRequest { site_id: world.site.clone(), unit: reference("A"), ..Default::default() };
        let answer = StockServiceClient::new(channel.clone()).get_stock(request).await;
        answer.expect("the level can be read").into_inner().stock.expect("a level").available
    };
    let list = || v1::ListSettingChangesRequest { site_id: world.site.clone(), ..Default::default() };
    let mut sites = SiteServiceClient::new(channel.clone());
    let lock = lock_journal(&world);
    let hang = || {
        let mut request = Request::new(list());
        request.set_timeout(Duration::from_secs(5));
        let mut sites = sites.clone();
        tokio::spawn(async move { sites.list_setting_changes(request).await.map(drop) })
    };
    let hanging: Vec<_> = (0..20).map(|_| hang()).collect();
    until_waiting(&world, |waiting| waiting >= 2).await;
    for taken in 1..=20 {
        assert_eq!(wix.call("decrement", order(&world.site, json!([item("A", 1)]))).await.status, 200);
        assert_eq!(level().await, 100 - taken, "levels can be read");
        assert_eq!(wix.get("/readyz").await, 200);
    }
    until_waiting(&world, |waiting| waiting > 0).await;
    for hung in hanging {
        let code = hung.await.expect("no panic").expect_err("the table is locked").code();
        // The last ones found no place for their answers.
        let codes = [Code::DeadlineExceeded, Code::Cancelled, Code::Unavailable, Code::ResourceExhausted];
        assert!(codes.contains(&code), "{code:?}");
    }
    until_waiting(&world, |waiting| waiting == 0).await;
    drop(lock);
    sites.list_setting_changes(list()).await.expect("the table can be read again");
    assert_eq!(level().await, 80);
    HUNG_READS.bounds(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_stops_when_its_caller_has_left() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let world = World::start(backend).await;
        world.set(&[("A", 1)]).await;
        let url = world.database.url.clone();
        let opened = tokio::task::spawn_blocking(move || Store::open(url, Open::AsIs)).await;
        let store = opened.expect("no panic").expect("the database opens");
        let site = SiteId::from_uuid(world.site.parse().expect("a GUID"));
        let (begun, begins) = oneshot::channel();
        let (ended, ends) = oneshot::channel();
        let read = tokio::spawn(async move {
            let endless = move |snapshot: &mut Snapshot<'_>| -> Result<(), Error> {
                let _ = begun.send(());
                let error = loop {
                    if let Err(error) = snapshot.list_entries(&EntryFilter::default(), 1) {
                        break error;
                    }
                };
                let _ = ended.send(());
                Err(error)
            };
            let deadline = Instant::now() + 10 * LONG;
            store.read_page(site, Terms { deadline, ..Terms::default() }, endless).await
        });
        begins.await.expect("the read begins");
        read.abort();
        tokio::time::timeout(LONG, ends).await.expect("the read stops").expect("by itself");
    }
}
