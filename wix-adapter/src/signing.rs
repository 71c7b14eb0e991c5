//! Makes RSA keys and signs requests as Wix does: for `wix-adapter send` and `rehearse`, the demo and the tests.
//!
//! The servers never use it to check a token.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::token::ISSUER;
use crate::wire::Data;

/// Lifetime of a token that is made here, in seconds.
const LIFETIME_SECONDS: u64 = 300;

/// A key cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the key file {path}; name another with --key-file, or make one (see --help)")]
    File {
        /// Its path.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("the key file {path} holds no RSA private key in PEM (BEGIN PRIVATE KEY or BEGIN RSA PRIVATE KEY)")]
    Content {
        /// Its path.
        path: String,
    },
    /// The generator failed.
    #[error("an RSA key cannot be generated")]
    Generate,
    /// A file cannot be written.
    #[error("cannot write the key file {path}; name another, or run in a folder that is writable")]
    Write {
        /// Its path.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
}

/// A private key and its public half.
pub struct KeyFiles {
    /// The private key: PKCS#8, PEM.
    pub private: String,
    /// The public key: SPKI, PEM, the form in which Wix shows it.
    pub public: String,
}

/// Makes a new RSA key of 2,048 bits, the size in Wix's examples.
pub fn generate() -> Result<KeyFiles, KeyError> {
    generate_of(KeySize::Rsa2048)
}

/// Makes a new RSA key of any size.
pub(crate) fn generate_of(size: KeySize) -> Result<KeyFiles, KeyError> {
    let pair = KeyPair::generate(size).map_err(|_| KeyError::Generate)?;
    let private: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyError::Generate)?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| KeyError::Generate)?;
    Ok(KeyFiles { private: pem("PRIVATE KEY", private.as_ref()), public: pem("PUBLIC KEY", public.as_ref()) })
}

/// Makes a new private key that nobody else knows.
pub fn generate_private() -> Result<EncodingKey, KeyError> {
    EncodingKey::from_rsa_pem(generate()?.private.as_bytes()).map_err(|_| KeyError::Generate)
}

/// Makes a new key as files: `private`, which only its owner may read and which must not exist yet, and the public key
/// beside it. Returns the path of the public key.
pub fn write_new(private: &Path) -> Result<PathBuf, KeyError> {
    let cannot_write = |path: &Path| {
        let path = path.display().to_string();
        |source| KeyError::Write { path, source }
    };
    let (files, public) = (generate()?, public_file(private));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(private).map_err(cannot_write(private))?;
    file.write_all(files.private.as_bytes()).map_err(cannot_write(private))?;
    std::fs::write(&public, files.public).map_err(cannot_write(&public))?;
    Ok(public)
}

/// The file of the public key beside that of a private key: `key.public.pem` beside `key.pem`.
pub fn public_file(private: &Path) -> PathBuf {
    private.with_extension("public.pem")
}

/// Reads a private RSA key from a PEM file.
pub fn read_private(path: &Path) -> Result<EncodingKey, KeyError> {
    let shown = || path.display().to_string();
    let text = std::fs::read(path).map_err(|source| KeyError::File { path: shown(), source })?;
    EncodingKey::from_rsa_pem(&text).map_err(|_| KeyError::Content { path: shown() })
}

#[derive(Serialize)]
struct Claims<'a> {
    data: &'a Data<'a>,
    aud: &'a str,
    iss: &'static str,
    iat: u64,
    exp: u64,
}

/// When a token is issued and expires, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The claim `iat`.
    pub issued: u64,
    /// The claim `exp`.
    pub expires: u64,
}

impl Times {
    /// Issued now, to expire in 300 seconds.
    pub fn now() -> Self {
        let issued = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { issued, expires: issued.saturating_add(LIFETIME_SECONDS) }
    }

    /// Issued so many seconds from now.
    pub fn ahead(seconds: u64) -> Self {
        let Self { issued, expires } = Self::now();
        Self { issued: issued.saturating_add(seconds), expires: expires.saturating_add(seconds) }
    }

    /// Expired so many seconds ago.
    pub fn expired(seconds: u64) -> Self {
        let expires = Self::now().issued.saturating_sub(seconds);
        Self { issued: expires.saturating_sub(LIFETIME_SECONDS), expires }
    }
}

/// A token for `app_id` that carries `data`.
pub fn sign(
    key: &EncodingKey,
    app_id: &str,
    times: Times,
    data: &Data<'_>,
) -> Result<String, jsonwebtoken::errors::Error> {
    let claims = Claims { data, aud: app_id, iss: ISSUER, iat: times.issued, exp: times.expires };
    jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, key)
}

fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in base64.as_bytes().chunks(64) {
        // Base64 is ASCII, so nothing is lost.
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
