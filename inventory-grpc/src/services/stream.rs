//! Streamed answers: a task makes the messages and ends when nobody reads them any more.
//!
//! A task gives a message to the connection, and then waits until the reader has taken it: until the connection asks
//! for the next one. So at most two messages of a stream wait for a slow reader, the rest of one and the next, and a
//! reader costs the same however slow it is. A reader that takes no message for [`TAKE_TIME_MAX`] loses its connection.
//!
//! What the connection has counts as an answer that its caller has not taken (`inventory_program::listen`).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use inventory_program::listen::CallerInfo;
use tokio::sync::{Notify, mpsc};
use tonic::Status;
use tracing::{Instrument, Span};

use crate::{large, status};

/// Time for a reader to take a message.
pub(super) const TAKE_TIME_MAX: Duration = Duration::from_secs(30);

/// The messages of a streamed answer.
pub(super) type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Takes the messages of the task. If the reader leaves, [`stream`] ends the task, so no method reports it.
#[derive(Clone)]
pub(super) struct Reader<T> {
    messages: mpsc::Sender<Result<T, Status>>,
    /// Told of each message that the reader has taken.
    taken: Arc<Notify>,
    caller: Option<CallerInfo>,
    /// What is read, for the log.
    what: &'static str,
}

impl<T> Reader<T> {
    /// Gives a message to the connection. Returns once the connection has it, and counts its bytes.
    pub(super) async fn give(&self, message: T) -> Result<(), Status> {
        // An error means that the reader has left.
        let _ = self.messages.send(Ok(message)).await;
        self.in_time(self.messages.reserve()).await.map(drop)
    }

    /// Returns once the reader has taken the message that was given last: some of it has left, and the connection asks
    /// for the next one. Call it once for each message.
    pub(super) async fn taken(&self) -> Result<(), Status> {
        self.in_time(self.taken.notified()).await
    }

    /// Gives a message, and returns once the reader has taken it.
    pub(super) async fn send(&self, message: T) -> Result<(), Status> {
        self.give(message).await?;
        self.taken().await
    }

    /// Whether the caller, and all callers together, take their answers.
    pub(super) fn takes_answers(&self) -> bool {
        self.caller.as_ref().is_none_or(CallerInfo::takes_answers)
    }

    /// The result of a step of the reader. RESOURCE_EXHAUSTED if it takes longer than [`TAKE_TIME_MAX`]; then the
    /// reader loses its connection.
    async fn in_time<F: Future>(&self, step: F) -> Result<F::Output, Status> {
        if let Ok(done) = tokio::time::timeout(TAKE_TIME_MAX, step).await {
            return Ok(done);
        }
        if let Some(caller) = &self.caller {
            large::close(caller, self.what);
        }
        Err(status::unread_answers())
    }
}

/// Streams what `work` gives to the reader, and at last its error if it ends with one. `what` names in the log what is
/// read.
pub(super) fn stream<T, F>(
    caller: Option<CallerInfo>,
    what: &'static str,
    work: impl FnOnce(Reader<T>) -> F,
) -> Messages<T>
where
    T: Send + 'static,
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(1);
    let taken = Arc::new(Notify::new());
    let working = work(Reader { messages: sender.clone(), taken: taken.clone(), caller, what });
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
    let start = (receiver, taken, false);
    Box::pin(unfold(start, async |(mut receiver, taken, has_given): (mpsc::Receiver<_>, Arc<Notify>, bool)| {
        if has_given {
            // tonic asks for more before it passes a small message on, so that both share a frame. If there is nothing
            // now, it passes the message on, and asks again only when the reader's window has room.
            tokio::task::yield_now().await;
            taken.notify_one();
        }
        Some((receiver.recv().await?, (receiver, taken, true)))
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn a_message_is_taken_once_the_reader_asks_for_the_next_one() {
        let is_taken = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_taken);
        let work = async move |reader: Reader<u8>| {
            reader.send(1).await?;
            told.store(true, Ordering::Relaxed);
            reader.send(2).await?;
            Err::<(), _>(status::site_not_found())
        };
        let mut messages = stream(None, "numbers", work);
        assert_eq!(messages.next().await.and_then(Result::ok), Some(1));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!is_taken.load(Ordering::Relaxed), "the reader has not asked for more");
        assert_eq!(messages.next().await.and_then(Result::ok), Some(2));
        assert!(is_taken.load(Ordering::Relaxed));
        assert!(messages.next().await.is_some_and(|last| last.is_err()));
        assert!(messages.next().await.is_none());
    }

    #[tokio::test]
    async fn a_task_ends_when_its_reader_leaves() {
        let (held, mut lives) = mpsc::channel::<()>(1);
        let work = async move |reader: Reader<u8>| {
            let _held = held;
            reader.send(1).await
        };
        let mut messages = stream(None, "numbers", work);
        assert_eq!(messages.next().await.and_then(Result::ok), Some(1));
        drop(messages);
        assert_eq!(lives.recv().await, None, "what the task held is dropped");
    }
}
