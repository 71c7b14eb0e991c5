//! The metrics of the engine: each with its name, unit, help and labels, and the handles that record it.
//!
//! All of them are exported from the start of an engine, with 0 where nothing has happened yet. The handles are made
//! once for each writer, so recording neither allocates nor looks anything up.

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::engine::batch::Answer;
use crate::model::error::{Error, Failed};
use crate::model::outcome::{Finding, Outcome, Refusal, ShortageReason, Verdict};

const COMMANDS: &str = "inventory_commands_total";
const REFUSALS: &str = "inventory_refusals_total";
const MARKS: &str = "inventory_order_marks_total";
const RETRIES: &str = "inventory_batch_retries_total";
const UNKNOWN_OUTCOMES: &str = "inventory_unknown_outcomes_total";
const QUEUE_WAIT: &str = "inventory_queue_wait_seconds";
const BATCH_COMMANDS: &str = "inventory_batch_commands";
const BATCH_SECONDS: &str = "inventory_batch_seconds";
const QUEUE_DEPTH: &str = "inventory_queue_depth";
const CLOCK_AHEAD: &str = "inventory_site_clock_ahead_seconds";
const WATCHERS: &str = "inventory_watchers";
const WATCHER_LAG: &str = "inventory_watcher_lag_entries";
const STORE_UP: &str = "store_up";

/// Names every metric, and makes those that have no writer.
pub(super) fn describe() {
    describe_counter!(COMMANDS, "Commands that change stock, by outcome.");
    describe_counter!(REFUSALS, "Refused commands, by reason. A command with several reasons counts once for each.");
    describe_counter!(MARKS, "Marks of the order rules, by mark and by the site's policy.");
    describe_counter!(RETRIES, "Transactions that a writer ran again, by cause.");
    describe_counter!(UNKNOWN_OUTCOMES, "Commits whose outcome the database did not report.");
    describe_histogram!(QUEUE_WAIT, Unit::Seconds, "Time that a command or a task waited for its writer, in seconds.");
    describe_histogram!(BATCH_COMMANDS, Unit::Count, "Commands of one committed batch.");
    describe_histogram!(BATCH_SECONDS, Unit::Seconds, "Time to decide and commit one batch, in seconds.");
    describe_gauge!(QUEUE_DEPTH, Unit::Count, "Commands and tasks that wait in a writer's queue.");
    describe_gauge!(
        CLOCK_AHEAD,
        Unit::Seconds,
        "How far the times of a writer's last batch are ahead of this server's clock, in seconds."
    );
    describe_gauge!(WATCHERS, Unit::Count, "Calls that watch a ledger.");
    describe_gauge!(WATCHER_LAG, Unit::Count, "Entries that the slowest watcher has not been sent yet.");
    describe_gauge!(STORE_UP, "Whether all writers can commit: 1 if they can, 0 if not.");
    counter!(COMMANDS, "outcome" => Ending::Overloaded.label()).increment(0);
    for finding in FINDINGS {
        count_finding(finding, 0);
    }
}

/// How the work on a command ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    Applied,
    Replayed,
    Refused,
    Invalid,
    Failed,
    Unknown,
    Expired,
    Overloaded,
}

impl Ending {
    const ALL: [Self; 8] = [
        Self::Applied,
        Self::Replayed,
        Self::Refused,
        Self::Invalid,
        Self::Failed,
        Self::Unknown,
        Self::Expired,
        Self::Overloaded,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Replayed => "replayed",
            Self::Refused => "refused",
            Self::Invalid => "invalid",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Overloaded => "overloaded",
        }
    }

    fn of(answer: &Answer) -> Self {
        match answer {
            Ok(Outcome { replayed: true, .. }) => Self::Replayed,
            Ok(Outcome { verdict: Verdict::Applied(_), .. }) => Self::Applied,
            Ok(Outcome { verdict: Verdict::Refused(_), .. }) => Self::Refused,
            Err(error) => Self::of_error(error),
        }
    }

    pub(super) fn of_error(error: &Error) -> Self {
        match error {
            Error::Invalid(_) => Self::Invalid,
            Error::Failed(Failed::Expired) => Self::Expired,
            Error::Failed(Failed::Overloaded) => Self::Overloaded,
            Error::Failed(Failed::OutcomeUnknown(_)) => Self::Unknown,
            Error::Failed(
                Failed::TooManyWatchers
                | Failed::NoAnswer
                | Failed::Stopping
                | Failed::StoreUnavailable(_)
                | Failed::SequenceNotReached { .. }
                | Failed::Internal(_),
            ) => Self::Failed,
        }
    }
}

/// Why a writer runs a transaction again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Retry {
    /// A replay is among the commands.
    Replay,
    /// An order that was taken to be new has an earlier call.
    KnownOrder,
    /// Another server has changed a site that was cached.
    Outdated,
    /// Another transaction was in the way.
    Conflict,
    /// The connection is lost.
    Connection,
}

impl Retry {
    const ALL: [Self; 5] = [Self::Replay, Self::KnownOrder, Self::Outdated, Self::Conflict, Self::Connection];

    fn label(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::KnownOrder => "known_order",
            Self::Outdated => "outdated",
            Self::Conflict => "conflict",
            Self::Connection => "connection",
        }
    }
}

/// A reason of a refusal, as the contract names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    InsufficientStock,
    NotOnSaleYet,
    NoLongerOnSale,
    LevelOutOfRange,
    StockChanged,
    InvalidField,
}

impl Reason {
    const ALL: [Self; 6] = [
        Self::InsufficientStock,
        Self::NotOnSaleYet,
        Self::NoLongerOnSale,
        Self::LevelOutOfRange,
        Self::StockChanged,
        Self::InvalidField,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::InsufficientStock => "INSUFFICIENT_STOCK",
            Self::NotOnSaleYet => "NOT_ON_SALE_YET",
            Self::NoLongerOnSale => "NO_LONGER_ON_SALE",
            Self::LevelOutOfRange => "LEVEL_OUT_OF_RANGE",
            Self::StockChanged => "STOCK_CHANGED",
            Self::InvalidField => "INVALID_FIELD",
        }
    }

    fn of_shortage(reason: ShortageReason) -> Self {
        match reason {
            ShortageReason::InsufficientStock => Self::InsufficientStock,
            ShortageReason::NotOnSaleYet => Self::NotOnSaleYet,
            ShortageReason::NoLongerOnSale => Self::NoLongerOnSale,
        }
    }

    /// Whether a refusal has this reason.
    fn is_of(self, refusal: &Refusal) -> bool {
        match refusal {
            Refusal::Short(shortages) => shortages.iter().any(|shortage| Self::of_shortage(shortage.reason) == self),
            Refusal::OutOfRange { .. } => self == Self::LevelOutOfRange,
            Refusal::Changed(_) => self == Self::StockChanged,
            Refusal::NotYet { .. } | Refusal::Gone { .. } | Refusal::SameLevelTwice { .. } => {
                self == Self::InvalidField
            }
        }
    }
}

const FINDINGS: [Finding; 5] = [
    Finding::DuplicateReported,
    Finding::DuplicateSuppressed,
    Finding::OverReturnReported,
    Finding::OverReturnClipped,
    Finding::OutsideWindowReported,
];

fn count_finding(finding: Finding, count: u64) {
    let (mark, policy) = match finding {
        Finding::DuplicateReported => ("suspected_repeat", "report"),
        Finding::DuplicateSuppressed => ("suspected_repeat", "suppress"),
        Finding::OverReturnReported => ("over_return", "report"),
        Finding::OverReturnClipped => ("over_return", "clip"),
        Finding::OutsideWindowReported => ("outside_sales_window", "report"),
    };
    counter!(MARKS, "mark" => mark, "policy" => policy).increment(count);
}

/// The metrics of one writer.
pub(super) struct Measures {
    endings: [Counter; Ending::ALL.len()],
    retries: [Counter; Retry::ALL.len()],
    refusals: [Counter; Reason::ALL.len()],
    unknown_outcomes: Counter,
    queue_wait: Histogram,
    batch_commands: Histogram,
    batch_seconds: Histogram,
    clock_ahead: Gauge,
}

impl Measures {
    /// The metrics of the writer with this number.
    pub(super) fn of_writer(index: usize) -> Self {
        let of_reason = |reason: Reason| counter!(REFUSALS, "reason" => reason.label());
        Self {
            endings: Ending::ALL.map(|ending| counter!(COMMANDS, "outcome" => ending.label())),
            retries: Retry::ALL.map(|cause| counter!(RETRIES, "cause" => cause.label())),
            refusals: Reason::ALL.map(of_reason),
            unknown_outcomes: counter!(UNKNOWN_OUTCOMES),
            queue_wait: histogram!(QUEUE_WAIT),
            batch_commands: histogram!(BATCH_COMMANDS),
            batch_seconds: histogram!(BATCH_SECONDS),
            clock_ahead: gauge!(CLOCK_AHEAD, "writer" => index.to_string()),
        }
    }

    /// A command or a task was taken from the queue after this time.
    pub(super) fn waited(&self, time: Duration) {
        self.queue_wait.record(time.as_secs_f64());
    }

    /// A batch was committed, with these answers.
    pub(super) fn committed(&self, answers: &[Answer], took: Duration) {
        self.batch_commands.record(answers.len() as f64);
        self.batch_seconds.record(took.as_secs_f64());
        for answer in answers {
            let ending = Ending::of(answer);
            self.ended(ending, 1);
            let Ok(outcome) = answer else { continue };
            if let (Ending::Refused, Verdict::Refused(refusal)) = (ending, &outcome.verdict) {
                let reasons = Reason::ALL.iter().zip(&self.refusals);
                reasons.filter(|(reason, _)| reason.is_of(refusal)).for_each(|(_, count)| count.increment(1));
            }
            outcome.findings.iter().for_each(|finding| count_finding(*finding, 1));
        }
    }

    /// Commands ended in the same way.
    pub(super) fn ended(&self, ending: Ending, commands: usize) {
        self.endings[ending as usize].increment(commands as u64);
    }

    /// A transaction runs again.
    pub(super) fn retried(&self, cause: Retry) {
        self.retries[cause as usize].increment(1);
    }

    /// The database did not say whether a commit happened.
    pub(super) fn outcome_unknown(&self) {
        self.unknown_outcomes.increment(1);
    }

    /// The times of a batch are this far ahead of the clock, in microseconds.
    pub(super) fn clock_ahead(&self, microseconds: i64) {
        self.clock_ahead.set(Duration::from_micros(microseconds.max(0).unsigned_abs()).as_secs_f64());
    }
}

/// Commands were refused because the queue was full.
pub(super) fn overloaded(commands: usize) {
    counter!(COMMANDS, "outcome" => Ending::Overloaded.label()).increment(commands as u64);
}

/// Commands and tasks in the queue of the writer with this number.
pub(super) fn queue_depth(writer: usize, waiting: usize) {
    gauge!(QUEUE_DEPTH, "writer" => writer.to_string()).set(waiting as f64);
}

/// How many watch, and how many entries the slowest of them is behind.
pub(super) fn watchers(count: usize, lag: i64) {
    gauge!(WATCHERS).set(count as f64);
    gauge!(WATCHER_LAG).set(lag as f64);
}

/// Whether all writers can commit.
pub(super) fn store_up(is_up: bool) {
    gauge!(STORE_UP).set(if is_up { 1.0 } else { 0.0 });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::Invalid;

    #[test]
    fn an_error_is_counted_by_what_it_says_about_the_server() {
        let rows: [(Error, &str); 5] = [
            (Error::Invalid(Invalid::KeyReused), "invalid"),
            (Failed::Expired.into(), "expired"),
            (Failed::Overloaded.into(), "overloaded"),
            (Failed::Stopping.into(), "failed"),
            (Failed::NoAnswer.into(), "failed"),
        ];
        for (error, label) in rows {
            assert_eq!(Ending::of(&Err(error.clone())).label(), label, "{error:?}");
        }
    }
}
