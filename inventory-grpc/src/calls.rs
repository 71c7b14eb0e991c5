//! One layer for all methods: each call gets a span, is measured, and is logged where it must be.
//!
//! - **Traces**: the span continues the caller's trace (W3C `traceparent`). Its status is an error if the call failed;
//!   a refusal is none.
//! - **Metrics**: the time until the last byte of the answer, by method and code. A call whose caller left is
//!   CANCELLED.
//! - **Logs**: a refusal is one line. A failure, and a call that is refused for its token, is logged where it is found,
//!   and repeated ones are counted there (`status`). With `--log-calls` every call is one line.
//!
//! A stream of calls is one call here; `stream_calls` sees each of its calls as one of its own method.
//!
//! The body of a large answer keeps its place among them (`large`). The decoders record which site, order and request a
//! call is about. The layer itself reads no message.

mod ended;
mod methods;
mod stream_calls;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use hyper::body::{Body, Frame, SizeHint};
use hyper::{HeaderMap, Request, Response};
use inventory_program::trace;
use pin_project_lite::pin_project;
use tonic::{Code, Status};
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;

use self::methods::{Method, Methods};
pub(crate) use self::stream_calls::{StreamCall, StreamCalls};
use crate::large::{Place, Unread};

/// The layer. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SeenLayer {
    methods: Arc<Methods>,
    tells_refusals: bool,
}

impl SeenLayer {
    /// A layer for all methods of the server. Without `tells_refusals`, a refusal is no line: a command tells its user
    /// itself.
    pub(crate) fn new(tells_refusals: bool) -> Self {
        Self { methods: Arc::new(Methods::new()), tells_refusals }
    }

    /// Sees the calls of streams in the same way.
    pub(crate) fn stream_calls(&self) -> StreamCalls {
        StreamCalls::new(&self.methods, self.tells_refusals)
    }
}

impl<S> Layer<S> for SeenLayer {
    type Service = Seen<S>;

    fn layer(&self, inner: S) -> Seen<S> {
        Seen { inner, methods: Arc::clone(&self.methods), tells_refusals: self.tells_refusals }
    }
}

/// A service whose calls are seen.
#[derive(Clone)]
pub(crate) struct Seen<S> {
    inner: S,
    methods: Arc<Methods>,
    tells_refusals: bool,
}

impl<S, T, B> Service<Request<T>> for Seen<S>
where
    S: Service<Request<T>, Response = Response<B>>,
{
    type Response = Response<SeenBody<B>>;
    type Error = S::Error;
    type Future = SeenFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<T>) -> Self::Future {
        let method = self.methods.of(request.uri().path());
        let call = Call::begin(method, request.headers(), self.tells_refusals);
        let inner = call.span.in_scope(|| self.inner.call(request));
        SeenFuture { inner, call: Some(call) }
    }
}

/// A call that has not ended.
struct Call {
    method: Arc<Method>,
    started: Instant,
    span: Span,
    is_ended: bool,
    tells_refusals: bool,
}

impl Call {
    fn begin(method: Arc<Method>, headers: &HeaderMap, tells_refusals: bool) -> Self {
        let span = method.span();
        trace::continue_from(&span, headers);
        Self { method, started: Instant::now(), span, is_ended: false, tells_refusals }
    }

    /// The call ended with this code. `why` is the message of an error.
    fn end(&mut self, code: Code, why: &str) {
        self.is_ended = true;
        let ended = self.method.ended(code, why, self.started.elapsed(), &self.span);
        if ended.has_line(self.tells_refusals) {
            self.span.in_scope(|| ended.tell());
        }
    }

    /// The call ended as these headers say.
    fn end_with(&mut self, headers: &HeaderMap) {
        match Status::from_header_map(headers) {
            Some(status) => self.end(status.code(), status.message()),
            None => self.end(Code::Unknown, "the answer has no status"),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.is_ended {
            self.end(Code::Cancelled, "the caller left");
        }
    }
}

pin_project! {
    /// The answer of a [`Seen`] service.
    pub(crate) struct SeenFuture<F> {
        #[pin]
        inner: F,
        call: Option<Call>,
    }
}

impl<F, B, E> Future for SeenFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<SeenBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = match &this.call {
            Some(call) => call.span.in_scope(|| this.inner.poll(context)),
            None => this.inner.poll(context),
        };
        let mut response = ready!(polled)?;
        let unread = response.extensions_mut().remove::<Place>().map(Place::watch);
        let mut call = this.call.take();
        // An error without a message has its status among the headers.
        if let Some(ended) = call.as_mut().filter(|_| response.headers().contains_key(Status::GRPC_STATUS)) {
            ended.end_with(response.headers());
            call = None;
        }
        Poll::Ready(Ok(response.map(|body| SeenBody { body, call, unread })))
    }
}

pin_project! {
    /// The body of an answer. Its trailers end the call.
    pub(crate) struct SeenBody<B> {
        #[pin]
        body: B,
        call: Option<Call>,
        unread: Option<Unread>,
    }
}

impl<B: Body> Body for SeenBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(context));
        let trailers = match &frame {
            Some(Ok(frame)) => frame.trailers_ref(),
            Some(Err(_)) | None => None,
        };
        if let Some((mut call, trailers)) = trailers.and_then(|trailers| Some((this.call.take()?, trailers))) {
            call.end_with(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
