//! The HTTP routes: finds the call by its path, and runs it through the adapter's steps.
//!
//! A call that is not answered [`ANSWER_TIME_MAX`] after its head came in gets a 503, whatever it waits for. This is
//! the only timer of a call.
//!
//! Wix appends its paths to the deployment URI of the app (documented; how it joins the slashes is not). So the end of
//! the path names the call: a prefix, `//v1`, a trailing slash and a query string all work. Logs and traces carry the
//! ids of a call, never its token or its body.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method as HttpMethod, Request, StatusCode};
use axum::routing::get;
use inventory_program::drain::Stop;
use inventory_program::repeat::{Repeats, Told};
use tonic::{Code, Status};
use tracing::Instrument;

use crate::answer::{self, Answer};
use crate::body::{self, Bodies};
use crate::client::{ANSWER_TIME_MAX, Upstreams};
use crate::convert::{Converted, Method, convert};
use crate::measure::{self, Measures};
use crate::seen::Seen;
use crate::token::{Refused, UnverifiedToken, Verifier};
use crate::turns::Turns;

/// Characters of a stray call's path that are logged.
const STRAY_PATH_CHARS: usize = 200;

/// The tokens that are refused now, by the cause.
static REFUSED_TOKENS: Repeats = Repeats::new();

/// What every request needs.
pub struct Adapter {
    /// Checks tokens.
    pub verifier: Verifier,
    /// Calls the gRPC servers.
    pub upstreams: Upstreams,
}

/// What the routes share.
struct Shared {
    adapter: Adapter,
    stop: Stop,
    bodies: Bodies,
    turns: Turns,
    measures: Measures,
}

/// All routes: the plugin's two calls, `/healthz` and `/readyz`. Once `stop` has begun, the adapter is not ready. Must
/// be called inside the runtime.
pub fn router(adapter: Adapter, stop: Stop) -> Router {
    Router::new()
        .route("/healthz", get(async || StatusCode::OK))
        .route("/readyz", get(readyz))
        .fallback(plugin)
        .with_state(Arc::new(Shared {
            adapter,
            stop,
            bodies: Bodies::new(),
            turns: Turns::new(),
            measures: Measures::new(),
        }))
}

async fn readyz(State(shared): State<Arc<Shared>>) -> StatusCode {
    let is_ready = !shared.stop.is_unready() && shared.adapter.upstreams.is_ready().await;
    if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn plugin(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Answer {
    let method = match method_of(request.uri().path()) {
        Some(method) if request.method() == HttpMethod::POST => method,
        other => {
            let answer = if other.is_some() { Answer::WrongMethod } else { Answer::NoSuchPath };
            tell_stray(request.method(), request.uri().path());
            body::discard(request.into_body(), body::STRAY_BYTES_MAX);
            shared.measures.stray(&answer);
            return answer;
        }
    };
    let started = Instant::now();
    let until = started + ANSWER_TIME_MAX;
    let mut seen = Seen::begin(method);
    let span = seen.span();
    let handled = handle(&shared, method, request.into_body(), until, &mut seen).instrument(span);
    let answer = match tokio::time::timeout_at(until.into(), handled).await {
        Ok(handled) => handled.unwrap_or_else(|answer| answer),
        Err(_) => {
            tell_late();
            Answer::Unavailable
        }
    };
    let took = started.elapsed();
    shared.measures.answered(method, &answer, took);
    seen.end(&answer, took);
    answer
}

/// Logs a call that is not one of the plugin's, at growing intervals. A wrong deployment URI is the likeliest mistake
/// of a first installation, and Wix shows it to nobody.
fn tell_stray(method: &HttpMethod, path: &str) {
    static STRAYS: Repeats = Repeats::new();
    if let Some(Told { count, .. }) = STRAYS.count("stray", Instant::now()) {
        let shown: String = path.chars().take(STRAY_PATH_CHARS).collect();
        tracing::warn!(
            %method,
            path = shown,
            calls = count,
            "not a call of the plugin: the path must end in /v1/decrement or /v1/increment, and the method be POST; \
             check the app's deployment URI"
        );
    }
}

/// Logs that a call was not answered in time, at growing intervals.
fn tell_late() {
    static LATE: Repeats = Repeats::new();
    if let Some(Told { count, .. }) = LATE.count("late", Instant::now()) {
        tracing::warn!(calls = count, "calls were not answered in time; Wix gets 503 and may try again");
    }
}

/// Logs that a token was refused: the first of its cause at once, then a count at growing intervals. Anybody can send
/// bad tokens, and must not fill the disk with lines. The metric counts each of them.
fn tell_token_refused(refused: Refused, told: Told) {
    let Told { kind: cause, count, since_last_line, lasted } = told;
    let seconds = lasted.as_secs();
    tracing::info!(%refused, cause, calls = count, since_last_line, seconds, "token refused");
}

/// Logs the end of refusals of tokens that have stopped. Never ends.
pub(crate) async fn tell_ended_refusals() {
    let tell = |Told { kind: cause, count, since_last_line, lasted }: Told| {
        let seconds = lasted.as_secs();
        tracing::info!(cause, calls = count, since_last_line, seconds, "tokens are no longer refused for this cause");
    };
    REFUSED_TOKENS.follow_ends(tell).await;
}

/// Logs that the server refuses the adapter's token, at growing intervals; false if it does not. Every call of Wix
/// fails then.
fn tell_refused_token(status: &Status) -> bool {
    static REFUSED: Repeats = Repeats::new();
    let code = match status.code() {
        Code::Unauthenticated => "UNAUTHENTICATED",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => return false,
    };
    if let Some(Told { count, .. }) = REFUSED.count(code, Instant::now()) {
        tracing::error!(
            code,
            calls = count,
            "the gRPC server refuses the adapter: --upstream-token-file (UPSTREAM_TOKEN_FILE) must hold a valid token \
             with the scope `orders` for the site"
        );
    }
    true
}

/// Handles one call of Wix. `Err` is an answer that was found before the server was called.
async fn handle(
    shared: &Shared,
    method: Method,
    body: Body,
    until: Instant,
    seen: &mut Seen,
) -> Result<Answer, Answer> {
    let adapter = &shared.adapter;
    let (body, _charged) = shared.bodies.receive(body).await?;
    shared.turns.take().await;
    // The check of a token for a call that nobody waits for would only make others late too.
    if Instant::now() >= until {
        tell_late();
        return Err(Answer::Unavailable);
    }
    let unauthorized = |refused: Refused| {
        measure::token_refused(refused);
        if let Some(told) = REFUSED_TOKENS.count(refused.label(), Instant::now()) {
            seen.tell(|| tell_token_refused(refused, told));
        }
        Answer::Unauthorized
    };
    let token = UnverifiedToken::from_body(&body).map_err(unauthorized)?;
    let mut payload = Vec::new();
    let verified = adapter.verifier.verify(&token, now(), &mut payload).map_err(unauthorized)?;
    let Converted { change, wix_request_id } = convert(method, verified, &token).map_err(|bad| {
        seen.tell(|| {
            tracing::info!(field = bad.field, description = bad.description, "request refused: bad field");
        });
        answer::of_bad_field(method, &bad)
    })?;
    seen.names(&change, wix_request_id);
    let result = adapter.upstreams.submit(change, until).await;
    let status = result.as_ref().err().cloned();
    let answer = answer::of_result(method, result);
    if let Some(status) = status {
        seen.tell(|| {
            if !tell_refused_token(&status) {
                tell_not_applied(&answer, &status);
            }
        });
    }
    Ok(answer)
}

/// Logs that a call was not applied: each refusal, and failures at growing intervals.
fn tell_not_applied(answer: &Answer, status: &Status) {
    static FAILURES: Repeats = Repeats::new();
    let (code, why) = (status.code(), status.message());
    if !answer.is_failure() {
        tracing::info!(?code, why, "request refused");
        return;
    }
    let Some(Told { count: calls, .. }) = FAILURES.count(answer.label(), Instant::now()) else { return };
    match answer {
        Answer::Bug => tracing::error!(?code, why, calls, "the server's answer is not one that Wix can cause"),
        Answer::Unavailable
        | Answer::Done
        | Answer::NotPossible(..)
        | Answer::Unauthorized
        | Answer::TooLarge
        | Answer::TooSlow
        | Answer::NoSuchPath
        | Answer::WrongMethod => {
            tracing::warn!(?code, why, calls, "calls were not served; Wix gets 503 and may try again")
        }
    }
}

/// The call that the last two segments of the path name.
fn method_of(path: &str) -> Option<Method> {
    let path = path.trim_end_matches('/');
    [Method::Decrement, Method::Increment]
        .into_iter()
        .find(|method| path.strip_suffix(method.name()).is_some_and(|path| path.ends_with("/v1/")))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_path_names_the_call() {
        let rows = [
            ("/v1/decrement", Some(Method::Decrement)),
            ("/v1/increment", Some(Method::Increment)),
            ("//v1/decrement", Some(Method::Decrement)),
            ("/shop/plugin/v1/increment", Some(Method::Increment)),
            ("/v1/decrement/", Some(Method::Decrement)),
            ("/xv1/decrement", None),
            ("/v1/xdecrement", None),
            ("/V1/decrement", None),
            ("/v1/Decrement", None),
            ("/v1/decrement/x", None),
            ("/v1", None),
            ("/", None),
        ];
        for (path, expected) in rows {
            assert_eq!(method_of(path), expected, "{path}");
        }
    }
}
