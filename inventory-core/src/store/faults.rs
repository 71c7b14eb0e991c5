//! Runs a statement between its two fault points; and what a fault is to a connection.
//!
//! A fault is as real as it can be. On Postgres, statements fail with errors that the server makes, inside of the
//! transaction, and connections are ended by the server. On SQLite the errors have the database's own words, and the
//! connection is closed, which gives its transaction up.

#[cfg(not(all(feature = "fault-points", debug_assertions)))]
use diesel::QueryResult;

use crate::engine::storage::faults::{Faults, Point, Statement};

/// Passes a point. This build has none.
#[cfg(not(all(feature = "fault-points", debug_assertions)))]
pub(crate) fn pass<C>(_: &Faults, _: Point, _: &mut C) -> QueryResult<()> {
    Ok(())
}

/// Runs a statement. This build has no fault points.
#[cfg(not(all(feature = "fault-points", debug_assertions)))]
pub(crate) fn step<C, T>(
    _: &Faults,
    _: Statement,
    connection: &mut C,
    run: impl FnOnce(&mut C) -> QueryResult<T>,
) -> QueryResult<T> {
    run(connection)
}

#[cfg(all(feature = "fault-points", debug_assertions))]
pub(crate) use self::armed::{pass, step};

#[cfg(all(feature = "fault-points", debug_assertions))]
mod armed {
    use diesel::connection::SimpleConnection;
    use diesel::pg::PgConnection;
    use diesel::result::{DatabaseErrorKind, Error};
    use diesel::sqlite::SqliteConnection;
    use diesel::{Connection, QueryResult};

    use super::{Faults, Point, Statement};
    use crate::engine::storage::faults::{Failure, Strike};

    /// Runs a statement between its two fault points.
    pub(crate) fn step<C: Fails, T>(
        faults: &Faults,
        statement: Statement,
        connection: &mut C,
        run: impl FnOnce(&mut C) -> QueryResult<T>,
    ) -> QueryResult<T> {
        pass(faults, Point::Before(statement), connection)?;
        let done = run(connection)?;
        pass(faults, Point::After(statement), connection)?;
        Ok(done)
    }

    /// Passes a point. The error is that of the statement that does not succeed there.
    pub(crate) fn pass(faults: &Faults, point: Point, connection: &mut impl Fails) -> QueryResult<()> {
        match faults.at(point) {
            None => Ok(()),
            Some(Strike::Fail(failure)) => Err(connection.fail(failure)),
            Some(Strike::Lose) => Err(connection.lose()),
        }
    }

    /// A connection that a test makes fail.
    pub(crate) trait Fails {
        /// The error of a statement that fails.
        fn fail(&mut self, failure: Failure) -> Error;
        /// Breaks the connection; returns the error of whatever was under way.
        fn lose(&mut self) -> Error;
    }

    impl Fails for PgConnection {
        fn fail(&mut self, failure: Failure) -> Error {
            let (message, code) = match failure {
                Failure::Conflict => ("could not serialize access", "40001"),
                Failure::LockHeld => ("canceling statement due to lock timeout", "55P03"),
                Failure::Full => ("could not extend file: No space left on device", "53100"),
                Failure::Wrong => ("a test asked for it", "XX000"),
            };
            let raise = format!("DO $$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '{code}'; END $$");
            self.batch_execute(&raise).expect_err("it raises an error")
        }

        fn lose(&mut self) -> Error {
            // The server ends the session while it sleeps.
            let end = "SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(60)";
            self.batch_execute(end).expect_err("the session has ended")
        }
    }

    impl Fails for SqliteConnection {
        fn fail(&mut self, failure: Failure) -> Error {
            let message = match failure {
                Failure::Conflict | Failure::LockHeld => "database is locked",
                Failure::Full => "database or disk is full",
                Failure::Wrong => "a test asked for it",
            };
            Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned()))
        }

        fn lose(&mut self) -> Error {
            // Closes the connection. The other one knows no table.
            *self = SqliteConnection::establish(":memory:").expect("memory is no file that could be missing");
            Error::DatabaseError(DatabaseErrorKind::ClosedConnection, Box::new("closed".to_owned()))
        }
    }
}
