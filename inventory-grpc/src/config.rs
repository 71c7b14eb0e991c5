//! Settings: each a flag and an environment variable, read once.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};
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
