//! `ChangeAvailability`: many independent calls on one stream.
//!
//! The stream is polled by the connection alone; it has no task of its own. So a caller that does not read its answers
//! is not read from either, and what it has under way stays bounded. All calls that have arrived go to the engine
//! together, and all answers that are ready go out in as few frames as hold them. Nothing waits for others.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::Stream;
use inventory_core::engine::{Answered, Answers, Commands, Held, StreamCommand};
use inventory_core::model::access::Author;
use inventory_core::model::error::{Error, Failed};
use inventory_core::model::limits;
use inventory_core::model::outcome::{Outcome, Verdict};
use inventory_program::listen::CallerInfo;
use inventory_program::memory::{Charged, Memory};
use inventory_proto::v1;
use inventory_proto::v1::change_availability_response::Outcome as Ending;
use prost::Message;
use tokio::time::Sleep;
use tonic::{Status, Streaming};

use super::availability::Availability;
use super::polled::Polled;
use crate::access::Access;
use crate::calls::{StreamCall, StreamCalls};
use crate::decode::{self, Change};
use crate::encode;
use crate::status::{Paths, as_message, of_error, of_refusal};

/// Calls of one stream under way, and answers that the connection has not taken yet.
const CALLS_MAX: usize = 1_024;
/// Their items. One call more may begin below this bound. The adapter's `client/room` sends less than these bounds.
const ITEMS_MAX: usize = 40_000;
/// Bytes of their messages. One call more may begin below this bound. The port has a bound for all streams, too.
const BYTES_MAX: usize = 20 * 1024 * 1024;
/// A message of more bytes stays charged until the engine has no more of its command. A queue of smaller ones is small.
const HELD_MIN: usize = 16 * 1024;
/// Calls that are read before they go to the engine. A batch takes as many.
const TOGETHER_MAX: usize = limits::BATCH_COMMANDS_MAX;

/// The calls of one stream, and their answers.
pub(crate) struct Changes {
    /// `None`: nothing more is read.
    calls: Option<Streaming<v1::ChangeAvailabilityRequest>>,
    access: Access,
    author: Author,
    /// For the messages of the calls under way.
    memory: Memory,
    commands: Commands,
    answers: Answers,
    /// By our own number: a caller may use its number again as soon as it has the answer.
    under_way: HashMap<u64, UnderWay>,
    /// The callers' numbers of the calls under way.
    correlation_ids: HashSet<u64>,
    items: usize,
    bytes: usize,
    next: u64,
    deadlines: Deadlines,
    ready: VecDeque<v1::ChangeAvailabilityResponse>,
    /// How the stream ends after its last answer.
    end: Option<Status>,
    /// Completes when the caller may no longer call, or the server stops.
    ended: Pin<Box<dyn Future<Output = Option<Status>> + Send>>,
    seen: Arc<StreamCalls>,
    /// Told of each poll.
    polled: Polled,
}

/// A call that is not answered yet.
struct UnderWay {
    correlation_id: u64,
    items: usize,
    bytes: usize,
    return_levels: bool,
    seen: StreamCall,
    /// `None`: the engine's command has it.
    _charged: Option<Charged>,
}

impl Changes {
    /// Reads calls by `author`, who is at `from`, until the caller ends its side, `access` ends, or the server stops.
    pub(super) fn new(
        service: &Availability,
        calls: Streaming<v1::ChangeAvailabilityRequest>,
        access: Access,
        author: Author,
        from: Option<CallerInfo>,
    ) -> Self {
        let Availability { engine, memory, calls: seen, stopping } = service;
        let (commands, answers) = engine.stream();
        let ended = {
            let (access, stopping) = (access.clone(), stopping.clone());
            async move {
                tokio::select! {
                    status = access.ended() => Some(status),
                    () = stopping.cancelled_owned() => None,
                }
            }
        };
        Self {
            calls: Some(calls),
            access,
            author,
            memory: memory.clone(),
            commands,
            answers,
            under_way: HashMap::new(),
            correlation_ids: HashSet::new(),
            items: 0,
            bytes: 0,
            next: 0,
            deadlines: Deadlines::default(),
            ready: VecDeque::new(),
            end: None,
            ended: Box::pin(ended),
            seen: Arc::clone(seen),
            polled: Polled::watched(from),
        }
    }

    /// Reads no more. The stream ends after its last answer.
    fn close(&mut self, end: Option<Status>) {
        self.calls = None;
        self.end = end;
    }

    /// Reads the calls that have arrived, and hands them to the engine.
    fn read(&mut self, context: &mut Context<'_>) {
        let mut together = Vec::new();
        // A call that cannot be read is answered at once, and counts until its answer is taken.
        while self.under_way.len() + self.ready.len() < CALLS_MAX
            && self.items < ITEMS_MAX
            && self.bytes < BYTES_MAX
            && together.len() < TOGETHER_MAX
        {
            let Some(calls) = &mut self.calls else { break };
            match Pin::new(calls).poll_next(context) {
                Poll::Ready(Some(Ok(call))) => together.extend(self.begin(call)),
                Poll::Ready(Some(Err(status))) => self.close(Some(status)),
                Poll::Ready(None) => self.close(None),
                Poll::Pending => break,
            }
        }
        if together.len() == TOGETHER_MAX {
            // More may have arrived.
            context.waker().wake_by_ref();
        }
        if !together.is_empty() {
            self.commands.submit(together);
        }
    }

    /// Takes a call in; `None` if it is answered already.
    fn begin(&mut self, call: v1::ChangeAvailabilityRequest) -> Option<StreamCommand> {
        let bytes = call.encoded_len();
        let v1::ChangeAvailabilityRequest { correlation_id, timeout, change, return_levels, traceparent } = call;
        let seen = self.seen.begin(change.as_ref(), &traceparent);
        let mut charged = Charged::default();
        let decoded = seen.span().in_scope(|| {
            if !self.memory.charge(&mut charged, bytes) {
                return Err(of_error(Failed::Overloaded.into(), Paths::REQUEST));
            }
            self.decode(correlation_id, timeout, change)
        });
        let Change { command, timeout } = match decoded {
            Ok(change) => change,
            Err(status) => {
                seen.end(&status);
                self.respond(correlation_id, Ending::Failed(as_message(&status)));
                return None;
            }
        };
        let (id, deadline, items) = (self.next, seen.began() + timeout, command.action().item_count());
        let span = seen.span().clone();
        self.next += 1;
        self.items += items;
        self.bytes += bytes;
        self.correlation_ids.insert(correlation_id);
        self.deadlines.add(deadline, id);
        // The engine may keep a command for longer than its caller waits. That takes much memory only if it is large.
        let (held, charged): (Held, _) =
            if bytes > HELD_MIN { (Some(Arc::new(charged)), None) } else { (None, Some(charged)) };
        let call = UnderWay { correlation_id, items, bytes, return_levels, seen, _charged: charged };
        self.under_way.insert(id, call);
        Some(StreamCommand { id, command, deadline, span, held })
    }

    fn decode(
        &self,
        correlation_id: u64,
        timeout: Option<prost_types::Duration>,
        change: Option<v1::change_availability_request::Change>,
    ) -> Result<Change, Status> {
        use v1::change_availability_request::Change::{Decrement, Increment};
        if self.correlation_ids.contains(&correlation_id) {
            return decode::bad_field("correlation_id", "belongs to a call that is not answered yet");
        }
        match &change {
            Some(Decrement(request)) => self.access.check_site(&request.site_id)?,
            Some(Increment(request)) => self.access.check_site(&request.site_id)?,
            None => {}
        }
        decode::change(change, timeout, self.author.clone())
    }

    /// Answers what the engine has answered. A call whose time is over was answered before.
    fn answer(&mut self, answered: Answered) {
        let Some(call) = self.remove(answered.id) else { return };
        let ending = match answered.result {
            Ok(outcome) => ending(&call, outcome),
            Err(error) => failed(&call, error),
        };
        self.respond(call.correlation_id, ending);
    }

    /// Answers the calls whose time is over.
    fn expire(&mut self, context: &mut Context<'_>) {
        while let Some(id) = self.deadlines.poll_expired(context, |id| self.under_way.contains_key(&id)) {
            let Some(call) = self.remove(id) else { continue };
            let ending = failed(&call, Failed::NoAnswer.into());
            self.respond(call.correlation_id, ending);
        }
    }

    fn remove(&mut self, id: u64) -> Option<UnderWay> {
        let call = self.under_way.remove(&id)?;
        self.correlation_ids.remove(&call.correlation_id);
        self.items -= call.items;
        self.bytes -= call.bytes;
        Some(call)
    }

    fn respond(&mut self, correlation_id: u64, outcome: Ending) {
        self.ready.push_back(v1::ChangeAvailabilityResponse { correlation_id, outcome: Some(outcome) });
    }
}

impl Stream for Changes {
    type Item = Result<v1::ChangeAvailabilityResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.polled.now(context);
        if let Some(response) = this.ready.pop_front() {
            return Poll::Ready(Some(Ok(response)));
        }
        while let Poll::Ready(Some(answers)) = this.answers.poll_next(context) {
            answers.into_iter().for_each(|answered| this.answer(answered));
        }
        if this.calls.is_some()
            && let Poll::Ready(end) = this.ended.as_mut().poll(context)
        {
            this.close(end);
        }
        this.read(context);
        this.expire(context);
        if let Some(response) = this.ready.pop_front() {
            return Poll::Ready(Some(Ok(response)));
        }
        if this.calls.is_none() && this.under_way.is_empty() {
            return Poll::Ready(this.end.take().map(Err));
        }
        Poll::Pending
    }
}

/// How a call ended that the engine has decided.
fn ending(call: &UnderWay, outcome: Outcome) -> Ending {
    // The engine has counted the findings.
    let Outcome { site: _, default_location, sequence, replayed, verdict, findings: _ } = outcome;
    match verdict {
        Verdict::Applied(levels) => {
            call.seen.applied();
            let levels = if call.return_levels { levels } else { Vec::new() };
            let levels = levels.into_iter().map(|level| encode::level(level, default_location)).collect();
            Ending::Applied(v1::AppliedChange { sequence, levels, repeated_request: replayed })
        }
        Verdict::Refused(refusal) => {
            // A message has no bound as metadata has.
            let status = of_refusal(refusal, default_location, usize::MAX);
            call.seen.end(&status);
            Ending::Refused(as_message(&status))
        }
    }
}

/// How a call ended that was not decided, or whose outcome is not known.
fn failed(call: &UnderWay, error: Error) -> Ending {
    let status = call.seen.span().in_scope(|| of_error(error, Paths::ITEMS));
    call.seen.end(&status);
    Ending::Failed(as_message(&status))
}

impl Drop for Changes {
    fn drop(&mut self) {
        // What the engine has of them is carried through.
        let left = Status::cancelled("the caller left");
        self.under_way.values().for_each(|call| call.seen.end(&left));
    }
}

/// When calls expire, with one timer for all.
#[derive(Default)]
struct Deadlines {
    /// Those of answered calls stay until they are the next.
    next: BinaryHeap<Reverse<(Instant, u64)>>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadlines {
    fn add(&mut self, deadline: Instant, id: u64) {
        self.next.push(Reverse((deadline, id)));
    }

    /// A call under way whose time is over; `None` if there is none yet.
    fn poll_expired(&mut self, context: &mut Context<'_>, is_under_way: impl Fn(u64) -> bool) -> Option<u64> {
        loop {
            let Reverse((deadline, id)) = *self.next.peek()?;
            if !is_under_way(id) {
                self.next.pop();
                continue;
            }
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
            // Calls are mostly answered before their time, so a timer that is early is left as it is.
            if timer.deadline() > deadline.into() {
                timer.as_mut().reset(deadline.into());
            }
            match timer.as_mut().poll(context) {
                Poll::Pending => return None,
                Poll::Ready(()) if deadline <= Instant::now() => return self.next.pop().map(|Reverse((_, id))| id),
                Poll::Ready(()) => timer.as_mut().reset(deadline.into()),
            }
        }
    }
}
