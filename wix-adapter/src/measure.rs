//! The metrics of the adapter: each with its name, unit, help and labels.
//!
//! All are exported from the start of the adapter, with 0 where nothing has happened yet. Only those of a gRPC server
//! are not there in `standalone`, whose server nobody watches.

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::answer::Answer;
use crate::convert::Method;
use crate::token::Refused;

const CALLS: &str = "wix_calls_total";
const CALL_SECONDS: &str = "wix_call_seconds";
const TOKEN_REFUSALS: &str = "wix_token_refusals_total";
const UPSTREAM_RETRIES: &str = "wix_upstream_retries_total";
const UPSTREAM_UP: &str = "wix_upstream_up";
const UPSTREAM_OUTAGES: &str = "wix_upstream_outages_total";

/// The label `method` of a call that is none of the plugin's.
const NO_METHOD: &str = "none";
/// The labels `method` of the plugin's calls, and the place of their handles.
const METHODS: [Method; 2] = [Method::Decrement, Method::Increment];

/// The handles. They are made once, so recording neither allocates nor looks anything up.
pub(crate) struct Measures {
    /// By method, then by the place of the answer's label.
    times: [[(Counter, Histogram); Answer::LABELS.len()]; METHODS.len()],
    strays: [Counter; Answer::LABELS.len()],
}

impl Measures {
    /// Names every metric, and makes them all.
    pub(crate) fn new() -> Self {
        describe_counter!(CALLS, "Calls of the HTTP port, by method and answer. The method of a stray call is none.");
        describe_histogram!(
            CALL_SECONDS,
            Unit::Seconds,
            "Time that Wix waits for an answer, from the head of its call on, in seconds, by method and answer."
        );
        describe_counter!(TOKEN_REFUSALS, "Calls whose token was refused, by cause.");
        describe_counter!(UPSTREAM_RETRIES, "Calls that were sent to the gRPC server again, by the code before.");
        Refused::ALL.into_iter().for_each(|refused| token_refusals(refused, 0));
        RETRIED.into_iter().for_each(|code| retries(code, 0));
        let calls = |method, answer| counter!(CALLS, "method" => method, "answer" => answer);
        let times = METHODS.map(|method| {
            Answer::LABELS.map(|answer| {
                let time = histogram!(CALL_SECONDS, "method" => method.name(), "answer" => answer);
                (calls(method.name(), answer), time)
            })
        });
        Self { times, strays: Answer::LABELS.map(|answer| calls(NO_METHOD, answer)) }
    }

    /// A call of the plugin was answered.
    pub(crate) fn answered(&self, method: Method, answer: &Answer, took: Duration) {
        let (calls, time) = &self.times[method as usize][answer.index()];
        calls.increment(1);
        time.record(took.as_secs_f64());
    }

    /// A call that is none of the plugin's was answered.
    pub(crate) fn stray(&self, answer: &Answer) {
        self.strays[answer.index()].increment(1);
    }
}

/// A token was refused.
pub(crate) fn token_refused(refused: Refused) {
    token_refusals(refused, 1);
}

fn token_refusals(refused: Refused, count: u64) {
    counter!(TOKEN_REFUSALS, "cause" => refused.label()).increment(count);
}

/// The codes after which a call is sent again.
const RETRIED: [&str; 4] = ["UNAVAILABLE", "UNKNOWN", "CANCELLED", "ABORTED"];

/// A call is sent again, after the code of this name.
pub(crate) fn retried(code: &'static str) {
    retries(code, 1);
}

fn retries(code: &'static str, count: u64) {
    counter!(UPSTREAM_RETRIES, "code" => code).increment(count);
}

/// Why a gRPC server does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    /// There is no connection to it, or it reports no health.
    Unreachable,
    /// It takes the connection, and does not answer.
    Silent,
    /// It reports that it does not serve: it stops, or its writers cannot commit.
    NotServing,
    /// The connection broke, because it ended, hangs, or cannot be reached any more.
    Lost,
}

impl Outage {
    const ALL: [Self; 4] = [Self::Unreachable, Self::Silent, Self::NotServing, Self::Lost];

    const fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::NotServing => "not_serving",
            Self::Lost => "lost",
        }
    }
}

/// The handles of one gRPC server.
pub(crate) struct UpstreamMeasures {
    up: Gauge,
    outages: [Counter; Outage::ALL.len()],
}

impl UpstreamMeasures {
    /// Names the metrics of a server, and makes them.
    pub(crate) fn new(upstream: &str) -> Self {
        describe_gauge!(UPSTREAM_UP, "1 if the gRPC server serves, as far as the adapter knows, otherwise 0.");
        describe_counter!(UPSTREAM_OUTAGES, "How often a gRPC server no longer served, by server and cause.");
        let up = gauge!(UPSTREAM_UP, "upstream" => upstream.to_owned());
        let outages = Outage::ALL
            .map(|outage| counter!(UPSTREAM_OUTAGES, "upstream" => upstream.to_owned(), "cause" => outage.label()));
        Self { up, outages }
    }

    /// The server serves.
    pub(crate) fn serves(&self) {
        self.up.set(1.0);
    }

    /// The server no longer serves.
    pub(crate) fn left(&self, outage: Outage) {
        self.up.set(0.0);
        self.outages[outage as usize].increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_and_every_outage_has_its_own_handles() {
        for (index, method) in METHODS.into_iter().enumerate() {
            assert_eq!(method as usize, index);
        }
        for (index, outage) in Outage::ALL.into_iter().enumerate() {
            assert_eq!(outage as usize, index);
        }
    }
}
