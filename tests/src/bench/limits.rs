//! Limits of the machine, measured in the same run as the figures that are compared with them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::sqlite::SqliteConnection;
use diesel::{Connection, QueryResult};
use hdrhistogram::Histogram;
use inventory_core::store::DatabaseUrl;
use tempfile::TempDir;
use wix_adapter::keys;
use wix_adapter::token::{UnverifiedToken, Verifier};

use crate::bench::fixtures::{Workload, key, tokens};
use crate::bench::load;
use crate::postgres::{Durability, fresh_database, remove_database};
use crate::wix_caller::{APP_ID, now};
use crate::world::Backend;

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

/// A database with one stock row and a table of entries. It has no books to check. Dropping it removes it.
struct Scratch {
    url: DatabaseUrl,
    text: String,
    _folder: TempDir,
}

impl Scratch {
    fn new(backend: Backend) -> Self {
        let folder = TempDir::new().expect("the temporary folder is writable");
        let text = match backend {
            Backend::Sqlite => format!("sqlite:{}", folder.path().join("limit.db").display()),
            Backend::Postgres => fresh_database(Durability::Full),
        };
        let url: DatabaseUrl = text.parse().expect("the database URL is valid");
        Raw::open(&url)
            .run(
                "CREATE TABLE stock (id bigint PRIMARY KEY, available bigint NOT NULL); INSERT INTO stock VALUES (1, \
                 1000000000); \
                 CREATE TABLE entry (item bigint NOT NULL, delta bigint NOT NULL, level_after bigint NOT NULL, \
                 order_id text PRIMARY KEY)",
            )
            .expect("the tables can be created");
        Self { url, text, _folder: folder }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let DatabaseUrl::Postgres(_) = self.url {
            remove_database(&self.text);
        }
    }
}

/// Entries per second that the storage takes: each connection inserts `group` entries and commits them, again and
/// again. Nothing else is done, so this limits every service that commits in groups of this size.
pub fn inserts(backend: Backend, connections: usize, group: usize, measured: Duration) -> f64 {
    let scratch = Scratch::new(backend);
    let rows = match backend {
        Backend::Postgres => format!("SELECT 1, -1, 0, gen_random_uuid()::text FROM generate_series(1, {group})"),
        Backend::Sqlite => format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {group}) \
             SELECT 1, -1, 0, hex(randomblob(16)) FROM n"
        ),
    };
    let (scratch, statement) = (&scratch, format!("INSERT INTO entry {rows}"));
    let started = Instant::now();
    let commits: usize = std::thread::scope(|scope| {
        let worker = |_| {
            let statement = &statement;
            scope.spawn(move || {
                let mut connection = Raw::open(&scratch.url);
                let mut commits = 0;
                while started.elapsed() < measured {
                    connection.run(statement).expect("the insert commits");
                    commits += 1;
                }
                commits
            })
        };
        let workers: Vec<_> = (0..connections).map(worker).collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).sum()
    });
    (commits * group) as f64 / started.elapsed().as_secs_f64()
}

/// Updates and commits one row again and again on one connection. Returns the latencies in microseconds.
pub fn raw_commits(backend: Backend, count: usize) -> Histogram<u64> {
    let scratch = Scratch::new(backend);
    let mut connection = Raw::open(&scratch.url);
    let mut latency = Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds are in order");
    for _ in 0..count {
        let started = Instant::now();
        connection.run("UPDATE stock SET available = available - 1 WHERE id = 1").expect("the update commits");
        latency.saturating_record(started.elapsed().as_micros() as u64);
    }
    latency
}

/// Microseconds of one core to check signature and claims of a token.
pub fn signature_check(count: usize) -> f64 {
    let tokens = tokens(Workload::Hot, 1, count);
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
