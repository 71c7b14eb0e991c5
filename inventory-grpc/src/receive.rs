//! The layer that bounds what arrives: the time for a message, and the memory of all messages and all heads.
//!
//! A message must be complete [`MESSAGE_TIME_MAX`] after the server began to wait for it. A call without a stream of
//! requests is charged for its message until it is answered and the engine has no more of it ([`ForMessage`]). In a
//! stream of requests, this layer charges each message until it is complete. From then on the service that keeps the
//! message charges the same [`Memory`] for it.

use std::any::Any;
use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Bytes, Frame, SizeHint};
use inventory_core::model::error::{Error, Failed};
use inventory_program::memory::{Charged, Memory};
use inventory_proto::DESCRIPTORS;
use pin_project_lite::pin_project;
use prost::Message;
use prost_types::FileDescriptorSet;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::status::{self, Paths};

/// Time for a message to arrive.
const MESSAGE_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of a message that count as its first ones. Orders of a usual size fit into them.
const FIRST_BYTES: usize = 64 * 1024;
/// First bytes of all messages together.
const FIRST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Other bytes of all messages together.
const OTHER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes that a message is charged for before they arrive. The decoder refuses a longer one.
const ANNOUNCED_MAX: usize = 4 * 1024 * 1024;
/// Bytes of a head in memory that count as its first ones. A token and a trace fit into them.
const FIRST_HEAD_BYTES: usize = 4 * 1024;
/// First bytes of all heads together: those of as many calls as a port takes.
const FIRST_HEAD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Other bytes of all heads together.
const OTHER_HEAD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes that a header takes in memory beside its name and its value.
const HEADER_BYTES: usize = 120;
/// Bytes before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// What a call without a stream is charged for its message, in the extensions of its request.
#[derive(Clone)]
pub(crate) struct ForMessage(pub(crate) Arc<dyn Any + Send + Sync>);

/// The layer. Cheap to clone.
pub(crate) struct ReceiveLayer<B> {
    streams: Arc<HashSet<String>>,
    memory: Memory,
    heads: Memory,
    refuse: fn() -> Response<B>,
}

impl<B> ReceiveLayer<B> {
    /// A layer that answers a call by `refuse` if there is no memory for its head.
    pub(crate) fn new(refuse: fn() -> Response<B>) -> Self {
        let memory = Memory::new(FIRST_BYTES, FIRST_BYTES_MAX, OTHER_BYTES_MAX);
        let heads = Memory::new(FIRST_HEAD_BYTES, FIRST_HEAD_BYTES_MAX, OTHER_HEAD_BYTES_MAX);
        Self { streams: Arc::new(request_streams()), memory, heads, refuse }
    }

    /// The memory of all messages.
    pub(crate) fn memory(&self) -> Memory {
        self.memory.clone()
    }
}

// Derived, it would need a body that can be cloned.
impl<B> Clone for ReceiveLayer<B> {
    fn clone(&self) -> Self {
        let Self { streams, memory, heads, refuse } = self;
        Self { streams: streams.clone(), memory: memory.clone(), heads: heads.clone(), refuse: *refuse }
    }
}

/// Bytes that the headers of a call take in memory.
fn head_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER_BYTES).sum()
}

/// The paths of the methods with a stream of requests.
fn request_streams() -> HashSet<String> {
    let sets = [
        DESCRIPTORS,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    // The sets are part of the program, so each can be decoded. A test finds reflection among them.
    let files = sets.into_iter().flat_map(|set| FileDescriptorSet::decode(set).unwrap_or_default().file);
    let mut streams = HashSet::new();
    for file in files {
        for service in &file.service {
            let of_streams = service.method.iter().filter(|method| method.client_streaming());
            let path = |method: &prost_types::MethodDescriptorProto| {
                format!("/{}.{}/{}", file.package(), service.name(), method.name())
            };
            streams.extend(of_streams.map(path));
        }
    }
    streams
}

impl<S, B> Layer<S> for ReceiveLayer<B> {
    type Service = Receive<S, B>;

    fn layer(&self, inner: S) -> Receive<S, B> {
        Receive { inner, layer: self.clone() }
    }
}

/// Services whose requests are bounded.
pub(crate) struct Receive<S, B> {
    inner: S,
    layer: ReceiveLayer<B>,
}

impl<S: Clone, B> Clone for Receive<S, B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S, B> Service<Request<Body>> for Receive<S, B>
where
    S: Service<Request<Body>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = ReceiveFuture<S::Future, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut head = Charged::default();
        if !self.layer.heads.charge(&mut head, head_bytes(request.headers())) {
            return ReceiveFuture::Refused { answer: Some((self.layer.refuse)()) };
        }
        let is_stream = self.layer.streams.contains(request.uri().path());
        let charged = Arc::new(Mutex::new(Charged::default()));
        let (memory, for_body) = (self.layer.memory.clone(), charged.clone());
        let mut request = request.map(|body| Body::new(Requests::new(body, memory, for_body, is_stream)));
        if !is_stream {
            request.extensions_mut().insert(ForMessage(charged.clone()));
        }
        ReceiveFuture::Called { inner: self.inner.call(request), _charged: charged, _head: head }
    }
}

pin_project! {
    /// A call that is not answered yet. It stays charged.
    #[project = ReceiveProjection]
    pub(crate) enum ReceiveFuture<F, B> {
        Called {
            #[pin]
            inner: F,
            _charged: Arc<Mutex<Charged>>,
            _head: Charged,
        },
        Refused {
            answer: Option<Response<B>>,
        },
    }
}

impl<F: Future<Output = Result<Response<B>, E>>, B, E> Future for ReceiveFuture<F, B> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            ReceiveProjection::Called { inner, _charged, _head } => inner.poll(context),
            // Nobody polls a future that is ready.
            ReceiveProjection::Refused { answer } => {
                answer.take().map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer)))
            }
        }
    }
}

/// Where a stream of bytes is among its messages.
#[derive(Debug, Default)]
struct Prefixed {
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    /// Bytes that the message still lacks.
    left: usize,
}

impl Prefixed {
    /// Takes in what follows. Returns how many of these bytes come after the last message that they complete; `None` if
    /// they complete none.
    fn advance(&mut self, mut bytes: &[u8]) -> Option<usize> {
        let mut after = None;
        while let Some((&first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                bytes = &bytes[taken..];
            } else {
                self.prefix[self.prefix_bytes] = first;
                self.prefix_bytes += 1;
                bytes = rest;
                if self.prefix_bytes == PREFIX_BYTES {
                    let [_, length @ ..] = self.prefix;
                    self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                    self.prefix_bytes = 0;
                }
            }
            if !self.is_inside() {
                after = Some(bytes.len());
            }
        }
        after
    }

    /// Whether a message has begun and is not complete.
    fn is_inside(&self) -> bool {
        self.left > 0 || self.prefix_bytes > 0
    }
}

/// The requests of a call.
struct Requests {
    body: Body,
    memory: Memory,
    charged: Arc<Mutex<Charged>>,
    /// Bytes that it is charged for.
    bytes: usize,
    message: Prefixed,
    is_stream: bool,
    /// When the message that arrives must be complete.
    until: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Requests {
    fn new(body: Body, memory: Memory, charged: Arc<Mutex<Charged>>, is_stream: bool) -> Self {
        let until = (!is_stream).then(|| Instant::now() + MESSAGE_TIME_MAX);
        Self { body, memory, charged, bytes: 0, message: Prefixed::default(), is_stream, until, timer: None }
    }

    /// Counts what has arrived. Fails if there is no memory for it.
    fn arrived(&mut self, data: &Bytes) -> Result<(), Status> {
        let mut charged = self.charged.lock().unwrap_or_else(PoisonError::into_inner);
        match self.message.advance(data).filter(|_| self.is_stream) {
            // Frames need not end where messages end. What counts is the message that is not complete.
            Some(after) => {
                *charged = Charged::default();
                self.bytes = after;
                (self.until, self.timer) = (None, None);
            }
            None => self.bytes = self.bytes.saturating_add(data.len()),
        }
        // The decoder takes memory for the whole message as soon as it knows its length.
        let announced = self.bytes.saturating_add(self.message.left.min(ANNOUNCED_MAX));
        if !self.memory.charge(&mut charged, announced) {
            return Err(status::of_error(Error::Failed(Failed::Overloaded), Paths::REQUEST));
        }
        Ok(())
    }

    /// Whether the time for the message is over. Otherwise the task is woken when it is. In a stream the time begins
    /// here, when the server waits for the caller: what the server itself does not read yet is not late.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        if self.message.is_inside() {
            self.until.get_or_insert_with(|| Instant::now() + MESSAGE_TIME_MAX);
        }
        let Some(until) = self.until else { return false };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        timer.as_mut().poll(context).is_ready()
    }
}

impl hyper::body::Body for Requests {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let requests = self.get_mut();
        let frame = match Pin::new(&mut requests.body).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending if requests.is_late(context) => {
                let late = Error::Failed(Failed::Expired);
                return Poll::Ready(Some(Err(status::of_error(late, Paths::REQUEST))));
            }
            Poll::Pending => return Poll::Pending,
        };
        match frame {
            Some(Ok(frame)) => {
                let counted = frame.data_ref().map_or(Ok(()), |data| requests.arrived(data));
                Poll::Ready(Some(counted.map(|()| frame)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use super::*;

    #[test]
    fn messages_are_found_however_their_bytes_are_cut() {
        let bytes = [&[0, 0, 0, 0, 3, b'a', b'b', b'c'][..], &[0, 0, 0, 0, 0], &[1, 0, 0, 1, 0], &[b'x'; 256]].concat();
        let boundaries = [0, 8, 13, bytes.len()];
        for step in 1..=bytes.len() {
            let mut message = Prefixed::default();
            let mut at = 0;
            for part in bytes.chunks(step) {
                let passed = boundaries.into_iter().filter(|end| (at + 1..=at + part.len()).contains(end)).max();
                at += part.len();
                assert_eq!(message.advance(part), passed.map(|end| at - end), "{at} in steps of {step}");
                assert_eq!(message.is_inside(), !boundaries.contains(&at), "{at} in steps of {step}");
            }
        }
    }

    /// A body of these frames. `None`: nothing has arrived at that time.
    struct Frames(VecDeque<Option<Bytes>>);

    impl hyper::body::Body for Frames {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            match self.0.pop_front() {
                Some(Some(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(None) => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    }

    fn requests(frames: impl IntoIterator<Item = Option<Bytes>>, memory: &Memory) -> Requests {
        let body = Body::new(Frames(frames.into_iter().collect()));
        Requests::new(body, memory.clone(), Arc::default(), true)
    }

    fn poll(requests: &mut Requests) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        hyper::body::Body::poll_frame(Pin::new(requests), &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_stream_is_charged_for_the_message_that_is_not_complete() {
        // Messages of 10 bytes in frames of 16. Few of the frames end where a message ends.
        let bytes = [&[0, 0, 0, 0, 5][..], b"hello"].concat().repeat(1_000);
        let memory = Memory::new(10, 10, 10);
        let mut requests = requests(bytes.chunks(16).map(|part| Some(Bytes::copy_from_slice(part))), &memory);
        let mut arrived = 0;
        while let Poll::Ready(Some(frame)) = poll(&mut requests) {
            arrived += frame.expect("there is memory").into_data().expect("a frame of data").len();
        }
        assert_eq!(arrived, bytes.len());
    }

    #[tokio::test]
    async fn the_time_of_a_message_of_a_stream_runs_while_the_server_waits_for_it() {
        let half = Bytes::from_static(&[0, 0, 0, 0, 2, b'a']);
        let rest = Bytes::from_static(b"b");
        let memory = Memory::new(10, 10, 10);
        let mut requests = requests([Some(half), None, Some(rest), None], &memory);
        assert!(poll(&mut requests).is_ready() && requests.until.is_none(), "the server has not asked for more");
        assert!(poll(&mut requests).is_pending() && requests.until.is_some());
        assert!(poll(&mut requests).is_ready() && requests.until.is_none(), "the message is complete");
        assert!(poll(&mut requests).is_pending() && requests.until.is_none(), "no message has begun");
    }

    #[test]
    fn methods_with_a_stream_of_requests_are_known() {
        let streams = request_streams();
        assert!(streams.contains("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"), "{streams:?}");
        assert!(!streams.contains("/inventory.v1.LedgerService/WatchEntries"));
    }
}
