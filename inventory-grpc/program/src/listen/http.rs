//! Serves HTTP/1.1 on a port.

use std::convert::Infallible;
use std::error::Error;
use std::pin::pin;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::drain::Stop;
use crate::listen::calls::CallService;
use crate::listen::{Limits, Listener, Protocol};

/// Bytes of a request's head: the request line and the headers. A longer one is answered with 431.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Bytes of a request that a connection reads ahead.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Serves until `stop` closes the port. Then it answers the requests under way, and returns when all connections are
/// closed or cut. `refuse` makes the answer to a call too many. A head has at most 100 headers, which is hyper's own
/// bound.
pub async fn serve_http<S, B>(listener: Listener, service: S, refuse: fn() -> Response<B>, stop: Stop)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let mut builder = http1::Builder::new();
    // The listener closes a connection whose head does not arrive, much earlier. This is for heads that arrived with
    // the request before.
    builder.timer(TokioTimer::new()).header_read_timeout(Limits::of(Protocol::Http1).idle);
    builder.max_header_size(HEAD_BYTES_MAX).max_buf_size(BUFFER_BYTES_MAX);
    let mut connections = listener.connections(Protocol::Http1);
    let open_connections = connections.open();
    let stopping = CancellationToken::new();
    // Every connection holds a sender, so the receiver ends with the last of them.
    let (open, mut all_closed) = mpsc::channel::<Infallible>(1);
    loop {
        let connection = tokio::select! {
            connection = connections.next() => connection,
            () = stop.closing() => None,
        };
        let Some(connection) = connection else { break };
        let service = CallService::of_peer(service.clone(), refuse, connection.peer().clone());
        let served = builder.serve_connection(TokioIo::new(connection), TowerToHyperService::new(service));
        let (stopping, open, stop) = (stopping.clone().cancelled_owned(), open.clone(), stop.clone());
        tokio::spawn(async move {
            let _open = open;
            let mut served = pin!(served);
            let ended = tokio::select! {
                ended = served.as_mut() => ended,
                () = stopping => {
                    served.as_mut().graceful_shutdown();
                    tokio::select! {
                        ended = served => ended,
                        () = stop.cutting() => Ok(()),
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(connections);
    stopping.cancel();
    drop(open);
    tokio::select! {
        _ = all_closed.recv() => {}
        () = stop.cutting() => {
            open_connections.cut();
            all_closed.recv().await;
        }
    }
}
