//! What an answer that was not expected means, and what to do about it.

use super::report::Problem;
use crate::answer::is_of_adapter;
use crate::caller::{Answered, NotSent, Unanswered};

/// Characters of a foreign answer that are shown.
const SHOWN_CHARS: usize = 120;

/// Nothing if the answer has the expected status and comes from an adapter.
pub(super) fn expect(answer: Result<Answered, NotSent>, status: u16) -> Result<Answered, Problem> {
    let answer = answer.map_err(not_sent)?;
    if answer.status == status && is_of_adapter(answer.status, &answer.body) { Ok(answer) } else { Err(of(&answer)) }
}

/// The problem that there is no answer.
pub(super) fn not_sent(error: NotSent) -> Problem {
    match &error {
        NotSent::Unanswered(Unanswered::NotReached { cause, .. }) => Problem::new(
            format!("the connection fails: {cause}"),
            "check that the server runs, and that this machine may reach it",
        ),
        NotSent::Unanswered(Unanswered::TooLate { .. }) => {
            Problem::new(error.to_string(), "find out what the call waits for; Wix waits for 3 seconds")
        }
        NotSent::NotSigned(_) => Problem::new(error.to_string(), "give another key with --key-file"),
    }
}

/// The problem that an unexpected answer shows.
pub(super) fn of(answer: &Answered) -> Problem {
    if is_of_adapter(answer.status, &answer.body) { of_adapter(answer) } else { of_other(answer) }
}

fn of_adapter(answer: &Answered) -> Problem {
    let (found, advice) = match answer.status {
        401 => (
            "the adapter does not believe the token",
            "give the adapter this key's public half (--rehearsal-public-key-file) and compare the app ids \
             (--wix-app-id). The adapter's log names the cause: `wrong signature` is the key, `wrong audience` the app \
             id, `expired` and `issued in the future` are clocks",
        ),
        404 => (
            "the adapter is reached, but under a path that does not end in /v1/decrement or /v1/increment",
            "let the proxy pass the whole path on",
        ),
        405 => ("the adapter gets another method than POST", "let the proxy pass the method on; look for redirects"),
        413 => ("the adapter says that the body is too large", "look for a proxy that changes the body"),
        408 => ("the body reaches the adapter too slowly", "look at the network and the proxy between"),
        500 => (
            "the adapter is misconfigured: its gRPC server refuses it",
            "give the adapter a token with the scope `orders` that is good for the rehearsal's site \
             (--upstream-token-file); the adapter's log says more",
        ),
        503 => (
            "the adapter is reached, but its gRPC server does not answer or cannot serve",
            "start the gRPC server, check --grpc-upstream of the adapter, and run `inventory-grpc health`",
        ),
        428 => ("the call is refused", "look at the refusal"),
        _ => ("the answer is not the expected one", "look at the adapter's log"),
    };
    let found = match answer.status {
        428 | 200 => format!("{found}: {} {}", answer.status, answer.body),
        status => format!("{found} ({status})"),
    };
    Problem::new(found, advice)
}

fn of_other(answer: &Answered) -> Problem {
    let advice = match answer.status {
        300..=399 => "give the URL to which it redirects; do not count on Wix to follow",
        401 | 403 => "let Wix's calls through without a login: they carry their own signature",
        404 | 405 => "check the URL, and which path the proxy passes to the adapter",
        413 => "let the proxy pass bodies of 4 MiB",
        428 => "let the bodies of errors pass as they are: Wix reads them",
        502..=504 => "start the adapter, and check where the proxy looks for it",
        _ => "check the URL, and what stands before the adapter",
    };
    let shown: String = answer.body.chars().take(SHOWN_CHARS).collect();
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    Problem::new(format!("something else than the adapter answers: {} {shown}", answer.status), advice)
}
