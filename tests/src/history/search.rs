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
use crate::model::{Answer, Model, entries_of};

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
    /// Keys of which an answer, or the ledger, tells the outcome.
    told: HashSet<u64>,
    /// Keys of which an answer says that they are used for something else.
    reused: HashSet<u64>,
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
        let (mut told, mut reused) = (HashSet::new(), HashSet::new());
        for (index, Operation { call, began, ended }) in operations.iter().enumerate() {
            events.push((*began, index, false));
            events.extend(ended.as_ref().map(|(ended, _)| (*ended, index, true)));
            let (Asked::Write(key, _), Some((_, seen))) = (call, ended) else { continue };
            if let Seen::Applied(Some(sequence)) = seen {
                sequences.entry(*key).or_insert(*sequence);
            }
            match seen {
                Seen::Refused(Answer::KeyReused) => reused.insert(*key),
                Seen::Applied(_) | Seen::Refused(_) => told.insert(*key),
                Seen::Level(..) | Seen::Order(_) | Seen::Ledger(_) => false,
            };
        }
        told.extend(ledger.into_iter().flat_map(HashMap::keys));
        events.sort_unstable();
        let events = events.into_iter().map(|(_, index, is_answer)| (index, is_answer)).collect();
        Self { operations, events, sequences, told, reused, ledger, visited: HashSet::new() }
    }

    /// Follows one way to its end. The error says why it ends before. Where it forks, it is added to `ways` with the
    /// calls that may take effect next.
    fn follow(&mut self, state: &mut State, ways: &mut Vec<(State, Vec<usize>)>) -> Result<(), String> {
        while let Some(&(index, is_answer)) = self.events.get(state.at) {
            if !is_answer {
                match self.never_happened(index) || self.fits(state, index)? {
                    true => state.done[index] = true,
                    false => state.open.push(index),
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

    /// Whether a call without an answer made no entry, by the ledger. It has no place in the order.
    fn never_happened(&self, index: usize) -> bool {
        match (&self.operations[index], self.ledger) {
            (Operation { call: Asked::Write(key, _), ended: None, .. }, Some(ledger)) => {
                !ledger.contains_key(key) && !self.reused.contains(key)
            }
            (Operation { .. }, _) => false,
        }
    }

    /// Lets a call take effect that is applied; then all open ones that fit now. The error says which answer is wrong.
    fn apply(&self, state: &mut State, index: usize) -> Result<(), String> {
        let call = &self.operations[index];
        let Operation { call: Asked::Write(key, request), ended, .. } = call else {
            return Err(format!("{call} applies nothing"));
        };
        let before = state.model.sequence();
        let answer = state.model.answer(0, *key, false, request);
        let told = match ended {
            Some((_, Seen::Applied(Some(told)))) => Some(*told),
            Some(_) | None => self.sequences.get(key).copied(),
        };
        let is_right = matches!(answer, Answer::Applied(sequence) if told.is_none_or(|told| told == sequence));
        if !is_right {
            return Err(format!("{call}, but after the sequence number {before} the model answers {answer:?}"));
        }
        state.done[index] = true;
        for position in 0..state.open.len() {
            let other = state.open[position];
            if !state.done[other] && self.fits(state, other)? {
                state.done[other] = true;
            }
        }
        let State { open, done, .. } = state;
        open.retain(|open| !done[*open]);
        Ok(())
    }

    /// Whether a call that changes nothing fits now; then it takes effect. An error: it never will.
    fn fits(&self, state: &mut State, index: usize) -> Result<bool, String> {
        let Operation { call, ended, .. } = &self.operations[index];
        let model = &mut state.model;
        let seen = ended.as_ref().map(|(_, seen)| seen);
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
        match seen {
            Some(Seen::Refused(Answer::KeyReused)) => Ok(self.uses_key_without_entries(state, key)),
            Some(Seen::Refused(refusal)) if model.refusal(request).as_ref() == Some(refusal) => {
                model.answer(0, key, false, request);
                Ok(true)
            }
            Some(_) | None => Ok(false),
        }
    }

    /// Lets an open call without an answer use its key now, if it makes no entry: it is refused, or changes nothing.
    /// Some call of the key has to, because others were answered that it is used, and nobody saw a call that did.
    fn uses_key_without_entries(&self, state: &mut State, key: u64) -> bool {
        if self.told.contains(&key) {
            return false;
        }
        for &index in &state.open {
            let Operation { call: Asked::Write(of, request), ended: None, .. } = &self.operations[index] else {
                continue;
            };
            let mut model = if *of == key { state.model.clone() } else { continue };
            model.answer(0, key, false, request);
            if model.sequence() == state.model.sequence() {
                state.model = model;
                return true;
            }
        }
        false
    }

    /// The open calls that may be the next to be applied. The likeliest is the last.
    fn candidates(&self, state: &State) -> Vec<usize> {
        let now = state.model.sequence();
        let (mut told, mut untold) = (Vec::new(), Vec::new());
        for &index in &state.open {
            let Operation { call: Asked::Write(key, request), ended, .. } = &self.operations[index] else { continue };
            let sequence = match ended {
                Some((_, Seen::Applied(Some(sequence)))) => Some(*sequence),
                Some((_, Seen::Applied(None))) | None => self.sequences.get(key).copied(),
                Some((_, Seen::Refused(_) | Seen::Level(..) | Seen::Order(_) | Seen::Ledger(_))) => continue,
            };
            match sequence {
                Some(sequence) => told.push((sequence, index, entries_of(request))),
                None => untold.push((ended.as_ref().map_or(usize::MAX, |(ended, _)| *ended), index, request)),
            }
        }
        let next = told.iter().map(|(sequence, ..)| *sequence).min();
        told.retain(|(sequence, ..)| Some(*sequence) == next);
        let exact = |(sequence, _, entries): &&(i64, usize, Option<i64>)| *entries == Some(sequence - now);
        if told.iter().any(|call| exact(&call)) {
            return told.iter().filter(exact).map(|(_, index, _)| *index).collect();
        }
        // There are numbers left before the next call whose number is known. Others must have them.
        let room = next.map_or(i64::MAX, |next| next - now);
        untold.retain(|(.., request)| entries_of(request).is_none_or(|entries| entries <= room));
        untold.sort_unstable_by_key(|(ended, index, _)| std::cmp::Reverse((*ended, *index)));
        let uncertain = told.iter().filter(|(.., entries)| entries.is_none()).map(|(_, index, _)| *index);
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
