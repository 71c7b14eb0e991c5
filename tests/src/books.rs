//! Checks the books of a database with SQL of its own, without the server's code.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::SqliteConnection;
use diesel::{Connection, QueryableByName, RunQueryDsl, sql_query};
use inventory_core::store::DatabaseUrl;

/// What must not exist, and the SQL that counts it. The SQL is portable: it compares nullable columns as text. Every
/// query joins or groups whole tables, so it also finishes on the million entries of a benchmark.
const PROOFS: [(&str, &str); 11] = [
    (
        "a level is not its balance and the sum of its entries, or its revision is not their number",
        "SELECT count(*) AS wrong FROM level l LEFT JOIN (SELECT unit_id, location_id, sum(delta) AS total, count(*) \
         AS many \
         FROM ledger GROUP BY unit_id, location_id) e ON e.unit_id = l.unit_id AND \
         coalesce(CAST(e.location_id AS text), '') = coalesce(CAST(l.location_id AS text), '') \
         LEFT JOIN balance b ON b.level_id = l.level_id \
         WHERE l.available <> coalesce(e.total, 0) + coalesce(b.available, 0) \
         OR l.revision <> coalesce(e.many, 0) + coalesce(b.revision, 0)",
    ),
    (
        "an entry belongs to no level",
        "SELECT count(*) AS wrong FROM (SELECT DISTINCT unit_id, location_id FROM ledger) e LEFT JOIN level l \
         ON e.unit_id = l.unit_id AND \
         coalesce(CAST(e.location_id AS text), '') = coalesce(CAST(l.location_id AS text), '') WHERE l.level_id IS \
         NULL",
    ),
    (
        "a balance belongs to no level, or reaches past the cut of its site",
        "SELECT count(*) AS wrong FROM balance b LEFT JOIN level l ON l.level_id = b.level_id LEFT JOIN cut c ON \
         c.site_id = b.site_id WHERE l.level_id IS NULL OR c.site_id IS NULL OR b.last_sequence > c.sequence",
    ),
    (
        "the sequence numbers of a site are not those from its cut to its last one",
        "SELECT count(*) AS wrong FROM site s LEFT JOIN (SELECT site_id, count(*) AS many, min(sequence) AS first, \
         max(sequence) AS last FROM ledger GROUP BY site_id) e ON e.site_id = s.site_id \
         LEFT JOIN cut c ON c.site_id = s.site_id \
         WHERE s.sequence <> coalesce(e.many, 0) + coalesce(c.sequence, 0) \
         OR s.sequence <> coalesce(e.last, c.sequence, 0) OR coalesce(e.first - coalesce(c.sequence, 0), 1) <> 1",
    ),
    (
        "an entry starts at another level than the one at which the previous entry ended",
        "SELECT count(*) AS wrong FROM (SELECT e.level_before, coalesce(lag(e.level_after) OVER \
         (PARTITION BY e.unit_id, e.location_id ORDER BY e.sequence), b.available, 0) AS expected FROM ledger e \
         LEFT JOIN balance b ON b.unit_id = e.unit_id AND \
         coalesce(CAST(b.location_id AS text), '') = coalesce(CAST(e.location_id AS text), '')) AS chain \
         WHERE level_before <> expected",
    ),
    (
        "an entry does not name the previous entry of its level",
        "SELECT count(*) AS wrong FROM (SELECT e.previous_sequence, coalesce(lag(e.sequence) OVER \
         (PARTITION BY e.unit_id, e.location_id ORDER BY e.sequence), b.last_sequence, 0) AS expected FROM ledger e \
         LEFT JOIN balance b ON b.unit_id = e.unit_id AND \
         coalesce(CAST(b.location_id AS text), '') = coalesce(CAST(e.location_id AS text), '')) AS chain \
         WHERE previous_sequence <> expected",
    ),
    (
        "a level does not name its last entry, or a waypoint is missing",
        "SELECT count(*) AS wrong FROM level l LEFT JOIN (SELECT unit_id, location_id, max(sequence) AS last FROM \
         ledger \
         GROUP BY unit_id, location_id) e ON e.unit_id = l.unit_id AND \
         coalesce(CAST(e.location_id AS text), '') = coalesce(CAST(l.location_id AS text), '') \
         LEFT JOIN (SELECT level_id, count(*) AS many FROM waypoint GROUP BY level_id) w ON w.level_id = l.level_id \
         LEFT JOIN balance b ON b.level_id = l.level_id \
         WHERE l.last_sequence <> coalesce(e.last, b.last_sequence, 0) \
         OR l.revision / 64 - coalesce(b.revision, 0) / 64 <> coalesce(w.many, 0)",
    ),
    (
        "an entry is outside of its change",
        "SELECT count(*) AS wrong FROM ledger e LEFT JOIN change c ON c.site_id = e.site_id \
         AND c.first_sequence = e.change_sequence WHERE c.site_id IS NULL OR e.sequence NOT BETWEEN c.first_sequence \
         AND c.last_sequence",
    ),
    (
        "a change does not belong to exactly one recorded request",
        "SELECT abs((SELECT count(*) FROM change) - (SELECT count(*) FROM request WHERE last_sequence >= \
         first_sequence)) + \
         (SELECT count(*) FROM change c LEFT JOIN request r ON CAST(r.site_id AS text) = CAST(c.site_id AS text) AND \
         r.first_sequence = c.first_sequence \
         AND r.last_sequence = c.last_sequence AND r.refusal IS NULL WHERE r.site_id IS NULL) AS wrong",
    ),
    (
        "a change was recorded at an earlier time than the change before it",
        "SELECT count(*) AS wrong FROM (SELECT recorded_at, lag(recorded_at) OVER (PARTITION BY site_id ORDER BY \
         first_sequence) AS earlier FROM change) AS chain WHERE recorded_at < earlier",
    ),
    (
        "the time of a site is earlier than that of its last change",
        "SELECT count(*) AS wrong FROM site s JOIN (SELECT site_id, max(recorded_at) AS last FROM change GROUP BY \
         site_id) c ON c.site_id = s.site_id WHERE s.recorded_at < c.last",
    ),
];

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    wrong: i64,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// Runs a query on either store.
macro_rules! on {
    ($url:expr, |$connection:ident| $query:expr) => {
        match $url {
            DatabaseUrl::Sqlite(path) => {
                let $connection = &mut SqliteConnection::establish(path).expect("the database file opens");
                // A server that is just stopping may hold the lock for a moment.
                $connection.batch_execute("PRAGMA busy_timeout = 10000").expect("busy_timeout can be set");
                $query
            }
            DatabaseUrl::Postgres(url) => {
                let $connection = &mut PgConnection::establish(url).expect("Postgres accepts connections");
                $query
            }
        }
    };
}

/// Holds a site, so that nobody else can lock it until it is released.
pub struct Holder(Held);

enum Held {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Holder {
    /// Locks a site: its row on Postgres, the whole database on SQLite.
    pub fn of(url: &DatabaseUrl, site: &str) -> Self {
        Self(match url {
            DatabaseUrl::Sqlite(path) => {
                let mut connection = SqliteConnection::establish(path).expect("the database file opens");
                connection.batch_execute("PRAGMA busy_timeout = 10000; BEGIN IMMEDIATE").expect("it can be locked");
                Held::Sqlite(connection)
            }
            DatabaseUrl::Postgres(url) => {
                let mut connection = PgConnection::establish(url).expect("Postgres accepts connections");
                let lock = format!("BEGIN; SELECT FROM site WHERE site_id = '{site}' FOR UPDATE");
                connection.batch_execute(&lock).expect("the site can be locked");
                Held::Postgres(connection)
            }
        })
    }

    /// Lets the site go.
    pub fn release(&mut self) {
        let released = match &mut self.0 {
            Held::Sqlite(connection) => connection.batch_execute("ROLLBACK"),
            Held::Postgres(connection) => connection.batch_execute("ROLLBACK"),
        };
        released.expect("the lock can be released");
    }
}

/// Panics at the first claim that does not hold.
pub fn prove(url: &DatabaseUrl) {
    if let Some(wrong) = wrong(url) {
        panic!("the books are wrong: {wrong}");
    }
}

/// The first claim that does not hold, and how often.
pub fn wrong(url: &DatabaseUrl) -> Option<String> {
    PROOFS.iter().find_map(|(claim, sql)| {
        let wrong = match url {
            // In SQLite, a BLOB as text is not its hexadecimal digits.
            DatabaseUrl::Sqlite(_) => {
                count(url, &sql.replace("CAST(", "hex(").replace(" AS text)", ")").replace("hex(0 AS bigint)", "0"))
            }
            DatabaseUrl::Postgres(_) => count(url, sql),
        };
        (wrong != 0).then(|| format!("{claim}: {wrong} times"))
    })
}

/// The number in the column `wrong` of the only row that a query returns; 0 without a row.
pub fn count(url: &DatabaseUrl, sql: &str) -> i64 {
    let found: Vec<Count> = on!(url, |connection| sql_query(sql).load(connection)).expect("the query runs");
    found.first().map_or(0, |row| row.wrong)
}

/// The same from a server that may be away.
pub fn count_if_up(url: &DatabaseUrl, sql: &str) -> Option<i64> {
    let DatabaseUrl::Postgres(address) = url else { return Some(count(url, sql)) };
    let connection = &mut PgConnection::establish(address).ok()?;
    let found: Vec<Count> = sql_query(sql).load(connection).ok()?;
    found.first().map(|row| row.wrong)
}

/// The texts in the column `line` of all rows that a query returns.
pub fn lines(url: &DatabaseUrl, sql: &str) -> Vec<String> {
    let found: Vec<Line> = on!(url, |connection| sql_query(sql).load(connection)).expect("the query runs");
    found.into_iter().map(|row| row.line).collect()
}

/// Runs a statement and returns the number of changed rows. The error is the database's own.
pub fn execute(url: &DatabaseUrl, sql: &str) -> diesel::QueryResult<usize> {
    on!(url, |connection| sql_query(sql).execute(connection))
}

/// Runs a script of several statements.
pub fn script(url: &DatabaseUrl, sql: &str) {
    on!(url, |connection| connection.batch_execute(sql)).expect("the script runs");
}
