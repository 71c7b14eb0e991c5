//! The stream on which all calls travel to the server, so that a call costs a message and not a request of its own.
//!
//! A call is sent as soon as it is there; calls that are there at the same time share a frame. The stream is opened
//! with the first call, and again by the first call after it has ended. A stream that ends leaves its unanswered calls
//! unknown: each gets UNAVAILABLE, and its caller sends it again under the same idempotency key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::poll_fn;
use inventory_program::Reloaded;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::change_availability_response::Outcome;
use inventory_proto::v1::{ChangeAvailabilityRequest, ChangeAvailabilityResponse};
use inventory_proto::{ACTOR_METADATA, Bearer};
use prost::Message;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::pb;

/// Calls under way. More wait until one is answered; the server reads no more at a time from one stream.
const CALLS_MAX: usize = 1_024;

/// Calls the server.
pub(super) struct Calls {
    client: AvailabilityServiceClient<Channel>,
    bearer: Reloaded<Bearer>,
    room: Semaphore,
    current: Mutex<Option<Arc<Stream>>>,
}

/// One stream.
struct Stream {
    /// The token that opened it.
    bearer: Arc<Bearer>,
    calls: mpsc::UnboundedSender<ChangeAvailabilityRequest>,
    /// Those who wait for an answer, by correlation id. `None` once the stream has ended.
    waiting: Mutex<Option<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    callers: HashMap<u64, oneshot::Sender<Result<(), Status>>>,
}

impl Calls {
    /// Over a client, with a token that may change.
    pub(super) fn new(client: AvailabilityServiceClient<Channel>, bearer: Reloaded<Bearer>) -> Self {
        Self { client, bearer, room: Semaphore::new(CALLS_MAX), current: Mutex::default() }
    }

    /// Sends a call and waits for its answer. The error is the server's status, or UNAVAILABLE if it is not known
    /// whether the server got the call.
    pub(super) async fn call(&self, call: &ChangeAvailabilityRequest) -> Result<(), Status> {
        // The semaphore is never closed.
        let _room = self.room.acquire().await;
        let answer = self.send(call);
        answer.await.unwrap_or_else(|_| Err(Status::unavailable("the stream of calls has ended")))
    }

    fn send(&self, call: &ChangeAvailabilityRequest) -> oneshot::Receiver<Result<(), Status>> {
        let bearer = self.bearer.current();
        let mut current = lock(&self.current);
        let open = current.as_ref().filter(|stream| Arc::ptr_eq(&stream.bearer, &bearer));
        if let Some(answer) = open.and_then(|stream| stream.send(call)) {
            return answer;
        }
        let (stream, calls) = Stream::new(bearer);
        // A new stream has not ended: its task has not begun.
        let answer = stream.send(call).unwrap_or_else(|| oneshot::channel().1);
        tokio::spawn(Arc::clone(&stream).run(self.client.clone(), calls));
        *current = Some(stream);
        answer
    }
}

impl Stream {
    fn new(bearer: Arc<Bearer>) -> (Arc<Self>, mpsc::UnboundedReceiver<ChangeAvailabilityRequest>) {
        let (calls, receiver) = mpsc::unbounded_channel();
        let waiting = Mutex::new(Some(Waiting::default()));
        (Arc::new(Self { bearer, calls, waiting }), receiver)
    }

    /// Sends a call; `None` if the stream has ended.
    fn send(&self, call: &ChangeAvailabilityRequest) -> Option<oneshot::Receiver<Result<(), Status>>> {
        let (caller, answer) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        let Waiting { next, callers } = waiting.as_mut()?;
        let correlation_id = *next;
        *next += 1;
        self.calls.send(ChangeAvailabilityRequest { correlation_id, ..call.clone() }).ok()?;
        callers.insert(correlation_id, caller);
        Some(answer)
    }

    /// Opens the stream, and hands out its answers until it ends. It ends when the server ends it, and after the last
    /// answer when another stream has taken its place.
    async fn run(
        self: Arc<Self>,
        mut client: AvailabilityServiceClient<Channel>,
        mut calls: mpsc::UnboundedReceiver<ChangeAvailabilityRequest>,
    ) {
        let mut request = Request::new(poll_fn(move |context| calls.poll_recv(context)));
        self.bearer.sign(request.metadata_mut());
        request.metadata_mut().insert(ACTOR_METADATA, MetadataValue::from_static("wix"));
        let ended = match client.change_availability(request).await {
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
        let ended = unanswered(&ended);
        let waiting = lock(&self.waiting).take();
        for caller in waiting.into_iter().flat_map(|waiting| waiting.callers.into_values()) {
            // A caller whose time is over has left.
            let _ = caller.send(Err(ended.clone()));
        }
    }

    fn answer(&self, answer: ChangeAvailabilityResponse) {
        let ChangeAvailabilityResponse { correlation_id, outcome } = answer;
        let caller = lock(&self.waiting).as_mut().and_then(|waiting| waiting.callers.remove(&correlation_id));
        let Some(caller) = caller else { return };
        let result = match outcome {
            Some(Outcome::Applied(_)) => Ok(()),
            Some(Outcome::Refused(status) | Outcome::Failed(status)) => Err(status_of(&status)),
            // A server of a later version has ways to end a call that this one does not know.
            None => Err(Status::unknown("the answer has no outcome")),
        };
        // A caller whose time is over has left.
        let _ = caller.send(result);
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
