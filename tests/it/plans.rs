//! What a writer reads for a call does not depend on what Postgres knows of the tables: nothing, as after a restore or
//! on a standby that was just promoted, or something about a few of them, until autovacuum has seen all.

use inventory_proto::v1;
use inventory_tests::books;
use inventory_tests::requests::{decrement, increment};

use crate::reads::{filled, rows_read};

/// Rows that a call may read. Those of the retries and of the server's own tasks count too.
const ROWS_MAX: i64 = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_an_order_does_not_depend_on_statistics() {
    // Tables that are analyzed in turn, each with those before it.
    let turns: [&[&str]; 2] =
        [&["", "ledger", "request", "level", "change"], &["change", "level", "request", "ledger"]];
    for tables in turns {
        let world = filled().await;
        let mut known = Vec::new();
        for table in tables {
            if !table.is_empty() {
                books::script(&world.database.url, &format!("ANALYZE {table}"));
                known.push(table);
            }
            let order = decrement(&world.site, &[("unit-001", 1), ("unit-002", 1)]);
            let back = increment(&world.site, &order.order_id, &[("unit-001", 1)]);
            let mut before = rows_read(&world);
            // Before each of these the sessions end, so that their statements are planned anew. A call that lost its
            // session is sent again.
            for call in ["a new order", "its replay", "its return", "the replay of its return"] {
                let mut client = world.availability();
                match call {
                    "a new order" | "its replay" => {
                        while client.decrement_availability(order.clone()).await.is_err() {}
                    }
                    _ => while client.increment_availability(back.clone()).await.is_err() {},
                }
                let after = rows_read(&world);
                assert!(after - before <= ROWS_MAX, "{call}, {known:?} known: {} rows are read", after - before);
                before = after;
            }
        }
        let list = v1::ListEntriesRequest { site_id: world.site.clone(), newest_first: true, ..Default::default() };
        let page = world.ledger().list_entries(list).await.expect("entries can be read").into_inner();
        assert_eq!(page.entries[0].kind(), v1::Kind::Increment);
    }
}
