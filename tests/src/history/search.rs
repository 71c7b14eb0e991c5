//! The search for an order of a site's calls in which the model gives the answers that were seen.
//!
//! It goes through beginnings and answers in the order of their times. Calls that have begun are open, and a call takes
//! effect no later than necessary: when its answer comes (just-in-time linearization). Three facts keep the search
//! short, and none of them leaves an order out:
//!
//! - A read, a refusal and a replay change nothing that another call could see. So an open one that fits takes effect
//!   at once, and only what is applied has to be tried in several orders.
//! - The answer of an applied call has its sequence number. So there is one call that can be the next.
//! - Two orders of the same calls that lead to the same state need to be followed once.
//!
//! What remains are applied calls whose sequence number nobody told, and calls without an answer. The search forks
//! where several of them could be the next.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Asked, Operation, Seen};
use crate::model::{Answer, Model, Request, entries_of};

/// Ways after which a search gives up, and fails. No test comes near it.
const WAYS_MAX: usize = 100_000;

/// Looks for an order; the error says which call has no place in any.
pub(super) fn explain(operations: &[Operation], ledger: Option<&HashMap<u64, i64>>) -> Result<(), String> {
    let mut search = Search::of(operations, ledger);
    // Each way has the calls that may take effect next on it; at the beginning nothing has to.
    let mut ways = vec![(State::new(operations.len()), Vec::new())];
    let (mut farthest, mut tried) = ((0, "no call was made".to_owned()), 0);
    while let Some((state, mut next)) = ways.pop() {
        let first = next.pop();
        let mut way = state;
        if !next.is_empty() {
            ways.push((way.clone(), next));
        }
        let followed = first.map_or(Ok(()), |first| search.apply(&mut way, first));
        let followed = followed.and_then(|()| search.follow(&mut way, &mut ways));
        let Err(why) = followed else { return Ok(()) };
        if way.at >= farthest.0 {
            farthest = (way.at, why);
        }
        tried += 1;
        if tried > WAYS_MAX {
            return Err(format!("the search gave up after {tried} ways; the farthest ended here: {}", farthest.1));
        }
    }
    Err(farthest.1)
}

struct Search<'a> {
    operations: &'a [Operation],
    /// Beginnings and answers, by time: the index of the call, and whether it is its answer.
    events: Vec<(usize, bool)>,
    /// The sequence numbers of applied requests, by their keys.
    sequences: HashMap<u64, i64>,
    /// The request of a key and its outcome, if an answer tells them.
    told: HashMap<u64, (&'a Request, &'a Seen)>,
    /// The requests that are not those of their keys, because an answer says so.
    reused: HashMap<u64, Vec<&'a Request>>,
    /// The keys that have entries, if the ledger is known.
    ledger: Option<&'a HashMap<u64, i64>>,
    visited: HashSet<u64>,
}

/// The calls that have taken effect, and what they led to.
#[derive(Clone)]
struct State {
    model: Model,
    /// The next event.
    at: usize,
    /// Calls that have begun and have not taken effect.
    open: Vec<usize>,
    done: Vec<bool>,
}

impl State {
    fn new(calls: usize) -> Self {
        Self { model: Model::default(), at: 0, open: Vec::new(), done: vec![false; calls] }
    }

    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.at, &self.done, &self.open, self.model.entries.len()).hash(&mut hasher);
        self.model.entries.iter().for_each(|entry| (entry.item, entry.delta).hash(&mut hasher));
        hasher.finish()
    }
}

impl<'a> Search<'a> {
    fn of(operations: &'a [Operation], ledger: Option<&'a HashMap<u64, i64>>) -> Self {
        let mut events: Vec<(usize, usize, bool)> = Vec::with_capacity(2 * operations.len());
        let mut sequences = ledger.cloned().unwrap_or_default();
        let (mut told, mut reused) = (HashMap::new(), HashMap::<_, Vec<_>>::new());
        for (index, Operation { call, began, ended }) in operations.iter().enumerate() {
            events.push((*began, index, false));
            events.extend(ended.as_ref().map(|(ended, _)| (*ended, index, true)));
            let (Asked::Write(key, request), Some((_, seen))) = (call, ended) else { continue };
            if let Seen::Applied(Some(sequence)) = seen {
                sequences.entry(*key).or_insert(*sequence);
            }
            match seen {
                Seen::Refused(Answer::KeyReused) => reused.entry(*key).or_default().push(request),
                Seen::Applied(_) | Seen::Refused(_) => {
                    told.insert(*key, (request, seen));
                }
                Seen::Level(..) | Seen::Order(_) | Seen::Ledger(_) => {}
            }
        }
        events.sort_unstable();
        let events = events.into_iter().map(|(_, index, is_answer)| (index, is_answer)).collect();
        Self { operations, events, sequences, told, reused, ledger, visited: HashSet::new() }
    }

    /// Follows one way to its end. The error says why it ends before. Where it forks, it is added to `ways` with the
    /// calls that may take effect next.
    fn follow(&mut self, state: &mut State, ways: &mut Vec<(State, Vec<usize>)>) -> Result<(), String> {
        while let Some(&(index, is_answer)) = self.events.get(state.at) {
            if !is_answer {
                if self.never_happened(index) {
                    state.done[index] = true;
                } else {
                    state.open.push(index);
                    self.settle(state, state.open.len() - 1)?;
                }
            } else if !state.done[index] {
                let next = self.candidates(state);
                if let [only] = next.as_slice() {
                    self.apply(state, *only)?;
                    continue;
                }
                if !next.is_empty() && self.visited.insert(state.digest()) {
                    ways.push((state.clone(), next));
                }
                return Err(self.stuck(state, index));
            }
            state.at += 1;
        }
        Ok(())
    }

    /// Whether a call without an answer has no place in the order: it made no entry, and no answer to another one tells
    /// that its key was used, or its key belongs to another request.
    fn never_happened(&self, index: usize) -> bool {
        let Operation { call: Asked::Write(key, request), ended: None, .. } = &self.operations[index] else {
            return false;
        };
        match (self.told.get(key), self.reused.get(key)) {
            (Some((told, _)), _) => *told != request,
            (None, Some(others)) => others.contains(&request),
            (None, None) => self.ledger.is_some_and(|ledger| !ledger.contains_key(key)),
        }
    }

    /// The outcome of a call. One without an answer has that of its key, if an answer to the same request tells it: it
    /// may be the one that was decided, and the other a replay.
    fn outcome(&self, index: usize) -> Option<&'a Seen> {
        match &self.operations[index] {
            Operation { ended: Some((_, seen)), .. } => Some(seen),
            Operation { call: Asked::Write(key, request), ended: None, .. } => {
                self.told.get(key).filter(|(told, _)| *told == request).map(|(_, seen)| *seen)
            }
            Operation { call: Asked::Level(..) | Asked::Order(..) | Asked::Ledger, ended: None, .. } => None,
        }
    }

    /// The sequence number after an applied call with this key and outcome, if anybody told it.
    fn sequence_after(&self, key: u64, outcome: Option<&Seen>) -> Option<i64> {
        match outcome {
            Some(Seen::Applied(Some(sequence))) => Some(*sequence),
            Some(_) | None => self.sequences.get(&key).copied(),
        }
    }

    /// Lets a call take effect that is applied; then all open ones that fit now. The error says which answer is wrong.
    fn apply(&self, state: &mut State, index: usize) -> Result<(), String> {
        let call = &self.operations[index];
        let Operation { call: Asked::Write(key, request), .. } = call else {
            return Err(format!("{call} applies nothing"));
        };
        let before = state.model.sequence();
        let answer = state.model.answer(0, *key, false, request);
        let told = self.sequence_after(*key, self.outcome(index));
        let is_right = matches!(answer, Answer::Applied(sequence) if told.is_none_or(|told| told == sequence));
        if !is_right {
            return Err(format!("{call}, but after the sequence number {before} the model answers {answer:?}"));
        }
        state.done[index] = true;
        self.settle(state, 0)
    }

    /// Lets all open calls take effect that fit now; of those that began before the one at `from` it is known that they
    /// do not. A call that uses its key makes others fit that want the same key.
    fn settle(&self, state: &mut State, mut from: usize) -> Result<(), String> {
        loop {
            let keys = state.model.keys();
            for position in from..state.open.len() {
                let index = state.open[position];
                state.done[index] = state.done[index] || self.fits(state, index)?;
            }
            let State { open, done, .. } = state;
            open.retain(|open| !done[*open]);
            if state.model.keys() == keys {
                return Ok(());
            }
            from = 0;
        }
    }

    /// Whether a call that changes nothing fits now; then it takes effect. An error: it never will.
    fn fits(&self, state: &mut State, index: usize) -> Result<bool, String> {
        let call = &self.operations[index].call;
        let seen = self.outcome(index);
        let model = &mut state.model;
        let (key, request) = match call {
            Asked::Write(key, request) => (*key, request),
            Asked::Level(item, at_least) => {
                let last = model.entries.iter().rposition(|entry| entry.item == *item).map_or(0, |last| last + 1);
                let now = Seen::Level(model.level(*item), model.revision(*item), last as i64);
                return Ok(seen.is_none_or(|seen| *seen == now) && model.sequence() >= *at_least);
            }
            Asked::Order(order, at_least) => {
                let is_right = seen.is_none_or(|seen| *seen == Seen::Order(model.holding(*order)));
                return Ok(is_right && model.sequence() >= *at_least);
            }
            Asked::Ledger => {
                let now = || model.entries.iter().map(|entry| (entry.item, entry.delta)).collect();
                return Ok(seen.is_none_or(|seen| *seen == Seen::Ledger(now())));
            }
        };
        if let Some(answer) = model.replay(key, false, request) {
            let is_right = match seen {
                None | Some(Seen::Applied(None)) => seen.is_none() || matches!(answer, Answer::Applied(_)),
                Some(Seen::Applied(Some(sequence))) => answer == Answer::Applied(*sequence),
                Some(Seen::Refused(refusal)) => answer == *refusal,
                Some(Seen::Level(..) | Seen::Order(_) | Seen::Ledger(_)) => false,
            };
            let call = &self.operations[index];
            return is_right.then_some(true).ok_or_else(|| format!("{call}, but its key has the answer {answer:?}"));
        }
        let changes_nothing = match seen {
            Some(Seen::Refused(refusal)) => model.refusal(request).as_ref() == Some(refusal),
            Some(_) => false,
            None => self.has_used_its_key(model, key, request),
        };
        if changes_nothing {
            model.answer(0, key, false, request);
        }
        Ok(changes_nothing)
    }

    /// Whether an open call without an answer uses its key now, and makes no entry. Some call has to: others were
    /// answered that the key is used, and no answer and no entry tells for what. So it may be any, and the sooner the
    /// better.
    fn has_used_its_key(&self, model: &Model, key: u64, request: &Request) -> bool {
        if !self.reused.contains_key(&key) || self.ledger.is_some_and(|ledger| ledger.contains_key(&key)) {
            return false;
        }
        let mut after = model.clone();
        after.answer(0, key, false, request);
        after.sequence() == model.sequence()
    }

    /// The open calls that may be the next to be applied. The likeliest is the last.
    fn candidates(&self, state: &State) -> Vec<usize> {
        let now = state.model.sequence();
        let (mut told, mut untold) = (Vec::new(), Vec::new());
        for &index in &state.open {
            let Operation { call: Asked::Write(key, request), ended, .. } = &self.operations[index] else { continue };
            let outcome = self.outcome(index);
            if let Some(Seen::Refused(_)) = outcome {
                continue;
            }
            match self.sequence_after(*key, outcome) {
                // It has no entries. If it uses its key at all, then where that changes nothing (`fits`).
                None if outcome.is_none() && self.ledger.is_some() => {}
                Some(sequence) => told.push((sequence, index, entries_of(request), ended.is_some())),
                None => untold.push((ended.as_ref().map_or(usize::MAX, |(ended, _)| *ended), index, request)),
            }
        }
        let next = told.iter().map(|(sequence, ..)| *sequence).min();
        told.retain(|(sequence, ..)| Some(*sequence) == next);
        // A call without an answer has the number of its key, which may be that of another call with the same key.
        let exact = |&&(sequence, _, entries, is_answered): &&(i64, usize, Option<i64>, bool)| {
            is_answered && entries == Some(sequence - now)
        };
        if let Some((_, index, ..)) = told.iter().find(exact) {
            return vec![*index];
        }
        // There are numbers left before the next call whose number is known. Others must have them.
        let room = next.map_or(i64::MAX, |next| next - now);
        untold.retain(|(.., request)| entries_of(request).is_none_or(|entries| entries <= room));
        untold.sort_unstable_by_key(|(ended, index, _)| std::cmp::Reverse((*ended, *index)));
        let uncertain = told.iter().filter(|(sequence, _, entries, _)| entries.is_none_or(|all| all == sequence - now));
        let uncertain = uncertain.map(|(_, index, ..)| *index);
        untold.iter().map(|(_, index, _)| *index).chain(uncertain).collect()
    }

    /// Why a call that is answered now cannot have taken effect before.
    fn stuck(&self, state: &State, index: usize) -> String {
        let (model, call) = (&state.model, &self.operations[index]);
        let open = state.open.iter().filter(|open| **open != index);
        let open: Vec<String> = open.take(8).map(|open| format!("  {}", self.operations[*open])).collect();
        let items: std::collections::BTreeSet<usize> = model.entries.iter().map(|entry| entry.item).collect();
        let levels: Vec<(usize, i64)> = items.into_iter().map(|item| (item, model.level(item))).collect();
        format!(
            "{call}\nat that time the model is at the sequence number {}, with the levels {levels:?}\nother open \
             calls: {}\n{}",
            model.sequence(),
            state.open.len(),
            open.join("\n")
        )
    }
}
