//! The listener of a port for calls: TCP or TLS, with bounds that no caller can exceed.
//!
//! - **Connections** are bounded ([`Limits::connections`]). When a port is full, a new connection takes the place of
//!   the oldest one that has not made a call yet. With gRPC only calls count that not everybody may make
//!   ([`CallerInfo::accept`]). If all have made calls, it waits; the next ones wait in the kernel.
//! - **A caller that is slow to begin** loses its connection: the TLS handshake has [`Limits::start`], and then the
//!   head of a call (HTTP/1) or the client's preface (HTTP/2) has as long. A half-sent head of HTTP/2 is left to the
//!   server's ping. Handshakes run in tasks of their own, so none of them delays another connection.
//! - **Idle connections** are closed after [`Limits::idle`].
//! - **Calls** under way are bounded ([`Limits::calls`]). The next one is refused at once.
//! - **Calls that wait for their first turn** are bounded for each connection: at 128 no more is read from it.
//! - **Answers** that callers do not take are bounded: to 8 MiB of a connection and 128 MiB of a port. Beyond, calls
//!   are refused. A connection whose peer takes no byte for ten seconds is closed.
//! - An error of `accept`, such as too many open files, is logged at growing intervals, and the listener pauses.
//!
//! Time is checked twice a second by one task per port, so a call costs no timer. The bound of a call's own size and
//! duration belongs to the programs.

mod accept;
mod calls;
mod connection;
mod http;
mod peers;
mod pipe;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};

pub use self::accept::{Connections, Open};
pub use self::calls::{CallLayer, CallService};
pub use self::connection::{CallerInfo, Connection};
pub use self::http::serve_http;
pub use self::pipe::Pipe;
use crate::signals::Reload;
use crate::tls::{Protection, ServerTls, Unprotected};

/// Connections that wait in the kernel, if the system allows so many.
const BACKLOG: u32 = 4_096;

/// The protocol that a port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, for gRPC.
    Http2,
}

impl Protocol {
    /// Its name in a TLS handshake.
    pub(crate) fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// The bounds of a port.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections.
    pub connections: usize,
    /// Calls under way, over all connections.
    pub calls: usize,
    /// Time for a TLS handshake; then, time until the first call (HTTP/1) or the client's preface (HTTP/2). With
    /// HTTP/1 also the time for the head of each later call, from its first byte.
    pub start: Duration,
    /// Time without a call after which a connection is closed. With HTTP/1, time without a byte.
    pub idle: Duration,
}

impl Limits {
    /// The limits of a port that speaks `protocol`.
    pub fn of(protocol: Protocol) -> Self {
        // A process needs files for its database and for its other port too.
        let connections = crate::files::open_max().map_or(4_096, |files| (files / 4).clamp(16, 4_096));
        let idle = match protocol {
            // Wix may keep a connection for its next call.
            Protocol::Http1 => Duration::from_secs(60),
            // Callers keep a channel for as long as they run. The server asks a silent one for a sign of life.
            Protocol::Http2 => Duration::from_secs(600),
        };
        Self { connections, calls: 16_384, start: Duration::from_secs(5), idle }
    }
}

/// The address cannot be opened, or must not be.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another program has the port, or the machine has not the address.
    #[error("{flag}: cannot listen on {address}; choose an address and port that are free")]
    Bind {
        /// The flag of the address.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The port would have no TLS where it must, or its files are bad.
    #[error(transparent)]
    Unprotected(#[from] Unprotected),
}

/// A bound port.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    tls: Option<ServerTls>,
    limits: Option<Limits>,
    pipe: Option<pipe::Incoming>,
}

impl Listener {
    /// Binds the address that `flag` gives; port 0 takes any free port. `flag` stands in errors, with its variable:
    /// `--grpc-listen (GRPC_LISTEN)`. Must be called inside the runtime.
    pub fn bind(
        flag: &'static str,
        address: SocketAddr,
        protocol: Protocol,
        protection: &Protection,
        reload: Reload,
    ) -> Result<Self, ListenError> {
        let tls = protection.of_port(flag, address, protocol, reload)?;
        let tcp = bind(address);
        let tcp = tcp.map_err(|source| ListenError::Bind { flag, address, source })?;
        Ok(Self { tls, ..Self::from(tcp) })
    }

    /// Binds an address for a port without TLS that no caller's calls come to. Must be called inside the runtime.
    pub(crate) fn plain(address: SocketAddr) -> io::Result<Self> {
        Ok(bind(address)?.into())
    }

    /// The same with other limits.
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits: Some(limits), ..self }
    }

    /// The address, with the port that was taken.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// A way to this port from inside the process, without TCP and TLS. Only the last pipe that was made works.
    pub fn pipe(&mut self) -> Pipe {
        let (pipe, incoming) = pipe::new();
        self.pipe = Some(incoming);
        pipe
    }

    /// Accepts connections from now on, in a task that ends when the result is dropped. Must be called inside the
    /// runtime.
    pub fn connections(self, protocol: Protocol) -> Connections {
        let limits = self.limits.unwrap_or_else(|| Limits::of(protocol));
        accept::start(self.tcp, self.tls, self.pipe, protocol, limits)
    }
}

/// Binds an address with a long queue, so that a burst of callers does not have to try again.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A server that restarts takes its port again, although connections of its predecessor are not forgotten yet.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Plaintext on a port that is bound already, for tests and for servers inside a program.
impl From<TcpListener> for Listener {
    fn from(tcp: TcpListener) -> Self {
        Self { tcp, tls: None, limits: None, pipe: None }
    }
}
