//! The servers under load. Each is a process of its own, as in production.

use std::net::SocketAddr;
use std::process::Command;

use inventory_core::model::access::Scope;
use inventory_proto::v1;
use inventory_proto::v1::stock_service_client::StockServiceClient;

use crate::bench::door::Door;
use crate::bench::fixtures::{ITEMS, SITE, STOCKED, key, reference};
use crate::certificates::Authority;
use crate::postgres::Durability;
use crate::programs::{Running, program, run_by};
use crate::requests::set;
use crate::tokens::{New, bearer, until_known};
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

impl Shape {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TwoProcesses(Backend::Postgres) => "two processes, Postgres",
            Self::TwoProcesses(Backend::Sqlite) => "two processes, SQLite",
            Self::Standalone => "`standalone`, SQLite",
        }
    }
}

/// Both servers on a new, stocked database that forces its writes to disk.
pub struct Rig {
    /// How Wix reaches the adapter.
    pub http: Door,
    /// How internal services reach the gRPC server.
    pub grpc: Door,
    /// The processes, in the order in which they end.
    pub servers: Vec<Running>,
    /// The database.
    pub database: Database,
}

impl Rig {
    /// Starts the servers on a new database, and sets every item of the workloads to a billion pieces.
    pub fn start(shape: Shape) -> Self {
        Self::of(&program, shape)
    }

    /// The same with servers that let the load generator go first where both want a core. Under overload a generator
    /// that waits for a core would measure itself: it sends late, and reads answers late.
    pub fn behind_the_load(shape: Shape) -> Self {
        Self::of(&|name| run_by(&["nice", "-n", "15"], &program(name)), shape)
    }

    /// The same with programs of any version, which `program` finds by their names.
    pub fn of(program: &dyn Fn(&str) -> Command, shape: Shape) -> Self {
        let backend = match shape {
            Shape::TwoProcesses(backend) => backend,
            Shape::Standalone => Backend::Sqlite,
        };
        let rig = Self::over(program, shape, Database::with_durability(backend, Durability::Full));
        stock(&rig.grpc, ITEMS);
        rig
    }

    /// Starts the servers on an existing database.
    fn over(program: &dyn Fn(&str) -> Command, shape: Shape, database: Database) -> Self {
        match shape {
            Shape::TwoProcesses(_) => {
                let mut server = program("inventory-grpc");
                server.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", &database.text]);
                let server = Running::start(server, 1);
                let adapter = adapter_of(program, server.addresses[0]);
                let (http, grpc) = (adapter.addresses[0].into(), server.addresses[0].into());
                Self { http, grpc, servers: vec![adapter, server], database }
            }
            Shape::Standalone => {
                let mut command = program("wix-adapter");
                command.args(["standalone", "--http-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"]);
                command.args(["--database-url", &database.text]);
                let both = Running::start(with_key(command), 2);
                let (grpc, http) = (both.addresses[0].into(), both.addresses[1].into());
                Self { http, grpc, servers: vec![both], database }
            }
        }
    }

    /// Both servers as two processes on Postgres, which demand what `guards` say.
    pub fn guarded(guards: Guards) -> Self {
        let database = Database::with_durability(Backend::Postgres, Durability::Full);
        let authority = Authority::new();
        let pair = authority.issue("server");
        let own = |command: &mut Command| {
            if guards.tls {
                command.arg("--tls-cert").arg(&pair.certificate).arg("--tls-key").arg(&pair.key);
            }
        };
        let door = |address, alpn| {
            let tls = guards.tls.then(|| authority.client(None, alpn));
            Door { tls, ..Door::from(address) }
        };
        let mut command = program("inventory-grpc");
        command.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", &database.text]);
        own(&mut command);
        let server = Running::start(command, 1);
        let mut grpc = door(server.addresses[0], "h2");
        stock(&grpc, ITEMS);

        let mut command = program("wix-adapter");
        command.args(["serve", "--http-listen", "127.0.0.1:0"]);
        own(&mut command);
        let scheme = if guards.tls { "https" } else { "http" };
        let upstream = format!("{scheme}://localhost:{}", server.addresses[0].port());
        command.args(["--grpc-upstream", &upstream]);
        if guards.tls {
            command.arg("--upstream-ca").arg(authority.file());
        }
        if guards.token {
            let text = New { name: "bench", scopes: &[Scope::Orders], ..New::default() }.create(&database.url);
            let file = database.folder().join("token");
            std::fs::write(&file, &text).expect("the temporary folder is writable");
            command.arg("--upstream-token-file").arg(file);
            grpc.bearer = bearer(&text);
            block_on(async { until_known(grpc.channel(), &text).await });
        }
        let adapter = Running::start(with_key(command), 1);
        let http = door(adapter.addresses[0], "http/1.1");
        Self { http, grpc, servers: vec![adapter, server], database }
    }
}

/// What the servers demand of their callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guards {
    /// The gRPC server demands a token.
    pub token: bool,
    /// Both servers demand TLS.
    pub tls: bool,
}

/// Starts an adapter that accepts the benchmarks' key.
pub fn adapter(grpc: SocketAddr) -> Running {
    adapter_of(&program, grpc)
}

fn adapter_of(program: &dyn Fn(&str) -> Command, grpc: SocketAddr) -> Running {
    let mut command = program("wix-adapter");
    command.args(["serve", "--http-listen", "127.0.0.1:0", "--grpc-upstream", &grpc.to_string()]);
    Running::start(with_key(command), 1)
}

fn with_key(mut command: Command) -> Command {
    command.args(["--wix-app-id", APP_ID]).env("WIX_PUBLIC_KEY", &key().public);
    command
}

/// Sets the first `items` items of the benchmarks' site to a billion pieces each.
pub fn stock(grpc: &Door, items: usize) {
    stock_site(grpc, SITE, items);
}

/// The same for any site.
pub fn stock_site(grpc: &Door, site: &str, items: usize) {
    block_on(async {
        let mut client = StockServiceClient::with_interceptor(grpc.channel(), grpc.bearer.clone());
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

/// Runs a future on a runtime of its own, in this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the runtime starts");
    runtime.block_on(future)
}
