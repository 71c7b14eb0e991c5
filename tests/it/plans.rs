//! What a writer reads for a call does not depend on what Postgres knows of the tables: nothing, as after a restore or
//! on a standby that was just promoted, or something about a few of them, until autovacuum has seen all.

use std::time::Duration;

use inventory_proto::v1;
use inventory_tests::books;
use inventory_tests::requests::{decrement, increment};

use crate::reads::{filled, rows_read};

/// Rows that a call may read. Those of the retries and of the server's own tasks count too.
const ROWS_MAX: i64 = 2_000;

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_an_order_does_not_depend_on_statistics() {
    let turns = [["ledger", "request", "level", "change"], ["change", "level", "request", "ledger"]];
    for tables in turns {
        let world = filled().await;
        // Postgres knows nothing at first, and then one table more each time.
        for count in 0..=tables.len() {
            let known = &tables[..count];
            if let Some(table) = known.last() {
                books::script(&world.database.url, &format!("ANALYZE {table}"));
            }
            let order = decrement(&world.site, &[("unit-001", 1), ("unit-002", 1)]);
            let back = increment(&world.site, &order.order_id, &[("unit-001", 1)]);
            let mut before = rows_read(&world);
            for (what, is_return) in
                [("an order", false), ("its replay", false), ("its return", true), ("the replay of its return", true)]
            {
                // The sessions have ended, so each statement is planned anew. A call that lost its session is sent
                // again.
                let mut client = world.availability();
                let done = async {
                    match is_return {
                        false => while client.decrement_availability(order.clone()).await.is_err() {},
                        true => while client.increment_availability(back.clone()).await.is_err() {},
                    }
                };
                tokio::time::timeout(LONG, done).await.unwrap_or_else(|_| panic!("{what}: no answer"));
                let after = rows_read(&world);
                assert!(after - before <= ROWS_MAX, "{what}, {known:?} known: {} rows are read", after - before);
                before = after;
            }
        }
        let list = v1::ListEntriesRequest { site_id: world.site.clone(), newest_first: true, ..Default::default() };
        let page = world.ledger().list_entries(list).await.expect("entries can be read").into_inner();
        assert_eq!(page.entries[0].kind(), v1::Kind::Increment);
    }
}
