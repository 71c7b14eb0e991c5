//! The reference model: the stock of a site in maps. Random runs are compared with it. It has the rules, but no
//! batches, transactions or SQL.

use std::collections::HashMap;

/// Number of items, which are the levels of a site. The first half are units at the default location, the second half
/// are the same units at another location.
pub const ITEMS: usize = 20;
/// Number of units of a site, and of SKUs.
pub const UNITS: usize = ITEMS / 2;

/// A request. Items are numbers from 0 to `ITEMS` - 1.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Takes items: lines, whether it is restricted, the order, and whether the order is placed or edited.
    Decrement(Vec<Line>, bool, usize, bool),
    /// Returns items: lines and the order.
    Increment(Vec<Line>, usize),
    /// Sets levels, each item at most once.
    Set(Vec<Target>),
    /// Changes levels by deltas.
    Adjust(Vec<(usize, i64)>),
    /// Moves pieces from the first item to the second; and whether it is restricted.
    Move(Vec<(usize, usize, i64)>, bool),
}

/// Item, pieces, and whether they are sold as a subscription.
pub type Line = (usize, i64, bool);

/// A level to be set.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The item.
    pub item: usize,
    /// The new level.
    pub level: i64,
    /// The level that the caller expects.
    pub expected: Option<i64>,
    /// The number of entries that the caller expects.
    pub expected_revision: Option<i64>,
    /// The sequence number at which the item was counted.
    pub as_of: Option<i64>,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Applied: the site's sequence number afterwards.
    Applied(i64),
    /// Refused: every short item and the quantity it is short by, in order of first mention.
    Short(Vec<(usize, i64)>),
    /// Refused: every item that differs from the expectation, and its level.
    Changed(Vec<(usize, i64)>),
    /// Refused: an item was counted at a sequence number that the site has not reached.
    NotYet,
    /// An error: the idempotency key belongs to other content.
    KeyReused,
    /// Settings are changed.
    Configured,
}

/// The rules of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rules {
    /// Whether the unit is tracked by status.
    pub status: bool,
    /// The backorder limit.
    pub backorder_limit: i64,
    /// Whether items sold as subscriptions change no level.
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
    /// The requested change.
    pub asked: i64,
    /// The change that was made.
    pub delta: i64,
    /// Whether the item was sold as a subscription.
    pub subscription: bool,
    /// Whether the entry belongs to a suspected duplicate.
    pub duplicate: bool,
    /// Whether the entry is an over-return.
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
    /// The ledger.
    pub entries: Vec<Entry>,
    levels: HashMap<usize, i64>,
    revisions: HashMap<usize, i64>,
    orders: HashMap<usize, Vec<Call>>,
    recorded: HashMap<u64, (bool, Request, Answer)>,
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

/// A call of an order. It has no entries if it was refused or suppressed.
struct Call {
    placed: bool,
    entries: Vec<Entry>,
}

impl Model {
    /// Answers a request under an idempotency key. With `by_sku`, its items are SKUs at the two locations, not units.
    pub fn answer(&mut self, key: u64, by_sku: bool, request: &Request) -> Answer {
        if let Some((earlier_by_sku, earlier, answer)) = self.recorded.get(&key) {
            let is_replay = *earlier_by_sku == by_sku && earlier == request;
            return if is_replay { answer.clone() } else { Answer::KeyReused };
        }
        let resolved = &if by_sku { self.resolve(request.clone()) } else { request.clone() };
        let before = self.entries.len();
        let refusal = self.decide(resolved);
        if let Request::Decrement(_, _, order, _) | Request::Increment(_, order) = resolved {
            let placed = matches!(resolved, Request::Decrement(.., true));
            self.orders.entry(*order).or_default().push(Call { placed, entries: self.entries[before..].to_vec() });
        }
        let answer = refusal.unwrap_or(Answer::Applied(self.entries.len() as i64));
        self.recorded.insert(key, (by_sku, request.clone(), answer.clone()));
        answer
    }

    /// The request with units in place of SKUs.
    fn resolve(&self, mut request: Request) -> Request {
        let unit = |item: &mut usize| *item = self.skus[*item % UNITS] + *item / UNITS * UNITS;
        match &mut request {
            Request::Decrement(lines, ..) | Request::Increment(lines, _) => {
                lines.iter_mut().for_each(|(item, ..)| unit(item))
            }
            Request::Set(targets) => targets.iter_mut().for_each(|target| unit(&mut target.item)),
            Request::Adjust(deltas) => deltas.iter_mut().for_each(|(item, _)| unit(item)),
            Request::Move(moves, _) => moves.iter_mut().for_each(|(from, to, _)| {
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

    /// The number of entries of an item.
    pub fn revision(&self, item: usize) -> i64 {
        self.revisions.get(&item).copied().unwrap_or_default()
    }

    /// The site's sequence number.
    pub fn sequence(&self) -> i64 {
        self.entries.len() as i64
    }

    /// Decides a request that is not a replay, and applies it. Returns the refusal, if it is refused.
    fn decide(&mut self, request: &Request) -> Option<Answer> {
        match request {
            Request::Decrement(lines, restricted, order, placed) => {
                return self.decrement(lines, *restricted, *order, *placed);
            }
            Request::Increment(lines, order) => self.increment(lines, *order),
            Request::Set(targets) => return self.set(targets),
            Request::Adjust(deltas) => deltas.iter().for_each(|(item, delta)| self.change(*item, *delta)),
            Request::Move(moves, restricted) => return self.move_stock(moves, *restricted),
        }
        None
    }

    fn decrement(&mut self, lines: &[Line], restricted: bool, order: usize, placed: bool) -> Option<Answer> {
        let sums = sum(lines);
        let wanted = sorted(sums.iter().map(|(item, pieces, subscription)| (*item, *subscription, -pieces)));
        let duplicate = placed && self.is_suspected_duplicate(order, &wanted);
        if duplicate && self.policies.suppress {
            return None;
        }
        let mut short: Vec<(usize, i64)> = Vec::new();
        for (item, ..) in sums.iter().filter(|_| restricted) {
            let rules = self.rules[item % UNITS];
            let of_it = sums.iter().filter(|(other, ..)| other == item);
            let asked: i64 = of_it.filter(|line| !(line.2 && rules.skips_subscriptions)).map(|line| line.1).sum();
            let level = self.level(*item);
            let short_by = if rules.status { 1 - level } else { asked - level - rules.backorder_limit };
            if asked > 0 && short_by > 0 && short.iter().all(|(other, _)| other != item) {
                short.push((*item, short_by));
            }
        }
        if !short.is_empty() {
            return Some(Answer::Short(short));
        }
        for (item, pieces, subscription) in sums {
            let delta = if self.counts(item, subscription) { -pieces } else { 0 };
            self.add(Entry { item, asked: -pieces, delta, subscription, duplicate, over_return: false });
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
            let plain =
                Entry { item, asked: pieces, delta: pieces, subscription, duplicate: false, over_return: false };
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

    fn set(&mut self, targets: &[Target]) -> Option<Answer> {
        let mut changed = Vec::new();
        for Target { item, expected, expected_revision, as_of, .. } in targets {
            if expected.is_some_and(|expected| expected != self.level(*item))
                || expected_revision.is_some_and(|expected| expected != self.revision(*item))
            {
                changed.push((*item, self.level(*item)));
            }
            if as_of.is_some_and(|sequence| sequence > self.sequence()) {
                return Some(Answer::NotYet);
            }
        }
        if !changed.is_empty() {
            return Some(Answer::Changed(changed));
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
                    duplicate: false,
                    over_return: false,
                });
            }
        }
        None
    }

    fn move_stock(&mut self, moves: &[(usize, usize, i64)], restricted: bool) -> Option<Answer> {
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
            return Some(Answer::Short(short));
        }
        for (from, to, pieces) in moves.iter().filter(moving) {
            self.change(*from, -pieces);
            self.change(*to, *pieces);
        }
        None
    }

    /// Whether a change of an item changes its level.
    fn counts(&self, item: usize, subscription: bool) -> bool {
        let rules = self.rules[item % UNITS];
        !(rules.status || subscription && rules.skips_subscriptions)
    }

    /// Whether an earlier call of the order placed the same items, and none of them came back since.
    fn is_suspected_duplicate(&self, order: usize, wanted: &[(usize, bool, i64)]) -> bool {
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

    /// Adds the entry of an adjustment or a move.
    fn change(&mut self, item: usize, asked: i64) {
        let delta = if self.counts(item, false) { asked } else { 0 };
        if asked != 0 {
            self.add(Entry { item, asked, delta, subscription: false, duplicate: false, over_return: false });
        }
    }

    fn add(&mut self, entry: Entry) {
        *self.levels.entry(entry.item).or_default() += entry.delta;
        *self.revisions.entry(entry.item).or_default() += 1;
        self.entries.push(entry);
    }
}

/// The sums of lines per item, in order of first mention: first what is sold once, then what is sold as a subscription.
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
