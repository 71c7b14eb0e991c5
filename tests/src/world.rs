//! A world of one database, one gRPC server and one adapter, which proves its books when it ends.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use inventory_core::store::{DatabaseUrl, Store};
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::site_service_client::SiteServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_proto::{UnitRef, v1};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;
use wix_adapter::client::Upstream;
use wix_adapter::keys;
use wix_adapter::routes::Adapter;
use wix_adapter::token::Verifier;

use crate::postgres::{Durability, fresh_database};
use crate::wix_caller::{APP_ID, CATALOG, WixCaller};
use crate::{books, test_keys};

/// Which store a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A file in a temporary folder.
    Sqlite,
    /// A database of the test's cluster.
    Postgres,
}

/// An empty database that proves its books when it is dropped.
pub struct Database {
    /// Where it is.
    pub url: DatabaseUrl,
    /// The same as a setting.
    pub text: String,
    folder: TempDir,
}

impl Database {
    /// A new one.
    pub fn fresh(backend: Backend) -> Self {
        Self::with_durability(backend, Durability::None)
    }

    /// A new one on a cluster of the given durability (the first call of a process decides).
    pub fn with_durability(backend: Backend, durability: Durability) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let text = match backend {
            Backend::Sqlite => format!("sqlite:{}", folder.path().join("inventory.db").display()),
            Backend::Postgres => fresh_database(durability),
        };
        Self { url: text.parse().expect("a database URL"), text, folder }
    }

    /// The folder that goes with it.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Whatever a test did, the books must be right after it.
        if !std::thread::panicking() {
            books::prove(&self.url);
        }
    }
}

/// Both servers over a database.
pub struct World {
    /// Where the adapter listens.
    pub http: SocketAddr,
    /// Where the gRPC server listens.
    pub grpc: SocketAddr,
    /// Calls the adapter.
    pub wix: WixCaller,
    /// A site of this world's own.
    pub site: String,
    channel: Channel,
    /// Stops the servers; before the database is proved.
    _stop: DropGuard,
    /// The database.
    pub database: Database,
}

impl World {
    /// Starts both servers on a fresh database.
    pub async fn start(backend: Backend) -> Self {
        let database = Database::fresh(backend);
        let url = database.url.clone();
        Self::over(database, url).await
    }

    /// Starts both servers on `database`, which they reach by `url`.
    pub async fn over(database: Database, url: DatabaseUrl) -> Self {
        let stop = CancellationToken::new();
        let grpc = start_grpc(url, stop.clone()).await;
        let http = start_adapter(grpc, stop.clone()).await;
        let channel = Endpoint::from_shared(format!("http://{grpc}")).expect("a URL").connect_lazy();
        let site = Uuid::new_v4().to_string();
        Self { http, grpc, wix: WixCaller::new(http), site, channel, _stop: stop.drop_guard(), database }
    }

    /// The gRPC server, to be connected to in another way than the clients below.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.grpc)).expect("a URL")
    }

    /// The connection of the clients below.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A client.
    pub fn availability(&self) -> AvailabilityServiceClient<Channel> {
        AvailabilityServiceClient::new(self.channel.clone())
    }

    /// A client.
    pub fn stock(&self) -> StockServiceClient<Channel> {
        StockServiceClient::new(self.channel.clone())
    }

    /// A client.
    pub fn ledger(&self) -> LedgerServiceClient<Channel> {
        LedgerServiceClient::new(self.channel.clone())
    }

    /// A client.
    pub fn sites(&self) -> SiteServiceClient<Channel> {
        SiteServiceClient::new(self.channel.clone())
    }

    /// Sets the levels of items of the tests' catalog at the default location.
    pub async fn set(&self, levels: &[(&str, i64)]) {
        let item = |&(id, available): &(&str, i64)| v1::SetStockItem {
            unit: reference(id),
            location_id: String::new(),
            available,
            ..Default::default()
        };
        let request = v1::SetStockRequest {
            site_id: self.site.clone(),
            items: levels.iter().map(item).collect(),
            request_id: Uuid::new_v4().to_string(),
            ..Default::default()
        };
        self.stock().set_stock(request).await.expect("levels can be set");
    }

    /// The level of an item of the tests' catalog at the default location.
    pub async fn level(&self, id: &str) -> i64 {
        let request = v1::GetStockRequest {
            site_id: self.site.clone(),
            unit: reference(id),
            location_id: String::new(),
            ..Default::default()
        };
        let answer = self.stock().get_stock(request).await.expect("stock can be read");
        answer.into_inner().stock.expect("an answer holds stock").available
    }

    /// All entries of the site's ledger (of the first thousand).
    pub async fn entries(&self) -> Vec<v1::Entry> {
        let request = v1::ListEntriesRequest { site_id: self.site.clone(), page_size: 1_000, ..Default::default() };
        self.ledger().list_entries(request).await.expect("entries can be read").into_inner().entries
    }
}

/// An item of the tests' catalog, as a request names it or an answer does.
pub fn reference<U: From<v1::CatalogReference>>(id: &str) -> Option<U> {
    let reference = v1::CatalogReference { app_id: CATALOG.into(), catalog_item_id: id.into(), options: None };
    Some(reference.into())
}

/// A unit as a request names it by its SKU.
pub fn sku<U: From<UnitRef>>(sku: &str) -> Option<U> {
    Some(UnitRef::Sku(sku.into()).into())
}

/// Code, reason and first named field of an error.
pub fn told(status: &Status) -> (Code, String, String) {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    let violation = status.get_details_bad_request().and_then(|bad| bad.field_violations.into_iter().next());
    (status.code(), reason, violation.map(|violation| violation.field).unwrap_or_default())
}

/// Starts a gRPC server in this process.
pub async fn start_grpc(url: DatabaseUrl, stop: CancellationToken) -> SocketAddr {
    start_forgetful_grpc(url, Duration::from_secs(86_400), stop).await
}

/// The same, with the outcomes of requests kept for so long.
pub async fn start_forgetful_grpc(url: DatabaseUrl, retention: Duration, stop: CancellationToken) -> SocketAddr {
    let store = tokio::task::spawn_blocking(|| Store::open(url)).await.expect("no panic").expect("the store opens");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    tokio::spawn(inventory_grpc::server::serve(listener, store, retention, stop.cancelled_owned()));
    address
}

/// Starts an adapter in this process.
pub async fn start_adapter(grpc: SocketAddr, stop: CancellationToken) -> SocketAddr {
    let key = keys::parse(&test_keys::app_key().public).expect("a key that was just made is read");
    let endpoint = Endpoint::from_shared(format!("http://{grpc}")).expect("a URL");
    let adapter = Adapter { verifier: Verifier::new(APP_ID, vec![key]), upstream: Upstream::new(endpoint) };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    tokio::spawn(wix_adapter::server::serve(listener, adapter, stop.cancelled_owned()));
    address
}

/// Runs a case, an `async fn(World)`, on both stores, as the tests `NAME::sqlite` and
/// `NAME::postgres`.
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
