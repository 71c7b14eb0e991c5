//! What scenarios have in common: they bring items to a level, send calls, and compare what came of it.
//!
//! Everything goes through the adapter: stock is put back or taken by signed calls, and a level is read from the
//! refusal of an order that cannot be filled. So a scenario needs no more than a key. The ledger is read besides, if it
//! can be.

use std::error::Error;
use std::fmt::Display;

use axum::http::Uri;
use inventory_program::Out;
use inventory_proto::v1;

use super::Ended;
use super::ledger::Ledger;
use crate::caller::{Answered, Call, Signature, Simulator, levels_told};
use crate::convert::Method;

/// A scenario that is being played.
pub(super) struct Play<'a> {
    /// The stand-in for Wix.
    pub(super) wix: &'a Simulator,
    ledger: Result<Ledger, String>,
    out: Out,
    /// The items, each with the sequence number of its last entry before the scenario, if the ledger can be asked.
    items: Vec<(&'static str, Option<i64>)>,
    differences: usize,
}

/// What a scenario expects as an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// 200.
    Applied,
    /// 428.
    Refused,
    /// 401.
    NotBelieved,
}

/// A way in which a scenario may come out.
pub(super) struct Outcome<'a> {
    /// What it means, as a sentence without its stop.
    pub(super) means: &'a str,
    /// The level of each item at the end.
    pub(super) levels: &'a [(&'a str, i64)],
    /// The entries that the scenario made of each item, in order: the item and the change.
    pub(super) entries: &'a [(&'a str, i64)],
}

/// Why a scenario cannot go on.
pub(super) enum Stop {
    /// An answer was another one than expected, so that the rest would mean nothing.
    Answer(Ended),
    /// There is no answer, or nothing can be printed.
    Error(Box<dyn Error>),
}

impl<E: Into<Box<dyn Error>>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl Expected {
    const fn status(self) -> u16 {
        match self {
            Self::Applied => 200,
            Self::Refused => 428,
            Self::NotBelieved => 401,
        }
    }
}

impl<'a> Play<'a> {
    pub(super) fn new(wix: &'a Simulator, ledger: Result<Ledger, String>) -> Self {
        Self { wix, ledger, out: Out::default(), items: Vec::new(), differences: 0 }
    }

    /// Prints what is played, and where.
    pub(super) fn title(&mut self, title: &str, url: &Uri) -> Result<(), Stop> {
        self.out.line(title)?;
        self.tell("to", format_args!("{url}, site {}", self.wix.site_id))
    }

    /// Prints a line with its label.
    pub(super) fn tell(&mut self, label: &str, line: impl Display) -> Result<(), Stop> {
        Ok(self.out.line(format_args!("{label:<8} {line}"))?)
    }

    /// Prints a difference. The exit code will tell of it.
    pub(super) fn differs(&mut self, line: impl Display) -> Result<(), Stop> {
        self.differences += 1;
        self.tell("DIFFERS", line)
    }

    /// Brings an item to a level. Pieces come back from an order that nobody knows, or an order takes them.
    pub(super) async fn ready(&mut self, item: &'static str, level: i64) -> Result<(), Stop> {
        let [now] = self.levels(&[item]).await?[..] else { return Err("one level was asked for".into()) };
        let wix = self.wix;
        let change = match level.saturating_sub(now) {
            0 => None,
            more if more > 0 => Some(wix.call(Method::Increment, &[(item, more)])),
            less => Some(wix.call(Method::Decrement, &[(item, less.saturating_neg())]).unrestricted()),
        };
        let how = match &change {
            None => String::new(),
            Some(call) => format!(" ({now} before a signed {})", call.method.name()),
        };
        if let Some(call) = change {
            let answer = wix.send(&call).await?;
            self.compare(&answer, Expected::Applied)?;
        }
        self.tell("ready", format_args!("{item}: {level} available{how}"))?;
        let before = match &self.ledger {
            Ok(ledger) => ledger.last_sequence(item).await.map(Some),
            Err(_) => Ok(None),
        };
        let before = before.unwrap_or_else(|why| {
            self.ledger = Err(why);
            None
        });
        self.items.push((item, before));
        Ok(())
    }

    /// Sends a call and compares the answer.
    pub(super) async fn expect(&mut self, call: &Call, expected: Expected) -> Result<(), Stop> {
        let signature = self.wix.signature();
        self.expect_signed(call, signature, "", expected).await
    }

    /// Sends a call that is signed in another way, which `how` describes, and compares the answer.
    pub(super) async fn expect_signed(
        &mut self,
        call: &Call,
        signature: Signature<'_>,
        how: &str,
        expected: Expected,
    ) -> Result<(), Stop> {
        self.tell("sent", format_args!("{}{how}", Shown(call)))?;
        let answer = self.wix.send_signed(call, signature).await?;
        let verdict = if answer.status == expected.status() { ", as expected" } else { "" };
        self.tell("answer", format_args!("{} {}{verdict}", answer.status, answer.body))?;
        self.compare(&answer, expected)
    }

    /// Stops the scenario unless the answer is the expected one.
    fn compare(&mut self, answer: &Answered, expected: Expected) -> Result<(), Stop> {
        if answer.status == expected.status() {
            return Ok(());
        }
        let Answered { status, body, .. } = answer;
        let advice = match status {
            401 => "the adapter does not believe the token: check --key-file, --app-id and the clocks",
            404 | 405 => "this is no adapter, or not its path: check --url",
            500 => "the adapter is misconfigured; its log says why",
            503 => "the adapter cannot reach its gRPC server, or that cannot serve",
            _ => "",
        };
        self.differs(format_args!("expected {}, got {status} {body}", expected.status()))?;
        if !advice.is_empty() {
            self.tell("", advice)?;
        }
        Err(Stop::Answer(match Ended::of(*status) {
            Ended::AsExpected | Ended::Otherwise => Ended::Otherwise,
            Ended::NotServed => Ended::NotServed,
        }))
    }

    /// The levels of items, as the refusal of an order that cannot be filled tells them.
    async fn levels(&mut self, items: &[&str]) -> Result<Vec<i64>, Stop> {
        let answer = self.wix.send(&self.wix.question(items)).await?;
        self.compare(&answer, Expected::Refused)?;
        let told = levels_told(&answer.body);
        let level = |item: &&str| told.iter().find(|(name, _)| name == item).map(|(_, level)| *level);
        let levels: Option<Vec<i64>> = items.iter().map(level).collect();
        levels.ok_or_else(|| Stop::from(format!("the refusal does not tell the levels: {}", answer.body)))
    }

    /// Compares the levels and the ledger with the ways in which the scenario may come out.
    pub(super) async fn check(&mut self, possible: &[Outcome<'_>]) -> Result<(), Stop> {
        let items: Vec<&'static str> = self.items.iter().map(|(item, _)| *item).collect();
        let told: Vec<(&str, i64)> = items.iter().copied().zip(self.levels(&items).await?).collect();
        let shown = |levels: &[(&str, i64)]| {
            let shown: Vec<_> = levels.iter().map(|(item, level)| format!("{item}: {level} available")).collect();
            shown.join(", ")
        };
        let found = possible.iter().find(|outcome| outcome.levels == told);
        match found {
            Some(outcome) => {
                self.tell("level", format_args!("{}, as expected: {}", shown(&told), outcome.means))?;
            }
            None => {
                self.tell("level", shown(&told))?;
                let expected: Vec<_> = possible.iter().map(|outcome| shown(outcome.levels)).collect();
                self.differs(format_args!("expected {}", expected.join("; or ")))?;
            }
        }
        match self.entries().await {
            Ok(entries) => self.check_ledger(&told, &entries, found.or(possible.first())).await,
            Err(why) => self.tell("ledger", format_args!("not asked: {why}")),
        }
    }

    /// The entries that the items got since they were ready.
    async fn entries(&self) -> Result<Vec<(&'static str, v1::Entry)>, String> {
        let ledger = self.ledger.as_ref().map_err(String::clone)?;
        let mut found = Vec::new();
        for (item, before) in &self.items {
            let before = before.ok_or_else(|| "it was not asked before the scenario".to_owned())?;
            found.extend(ledger.entries_after(item, before).await?.into_iter().map(|entry| (*item, entry)));
        }
        found.sort_by_key(|(_, entry)| entry.sequence);
        Ok(found)
    }

    async fn check_ledger(
        &mut self,
        told: &[(&str, i64)],
        entries: &[(&'static str, v1::Entry)],
        outcome: Option<&Outcome<'_>>,
    ) -> Result<(), Stop> {
        for (item, entry) in entries {
            let marks = if entry.marks().any(|mark| mark == v1::Mark::OverReturn) { ", an over-return" } else { "" };
            self.tell(
                "ledger",
                format_args!(
                    "{}: {item} {:+} -> {}, {}, {}{marks}",
                    entry.sequence,
                    entry.delta,
                    entry.level_after,
                    entry.reason().as_str_name(),
                    entry.request_id
                ),
            )?;
        }
        let made: Vec<(&str, i64)> = entries.iter().map(|(item, entry)| (*item, entry.delta)).collect();
        let expected = outcome.map(|outcome| outcome.entries).unwrap_or_default();
        let count = if made.is_empty() { "no entry".to_owned() } else { format!("{} in all", made.len()) };
        if made == expected {
            self.tell("ledger", format_args!("{count}, as expected"))?;
        } else {
            self.differs(format_args!("the ledger has {count}; expected {expected:?}"))?;
        }
        for (item, level) in told {
            let in_ledger = match &self.ledger {
                Ok(ledger) => ledger.level(item).await,
                Err(why) => Err(why.clone()),
            };
            match in_ledger {
                Ok(found) if found == *level => {}
                Ok(found) => self.differs(format_args!("{item}: the ledger's level is {found}, not {level}"))?,
                Err(why) => self.tell("ledger", format_args!("not asked: {why}"))?,
            }
        }
        Ok(())
    }

    /// Prints how the scenario came out.
    pub(super) fn end(&mut self, played: Result<(), Stop>) -> Result<Ended, Box<dyn Error>> {
        let ended = match played {
            Ok(()) if self.differences == 0 => Ended::AsExpected,
            Ok(()) => Ended::Otherwise,
            Err(Stop::Answer(ended)) => ended,
            Err(Stop::Error(error)) => return Err(error),
        };
        let line = match ended {
            Ended::AsExpected => "came out as it should",
            Ended::Otherwise => "did NOT come out as it should",
            Ended::NotServed => "was not served",
        };
        self.out.line(line)?;
        Ok(ended)
    }
}

/// A call in words.
struct Shown<'a>(&'a Call);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Call { method, pieces, reason, is_unrestricted, order_id, request_id, .. } = self.0;
        let pieces: Vec<_> = pieces.iter().map(|piece| format!("{} of {}", piece.quantity, piece.item)).collect();
        let unrestricted = if *is_unrestricted { ", unrestricted" } else { "" };
        let pieces = pieces.join(", ");
        write!(f, "{} {pieces}, {reason}{unrestricted}, order {order_id}, request {request_id}", method.name())
    }
}
