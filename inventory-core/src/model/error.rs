//! Why a call gets no outcome. Refusals are outcomes and are not here.

use std::sync::Arc;

use crate::model::catalog::{BadVariant, Unit};

/// Why a call gets no outcome.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The request itself is wrong: the same request fails again. Nothing was done.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The service could not do it. The variants say whether anything may have been done.
    #[error(transparent)]
    Failed(#[from] Failed),
}

/// What is wrong with a request. Nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The idempotency key belongs to a request with other content.
    #[error("the request id was used for a request with other content")]
    KeyReused,
    /// The options of an item identify no unit.
    #[error("{why}")]
    Variant {
        /// Index of the item.
        item: usize,
        /// Why not.
        why: BadVariant,
    },
    /// Another unit of the site has the SKU.
    #[error("belongs to another unit: {}/{}", .unit.app_id, .unit.item_id)]
    SkuTaken {
        /// Index of the item.
        item: usize,
        /// The unit that has it.
        unit: Box<Unit>,
    },
    /// No unit of the site has the SKU that an item names.
    #[error("no unit has this SKU")]
    UnknownSku {
        /// Index of the item.
        item: usize,
    },
    /// A unit's sales window would end before it begins, or when it begins.
    #[error("must be after sell_from")]
    EmptyWindow {
        /// Index of the item.
        item: usize,
    },
    /// The site would have settings for more than `limits::CATALOGS_MAX` catalog apps.
    #[error("a site has settings for at most {max} catalog apps")]
    TooManyCatalogs {
        /// The bound.
        max: usize,
    },
    /// The location cannot become the default location, because it has levels of its own.
    #[error("the location has levels of its own")]
    LocationInUse,
    /// The request names a sequence number that the site's ledger has not reached.
    #[error("is after the last entry of the site, {sequence}")]
    AfterLastEntry {
        /// The site's sequence number.
        sequence: i64,
    },
    /// The request asks for entries that are archived.
    #[error("the entries of the site up to {cut} are archived")]
    Archived {
        /// The sequence number of the last entry that is archived.
        cut: i64,
    },
}

/// Why the service could not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failed {
    /// The queue is full. Nothing was done.
    #[error("too many requests are waiting")]
    Overloaded,
    /// The deadline passed before the request was decided. Nothing was done.
    #[error("the deadline passed before the request was decided")]
    Expired,
    /// The service is stopping. Nothing was done.
    #[error("the server is stopping; ask again, or another server")]
    Stopping,
    /// Too many callers watch the ledger (`limits::WATCHERS_MAX`).
    #[error("too many callers watch the ledger")]
    TooManyWatchers,
    /// The store cannot be used now. Nothing was done.
    #[error("the store is not available: {0}")]
    StoreUnavailable(#[source] Arc<StoreError>),
    /// The database does not have the entry that a read asked for.
    #[error("the site is at sequence {sequence}, and {asked} was asked for")]
    SequenceNotReached {
        /// The site's sequence number.
        sequence: i64,
        /// The sequence number that was asked for.
        asked: i64,
    },
    /// No answer came in time. It may have been done; a replay learns the outcome.
    #[error("no answer in time; send the same request again to learn the outcome")]
    NoAnswer,
    /// The connection was lost during COMMIT. It may have been done; a replay learns the outcome.
    #[error("the outcome of the commit is unknown; send the same request again to learn it")]
    OutcomeUnknown(#[source] Arc<StoreError>),
    /// A bug of ours, or a damaged database. Nothing was done.
    #[error("internal error")]
    Internal(#[source] Arc<StoreError>),
}

/// A failure of the store, by what can be done about it. Its text is made of our own words alone; the library's are in
/// the cause.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The connection cannot be used any more, or cannot be made: connect again.
    #[error("{0}")]
    Gone(Trouble, #[source] Cause),
    /// Another transaction was in the way: run this one again.
    #[error("{0}")]
    Conflict(Trouble, #[source] Cause),
    /// The database answers, but it cannot do this now. The same statement may succeed later.
    #[error("{0}")]
    Unable(Trouble, #[source] Cause),
    /// The statement itself failed.
    #[error("a statement failed")]
    Fault(#[source] Cause),
    /// The database holds something that this version does not write.
    #[error("the database holds {0}")]
    Damaged(&'static str),
}

/// What is wrong with a database that cannot be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// An open connection ended.
    #[error("the connection to the database was lost")]
    ConnectionLost,
    /// No connection can be made.
    #[error("the database cannot be reached")]
    Unreachable,
    /// The database starts or stops.
    #[error("the database is starting or stopping")]
    NotRunning,
    /// The database does not accept the user, the password or the host.
    #[error("the database refused the login")]
    LoginRefused,
    /// The database that the URL names does not exist.
    #[error("the database does not exist")]
    NoSuchDatabase,
    /// The database takes no more connections, or all of ours are in use.
    #[error("no connection to the database is free")]
    NoConnectionFree,
    /// No space is left for the database's files.
    #[error("the database's disk is full")]
    DiskFull,
    /// The database's files cannot be read or written.
    #[error("the database's disk failed")]
    DiskFailed,
    /// The path of the database leads to another file than the one that is open, or to none.
    #[error("the database's file was deleted or replaced; put it back, or restart the server")]
    FileReplaced,
    /// A commit returned, but perhaps before a standby had it.
    #[error("no standby has confirmed the commit")]
    NotReplicated,
    /// The database accepts no writes.
    #[error("the database is read-only")]
    ReadOnly,
    /// A lock was not free in time.
    #[error("another transaction holds a lock")]
    LockHeld,
    /// Two transactions waited for each other, or both changed the same rows.
    #[error("another transaction was in the way")]
    Contention,
    /// A statement took too long.
    #[error("the database did not finish in time")]
    Timeout,
}

/// The error of a library, as the cause of one of ours.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl From<StoreError> for Failed {
    /// For a failure while reading, or before a commit: nothing was written.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Gone(..) | StoreError::Conflict(..) | StoreError::Unable(..) => {
                Self::StoreUnavailable(Arc::new(error))
            }
            StoreError::Fault(_) | StoreError::Damaged(_) => Self::Internal(Arc::new(error)),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}
