//! Whole-system tests: behaviour as callers see it, on SQLite and on Postgres.

mod audit;
mod bounds;
mod commands;
mod concurrency;
mod contract;
mod crash;
mod errors;
mod follow;
mod foreign_client;
mod observed;
mod orders;
mod outage;
mod programs;
mod random;
mod retention;
mod rules;
mod settings;
mod skus;
mod snapshot;
mod stock;
mod tidy;
mod token;
mod units;
mod upgrade;
mod verify;
mod wire;
