//! Streamed answers: a task makes the messages and ends when nobody reads them any more.
//!
//! At most one message waits for a slow reader. The task then waits too, so a reader costs the same however slow it is.

use std::pin::Pin;

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::mpsc;
use tonic::Status;
use tracing::{Instrument, Span};

/// The messages of a streamed answer.
pub(super) type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Takes the messages of the task. Waits while the reader is slow.
pub(super) type Sender<T> = mpsc::Sender<Result<T, Status>>;

/// Streams what `work` sends, and at last its error if it ends with one.
pub(super) fn stream<T, F>(work: impl FnOnce(Sender<T>) -> F) -> Messages<T>
where
    T: Send + 'static,
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(1);
    let working = work(sender.clone());
    let work = async move {
        tokio::select! {
            done = working => if let Err(status) = done {
                // The reader may have left.
                let _ = sender.send(Err(status)).await;
            },
            () = sender.closed() => {}
        }
    };
    // What the task logs names the call.
    tokio::spawn(work.instrument(Span::current()));
    Box::pin(unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver))))
}
