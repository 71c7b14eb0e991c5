//! The bounded queue of a writer, and how waiting commands become a batch.

use tokio::sync::mpsc;

use crate::engine::message::{Change, Message, Task, Ticket, Work};
use crate::model::limits;

/// A command that waits for its batch.
pub(super) type Pending = (Change, Ticket);

/// The next thing that a writer does.
pub(super) enum Next {
    /// Commit these commands together.
    Batch(Vec<Pending>),
    /// Do this alone.
    Alone(Task, Ticket),
}

/// The writer's end of its queue.
pub(super) struct Queue {
    messages: mpsc::Receiver<Message>,
    /// Taken from the queue, but not fitting the previous batch.
    held: Option<Message>,
}

impl Queue {
    pub(super) fn new() -> (mpsc::Sender<Message>, Self) {
        let (sender, messages) = mpsc::channel(limits::QUEUE_COMMANDS_MAX);
        (sender, Self { messages, held: None })
    }

    /// Waits for a message, then takes what else is waiting, up to the limits. There is no timer: an idle writer starts
    /// at once, and a busy one finds its queue filled during the previous commit. `None` when the queue is closed and
    /// empty.
    pub(super) fn next(&mut self) -> Option<Next> {
        let first = loop {
            let message = match self.held.take() {
                Some(message) => message,
                None => self.messages.blocking_recv()?,
            };
            match message.work {
                Work::Change(change) => break (*change, message.ticket),
                Work::Alone(task) => return Some(Next::Alone(task, message.ticket)),
                Work::Stop => self.messages.close(),
            }
        };
        let mut items = first.0.command.action().item_count();
        let mut batch = vec![first];
        while batch.len() < limits::BATCH_COMMANDS_MAX {
            let Ok(Message { work, ticket }) = self.messages.try_recv() else { break };
            match work {
                Work::Change(change) if items + change.command.action().item_count() <= limits::BATCH_ITEMS_MAX => {
                    items += change.command.action().item_count();
                    batch.push((*change, ticket));
                }
                work => {
                    self.held = Some(Message { work, ticket });
                    break;
                }
            }
        }
        Some(Next::Batch(batch))
    }
}
