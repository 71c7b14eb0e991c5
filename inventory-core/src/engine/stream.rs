//! Streams of commands: many commands of one caller are under way at a time, and the answers come in any order.
//!
//! What a caller has ready at once travels to a writer as one message, and its answers come back as one. So a batch
//! costs the two threads one handover each way, not one for each command.

use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::mpsc;
use tracing::Span;

use crate::engine::message::{Answered, ChangeReply, Held, Pending, Ticket, answer};
use crate::engine::queue::QueueSender;
use crate::engine::{Engine, refused};
use crate::model::command::Command;

/// The caller's end of a stream: commands go in.
pub struct Commands {
    engine: Engine,
    answers: mpsc::UnboundedSender<Vec<Answered>>,
}

/// The caller's end of a stream: answers come out. The caller bounds them: there is one for each command.
pub struct Answers(mpsc::UnboundedReceiver<Vec<Answered>>);

/// A command of a stream.
pub struct StreamCommand {
    /// The caller's number for it.
    pub id: u64,
    /// The command.
    pub command: Command,
    /// Until when it is wanted. The engine drops it after that, unless it is decided; the caller minds the time itself.
    pub deadline: Instant,
    /// The span that the commit belongs to.
    pub span: Span,
    /// What the caller holds for the command.
    pub held: Held,
}

impl StreamCommand {
    /// A command without a span, for which nothing is held.
    pub fn new(id: u64, command: Command, deadline: Instant) -> Self {
        Self { id, command, deadline, span: Span::none(), held: None }
    }
}

impl Engine {
    /// A new stream of commands.
    pub fn stream(&self) -> (Commands, Answers) {
        let (answers, receiver) = mpsc::unbounded_channel();
        (Commands { engine: self.clone(), answers }, Answers(receiver))
    }
}

impl Commands {
    /// Submits commands. Each is answered once its outcome is durable, or it is known that there is none.
    pub fn submit(&self, commands: Vec<StreamCommand>) {
        // The commands of most frames are of few sites, so of few writers.
        let mut by_writer: Vec<(&QueueSender, Vec<Pending>)> = Vec::new();
        let queued_at = Instant::now();
        for StreamCommand { id, command, deadline, span, held } in commands {
            let writer = self.engine.writer(command.site());
            let reply = ChangeReply::Stream(self.answers.clone(), id);
            let pending = self.engine.pending(command, reply, Ticket { deadline, queued_at, span, _held: held });
            match by_writer.iter_mut().find(|(other, _)| std::ptr::eq(*other, writer)) {
                Some((_, changes)) => changes.push(pending),
                None => by_writer.push((writer, vec![pending])),
            }
        }
        for (writer, changes) in by_writer {
            self.send(writer, changes);
        }
    }

    /// Queues changes together, or each alone while there is room.
    fn send(&self, writer: &QueueSender, changes: Vec<Pending>) {
        let Err((_, changes)) = writer.send_changes(changes) else { return };
        for change in changes {
            let Err((failed, changes)) = writer.send_changes(vec![change]) else { continue };
            let failed = refused(failed, changes.len());
            answer(changes.into_iter().map(|(change, _)| (change, Err(failed.clone().into()))));
        }
    }
}

impl Answers {
    /// Waits for the next answers. They never end while the [`Commands`] of the stream exist.
    pub async fn next(&mut self) -> Option<Vec<Answered>> {
        self.0.recv().await
    }

    /// The same, for a caller that polls.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<Answered>>> {
        self.0.poll_recv(context)
    }
}
