//! `wix-adapter health`: asks the adapter of this machine for `/readyz`. It is the health check of a container, which
//! holds no other program that could ask.
//!
//! It needs no settings but those of `serve`, so a container that serves can also be asked. It has no certificate of
//! its own, so it cannot ask a port that has `--tls-client-ca`.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use inventory_program::Out;
use inventory_program::tls::connect_to_own_port;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::reachable;

/// Settings of `health`. They have the names that they have in `serve`.
#[derive(Debug, Clone, Args)]
pub struct Health {
    /// The address of the adapter. An unspecified address (0.0.0.0, ::) stands for this machine.
    #[arg(long, env = "HTTP_LISTEN", default_value = "127.0.0.1:8080")]
    pub http_listen: SocketAddr,
    /// The certificate of the adapter, a PEM file: the port must show this one. Unset: the port has no TLS.
    #[arg(long, env = "TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
}

/// Seconds for the connection and the answer.
const SECONDS_MAX: u64 = 3;
/// What an HTTP answer begins with, up to the status.
const STATUS_LINE: &str = "HTTP/1.1 ";

/// Prints `ready` if the adapter can serve. Otherwise the error says what is wrong.
pub async fn health(settings: Health) -> Result<(), Box<dyn Error>> {
    let address = reachable(settings.http_listen);
    let asked = ask(address, settings.tls_cert.as_deref());
    let asked = tokio::time::timeout(Duration::from_secs(SECONDS_MAX), asked).await;
    match asked.map_err(|_| format!("{address}: no answer within {SECONDS_MAX} seconds"))??.as_str() {
        "200" => Ok(Out::default().line("ready")?),
        "503" => Err(format!("{address}: the adapter is not ready: it stops, or no gRPC server is ready").into()),
        _ => Err(format!("{address}: this is no adapter's port; check --http-listen (HTTP_LISTEN)").into()),
    }
}

/// The status that the port answers with.
async fn ask(address: SocketAddr, certificate: Option<&Path>) -> Result<String, Box<dyn Error>> {
    let mut stream = connect_to_own_port("--http-listen (HTTP_LISTEN)", address, certificate).await?;
    let request = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut answer = [0; STATUS_LINE.len() + 3];
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        stream.read_exact(&mut answer).await
    };
    exchange.await.map_err(|error| format!("{address}: the port does not answer: {error}"))?;
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.strip_prefix(STATUS_LINE).unwrap_or_default().to_owned())
}
