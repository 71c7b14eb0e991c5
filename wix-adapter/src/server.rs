//! The HTTP server: binds the address and serves the routes, with TLS or without.
//!
//! A stop is graceful: requests under way get their answers, if they end in time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::response::IntoResponse;
use inventory_program::Reload;
use inventory_program::drain::Stop;
use inventory_program::listen::{ListenError, Listener, Protocol, serve_http};
use inventory_program::tls::Protection;

use crate::answer::Answer;
use crate::routes::{Adapter, router, tell_ended_refusals};

/// Binds the address of `--http-listen`; port 0 takes any free port. `reload` asks for certificates to be read again.
pub fn bind(address: SocketAddr, protection: &Protection, reload: Reload) -> Result<Listener, ListenError> {
    Listener::bind("--http-listen (HTTP_LISTEN)", address, Protocol::Http1, protection, reload)
}

/// Serves until `stop` closes the port. Then it answers the requests under way, and returns when all are answered or
/// cut.
pub async fn serve(listener: impl Into<Listener>, adapter: Adapter, stop: impl Into<Stop>) {
    let stop = stop.into();
    let routes = router(adapter, stop.clone());
    tokio::select! {
        () = serve_http(listener.into(), routes, || Answer::Unavailable.into_response(), stop) => {}
        () = tell_ended_refusals() => {}
    }
}

/// The address under which this machine reaches a port of its own: loopback if the port listens on all addresses.
pub(crate) fn reachable(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    listen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_the_machine_is_asked_on_loopback() {
        let rows = [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.0.0.1:80", "10.0.0.1:80")];
        for (listen, asked) in rows {
            assert_eq!(reachable(listen.parse().expect("an address")).to_string(), asked);
        }
    }
}
