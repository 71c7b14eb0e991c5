//! The stream on which all calls travel to one server, so that a call costs a message and not a request of its own.
//!
//! A call is sent as soon as it is there; calls that are there at the same time share a frame. The stream is opened
//! with the first call, and again by the first call after it has ended. A stream that ends leaves its unanswered calls
//! unknown: each gets UNAVAILABLE, and its caller sends it again under the same idempotency key.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use futures_util::stream::poll_fn;
use inventory_program::Reloaded;
use inventory_proto::shared_call::{SharedCall, change_availability};
use inventory_proto::v1::ChangeAvailabilityResponse;
use inventory_proto::v1::change_availability_request::Change;
use inventory_proto::v1::change_availability_response::Outcome;
use inventory_proto::{ACTOR_METADATA, Bearer};
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::pb;

use super::room::{Place, Room};

/// A call takes as much room as one of more items if it has more than so many bytes for each item.
const ITEM_BYTES: usize = 400;

/// What a caller waits for.
type Answer = Result<(), Status>;

/// Calls one server.
pub(super) struct Calls {
    channel: Channel,
    bearer: Reloaded<Bearer>,
    room: Arc<Room>,
    /// How often the calls were given up.
    given_up: AtomicU64,
    streams: Mutex<Streams>,
}

/// The streams that have not ended.
#[derive(Default)]
struct Streams {
    /// The one that takes calls.
    current: Option<Arc<Stream>>,
    /// Those that end after their last answer.
    finishing: Vec<Weak<Stream>>,
}

/// One stream.
struct Stream {
    /// The token that opened it.
    bearer: Arc<Bearer>,
    /// `None` once the stream has ended.
    open: Mutex<Option<Open>>,
}

struct Open {
    /// `None` once another stream has taken its place.
    calls: Option<mpsc::UnboundedSender<SharedCall>>,
    next: u64,
    /// Those who wait for an answer, by correlation id.
    callers: HashMap<u64, Caller>,
}

/// Who waits for an answer, or has waited for it.
struct Caller {
    answer: oneshot::Sender<Answer>,
    /// Kept until the server has answered: the server holds the call until then, even if nobody waits any more.
    _place: Place,
}

impl Calls {
    /// Over a channel, with a token that may change.
    pub(super) fn new(channel: Channel, bearer: Reloaded<Bearer>) -> Self {
        Self { channel, bearer, room: Arc::default(), given_up: AtomicU64::new(0), streams: Mutex::default() }
    }

    /// Sends a call of the site with this hash, and waits for its answer. The server has until `deadline`. The error is
    /// the server's status, UNAVAILABLE if it is not known whether the server got the call, or RESOURCE_EXHAUSTED if it
    /// was not sent because there is too much before it.
    pub(super) async fn call(&self, site: u64, mut call: SharedCall, deadline: Instant) -> Answer {
        let given_up = self.given_up.load(Ordering::Relaxed);
        let (items, bytes) = match &*call.change {
            Change::Decrement(order) => (order.items.len(), order.encoded_len()),
            Change::Increment(order) => (order.items.len(), order.encoded_len()),
        };
        let Some(place) = self.room.take(site, items.max(bytes / ITEM_BYTES), deadline).await else {
            return Err(Status::resource_exhausted("the calls before this one are likely to take more than its time"));
        };
        if self.given_up.load(Ordering::Relaxed) != given_up {
            // It need not wait for its turn at a server that was left meanwhile.
            return Err(Status::unavailable("the server was left before the call was sent"));
        }
        // What the call has waited here is not the server's time.
        let left = deadline.saturating_duration_since(Instant::now());
        call.head.timeout = prost_types::Duration::try_from(left).ok();
        let answer = self.send(call, place);
        answer.await.unwrap_or_else(|_| Err(Status::unavailable("the stream of calls has ended")))
    }

    /// Ends all calls that are not answered with this status. Later ones travel on a new stream.
    pub(super) fn give_up(&self, status: &Status) {
        self.given_up.fetch_add(1, Ordering::Relaxed);
        let Streams { current, finishing } = std::mem::take(&mut *lock(&self.streams));
        current.into_iter().chain(finishing.iter().filter_map(Weak::upgrade)).for_each(|stream| stream.end(status));
    }

    fn send(&self, call: SharedCall, place: Place) -> oneshot::Receiver<Answer> {
        let bearer = self.bearer.current();
        let (sender, answer) = oneshot::channel();
        let caller = Caller { answer: sender, _place: place };
        let mut streams = lock(&self.streams);
        let unsent = match streams.current.as_ref().filter(|stream| Arc::ptr_eq(&stream.bearer, &bearer)) {
            Some(stream) => stream.send(call, caller),
            None => Some((call, caller)),
        };
        if let Some((call, caller)) = unsent {
            let (stream, calls) = Stream::new(bearer);
            // A new stream takes the call. If it did not, the caller would be dropped, and know no answer.
            drop(stream.send(call, caller));
            tokio::spawn(Arc::clone(&stream).run(self.channel.clone(), calls));
            streams.finishing.retain(|stream| stream.strong_count() > 0);
            if let Some(last) = streams.current.replace(stream) {
                last.finish();
                streams.finishing.push(Arc::downgrade(&last));
            }
        }
        answer
    }
}

impl Stream {
    fn new(bearer: Arc<Bearer>) -> (Arc<Self>, mpsc::UnboundedReceiver<SharedCall>) {
        let (calls, receiver) = mpsc::unbounded_channel();
        let open = Open { calls: Some(calls), next: 0, callers: HashMap::new() };
        (Arc::new(Self { bearer, open: Mutex::new(Some(open)) }), receiver)
    }

    /// Sends a call for a caller. Gives both back if the stream takes no more calls.
    fn send(&self, mut call: SharedCall, caller: Caller) -> Option<(SharedCall, Caller)> {
        let mut open = lock(&self.open);
        let Some(Open { calls: Some(calls), next, callers }) = open.as_mut() else { return Some((call, caller)) };
        let correlation_id = *next;
        *next += 1;
        call.head.correlation_id = correlation_id;
        match calls.send(call) {
            Ok(()) => {
                callers.insert(correlation_id, caller);
                None
            }
            Err(mpsc::error::SendError(call)) => Some((call, caller)),
        }
    }

    /// Sends no more calls. The stream ends after its last answer.
    fn finish(&self) {
        if let Some(open) = lock(&self.open).as_mut() {
            open.calls = None;
        }
    }

    /// Ends the stream: all callers that wait get this status.
    fn end(&self, status: &Status) {
        let open = lock(&self.open).take();
        for caller in open.into_iter().flat_map(|open| open.callers.into_values()) {
            // A caller whose time is over has left.
            let _ = caller.answer.send(Err(status.clone()));
        }
    }

    /// Opens the stream, and hands out its answers until it ends. It ends when the server ends it, and after the last
    /// answer when no more calls are sent.
    async fn run(self: Arc<Self>, channel: Channel, mut calls: mpsc::UnboundedReceiver<SharedCall>) {
        let mut request = Request::new(poll_fn(move |context| calls.poll_recv(context)));
        self.bearer.sign(request.metadata_mut());
        request.metadata_mut().insert(ACTOR_METADATA, MetadataValue::from_static("wix"));
        let ended = match change_availability(channel, request).await {
            Ok(answers) => {
                let mut answers = answers.into_inner();
                loop {
                    match answers.message().await {
                        Ok(Some(answer)) => self.answer(answer),
                        Ok(None) => break Status::unavailable("the server has ended the stream of calls"),
                        Err(status) => break status,
                    }
                }
            }
            Err(status) => status,
        };
        self.end(&unanswered(&ended));
    }

    fn answer(&self, answer: ChangeAvailabilityResponse) {
        let ChangeAvailabilityResponse { correlation_id, outcome } = answer;
        let caller = lock(&self.open).as_mut().and_then(|open| open.callers.remove(&correlation_id));
        let Some(caller) = caller else { return };
        let result = match outcome {
            Some(Outcome::Applied(_)) => Ok(()),
            Some(Outcome::Refused(status) | Outcome::Failed(status)) => Err(status_of(&status)),
            // A server of a later version has ways to end a call that this one does not know.
            None => Err(Status::unknown("the answer has no outcome")),
        };
        // A caller whose time is over has left.
        let _ = caller.answer.send(result);
    }
}

/// A status that travelled as a message.
fn status_of(status: &pb::Status) -> Status {
    Status::with_details(Code::from_i32(status.code), status.message.clone(), status.encode_to_vec().into())
}

/// What a call gets that was unanswered when its stream ended with `status`: that the server refuses the adapter, or
/// else UNAVAILABLE.
fn unanswered(status: &Status) -> Status {
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented => status.clone(),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Status::unavailable(format!("the stream of calls broke: {}", status.message())),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
