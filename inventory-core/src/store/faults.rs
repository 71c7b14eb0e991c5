//! What a diesel error means for the one who asked: connect again, run again, or give up.

use diesel::r2d2::R2D2Connection;
use diesel::result::{DatabaseErrorKind, Error};

use crate::error::StoreError;
use crate::store::batch::CommitError;

/// Sorts an error met before COMMIT. Where the kind leaves it open, the connection is asked.
pub(crate) fn classify<C: R2D2Connection>(connection: &mut C, error: Error) -> StoreError {
    match &error {
        Error::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => StoreError::Conflict(error),
        // A server that may not write has been demoted, or was never the right one: connect again.
        Error::DatabaseError(DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::ReadOnlyTransaction, _) => {
            StoreError::Gone(Box::new(error))
        }
        Error::DatabaseError(DatabaseErrorKind::Unknown, told) if is_conflict(told.message()) => {
            StoreError::Conflict(error)
        }
        Error::DatabaseError(DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::Unknown, _)
        | Error::BrokenTransactionManager => {
            if is_gone(connection) {
                StoreError::Gone(Box::new(error))
            } else {
                StoreError::Fault(error)
            }
        }
        _ => StoreError::Fault(error),
    }
}

/// What diesel has no kind for: SQLITE_BUSY, whose text is fixed in SQLite's source; and
/// Postgres's 40P01 and 57014, as an English server words them (any other wording is a fault, and
/// isolation sorts it out more slowly).
fn is_conflict(message: &str) -> bool {
    ["is locked", "deadlock detected", "due to statement timeout"].iter().any(|text| message.contains(text))
}

/// A transaction that failed answers no statement but ROLLBACK, so that is tried first; outside
/// a transaction SQLite refuses it, and then a ping must do.
fn is_gone<C: R2D2Connection>(connection: &mut C) -> bool {
    connection.batch_execute("ROLLBACK").is_err() && connection.ping().is_err()
}

/// Sorts an error met by a statement that is a transaction of its own: a server that still answers
/// has said that the statement failed, and so that nothing was committed.
pub(crate) fn classify_at_once<C: R2D2Connection>(connection: &mut C, error: Error) -> CommitError {
    let refused = matches!(error, Error::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _));
    match classify(connection, error) {
        fault @ StoreError::Gone(_) if !refused => CommitError::Unknown(fault),
        fault => CommitError::NotCommitted(fault),
    }
}

/// Sorts an error met at COMMIT: only what the database itself said about the transaction tells
/// that it did not commit.
pub(crate) fn classify_commit(error: Error) -> CommitError {
    match &error {
        Error::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => {
            CommitError::NotCommitted(StoreError::Conflict(error))
        }
        Error::DatabaseError(
            DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::NotNullViolation
            | DatabaseErrorKind::CheckViolation,
            _,
        ) => CommitError::NotCommitted(StoreError::Fault(error)),
        Error::DatabaseError(DatabaseErrorKind::Unknown, told) if is_conflict(told.message()) => {
            CommitError::NotCommitted(StoreError::Conflict(error))
        }
        _ => CommitError::Unknown(StoreError::Gone(Box::new(error))),
    }
}
