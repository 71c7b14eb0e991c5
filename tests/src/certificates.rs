//! Certificates for tests, and a TLS client that is not ours. Every run makes new ones and keeps none.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::codegen::{Service, http::Uri};
use tonic::transport::{Channel, Endpoint};

use crate::wix_caller::now;

/// An authority, and a folder with its certificate and with those that it has signed.
pub struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate for `localhost` and 127.0.0.1 with its key, as files and as bytes.
pub struct Pair {
    /// The certificate's file, PEM.
    pub certificate: PathBuf,
    /// The key's file, PEM.
    pub key: PathBuf,
    /// The certificate.
    pub der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Authority {
    /// A new authority.
    pub fn new() -> Self {
        let folder = TempDir::new().expect("the temporary folder is writable");
        let mut params = CertificateParams::new([]).expect("no name is a bad name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("an authority can be made");
        let authority = Self { folder, issuer };
        write(&authority.file(), "CERTIFICATE", authority.issuer.der());
        authority
    }

    /// The file of its certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Signs a new certificate and writes it to the files of `name`, over those that may be there.
    pub fn issue(&self, name: &str) -> Pair {
        self.issue_until(name, 4096)
    }

    /// The same, of a certificate that expires at the beginning of a year.
    pub fn issue_until(&self, name: &str, year: i32) -> Pair {
        self.issue_with(name, |params| params.not_after = rcgen::date_time_ymd(year, 1, 1))
    }

    /// The same, of a certificate that expires after this time.
    pub fn issue_for(&self, name: &str, time: Duration) -> Pair {
        let end = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(now()) + time;
        self.issue_with(name, |params| params.not_after = end)
    }

    fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let key_pair = key();
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).expect("the names are good");
        change(&mut params);
        let der = params.signed_by(&key_pair, &self.issuer).expect("a certificate can be signed").der().clone();
        let file = |ending: &str| self.folder.path().join(format!("{name}.{ending}"));
        let (certificate, key) = (file("pem"), file("key"));
        write(&certificate, "CERTIFICATE", &der);
        write(&key, "PRIVATE KEY", key_pair.serialized_der());
        Pair { certificate, key, der, key_der: key_pair.serialized_der().to_vec() }
    }

    /// A client that trusts this authority alone, and shows `own`. It offers the protocol `alpn`.
    pub fn client(&self, own: Option<&Pair>, alpn: &str) -> TlsClient {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("the authority is good");
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("the provider has the usual versions");
        let builder = builder.with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let key = PrivateKeyDer::Pkcs8(pair.key_der.clone().into());
                builder.with_client_auth_cert(vec![pair.der.clone()], key).expect("the pair is good")
            }
        };
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        TlsClient(Arc::new(config))
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key can be made")
}

fn write(path: &PathBuf, label: &str, der: &[u8]) {
    let text = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der));
    std::fs::write(path, text).expect("the temporary folder is writable");
}

/// A TLS client.
#[derive(Clone)]
pub struct TlsClient(Arc<ClientConfig>);

impl TlsClient {
    /// Connects to `localhost` at the port of `address`.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").expect("a good name");
        TlsConnector::from(self.0.clone()).connect(name, stream).await
    }

    /// A channel that connects at its first call.
    pub fn channel(&self, address: SocketAddr) -> Channel {
        let connector = Connector { client: self.clone(), address };
        Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector)
    }
}

/// The certificate that the server of a connection has shown.
pub fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let certificates = stream.get_ref().1.peer_certificates();
    certificates.and_then(<[_]>::first).expect("every server shows a certificate").clone().into_owned()
}

struct Connector {
    client: TlsClient,
    address: SocketAddr,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (client, address) = (self.client.clone(), self.address);
        Box::pin(async move { client.connect(address).await.map(TokioIo::new) })
    }
}

/// Sends an HTTP/1.1 request with a body over a connection, which stays open. Returns the status of the answer.
pub async fn exchange(stream: &mut TlsStream<TcpStream>, request: &str, body: &str) -> io::Result<u16> {
    let head = format!("{request} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes()).await?;
    let mut reader = BufReader::new(stream);
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_lowercase();
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest.get(..3).and_then(|status| status.parse().ok()).unwrap_or(0);
        } else if let Some(rest) = line.strip_prefix("content-length: ") {
            length = rest.parse().unwrap_or(0);
        } else if line.is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length]).await?;
    Ok(status)
}
