//! A Postgres that Patroni keeps available, on one machine, to be disturbed while orders come: `benches/soak.rs`.
//!
//! - Three servers, each with a Patroni of its own. A commit returns when one standby has it (`synchronous_mode`), and
//!   waits if there is none (`synchronous_mode_strict`).
//! - Three etcd, from which Patroni learns who is the primary.
//! - haproxy, which forwards to the primary.
//! - Links, which stand for the network and can be cut: one to each server, and one from each Patroni to each etcd.
//!
//! All processes run below a temporary folder, and end with this one, in whatever way it ends.

pub mod cluster;
mod config;
pub mod faults;
mod folder;
mod machine;

use std::net::SocketAddr;

/// A TCP port on 127.0.0.1 that is free now, below those that the system gives to outgoing connections: a server that
/// is down for a while finds its port free again.
fn port() -> u16 {
    let free = |port: &u16| std::net::TcpListener::bind(at(*port)).is_ok();
    (0..10_000).map(|_| fastrand::u16(15_000..32_000)).find(free).expect("a port is free")
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
