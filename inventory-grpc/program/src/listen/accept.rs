//! Accepts connections and hands on those that are ready: connected, and through the TLS handshake.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::listen::connection::{self, Connection};
use crate::listen::peers::{Peer, Peers};
use crate::listen::{Limits, Protocol, pipe};
use crate::tls::ServerTls;

/// The pause after an error that the next attempt would meet too.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections that wait for the server to take them.
const READY_MAX: usize = 64;

/// The ready connections of a port, as tonic takes them. No item is an error. Dropping it closes the port.
#[derive(Debug)]
pub struct Connections {
    ready: mpsc::Receiver<Connection>,
    peers: Arc<Peers>,
}

/// All connections of a port that are open, to cut them.
#[derive(Clone, Debug)]
pub struct Open(Arc<Peers>);

impl Open {
    /// Closes all connections, and logs how many there were.
    pub fn cut(&self) {
        let (connections, calls) = self.0.close_all();
        if connections > 0 {
            tracing::warn!(
                connections,
                calls,
                "the time to drain is over: connections were cut; a call without an answer may be sent again"
            );
        }
    }
}

impl Connections {
    /// The next connection. Never `None` while the runtime works.
    pub async fn next(&mut self) -> Option<Connection> {
        self.ready.recv().await
    }

    /// Those that are open, taken by the server or not.
    pub fn open(&self) -> Open {
        Open(self.peers.clone())
    }
}

impl Stream for Connections {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(context).map(|connection| connection.map(Ok))
    }
}

pub(super) fn start(
    tcp: TcpListener,
    tls: Option<ServerTls>,
    pipe: Option<pipe::Incoming>,
    protocol: Protocol,
    limits: Limits,
) -> Connections {
    let (ready, connections) = mpsc::channel(READY_MAX);
    let peers = Peers::start(protocol, limits);
    let accept = Accept { tcp, tls, peers: peers.clone(), ready, start: limits.start, errors: Errors::default() };
    tokio::spawn(accept.run(pipe));
    Connections { ready: connections, peers }
}

/// What has arrived.
enum Arrived {
    Tcp(TcpStream),
    Pipe(DuplexStream),
}

struct Accept {
    tcp: TcpListener,
    tls: Option<ServerTls>,
    peers: Arc<Peers>,
    ready: mpsc::Sender<Connection>,
    start: Duration,
    errors: Errors,
}

impl Accept {
    /// Runs until nobody takes the connections any more.
    async fn run(mut self, mut pipe: Option<pipe::Incoming>) {
        let ready = self.ready.clone();
        loop {
            tokio::select! {
                () = self.next(&mut pipe) => {}
                () = ready.closed() => return,
            }
        }
    }

    /// Takes the next connection and hands it on, at once or after its handshake.
    async fn next(&mut self, pipe: &mut Option<pipe::Incoming>) {
        let arrived = tokio::select! {
            accepted = self.tcp.accept() => match accepted {
                Ok((stream, _)) => Arrived::Tcp(stream),
                Err(error) => return self.failed(&error).await,
            },
            Some(stream) = from(pipe) => Arrived::Pipe(stream),
        };
        self.errors.end();
        let peer = self.peers.admit().await;
        let stream = match (arrived, &self.tls) {
            (Arrived::Pipe(stream), _) => connection::Stream::Pipe(stream),
            (Arrived::Tcp(stream), tls) => {
                // An answer is one small write, which Nagle's algorithm would only delay. A socket that refuses the
                // option still works.
                let _ = stream.set_nodelay(true);
                match tls {
                    None => connection::Stream::Tcp(stream),
                    Some(tls) => {
                        let handshake = handshake(TlsAcceptor::from(tls.current()), stream, peer, self.ready.clone());
                        tokio::spawn(tokio::time::timeout(self.start, handshake));
                        return;
                    }
                }
            }
        };
        // The send fails only if the server has stopped.
        let _ = self.ready.send(Connection::new(stream, peer)).await;
    }

    /// Waits after an error that concerns more than one connection.
    async fn failed(&mut self, error: &io::Error) {
        let of_one = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::Interrupted];
        if !of_one.contains(&error.kind()) {
            self.errors.count(error);
            // It is most likely that the process may open no more files. A connection without a call can give one back.
            self.peers.close_oldest_new();
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The next connection of a pipe; never, if there is none.
async fn from(pipe: &mut Option<pipe::Incoming>) -> Option<DuplexStream> {
    match pipe {
        Some(pipe) => pipe.recv().await,
        None => None,
    }
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream, peer: Arc<Peer>, ready: mpsc::Sender<Connection>) {
    tokio::select! {
        stream = acceptor.accept(stream) => match stream {
            Ok(stream) => {
                let connection = Connection::new(connection::Stream::Tls(Box::new(stream)), peer);
                // The send fails only if the server has stopped.
                let _ = ready.send(connection).await;
            }
            Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
        },
        () = poll_fn(|context| peer.poll_closed(context)) => {}
        () = ready.closed() => {}
    }
}

/// Counts errors in a row, and logs them at growing intervals.
#[derive(Debug, Default)]
struct Errors(u64);

impl Errors {
    fn count(&mut self, error: &io::Error) {
        self.0 += 1;
        if self.0.is_power_of_two() {
            tracing::error!(%error, count = self.0, "cannot accept connections; trying again");
        }
    }

    fn end(&mut self) {
        if self.0 > 0 {
            tracing::info!(count = self.0, "connections are accepted again");
            self.0 = 0;
        }
    }
}
