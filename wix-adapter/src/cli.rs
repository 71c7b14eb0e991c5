//! The command line: the subcommands of the program, each with its settings.

use clap::{Parser, Subcommand};
use inventory_program::Sight;

use crate::config::Serve;
use crate::health::Health;
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
    /// Sign a request as Wix does, send it, and print the answer.
    Send(Box<Send>),
    /// Ask the adapter of this machine whether it is ready, as `GET /readyz` does. Exits with 0 if it is, otherwise
    /// with 1. A container's health check can run it, with the variables that `serve` has.
    Health(Health),
}
