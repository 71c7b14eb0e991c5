//! The servers under load. Each is a process of its own, as in production.

use std::net::SocketAddr;
use std::process::Command;

use inventory_proto::v1;
use inventory_proto::v1::stock_service_client::StockServiceClient;

use crate::bench::fixtures::{ITEMS, SITE, STOCKED, key, reference};
use crate::postgres::Durability;
use crate::programs::{Running, grpc_server, program};
use crate::requests::set;
use crate::wix_caller::APP_ID;
use crate::world::{Backend, Database};

/// Which processes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `inventory-grpc serve` and `wix-adapter serve`.
    TwoProcesses(Backend),
    /// `wix-adapter standalone` on SQLite.
    Standalone,
}

/// Both servers on a new, stocked database that forces its writes to disk.
pub struct Rig {
    /// The address that Wix calls.
    pub http: SocketAddr,
    /// The address of the gRPC server.
    pub grpc: SocketAddr,
    /// The processes, in the order in which they end.
    pub servers: Vec<Running>,
    /// The database.
    pub database: Database,
}

impl Rig {
    /// Starts the servers on a new database, and sets every item of the workloads to a billion pieces.
    pub fn start(shape: Shape) -> Self {
        let backend = match shape {
            Shape::TwoProcesses(backend) => backend,
            Shape::Standalone => Backend::Sqlite,
        };
        let database = Database::with_durability(backend, Durability::Full);
        let rig = Self::over(shape, database);
        stock(rig.grpc, ITEMS);
        rig
    }

    /// Starts the servers on an existing database.
    pub fn over(shape: Shape, database: Database) -> Self {
        match shape {
            Shape::TwoProcesses(_) => {
                let grpc = grpc_server(&database.text);
                let adapter = adapter(grpc.addresses[0]);
                let (http, at) = (adapter.addresses[0], grpc.addresses[0]);
                Self { http, grpc: at, servers: vec![adapter, grpc], database }
            }
            Shape::Standalone => {
                let mut command = program("wix-adapter");
                command.args(["standalone", "--http-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"]);
                command.args(["--database-url", &database.text]);
                let both = Running::start(with_key(command), 2);
                let (grpc, http) = (both.addresses[0], both.addresses[1]);
                Self { http, grpc, servers: vec![both], database }
            }
        }
    }
}

/// Starts an adapter that accepts the benchmarks' key.
pub fn adapter(grpc: SocketAddr) -> Running {
    let mut command = program("wix-adapter");
    command.args(["serve", "--http-listen", "127.0.0.1:0", "--grpc-upstream", &grpc.to_string()]);
    Running::start(with_key(command), 1)
}

fn with_key(mut command: Command) -> Command {
    command.args(["--wix-app-id", APP_ID]).env("WIX_PUBLIC_KEY", &key().public);
    command
}

/// Sets the first `items` items of the benchmarks' site to a billion pieces each.
pub fn stock(grpc: SocketAddr, items: usize) {
    stock_site(grpc, SITE, items);
}

/// The same for any site.
pub fn stock_site(grpc: SocketAddr, site: &str, items: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the runtime starts");
    runtime.block_on(async {
        let mut client =
            StockServiceClient::connect(format!("http://{grpc}")).await.expect("the server accepts connections");
        for first in (0..items).step_by(1_000) {
            let target = |item| v1::SetStockItem {
                unit: Some(reference(item).into()),
                available: STOCKED,
                ..Default::default()
            };
            let items = (first..items.min(first + 1_000)).map(target).collect();
            let request = v1::SetStockRequest { request_id: format!("stock-{first}"), ..set(site, items) };
            client.set_stock(request).await.expect("the levels can be set");
        }
    });
}
