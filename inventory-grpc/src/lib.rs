//! The gRPC server over `inventory-core`.
//!
//! In reading order: [`config`], [`server`]; then, along a call, [`services`], [`decode`],
//! (the core), [`encode`], [`status`]; beside them [`page`]; and the operator's [`commands`].

pub mod commands;
pub mod config;
pub mod decode;
pub mod encode;
pub mod page;
pub mod server;
pub mod services;
pub mod status;

use inventory_core::store::{OpenError, Store};
use tokio::net::TcpListener;

use crate::config::{Listen, PlaintextBeyondLoopback};

/// Why a server cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It would be open to others by accident.
    #[error(transparent)]
    Plaintext(#[from] PlaintextBeyondLoopback),
    /// The database.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The address.
    #[error("cannot listen on the address for gRPC")]
    Listen(#[from] std::io::Error),
}

/// Opens the database and binds the address.
pub async fn open(settings: Listen) -> Result<(Store, TcpListener), StartError> {
    settings.check()?;
    let url = settings.database.database_url;
    let opened = tokio::task::spawn_blocking(|| Store::open(url)).await;
    // The task can only fail by a panic, which belongs to whoever started it.
    let store = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    Ok((store, TcpListener::bind(settings.grpc_listen).await?))
}
