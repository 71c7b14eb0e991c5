//! Limits of the machine, measured in the same run as the figures that are compared with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::sqlite::SqliteConnection;
use diesel::{Connection, QueryResult};
use hdrhistogram::Histogram;
use inventory_core::store::DatabaseUrl;
use wix_adapter::keys;
use wix_adapter::token::{UnverifiedToken, Verifier};

use crate::bench::fixtures::{Workload, key, tokens};
use crate::bench::load;
use crate::postgres::Durability;
use crate::wix_caller::{APP_ID, now};
use crate::world::{Backend, Database};

enum Raw {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Raw {
    fn open(url: &DatabaseUrl) -> Self {
        match url {
            DatabaseUrl::Sqlite(path) => {
                let mut connection = SqliteConnection::establish(path).expect("the database file opens");
                let settings = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL";
                connection.batch_execute(settings).expect("the settings are valid");
                Self::Sqlite(connection)
            }
            DatabaseUrl::Postgres(url) => {
                Self::Postgres(PgConnection::establish(url).expect("Postgres accepts connections"))
            }
        }
    }

    fn run(&mut self, sql: &str) -> QueryResult<()> {
        match self {
            Self::Sqlite(connection) => connection.batch_execute(sql),
            Self::Postgres(connection) => connection.batch_execute(sql),
        }
    }
}

/// Creates a database with one stock row and a table of entries. It has no books, so it is not dropped and not checked.
fn prepare(backend: Backend) -> DatabaseUrl {
    let database = Database::with_durability(backend, Durability::Full);
    let url = database.url.clone();
    Raw::open(&url)
        .run(
            "CREATE TABLE stock (id bigint PRIMARY KEY, available bigint NOT NULL); INSERT INTO stock VALUES (1, \
             1000000000); \
             CREATE TABLE entry (item bigint NOT NULL, delta bigint NOT NULL, level_after bigint NOT NULL, order_id \
             text PRIMARY KEY)",
        )
        .expect("the tables can be created");
    std::mem::forget(database);
    url
}

/// Updates and commits one row again and again on one connection. Returns the latencies in microseconds.
pub fn raw_commits(backend: Backend, count: usize) -> Histogram<u64> {
    let mut connection = Raw::open(&prepare(backend));
    let mut latency = Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds are in order");
    for _ in 0..count {
        let started = Instant::now();
        connection.run("UPDATE stock SET available = available - 1 WHERE id = 1").expect("the update commits");
        latency.saturating_record(started.elapsed().as_micros() as u64);
    }
    latency
}

/// Orders per second with one transaction per order: lock the row, check, update, insert the entry, commit. This is the
/// simplest implementation, on the given number of connections.
pub fn naive_orders(backend: Backend, connections: usize, count: usize) -> f64 {
    // At this rate all orders are due immediately.
    naive_open(backend, connections, count, f64::INFINITY).0
}

/// The same with orders that are due at a steady rate. Returns orders per second, and latencies in microseconds since
/// each order was due.
pub fn naive_open(backend: Backend, connections: usize, count: usize, rate: f64) -> (f64, Histogram<u64>) {
    let url = prepare(backend);
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let latency = std::thread::scope(|scope| {
        let worker = |_| {
            let (next, url) = (Arc::clone(&next), &url);
            scope.spawn(move || {
                let mut latency = Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds are in order");
                let mut connection = Raw::open(url);
                let (begin, lock) = match connection {
                    Raw::Sqlite(_) => ("BEGIN IMMEDIATE", ""),
                    Raw::Postgres(_) => ("BEGIN", " FOR UPDATE"),
                };
                loop {
                    let order = next.fetch_add(1, Ordering::Relaxed);
                    if order >= count {
                        return latency;
                    }
                    let due = started + Duration::from_secs_f64(order as f64 / rate);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let statements = [
                        begin.to_owned(),
                        format!("SELECT available FROM stock WHERE id = 1{lock}"),
                        "UPDATE stock SET available = available - 1 WHERE id = 1".to_owned(),
                        format!("INSERT INTO entry SELECT 1, -1, available, '{order}' FROM stock WHERE id = 1"),
                        "COMMIT".to_owned(),
                    ];
                    for statement in &statements {
                        connection.run(statement).expect("the statement succeeds");
                    }
                    latency.saturating_record(due.elapsed().as_micros() as u64);
                }
            })
        };
        let workers: Vec<_> = (0..connections).map(worker).collect();
        let mut all = Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds are in order");
        for worker in workers {
            all.add(worker.join().expect("no panic")).expect("same bounds");
        }
        all
    });
    (count as f64 / started.elapsed().as_secs_f64(), latency)
}

/// Microseconds of one core to check signature and claims of a token.
pub fn signature_check(count: usize) -> f64 {
    let tokens = tokens(Workload::Hot, 0, count);
    let verifier = Verifier::new(APP_ID, vec![keys::parse(&key().public).expect("a generated key can be parsed")]);
    let now = now() + 60;
    let started = Instant::now();
    for token in &tokens {
        let token = UnverifiedToken::from_body(token.as_bytes()).expect("a token is text");
        assert!(std::hint::black_box(verifier.verify(&token, now, &mut Vec::new())).is_ok());
    }
    started.elapsed().as_secs_f64() * 1e6 / count as f64
}

/// Calls per second of an axum server in this process that checks the token of each call and does nothing else, on the
/// given number of connections.
pub fn checking_server(requests: &[Vec<u8>], connections: usize) -> f64 {
    let verifier =
        Arc::new(Verifier::new(APP_ID, vec![keys::parse(&key().public).expect("a generated key can be parsed")]));
    let handler = async move |body: axum::body::Bytes| {
        let token = UnverifiedToken::from_body(&body).expect("a token is text");
        assert!(verifier.verify(&token, now() + 60, &mut Vec::new()).is_ok());
        "{}"
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("the runtime starts");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port is free");
    let address = listener.local_addr().expect("a listener has an address");
    let router = axum::Router::new().fallback(handler);
    runtime.spawn(async move { axum::serve(listener, router).await });
    load::closed(address, requests, connections).expect(200).rate()
}
