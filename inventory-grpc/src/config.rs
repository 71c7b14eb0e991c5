//! The settings of the program. Each is a flag, most are an environment variable too, and all are read once, at the
//! start. A wrong value ends the program with a sentence that names the flag.

pub mod by_hand;
pub mod databases;
pub mod retention;
pub mod token;
pub mod unit_name;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use inventory_core::store::DatabaseUrl;
use inventory_program::Sight;
use inventory_program::drain::Drain;
use inventory_program::tls::{GrpcUpstream, Protection};

use crate::server::Options;

/// The gRPC server of the stock service, and the operator's commands.
#[derive(Debug, Parser)]
#[command(name = "inventory-grpc", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What it tells of its work.
    #[command(flatten)]
    pub sight: Sight,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring the schema up to date, unless `--migrate never`, then serve.
    Serve(Serve),
    /// Bring the schema up to date, and nothing else.
    Migrate(Migrate),
    /// Set levels and units' settings from a file. If any row is bad, nothing is imported.
    ///
    /// The file is CSV with a header, or NDJSON with one object per line; both have the same names. A row names a unit
    /// by `app_id`, `catalog_item_id` and perhaps `options` (a JSON object), or by `sku` alone. `available` is the
    /// level at `location_id` (empty: the default location). `sku` beside a catalog item, `name`, `tracking` (QUANTITY,
    /// STATUS or UNTRACKED), `backorder_limit`, `counts_subscriptions` (true or false), `sell_from` and `sell_until`
    /// (times such as 2026-11-24T18:00:00Z) are settings of the unit. An empty or absent value leaves what it stands
    /// for as it is.
    ///
    /// The same file imported again sets no level, even if stock was sold since, unless you pass `--again`, or the
    /// server has deleted the old outcomes (`--request-retention-days`). An interrupted import continues where it
    /// stopped. The settings are written each time.
    Import(Import),
    /// Write stock or the ledger as CSV or NDJSON. Exported stock can be imported again.
    Export(Export),
    /// Add up the ledger of a site and compare it with every level. Exits with 1 if they differ.
    Verify(Verify),
    /// Write everything of a database on SQLite to a new file, while its servers go on. The file is checked before it
    /// appears under its name. For Postgres use its own means.
    Backup(databases::Backup),
    /// Copy everything of a database into an empty one, such as from SQLite to Postgres, and compare both. Interrupted,
    /// the same command goes on where it stopped.
    Copy(databases::Copy),
    /// Ask a running server whether it is ready: whether its writers can commit. Exits with 0 if they can, otherwise
    /// with 1. It needs no token. A container's health check can run it.
    Health(GrpcUpstream),
    /// Show, set and adjust stock levels.
    #[command(subcommand)]
    Stock(by_hand::Stock),
    /// Explain a level: what made it, which orders hold pieces, its last entries, and how the unit is counted.
    #[command(after_help = by_hand::UNIT)]
    Why(by_hand::Why),
    /// Show an order: what it holds, and each of its calls with its outcome.
    Order(by_hand::Order),
    /// Print every ledger entry of a site as it happens, one line each. Goes on after the server was away.
    Watch(by_hand::Watch),
    /// Create, list and revoke the tokens of callers.
    #[command(subcommand)]
    Token(token::Command),
    /// Archive old entries of all sites.
    #[command(subcommand)]
    Ledger(retention::LedgerCommand),
    /// Delete a site.
    #[command(subcommand)]
    Site(retention::SiteCommand),
}

/// How to migrate.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Which database.
    #[command(flatten)]
    pub database: Database,
    /// Also let this role of Postgres run the service (`serve --migrate never`): it may read, add and change what the
    /// service needs, and nothing else. It can neither change nor remove entries of the ledger. Run the command as the
    /// owner of the tables.
    #[arg(long)]
    pub grant_to: Option<String>,
}

/// Whether a server brings the schema up to date when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaChange {
    /// It does, if a step is missing. To look for one, it only reads.
    Auto,
    /// It does not. If the schema lacks a step, it does not start.
    Never,
}

/// A site of a running server.
#[derive(Debug, Args)]
pub struct Remote {
    /// The running server.
    #[command(flatten)]
    pub server: GrpcUpstream,
    /// A file that holds the token for the running server. A server on loopback needs none until a token is created.
    #[arg(long, env = "TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// The site, a GUID. For Wix, the `instanceId` of the app's installation.
    #[arg(long, env = "SITE_ID")]
    pub site_id: String,
}

/// Whom the operator's commands ask: a running server, or a database that they open themselves.
#[derive(Debug, Args)]
pub struct Upstream {
    /// The site of the running server.
    #[command(flatten)]
    pub remote: Remote,
    /// Open this database instead of asking a server. `import` brings its schema up to date; `export` and `verify`
    /// write nothing, unless `verify` repairs, and work on a read-only copy.
    #[arg(long)]
    pub database_url: Option<DatabaseUrl>,
}

/// What to import.
#[derive(Debug, Args)]
pub struct Import {
    /// Whom to ask.
    #[command(flatten)]
    pub upstream: Upstream,
    /// The file, or `-` for standard input.
    pub file: PathBuf,
    /// The format. Unset: by the file's name, otherwise CSV.
    #[arg(long)]
    pub format: Option<Format>,
    /// Change no stock. Print what would change if the file were new. A new database gets its schema.
    #[arg(long)]
    pub dry_run: bool,
    /// Set the levels even if this file was imported before.
    #[arg(long)]
    pub again: bool,
}

/// What to export.
#[derive(Debug, Args)]
pub struct Export {
    /// What.
    pub what: What,
    /// Whom to ask.
    #[command(flatten)]
    pub upstream: Upstream,
    /// The file to write. Unset: standard output.
    #[arg(long)]
    pub output: Option<PathBuf>,
    /// The format. Unset: by the file's name, otherwise CSV.
    #[arg(long)]
    pub format: Option<Format>,
}

/// What to verify.
#[derive(Debug, Args)]
pub struct Verify {
    /// Whom to ask.
    #[command(flatten)]
    pub upstream: Upstream,
    /// Set every level that differs to the sum of its entries, by entries that everybody can see.
    #[arg(long)]
    pub repair: bool,
}

/// What can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Every level and every unit, in the order of app id, item id, options and location. A unit that was never stocked
    /// has a row only if it has settings or pieces. Settings that a unit has from its catalog are not written.
    Stock,
    /// Every entry, in the order of sequence numbers.
    Ledger,
}

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object per line.
    Ndjson,
}

impl Format {
    /// The format that was asked for, or that of the file's name, or CSV.
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
    /// Address and port for Prometheus metrics (GET /metrics); port 0 takes any free port. Off unless set.
    #[arg(long, env = "ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,
    /// How to stop.
    #[command(flatten)]
    pub drain: Drain,
}

/// Where to listen, and on which database.
#[derive(Debug, Args)]
pub struct Listen {
    /// Which database.
    #[command(flatten)]
    pub database: Database,
    /// Address and port for gRPC. Port 0 takes any free one.
    #[arg(long, env = "GRPC_LISTEN", default_value = "127.0.0.1:50051")]
    pub grpc_listen: SocketAddr,
    /// Who can read and change what travels.
    #[command(flatten)]
    pub protection: Protection,
    /// Days for which the outcome of a request is kept, at least 1. A replay after that is a new request.
    #[arg(long, env = "REQUEST_RETENTION_DAYS", default_value_t = DAYS, value_parser = retention_days)]
    pub request_retention_days: u32,
    /// Whether to bring the schema up to date at the start.
    #[arg(long, env = "MIGRATE", default_value = "auto")]
    pub migrate: SchemaChange,
    /// Who may call.
    #[command(flatten)]
    pub access: Access,
}

/// Who may call.
#[derive(Debug, Args)]
pub struct Access {
    /// Accept calls without a token, even if there are tokens: whoever reaches the port can change stock.
    #[arg(long, env = "ALLOW_ANONYMOUS")]
    pub allow_anonymous: bool,
    /// Do not describe the service to callers that ask for it by gRPC reflection, as grpcurl does.
    #[arg(long, env = "NO_REFLECTION")]
    pub no_reflection: bool,
}

/// Days for which the outcomes of requests are kept by default.
pub const DAYS: u32 = 30;

fn retention_days(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1: without recorded outcomes, a replay would be applied a second time".into()),
        Ok(days) => Ok(days),
        Err(_) => Err("must be a number of days, at least 1".into()),
    }
}

/// How long the outcomes of requests are kept.
pub fn retention(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 86_400)
}

impl Listen {
    /// How the server works.
    pub fn options(&self) -> Options {
        Options {
            retention: Some(retention(self.request_retention_days)),
            allow_anonymous: self.access.allow_anonymous,
            reflection: !self.access.no_reflection,
            ..Options::default()
        }
    }
}
