//! A connection: TCP, TLS, or a pipe inside the process. It ends when its peer is too slow.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::listen::Protocol;
use crate::listen::peers::Peer;

/// Bytes of the preface of an HTTP/2 client, before which no server sends a ping.
const PREFACE_BYTES: usize = 24;
/// Bytes after which a task that reads makes way for others. They hold hundreds of calls, which get their first turn
/// then.
const TURN_BYTES: usize = 16 * 1024;

/// An accepted connection, whose TLS handshake is over. It counts as open until it is dropped.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    peer: Arc<Peer>,
    /// Bytes of the preface that have not come yet. HTTP/1 has none.
    preface: usize,
    /// Bytes read since the task made way for others.
    turn: usize,
}

/// How the bytes travel.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Pipe(DuplexStream),
}

/// What a call knows about its connection. It is in the extensions of a request.
///
/// It also counts the calls that wait for their first turn. tonic calls no service before that turn, but it clones its
/// services for a call as soon as the head was read, and `CallerInfo` is in one of them.
#[derive(Debug)]
pub struct CallerInfo {
    peer: Arc<Peer>,
    turn: Turn,
}

/// Where a clone stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// With the connection. Its clones wait.
    Connection,
    /// With a call that waits for its first turn. It is counted, and its clones are.
    Waiting,
    /// With a call that has had it.
    Begun,
}

impl CallerInfo {
    /// The call has its first turn.
    pub(super) fn begin(&mut self) -> Arc<Peer> {
        if std::mem::replace(&mut self.turn, Turn::Begun) == Turn::Waiting {
            self.peer.wait_no_more();
        }
        self.peer.clone()
    }

    /// The caller may make this call, and not only those that anybody may make. Its connection keeps its place on a
    /// full port.
    pub fn accept(&self) {
        self.peer.accept();
    }

    /// Whether the caller, and all callers together, take their answers. If not, no large answer should be made.
    pub fn takes_answers(&self) -> bool {
        self.peer.takes_answers()
    }

    /// Closes the caller's connection.
    pub fn close(&self) {
        self.peer.close();
    }
}

impl Clone for CallerInfo {
    fn clone(&self) -> Self {
        let turn = match self.turn {
            Turn::Connection | Turn::Waiting => {
                self.peer.wait();
                Turn::Waiting
            }
            Turn::Begun => Turn::Begun,
        };
        Self { peer: self.peer.clone(), turn }
    }
}

impl Drop for CallerInfo {
    fn drop(&mut self) {
        if self.turn == Turn::Waiting {
            self.peer.wait_no_more();
        }
    }
}

impl Connection {
    pub(super) fn new(stream: Stream, peer: Arc<Peer>) -> Self {
        let preface = match peer.protocol() {
            Protocol::Http1 => 0,
            Protocol::Http2 => PREFACE_BYTES,
        };
        peer.begin();
        Self { stream, peer, preface, turn: 0 }
    }

    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }
}

impl Connected for Connection {
    type ConnectInfo = CallerInfo;

    fn connect_info(&self) -> CallerInfo {
        CallerInfo { peer: self.peer.clone(), turn: Turn::Connection }
    }
}

/// Polls the stream that a connection has.
macro_rules! poll_stream {
    ($connection:expr, $stream:ident => $poll:expr) => {
        match &mut $connection.stream {
            Stream::Tcp($stream) => {
                let $stream = Pin::new($stream);
                $poll
            }
            Stream::Tls($stream) => {
                let $stream = Pin::new($stream.as_mut());
                $poll
            }
            Stream::Pipe($stream) => {
                let $stream = Pin::new($stream);
                $poll
            }
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let connection = self.get_mut();
        if connection.peer.is_closed() {
            return Poll::Ready(Ok(()));
        }
        if connection.peer.poll_readable(context).is_pending() {
            return connection.peer.poll_closed(context).map(Ok);
        }
        if connection.turn >= TURN_BYTES {
            connection.turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let poll = poll_stream!(connection, stream => stream.poll_read(context, buffer));
        match &poll {
            // The end of the stream is what a server handles best at any time.
            Poll::Pending => {
                connection.turn = 0;
                return connection.peer.poll_closed(context).map(Ok);
            }
            Poll::Ready(Ok(())) => {
                let bytes = buffer.filled().len() - before;
                connection.turn = connection.turn.saturating_add(bytes);
                if connection.preface > 0 {
                    connection.preface = connection.preface.saturating_sub(bytes);
                    if connection.preface == 0 {
                        connection.peer.greet();
                    }
                }
                connection.peer.hear(bytes > 0);
            }
            Poll::Ready(Err(_)) => {}
        }
        poll
    }
}

impl Connection {
    /// What a write of bytes came to.
    fn taken(&self, poll: Poll<io::Result<usize>>, context: &Context<'_>) -> Poll<io::Result<usize>> {
        match &poll {
            Poll::Ready(Ok(bytes)) => self.peer.take(*bytes),
            Poll::Pending => self.peer.block(),
            Poll::Ready(Err(_)) => {}
        }
        self.written(poll, context)
    }

    /// What a write came to. A write that waits for a peer that is too slow fails.
    fn written<T>(&self, poll: Poll<io::Result<T>>, context: &Context<'_>) -> Poll<io::Result<T>> {
        if poll.is_pending() {
            return self.peer.poll_closed(context).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        self.peer.hear(false);
        poll
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let connection = self.get_mut();
        let poll = poll_stream!(connection, stream => stream.poll_write(context, bytes));
        connection.taken(poll, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let connection = self.get_mut();
        let poll = poll_stream!(connection, stream => stream.poll_write_vectored(context, slices));
        connection.taken(poll, context)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
            Stream::Pipe(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let connection = self.get_mut();
        let poll = poll_stream!(connection, stream => stream.poll_flush(context));
        if poll.is_pending() { connection.written(poll, context) } else { poll }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let connection = self.get_mut();
        let poll = poll_stream!(connection, stream => stream.poll_shutdown(context));
        if poll.is_pending() { connection.written(poll, context) } else { poll }
    }
}
