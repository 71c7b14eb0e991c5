//! The gRPC server that a program calls, over TLS or without: the flags, and the connection.
//!
//! The server's certificate is checked against `--upstream-ca` alone; the authorities of the system do not count. All
//! three files are read again when they change: new connections use the new ones.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use clap::Args;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

use crate::reload::Reloaded;
use crate::signals::Reload;
use crate::tls::{BadFile, Flag, Pair, authorities, provider};

const CA: Flag = "--upstream-ca (UPSTREAM_CA)";
const CERT: Flag = "--upstream-cert (UPSTREAM_CERT)";
const KEY: Flag = "--upstream-key (UPSTREAM_KEY)";
const UPSTREAM: Flag = "--grpc-upstream (GRPC_UPSTREAM)";

/// The gRPC server to call.
#[derive(Clone, Debug, Args)]
pub struct GrpcUpstream {
    /// The gRPC server: HOST:PORT, http://HOST:PORT or https://HOST:PORT.
    #[arg(long, visible_alias = "server", env = "GRPC_UPSTREAM")]
    #[arg(default_value = "127.0.0.1:50051", value_parser = endpoint)]
    pub grpc_upstream: Endpoint,
    /// How to trust it.
    #[command(flatten)]
    pub tls: UpstreamTls,
}

/// How to trust servers that are called over TLS.
#[derive(Clone, Debug, Args)]
pub struct UpstreamTls {
    /// For https: an authority in this PEM file must have signed the server's certificate. Read again when it changes.
    #[arg(long, env = "UPSTREAM_CA", value_name = "FILE")]
    pub upstream_ca: Option<PathBuf>,
    /// For https: the certificate to show to the server, a PEM file. Needed where the server has --tls-client-ca.
    #[arg(long, env = "UPSTREAM_CERT", value_name = "FILE")]
    pub upstream_cert: Option<PathBuf>,
    /// The private key of that certificate, a PEM file.
    #[arg(long, env = "UPSTREAM_KEY", value_name = "FILE")]
    pub upstream_key: Option<PathBuf>,
}

/// Why the server cannot be called. The text names the flag.
#[derive(Debug, thiserror::Error)]
pub enum BadUpstream {
    /// The authority is missing.
    #[error("{UPSTREAM}: {uri} is https, so {CA} is required: the file of the authority that signed its certificate")]
    NoAuthority {
        /// The URL.
        uri: Uri,
    },
    /// Files are given for a server that is reached without TLS.
    #[error("{flag} is set, but {UPSTREAM} {uri} is not https; write https://HOST:PORT, or remove the flag")]
    NotTls {
        /// The flag of the file.
        flag: &'static str,
        /// The URL.
        uri: Uri,
    },
    /// A flag needs another one.
    #[error("{given} needs {missing}: give both or neither")]
    Half {
        /// The flag that is set.
        given: &'static str,
        /// The flag that is not.
        missing: &'static str,
    },
    /// The URL has no host that a certificate can name.
    #[error("{UPSTREAM}: {uri} has no host that a certificate can name")]
    Host {
        /// The URL.
        uri: Uri,
    },
    /// A server is given twice.
    #[error("{UPSTREAM}: {uri} is given twice; remove one of them")]
    Twice {
        /// The URL.
        uri: Uri,
    },
    /// Nothing answers, or not with a certificate of the authority.
    #[error("no server answers at {address}; start it, or name another with {UPSTREAM}")]
    NoAnswer {
        /// The address.
        address: String,
        /// The cause.
        source: tonic::transport::Error,
    },
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] BadFile),
}

impl GrpcUpstream {
    /// A connected channel. It connects again whenever the connection is lost.
    pub async fn connect(&self, settings: impl FnOnce(Endpoint) -> Endpoint) -> Result<Channel, BadUpstream> {
        let endpoint = settings(self.grpc_upstream.clone());
        let channel = match self.connector(Reload::never())? {
            None => endpoint.connect().await,
            Some(connector) => endpoint.connect_with_connector(connector).await,
        };
        channel.map_err(|source| BadUpstream::NoAnswer { address: self.address(), source })
    }

    /// The address without the scheme.
    pub fn address(&self) -> String {
        self.grpc_upstream.uri().authority().map(ToString::to_string).unwrap_or_default()
    }

    /// A channel that connects at the first call, and again whenever the connection is lost. `settings` adds to the
    /// endpoint.
    pub fn channel(&self, settings: impl FnOnce(Endpoint) -> Endpoint, reload: Reload) -> Result<Channel, BadUpstream> {
        let connector = self.connector(reload)?;
        let endpoint = settings(self.grpc_upstream.clone());
        Ok(match connector {
            None => endpoint.connect_lazy(),
            Some(connector) => endpoint.connect_with_connector_lazy(connector),
        })
    }

    /// `None` for a server without TLS.
    fn connector(&self, reload: Reload) -> Result<Option<Connector>, BadUpstream> {
        let uri = self.grpc_upstream.uri();
        let pair = match (&self.tls.upstream_cert, &self.tls.upstream_key) {
            (Some(certificate), Some(key)) => {
                Some(Pair { certificate: (CERT, certificate.clone()), key: (KEY, key.clone()) })
            }
            (None, None) => None,
            (Some(_), None) => return Err(BadUpstream::Half { given: CERT, missing: KEY }),
            (None, Some(_)) => return Err(BadUpstream::Half { given: KEY, missing: CERT }),
        };
        if uri.scheme_str() != Some("https") {
            let given = self.tls.upstream_ca.as_ref().map(|_| CA).or(pair.map(|_| CERT));
            return given.map_or(Ok(None), |flag| Err(BadUpstream::NotTls { flag, uri: uri.clone() }));
        }
        let Some(ca) = self.tls.upstream_ca.clone() else { return Err(BadUpstream::NoAuthority { uri: uri.clone() }) };
        let connector = connector(CA, uri, ca, pair, ALPN_GRPC, reload)?;
        connector.map(Some).ok_or_else(|| BadUpstream::Host { uri: uri.clone() })
    }
}

/// The protocol that a client of gRPC offers.
pub(crate) const ALPN_GRPC: &[u8] = b"h2";

/// A connector to the host of `uri`, whose certificate an authority in the file `ca` must have signed. `flag` names
/// that file. It offers the protocol `alpn`. `None` if no certificate can name the host.
pub(crate) fn connector(
    flag: Flag,
    uri: &Uri,
    ca: PathBuf,
    pair: Option<Pair>,
    alpn: &'static [u8],
    reload: Reload,
) -> Result<Option<Connector>, BadFile> {
    let host = host(uri);
    let Ok(name) = ServerName::try_from(host.clone()) else { return Ok(None) };
    let mut files = vec![ca.clone()];
    files.extend(pair.iter().flat_map(|pair| [pair.certificate.1.clone(), pair.key.1.clone()]));
    let tls = Reloaded::follow(flag, files, reload, move || load(flag, &ca, pair.as_ref(), alpn))?;
    Ok(Some(Connector { tls, name, address: (host, uri.port_u16().unwrap_or(443)) }))
}

/// The host of a URL, an IPv6 address without its brackets.
pub(super) fn host(uri: &Uri) -> String {
    uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn load(flag: Flag, ca: &Path, pair: Option<&Pair>, alpn: &[u8]) -> Result<ClientConfig, BadFile> {
    let roots = authorities(flag, ca)?;
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|source| BadFile::Refused { flag, path: ca.to_owned(), source })?;
    let builder = builder.with_root_certificates(roots);
    let mut config = match pair {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let (chain, key) = pair.read()?;
            builder.with_client_auth_cert(chain, key).map_err(|source| pair.refused(source))?
        }
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(config)
}

/// The form of `--grpc-upstream`.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let is_server = |uri: &Uri| {
        let has_scheme = ["http", "https"].map(Some).contains(&uri.scheme_str());
        has_scheme && uri.port().is_some() && uri.path_and_query().is_none_or(|rest| rest == "/")
    };
    match Endpoint::from_shared(url) {
        Ok(endpoint) if is_server(endpoint.uri()) => Ok(endpoint),
        Ok(_) | Err(_) => Err("must be HOST:PORT or http://HOST:PORT, or https://HOST:PORT for TLS".into()),
    }
}

/// Opens TLS connections to one server.
#[derive(Clone)]
pub(crate) struct Connector {
    tls: Reloaded<ClientConfig>,
    name: ServerName<'static>,
    address: (String, u16),
}

impl Connector {
    async fn connect(self) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let stream = TcpStream::connect((self.address.0.as_str(), self.address.1)).await?;
        Ok(TokioIo::new(self.handshake(stream).await?))
    }

    /// Does the TLS handshake on a connection to the server.
    pub(super) async fn handshake(self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        stream.set_nodelay(true)?;
        TlsConnector::from(self.tls.current()).connect(self.name, stream).await
    }

    /// The name that the server's certificate must have.
    pub(super) fn name(&self) -> &ServerName<'static> {
        &self.name
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}
