//! Settings: each a flag and an environment variable, read once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use inventory_core::store::DatabaseUrl;

/// The gRPC server of the stock service, and the operator's commands.
#[derive(Debug, Parser)]
#[command(name = "inventory-grpc", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Where to send traces, as OTLP over gRPC, such as `http://127.0.0.1:4317`; off unless set.
    #[arg(long, env = "OTLP_ENDPOINT", global = true)]
    pub otlp_endpoint: Option<String>,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring the schema up to date, then serve.
    Serve(Serve),
    /// Bring the schema up to date, and nothing else.
    Migrate(Database),
    /// Set levels from a file: all rows or, if any of them is bad, none.
    ///
    /// CSV with a header of `app_id`, `catalog_item_id`, `available` and, where wanted, `options` (a JSON
    /// object) and `location_id`; or NDJSON, one object of the same names a line, `options` an object. The
    /// same file imported again changes nothing, even where stock was sold since, unless `--again` is said; an
    /// import that was interrupted goes on where it was.
    Import(Import),
    /// Write stock or the ledger as CSV or NDJSON. Exported stock can be imported again.
    Export(Export),
    /// Add up the ledger of a site, and compare it with every level; exits with 1 where they differ.
    Verify(Verify),
}

/// Whom the operator's commands ask: a running server, or a database that they open themselves.
#[derive(Debug, Args)]
pub struct Upstream {
    /// The running server.
    #[arg(long, env = "GRPC_UPSTREAM", default_value = "127.0.0.1:50051")]
    pub grpc_upstream: String,
    /// Open this database instead of asking a server.
    #[arg(long)]
    pub database_url: Option<DatabaseUrl>,
    /// The site, a GUID. For Wix, the `instanceId` of the app's installation.
    #[arg(long, env = "SITE_ID")]
    pub site_id: String,
}

/// What to import.
#[derive(Debug, Args)]
pub struct Import {
    /// Into which books.
    #[command(flatten)]
    pub upstream: Upstream,
    /// The file, or `-` for standard input.
    pub file: PathBuf,
    /// The form; by the file's name unless said.
    #[arg(long)]
    pub format: Option<Format>,
    /// Change nothing; tell what would change if the file were new.
    #[arg(long)]
    pub dry_run: bool,
    /// Set the levels again, even if this file was imported before.
    #[arg(long)]
    pub again: bool,
}

/// What to export.
#[derive(Debug, Args)]
pub struct Export {
    /// What.
    pub what: What,
    /// Of which books.
    #[command(flatten)]
    pub upstream: Upstream,
    /// Where to; standard output unless said.
    #[arg(long)]
    pub output: Option<PathBuf>,
    /// The form; by the file's name, or CSV.
    #[arg(long)]
    pub format: Option<Format>,
}

/// What to verify.
#[derive(Debug, Args)]
pub struct Verify {
    /// Which books.
    #[command(flatten)]
    pub upstream: Upstream,
    /// Mend what differs, by entries that everybody can see.
    #[arg(long)]
    pub repair: bool,
}

/// What can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Every level, in the order of app id, item id, options and location.
    Stock,
    /// Every entry, in the order of sequences.
    Ledger,
}

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

impl Format {
    /// The form that was asked for, or that of a file by its name, or CSV.
    pub fn of(asked: Option<Self>, file: Option<&Path>) -> Self {
        let ending = file.and_then(Path::extension).and_then(|ending| ending.to_str()).unwrap_or_default();
        let by_name = if ["ndjson", "jsonl"].contains(&ending) { Self::Ndjson } else { Self::Csv };
        asked.unwrap_or(by_name)
    }
}

/// Which database.
#[derive(Debug, Args)]
pub struct Database {
    /// `sqlite:PATH` or `postgres://USER@HOST/NAME`.
    #[arg(long, env = "DATABASE_URL", default_value = "sqlite:inventory.db", hide_env_values = true)]
    pub database_url: DatabaseUrl,
}

/// How to serve.
#[derive(Debug, Args)]
pub struct Serve {
    /// Where, and on which database.
    #[command(flatten)]
    pub listen: Listen,
    /// Address and port for Prometheus metrics (GET /metrics); off unless set.
    #[arg(long, env = "ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,
}

/// Where to listen, and on which database.
#[derive(Debug, Args)]
pub struct Listen {
    /// Which database.
    #[command(flatten)]
    pub database: Database,
    /// Address and port for gRPC; port 0 takes any free one.
    #[arg(long, env = "GRPC_LISTEN", default_value = "127.0.0.1:50051")]
    pub grpc_listen: SocketAddr,
    /// Listen beyond loopback though calls carry neither TLS nor tokens: whoever reaches the port
    /// can change stock.
    #[arg(long, env = "ALLOW_PLAINTEXT")]
    pub allow_plaintext: bool,
    /// Days for which the outcome of a request is kept: a repeat that comes later is a new request.
    #[arg(long, env = "REQUEST_RETENTION_DAYS", default_value_t = REQUEST_RETENTION_DAYS)]
    pub request_retention_days: u32,
}

/// Days for which the outcomes of requests are kept unless said otherwise.
pub const REQUEST_RETENTION_DAYS: u32 = 30;

/// How long the outcomes of requests are kept.
pub fn retention(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 86_400)
}

impl Listen {
    /// Refuses to open an unprotected port to others by accident.
    pub fn check(&self) -> Result<(), PlaintextBeyondLoopback> {
        if self.grpc_listen.ip().is_loopback() || self.allow_plaintext { Ok(()) } else { Err(PlaintextBeyondLoopback) }
    }
}

/// The gRPC port would be open to others.
#[derive(Debug, thiserror::Error)]
#[error(
    "--grpc-listen is not a loopback address, and calls carry neither TLS nor tokens; say --allow-plaintext if only \
     trusted systems reach it"
)]
pub struct PlaintextBeyondLoopback;
