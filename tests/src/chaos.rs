//! A TCP link that a test can cut and restore, between a server and its database or between the adapter and its server.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A link that forwards connections to a target.
pub struct Link {
    /// The address to connect to instead of the target's.
    pub address: SocketAddr,
    up: watch::Sender<bool>,
}

impl Link {
    /// Starts a link to `target` that lets connections through.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let (up, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut state = state.clone();
                tokio::spawn(async move {
                    if !*state.borrow_and_update() {
                        return;
                    }
                    if let Ok(mut far) = TcpStream::connect(target).await {
                        tokio::select! {
                            _ = copy_bidirectional(&mut near, &mut far) => {}
                            _ = state.wait_for(|up| !*up) => {}
                        }
                    }
                });
            }
        });
        Self { address, up }
    }

    /// Breaks every connection and closes new ones at once.
    pub fn cut(&self) {
        self.up.send_replace(false);
    }

    /// Lets connections through again.
    pub fn restore(&self) {
        self.up.send_replace(true);
    }
}
