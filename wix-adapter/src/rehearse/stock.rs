//! Stock that is taken and given back: both calls, a replay, a refusal, 300 items, and how long a call takes.
//!
//! Orders are unrestricted, so they need no stock: the levels go below zero and come back. Whatever was taken is noted
//! before it is sent, and given back at the end, also if its answer was lost.

use std::time::Duration;

use super::report::{Name, Problem, Report};
use super::verdict;
use crate::answer::is_of_adapter;
use crate::caller::{Answered, Call, NotSent, Options, Simulator, levels_told};
use crate::convert::Method;

/// What Wix waits for, as far as it is known.
const WIX_WAITS: Duration = Duration::from_secs(3);
/// Items of the largest call (documented).
const ITEMS_MAX: usize = 300;
/// Characters of the text that each item of the largest call carries, as a buyer may have written it.
const TEXT_CHARS: usize = 800;
/// Orders whose times are measured, each with its return.
const MEASURED_ORDERS: usize = 10;
/// How often a call is repeated whose outcome must be known.
const TRIES_MAX: usize = 5;
/// The pause between two of them.
const PAUSE: Duration = Duration::from_secs(1);

/// The items that are ordered, from 0 to 299. Each rehearsal orders the same ones, so their number does not grow.
pub(super) fn item(number: usize) -> String {
    format!("rehearsal-{}", number.saturating_add(1))
}

/// What was taken and is not back yet, with the call that gives it back.
struct Owed {
    take: Call,
    back: Call,
    /// False as long as only the answer to `take` can tell.
    is_taken: bool,
}

/// The stock of the rehearsal's site.
pub(super) struct Stock<'a> {
    wix: &'a Simulator,
    owed: Vec<Owed>,
    /// The levels before the first call, where they are known.
    before: Vec<(String, i64)>,
    entries: usize,
}

impl<'a> Stock<'a> {
    pub(super) fn new(wix: &'a Simulator) -> Self {
        Self { wix, owed: Vec::new(), before: Vec::new(), entries: 0 }
    }

    /// Runs the checks up to the first that fails.
    pub(super) async fn run(&mut self, report: &mut Report) {
        let name = item(0);
        let before = match self.level(&name).await {
            Ok(before) => before,
            Err(problem) => {
                report.add(Name::Decrement, Err(problem));
                return;
            }
        };
        self.before = vec![(name.clone(), before)];
        let taken = before.saturating_sub(1);
        let owed = self.owe(&[(&name, 1)], None);
        let checks = async {
            let sent = self.take(owed).await.map(|_| ());
            let done = self.then_level(sent, &name, taken, "200 {}; one piece is taken").await;
            if !report.add(Name::Decrement, done) {
                return false;
            }
            let again = self.owed.last().map(|owed| owed.take.clone());
            let sent = match again {
                Some(call) => verdict::expect(self.wix.send(&call).await, 200).map(|_| ()),
                None => Ok(()),
            };
            let done = self.then_level(sent, &name, taken, "200 {}; nothing is taken twice").await;
            if !report.add(Name::Replay, done) {
                return false;
            }
            let told = self.refusal(&name, taken).await;
            if !report.add(Name::Refusal, told) {
                return false;
            }
            let sent = self.give_back_last().await.map(|_| ());
            let done = self.then_level(sent, &name, before, "200 {}; the piece is back").await;
            report.add(Name::Increment, done)
        };
        if !checks.await {
            return;
        }
        let bulk = self.bulk().await;
        if report.add(Name::Items300, bulk) {
            let latency = self.latency(report).await;
            report.add(Name::Latency, latency);
        }
    }

    /// Gives back what is not back yet, and compares the levels with those of the beginning.
    pub(super) async fn leave_as_found(&mut self, report: &mut Report) {
        let left = self.settle().await;
        report.entries(self.entries);
        if self.before.is_empty() {
            return;
        }
        report.add(Name::AsFound, left);
    }

    /// An order of `pieces` that may go below zero, and its return.
    fn owe(&self, pieces: &[(&str, i64)], options: Option<Options>) -> Owed {
        let take = self.wix.call(Method::Decrement, pieces).because("ORDER_PAID").unrestricted();
        let take = Call { options: options.clone(), ..take };
        let back = self.wix.call(Method::Increment, pieces).of_order(&take.order_id);
        Owed { take, back: Call { options, ..back }, is_taken: false }
    }

    /// Takes what is owed from now on.
    async fn take(&mut self, owed: Owed) -> Result<Answered, Problem> {
        let call = owed.take.clone();
        self.owed.push(owed);
        let answer = self.wix.send(&call).await;
        if answer.as_ref().is_ok_and(|answer| is_refused(answer.status)) {
            self.owed.pop();
        }
        let answer = verdict::expect(answer, 200)?;
        self.owed.last_mut().into_iter().for_each(|owed| owed.is_taken = true);
        self.entries = self.entries.saturating_add(call.pieces.len());
        Ok(answer)
    }

    /// Gives back what was taken last.
    async fn give_back_last(&mut self) -> Result<Answered, Problem> {
        let Some(Owed { back, .. }) = self.owed.last() else {
            return Err(Problem::new("nothing is owed", "this is a mistake of the rehearsal; report it"));
        };
        let pieces = back.pieces.len();
        let answer = verdict::expect(self.wix.send(back).await, 200)?;
        self.owed.pop();
        self.entries = self.entries.saturating_add(pieces);
        Ok(answer)
    }

    /// The level of an item, as the refusal of an order that cannot be filled tells it.
    async fn level(&self, name: &str) -> Result<i64, Problem> {
        let levels = self.levels(&[name]).await?;
        levels.first().map(|(_, level)| *level).ok_or_else(no_levels)
    }

    async fn levels(&self, names: &[&str]) -> Result<Vec<(String, i64)>, Problem> {
        let answer = verdict::expect(self.wix.send(&self.wix.question(names)).await, 428)?;
        Ok(levels_told(&answer.body))
    }

    /// Checks the level after a call.
    async fn then_level(
        &self,
        sent: Result<(), Problem>,
        name: &str,
        expected: i64,
        found: &str,
    ) -> Result<String, Problem> {
        sent?;
        let level = self.level(name).await?;
        if level == expected {
            return Ok(found.to_owned());
        }
        let found = format!("the level is {level}, and not {expected}");
        Err(Problem::new(found, "let nobody else rehearse meanwhile, and try again; if it stays, report it"))
    }

    /// A restricted order for more than there is.
    async fn refusal(&self, name: &str, level: i64) -> Result<String, Problem> {
        let answer = verdict::expect(self.wix.send(&self.wix.question(&[name])).await, 428)?;
        if levels_told(&answer.body) != [(name.to_owned(), level)] {
            return Err(no_levels());
        }
        self.then_level(Ok(()), name, level, "428 DECREMENT_NOT_POSSIBLE lists what is short; nothing is taken").await
    }

    /// 300 items in one call, with long texts: about as much as Wix sends at most.
    async fn bulk(&mut self) -> Result<String, Problem> {
        let names: Vec<String> = (0..ITEMS_MAX).map(item).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let before = self.levels(&names).await?;
        self.before = before.clone();
        let text = serde_json::json!({"customTextFields": {"text": "x".repeat(TEXT_CHARS)}}).to_string();
        let options = Options::parse(&text).map_err(|error| Problem::new(error, ""))?;
        let pieces: Vec<(&str, i64)> = names.iter().map(|name| (*name, 1)).collect();
        let owed = self.owe(&pieces, Some(options));
        let token = owed.take.token(&self.wix.key, &self.wix.app_id, crate::signing::Times::now());
        let kilobytes = token.map(|token| token.len() / 1_000).unwrap_or_default();
        let taken = self.take(owed).await?.took;
        let during = self.levels(&names).await?;
        let is_taken = before.iter().zip(&during).all(|(before, during)| before.1.checked_sub(1) == Some(during.1));
        let back = self.give_back_last().await?.took;
        if !is_taken || before.len() != during.len() {
            return Err(Problem::new("not every item is taken once", "let nobody else rehearse meanwhile; try again"));
        }
        let longest = taken.max(back);
        let found = format!("taken and given back in one call each of {kilobytes} kB, {} ms", longest.as_millis());
        if longest < WIX_WAITS { Ok(found) } else { Err(Problem::new(found, TOO_SLOW)) }
    }

    async fn latency(&mut self, report: &mut Report) -> Result<String, Problem> {
        let name = item(0);
        let mut took = Vec::new();
        for _ in 0..MEASURED_ORDERS {
            let owed = self.owe(&[(&name, 1)], None);
            took.push(self.take(owed).await?.took);
            took.push(self.give_back_last().await?.took);
        }
        let calls = took.len();
        let Some((p50, max)) = report.times(took) else { return Err(no_levels()) };
        let found =
            format!("{calls} calls: median {} ms, longest {} ms; Wix waits 3 s", p50.as_millis(), max.as_millis());
        if max < WIX_WAITS { Ok(found) } else { Err(Problem::new(found, TOO_SLOW)) }
    }

    /// Gives back what is still owed, then compares the levels.
    async fn settle(&mut self) -> Result<String, Problem> {
        while let Some(Owed { take, back, is_taken }) = self.owed.last() {
            let (take, back, is_known) = (take.clone(), back.clone(), *is_taken);
            // The same call again learns the outcome of the first one. Only what was taken goes back.
            if is_known || self.is_applied(&take).await? {
                if !self.is_applied(&back).await? {
                    let problem = Problem::new("its return is refused", "look at the adapter's log");
                    return Err(not_back(&back, &problem));
                }
                let calls = if is_known { 1 } else { 2 };
                self.entries = self.entries.saturating_add(back.pieces.len().saturating_mul(calls));
            }
            self.owed.pop();
        }
        let names: Vec<&str> = self.before.iter().map(|(name, _)| name.as_str()).collect();
        if self.levels(&names).await? == self.before {
            return Ok("all levels of the rehearsal's site are what they were".to_owned());
        }
        Err(Problem::new("levels of the rehearsal's site differ from before", "let nobody else rehearse meanwhile"))
    }

    /// Repeats a call until it is known whether it is applied: by the answer, or by the adapter's own refusal of the
    /// call. Anything else, such as a token that has expired meanwhile, says nothing of earlier attempts.
    async fn is_applied(&self, call: &Call) -> Result<bool, Problem> {
        let mut last: Option<Result<Answered, NotSent>> = None;
        for tried in 0..TRIES_MAX {
            if tried > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            match self.wix.send(call).await {
                Ok(answer) if answer.status == 200 => return Ok(true),
                Ok(answer) if answer.status == 428 && is_of_adapter(428, &answer.body) => return Ok(false),
                other => last = Some(other),
            }
        }
        let problem = match last {
            Some(Ok(answer)) => verdict::of(&answer),
            Some(Err(error)) => verdict::not_sent(error),
            None => no_levels(),
        };
        Err(not_back(call, &problem))
    }
}

/// The problem that an order may not be given back.
fn not_back(call: &Call, Problem { found, advice }: &Problem) -> Problem {
    let found = format!("order {} may not be given back: {found}", call.order_id);
    Problem::new(found, format!("{advice}; the levels concern the rehearsal's site alone"))
}

const TOO_SLOW: &str = "find out what is slow: the adapter's metric wix_call_seconds shows its own part";

/// Whether the answer to the first attempt of a call means that nothing was taken, whoever gave it.
const fn is_refused(status: u16) -> bool {
    matches!(status, 401 | 404 | 405 | 413 | 428)
}

fn no_levels() -> Problem {
    Problem::new(
        "the refusal arrives without the list of what is short",
        "look for a proxy that replaces the bodies of errors, and let 428 pass as it is",
    )
}
