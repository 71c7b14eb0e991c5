//! The bounded queue of a writer, and how waiting commands become a batch.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc::error::{SendError, TryRecvError};
use tokio::sync::{Semaphore, mpsc};

use crate::engine::message::{Message, Pending, Task, Ticket};
use crate::model::error::Failed;
use crate::model::limits;

/// The next thing that a writer does.
pub(super) enum Next {
    /// Commit these commands together.
    Batch(Vec<Pending>),
    /// Do this alone.
    Alone(Task, Ticket),
}

/// The callers' end of a queue. Cheap to clone.
#[derive(Clone)]
pub(super) struct QueueSender {
    messages: mpsc::UnboundedSender<Message>,
    /// One permit for each command or task that may still wait.
    room: Arc<Semaphore>,
}

/// The writer's end of its queue.
pub(super) struct Queue {
    messages: mpsc::UnboundedReceiver<Message>,
    room: Arc<Semaphore>,
    /// Taken from the channel, but in no batch yet.
    waiting: VecDeque<Pending>,
    /// Taken from the channel after all of `waiting`.
    held: Option<(Task, Ticket)>,
}

impl QueueSender {
    /// Queues changes as one message: one batch takes them all, if they fit. If there is no room for all, queues none.
    pub(super) fn send_changes(&self, changes: Vec<Pending>) -> Result<(), (Failed, Vec<Pending>)> {
        // More than this is more than the queue has room for.
        let count = u32::try_from(changes.len()).unwrap_or(u32::MAX);
        let Ok(room) = self.room.try_acquire_many(count) else { return Err((Failed::Overloaded, changes)) };
        match self.messages.send(Message::Changes(changes)) {
            // The queue gives the room back.
            Ok(()) => room.forget(),
            Err(SendError(Message::Changes(changes))) => return Err((Failed::Stopping, changes)),
            // What comes back is what was sent.
            Err(SendError(Message::Alone(..) | Message::Stop)) => {}
        }
        Ok(())
    }

    /// Queues a task.
    pub(super) fn send_task(&self, task: Task, ticket: Ticket) -> Result<(), Failed> {
        let room = self.room.try_acquire().map_err(|_| Failed::Overloaded)?;
        self.messages.send(Message::Alone(task, ticket)).map_err(|_| Failed::Stopping)?;
        // The queue gives the room back.
        room.forget();
        Ok(())
    }

    /// Asks the writer to end after what is queued. There is always room for that.
    pub(super) fn stop(&self) {
        // A writer that has ended has nothing left to finish.
        let _ = self.messages.send(Message::Stop);
    }

    /// Commands and tasks that wait.
    pub(super) fn depth(&self) -> usize {
        limits::QUEUE_COMMANDS_MAX.saturating_sub(self.room.available_permits())
    }
}

impl Queue {
    pub(super) fn new() -> (QueueSender, Self) {
        let (sender, messages) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(limits::QUEUE_COMMANDS_MAX));
        let sender = QueueSender { messages: sender, room: Arc::clone(&room) };
        (sender, Self { messages, room, waiting: VecDeque::new(), held: None })
    }

    /// Waits for a message, then takes what else is waiting, up to the limits. There is no timer: an idle writer starts
    /// at once, and a busy one finds its queue filled during the previous commit. `None` when the queue is closed and
    /// empty.
    pub(super) fn next(&mut self) -> Option<Next> {
        self.next_by(|messages| messages.blocking_recv().ok_or(TryRecvError::Disconnected)).ok()
    }

    /// The same, without waiting for the first message.
    pub(super) fn try_next(&mut self) -> Result<Next, TryRecvError> {
        self.next_by(mpsc::UnboundedReceiver::try_recv)
    }

    fn next_by(
        &mut self,
        receive: impl Fn(&mut mpsc::UnboundedReceiver<Message>) -> Result<Message, TryRecvError>,
    ) -> Result<Next, TryRecvError> {
        while self.waiting.is_empty() {
            let (task, ticket) = match self.held.take() {
                Some(held) => held,
                None => match receive(&mut self.messages)? {
                    Message::Changes(changes) => {
                        self.waiting.extend(changes);
                        continue;
                    }
                    Message::Alone(task, ticket) => (task, ticket),
                    Message::Stop => {
                        self.messages.close();
                        continue;
                    }
                },
            };
            self.room.add_permits(1);
            return Ok(Next::Alone(task, ticket));
        }
        let batch = self.batch();
        self.room.add_permits(batch.len());
        Ok(Next::Batch(batch))
    }

    /// The waiting commands that fit into one batch, at least one.
    fn batch(&mut self) -> Vec<Pending> {
        let (mut batch, mut items) = (Vec::new(), 0);
        loop {
            while let Some((change, _)) = self.waiting.front() {
                let count = change.command.action().item_count();
                let fits = batch.len() < limits::BATCH_COMMANDS_MAX && items + count <= limits::BATCH_ITEMS_MAX;
                if !fits && !batch.is_empty() {
                    return batch;
                }
                items += count;
                batch.extend(self.waiting.pop_front());
            }
            // A task that came before a command stays before it.
            if self.held.is_some() {
                return batch;
            }
            match self.messages.try_recv() {
                Ok(Message::Changes(changes)) => self.waiting.extend(changes),
                Ok(Message::Alone(task, ticket)) => self.held = Some((task, ticket)),
                Ok(Message::Stop) => self.messages.close(),
                Err(_) => return batch,
            }
        }
    }
}
