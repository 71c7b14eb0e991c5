//! The core of the stock service: rules, engine and store. It knows no proto, HTTP or JWT.
//!
//! In reading order:
//! - [`ids`], [`catalog`], [`site`], [`unit`]: what is counted, how a request's items name it, and what is
//!   settled about it;
//! - [`command`], [`decide`], [`order`], [`outcome`]: what may be asked, the rules, and what came of it;
//! - [`engine`]: commits what is waiting in groups, and answers after COMMIT;
//! - [`store`]: diesel on SQLite or Postgres;
//! - [`journal`], [`explain`], [`verify`]: what is derived from the ledger;
//! - [`limits`], [`error`].

mod action;
pub mod catalog;
pub mod command;
pub mod decide;
pub mod engine;
pub mod error;
pub mod explain;
pub mod ids;
pub mod journal;
pub mod limits;
pub mod order;
pub mod outcome;
pub mod site;
pub mod store;
pub mod unit;
pub mod verify;

// Bundled C libraries: named here only so that cargo builds and links them.
use libsqlite3_sys as _;
use pq_sys as _;
