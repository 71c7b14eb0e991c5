//! The report of a rehearsal: for a person who has to act on it, and as JSON for a script.

use std::time::Duration;

use axum::http::Uri;
use serde::Serialize;

use crate::token::REHEARSAL_SITE_ID;

/// Every check, in the order of the report.
const CHECKS: [Name; 13] = [
    Name::Tls,
    Name::Path,
    Name::Clock,
    Name::Key,
    Name::TokenTimes,
    Name::Strangers,
    Name::Decrement,
    Name::Replay,
    Name::Refusal,
    Name::Increment,
    Name::Items300,
    Name::Latency,
    Name::AsFound,
];

/// A check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Name {
    /// The certificate.
    Tls,
    /// Both calls reach the adapter.
    Path,
    /// The server's clock.
    Clock,
    /// The adapter believes the rehearsal's key, for this app and this site, and its gRPC server decides.
    Key,
    /// How old a token may be, and how new.
    TokenTimes,
    /// Tokens that must be refused.
    Strangers,
    /// A decrement.
    Decrement,
    /// The same once more.
    Replay,
    /// An order that cannot be filled.
    Refusal,
    /// An increment.
    Increment,
    /// 300 items in one call.
    #[serde(rename = "300-items")]
    Items300,
    /// How long a call takes.
    Latency,
    /// The levels are what they were.
    AsFound,
}

impl Name {
    const fn text(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Path => "path",
            Self::Clock => "clock",
            Self::Key => "key",
            Self::TokenTimes => "token-times",
            Self::Strangers => "strangers",
            Self::Decrement => "decrement",
            Self::Replay => "replay",
            Self::Refusal => "refusal",
            Self::Increment => "increment",
            Self::Items300 => "300-items",
            Self::Latency => "latency",
            Self::AsFound => "as-found",
        }
    }
}

/// What is wrong, and what to do.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    /// What was found.
    pub(super) found: String,
    /// What to do.
    pub(super) advice: String,
}

impl Problem {
    pub(super) fn new(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { found: found.into(), advice: advice.into() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Ok,
    Failed,
    NotTried,
}

#[derive(Debug, Serialize)]
struct Check {
    name: Name,
    outcome: Outcome,
    found: String,
    /// What to do; empty if nothing is to be done.
    #[serde(rename = "do")]
    advice: String,
}

/// The times of calls of one item.
#[derive(Debug, Serialize)]
pub(super) struct Latency {
    calls: usize,
    p50_ms: u64,
    max_ms: u64,
}

/// The report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    url: String,
    site_id: &'static str,
    ok: bool,
    /// Whether a person ended it before its time.
    interrupted: bool,
    checks: Vec<Check>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<Latency>,
    /// Entries that the rehearsal has made in the ledger of its site.
    ledger_entries: usize,
}

impl Report {
    pub(super) fn new(url: &Uri) -> Self {
        let url = url.to_string();
        let (site_id, checks) = (REHEARSAL_SITE_ID, Vec::new());
        Self { url, site_id, ok: false, interrupted: false, checks, latency: None, ledger_entries: 0 }
    }

    /// Adds a check. Returns whether it is ok.
    pub(super) fn add(&mut self, name: Name, result: Result<String, Problem>) -> bool {
        let (outcome, found, advice) = match result {
            Ok(found) => (Outcome::Ok, found, String::new()),
            Err(Problem { found, advice }) => (Outcome::Failed, found, advice),
        };
        self.checks.push(Check { name, outcome, found, advice });
        outcome == Outcome::Ok
    }

    /// Adds a check that is not tried.
    pub(super) fn skip(&mut self, name: Name, why: &str) {
        let (outcome, found, advice) = (Outcome::NotTried, why.to_owned(), String::new());
        self.checks.push(Check { name, outcome, found, advice });
    }

    /// Keeps the times of calls. Returns the median and the longest. `None` without calls.
    pub(super) fn times(&mut self, mut took: Vec<Duration>) -> Option<(Duration, Duration)> {
        took.sort();
        let (p50, max) = (*took.get(took.len() / 2)?, *took.last()?);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.latency = Some(Latency { calls: took.len(), p50_ms: millis(p50), max_ms: millis(max) });
        Some((p50, max))
    }

    /// Notes how many entries the rehearsal has made.
    pub(super) fn entries(&mut self, count: usize) {
        self.ledger_entries = count;
    }

    /// Notes that a person ended the rehearsal.
    pub(super) const fn interrupt(&mut self) {
        self.interrupted = true;
    }

    /// Adds the checks that were never tried, since one before them failed or a person ended the rehearsal.
    pub(super) fn close(&mut self) {
        let failed = self.checks.iter().find(|check| check.outcome == Outcome::Failed);
        let why = match failed {
            Some(check) => format!("put {} right first", check.name.text()),
            None => "the rehearsal was interrupted".to_owned(),
        };
        for name in CHECKS {
            if !self.checks.iter().any(|check| check.name == name) {
                self.skip(name, &why);
            }
        }
        self.checks.sort_by_key(|check| check.name);
        self.ok = !self.interrupted && self.checks.iter().all(|check| check.outcome != Outcome::Failed);
    }

    /// Whether no check failed.
    pub(super) const fn is_ok(&self) -> bool {
        self.ok
    }

    /// The report for a person.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("rehearsal at {}, site {}", self.url, self.site_id), String::new()];
        for Check { name, outcome, found, advice } in &self.checks {
            let outcome = match outcome {
                Outcome::Ok => "ok",
                Outcome::Failed => "FAILED",
                Outcome::NotTried => "not tried",
            };
            lines.push(format!("{outcome:<9}  {:<11}  {found}", name.text()));
            if !advice.is_empty() {
                lines.push(format!("{:<9}  {:<11}  do: {advice}", "", ""));
            }
        }
        let count = |outcome| self.checks.iter().filter(|check| check.outcome == outcome).count();
        let (ok, failed) = (count(Outcome::Ok), count(Outcome::Failed));
        let verdict = match (self.ok, self.interrupted) {
            (true, _) => "Ready for Wix, as far as a rehearsal can tell.",
            (false, true) => "The rehearsal was interrupted.",
            (false, false) => "Not ready for Wix yet.",
        };
        lines.push(String::new());
        lines.push(format!("{ok} ok, {failed} failed, {} not tried. {verdict}", count(Outcome::NotTried)));
        if self.ledger_entries > 0 {
            let entries = self.ledger_entries;
            lines
                .push(format!("The rehearsal made {entries} entries in the ledger of its own site, which stay there."));
        }
        lines
    }
}
