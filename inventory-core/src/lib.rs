#![doc = include_str!("../README.md")]

pub mod engine;
pub mod model;
pub mod reports;
pub mod rules;
pub mod store;

// Bundled C libraries: named here only so that cargo builds and links them.
use libsqlite3_sys as _;
use pq_sys as _;
