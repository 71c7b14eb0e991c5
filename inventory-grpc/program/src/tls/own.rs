//! A connection to a port of this machine whose certificate is known as a file.
//!
//! The port must show exactly that certificate. Names, authorities and dates do not count: the caller asks whether the
//! port answers, under an address that the certificate need not name.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};

use crate::tls::server::CERT;
use crate::tls::{BadFile, certificates, provider};

/// Bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// Why a port of this machine cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum OwnPortError {
    /// Nothing listens there, or it shows another certificate.
    #[error("{flag}: {address} cannot be reached")]
    Connect {
        /// The flag of the address.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The certificate's file cannot be used.
    #[error(transparent)]
    File(#[from] BadFile),
}

/// Connects to `address`, which `flag` gives: over TLS if `certificate` is the file of `--tls-cert`.
pub async fn connect_to_own_port(
    flag: &'static str,
    address: SocketAddr,
    certificate: Option<&Path>,
) -> Result<Box<dyn Duplex>, OwnPortError> {
    let tls = certificate.map(trusting).transpose()?;
    let connected = async {
        let stream = TcpStream::connect(address).await?;
        let Some(tls) = tls else { return Ok(Box::new(stream) as Box<dyn Duplex>) };
        let stream = TlsConnector::from(Arc::new(tls)).connect(ServerName::from(address.ip()), stream).await?;
        Ok(Box::new(stream) as Box<dyn Duplex>)
    };
    connected.await.map_err(|source| OwnPortError::Connect { flag, address, source })
}

/// A client that trusts the first certificate of a file, and no other.
fn trusting(path: &Path) -> Result<ClientConfig, BadFile> {
    let expected = certificates(CERT, path)?.swap_remove(0);
    let refused = |source| BadFile::Refused { flag: CERT, path: PathBuf::from(path), source };
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(refused)?.dangerous();
    let verifier = Arc::new(Same { expected, provider: provider() });
    Ok(builder.with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Accepts one certificate. That the other side has its key is checked as always.
#[derive(Debug)]
struct Same {
    expected: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Same {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let same = *shown == self.expected;
        let other = || rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        same.then(ServerCertVerified::assertion).ok_or_else(other)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
