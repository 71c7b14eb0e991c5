//! What a diesel error means for the one who asked: connect again, run again, or give up.

use diesel::r2d2::R2D2Connection;
use diesel::result::{DatabaseErrorKind, Error};

use crate::error::StoreError;
use crate::store::batch::CommitError;

/// Sorts an error met before COMMIT. Where the kind leaves it open, the connection is asked.
pub(crate) fn classify<C: R2D2Connection>(connection: &mut C, error: Error) -> StoreError {
    match &error {
        Error::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => StoreError::Conflict(error),
        Error::DatabaseError(DatabaseErrorKind::ClosedConnection, _) => StoreError::Gone(Box::new(error)),
        Error::DatabaseError(DatabaseErrorKind::Unknown, told) if told.message().contains("is locked") => {
            // SQLITE_BUSY has no kind of its own; its text is fixed in SQLite's source.
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

/// A transaction that failed answers no statement but ROLLBACK, so that is tried first; outside
/// a transaction SQLite refuses it, and then a ping must do.
fn is_gone<C: R2D2Connection>(connection: &mut C) -> bool {
    connection.batch_execute("ROLLBACK").is_err() && connection.ping().is_err()
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
        Error::DatabaseError(DatabaseErrorKind::Unknown, told) if told.message().contains("is locked") => {
            CommitError::NotCommitted(StoreError::Conflict(error))
        }
        _ => CommitError::Unknown(StoreError::Gone(Box::new(error))),
    }
}
