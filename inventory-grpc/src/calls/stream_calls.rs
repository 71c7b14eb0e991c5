//! The calls of streams, seen as calls of their own methods are: measured, traced, and logged where they must be.
//!
//! A call of a stream has a span only while traces are sent. A line of the log gets its ids from the command.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use inventory_core::model::command::Command;
use inventory_program::{observe, trace};
use inventory_proto::v1::change_availability_request::Change;
use tonic::{Code, Status};
use tracing::Span;
use tracing::field::{Empty, display};

use super::methods::{Method, Methods, code_name};
use super::{Ending, ending};

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
        let span = trace::only_traced(()).map_or_else(Span::none, |()| span(method));
        if let Ok(value) = HeaderValue::from_str(traceparent) {
            trace::continue_from(&span, &HeaderMap::from_iter([(trace::TRACEPARENT, value)]));
        }
        StreamCall { method: Arc::clone(method), began: Instant::now(), span, tells_refusals: self.tells_refusals }
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
    pub(crate) fn applied(&self, command: &Command) {
        let took = self.record(Code::Ok);
        if observe::log_calls() {
            self.tell(Some(command), || tracing::info!(code = code_name(Code::Ok), ms = ms(took), "call"));
        }
    }

    /// The call was not applied. `command` is what it asked for, if that is known.
    pub(crate) fn end(&self, status: &Status, command: Option<&Command>) {
        let (code, why) = (status.code(), status.message());
        let (took, name) = (self.record(code), code_name(code));
        match ending(code) {
            Ending::Refusal if self.tells_refusals => {
                self.tell(command, || tracing::info!(code = name, why, ms = ms(took), "refused"));
                return;
            }
            Ending::Failure => trace::failed(&self.span, name),
            Ending::Refusal | Ending::Success => {}
        }
        if observe::log_calls() {
            self.tell(command, || tracing::info!(code = name, why, ms = ms(took), "call"));
        }
    }

    fn record(&self, code: Code) -> Duration {
        let took = self.began.elapsed();
        self.method.record(code, took);
        if let Some(code) = trace::only_traced(code as i32) {
            self.span.record("rpc.grpc.status_code", code);
        }
        took
    }

    /// Writes lines that name the call.
    fn tell(&self, command: Option<&Command>, lines: impl FnOnce()) {
        let span = if self.span.is_none() { span(&self.method) } else { self.span.clone() };
        // The decoders have recorded the ids of a call that is traced.
        if let Some(header) = command.filter(|_| self.span.is_none()).map(Command::header) {
            span.record("site.id", display(header.site)).record("request.id", header.request_id.as_str());
            if let Some(order) = header.order {
                span.record("order.id", display(order));
            }
        }
        span.in_scope(lines);
    }
}

fn span(method: &Method) -> Span {
    tracing::info_span!(
        parent: None,
        "call",
        otel.name = trace::only_traced(method.path.as_str()),
        otel.kind = trace::only_traced("server"),
        rpc.system = trace::only_traced("grpc"),
        rpc.method = method.path,
        rpc.grpc.status_code = Empty,
        site.id = Empty,
        order.id = Empty,
        request.id = Empty,
    )
}

fn ms(took: Duration) -> f64 {
    took.as_micros() as f64 / 1_000.0
}
