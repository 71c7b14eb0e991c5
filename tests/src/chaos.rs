//! A TCP link that a test can cut, freeze and restore, between a server and its database or between the adapter and its
//! server.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A link that forwards connections to a target.
pub struct Link {
    /// The address to connect to instead of the target's.
    pub address: SocketAddr,
    state: watch::Sender<State>,
    target: watch::Sender<SocketAddr>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Up,
    Frozen,
    Down,
}

impl Link {
    /// Starts a link to `target` that lets connections through.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let (sender, state) = watch::channel(State::Up);
        let (target, targets) = watch::channel(target);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let mut state = state.clone();
                let target = *targets.borrow();
                tokio::spawn(async move {
                    if *state.borrow_and_update() == State::Down {
                        return;
                    }
                    if let Ok(far) = TcpStream::connect(target).await {
                        let (near_read, near_write) = near.into_split();
                        let (far_read, far_write) = far.into_split();
                        tokio::select! {
                            () = pump(near_read, far_write, state.clone()) => {}
                            () = pump(far_read, near_write, state.clone()) => {}
                            _ = state.wait_for(|state| *state == State::Down) => {}
                        }
                    }
                });
            }
        });
        Self { address, state: sender, target }
    }

    /// Leads new connections to another target.
    pub fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(target);
    }

    /// Breaks every connection and closes new ones at once.
    pub fn cut(&self) {
        self.state.send_replace(State::Down);
    }

    /// Keeps connections open, takes new ones, and lets nothing through: as a process that is stopped by SIGSTOP.
    pub fn freeze(&self) {
        self.state.send_replace(State::Frozen);
    }

    /// Lets connections through again, and what was sent while the link was frozen.
    pub fn restore(&self) {
        self.state.send_replace(State::Up);
    }
}

/// Forwards bytes until one side ends.
async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut state: watch::Receiver<State>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read) = from.read(&mut buffer).await
        && read > 0
        && state.wait_for(|state| *state == State::Up).await.is_ok()
        && to.write_all(&buffer[..read]).await.is_ok()
    {}
}
