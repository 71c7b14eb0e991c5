//! How a call ended, and its line in the log. It is the same for a call of its own and for one on a stream.

use std::time::Duration;

use inventory_program::observe;
use tonic::Code;

use super::methods::code_name;

/// A call that has ended.
pub(super) struct Ended<'a> {
    pub(super) code: Code,
    /// The message of an error.
    pub(super) why: &'a str,
    pub(super) took: Duration,
}

impl Ended<'_> {
    /// Whether it makes a line: a refusal where they are told, any other call if that is asked for. A failure is logged
    /// where it is found, and so are calls that were not let in.
    pub(super) fn has_line(&self, tells_refusals: bool) -> bool {
        match kind(self.code) {
            Kind::Refusal => tells_refusals,
            Kind::Success | Kind::NotLetIn | Kind::Failure => observe::log_calls(),
        }
    }

    /// Whether something is wrong with the server.
    pub(super) fn is_failure(&self) -> bool {
        match kind(self.code) {
            Kind::Failure => true,
            Kind::Success | Kind::Refusal | Kind::NotLetIn => false,
        }
    }

    /// Writes the line, into the current span.
    pub(super) fn tell(&self) {
        let Self { code, why, took } = *self;
        let (name, ms) = (code_name(code), took.as_micros() as f64 / 1_000.0);
        match kind(code) {
            Kind::Refusal | Kind::NotLetIn => tracing::info!(code = name, why, ms, "refused"),
            Kind::Success => tracing::info!(code = name, ms, "call"),
            Kind::Failure => tracing::info!(code = name, why, ms, "call"),
        }
    }
}

/// The kinds of ends of a call.
enum Kind {
    Success,
    /// The caller was told no, and nothing is wrong with the server.
    Refusal,
    /// The same, for its token, or because there is no such method. A stranger can cause any number of these, so they
    /// are counted (`status::tell_refused`, metrics), and make no line each.
    NotLetIn,
    /// The caller may have been right, and did not get what it asked for.
    Failure,
}

fn kind(code: Code) -> Kind {
    match code {
        // A caller that leaves, as every watcher does at some time, is no failure.
        Code::Ok | Code::Cancelled => Kind::Success,
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange => Kind::Refusal,
        Code::PermissionDenied | Code::Unimplemented | Code::Unauthenticated => Kind::NotLetIn,
        Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Kind::Failure,
    }
}
