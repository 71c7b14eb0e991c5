//! The bounded queue of a writer. Callers put work in as messages; the writer takes it out by turns.

mod room;
mod turns;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{SendError, TryRecvError};

use crate::engine::message::{Change, Message, Pending, Task, Ticket};
use crate::engine::queue::room::Room;
use crate::engine::queue::turns::{Lane, Turn, Turns};
use crate::model::error::Failed;

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
    room: Arc<Room>,
}

/// The writer's end of its queue.
pub(super) struct Queue {
    messages: mpsc::UnboundedReceiver<Message>,
    room: Arc<Room>,
    /// Taken from the channel, but not by the writer yet.
    turns: Turns<Pending, (Task, Ticket)>,
}

/// The lane of a change.
fn lane_of(change: &Change) -> Lane {
    Some(change.command.site())
}

impl QueueSender {
    /// Queues changes as one message: one batch takes them all, if they fit. If there is no room for all, queues none.
    pub(super) fn send_changes(&self, changes: Vec<Pending>) -> Result<(), (Failed, Vec<Pending>)> {
        let lanes = || changes.iter().map(|(change, _)| lane_of(change));
        let taken = lanes().take_while(|lane| self.room.take(*lane)).count();
        if taken < changes.len() {
            lanes().take(taken).for_each(|lane| self.room.give_back(lane));
            return Err((Failed::Overloaded, changes));
        }
        match self.messages.send(Message::Changes(changes)) {
            // The queue gives the room back.
            Ok(()) => Ok(()),
            // Nobody needs the room of a queue that is closed.
            Err(SendError(Message::Changes(changes))) => Err((Failed::Stopping, changes)),
            // What comes back is what was sent.
            Err(SendError(Message::Alone(..) | Message::Stop)) => Ok(()),
        }
    }

    /// Queues a task.
    pub(super) fn send_task(&self, task: Task, ticket: Ticket) -> Result<(), Failed> {
        if !self.room.take(task.site()) {
            return Err(Failed::Overloaded);
        }
        // The queue gives the room back. Nobody needs that of a queue that is closed.
        self.messages.send(Message::Alone(task, ticket)).map_err(|_| Failed::Stopping)
    }

    /// Asks the writer to end after what is queued. There is always room for that.
    pub(super) fn stop(&self) {
        // A writer that has ended has nothing left to finish.
        let _ = self.messages.send(Message::Stop);
    }

    /// Commands and tasks that wait.
    pub(super) fn depth(&self) -> usize {
        self.room.taken()
    }
}

impl Queue {
    pub(super) fn new() -> (QueueSender, Self) {
        let (sender, messages) = mpsc::unbounded_channel();
        let room = Arc::new(Room::new());
        let sender = QueueSender { messages: sender, room: Arc::clone(&room) };
        (sender, Self { messages, room, turns: Turns::new() })
    }

    /// Waits for a message, then takes what else is waiting, up to the limits. There is no timer: an idle writer starts
    /// at once, and a busy one finds its queue filled during the previous commit. `None` when the queue is closed and
    /// empty.
    pub(super) fn next(&mut self) -> Option<Next> {
        loop {
            match self.try_next() {
                Ok(next) => return Some(next),
                Err(TryRecvError::Empty) => {
                    let message = self.messages.blocking_recv()?;
                    self.line_up(message);
                }
                Err(TryRecvError::Disconnected) => return None,
            }
        }
    }

    /// The same, without waiting for the first message.
    pub(super) fn try_next(&mut self) -> Result<Next, TryRecvError> {
        let end = loop {
            match self.messages.try_recv() {
                Ok(message) => self.line_up(message),
                Err(end) => break end,
            }
        };
        match self.turns.next().ok_or(end)? {
            Turn::Batch(batch) => {
                batch.iter().for_each(|(lane, _)| self.room.give_back(*lane));
                Ok(Next::Batch(batch.into_iter().map(|(_, change)| change).collect()))
            }
            Turn::Task(lane, (task, ticket)) => {
                self.room.give_back(lane);
                Ok(Next::Alone(task, ticket))
            }
        }
    }

    fn line_up(&mut self, message: Message) {
        match message {
            Message::Changes(changes) => {
                for pending in changes {
                    let (change, _) = &pending;
                    self.turns.add_change(lane_of(change), change.command.action().item_count(), pending);
                }
            }
            Message::Alone(task, ticket) => self.turns.add_task(task.site(), (task, ticket)),
            Message::Stop => self.messages.close(),
        }
    }
}
