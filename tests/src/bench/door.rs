//! How the load generator reaches a server: where it is, through which TLS, and with which token.

use std::net::SocketAddr;

use inventory_proto::Bearer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tonic::transport::Channel;

use crate::certificates::TlsClient;
use crate::tokens::channel_to;

/// A server as its caller sees it.
#[derive(Clone)]
pub struct Door {
    /// Its address.
    pub address: SocketAddr,
    /// The TLS that it demands.
    pub tls: Option<TlsClient>,
    /// The token that it demands.
    pub bearer: Bearer,
}

impl From<SocketAddr> for Door {
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: None, bearer: Bearer::NONE }
    }
}

/// A connection, with or without TLS.
pub trait Connection: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Connection for T {}

impl Door {
    /// A new connection, for HTTP/1.1.
    pub async fn connect(&self) -> Box<dyn Connection> {
        if let Some(tls) = &self.tls {
            return Box::new(tls.connect(self.address).await.expect("the server accepts connections"));
        }
        let stream = TcpStream::connect(self.address).await.expect("the server accepts connections");
        stream.set_nodelay(true).expect("every TCP socket has the option");
        Box::new(stream)
    }

    /// A new channel, which connects at its first call.
    pub fn channel(&self) -> Channel {
        self.tls.as_ref().map_or_else(|| channel_to(self.address), |tls| tls.channel(self.address))
    }
}
