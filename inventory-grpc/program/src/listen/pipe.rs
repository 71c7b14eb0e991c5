//! Connections inside the process: the adapter of `standalone` reaches the server by it, whatever TLS the port has.

use std::future::{Future, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tonic::codegen::http::Uri;

/// Bytes that wait in each direction.
const BUFFER_BYTES: usize = 256 * 1024;

/// The server's ends of new connections.
pub(super) type Incoming = mpsc::UnboundedReceiver<DuplexStream>;

/// A connector for `tonic::transport::Endpoint::connect_with_connector_lazy`. The endpoint's address has no meaning.
#[derive(Clone, Debug)]
pub struct Pipe(mpsc::UnboundedSender<DuplexStream>);

pub(super) fn new() -> (Pipe, Incoming) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Pipe(sender), receiver)
}

impl tower_service::Service<Uri> for Pipe {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (own, other) = tokio::io::duplex(BUFFER_BYTES);
        let sent = self.0.send(other).map_err(|_| io::ErrorKind::ConnectionRefused.into());
        Box::pin(ready(sent.map(|()| TokioIo::new(own))))
    }
}
