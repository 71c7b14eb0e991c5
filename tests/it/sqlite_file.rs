//! The file of SQLite is deleted or replaced while the server runs. The server still holds the old one, which nobody
//! would find later. So it answers no order any more, and says why.

use std::fs;
use std::path::PathBuf;

use inventory_tests::programs::{Running, adapter, program};
use inventory_tests::wix_caller::{WixCaller, item, order};
use inventory_tests::world::{Backend, Database};
use serde_json::json;
use uuid::Uuid;

/// A server on SQLite with its log, and an adapter in front of it.
struct Shop {
    caller: WixCaller,
    site: String,
    file: PathBuf,
    log: PathBuf,
    _front: Running,
    _server: Running,
    _database: Database,
}

impl Shop {
    async fn open() -> Self {
        let database = Database::fresh(Backend::Sqlite);
        let (file, log) = (database.folder().join("inventory.db"), database.folder().join("log"));
        let mut command = program("inventory-grpc");
        command.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", &database.text]);
        let server = Running::start_logging(command, 1, &log);
        let front = adapter(server.addresses[0]);
        let caller = WixCaller::new(front.addresses[0]);
        let shop = Self {
            caller,
            site: Uuid::new_v4().to_string(),
            file,
            log,
            _front: front,
            _server: server,
            _database: database,
        };
        assert_eq!(shop.order().await, 200);
        shop
    }

    /// Sends a new order; returns the status of its answer.
    async fn order(&self) -> u16 {
        let data = order(&self.site, json!([item("A", 1)]));
        self.caller.call("increment", data).await.status
    }

    /// A file beside the database.
    fn beside(&self, ending: &str) -> PathBuf {
        PathBuf::from(format!("{}{ending}", self.file.display()))
    }

    /// No order is answered, the server is not ready, and its log says why.
    async fn answers_no_more(&self, why: &str) {
        for _ in 0..3 {
            assert_eq!(self.order().await, 503);
        }
        while self.caller.get("/readyz").await != 503 {}
        let told = || fs::read_to_string(&self.log).expect("the log can be read").contains(why);
        while !told() {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.order().await, 503, "a new connection does not find another file either");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_is_answered_after_the_file_was_deleted() {
    let shop = Shop::open().await;
    fs::hard_link(&shop.file, shop.beside("-kept")).expect("the file exists");
    fs::remove_file(&shop.file).expect("the file exists");
    shop.answers_no_more("the database's file was deleted or replaced").await;
    assert!(!shop.file.exists(), "the server makes no new file in its place");
    // The same file at its place again is the database again.
    fs::rename(shop.beside("-kept"), &shop.file).expect("the file was kept");
    while shop.order().await != 200 {}
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_is_answered_after_the_file_was_replaced() {
    let shop = Shop::open().await;
    fs::copy(&shop.file, shop.beside("-copy")).expect("the file exists");
    fs::hard_link(&shop.file, shop.beside("-kept")).expect("the file exists");
    fs::rename(shop.beside("-copy"), &shop.file).expect("the copy exists");
    shop.answers_no_more("the database's file was deleted or replaced").await;
    fs::rename(shop.beside("-kept"), &shop.file).expect("the file was kept");
    while shop.order().await != 200 {}
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_is_answered_after_the_log_was_deleted() {
    let shop = Shop::open().await;
    fs::hard_link(shop.beside("-wal"), shop.beside("-kept")).expect("the file exists");
    fs::remove_file(shop.beside("-wal")).expect("the file exists");
    shop.answers_no_more("the database's file was deleted or replaced").await;
    fs::rename(shop.beside("-kept"), shop.beside("-wal")).expect("the file was kept");
    while shop.order().await != 200 {}
}
