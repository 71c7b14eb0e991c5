#![doc = include_str!("../README.md")]

pub mod access;
mod calls;
pub mod commands;
pub mod config;
mod decode;
mod encode;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod gauges;
mod large;
mod page;
mod receive;
pub mod server;
mod services;
mod status;
mod violation;

use std::net::SocketAddr;

use inventory_core::engine::clock::Clock;
use inventory_core::model::access::TokenState;
use inventory_core::model::error::Error;
use inventory_core::store::{Open, OpenError, Store};
use inventory_program::Reload;
use inventory_program::listen::{ListenError, Listener, Protocol};

use crate::config::{Listen, SchemaChange};

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
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
    /// The address cannot be opened, or must not be.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// Logs the start of a server on a database of `backend`: the one line that says what runs, and where.
pub fn tell_start(backend: &'static str, grpc: SocketAddr, http: Option<SocketAddr>, admin: Option<SocketAddr>) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        schema = Store::schema().unwrap_or_default(),
        backend,
        grpc = %grpc,
        http = http.map(display),
        admin = admin.map(display),
        "started",
    );
}

/// Opens the database and binds the address. Serves nothing yet. `reload` asks for certificates to be read again.
pub async fn open(settings: &Listen, reload: Reload) -> Result<(Store, Listener), StartError> {
    let Listen { database, grpc_listen: address, protection, request_retention_days: _, migrate, access } = settings;
    let (flag, address) = ("--grpc-listen (GRPC_LISTEN)", *address);
    // The listener comes first: a port that must not be opened is refused before the schema is changed.
    let listener = Listener::bind(flag, address, Protocol::Http2, protection, reload)?;
    let how = match migrate {
        SchemaChange::Auto => Open::Migrate,
        SchemaChange::Never => Open::AsIs,
    };
    let url = database.database_url.clone();
    let opened = tokio::task::spawn_blocking(move || Store::open(url, how)).await;
    // The task fails only by a panic, which belongs to whoever started it.
    let store = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    if !address.ip().is_loopback() && !access.allow_anonymous {
        let (tokens, now) = (store.tokens().await.map_err(StartError::Tokens)?, Clock::system().now());
        if tokens.iter().all(|(_, token)| token.state(now) != TokenState::Valid) {
            return Err(StartError::Anonymous { address });
        }
    }
    Ok((store, listener))
}
