//! The file of SQLite's log shrinks again.

use std::time::Duration;

use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel::sqlite::SqliteConnection;
use inventory_core::store::DatabaseUrl;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::programs::grpc_server;
use inventory_tests::requests::{guid, set, set_item};
use inventory_tests::tokens::channel_to;
use inventory_tests::world::{Backend, Database};

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);
const LARGE: u64 = 32 * 1024 * 1024;
const SMALL: u64 = 8 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn the_log_shrinks_after_a_long_read() {
    let database = Database::fresh(Backend::Sqlite);
    let server = grpc_server(&database.text);
    let (mut stock, site) = (StockServiceClient::new(channel_to(server.addresses[0])), guid());
    let DatabaseUrl::Sqlite(path) = &database.url else { panic!("the test needs SQLite") };
    let size = || std::fs::metadata(format!("{path}-wal")).map_or(0, |log| log.len());
    let mut reader = SqliteConnection::establish(path).expect("the file opens");
    reader.batch_execute("BEGIN; SELECT count(*) FROM ledger").expect("a snapshot can be read");
    let mut level = 0;
    while size() < LARGE {
        level += 1;
        let items = (0..1_000).map(|unit| set_item(&format!("unit-{unit}"), level)).collect();
        stock.set_stock(set(&site, items)).await.expect("the levels can be set");
    }
    drop(reader);
    let shrinks = async {
        while size() > SMALL {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, shrinks).await.expect("the log shrinks");
}
