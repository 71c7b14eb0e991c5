//! One adapter and two servers on one Postgres. One server dies, stops or hangs under load: every order is answered by
//! 200, none is applied twice, and the server gets orders again when it is back.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use inventory_tests::books;
use inventory_tests::buyers::{Buyers, STOCK};
use inventory_tests::programs::{Running, adapter_of, program};
use inventory_tests::wix_caller::WixCaller;
use inventory_tests::world::{Backend, Database};

/// Sites. Each server is the first choice of some of them.
const SITES: usize = 8;
/// Orders that are answered before the next step.
const ORDERS: u64 = 300;

/// A server, and the port of its metrics.
struct Server {
    running: Running,
    admin: WixCaller,
}

impl Server {
    fn start(address: &str, database: &Database) -> Self {
        let mut command = program("inventory-grpc");
        command.args(["serve", "--grpc-listen", address, "--database-url", &database.text]);
        command.args(["--admin-listen", "127.0.0.1:0", "--drain-seconds", "5"]);
        let running = Running::start(command, 2);
        Self { admin: WixCaller::new(running.addresses[1]), running }
    }

    fn address(&self) -> SocketAddr {
        self.running.addresses[0]
    }

    /// Orders that it has applied since it was started.
    async fn applied(&self) -> u64 {
        let line = r#"inventory_commands_total{outcome="applied"} "#;
        let text = self.admin.metrics().await;
        text.lines().find_map(|own| own.strip_prefix(line)?.parse().ok()).expect("the metric is there")
    }
}

/// Two servers, an adapter in front of them, and buyers.
struct Shop {
    buyers: Buyers,
    servers: [Server; 2],
    front: Running,
    admin: WixCaller,
    log: PathBuf,
    database: Database,
}

impl Shop {
    async fn open() -> Self {
        let database = Database::fresh(Backend::Postgres);
        let servers = [(); 2].map(|()| Server::start("127.0.0.1:0", &database));
        let log = database.folder().join("log");
        let mut command = adapter_of(&servers.each_ref().map(Server::address));
        command.args(["--admin-listen", "127.0.0.1:0"]);
        let front = Running::start_logging(command, 2, &log);
        let admin = WixCaller::new(front.addresses[1]);
        let buyers = Buyers::come(servers[0].address(), front.addresses[0], SITES).await;
        let mut shop = Self { buyers, servers, front, admin, log, database };
        shop.until_up(0, true).await;
        shop.until_up(1, true).await;
        shop.buyers.answered(ORDERS).await;
        for server in &shop.servers {
            assert!(server.applied().await > 0, "each server gets the orders of its sites");
        }
        shop
    }

    /// Waits until the adapter knows whether a server serves.
    async fn until_up(&self, server: usize, up: bool) {
        let address = self.servers[server].address();
        let line = format!("wix_upstream_up{{upstream=\"{address}\"}} {}", u8::from(up));
        while !self.admin.metrics().await.lines().any(|own| own == line) {}
    }

    /// The first server is away. Then `back` lets it serve again.
    async fn one_is_away(mut self, back: impl FnOnce(&mut Self)) {
        self.until_up(0, false).await;
        self.buyers.answered(ORDERS).await;
        assert_eq!(WixCaller::new(self.front.addresses[0]).get("/readyz").await, 200, "one server is enough");
        back(&mut self);
        self.until_up(0, true).await;
        let before = self.servers[0].applied().await;
        self.buyers.answered(ORDERS).await;
        assert!(self.servers[0].applied().await > before, "it gets the orders of its sites again");

        let bought = self.buyers.stop(self.servers[0].address()).await;
        let sent: HashSet<String> = bought.into_iter().collect();
        let taken = "SELECT CAST(order_id AS text) AS line FROM change WHERE order_id IS NOT NULL";
        let recorded = books::lines(&self.database.url, taken);
        assert_eq!(recorded.len(), sent.len(), "no order is applied twice");
        assert_eq!(recorded.into_iter().collect::<HashSet<_>>(), sent);
        let sold = format!("SELECT (sum({STOCK} - available))::bigint AS wrong FROM level");
        assert_eq!(books::count(&self.database.url, &sold), sent.len() as i64);
    }

    /// How many lines of the adapter's log say this of the first server.
    fn lines(&self, text: &str) -> usize {
        let log = std::fs::read_to_string(&self.log).expect("the log can be read");
        let address = self.servers[0].address().to_string();
        log.lines().filter(|line| line.contains(text) && line.contains(&address)).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_killed() {
    let mut shop = Shop::open().await;
    shop.servers[0].running.kill();
    shop.one_is_away(|shop| {
        let address = shop.servers[0].address().to_string();
        assert_eq!((shop.lines("does not serve"), shop.lines("serves again")), (1, 0), "an outage is told once");
        shop.servers[0] = Server::start(&address, &shop.database);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_stopped() {
    let shop = Shop::open().await;
    shop.servers[0].running.begin_stop();
    shop.one_is_away(|shop| {
        assert!(shop.servers[0].running.wait().success());
        let address = shop.servers[0].address().to_string();
        shop.servers[0] = Server::start(&address, &shop.database);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_frozen() {
    let shop = Shop::open().await;
    shop.servers[0].running.freeze();
    shop.one_is_away(|shop| shop.servers[0].running.thaw()).await;
}

/// The adapter is ready while a server is, and whichever order comes while none is gets 503.
#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_without_a_server_is_not_ready() {
    let database = Database::fresh(Backend::Postgres);
    let mut servers = [(); 2].map(|()| Server::start("127.0.0.1:0", &database));
    let front = Running::start(adapter_of(&servers.each_ref().map(Server::address)), 1);
    let wix = WixCaller::new(front.addresses[0]);
    while wix.get("/readyz").await != 200 {}
    servers[0].running.kill();
    // The adapter may not have heard from the other one yet.
    while wix.get("/readyz").await != 200 {}
    servers[1].running.kill();
    while wix.get("/readyz").await != 503 {}
    let address = servers[1].address().to_string();
    servers[1] = Server::start(&address, &database);
    while wix.get("/readyz").await != 200 {}
}
