//! The adapter: a signed call of Wix in, gRPC calls out. It knows no diesel and no SQL.
//!
//! Along a call: [`routes`], [`token`] (with [`keys`] and [`provider`]), [`wire`], [`convert`], [`client`],
//! [`answer`]. Around them: [`config`], [`server`]; for people: [`send`], and [`standalone`], the
//! only file that names `inventory-grpc`.

pub mod answer;
pub mod client;
pub mod config;
pub mod convert;
pub mod demo;
pub mod keys;
pub mod provider;
pub mod routes;
pub mod send;
pub mod server;
pub mod signing;
#[cfg(feature = "standalone")]
pub mod standalone;
pub mod token;
pub mod wire;
