#![doc = include_str!("../README.md")]

pub mod commands;
pub mod config;
mod decode;
mod encode;
mod page;
pub mod server;
mod services;
mod status;
mod violation;

use std::net::SocketAddr;

use inventory_core::store::{OpenError, Store};
use tokio::net::TcpListener;

use crate::config::{Listen, PlaintextBeyondLoopback};

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings would open it to others by accident.
    #[error(transparent)]
    Plaintext(#[from] PlaintextBeyondLoopback),
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The address cannot be bound.
    #[error("--grpc-listen (GRPC_LISTEN): cannot listen on {address}; choose an address and port that are free")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
}

/// Opens the database and binds the address. Serves nothing yet.
pub async fn open(settings: Listen) -> Result<(Store, TcpListener), StartError> {
    settings.check()?;
    let Listen { database, grpc_listen: address, allow_plaintext: _, request_retention_days: _ } = settings;
    let opened = tokio::task::spawn_blocking(|| Store::open(database.database_url)).await;
    // The task fails only by a panic, which belongs to whoever started it.
    let store = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    match TcpListener::bind(address).await {
        Ok(listener) => Ok((store, listener)),
        Err(source) => Err(StartError::Listen { address, source }),
    }
}
