//! Large answers: a bounded number of them is made, or waits for its caller, at a time.
//!
//! A method that may answer with many rows takes a [`Place`] before it reads them. The layer of all calls keeps it
//! with the body of the answer (`calls`). A caller that does not read the body loses its connection, so the place comes
//! back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use inventory_core::model::error::{Error, Failed};
use inventory_core::model::limits;
use inventory_program::listen::CallerInfo;
use inventory_program::repeat::{Repeats, Told};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Extensions, Response, Status};

use crate::status::{Paths, of_error};

/// Large answers at a time. A page takes at most a megabyte on the wire; as rows and as a message, a few times as much.
/// `BatchGetStock` has no bound but its number of levels: with the longest options its answer has up to 13 megabytes.
const PLACES_MAX: usize = 16;
/// Time for a caller to read a large answer.
pub(crate) const READ_TIME_MAX: Duration = Duration::from_secs(10);

/// The places of a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LargeAnswers(Arc<Semaphore>);

/// The right to make one large answer.
#[derive(Clone)]
pub(crate) struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
    caller: Option<CallerInfo>,
}

impl LargeAnswers {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(PLACES_MAX)))
    }

    /// Waits for a place, for a call with these extensions. RESOURCE_EXHAUSTED if there is none in time, or if the
    /// caller does not take its earlier answers.
    pub(crate) async fn place(&self, extensions: &Extensions) -> Result<Place, Status> {
        let caller = extensions.get::<CallerInfo>().cloned();
        let permit = tokio::time::timeout(limits::READER_WAIT_MAX, self.0.clone().acquire_owned()).await;
        match permit {
            Ok(Ok(permit)) if caller.as_ref().is_none_or(CallerInfo::takes_answers) => {
                Ok(Place { _permit: Arc::new(permit), caller })
            }
            Ok(_) | Err(_) => Err(of_error(Error::Failed(Failed::Overloaded), Paths::REQUEST)),
        }
    }
}

impl Place {
    /// The answer, which keeps the place until its last byte is taken.
    pub(crate) fn answer<T>(self, message: T) -> Response<T> {
        let mut response = Response::new(message);
        response.extensions_mut().insert(self);
        response
    }

    /// Keeps the place while the result lives, for [`READ_TIME_MAX`] at most. Then the caller loses its connection.
    pub(crate) fn watch(self) -> Unread {
        let read = CancellationToken::new();
        let unread = Unread { _read: read.clone().drop_guard(), _place: self.clone() };
        if let Some(caller) = self.caller {
            tokio::spawn(async move {
                if tokio::time::timeout(READ_TIME_MAX, read.cancelled()).await.is_err() {
                    close(&caller, "a large answer");
                }
            });
        }
        unread
    }
}

/// A large answer that its caller has not read yet.
pub(crate) struct Unread {
    _read: DropGuard,
    _place: Place,
}

/// Closes the connection of a caller that did not read `what`. Logs it at growing intervals.
pub(crate) fn close(caller: &CallerInfo, what: &'static str) {
    static CLOSED: Repeats = Repeats::new();
    if let Some(Told { count, .. }) = CLOSED.count(what, Instant::now()) {
        tracing::warn!(what, connections = count, "connections were closed: their callers did not read");
    }
    caller.close();
}
