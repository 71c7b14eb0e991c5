//! The settings of the program. Each is a flag and an environment variable, and is read once at the start.
//!
//! The comments of the fields are the text of `--help`. A wrong setting is an error that names its flag and variable.
//! Public keys are never printed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use inventory_program::{Reload, Reloaded};
use inventory_proto::{Bearer, NoToken};
use jsonwebtoken::DecodingKey;
use tonic::transport::Endpoint;

use crate::keys::{self, BadKey};

/// Settings of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// The listeners.
    #[command(flatten)]
    pub http: Http,
    /// The tokens to accept.
    #[command(flatten)]
    pub wix: Wix,
    /// The gRPC server: `HOST:PORT` or `http://HOST:PORT`.
    #[arg(long, env = "GRPC_UPSTREAM", default_value = "http://127.0.0.1:50051", value_parser = endpoint)]
    pub grpc_upstream: Endpoint,
    /// A file that holds the token for the gRPC server. It needs the scope `orders`. The file is read again when it
    /// changes. Unset: the adapter calls without a token.
    #[arg(long, env = "UPSTREAM_TOKEN_FILE")]
    pub upstream_token_file: Option<PathBuf>,
}

/// The token's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadTokenFile {
    /// It cannot be read.
    #[error("--upstream-token-file (UPSTREAM_TOKEN_FILE): {path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// It holds no token.
    #[error("--upstream-token-file (UPSTREAM_TOKEN_FILE): {path}")]
    NoToken {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: NoToken,
    },
}

impl Serve {
    /// The token for the gRPC server, which follows its file. Must be called inside the runtime.
    pub fn bearer(&self, reload: Reload) -> Result<Reloaded<Bearer>, BadTokenFile> {
        let Some(path) = self.upstream_token_file.clone() else { return Ok(Reloaded::fixed(Bearer::NONE)) };
        Reloaded::follow("--upstream-token-file", vec![path.clone()], reload, move || {
            let text = std::fs::read_to_string(&path);
            let text = text.map_err(|source| BadTokenFile::Read { path: path.clone(), source })?;
            Bearer::new(&text).map_err(|source| BadTokenFile::NoToken { path: path.clone(), source })
        })
    }
}

/// The listeners.
#[derive(Debug, Args)]
pub struct Http {
    /// Address and port for HTTP; port 0 takes any free port. Wix calls only https, so put a TLS proxy before it.
    /// Every call is signed, so it may listen beyond loopback.
    #[arg(long, env = "HTTP_LISTEN", default_value = "127.0.0.1:8080")]
    pub http_listen: SocketAddr,
    /// Address and port for Prometheus metrics (GET /metrics); off unless set.
    #[arg(long, env = "ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,
}

/// The tokens to accept.
#[derive(Debug, Args)]
pub struct Wix {
    /// The app's id: the `aud` of every token.
    #[arg(long, env = "WIX_APP_ID")]
    pub wix_app_id: Option<String>,
    /// The app's public key, as PEM, base64 of PEM, or base64 of DER. Repeatable, or separated by commas: a token is
    /// accepted under any of the keys, so that keys can be rotated.
    #[arg(long, env = "WIX_PUBLIC_KEY", value_delimiter = ',', hide_env_values = true)]
    pub wix_public_key: Vec<String>,
    /// A file that holds one or more public keys. Repeatable, or separated by commas.
    #[arg(long, env = "WIX_PUBLIC_KEY_FILE", value_delimiter = ',')]
    pub wix_public_key_file: Vec<PathBuf>,
}

/// A setting that is missing or wrong.
#[derive(Debug, thiserror::Error)]
pub enum BadSetting {
    /// The app id is missing.
    #[error("--wix-app-id (WIX_APP_ID) is required: give the app's id from its dashboard")]
    NoAppId,
    /// No public key is given.
    #[error("--wix-public-key (WIX_PUBLIC_KEY) or --wix-public-key-file (WIX_PUBLIC_KEY_FILE) is required")]
    NoKey,
    /// A key cannot be read.
    #[error("public key {number} cannot be read (counted over --wix-public-key, then --wix-public-key-file)")]
    Key {
        /// Its number, from 1, over the values and then the files.
        number: usize,
        /// The cause.
        source: BadKey,
    },
    /// A key file cannot be read.
    #[error("--wix-public-key-file (WIX_PUBLIC_KEY_FILE): {path} cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl Wix {
    /// The app id and all keys, at least one. Reads the key files.
    pub fn read(&self) -> Result<(String, Vec<DecodingKey>), BadSetting> {
        let app_id = self.wix_app_id.clone().filter(|id| !id.is_empty()).ok_or(BadSetting::NoAppId)?;
        let mut found = Vec::new();
        for text in &self.wix_public_key {
            let number = found.len() + 1;
            found.push(keys::parse(text).map_err(|source| BadSetting::Key { number, source })?);
        }
        for path in &self.wix_public_key_file {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|source| BadSetting::File { path: path.clone(), source })?;
            let number = found.len() + 1;
            found.extend(keys::parse_file(&text).map_err(|source| BadSetting::Key { number, source })?);
        }
        if found.is_empty() { Err(BadSetting::NoKey) } else { Ok((app_id, found)) }
    }
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    match Endpoint::from_shared(url) {
        Ok(endpoint) if endpoint.uri().scheme_str() == Some("http") => Ok(endpoint),
        Ok(_) | Err(_) => Err("must be HOST:PORT or http://HOST:PORT".into()),
    }
}
