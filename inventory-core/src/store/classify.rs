//! What a diesel error means: connect again, run the transaction again, or give up.

use diesel::r2d2::R2D2Connection;
use diesel::result::{DatabaseErrorKind, Error};

use crate::engine::storage::CommitError;
use crate::model::error::StoreError;

/// Classifies an error before COMMIT. If its kind leaves it open, the connection is tried.
pub(crate) fn classify<C: R2D2Connection>(connection: &mut C, error: Error) -> StoreError {
    match &error {
        Error::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => StoreError::Conflict(Box::new(error)),
        // A server that must not write has been demoted, or is the wrong one: connect again.
        Error::DatabaseError(DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::ReadOnlyTransaction, _) => {
            StoreError::Gone(Box::new(error))
        }
        Error::DatabaseError(DatabaseErrorKind::Unknown, info) if is_conflict(info.message()) => {
            StoreError::Conflict(Box::new(error))
        }
        Error::DatabaseError(DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::Unknown, _)
        | Error::BrokenTransactionManager => {
            if is_gone(connection) {
                StoreError::Gone(Box::new(error))
            } else {
                StoreError::Fault(Box::new(error))
            }
        }
        _ => StoreError::Fault(Box::new(error)),
    }
}

/// Conflicts that diesel has no kind for: SQLITE_BUSY, whose text is fixed in SQLite's source, and Postgres's 40P01 and
/// 57014 in the words of an English server. In other words they count as faults, and the batch runs command by
/// command.
fn is_conflict(message: &str) -> bool {
    ["is locked", "deadlock detected", "due to statement timeout"].iter().any(|text| message.contains(text))
}

/// Tries ROLLBACK first, since a failed transaction accepts nothing else. Outside of a transaction SQLite refuses it;
/// then a ping decides.
fn is_gone<C: R2D2Connection>(connection: &mut C) -> bool {
    connection.batch_execute("ROLLBACK").is_err() && connection.ping().is_err()
}

/// Classifies an error of a statement that is a transaction of its own. A server that still answers has said that the
/// statement failed, so nothing was committed.
pub(crate) fn classify_autocommit<C: R2D2Connection>(connection: &mut C, error: Error) -> CommitError {
    let refused = matches!(error, Error::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _));
    match classify(connection, error) {
        fault @ StoreError::Gone(_) if !refused => CommitError::Unknown(fault),
        fault => CommitError::NotCommitted(fault),
    }
}

/// Classifies an error of COMMIT. Only what the database itself said about the transaction shows that it did not
/// commit.
pub(crate) fn classify_commit(error: Error) -> CommitError {
    match &error {
        Error::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => {
            CommitError::NotCommitted(StoreError::Conflict(Box::new(error)))
        }
        Error::DatabaseError(
            DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::NotNullViolation
            | DatabaseErrorKind::CheckViolation,
            _,
        ) => CommitError::NotCommitted(StoreError::Fault(Box::new(error))),
        Error::DatabaseError(DatabaseErrorKind::Unknown, info) if is_conflict(info.message()) => {
            CommitError::NotCommitted(StoreError::Conflict(Box::new(error)))
        }
        _ => CommitError::Unknown(StoreError::Gone(Box::new(error))),
    }
}
