//! Calls of gRPC whose requests are made of bytes: messages that no client sends, or that never end.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::transport::{Channel, Error};
use tower_service::Service;

/// Sends a call with this body. Returns once the head of the answer is there; an error if the stream breaks before.
pub async fn call(mut channel: Channel, path: &str, body: Body) -> Result<Response<Body>, Error> {
    let request = Request::post(format!("http://x{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .expect("the request is valid");
    poll_fn(|context| channel.poll_ready(context)).await.expect("the server is there");
    channel.call(request).await
}

/// A body that sends these frames, and never ends.
pub fn unfinished(frames: impl IntoIterator<Item = Bytes>) -> Body {
    Body::new(Unfinished(frames.into_iter().collect()))
}

struct Unfinished(VecDeque<Bytes>);

impl hyper::body::Body for Unfinished {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.pop_front().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
    }
}
