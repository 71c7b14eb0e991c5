//! A connection to either backend. A statement that both understand is written once in diesel's terms, inside a
//! function over [`AnyConnection`]; the macro [`on!`] compiles it for each.

use diesel::pg::PgConnection;
use diesel::sqlite::SqliteConnection;

/// A borrowed connection to either backend.
pub(crate) enum AnyConnection<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

/// Runs a query on a connection, and classifies its error.
macro_rules! on {
    ($connection:expr, |$c:ident| $query:expr) => {
        match $connection {
            $crate::store::connection::AnyConnection::Sqlite(connection) => {
                let $c = &mut **connection;
                let result: diesel::QueryResult<_> = $query;
                result.map_err(|error| $crate::store::classify::classify($c, error))
            }
            $crate::store::connection::AnyConnection::Postgres(connection) => {
                let $c = &mut **connection;
                let result: diesel::QueryResult<_> = $query;
                result.map_err(|error| $crate::store::classify::classify($c, error))
            }
        }
    };
}

pub(crate) use on;
