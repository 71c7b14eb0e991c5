//! Logs and traces of a program.
//!
//! Logs go to standard error: text on a terminal, JSON lines elsewhere, with each field once. `RUST_LOG` filters them;
//! if it is not set, the level is `info`. Traces go over OTLP (gRPC) to the collector of the settings. A collector that
//! does not answer costs traces, and makes one line in the log.

mod collector;
mod fields;

use std::env::VarError;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::OnceLock;

use clap::Args;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tonic::transport::Endpoint;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

pub(crate) use self::collector::CollectorError;

/// The spans that are sent beside those of the level `info`: they have this target, and cost nothing while no traces
/// are sent.
const TRACED: &str = "info,traces=debug";

/// What a program tells of its work, beside its log.
#[derive(Clone, Debug, Default, Args)]
pub struct Sight {
    /// Send traces to this collector, as OTLP over gRPC: http://HOST:PORT, or https://HOST:PORT for TLS. Off unless
    /// set.
    #[arg(long, env = "OTLP_ENDPOINT", global = true, value_parser = collector::endpoint)]
    pub otlp_endpoint: Option<Endpoint>,
    /// For an https collector: an authority in this PEM file must have signed its certificate, such as
    /// /etc/ssl/certs/ca-certificates.crt.
    #[arg(long, env = "OTLP_CA", global = true, value_name = "FILE")]
    pub otlp_ca: Option<PathBuf>,
    /// Log one line for each call, also for those that succeed.
    #[arg(long, env = "LOG_CALLS", global = true, value_parser = clap::builder::BoolishValueParser::new())]
    pub log_calls: bool,
}

/// Logs or traces cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObserveError {
    /// The filter cannot be read.
    #[error("RUST_LOG: {text:?} is no filter; give a level such as info, or TARGET=LEVEL,TARGET=LEVEL")]
    Filter {
        /// The value of the variable.
        text: String,
        /// The cause, if the library refused it.
        source: Option<ParseError>,
    },
    /// Traces cannot be sent.
    #[error(transparent)]
    Collector(#[from] CollectorError),
}

/// What the process was started with.
#[derive(Debug)]
struct Started {
    program: &'static str,
    traces: bool,
    log_calls: bool,
}

static STARTED: OnceLock<Started> = OnceLock::new();

/// The name of the program; empty in a process that [`run`](crate::run) has not started.
pub(crate) fn program() -> &'static str {
    STARTED.get().map_or("", |started| started.program)
}

/// Whether traces are sent.
pub(crate) fn traces() -> bool {
    STARTED.get().is_some_and(|started| started.traces)
}

/// Whether each call is logged (`--log-calls`).
pub fn log_calls() -> bool {
    STARTED.get().is_some_and(|started| started.log_calls)
}

/// Installs logs and traces for the process. Returns the provider of the traces, which must be shut down at the end;
/// `None` if no collector is set. Panics if logs are installed already.
pub(crate) fn start(program: &'static str, sight: &Sight) -> Result<Option<SdkTracerProvider>, ObserveError> {
    let filter = filter()?;
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let logs = if std::io::stderr().is_terminal() {
        logs.boxed()
    } else {
        // Spans are listed, and the current one is the last of them.
        let logs = logs.json().flatten_event(true).with_current_span(false).with_span_list(true);
        logs.fmt_fields(fields::JsonObject).boxed()
    };
    let traces = collector::provider(program, sight)?;
    match &traces {
        None => tracing_subscriber::registry().with(logs).with(filter).init(),
        Some(traces) => {
            let spans = tracing_opentelemetry::layer().with_tracer(traces.tracer(program));
            let spans = spans.with_filter(EnvFilter::new(TRACED));
            tracing_subscriber::registry().with(logs.with_filter(filter)).with(spans).init();
        }
    }
    let started = Started { program, traces: traces.is_some(), log_calls: sight.log_calls };
    // Logs can be installed only once, so this is the first value.
    let _ = STARTED.set(started);
    Ok(traces)
}

/// The filter that `RUST_LOG` names.
fn filter() -> Result<EnvFilter, ObserveError> {
    let text = match std::env::var("RUST_LOG") {
        Ok(text) => text,
        Err(VarError::NotPresent) => String::new(),
        Err(VarError::NotUnicode(text)) => {
            return Err(ObserveError::Filter { text: text.to_string_lossy().into_owned(), source: None });
        }
    };
    filter_of(&text)
}

/// The filter that a text means; `info` if it is empty. A word by itself must be a level: the library would read a
/// mistyped level as the name of a target, and log that target at every level.
fn filter_of(text: &str) -> Result<EnvFilter, ObserveError> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let bad = |source| ObserveError::Filter { text: text.to_owned(), source };
    if text.trim().is_empty() {
        return Ok(EnvFilter::new("info"));
    }
    let is_level = |word: &str| LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    if words.clone().any(|word| !word.contains(['=', '[', ']', '{', '}', '"']) && !is_level(word)) {
        return Err(bad(None));
    }
    EnvFilter::try_new(text).map_err(|source| bad(Some(source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_targets_with_levels() {
        for text in ["", " ", "info", "DEBUG", "off", "warn,inventory_core=debug", "inventory_grpc[call]=trace"] {
            assert!(filter_of(text).is_ok(), "{text}");
        }
        for text in ["inof", "inventory_grpc", "info,wran", "inventory_grpc=lots", "a=b=c"] {
            let error = filter_of(text).expect_err(text).to_string();
            assert!(error.starts_with(&format!("RUST_LOG: {text:?} is no filter; ")), "{error}");
        }
    }
}
