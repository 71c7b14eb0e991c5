//! The ways in which there is no outcome to tell.

use std::sync::Arc;

use crate::catalog::Unit;

/// Why a command got no outcome. Refusals are outcomes and do not stand here.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Too much is waiting. Nothing was done.
    #[error("too many requests are waiting")]
    Overloaded,
    /// The deadline passed before the command was decided. Nothing was done.
    #[error("the deadline passed before the request was decided")]
    Expired,
    /// The key belongs to a request with other content. Nothing was done.
    #[error("the request id was used for a request with other content")]
    KeyReused,
    /// The options that identify stock are too large. Nothing was done.
    #[error("the options that identify stock are too large")]
    VariantTooLarge {
        /// Index of the item.
        item: usize,
    },
    /// Another unit of the site has the sku. Nothing was done.
    #[error("belongs to another unit: {}/{}", .0.app_id, .0.item_id)]
    SkuTaken(Box<Unit>),
    /// No unit of the site has the sku that an item names. Nothing was done.
    #[error("no unit has this sku")]
    UnknownSku {
        /// Index of the item.
        item: usize,
    },
    /// The location cannot become the default: it has levels of its own. Nothing was done.
    #[error("the location has levels of its own")]
    LocationInUse,
    /// The store cannot be reached, or the engine is stopping. Nothing was done.
    #[error("the store is not available")]
    Unavailable(#[source] Option<Arc<StoreError>>),
    /// The answer did not come in time. Whether it was done is not known; the key tells.
    #[error("no answer in time; asking again with the same request id tells the outcome")]
    NoAnswer,
    /// The connection was lost during COMMIT. Whether it was done is not known; the key tells.
    #[error("the outcome of the commit is unknown; asking again with the same request id tells it")]
    Unknown(#[source] Arc<StoreError>),
    /// What the store did cannot be explained: our bug. Nothing was done.
    #[error("internal error")]
    Internal(#[source] Arc<StoreError>),
}

impl Error {
    /// A fault of the store while reading, or before a commit: nothing was written.
    pub(crate) fn before_commit(fault: StoreError) -> Self {
        match fault {
            StoreError::Gone(_) | StoreError::Conflict(_) => Self::Unavailable(Some(Arc::new(fault))),
            StoreError::Fault(_) | StoreError::Damaged(_) => Self::Internal(Arc::new(fault)),
        }
    }
}

/// What went wrong in the store, by what can be done about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The connection is lost or cannot be made: connect again.
    #[error("the connection to the database is gone")]
    Gone(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another transaction was in the way: run this one again.
    #[error("another transaction was in the way")]
    Conflict(#[source] diesel::result::Error),
    /// The statement itself failed.
    #[error("a statement failed")]
    Fault(#[source] diesel::result::Error),
    /// The database holds something that this version cannot have written.
    #[error("the database holds {0}")]
    Damaged(&'static str),
}
