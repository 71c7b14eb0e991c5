//! A world: one new database, one gRPC server and one adapter. When it ends, `books` checks the database.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use inventory_core::store::{DatabaseUrl, Open, Store};
use inventory_grpc::server::Options;
use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::site_service_client::SiteServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::server::{Router, TcpIncoming};
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};
use wix_adapter::client::Upstreams;
use wix_adapter::keys;
use wix_adapter::routes::Adapter;
use wix_adapter::token::Verifier;

use crate::chaos::Link;
use crate::history::{History, RecordedGrpc, Seen};
use crate::model::Answer;
use crate::postgres::{Durability, fresh_database};
use crate::requests::{all_pages, guid, reference, set, set_item};
use crate::test_clock::TestClock;
use crate::tokens::channel_to;
use crate::wix_caller::{APP_ID, WixCaller};
use crate::{books, test_keys};

/// The store that a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A file in a temporary folder.
    Sqlite,
    /// A database of the tests' Postgres.
    Postgres,
}

/// A new, empty database. Dropping it checks its books and removes it.
pub struct Database {
    /// The parsed URL.
    pub url: DatabaseUrl,
    /// The URL as the programs take it in `--database-url`.
    pub text: String,
    folder: TempDir,
}

impl Database {
    /// Creates a database for tests, which does not force its writes to disk.
    pub fn fresh(backend: Backend) -> Self {
        Self::with_durability(backend, Durability::None)
    }

    /// Creates a database. On Postgres, the first call of the process decides the durability of the cluster.
    pub fn with_durability(backend: Backend, durability: Durability) -> Self {
        let folder = TempDir::new().expect("the temporary folder is writable");
        let text = match backend {
            Backend::Sqlite => format!("sqlite:{}", folder.path().join("inventory.db").display()),
            Backend::Postgres => fresh_database(durability),
        };
        Self { url: text.parse().expect("the database URL is valid"), text, folder }
    }

    /// Makes a database on Postgres read-only, as a standby is, or writable again. Every connection to it ends.
    pub fn set_read_only(&self, on: bool) {
        let (_, name) = self.text.rsplit_once('/').expect("the URL ends with the name");
        let demoted = format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = {on}");
        let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE datname = current_database() AND pid <> pg_backend_pid()";
        books::script(&self.url, &format!("SET TRANSACTION READ WRITE; {demoted}; {ended}"));
    }

    /// A link to the server of a database on Postgres, and the URL of the database through it.
    pub async fn behind_link(&self) -> (String, Link) {
        let (_, server) = self.text.split_once('@').expect("the URL names the user");
        let (server, _) = server.split_once('/').expect("the URL names the database");
        let link = Link::to(server.parse().expect("host and port are an address")).await;
        (self.text.replace(server, &link.address.to_string()), link)
    }

    /// A temporary folder that lives as long as the database.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The books must be right after every test, whatever it checks itself.
        if !std::thread::panicking() {
            books::prove(&self.url);
        }
    }
}

/// A database and both servers in this process.
pub struct World {
    /// The address of the adapter.
    pub http: SocketAddr,
    /// The address of the gRPC server.
    pub grpc: SocketAddr,
    /// A caller of the adapter that signs as Wix does.
    pub wix: WixCaller,
    /// The id of a new site.
    pub site: String,
    /// The clock of the gRPC server.
    pub clock: TestClock,
    channel: Channel,
    history: Option<History>,
    /// Stops the servers. Fields are dropped in order, so this happens before the database is checked.
    _stop: DropGuard,
    /// The database.
    pub database: Database,
}

impl World {
    /// Starts both servers on a new database.
    pub async fn start(backend: Backend) -> Self {
        let database = Database::fresh(backend);
        let url = database.url.clone();
        Self::over(database, url).await
    }

    /// Starts both servers on a new database on Postgres, which they reach through the link.
    pub async fn behind_link() -> (Self, Link) {
        let database = Database::fresh(Backend::Postgres);
        let (through, link) = database.behind_link().await;
        (Self::over(database, through.parse().expect("the URL is valid")).await, link)
    }

    /// Starts both servers on `database`, which they reach under `url`.
    async fn over(database: Database, url: DatabaseUrl) -> Self {
        let (stop, clock) = (CancellationToken::new(), TestClock::default());
        let grpc = start_grpc_with_clock(url, &clock, stop.clone()).await;
        let http = start_adapter(grpc, stop.clone()).await;
        let channel = channel_to(grpc);
        let (wix, site) = (WixCaller::new(http), guid());
        Self { http, grpc, wix, site, clock, channel, history: None, _stop: stop.drop_guard(), database }
    }

    /// The same world, which records the calls of `wix`, and those of [`World::set`] and [`World::level`]. A test that
    /// makes others records them too. See [`World::check`].
    pub fn recording(self) -> Self {
        let history = History::default();
        Self { wix: self.wix.clone().recording(&history), history: Some(history), ..self }
    }

    /// The history of a world that records.
    pub fn history(&self) -> &History {
        self.history.as_ref().expect("the world records")
    }

    /// Checks the history of a world that records, when no call is under way.
    pub async fn check(&self) {
        RecordedGrpc::new(self.history(), self.channel()).check().await;
    }

    /// The gRPC server, for a test that connects to it in a way of its own.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.grpc)).expect("the URL is valid")
    }

    /// The connection that the clients share.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A client of AvailabilityService.
    pub fn availability(&self) -> AvailabilityServiceClient<Channel> {
        AvailabilityServiceClient::new(self.channel.clone())
    }

    /// A client of StockService.
    pub fn stock(&self) -> StockServiceClient<Channel> {
        StockServiceClient::new(self.channel.clone())
    }

    /// A client of LedgerService.
    pub fn ledger(&self) -> LedgerServiceClient<Channel> {
        LedgerServiceClient::new(self.channel.clone())
    }

    /// A client of SiteService.
    pub fn sites(&self) -> SiteServiceClient<Channel> {
        SiteServiceClient::new(self.channel.clone())
    }

    /// Sets levels of units of the tests' catalog at the default location.
    pub async fn set(&self, levels: &[(&str, i64)]) {
        let items = levels.iter().map(|(id, available)| set_item(id, *available)).collect();
        let request = set(&self.site, items);
        let begin = |history: &History| history.begin_set(&self.site, &request.request_id, levels);
        let call = self.history.as_ref().map(begin);
        let answer = self.stock().set_stock(request).await.expect("the levels can be set").into_inner();
        if let Some(call) = call {
            call.answered(Answer::Applied(answer.sequence));
        }
    }

    /// The stock of a unit of the tests' catalog at a location; an empty `location_id` is the default location.
    pub async fn stock_at(&self, id: &str, location_id: &str) -> v1::Stock {
        let request = v1::GetStockRequest {
            site_id: self.site.clone(),
            unit: reference(id),
            location_id: location_id.to_owned(),
            ..Default::default()
        };
        let answer = self.stock().get_stock(request).await.expect("stock can be read");
        answer.into_inner().stock.expect("the answer holds the stock")
    }

    /// The level of a unit of the tests' catalog at the default location.
    pub async fn level(&self, id: &str) -> i64 {
        let call = self.history.as_ref().map(|history| history.begin_level(&self.site, id));
        let stock = self.stock_at(id, "").await;
        if let Some(call) = call {
            call.end(Seen::Level(stock.available, stock.revision, stock.last_sequence));
        }
        stock.available
    }

    /// All entries of the site's ledger, in order.
    pub async fn entries(&self) -> Vec<v1::Entry> {
        self.list_entries(v1::ListEntriesRequest { page_size: 1_000, ..Default::default() }).await
    }

    /// The entries of the site's ledger that a query finds, read page by page.
    pub async fn list_entries(&self, query: v1::ListEntriesRequest) -> Vec<v1::Entry> {
        let query = v1::ListEntriesRequest { site_id: self.site.clone(), ..query };
        let page = async |page_token| {
            let request = v1::ListEntriesRequest { page_token, ..query.clone() };
            let page = self.ledger().list_entries(request).await.expect("entries can be read").into_inner();
            (page.entries, page.next_page_token)
        };
        all_pages(page).await
    }

    /// Verifies the site. Returns the result.
    pub async fn verify(&self, repair: bool) -> v1::VerifySiteResponse {
        let request = v1::VerifySiteRequest { site_id: self.site.clone(), repair };
        let mut stream = self.ledger().verify_site(request).await.expect("the verification starts").into_inner();
        loop {
            let message = stream.message().await.expect("a report of progress").expect("the last one has the result");
            if message.done {
                return message;
            }
        }
    }

    /// Changes settings of the site.
    pub async fn configure_site(&self, change: v1::UpdateSiteRequest) -> Result<v1::Site, Status> {
        let request = v1::UpdateSiteRequest { site_id: self.site.clone(), ..change };
        let answer = self.sites().update_site(request).await.map(Response::into_inner)?;
        Ok(answer.site.expect("the answer holds the site"))
    }

    /// Changes settings of a unit of the tests' catalog.
    pub async fn configure_unit(&self, id: &str, change: v1::UpdateUnitRequest) -> Result<v1::Unit, Status> {
        let request = v1::UpdateUnitRequest { site_id: self.site.clone(), unit: reference(id), ..change };
        let answer = self.stock().update_unit(request).await.map(Response::into_inner)?;
        Ok(answer.unit.expect("the answer holds the unit"))
    }
}

/// How long servers of the tests keep the outcomes of requests.
const RETENTION: Duration = Duration::from_secs(86_400);

/// Starts a gRPC server in this process, with the usual retention of outcomes and the machine's clock. Returns its
/// address.
pub async fn start_grpc(url: DatabaseUrl, stop: CancellationToken) -> SocketAddr {
    start_grpc_with_clock(url, &TestClock::default(), stop).await
}

/// Starts a gRPC server with a clock of the test. Returns its address.
pub async fn start_grpc_with_clock(url: DatabaseUrl, clock: &TestClock, stop: CancellationToken) -> SocketAddr {
    start_grpc_with(url, Options { retention: Some(RETENTION), clock: clock.clock(), ..Options::default() }, stop).await
}

/// Starts a gRPC server that keeps the outcomes of requests for `retention`. Returns its address.
pub async fn start_grpc_with_retention(url: DatabaseUrl, retention: Duration, stop: CancellationToken) -> SocketAddr {
    start_grpc_with(url, Options { retention: Some(retention), ..Options::default() }, stop).await
}

/// Starts a gRPC server that works as `options` say. Returns its address.
pub async fn start_grpc_with(url: DatabaseUrl, options: Options, stop: CancellationToken) -> SocketAddr {
    let store = tokio::task::spawn_blocking(|| Store::open(url, Open::Migrate));
    let store = store.await.expect("no panic").expect("the store opens");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("a listener has an address");
    tokio::spawn(inventory_grpc::server::serve(listener, store, options, stop));
    address
}

/// Serves the services of a test in this process. Returns their address.
pub async fn serve(services: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("a listener has an address");
    tokio::spawn(services.serve_with_incoming(TcpIncoming::from(listener)));
    address
}

/// Starts an adapter in this process. Returns its address.
pub async fn start_adapter(grpc: SocketAddr, stop: CancellationToken) -> SocketAddr {
    let key = keys::parse(&test_keys::app_key().public).expect("a new key can be parsed");
    let endpoint = Endpoint::from_shared(format!("http://{grpc}")).expect("the URL is valid");
    let adapter = Adapter { verifier: Verifier::new(APP_ID, vec![key]), upstreams: Upstreams::one(endpoint) };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("a listener has an address");
    tokio::spawn(wix_adapter::server::serve(listener, adapter, stop));
    address
}

/// Runs each case, an `async fn(World)`, on both stores, as the tests `NAME::sqlite` and `NAME::postgres`.
#[macro_export]
macro_rules! on_both {
    ($($case:ident),+ $(,)?) => { $(
        mod $case {
            use $crate::world::{Backend, World};

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                super::$case(World::start(Backend::Sqlite).await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                super::$case(World::start(Backend::Postgres).await).await;
            }
        }
    )+ };
}
