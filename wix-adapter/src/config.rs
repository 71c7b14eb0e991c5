//! The settings of the program. Each is a flag and an environment variable, and is read once at the start;
//! files of keys and certificates are read again when they change.
//!
//! The comments of the fields are the text of `--help`. A wrong setting is an error that names its flag and variable.
//! Public keys are never printed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use inventory_program::drain::Drain;
use inventory_program::tls::{GrpcUpstreams, Protection};
use inventory_program::{Reload, Reloaded};
use inventory_proto::{BadTokenFile, Bearer};

use crate::keys::{self, BadKey, PublicKey};

/// Characters of an app id. Those of Wix are GUIDs (documented); any short name without spaces works with a simulator.
const APP_ID_CHARS_MAX: usize = 100;

/// Settings of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// The listeners.
    #[command(flatten)]
    pub http: Http,
    /// The tokens to accept.
    #[command(flatten)]
    pub wix: Wix,
    /// The gRPC servers.
    #[command(flatten)]
    pub upstreams: GrpcUpstreams,
    /// Who can read and change what travels.
    #[command(flatten)]
    pub protection: Protection,
    /// A file that holds the token for the gRPC servers. It needs the scope `orders`. The file is read again when it
    /// changes. Unset: the adapter calls without a token.
    #[arg(long, env = "UPSTREAM_TOKEN_FILE")]
    pub upstream_token_file: Option<PathBuf>,
    /// How to stop.
    #[command(flatten)]
    pub drain: Drain,
}

/// The flag of the token, as errors name it.
const TOKEN_FILE: &str = "--upstream-token-file (UPSTREAM_TOKEN_FILE)";

impl Serve {
    /// The token for the gRPC server, which follows its file. Must be called inside the runtime.
    pub fn bearer(&self, reload: Reload) -> Result<Reloaded<Bearer>, BadTokenFile> {
        let Some(path) = self.upstream_token_file.clone() else { return Ok(Reloaded::fixed(Bearer::NONE)) };
        let files = vec![path.clone()];
        Reloaded::follow("--upstream-token-file", files, reload, move || Bearer::read(TOKEN_FILE, &path))
    }
}

/// The listeners.
#[derive(Debug, Args)]
pub struct Http {
    /// Address and port for HTTP; port 0 takes any free port. Wix calls only https: give a certificate, or put a TLS
    /// proxy before it.
    #[arg(long, env = "HTTP_LISTEN", default_value = "127.0.0.1:8080")]
    pub http_listen: SocketAddr,
    /// Address and port for Prometheus metrics (GET /metrics); port 0 takes any free port. Off unless set.
    #[arg(long, env = "ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,
}

/// The tokens to accept.
#[derive(Clone, Debug, Args)]
pub struct Wix {
    /// The app's id: the `aud` of every token.
    #[arg(long, env = "WIX_APP_ID")]
    pub wix_app_id: Option<String>,
    /// The app's public key, as PEM, base64 of PEM, or base64 of DER. Repeatable, or separated by commas: a token is
    /// accepted under any of the keys, so that keys can be rotated.
    #[arg(long, env = "WIX_PUBLIC_KEY", value_delimiter = ',', hide_env_values = true)]
    pub wix_public_key: Vec<String>,
    /// A file that holds one or more public keys. Repeatable, or separated by commas. Read again when it changes.
    #[arg(long, env = "WIX_PUBLIC_KEY_FILE", value_delimiter = ',')]
    pub wix_public_key_file: Vec<PathBuf>,
    /// A file with the public key of `wix-adapter rehearse`. It is believed for the rehearsal's site alone
    /// (7e577e57-7e57-4e57-8e57-7e577e577e57). Read again when it changes. Unset: nobody can rehearse.
    #[arg(long, env = "REHEARSAL_PUBLIC_KEY_FILE", value_name = "FILE")]
    pub rehearsal_public_key_file: Option<PathBuf>,
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
    /// The app id is not one of Wix.
    #[error("--wix-app-id (WIX_APP_ID): {app_id:?} is no app id; copy it from the app's dashboard")]
    BadAppId {
        /// The value.
        app_id: String,
    },
    /// A key cannot be read.
    #[error("--wix-public-key (WIX_PUBLIC_KEY): public key {number} cannot be read")]
    Key {
        /// Its number among the values, from 1.
        number: usize,
        /// The cause.
        source: BadKey,
    },
    /// A key in a file cannot be read.
    #[error("{flag}: {path} holds no public key that can be read")]
    KeyOfFile {
        /// The flag that names the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: BadKey,
    },
    /// A key file cannot be read.
    #[error("{flag}: {path} cannot be read")]
    File {
        /// The flag that names the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl Wix {
    /// The app id and all keys, at least one. The keys are read again when a file of theirs changes or when `reload`
    /// asks for it. Must be called inside the runtime.
    pub fn read(&self, reload: Reload) -> Result<(String, Reloaded<Vec<PublicKey>>), BadSetting> {
        let app_id = self.wix_app_id.clone().filter(|id| !id.is_empty()).ok_or(BadSetting::NoAppId)?;
        if app_id.chars().count() > APP_ID_CHARS_MAX || app_id.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(BadSetting::BadAppId { app_id });
        }
        let wix = self.clone();
        let keys = move || wix.keys();
        Ok((app_id, Reloaded::follow("--wix-public-key-file", self.wix_public_key_file.clone(), reload, keys)?))
    }

    fn keys(&self) -> Result<Vec<PublicKey>, BadSetting> {
        let mut found = Vec::new();
        for (number, text) in (1..).zip(&self.wix_public_key) {
            found.push(keys::parse(text).map_err(|source| BadSetting::Key { number, source })?);
        }
        for path in &self.wix_public_key_file {
            found.extend(keys_of_file(KEY_FILE, path)?);
        }
        if found.is_empty() { Err(BadSetting::NoKey) } else { Ok(found) }
    }

    /// The keys of rehearsals; `None` if nobody may rehearse. Must be called inside the runtime.
    pub fn rehearsal(&self, reload: Reload) -> Result<Option<Reloaded<Vec<PublicKey>>>, BadSetting> {
        let Some(path) = self.rehearsal_public_key_file.clone() else { return Ok(None) };
        let load = move || keys_of_file(REHEARSAL_KEY_FILE, &path);
        let files = self.rehearsal_public_key_file.clone().into_iter().collect();
        Reloaded::follow("--rehearsal-public-key-file", files, reload, load).map(Some)
    }
}

/// The flags that name files of keys, as errors name them.
const KEY_FILE: &str = "--wix-public-key-file (WIX_PUBLIC_KEY_FILE)";
const REHEARSAL_KEY_FILE: &str = "--rehearsal-public-key-file (REHEARSAL_PUBLIC_KEY_FILE)";

/// The keys in the file that `flag` names, at least one.
fn keys_of_file(flag: &'static str, path: &Path) -> Result<Vec<PublicKey>, BadSetting> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| BadSetting::File { flag, path: path.to_owned(), source })?;
    keys::parse_file(&text).map_err(|source| BadSetting::KeyOfFile { flag, path: path.to_owned(), source })
}
