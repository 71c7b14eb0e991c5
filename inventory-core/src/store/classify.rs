//! What a diesel error means: what is wrong with the database, and whether to connect again, to run the transaction
//! again, or to give up.

use diesel::ConnectionError;
use diesel::r2d2::R2D2Connection;
use diesel::result::{DatabaseErrorKind, Error};

use crate::engine::storage::CommitError;
use crate::model::error::{Cause, StoreError, Trouble};

/// Postgres's error after `lock_timeout`.
const LOCK_TIMEOUT: &str = "due to lock timeout";

/// Texts of errors that diesel has no kind for. Those of SQLite and libpq are fixed in their sources; those of a
/// Postgres server are in its language, here English. An error in other words counts as a lost connection or as a
/// failed statement.
const TEXTS: [(&str, Trouble); 28] = [
    ("database or disk is full", Trouble::DiskFull),
    ("No space left on device", Trouble::DiskFull),
    ("could not extend file", Trouble::DiskFull),
    ("disk I/O error", Trouble::DiskFailed),
    ("could not read block", Trouble::DiskFailed),
    ("could not write to file", Trouble::DiskFailed),
    ("attempt to write a readonly database", Trouble::ReadOnly),
    ("in a read-only transaction", Trouble::ReadOnly),
    ("during recovery", Trouble::ReadOnly),
    ("session is read-only", Trouble::ReadOnly),
    ("server is in hot standby mode", Trouble::ReadOnly),
    ("is locked", Trouble::LockHeld),
    (LOCK_TIMEOUT, Trouble::LockHeld),
    ("deadlock detected", Trouble::Contention),
    ("could not serialize access", Trouble::Contention),
    ("due to statement timeout", Trouble::Timeout),
    ("timeout expired", Trouble::Timeout),
    ("sorry, too many clients", Trouble::NoConnectionFree),
    ("too many connections", Trouble::NoConnectionFree),
    ("remaining connection slots", Trouble::NoConnectionFree),
    ("authentication failed", Trouble::LoginRefused),
    ("no password supplied", Trouble::LoginRefused),
    ("no pg_hba.conf entry", Trouble::LoginRefused),
    ("is not permitted to log in", Trouble::LoginRefused),
    ("the database system is", Trouble::NotRunning),
    ("terminating connection due to administrator command", Trouble::NotRunning),
    ("FATAL:  role", Trouble::LoginRefused),
    ("FATAL:  database", Trouble::NoSuchDatabase),
];

/// What an error's text says.
fn trouble_of(text: &str) -> Option<Trouble> {
    TEXTS.iter().find(|(part, _)| text.contains(part)).map(|(_, trouble)| *trouble)
}

/// Whether an error's text says that somebody else held a lock for too long.
pub(crate) fn is_lock_timeout(text: &str) -> bool {
    text.contains(LOCK_TIMEOUT)
}

/// A connection cannot be made.
pub(crate) fn unreachable(error: impl Into<Cause>) -> StoreError {
    let cause = error.into();
    let trouble = trouble_of(&cause.to_string()).unwrap_or(Trouble::Unreachable);
    StoreError::Gone(trouble, cause)
}

/// A connection cannot be made.
impl From<ConnectionError> for StoreError {
    fn from(error: ConnectionError) -> Self {
        unreachable(error)
    }
}

/// Classifies an error before COMMIT. If its kind leaves it open, the connection is tried.
pub(crate) fn classify<C: R2D2Connection>(connection: &mut C, error: Error) -> StoreError {
    let cause = |error| Box::new(error);
    match &error {
        Error::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => {
            StoreError::Conflict(Trouble::Contention, cause(error))
        }
        // A server that must not write has been demoted, or is the wrong one: connect again.
        Error::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _) => {
            StoreError::Gone(Trouble::ReadOnly, cause(error))
        }
        Error::DatabaseError(DatabaseErrorKind::ClosedConnection, _) => {
            StoreError::Gone(Trouble::ConnectionLost, cause(error))
        }
        Error::DatabaseError(DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::Unknown, info) => {
            match trouble_of(info.message()) {
                // Postgres waited for the lock already. Others need not wait for it too.
                Some(Trouble::LockHeld) if info.message().contains(LOCK_TIMEOUT) => {
                    StoreError::Unable(Trouble::LockHeld, cause(error))
                }
                Some(trouble @ (Trouble::LockHeld | Trouble::Contention | Trouble::Timeout)) => {
                    StoreError::Conflict(trouble, cause(error))
                }
                Some(trouble @ (Trouble::DiskFull | Trouble::DiskFailed | Trouble::FileReplaced)) => {
                    StoreError::Unable(trouble, cause(error))
                }
                Some(
                    trouble @ (Trouble::ConnectionLost
                    | Trouble::NotReplicated
                    | Trouble::Unreachable
                    | Trouble::NotRunning
                    | Trouble::LoginRefused
                    | Trouble::NoSuchDatabase
                    | Trouble::NoConnectionFree
                    | Trouble::ReadOnly),
                ) => StoreError::Gone(trouble, cause(error)),
                None if is_gone(connection) => StoreError::Gone(Trouble::ConnectionLost, cause(error)),
                None => StoreError::Fault(cause(error)),
            }
        }
        Error::BrokenTransactionManager if is_gone(connection) => {
            StoreError::Gone(Trouble::ConnectionLost, cause(error))
        }
        _ => StoreError::Fault(cause(error)),
    }
}

/// Tries ROLLBACK first, since a failed transaction accepts nothing else. Outside of a transaction SQLite refuses it;
/// then a ping decides.
fn is_gone<C: R2D2Connection>(connection: &mut C) -> bool {
    connection.batch_execute("ROLLBACK").is_err() && connection.ping().is_err()
}

/// Classifies an error of a statement that is a transaction of its own. A server that still answers has said that the
/// statement failed, so nothing was committed.
pub(crate) fn classify_autocommit<C: R2D2Connection>(connection: &mut C, error: Error) -> CommitError {
    match classify(connection, error) {
        fault @ StoreError::Gone(Trouble::ReadOnly, _) => CommitError::NotCommitted(fault),
        fault @ StoreError::Gone(..) => CommitError::Unknown(fault),
        fault => CommitError::NotCommitted(fault),
    }
}

/// Classifies an error of COMMIT. Only what the database itself said about the transaction shows that it did not
/// commit.
pub(crate) fn classify_commit(error: Error) -> CommitError {
    match &error {
        Error::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => {
            CommitError::NotCommitted(StoreError::Conflict(Trouble::Contention, Box::new(error)))
        }
        Error::DatabaseError(
            DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::NotNullViolation
            | DatabaseErrorKind::CheckViolation,
            _,
        ) => CommitError::NotCommitted(StoreError::Fault(Box::new(error))),
        _ => {
            let said = match &error {
                Error::DatabaseError(_, info) => trouble_of(info.message()),
                _ => None,
            };
            match said {
                Some(trouble @ (Trouble::LockHeld | Trouble::Contention | Trouble::Timeout)) => {
                    CommitError::NotCommitted(StoreError::Conflict(trouble, Box::new(error)))
                }
                said => {
                    let trouble = said.unwrap_or(Trouble::ConnectionLost);
                    CommitError::Unknown(StoreError::Gone(trouble, Box::new(error)))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_is_wrong() {
        let rows = [
            (
                "connection to server failed: FATAL:  password authentication failed for user \"x\"",
                Trouble::LoginRefused,
            ),
            ("FATAL:  role \"stock\" does not exist", Trouble::LoginRefused),
            ("FATAL:  database \"stock\" does not exist", Trouble::NoSuchDatabase),
            ("FATAL:  sorry, too many clients already", Trouble::NoConnectionFree),
            ("FATAL:  the database system is starting up", Trouble::NotRunning),
            ("connection to server at \"10.0.0.1\", port 5432 failed: Connection refused", Trouble::Unreachable),
            ("connection to server at \"10.0.0.1\", port 5432 failed: timeout expired", Trouble::Timeout),
        ];
        for (text, expected) in rows {
            let StoreError::Gone(trouble, _) = unreachable(text) else { panic!("a connection that cannot be made") };
            assert_eq!(trouble, expected, "{text}");
        }
        let rows = [
            ("could not extend file \"base/5/16384\": No space left on device", Some(Trouble::DiskFull)),
            ("database or disk is full", Some(Trouble::DiskFull)),
            ("canceling statement due to lock timeout", Some(Trouble::LockHeld)),
            ("database is locked", Some(Trouble::LockHeld)),
            ("cannot execute UPDATE in a read-only transaction", Some(Trouble::ReadOnly)),
            ("syntax error at or near \"x\"", None),
        ];
        for (text, expected) in rows {
            assert_eq!(trouble_of(text), expected, "{text}");
        }
    }
}
