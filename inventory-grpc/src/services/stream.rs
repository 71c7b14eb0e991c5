//! Answers of many messages, made by a task that stops when nobody reads them any more.

use std::pin::Pin;

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::mpsc;
use tonic::Status;

/// The messages of a streamed answer.
pub(super) type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Where the task puts its messages; it waits there while the reader is slow.
pub(super) type Sender<T> = mpsc::Sender<Result<T, Status>>;

/// Streams what `work` sends, and at last its error, if it ends with one.
pub(super) fn stream<T, F>(work: impl FnOnce(Sender<T>) -> F) -> Messages<T>
where
    T: Send + 'static,
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(1);
    let working = work(sender.clone());
    tokio::spawn(async move {
        tokio::select! {
            done = working => if let Err(status) = done {
                let _ = sender.send(Err(status)).await;
            },
            () = sender.closed() => {}
        }
    });
    Box::pin(unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver))))
}
