//! What the log and the traces show of a call: its method, and the ids by which people search. Never its token or body.
//!
//! A span is costly, and most calls are applied and make no line. So a call has a span only while traces are sent; else
//! a span is made for a line that is written.

use std::time::Duration;

use inventory_program::{observe, trace};
use inventory_proto::v1::change_availability_request::Change;
use tracing::Span;
use tracing::field::Empty;

use crate::answer::Answer;
use crate::convert::{Method, is_readable_key};

/// A call under way.
pub(crate) struct Seen {
    method: Method,
    /// None while no traces are sent.
    span: Span,
    ids: Option<Ids>,
}

struct Ids {
    request: String,
    key: String,
    site: String,
    order: String,
}

impl Seen {
    /// A call of which only the method is known.
    pub(crate) fn begin(method: Method) -> Self {
        let span = trace::only_traced(()).map_or_else(Span::none, |()| span(method));
        Self { method, span, ids: None }
    }

    /// The span of the call, while traces are sent.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// The call has these ids.
    pub(crate) fn names(&mut self, change: &Change, wix_request_id: String) {
        let (site, order, key) = match change {
            Change::Decrement(call) => (&call.site_id, &call.order_id, &call.request_id),
            Change::Increment(call) => (&call.site_id, &call.order_id, &call.request_id),
        };
        // A readable key is the method and `request.id`. A hashed key must be shown, or nobody finds it in the ledger.
        let key = if is_readable_key(key) { String::new() } else { key.clone() };
        let ids = Ids { request: wix_request_id, key, site: site.clone(), order: order.clone() };
        ids.record(&self.span);
        self.ids = Some(ids);
    }

    /// Writes lines that name the call.
    pub(crate) fn tell(&self, lines: impl FnOnce()) {
        if !self.span.is_none() {
            return self.span.in_scope(lines);
        }
        let span = span(self.method);
        if let Some(ids) = &self.ids {
            ids.record(&span);
        }
        span.in_scope(lines);
    }

    /// The call was answered. Logs it, if that is asked for.
    pub(crate) fn end(&self, answer: &Answer, took: Duration) {
        if answer.is_failure() {
            trace::failed(&self.span, answer.label());
        }
        if observe::log_calls() {
            let ms = took.as_micros() as f64 / 1_000.0;
            self.tell(|| tracing::info!(answer = answer.label(), ms, "call"));
        }
        // After the line of the log, which must not have it twice.
        self.span.record("answer", answer.label());
    }
}

impl Ids {
    fn record(&self, span: &Span) {
        span.record("request.id", &self.request).record("site.id", &self.site).record("order.id", &self.order);
        if !self.key.is_empty() {
            span.record("request.key", &self.key);
        }
    }
}

fn span(method: Method) -> Span {
    tracing::info_span!(
        "wix",
        otel.name = trace::only_traced(method.route()),
        otel.kind = trace::only_traced("server"),
        method = method.name(),
        answer = Empty,
        request.id = Empty,
        request.key = Empty,
        site.id = Empty,
        order.id = Empty,
    )
}
