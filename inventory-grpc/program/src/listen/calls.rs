//! Counts the calls under way, and refuses one too many, or one whose caller does not take its answers. A call ends
//! with the last byte of its answer's body.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Buf, Frame, SizeHint};
use hyper::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::listen::connection::CallerInfo;
use crate::listen::peers::{Call, Peer};

/// The layer that counts calls, for a tonic server over [`Connections`](crate::listen::Connections). `refuse` makes the
/// answer to a call too many.
#[derive(Debug)]
pub struct CallLayer<B> {
    refuse: fn() -> Response<B>,
}

impl<B> CallLayer<B> {
    /// A layer that answers a call too many by `refuse`.
    pub fn new(refuse: fn() -> Response<B>) -> Self {
        Self { refuse }
    }
}

// Derived, it would need a body that can be cloned.
impl<B> Clone for CallLayer<B> {
    fn clone(&self) -> Self {
        Self { refuse: self.refuse }
    }
}

impl<S, B> Layer<S> for CallLayer<B> {
    type Service = CallService<S, B>;

    fn layer(&self, inner: S) -> Self::Service {
        CallService { inner, refuse: self.refuse, peer: None }
    }
}

/// A service whose calls are counted.
#[derive(Debug)]
pub struct CallService<S, B> {
    inner: S,
    refuse: fn() -> Response<B>,
    /// The peer of all requests; `None` if the extensions of each request tell.
    peer: Option<Arc<Peer>>,
}

impl<S: Clone, B> Clone for CallService<S, B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), refuse: self.refuse, peer: self.peer.clone() }
    }
}

impl<S, B> CallService<S, B> {
    /// The calls of one connection.
    pub(super) fn of_peer(inner: S, refuse: fn() -> Response<B>, peer: Arc<Peer>) -> Self {
        Self { inner, refuse, peer: Some(peer) }
    }
}

impl<S, B, T> Service<Request<T>> for CallService<S, B>
where
    S: Service<Request<T>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<CallBody<B>>;
    type Error = Infallible;
    type Future = CallFuture<S::Future, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<T>) -> Self::Future {
        let of_request = || request.extensions_mut().get_mut::<CallerInfo>().map(CallerInfo::begin);
        // A request without a peer came by another way than a `Connection`, and is not counted.
        match self.peer.clone().or_else(of_request).map(Call::begin) {
            Some(None) => CallFuture { inner: None, answer: Some((self.refuse)()), call: None },
            call => CallFuture { inner: Some(self.inner.call(request)), answer: None, call: call.flatten() },
        }
    }
}

pin_project! {
    /// The answer of a [`CallService`].
    pub struct CallFuture<F, B> {
        #[pin]
        inner: Option<F>,
        answer: Option<Response<B>>,
        call: Option<Call>,
    }
}

impl<F, B> Future for CallFuture<F, B>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<CallBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = match (this.answer.take(), this.inner.as_pin_mut()) {
            (None, Some(inner)) => ready!(inner.poll(context))?,
            (Some(answer), _) => answer,
            // Only a future that is polled after its end comes here.
            (None, None) => return Poll::Pending,
        };
        let call = this.call.take();
        Poll::Ready(Ok(answer.map(|body| CallBody { body, call })))
    }
}

pin_project! {
    /// The body of an answer. Its end is the end of the call.
    #[derive(Debug)]
    pub struct CallBody<B> {
        #[pin]
        body: B,
        call: Option<Call>,
    }
}

impl<B: Body> Body for CallBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(context));
        if let (Some(call), Some(Ok(frame))) = (this.call.as_ref(), &frame) {
            call.give(frame.data_ref().map_or(0, Buf::remaining));
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
