//! The calls of streams, seen as calls of their own methods are: measured, traced, and logged where they must be.
//!
//! A call of a stream has a span only while traces are sent. A line of the log gets a span of its own, with the ids of
//! the call.

use std::sync::Arc;
use std::time::Instant;

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use inventory_program::trace;
use inventory_proto::v1;
use inventory_proto::v1::change_availability_request::Change;
use tonic::{Code, Status};
use tracing::Span;

use super::methods::{Method, Methods};
use crate::decode::Ids;

/// Sees the calls of all streams.
pub(crate) struct StreamCalls {
    decrement: Arc<Method>,
    increment: Arc<Method>,
    neither: Arc<Method>,
    tells_refusals: bool,
}

/// A call of a stream that has not ended.
pub(crate) struct StreamCall {
    method: Arc<Method>,
    began: Instant,
    /// None while no traces are sent.
    span: Span,
    ids: Ids,
    tells_refusals: bool,
}

impl StreamCalls {
    pub(super) fn new(methods: &Methods, tells_refusals: bool) -> Self {
        let of = |name: &str| methods.of(&format!("/inventory.v1.AvailabilityService/{name}"));
        Self {
            decrement: of("DecrementAvailability"),
            increment: of("IncrementAvailability"),
            neither: of("ChangeAvailability"),
            tells_refusals,
        }
    }

    /// A call arrives, below the span of its caller.
    pub(crate) fn begin(&self, change: Option<&Change>, traceparent: &str) -> StreamCall {
        let method = match change {
            Some(Change::Decrement(_)) => &self.decrement,
            Some(Change::Increment(_)) => &self.increment,
            None => &self.neither,
        };
        let span = trace::only_traced(()).map_or_else(Span::none, |()| method.span());
        if let Ok(value) = HeaderValue::from_str(traceparent) {
            trace::continue_from(&span, &HeaderMap::from_iter([(trace::TRACEPARENT, value)]));
        }
        let ids = match change {
            Some(Change::Decrement(request)) => {
                let v1::DecrementAvailabilityRequest { site_id, order_id, request_id, .. } = request;
                Ids::new(site_id, order_id, request_id)
            }
            Some(Change::Increment(request)) => {
                let v1::IncrementAvailabilityRequest { site_id, order_id, request_id, .. } = request;
                Ids::new(site_id, order_id, request_id)
            }
            None => Ids::default(),
        };
        let (method, began, tells_refusals) = (Arc::clone(method), Instant::now(), self.tells_refusals);
        StreamCall { method, began, span, ids, tells_refusals }
    }
}

impl StreamCall {
    /// When the call arrived.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Its span, while traces are sent.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// The call was applied.
    pub(crate) fn applied(&self) {
        self.ended(Code::Ok, "");
    }

    /// The call was not applied.
    pub(crate) fn end(&self, status: &Status) {
        self.ended(status.code(), status.message());
    }

    fn ended(&self, code: Code, why: &str) {
        let ended = self.method.ended(code, why, self.began.elapsed(), &self.span);
        if ended.has_line(self.tells_refusals) {
            self.named().in_scope(|| ended.tell());
        }
    }

    /// The span for a line of the log: that of the call, or else one that is made for the line.
    fn named(&self) -> Span {
        if !self.span.is_none() {
            // The decoders have recorded the ids.
            return self.span.clone();
        }
        let span = self.method.span();
        span.in_scope(|| self.ids.record());
        span
    }
}
