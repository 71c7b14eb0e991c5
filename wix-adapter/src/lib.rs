#![doc = include_str!("../README.md")]

pub mod answer;
mod body;
pub mod caller;
pub mod cli;
pub mod client;
pub mod config;
pub mod convert;
pub mod demo;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod health;
pub mod keys;
mod measure;
mod refusal;
pub mod rehearse;
pub mod routes;
mod seen;
pub mod send;
pub mod server;
pub mod signing;
#[cfg(feature = "standalone")]
pub mod standalone;
pub mod token;
mod turns;
pub mod wire;
