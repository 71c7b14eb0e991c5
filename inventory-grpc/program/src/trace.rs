//! One trace over several programs: the context of a span travels in the metadata of a call (W3C `traceparent`).
//!
//! While no traces are sent, nothing here does anything.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::Status;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::observe::traces;

/// The header that carries the context of a span.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A value of a span that only traces need: `None` while no traces are sent.
pub fn only_traced<T>(value: T) -> Option<T> {
    traces().then_some(value)
}

/// Makes the caller's span, which `headers` name, the parent of `span`. Call it before the span is entered.
pub fn continue_from(span: &Span, headers: &HeaderMap) {
    if traces() {
        let parent = TraceContextPropagator::new().extract(&From(headers));
        // A span that the filter leaves out has no parent.
        let _ = span.set_parent(parent);
    }
}

/// The header `traceparent` of what `span` calls; empty while no traces are sent.
pub fn parent(span: &Span) -> String {
    let mut headers = HeaderMap::new();
    if traces() {
        TraceContextPropagator::new().inject_context(&span.context(), &mut Into(&mut headers));
    }
    headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// Marks a span as failed. A refusal is no failure.
pub fn failed(span: &Span, why: &'static str) {
    if traces() {
        span.set_status(Status::error(why));
    }
}

struct From<'a>(&'a HeaderMap);

impl Extractor for From<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Into<'a>(&'a mut HeaderMap);

impl Injector for Into<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
