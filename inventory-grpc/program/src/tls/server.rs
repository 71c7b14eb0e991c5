//! TLS of a port: the flags, and the refusal to open a port to others without it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::WebPkiClientVerifier;

use crate::listen::Protocol;
use crate::reload::Reloaded;
use crate::signals::Reload;
use crate::tls::{BadFile, Flag, Pair, authorities, provider};

pub(super) const CERT: Flag = "--tls-cert (TLS_CERT)";
const KEY: Flag = "--tls-key (TLS_KEY)";
const CLIENT_CA: Flag = "--tls-client-ca (TLS_CLIENT_CA)";

/// How the ports of a program are protected.
#[derive(Clone, Debug, Default, Args)]
pub struct Protection {
    /// The certificate of the ports for calls: a PEM file, the server's own certificate first. Read again when it
    /// changes. The ports then speak TLS only.
    #[arg(long, env = "TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of that certificate, a PEM file.
    #[arg(long, env = "TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Callers must show a certificate that an authority in this PEM file has signed.
    #[arg(long, env = "TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Listen beyond loopback without TLS, where a proxy does it or where only trusted systems reach the port.
    #[arg(long, env = "ALLOW_PLAINTEXT")]
    pub allow_plaintext: bool,
}

/// Why a port is not opened.
#[derive(Debug, thiserror::Error)]
pub enum Unprotected {
    /// The port would be open to others without TLS.
    #[error(
        "{flag}: {address} is not a loopback address, and the port has no TLS; give --tls-cert and --tls-key, or pass \
         --allow-plaintext if a proxy does TLS or if only trusted systems reach the port"
    )]
    Plaintext {
        /// The flag of the address.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// A flag needs another one.
    #[error("{given} needs {missing}: give both or neither")]
    Half {
        /// The flag that is set.
        given: &'static str,
        /// The flag that is not.
        missing: &'static str,
    },
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] BadFile),
}

/// The TLS of a port, read again when its files change.
pub(crate) type ServerTls = Reloaded<ServerConfig>;

impl Protection {
    /// The same for a port whose callers have no certificates.
    pub fn without_client_certificates(&self) -> Self {
        Self { tls_client_ca: None, ..self.clone() }
    }

    /// Whether the ports speak TLS.
    pub fn is_tls(&self) -> bool {
        self.tls_cert.is_some()
    }

    /// The TLS for the port that `flag` opens at `address`; `None` for a port without TLS, which must be allowed there.
    pub(crate) fn of_port(
        &self,
        flag: Flag,
        address: SocketAddr,
        protocol: Protocol,
        reload: Reload,
    ) -> Result<Option<ServerTls>, Unprotected> {
        let Some(files) = self.files()? else {
            let allowed = address.ip().is_loopback() || self.allow_plaintext;
            return if allowed { Ok(None) } else { Err(Unprotected::Plaintext { flag, address }) };
        };
        let mut paths = vec![files.pair.certificate.1.clone(), files.pair.key.1.clone()];
        paths.extend(files.client_ca.clone());
        Ok(Some(Reloaded::follow(CERT, paths, reload, move || files.load(protocol))?))
    }

    /// The files, if there are any. A flag that misses its other half is an error.
    fn files(&self) -> Result<Option<Files>, Unprotected> {
        let half = |given, missing| Err(Unprotected::Half { given, missing });
        match (self.tls_cert.clone(), self.tls_key.clone(), self.tls_client_ca.clone()) {
            (Some(certificate), Some(key), client_ca) => {
                Ok(Some(Files { pair: Pair { certificate: (CERT, certificate), key: (KEY, key) }, client_ca }))
            }
            (None, None, None) => Ok(None),
            (Some(_), None, _) => half(CERT, KEY),
            (None, Some(_), _) => half(KEY, CERT),
            (None, None, Some(_)) => half(CLIENT_CA, CERT),
        }
    }
}

struct Files {
    pair: Pair,
    client_ca: Option<PathBuf>,
}

impl Files {
    fn load(&self, protocol: Protocol) -> Result<ServerConfig, BadFile> {
        let (chain, key) = self.pair.read()?;
        let refused = |source| self.pair.refused(source);
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(refused)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(authorities(CLIENT_CA, path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
                let (flag, path) = (CLIENT_CA, path.clone());
                let verifier = verifier.map_err(|source| BadFile::Authority { flag, path, source })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(refused)?;
        config.alpn_protocols = vec![protocol.alpn().to_vec()];
        Ok(config)
    }
}
