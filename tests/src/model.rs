//! The reference model: the stock of a site in maps. Random runs are compared with it. It has the rules, but no
//! batches, transactions or SQL.

pub mod convert;
pub mod kinds;
mod orders;

use std::collections::HashMap;

use self::kinds::{CATALOGS, Case, Catalog, Unit};

/// Number of items, which are the levels of a site. The first half are units at the default location, the second half
/// are the same units at another location.
pub const ITEMS: usize = 20;
/// Number of units of a site, and of SKUs.
pub const UNITS: usize = ITEMS / 2;

/// A request. Items are numbers from 0 to `ITEMS` - 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    /// Refused: every item that is short or not on sale, in order of first mention.
    Short(Vec<Shortage>),
    /// Refused: every item that differs from the expectation, and its level.
    Changed(Vec<(usize, i64)>),
    /// Refused: an item was counted at a sequence number that the site has not reached.
    NotYet,
    /// An error: the idempotency key belongs to other content.
    KeyReused,
    /// An error: a sales window would end before it begins.
    EmptyWindow,
    /// Settings are changed.
    Configured,
}

/// An item that is short or not on sale.
#[derive(Clone, Debug, PartialEq)]
pub struct Shortage {
    /// The item.
    pub item: usize,
    /// The pieces that were asked for.
    pub asked: i64,
    /// The level.
    pub available: i64,
    /// The pieces that are missing.
    pub short: i64,
    /// Why it is refused.
    pub why: Why,
}

/// Why an item is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Why {
    /// Pieces are missing.
    InsufficientStock,
    /// Its sales window has not begun.
    NotOnSaleYet,
    /// Its sales window has ended.
    NoLongerOnSale,
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
    /// Whether it was taken outside of its sales window.
    pub outside_window: bool,
    /// When it was recorded.
    pub time: i64,
}

impl Entry {
    fn of(item: usize, asked: i64, delta: i64) -> Self {
        let (subscription, duplicate, over_return, outside_window) = (false, false, false, false);
        Self { item, asked, delta, subscription, duplicate, over_return, outside_window, time: 0 }
    }

    /// The pieces that changed hands. Of a clipped return, the pieces that were refused did not.
    pub fn pieces(&self) -> i64 {
        if self.over_return { self.delta } else { self.asked }
    }
}

/// The stock of one site.
#[derive(Clone)]
pub struct Model {
    /// The settings of each unit.
    pub units: [Unit; UNITS],
    /// The settings of each catalog.
    pub catalogs: [Catalog; CATALOGS],
    /// The policies about orders.
    pub policies: Policies,
    /// The unit that has each SKU.
    pub skus: [usize; UNITS],
    /// The ledger.
    pub entries: Vec<Entry>,
    /// How often each case occurred, in the order of `Case::ALL`.
    pub tally: [usize; Case::ALL.len()],
    /// The time of the last request that was decided. It never runs backwards.
    time: i64,
    levels: HashMap<usize, i64>,
    revisions: HashMap<usize, i64>,
    orders: HashMap<usize, Vec<Call>>,
    recorded: HashMap<u64, (bool, Request, Answer)>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            units: Default::default(),
            catalogs: Default::default(),
            policies: Policies::default(),
            skus: std::array::from_fn(|sku| sku),
            entries: Vec::new(),
            tally: [0; Case::ALL.len()],
            time: 0,
            levels: HashMap::new(),
            revisions: HashMap::new(),
            orders: HashMap::new(),
            recorded: HashMap::new(),
        }
    }
}

/// A call of an order. It has no entries if it was refused or suppressed.
#[derive(Clone)]
struct Call {
    placed: bool,
    entries: Vec<Entry>,
}

impl Model {
    /// Answers a request under an idempotency key, while the clock shows `clock`. With `by_sku`, its items are SKUs at
    /// the two locations, not units.
    pub fn answer(&mut self, clock: i64, key: u64, by_sku: bool, request: &Request) -> Answer {
        if let Some(answer) = self.replay(key, by_sku, request) {
            return answer;
        }
        if clock < self.time {
            self.note(Case::ClockBehind);
        }
        self.time = self.time.max(clock);
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

    /// The answer to a request whose key is recorded, which changes nothing; `None` if the key is new.
    pub fn replay(&self, key: u64, by_sku: bool, request: &Request) -> Option<Answer> {
        let (earlier_by_sku, earlier, answer) = self.recorded.get(&key)?;
        let is_replay = *earlier_by_sku == by_sku && earlier == request;
        Some(if is_replay { answer.clone() } else { Answer::KeyReused })
    }

    /// The number of keys that are used.
    pub fn keys(&self) -> usize {
        self.recorded.len()
    }

    /// Why a request under a new key would be refused now, which changes no level; `None` if it would be applied.
    pub fn refusal(&self, request: &Request) -> Option<Answer> {
        match request {
            Request::Decrement(lines, restricted, order, placed) => {
                self.refused_decrement(lines, *restricted, *order, *placed, &mut |_| {})
            }
            Request::Increment(..) | Request::Adjust(_) => None,
            Request::Set(targets) => self.refused_set(targets),
            Request::Move(moves, restricted) => self.refused_move(moves, *restricted),
        }
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
            Request::Adjust(deltas) => {
                for (item, delta) in deltas {
                    self.units[*item % UNITS].stocked = true;
                    self.change(*item, *delta);
                }
            }
            Request::Move(moves, restricted) => return self.move_stock(moves, *restricted),
        }
        None
    }

    fn refused_set(&self, targets: &[Target]) -> Option<Answer> {
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
        (!changed.is_empty()).then_some(Answer::Changed(changed))
    }

    fn set(&mut self, targets: &[Target]) -> Option<Answer> {
        if let Some(refusal) = self.refused_set(targets) {
            return Some(refusal);
        }
        let before = self.entries.len();
        for Target { item, level, as_of, .. } in targets {
            let since = as_of.map_or(before, |sequence| sequence as usize);
            let sold: i64 = self.entries[since..before].iter().filter(|e| e.item == *item).map(|e| e.delta).sum();
            let delta = level + sold - self.level(*item);
            // The ledger shows that the unit is stocked, even with the level that it has.
            let is_sold_unstocked = self.is_sold_unstocked(*item % UNITS);
            if delta != 0 || is_sold_unstocked {
                if delta == 0 {
                    self.note(Case::StockedWithZero);
                }
                self.add(Entry::of(*item, delta, delta));
            }
        }
        targets.iter().for_each(|target| self.units[target.item % UNITS].stocked = true);
        None
    }

    fn refused_move(&self, moves: &[(usize, usize, i64)], restricted: bool) -> Option<Answer> {
        let mut after = self.levels.clone();
        for (from, to, pieces) in moves.iter().filter(moving) {
            for (item, delta) in [(from, -pieces), (to, *pieces)] {
                let counts = self.in_force(*item % UNITS).counts(false);
                *after.entry(*item).or_default() += if counts { delta } else { 0 };
            }
        }
        let mut short: Vec<Shortage> = Vec::new();
        for (from, ..) in moves {
            let (available, left) = (self.level(*from), after.get(from).copied().unwrap_or_default());
            let lower = left < 0 && left < available;
            if restricted && lower && short.iter().all(|known| known.item != *from) {
                let why = Why::InsufficientStock;
                short.push(Shortage { item: *from, asked: available - left, available, short: -left, why });
            }
        }
        (!short.is_empty()).then_some(Answer::Short(short))
    }

    fn move_stock(&mut self, moves: &[(usize, usize, i64)], restricted: bool) -> Option<Answer> {
        if let Some(refusal) = self.refused_move(moves, restricted) {
            return Some(refusal);
        }
        for (from, to, pieces) in moves.iter().filter(moving) {
            if !self.in_force(*from % UNITS).counts(false) {
                self.note(Case::UncountedMove);
            }
            self.change(*from, -pieces);
            self.change(*to, *pieces);
        }
        None
    }

    /// Adds the entry of an adjustment or a move.
    fn change(&mut self, item: usize, asked: i64) {
        let delta = if self.in_force(item % UNITS).counts(false) { asked } else { 0 };
        if asked != 0 {
            self.add(Entry::of(item, asked, delta));
        }
    }

    fn add(&mut self, entry: Entry) {
        let entry = Entry { time: self.time, ..entry };
        *self.levels.entry(entry.item).or_default() += entry.delta;
        *self.revisions.entry(entry.item).or_default() += 1;
        self.entries.push(entry);
    }
}

/// Whether a move goes to another item.
fn moving((from, to, _): &&(usize, usize, i64)) -> bool {
    from != to
}

/// The number of entries that a request makes if it is applied, and not suppressed; `None` if that depends on the
/// levels.
pub fn entries_of(request: &Request) -> Option<i64> {
    let count = match request {
        Request::Decrement(lines, ..) | Request::Increment(lines, _) => orders::sum(lines).len(),
        Request::Set(_) => return None,
        Request::Adjust(deltas) => deltas.len(),
        Request::Move(moves, _) => 2 * moves.iter().filter(moving).count(),
    };
    Some(count as i64)
}
