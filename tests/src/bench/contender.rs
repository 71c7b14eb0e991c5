//! Those who compete for the same orders: our servers, and the peer. Each runs on a new database that forces its writes
//! to disk, and its books are checked when it ends.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use inventory_core::store::{DatabaseUrl, Open, Store};

use crate::bench::calls::Call;
use crate::bench::door::Door;
use crate::bench::fixtures::{ITEMS, STOCKED, Workload};
use crate::bench::peer::{Peer, Style, processes};
use crate::bench::rig::{Rig, Shape};
use crate::books;
use crate::postgres::{Durability, fresh_database, remove_database};
use crate::programs::{Running, program_of};
use crate::world::Backend;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// Our servers.
    Ours(Shape),
    /// Our servers of another version.
    Before(Shape),
    /// The peer, on Postgres.
    Peer(Style),
}

/// The folder of the programs of the version before, if it is to be compared: `BENCH_BEFORE`.
pub fn before() -> Option<&'static PathBuf> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(|| std::env::var_os("BENCH_BEFORE").map(PathBuf::from)).as_ref()
}

/// A contender at work.
pub struct Started {
    contender: Contender,
    /// Where Wix's calls go.
    pub http: Door,
    /// Where gRPC calls go, if it has them.
    pub grpc: Option<Door>,
    ground: Ground,
}

enum Ground {
    Ours(Rig),
    Peer(Running, DatabaseUrl, String),
}

impl Contender {
    /// Those who take turns, in their order: the version before alone if there is one, and otherwise the peers.
    pub fn all() -> Vec<Self> {
        match before() {
            Some(_) => vec![Self::OURS, Self::BEFORE, Self::STANDALONE, Self::BEFORE_STANDALONE],
            None => vec![Self::OURS, Self::PEER, Self::NAIVE, Self::STANDALONE],
        }
    }

    /// Two processes on Postgres.
    pub const OURS: Self = Self::Ours(Shape::TwoProcesses(Backend::Postgres));
    /// The peer at its best.
    pub const PEER: Self = Self::Peer(Style::Procedure);
    /// The peer with a transaction per order.
    pub const NAIVE: Self = Self::Peer(Style::Transaction);
    /// One process on SQLite.
    pub const STANDALONE: Self = Self::Ours(Shape::Standalone);
    /// Two processes of the version before, on Postgres.
    pub const BEFORE: Self = Self::Before(Shape::TwoProcesses(Backend::Postgres));
    /// One process of the version before, on SQLite.
    pub const BEFORE_STANDALONE: Self = Self::Before(Shape::Standalone);

    /// Its name in tables.
    pub fn name(self) -> String {
        match self {
            Self::Ours(shape) => format!("ours: {}", shape.name()),
            Self::Before(shape) => format!("the version before: {}", shape.name()),
            Self::Peer(Style::Procedure) => "peer: a stored procedure per order".to_owned(),
            Self::Peer(Style::Transaction) => "naive: a transaction per order".to_owned(),
        }
    }

    /// How long it works before it is measured. Node compiles its hot code only after seconds.
    pub const fn warm_up(self) -> Duration {
        match self {
            Self::Ours(_) | Self::Before(_) => Duration::from_secs(2),
            Self::Peer(_) => Duration::from_secs(5),
        }
    }

    /// What it can be asked over plain gRPC.
    pub fn calls(self) -> &'static [Call] {
        match self {
            Self::Ours(_) | Self::Before(_) => &Call::ALL,
            Self::Peer(_) => &[],
        }
    }

    /// Starts it on a new database in which each item has `STOCKED` pieces.
    pub fn start(self, workload: Workload) -> Started {
        let ours = |rig: Rig| {
            let (http, grpc) = (rig.http.clone(), Some(rig.grpc.clone()));
            Started { contender: self, http, grpc, ground: Ground::Ours(rig) }
        };
        let started = match self {
            Self::Ours(shape) => ours(Rig::start(shape)),
            Self::Before(shape) => {
                let folder = before().expect("BENCH_BEFORE names the folder of the version before");
                ours(Rig::of(&|name| program_of(folder, name), shape))
            }
            Self::Peer(style) => {
                let text = fresh_database(Durability::Full);
                let url = text.parse().expect("the database URL is valid");
                let server = Peer::installed().start(style, workload, &text);
                let http = server.addresses[0].into();
                Started { contender: self, http, grpc: None, ground: Ground::Peer(server, url, text) }
            }
        };
        if let url @ DatabaseUrl::Postgres(_) = started.ground.url() {
            // What the stocking left behind is no part of the measurement.
            for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
                books::execute(url, statement).expect("a superuser may do it");
            }
        }
        started
    }
}

impl Started {
    /// Where it keeps its books.
    pub fn backend(&self) -> Backend {
        match self.ground.url() {
            DatabaseUrl::Sqlite(_) => Backend::Sqlite,
            DatabaseUrl::Postgres(_) => Backend::Postgres,
        }
    }

    /// Processor time of each of its processes so far, in seconds. Empty for a peer of several processes.
    pub fn cpu_seconds(&self) -> Vec<f64> {
        match &self.ground {
            Ground::Ours(rig) => rig.servers.iter().map(Running::cpu_seconds).collect(),
            Ground::Peer(server, ..) if processes() == 1 => vec![server.cpu_seconds()],
            Ground::Peer(..) => Vec::new(),
        }
    }

    /// Ends it and checks its books: it took exactly `pieces`, by `orders` orders, and its ledger says the same.
    pub fn end(self, orders: usize, pieces: i64) {
        let (name, backend) = (self.contender.name(), self.backend());
        let prove = |url: &DatabaseUrl, claim: &str, sql: &str, expected: i64| {
            let found = books::count(url, &format!("SELECT CAST(({sql}) AS bigint) AS wrong"));
            assert_eq!(found, expected, "the books of {name} are wrong: {claim}");
        };
        let left = ITEMS as i64 * STOCKED - pieces;
        match self.ground {
            Ground::Ours(Rig { servers, database, .. }) => {
                for server in servers {
                    assert!(server.terminate().success(), "a server of {name} failed at its end");
                }
                let of_orders = "FROM change WHERE order_id IS NOT NULL";
                prove(&database.url, "the stock left", "SELECT sum(available) FROM level", left);
                prove(&database.url, "the sum of the ledger", "SELECT sum(delta) FROM ledger", left);
                prove(&database.url, "the orders", &format!("SELECT count(*) {of_orders}"), orders as i64);
                if matches!(self.contender, Contender::Before(_)) {
                    // The proofs are of this version's schema.
                    drop(Store::open(database.url.clone(), Open::Migrate).expect("the database can be migrated"));
                }
                let text = database.text.clone();
                // This checks every level, entry and sequence number.
                drop(database);
                if backend == Backend::Postgres {
                    remove_database(&text);
                }
            }
            Ground::Peer(server, url, text) => {
                drop(server);
                let entered = "SELECT sum(value::bigint) FROM ledger, jsonb_each_text(deltas)";
                prove(&url, "the stock left", "SELECT sum(quantity) FROM stock", left);
                prove(&url, "the sum of the ledger", entered, -pieces);
                prove(&url, "the orders", "SELECT count(*) FROM ledger", orders as i64);
                remove_database(&text);
            }
        }
    }
}

impl Ground {
    fn url(&self) -> &DatabaseUrl {
        match self {
            Self::Ours(rig) => &rig.database.url,
            Self::Peer(_, url, _) => url,
        }
    }
}
