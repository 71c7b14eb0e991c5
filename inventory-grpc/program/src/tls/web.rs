//! The web server that a person names by its URL: connections for HTTP/1.1, over TLS or without, and what the server
//! shows of its certificate.
//!
//! The server's certificate is checked as that of a gRPC server is (`upstream`), but without `--ca` against the
//! authorities of the system. The URL is not read again.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, CertificateError, ProtocolVersion, RootCertStore};
use tonic::codegen::http::Uri;

use crate::signals::Reload;
use crate::tls::own::Duplex;
use crate::tls::upstream::{Connector, connector, host};
use crate::tls::{BadFile, Flag, authorities, provider};

const CA: Flag = "--ca";
const URL: Flag = "--url";

/// The protocol that is offered.
const ALPN_HTTP: &[u8] = b"http/1.1";
/// Where systems keep the authorities that they trust: Debian, Red Hat, macOS and Alpine.
static SYSTEM_AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
/// Later than any date in a certificate: the year 10000.
const AFTER_ALL_SECONDS: u64 = 253_402_300_800;
/// Certificates of a chain, at most, whose dates are looked at.
const CHAIN_MAX: usize = 10;

/// A web server. Clones share nothing but its name and the authorities.
#[derive(Clone)]
pub struct WebServer {
    address: (String, u16),
    /// The connector and the file of the authorities. `None` without TLS.
    tls: Option<(Connector, PathBuf)>,
}

/// Why a URL cannot be called. The text names the flag.
#[derive(Debug, thiserror::Error)]
pub enum BadWebServer {
    /// It is no URL of a web server.
    #[error("{URL}: {uri} must be https://HOST or http://HOST, with a port and a path if they are needed")]
    NotWeb {
        /// The URL.
        uri: Uri,
    },
    /// An authority is given for a server that is reached without TLS.
    #[error("{CA} is set, but {URL} {uri} is not https; write https://HOST, or remove the flag")]
    NotTls {
        /// The URL.
        uri: Uri,
    },
    /// The system has no authorities.
    #[error("{URL}: {uri} is https; name a file of authorities with {CA}: there is none at {}", .searched.join(", "))]
    NoAuthority {
        /// The URL.
        uri: Uri,
        /// Where the system's authorities were looked for.
        searched: &'static [&'static str],
    },
    /// The URL has no host that a certificate can name.
    #[error("{URL}: {uri} has no host that a certificate can name")]
    Host {
        /// The URL.
        uri: Uri,
    },
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] BadFile),
}

/// What a server shows in a TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Whether it speaks TLS 1.3, and not only 1.2.
    pub is_tls13: bool,
    /// When the first certificate of the chain expires, in seconds since 1970. `None` if none ever does.
    pub valid_until: Option<u64>,
}

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
pub enum NoTls {
    /// Nothing listens there, or the name has no address.
    #[error("no connection: {0}")]
    Unreachable(io::Error),
    /// The other side speaks something else, such as HTTP without TLS.
    #[error("the port speaks no TLS")]
    OtherProtocol,
    /// A certificate of the chain has expired.
    #[error("a certificate has expired")]
    Expired,
    /// The certificate does not name the host of the URL.
    #[error("the certificate is for another name")]
    WrongName,
    /// No trusted authority has signed it, or the server does not send the whole chain.
    #[error("no trusted authority has signed the certificate")]
    UnknownAuthority,
    /// Something else is wrong.
    #[error("the TLS handshake fails: {0}")]
    Other(io::Error),
}

impl WebServer {
    /// The server of a URL. `ca` is the file of its authorities; without it the system's count. Must be called inside
    /// the runtime.
    pub fn new(uri: &Uri, ca: Option<&Path>) -> Result<Self, BadWebServer> {
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(BadWebServer::NotWeb { uri: uri.clone() }),
        };
        if uri.host().is_none_or(str::is_empty) {
            return Err(BadWebServer::NotWeb { uri: uri.clone() });
        }
        let address = (host(uri), uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }));
        let tls = match (is_tls, ca) {
            (false, None) => None,
            (false, Some(_)) => return Err(BadWebServer::NotTls { uri: uri.clone() }),
            (true, ca) => {
                let of_system = || SYSTEM_AUTHORITIES.map(Path::new).into_iter().find(|path| path.exists());
                let Some(ca) = ca.or_else(of_system).map(Path::to_owned) else {
                    return Err(BadWebServer::NoAuthority { uri: uri.clone(), searched: &SYSTEM_AUTHORITIES });
                };
                let connector = connector(CA, uri, ca.clone(), None, ALPN_HTTP, Reload::never())?;
                Some((connector.ok_or_else(|| BadWebServer::Host { uri: uri.clone() })?, ca))
            }
        };
        Ok(Self { address, tls })
    }

    /// Does a TLS handshake and returns what the server shows. `None` if the URL is not https.
    pub async fn shown(&self) -> Result<Option<Shown>, NoTls> {
        let Some((connector, ca)) = self.tls.clone() else { return Ok(None) };
        let stream = self.connect().await.map_err(NoTls::Unreachable)?;
        let name = connector.name().clone();
        let stream = connector.handshake(stream).await.map_err(NoTls::of)?;
        let (_, session) = stream.get_ref();
        let is_tls13 = session.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let chain = session.peer_certificates().unwrap_or_default();
        let roots = authorities(CA, &ca).map_err(|error| NoTls::Other(io::Error::other(error)))?;
        Ok(Some(Shown { is_tls13, valid_until: expiry(roots, chain, &name) }))
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect((self.address.0.as_str(), self.address.1)).await
    }

    async fn open(self) -> io::Result<WebStream> {
        let stream = self.connect().await?;
        let duplex: Box<dyn Duplex> = match self.tls {
            Some((connector, _)) => Box::new(connector.handshake(stream).await?),
            None => {
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        };
        Ok(WebStream(TokioIo::new(duplex)))
    }
}

/// When the first certificate of a chain expires, in seconds since 1970: the chain is checked at the end of all time,
/// and then whenever a certificate of it ends. `None` if none expires.
pub(super) fn expiry(roots: RootCertStore, chain: &[CertificateDer<'_>], name: &ServerName<'_>) -> Option<u64> {
    let (own, others) = chain.split_first()?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().ok()?;
    let mut expiry = None;
    let mut at = AFTER_ALL_SECONDS;
    for _ in 0..CHAIN_MAX {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(at));
        match verifier.verify_server_cert(own, others, name, &[], time) {
            Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }))
                if not_after.as_secs() < at =>
            {
                at = not_after.as_secs();
                expiry = Some(at);
            }
            Ok(_) | Err(_) => break,
        }
    }
    expiry
}

impl NoTls {
    /// The problem in a failed handshake.
    fn of(error: io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidMessage(_)) => Self::OtherProtocol,
            Some(rustls::Error::InvalidCertificate(problem)) => match problem {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
                CertificateError::UnknownIssuer => Self::UnknownAuthority,
                // The library's enum is non-exhaustive. What is rare keeps the library's words.
                _ => Self::Other(error),
            },
            Some(_) | None => Self::Other(error),
        }
    }
}

/// A connector for a client of HTTP/1.1. The URL of a request does not matter: every connection is to this server.
impl tower_service::Service<Uri> for WebServer {
    type Response = WebStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<WebStream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().open())
    }
}

/// A connection to a web server.
pub struct WebStream(TokioIo<Box<dyn Duplex>>);

impl Connection for WebStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for WebStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for WebStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
