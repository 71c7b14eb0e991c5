//! TLS of both programs: rustls on aws-lc-rs, certificates in PEM files, reloaded when they change.
//!
//! A new certificate goes for new connections; those that are open keep theirs. TLS 1.2 and 1.3 are spoken.

mod own;
mod server;
#[cfg(test)]
mod tests;
mod upstream;
mod upstreams;
mod web;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, RootCertStore};

pub use self::own::{Duplex, OwnPortError, connect_to_own_port};
pub(crate) use self::server::ServerTls;
pub use self::server::{Protection, Unprotected};
pub(crate) use self::upstream::{ALPN_GRPC, connector};
pub use self::upstream::{BadUpstream, GrpcUpstream, UpstreamTls};
pub use self::upstreams::GrpcUpstreams;
pub use self::web::{BadWebServer, NoTls, Shown, WebServer};

/// A flag with its variable, as errors name it: `--tls-cert (TLS_CERT)`.
type Flag = &'static str;

/// A file of certificates or keys that cannot be used. The text names the flag and the file.
#[derive(Debug, thiserror::Error)]
pub enum BadFile {
    /// The file cannot be read.
    #[error("{flag}: {} cannot be read", path.display())]
    Unreadable {
        /// The flag that names the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file has nothing of what it should have.
    #[error("{flag}: {} holds no {what} in PEM ({expected})", path.display())]
    Empty {
        /// The flag that names the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
        /// The first line of what is missing.
        expected: &'static str,
    },
    /// The file is not PEM.
    #[error("{flag}: {} is not PEM that can be read", path.display())]
    NotPem {
        /// The flag that names the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: pem::Error,
    },
    /// The certificate and the key are of different pairs.
    #[error("{flag}: the key in {} does not match the first certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The flag that names the key's file.
        flag: &'static str,
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// The TLS library refuses the content.
    #[error("{flag}: {} cannot be used", path.display())]
    Refused {
        /// The flag that names the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
    /// The authority's certificates cannot be used to check certificates of clients.
    #[error("{flag}: {} cannot be used to check certificates", path.display())]
    Authority {
        /// The flag that names the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rustls::server::VerifierBuilderError,
    },
}

/// The only provider of cryptography.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A certificate with its key, as two files.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    certificate: (Flag, PathBuf),
    key: (Flag, PathBuf),
}

impl Pair {
    /// The chain, the end entity's certificate first, and the key. They may still be of different pairs.
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), BadFile> {
        let (flag, path) = &self.key;
        let key = match PrivateKeyDer::from_pem_slice(&read(flag, path)?) {
            Ok(key) => key,
            Err(pem::Error::NoItemsFound) => {
                let (what, expected) = ("private key", "BEGIN PRIVATE KEY");
                return Err(BadFile::Empty { flag, path: path.clone(), what, expected });
            }
            Err(source) => return Err(BadFile::NotPem { flag, path: path.clone(), source }),
        };
        Ok((certificates(self.certificate.0, &self.certificate.1)?, key))
    }

    /// The error for what the library says of the pair.
    fn refused(&self, source: rustls::Error) -> BadFile {
        match source {
            rustls::Error::InconsistentKeys(_) => {
                let (key, certificate) = (self.key.1.clone(), self.certificate.1.clone());
                BadFile::Mismatch { flag: self.key.0, key, certificate }
            }
            source => BadFile::Refused { flag: self.certificate.0, path: self.certificate.1.clone(), source },
        }
    }
}

/// The authorities in a file, at least one.
fn authorities(flag: Flag, path: &Path) -> Result<RootCertStore, BadFile> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(flag, path)? {
        store.add(certificate).map_err(|source| BadFile::Refused { flag, path: path.to_owned(), source })?;
    }
    Ok(store)
}

fn certificates(flag: Flag, path: &Path) -> Result<Vec<CertificateDer<'static>>, BadFile> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(flag, path)?).collect();
    let found = found.map_err(|source| BadFile::NotPem { flag, path: path.to_owned(), source })?;
    if found.is_empty() {
        let (what, expected) = ("certificate", "BEGIN CERTIFICATE");
        return Err(BadFile::Empty { flag, path: path.to_owned(), what, expected });
    }
    Ok(found)
}

fn read(flag: Flag, path: &Path) -> Result<Vec<u8>, BadFile> {
    std::fs::read(path).map_err(|source| BadFile::Unreadable { flag, path: path.to_owned(), source })
}
