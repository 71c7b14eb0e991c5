#![doc = include_str!("../README.md")]

pub mod access;
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

use inventory_core::engine::clock::Clock;
use inventory_core::model::access::TokenState;
use inventory_core::model::error::Error;
use inventory_core::store::{Open, OpenError, Store};
use tokio::net::TcpListener;

use crate::config::{Listen, PlaintextBeyondLoopback, SchemaChange};

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings would open it to others by accident.
    #[error(transparent)]
    Plaintext(#[from] PlaintextBeyondLoopback),
    /// Nobody would be asked for a token.
    #[error(
        "--grpc-listen (GRPC_LISTEN): {address} is not a loopback address, and the database has no valid token; create \
         one with `inventory-grpc token create`, or pass --allow-anonymous if whoever reaches the port may change stock"
    )]
    Anonymous {
        /// The address.
        address: SocketAddr,
    },
    /// The tokens cannot be read.
    #[error("the tokens cannot be read")]
    Tokens(#[source] Error),
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
    let Listen { database, grpc_listen: address, allow_plaintext: _, request_retention_days: _, migrate, access } =
        settings;
    let how = match migrate {
        SchemaChange::Auto => Open::Migrate,
        SchemaChange::Never => Open::AsIs,
    };
    let opened = tokio::task::spawn_blocking(move || Store::open(database.database_url, how)).await;
    // The task fails only by a panic, which belongs to whoever started it.
    let store = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    if !address.ip().is_loopback() && !access.allow_anonymous {
        let (tokens, now) = (store.tokens().await.map_err(StartError::Tokens)?, Clock::system().now());
        if tokens.iter().all(|(_, token)| token.state(now) != TokenState::Valid) {
            return Err(StartError::Anonymous { address });
        }
    }
    match TcpListener::bind(address).await {
        Ok(listener) => Ok((store, listener)),
        Err(source) => Err(StartError::Listen { address, source }),
    }
}
