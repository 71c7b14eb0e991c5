//! Why a call gets no outcome. Refusals are outcomes and are not here.

use std::sync::Arc;

use crate::model::catalog::Unit;

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
    /// The options that identify stock are larger than `limits::VARIANT_BYTES_MAX`.
    #[error("the options that identify stock are too large")]
    VariantTooLarge {
        /// Index of the item.
        item: usize,
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
    #[error("the store is not available")]
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

/// A failure of the store, by what can be done about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The connection is lost or cannot be made: connect again.
    #[error("the connection to the database is gone")]
    Gone(#[source] Cause),
    /// Another transaction was in the way: run this one again.
    #[error("another transaction was in the way")]
    Conflict(#[source] Cause),
    /// The statement itself failed.
    #[error("a statement failed")]
    Fault(#[source] Cause),
    /// The database holds something that this version does not write.
    #[error("the database holds {0}")]
    Damaged(&'static str),
}

/// The error of a library, as the cause of one of ours.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl From<StoreError> for Failed {
    /// For a failure while reading, or before a commit: nothing was written.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Gone(_) | StoreError::Conflict(_) => Self::StoreUnavailable(Arc::new(error)),
            StoreError::Fault(_) | StoreError::Damaged(_) => Self::Internal(Arc::new(error)),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}
