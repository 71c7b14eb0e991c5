//! The peer (`benches/peer/`): a server of the same plugin on Wix's official SDK for Node, with Postgres. It is
//! installed in cargo's target folder, with the versions of its lock file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::bench::fixtures::{ITEMS, SITE, STOCKED, Workload, key, line};
use crate::node;
use crate::programs::{Running, target_folder};
use crate::wix_caller::APP_ID;

/// The oldest major version of Node that the peer's packages support.
const NODE_MIN: u32 = 20;

/// How the peer applies an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One stored procedure: what a good engineer tunes it to.
    Procedure,
    /// A transaction of five round trips: the naive way.
    Transaction,
}

/// The installed peer.
pub struct Peer {
    folder: PathBuf,
    /// The version of Node.
    pub node: String,
}

impl Peer {
    /// The peer, which is installed if it is not there yet. Ends the program with a sentence if it cannot be.
    pub fn installed() -> &'static Self {
        static PEER: OnceLock<Peer> = OnceLock::new();
        PEER.get_or_init(|| {
            Self::install().unwrap_or_else(|sentence| {
                eprintln!("{sentence}");
                std::process::exit(1)
            })
        })
    }

    /// The error is a sentence for the user.
    fn install() -> Result<Self, String> {
        let sources = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peer"));
        let folder = target_folder().join("bench-peer");
        let node = node::install(sources, &folder, NODE_MIN).map_err(|error| format!("the peer: {error}"))?;
        Ok(Self { folder, node })
    }

    /// Creates and stocks the peer's tables in an empty database, and starts it there.
    pub fn start(&self, style: Style, workload: Workload, database_url: &str) -> Running {
        let mut seed = self.node("seed.mjs", database_url);
        seed.env("INSTANCE_ID", SITE).env("QUANTITY", STOCKED.to_string());
        let mut seed = seed.stdin(Stdio::piped()).spawn().expect("node starts");
        let items: String = (0..ITEMS).map(|item| serde_json::Value::Object(line(item)).to_string() + "\n").collect();
        let mut input = seed.stdin.take().expect("standard input is piped");
        input.write_all(items.as_bytes()).expect("the peer reads the items");
        drop(input);
        assert!(seed.wait().expect("node ends").success(), "the peer's tables cannot be stocked");

        let mut server = self.node("server.mjs", database_url);
        server.env("NODE_ENV", "production").env("WIX_APP_ID", APP_ID).env("WIX_PUBLIC_KEY", &key().public);
        let style_name = match style {
            Style::Procedure => "procedure",
            Style::Transaction => "transaction",
        };
        server.env("PEER_STYLE", style_name).env("PEER_PROCESSES", processes().to_string());
        server.env("PEER_CONNECTIONS", connections(style, workload).to_string());
        Running::start_with_log(server, 1, Stdio::inherit())
    }

    fn node(&self, script: &str, database_url: &str) -> Command {
        let mut command = Command::new("node");
        command.arg(script).current_dir(&self.folder).env("DATABASE_URL", database_url);
        command
    }
}

/// Processes of the peer. Postgres gets the other half of the cores. On two cores a second process gains nothing.
pub fn processes() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}

/// The number of connections with which the peer is fastest on two cores. More of them only wait for the same rows.
const fn connections(style: Style, workload: Workload) -> usize {
    match (style, workload) {
        (Style::Procedure, Workload::Hot | Workload::Spread | Workload::Bulk) => 8,
        (Style::Transaction, Workload::Hot) => 4,
        (Style::Transaction, Workload::Spread) => 32,
        (Style::Transaction, Workload::Bulk) => 8,
    }
}
