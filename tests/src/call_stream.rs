//! A stream of calls, as an internal service uses it, for one caller or for many; and the same call without a stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::change_availability_request::Change;
use inventory_proto::v1::change_availability_response::Outcome;
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use futures_util::stream::poll_fn;

use crate::history::{Call, History};

/// A stream of calls.
pub struct CallStream {
    calls: Option<mpsc::UnboundedSender<v1::ChangeAvailabilityRequest>>,
    answers: Streaming<v1::ChangeAvailabilityResponse>,
    next: u64,
    recorded: Option<(History, HashMap<u64, Call>)>,
}

impl CallStream {
    /// Opens a stream without a token.
    pub async fn open(client: AvailabilityServiceClient<Channel>) -> Self {
        Self::open_with(client, |_| {}).await.expect("the stream opens")
    }

    /// Opens a stream whose request `change` has changed.
    pub async fn open_with(
        client: AvailabilityServiceClient<Channel>,
        change: impl FnOnce(&mut Request<()>),
    ) -> Result<Self, Status> {
        let mut request = Request::new(());
        change(&mut request);
        Self::open_sending(client, request, Vec::new()).await
    }

    /// Opens a stream whose first messages travel in one frame, if they are small: they are there when the stream is
    /// opened, and tonic packs what is ready.
    pub async fn open_with_frame(
        client: AvailabilityServiceClient<Channel>,
        messages: Vec<v1::ChangeAvailabilityRequest>,
    ) -> Self {
        Self::open_sending(client, Request::new(()), messages).await.expect("the stream opens")
    }

    async fn open_sending(
        mut client: AvailabilityServiceClient<Channel>,
        request: Request<()>,
        messages: Vec<v1::ChangeAvailabilityRequest>,
    ) -> Result<Self, Status> {
        let (calls, mut receiver) = mpsc::unbounded_channel();
        for message in messages {
            calls.send(message).expect("the receiver is here");
        }
        let request = request.map(|()| poll_fn(move |context| receiver.poll_recv(context)));
        let answers = client.change_availability(request).await?.into_inner();
        Ok(Self { calls: Some(calls), answers, next: 0, recorded: None })
    }

    /// The same stream, whose calls are recorded from now on: those that [`CallStream::send`] sends.
    pub fn recording(self, history: &History) -> Self {
        Self { recorded: Some((history.clone(), HashMap::new())), ..self }
    }

    /// Sends a message as it is. Nothing happens if the stream has ended.
    pub fn send_message(&mut self, message: v1::ChangeAvailabilityRequest) {
        let _ = self.calls.as_ref().expect("the caller's side is open").send(message);
    }

    /// Sends a call under a new correlation id, which is returned.
    pub fn send(&mut self, change: impl Into<Change>) -> u64 {
        let correlation_id = self.next;
        self.next += 1;
        let change = change.into();
        if let Some((history, calls)) = &mut self.recorded {
            calls.insert(correlation_id, history.begin_change(&change));
        }
        let change = Some(change);
        self.send_message(v1::ChangeAvailabilityRequest { correlation_id, change, ..Default::default() });
        correlation_id
    }

    /// Ends the caller's side.
    pub fn end(&mut self) {
        self.calls = None;
    }

    /// The next answer; `None` when the server has ended the stream.
    pub async fn next(&mut self) -> Result<Option<(u64, Result<v1::AppliedChange, Status>)>, Status> {
        let Some(answer) = self.answers.message().await? else { return Ok(None) };
        let result = match answer.outcome.expect("an answer has an outcome") {
            Outcome::Applied(applied) => Ok(applied),
            Outcome::Refused(status) | Outcome::Failed(status) => Err(status_of(&status)),
        };
        if let Some((history, calls)) = &mut self.recorded
            && let Some(call) = calls.remove(&answer.correlation_id)
        {
            history.end_change(call, &result);
        }
        Ok(Some((answer.correlation_id, result)))
    }

    /// Sends one call and waits for its answer. No other call may be under way.
    pub async fn call(&mut self, change: impl Into<Change>) -> Result<v1::AppliedChange, Status> {
        let sent = self.send(change);
        let (correlation_id, result) = self.next().await?.expect("the stream is open");
        assert_eq!(correlation_id, sent);
        result
    }
}

/// A call, and who waits for its answer.
type Waiting = (Change, oneshot::Sender<Result<v1::AppliedChange, Status>>);

/// A stream for the calls of many callers at the same time. The first call opens it, and the first one after its end
/// opens another. Clones share the stream.
#[derive(Clone)]
pub struct SharedStream {
    client: AvailabilityServiceClient<Channel>,
    calls: Arc<Mutex<Option<mpsc::UnboundedSender<Waiting>>>>,
}

impl SharedStream {
    /// A stream to the server of this client.
    pub fn new(client: AvailabilityServiceClient<Channel>) -> Self {
        Self { client, calls: Arc::default() }
    }

    /// Makes one call. The error is UNAVAILABLE, without a reason, if the stream ends before the answer.
    pub async fn call(&self, change: impl Into<Change>) -> Result<v1::AppliedChange, Status> {
        let (caller, answer) = oneshot::channel();
        self.send((change.into(), caller));
        answer.await.unwrap_or_else(|_| Err(Status::unavailable("the stream has ended")))
    }

    fn send(&self, call: Waiting) {
        let mut current = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let unsent = match current.as_ref() {
            Some(calls) => calls.send(call).err().map(|mpsc::error::SendError(call)| call),
            None => Some(call),
        };
        if let Some(call) = unsent {
            let (calls, receiver) = mpsc::unbounded_channel();
            calls.send(call).expect("the receiver is here");
            tokio::spawn(share(self.client.clone(), receiver));
            *current = Some(calls);
        }
    }
}

/// Opens a stream, sends calls on it, and hands out the answers until it ends. Whoever still waits then has no answer.
async fn share(
    client: AvailabilityServiceClient<Channel>,
    mut calls: mpsc::UnboundedReceiver<Waiting>,
) -> Result<(), Status> {
    let mut stream = CallStream::open_with(client, |_| {}).await?;
    let mut callers = HashMap::new();
    loop {
        tokio::select! {
            call = calls.recv() => {
                let Some((change, caller)) = call else { return Ok(()) };
                callers.insert(stream.send(change), caller);
            }
            answer = stream.next() => {
                let Some((correlation_id, result)) = answer? else { return Ok(()) };
                let caller = callers.remove(&correlation_id).expect("one answer for each call");
                // A caller that has left needs no answer.
                let _ = caller.send(result);
            }
        }
    }
}

/// Makes one call without a stream. The answer has the form of a stream's; it lists the levels.
pub async fn unary(
    mut client: AvailabilityServiceClient<Channel>,
    change: impl Into<Change>,
) -> Result<v1::AppliedChange, Status> {
    match change.into() {
        Change::Decrement(request) => {
            let v1::DecrementAvailabilityResponse { sequence, levels, repeated_request } =
                client.decrement_availability(request).await?.into_inner();
            Ok(v1::AppliedChange { sequence, levels, repeated_request })
        }
        Change::Increment(request) => {
            let v1::IncrementAvailabilityResponse { sequence, levels, repeated_request } =
                client.increment_availability(request).await?.into_inner();
            Ok(v1::AppliedChange { sequence, levels, repeated_request })
        }
    }
}

/// A status that travelled as a message, as a unary call would have returned it.
fn status_of(status: &tonic_types::Status) -> Status {
    Status::with_details(Code::from_i32(status.code), status.message.clone(), status.encode_to_vec().into())
}
