//! Whole-system tests: behaviour as callers see it, on SQLite and on Postgres.

mod concurrency;
mod contract;
mod crash;
mod foreign_client;
mod observed;
mod outage;
mod programs;
mod random;
mod rules;
mod settings;
mod tidy;
mod token;
mod wire;
