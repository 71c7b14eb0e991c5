//! Failures that repeat: logged at their start, then with a count at growing intervals. Where somebody follows their
//! ends ([`Repeats::follow_ends`]), these are logged too.
//!
//! A database that is away for ten minutes makes every call fail in the same way. One line for each would hide
//! everything else. Once the line of the end is written, the numbers `since_last_line` of all lines add up to all
//! failures.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The first interval between two lines about the same failure. Each is twice as long as the one before.
const FIRST_INTERVAL: Duration = Duration::from_secs(2);
/// The longest interval.
const LONGEST_INTERVAL: Duration = Duration::from_secs(600);
/// A failure that has not occurred for this long has ended.
const QUIET: Duration = Duration::from_secs(5);
/// How often ends are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Failures by their kind. Kinds are few and fixed: they bound the memory.
#[derive(Debug, Default)]
pub struct Repeats(Mutex<BTreeMap<&'static str, Spell>>);

/// A failure that has not ended yet.
#[derive(Debug)]
struct Spell {
    began: Instant,
    last: Instant,
    count: u64,
    /// How often it has occurred since the last line.
    untold: u64,
    next_line: Instant,
    interval: Duration,
}

impl Spell {
    fn new(now: Instant) -> Self {
        Self { began: now, last: now, count: 0, untold: 0, next_line: now, interval: FIRST_INTERVAL }
    }

    fn has_ended(&self, now: Instant) -> bool {
        now.duration_since(self.last) >= QUIET
    }
}

/// What a line about a failure tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The kind of the failure.
    pub kind: &'static str,
    /// How often it has occurred since it began.
    pub count: u64,
    /// How often it has occurred since the last line about it.
    pub since_last_line: u64,
    /// For how long.
    pub lasted: Duration,
}

impl Repeats {
    /// No failure yet.
    pub const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Counts a failure at the time `now`. Returns what to log, if it is time for a line. One that begins anew after it
    /// had ended is counted from 1 and told at once, also if nobody asked for its end.
    pub fn count(&self, kind: &'static str, now: Instant) -> Option<Told> {
        let mut spells = self.lock();
        let spell = spells.entry(kind).or_insert_with(|| Spell::new(now));
        if spell.has_ended(now) {
            // The next line counts what no line has counted yet.
            *spell = Spell { untold: spell.untold, ..Spell::new(now) };
        }
        spell.count += 1;
        spell.untold += 1;
        spell.last = now;
        if now < spell.next_line {
            return None;
        }
        spell.next_line = now + spell.interval;
        spell.interval = (spell.interval * 2).min(LONGEST_INTERVAL);
        let since_last_line = std::mem::take(&mut spell.untold);
        Some(Told { kind, count: spell.count, since_last_line, lasted: now.duration_since(spell.began) })
    }

    /// Calls `tell` with each failure that has ended, of those that occurred more than once. Never returns.
    pub async fn follow_ends(&self, tell: impl Fn(Told)) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        loop {
            every.tick().await;
            self.ended(Instant::now()).into_iter().for_each(&tell);
        }
    }

    /// The failures that have ended since the last call, of those that occurred more than once.
    fn ended(&self, now: Instant) -> Vec<Told> {
        let mut spells = self.lock();
        let ended: Vec<Told> = spells
            .iter()
            .filter(|(_, spell)| spell.has_ended(now))
            .map(|(kind, spell)| Told {
                kind,
                count: spell.count,
                since_last_line: spell.untold,
                lasted: spell.last.duration_since(spell.began),
            })
            .collect();
        ended.iter().for_each(|told| {
            spells.remove(told.kind);
        });
        ended.into_iter().filter(|told| told.count > 1).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Spell>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_at_growing_intervals_and_at_its_end() {
        let repeats = Repeats::new();
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let lines: Vec<(u64, u64)> =
            (0..600).filter_map(|second| repeats.count("down", at(second)).map(|told| (second, told.count))).collect();
        assert_eq!(lines, [(0, 1), (2, 3), (6, 7), (14, 15), (30, 31), (62, 63), (126, 127), (254, 255), (510, 511)]);
        assert_eq!(repeats.ended(at(603)), [], "it may still go on");
        let ended = repeats.ended(at(604));
        let lasted = Duration::from_secs(599);
        assert_eq!(ended, [Told { kind: "down", count: 600, since_last_line: 600 - 511, lasted }]);
        assert_eq!(repeats.ended(at(700)), []);
        assert_eq!(repeats.count("down", at(700)).map(|told| told.count), Some(1), "a new one begins");
    }

    #[test]
    fn a_failure_that_begins_anew_after_a_quiet_time_is_told_at_once() {
        let repeats = Repeats::new();
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let told = |second| repeats.count("down", at(second)).map(|told| (told.count, told.lasted));
        assert_eq!((0..=20).filter_map(told).map(|(count, _)| count).collect::<Vec<_>>(), [1, 3, 7, 15]);
        assert_eq!(told(24), None, "it has not ended");
        assert_eq!(told(29), Some((1, Duration::ZERO)), "although nobody asked which have ended");
        assert_eq!(told(31).map(|(count, _)| count), Some(2), "the intervals begin anew too");
    }

    #[test]
    fn the_numbers_since_the_last_line_add_up_to_all_failures() {
        let repeats = Repeats::new();
        let start = Instant::now();
        let count = |second| repeats.count("down", start + Duration::from_secs(second));
        let burst: Vec<u64> = (0..1_000).filter_map(|_| count(0)).map(|told| told.since_last_line).collect();
        assert_eq!(burst, [1], "the first one is told at once");
        // It begins anew before anybody has asked for its end.
        assert_eq!(count(20).map(|told| (told.count, told.since_last_line)), Some((1, 1_000)));
        assert_eq!((0..10).filter_map(|_| count(21)).count(), 0);
        let ended = repeats.ended(start + Duration::from_secs(26));
        let told: Vec<_> = ended.iter().map(|told| (told.count, told.since_last_line)).collect();
        assert_eq!(told, [(11, 10)], "all of 1,011 are told now");
    }

    #[test]
    fn kinds_are_counted_by_themselves_and_a_single_failure_has_no_end() {
        let repeats = Repeats::new();
        let start = Instant::now();
        assert!(repeats.count("one", start).is_some() && repeats.count("other", start).is_some());
        assert!(repeats.count("one", start).is_none());
        let ended = repeats.ended(start + QUIET);
        assert_eq!(ended.iter().map(|told| (told.kind, told.count)).collect::<Vec<_>>(), [("one", 2)]);
    }
}
