//! Stock in a map: the truth that random runs are compared with. It knows the rules of the
//! design's table and nothing of batches, transactions or SQL.

use std::collections::HashMap;

/// What may be asked of the model. Items are numbers, quantities small.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Take; `restricted` or not.
    Decrement(Vec<(usize, i64)>, bool),
    /// Give back.
    Increment(Vec<(usize, i64)>),
    /// Set levels, each item at most once; with what the level is expected to be, perhaps.
    Set(Vec<(usize, i64, Option<i64>)>),
    /// Change levels by so much.
    Adjust(Vec<(usize, i64)>),
    /// Move so many from the first item to the second; `restricted` or not.
    Move(Vec<(usize, usize, i64)>, bool),
}

/// What must come of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Carried out: the site's sequence after.
    Applied(i64),
    /// Refused: every short item and by how much it is short, in order of first mention.
    Short(Vec<(usize, i64)>),
    /// Refused: every item that is not what was expected, and what it is.
    Changed(Vec<(usize, i64)>),
    /// The key was used for something else.
    KeyReused,
}

/// The books of one site.
#[derive(Default)]
pub struct Model {
    levels: HashMap<usize, i64>,
    sequence: i64,
    recorded: HashMap<u64, (Ask, Told)>,
}

impl Model {
    /// Asks under a key.
    pub fn ask(&mut self, key: u64, ask: &Ask) -> Told {
        if let Some((earlier, told)) = self.recorded.get(&key) {
            return if earlier == ask { told.clone() } else { Told::KeyReused };
        }
        let told = self.first(ask);
        self.recorded.insert(key, (ask.clone(), told.clone()));
        told
    }

    /// The level of an item.
    pub fn level(&self, item: usize) -> i64 {
        self.levels.get(&item).copied().unwrap_or_default()
    }

    fn first(&mut self, ask: &Ask) -> Told {
        match ask {
            Ask::Decrement(lines, restricted) => {
                let sums = sum(lines);
                let short: Vec<(usize, i64)> = sums
                    .iter()
                    .filter(|(item, asked)| *restricted && self.level(*item) < *asked)
                    .map(|(item, asked)| (*item, asked - self.level(*item)))
                    .collect();
                if !short.is_empty() {
                    return Told::Short(short);
                }
                sums.iter().for_each(|(item, asked)| self.add(*item, -asked));
            }
            Ask::Increment(lines) => sum(lines).iter().for_each(|(item, asked)| self.add(*item, *asked)),
            Ask::Set(levels) => {
                let wrong =
                    levels.iter().filter(|(item, _, expected)| expected.is_some_and(|e| e != self.level(*item)));
                let changed: Vec<(usize, i64)> = wrong.map(|(item, ..)| (*item, self.level(*item))).collect();
                if !changed.is_empty() {
                    return Told::Changed(changed);
                }
                levels.iter().for_each(|(item, level, _)| self.add(*item, level - self.level(*item)));
            }
            Ask::Adjust(deltas) => deltas.iter().for_each(|(item, delta)| self.add(*item, *delta)),
            Ask::Move(moves, restricted) => {
                let mut after = self.levels.clone();
                for (from, to, pieces) in moves.iter().filter(|(from, to, _)| from != to) {
                    *after.entry(*from).or_default() -= pieces;
                    *after.entry(*to).or_default() += pieces;
                }
                let mut short: Vec<(usize, i64)> = Vec::new();
                for (from, ..) in moves {
                    let left = after.get(from).copied().unwrap_or_default();
                    let lower = left < 0 && left < self.level(*from);
                    if *restricted && lower && short.iter().all(|(item, _)| item != from) {
                        short.push((*from, -left));
                    }
                }
                if !short.is_empty() {
                    return Told::Short(short);
                }
                for (from, to, pieces) in moves.iter().filter(|(from, to, _)| from != to) {
                    self.add(*from, -pieces);
                    self.add(*to, *pieces);
                }
            }
        }
        Told::Applied(self.sequence)
    }

    fn add(&mut self, item: usize, delta: i64) {
        if delta != 0 {
            *self.levels.entry(item).or_default() += delta;
            self.sequence += 1;
        }
    }
}

fn sum(lines: &[(usize, i64)]) -> Vec<(usize, i64)> {
    let mut sums: Vec<(usize, i64)> = Vec::new();
    for (item, quantity) in lines {
        match sums.iter_mut().find(|(known, _)| known == item) {
            Some((_, sum)) => *sum += quantity,
            None => sums.push((*item, *quantity)),
        }
    }
    sums
}
