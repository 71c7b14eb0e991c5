//! Stock in a map: the model that random runs are compared with. It knows the rules, and nothing of batches,
//! transactions or SQL.

use std::collections::HashMap;

/// Levels of a site. The first half are units at the default location, the second half the same units elsewhere.
pub const ITEMS: usize = 20;
/// Units of a site, and as many SKUs.
pub const UNITS: usize = ITEMS / 2;

/// A request. Items are numbers, quantities small.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Take for an order. The last flag: as it is placed, or by an edit.
    Decrement(Vec<Line>, bool, usize, bool),
    /// Give back for an order.
    Increment(Vec<Line>, usize),
    /// Set levels, each item at most once.
    Set(Vec<Target>),
    /// Change levels by deltas.
    Adjust(Vec<(usize, i64)>),
    /// Move pieces from the first item to the second; `restricted` or not.
    Move(Vec<(usize, usize, i64)>, bool),
}

/// Item, pieces, and whether they are sold as a subscription.
pub type Line = (usize, i64, bool);

/// A level to be set.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Which item.
    pub item: usize,
    /// The new level.
    pub level: i64,
    /// The expected level.
    pub expected: Option<i64>,
    /// The expected number of entries.
    pub expected_revision: Option<i64>,
    /// The sequence number at which it was counted.
    pub as_of: Option<i64>,
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Applied: the site's sequence number after it.
    Applied(i64),
    /// Refused: every short item and by how much, in order of first mention.
    Short(Vec<(usize, i64)>),
    /// Refused: every item that differs from what was expected, and its level.
    Changed(Vec<(usize, i64)>),
    /// Refused: an item was counted at a sequence number that is not reached.
    NotYet,
    /// The key belongs to other content.
    KeyReused,
    /// Settings are changed.
    Configured,
}

/// The rules of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rules {
    /// Tracked by status.
    pub status: bool,
    /// The backorder limit.
    pub backorder_limit: i64,
    /// Whether subscriptions are not counted.
    pub skips_subscriptions: bool,
}

/// The policies about orders.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Policies {
    /// Suspected duplicates are suppressed.
    pub suppress: bool,
    /// Over-returns are clipped.
    pub clip: bool,
}

/// An entry of the model's ledger.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// The item.
    pub item: usize,
    /// The change that was asked for.
    pub asked: i64,
    /// The change.
    pub delta: i64,
    /// Whether it was sold as a subscription.
    pub subscription: bool,
    /// Whether it is a suspected duplicate.
    pub repeat: bool,
    /// Whether it is an over-return.
    pub over_return: bool,
}

/// The stock of one site.
pub struct Model {
    /// The rules of each unit.
    pub rules: [Rules; UNITS],
    /// The policies about orders.
    pub policies: Policies,
    /// The unit that has each SKU.
    pub skus: [usize; UNITS],
    /// Every entry.
    pub entries: Vec<Entry>,
    levels: HashMap<usize, i64>,
    revisions: HashMap<usize, i64>,
    orders: HashMap<usize, Vec<Call>>,
    recorded: HashMap<u64, (bool, Ask, Told)>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            rules: Default::default(),
            policies: Policies::default(),
            skus: std::array::from_fn(|sku| sku),
            entries: Vec::new(),
            levels: HashMap::new(),
            revisions: HashMap::new(),
            orders: HashMap::new(),
            recorded: HashMap::new(),
        }
    }
}

/// The entries of a call of an order; none if it was refused or suppressed.
struct Call {
    placed: bool,
    entries: Vec<Entry>,
}

impl Model {
    /// Asks under a key. With `by_sku`, the items of the request are SKUs at the two locations, and not units.
    pub fn ask(&mut self, key: u64, by_sku: bool, request: &Ask) -> Told {
        if let Some((earlier_by_sku, earlier, told)) = self.recorded.get(&key) {
            let is_replay = *earlier_by_sku == by_sku && earlier == request;
            return if is_replay { told.clone() } else { Told::KeyReused };
        }
        let ask = &if by_sku { self.resolve(request.clone()) } else { request.clone() };
        let before = self.entries.len();
        let refusal = self.first(ask);
        if let Ask::Decrement(_, _, order, _) | Ask::Increment(_, order) = ask {
            let placed = matches!(ask, Ask::Decrement(.., true));
            self.orders.entry(*order).or_default().push(Call { placed, entries: self.entries[before..].to_vec() });
        }
        let told = refusal.unwrap_or(Told::Applied(self.entries.len() as i64));
        self.recorded.insert(key, (by_sku, request.clone(), told.clone()));
        told
    }

    /// The request with units in place of SKUs.
    fn resolve(&self, mut request: Ask) -> Ask {
        let unit = |item: &mut usize| *item = self.skus[*item % UNITS] + *item / UNITS * UNITS;
        match &mut request {
            Ask::Decrement(lines, ..) | Ask::Increment(lines, _) => lines.iter_mut().for_each(|(item, ..)| unit(item)),
            Ask::Set(targets) => targets.iter_mut().for_each(|target| unit(&mut target.item)),
            Ask::Adjust(deltas) => deltas.iter_mut().for_each(|(item, _)| unit(item)),
            Ask::Move(moves, _) => moves.iter_mut().for_each(|(from, to, _)| {
                unit(from);
                unit(to);
            }),
        }
        request
    }

    /// The level of an item.
    pub fn level(&self, item: usize) -> i64 {
        self.levels.get(&item).copied().unwrap_or_default()
    }

    /// How many entries an item has.
    pub fn revision(&self, item: usize) -> i64 {
        self.revisions.get(&item).copied().unwrap_or_default()
    }

    /// The site's sequence number.
    pub fn sequence(&self) -> i64 {
        self.entries.len() as i64
    }

    fn first(&mut self, ask: &Ask) -> Option<Told> {
        match ask {
            Ask::Decrement(lines, restricted, order, placed) => {
                return self.decrement(lines, *restricted, *order, *placed);
            }
            Ask::Increment(lines, order) => self.increment(lines, *order),
            Ask::Set(targets) => return self.set(targets),
            Ask::Adjust(deltas) => deltas.iter().for_each(|(item, delta)| self.enter(*item, *delta)),
            Ask::Move(moves, restricted) => return self.relocate(moves, *restricted),
        }
        None
    }

    fn decrement(&mut self, lines: &[Line], restricted: bool, order: usize, placed: bool) -> Option<Told> {
        let sums = sum(lines);
        let wanted = sorted(sums.iter().map(|(item, pieces, subscription)| (*item, *subscription, -pieces)));
        let repeat = placed && self.took(order, &wanted);
        if repeat && self.policies.suppress {
            return None;
        }
        let mut short: Vec<(usize, i64)> = Vec::new();
        for (item, ..) in sums.iter().filter(|_| restricted) {
            let rules = self.rules[item % UNITS];
            let of_it = sums.iter().filter(|(other, ..)| other == item);
            let asked: i64 = of_it.filter(|line| !(line.2 && rules.skips_subscriptions)).map(|line| line.1).sum();
            let level = self.level(*item);
            let lacks = if rules.status { 1 - level } else { asked - level - rules.backorder_limit };
            if asked > 0 && lacks > 0 && short.iter().all(|(other, _)| other != item) {
                short.push((*item, lacks));
            }
        }
        if !short.is_empty() {
            return Some(Told::Short(short));
        }
        for (item, pieces, subscription) in sums {
            let delta = if self.counts(item, subscription) { -pieces } else { 0 };
            self.add(Entry { item, asked: -pieces, delta, subscription, repeat, over_return: false });
        }
        None
    }

    fn increment(&mut self, lines: &[Line], order: usize) {
        let calls = self.orders.get(&order).map(Vec::as_slice).unwrap_or_default();
        let seen = !calls.is_empty();
        let mut held = [0; UNITS];
        for entry in calls.iter().flat_map(|call| &call.entries) {
            held[entry.item % UNITS] -= entry.delta;
        }
        for (item, pieces, subscription) in sum(lines) {
            let plain = Entry { item, asked: pieces, delta: pieces, subscription, repeat: false, over_return: false };
            if !self.counts(item, subscription) {
                self.add(Entry { delta: 0, ..plain });
                continue;
            }
            let held = &mut held[item % UNITS];
            let over_return = *held < pieces;
            let delta = if over_return && seen && self.policies.clip { (*held).max(0) } else { pieces };
            *held -= delta;
            self.add(Entry { delta, over_return, ..plain });
        }
    }

    fn set(&mut self, targets: &[Target]) -> Option<Told> {
        let mut changed = Vec::new();
        for Target { item, expected, expected_revision, as_of, .. } in targets {
            if expected.is_some_and(|expected| expected != self.level(*item))
                || expected_revision.is_some_and(|expected| expected != self.revision(*item))
            {
                changed.push((*item, self.level(*item)));
            }
            if as_of.is_some_and(|sequence| sequence > self.sequence()) {
                return Some(Told::NotYet);
            }
        }
        if !changed.is_empty() {
            return Some(Told::Changed(changed));
        }
        let before = self.entries.len();
        for Target { item, level, as_of, .. } in targets {
            let since = as_of.map_or(before, |sequence| sequence as usize);
            let sold: i64 = self.entries[since..before].iter().filter(|e| e.item == *item).map(|e| e.delta).sum();
            let delta = level + sold - self.level(*item);
            if delta != 0 {
                self.add(Entry {
                    item: *item,
                    asked: delta,
                    delta,
                    subscription: false,
                    repeat: false,
                    over_return: false,
                });
            }
        }
        None
    }

    fn relocate(&mut self, moves: &[(usize, usize, i64)], restricted: bool) -> Option<Told> {
        let mut after = self.levels.clone();
        let moving = |(from, to, _): &&(usize, usize, i64)| from != to;
        for (from, to, pieces) in moves.iter().filter(moving) {
            for (item, delta) in [(from, -pieces), (to, *pieces)] {
                *after.entry(*item).or_default() += if self.counts(*item, false) { delta } else { 0 };
            }
        }
        let mut short: Vec<(usize, i64)> = Vec::new();
        for (from, ..) in moves {
            let left = after.get(from).copied().unwrap_or_default();
            let lower = left < 0 && left < self.level(*from);
            if restricted && lower && short.iter().all(|(item, _)| item != from) {
                short.push((*from, -left));
            }
        }
        if !short.is_empty() {
            return Some(Told::Short(short));
        }
        for (from, to, pieces) in moves.iter().filter(moving) {
            self.enter(*from, -pieces);
            self.enter(*to, *pieces);
        }
        None
    }

    fn counts(&self, item: usize, subscription: bool) -> bool {
        let rules = self.rules[item % UNITS];
        !(rules.status || subscription && rules.skips_subscriptions)
    }

    /// Whether the order placed the same before, and nothing of it came back since.
    fn took(&self, order: usize, wanted: &[(usize, bool, i64)]) -> bool {
        let calls = self.orders.get(&order).map(Vec::as_slice).unwrap_or_default();
        let same = |call: &Call| {
            call.placed && sorted(call.entries.iter().map(|e| (e.item, e.subscription, e.asked))) == wanted
        };
        let unit = |item: usize| item % UNITS;
        let returns =
            |entry: &Entry| entry.asked > 0 && wanted.iter().any(|(item, ..)| unit(*item) == unit(entry.item));
        let last = calls.iter().rposition(same);
        last.is_some_and(|last| !calls[last + 1..].iter().flat_map(|call| &call.entries).any(returns))
    }

    fn enter(&mut self, item: usize, asked: i64) {
        let delta = if self.counts(item, false) { asked } else { 0 };
        if asked != 0 {
            self.add(Entry { item, asked, delta, subscription: false, repeat: false, over_return: false });
        }
    }

    fn add(&mut self, entry: Entry) {
        *self.levels.entry(entry.item).or_default() += entry.delta;
        *self.revisions.entry(entry.item).or_default() += 1;
        self.entries.push(entry);
    }
}

/// The sums of lines per item: first sold once, then as a subscription, in order of first mention.
fn sum(lines: &[Line]) -> Vec<Line> {
    let mut items: Vec<usize> = Vec::new();
    lines.iter().for_each(|(item, ..)| {
        if !items.contains(item) {
            items.push(*item)
        }
    });
    let parts = items.into_iter().flat_map(|item| [(item, false), (item, true)]);
    let total = |item, subscription| lines.iter().filter(|l| l.0 == item && l.2 == subscription).map(|l| l.1).sum();
    let sums = parts.map(|(item, subscription)| (item, total(item, subscription), subscription));
    sums.filter(|(_, pieces, _)| *pieces != 0).collect()
}

fn sorted<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values
}
