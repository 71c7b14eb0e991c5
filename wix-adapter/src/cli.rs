//! The command line: the subcommands of the program, each with its settings.

use clap::{Parser, Subcommand};
use inventory_program::Sight;

use crate::config::Serve;
use crate::health::Health;
use crate::rehearse::Rehearse;
use crate::send::Send;
#[cfg(feature = "standalone")]
use crate::standalone::Standalone;

/// Turns the signed calls of Wix's Inventory Service Plugin into calls of the stock service.
#[derive(Debug, Parser)]
#[command(name = "wix-adapter", version)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
    /// What it tells of its work.
    #[command(flatten)]
    pub sight: Sight,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve Wix; the gRPC server `inventory-grpc` runs elsewhere.
    Serve(Box<Serve>),
    /// Serve Wix and gRPC in one process, on one database.
    #[cfg(feature = "standalone")]
    Standalone(Box<Standalone>),
    /// Sign calls as Wix does, send them, and print what comes back: one call, or a scenario.
    Send(Box<Send>),
    /// Try a deployment through its public URL before Wix does: TLS, path, keys, clock, both calls, a replay, a
    /// refusal, 300 items, and how long it takes. Exits with 0 if all is well, with 1 if a check failed, and with 2 if
    /// the rehearsal could not begin.
    Rehearse(Box<Rehearse>),
    /// Ask the adapter of this machine whether it is ready, as `GET /readyz` does. Exits with 0 if it is, otherwise
    /// with 1. A container's health check can run it, with the variables that `serve` has.
    Health(Health),
}
