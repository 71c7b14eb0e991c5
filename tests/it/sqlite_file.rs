//! The file of SQLite is deleted or replaced while the server runs. The server still holds the old one, which nobody
//! would find later. So it answers no order and no read any more, and says why.

use std::fs;
use std::path::PathBuf;

use inventory_proto::v1;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::programs::{Running, adapter, program};
use inventory_tests::requests::reference;
use inventory_tests::tokens::channel_to;
use inventory_tests::wix_caller::{WixCaller, item, order};
use inventory_tests::world::{Backend, Database};
use serde_json::json;
use tonic::transport::Channel;
use tonic::{Code, Status};
use uuid::Uuid;

/// What callers and the log are told.
const WHY: &str = "the database's file was deleted or replaced";
/// Reads of each kind, one after the other: more than enough to meet a pooled connection that is open already.
const READS: usize = 10;

/// A server on SQLite with its log, and an adapter in front of it.
struct Shop {
    caller: WixCaller,
    channel: Channel,
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
        let (caller, channel) = (WixCaller::new(front.addresses[0]), channel_to(server.addresses[0]));
        let shop = Self {
            caller,
            channel,
            site: Uuid::new_v4().to_string(),
            file,
            log,
            _front: front,
            _server: server,
            _database: database,
        };
        assert_eq!(shop.order().await, 200);
        shop.answers_reads().await;
        shop
    }

    /// Sends a new order; returns the status of its answer.
    async fn order(&self) -> u16 {
        let data = order(&self.site, json!([item("A", 1)]));
        self.caller.call("increment", data).await.status
    }

    /// Reads a level.
    async fn read(&self) -> Result<(), Status> {
        let request = v1::GetStockRequest { site_id: self.site.clone(), unit: reference("A"), ..Default::default() };
        StockServiceClient::new(self.channel.clone()).get_stock(request).await.map(drop)
    }

    /// Verifies the site.
    async fn verify(&self) -> Result<(), Status> {
        let request = v1::VerifySiteRequest { site_id: self.site.clone(), repair: false };
        let mut messages = LedgerServiceClient::new(self.channel.clone()).verify_site(request).await?.into_inner();
        while messages.message().await?.is_some() {}
        Ok(())
    }

    /// Reads are answered.
    async fn answers_reads(&self) {
        for _ in 0..READS {
            self.read().await.expect("the level can be read");
            self.verify().await.expect("the site can be verified");
        }
    }

    /// No read is answered, and its caller is told why.
    async fn refuses_reads(&self) {
        for _ in 0..READS {
            for refused in [self.read().await, self.verify().await] {
                let status = refused.expect_err("the file is not the right one");
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                assert!(status.message().contains(WHY), "{status:?}");
            }
        }
    }

    /// A file beside the database.
    fn beside(&self, ending: &str) -> PathBuf {
        PathBuf::from(format!("{}{ending}", self.file.display()))
    }

    /// No order and no read is answered, the server is not ready, and its log says why.
    async fn answers_no_more(&self) {
        // Before the server has noticed it by an order or a probe too.
        self.refuses_reads().await;
        for _ in 0..3 {
            assert_eq!(self.order().await, 503);
        }
        while self.caller.get("/readyz").await != 503 {}
        let told = || fs::read_to_string(&self.log).expect("the log can be read").contains(WHY);
        while !told() {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.order().await, 503, "a new connection does not find another file either");
        self.refuses_reads().await;
    }

    /// The right files are there again, so everything is answered.
    async fn answers_again(&self) {
        self.answers_reads().await;
        while self.order().await != 200 {}
        self.answers_reads().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_answered_after_the_file_was_deleted() {
    let shop = Shop::open().await;
    fs::hard_link(&shop.file, shop.beside("-kept")).expect("the file exists");
    fs::remove_file(&shop.file).expect("the file exists");
    shop.answers_no_more().await;
    assert!(!shop.file.exists(), "the server makes no new file in its place");
    // The same file at its place again is the database again.
    fs::rename(shop.beside("-kept"), &shop.file).expect("the file was kept");
    shop.answers_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_answered_after_the_file_was_replaced() {
    let shop = Shop::open().await;
    fs::copy(&shop.file, shop.beside("-copy")).expect("the file exists");
    fs::hard_link(&shop.file, shop.beside("-kept")).expect("the file exists");
    fs::rename(shop.beside("-copy"), &shop.file).expect("the copy exists");
    shop.answers_no_more().await;
    fs::rename(shop.beside("-kept"), &shop.file).expect("the file was kept");
    shop.answers_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_answered_after_the_log_was_deleted() {
    let shop = Shop::open().await;
    fs::hard_link(shop.beside("-wal"), shop.beside("-kept")).expect("the file exists");
    fs::remove_file(shop.beside("-wal")).expect("the file exists");
    shop.answers_no_more().await;
    fs::rename(shop.beside("-kept"), shop.beside("-wal")).expect("the file was kept");
    shop.answers_again().await;
}
