//! Records every call of a test and its answer, and checks at the end that they can be explained.
//!
//! They can, if the calls of each site have an order in which the reference model gives the same answers: each call
//! has taken effect between its beginning and its answer, once. That is linearizability. A call without an answer may
//! have taken effect at any time after its beginning, or not at all. Sites have nothing to do with each other, so each
//! has an order of its own.
//!
//! All beginnings and answers are recorded in one order, under one lock. A call that was answered before another one
//! began comes before it there, whatever thread or connection it used.
//!
//! The model counts as a new site does by default: a site of a history has no settings of its own.

mod clients;
mod named;
mod search;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::model::kinds::CATALOGS;
use crate::model::{Answer, Request, UNITS};

pub use self::clients::RecordedGrpc;

/// The first number of an order or key that has a name. Numbers below it stand for themselves.
const NAMED: usize = 1 << 32;

/// The calls of a test. Clones record into the same history: hand one to every caller.
#[derive(Clone, Default)]
pub struct History(Arc<Mutex<Record>>);

#[derive(Default)]
struct Record {
    /// The number of beginnings and answers so far.
    now: usize,
    sites: HashMap<String, Site>,
}

/// The calls of a site. The model knows items, orders and keys by numbers.
#[derive(Default)]
struct Site {
    operations: Vec<Operation>,
    units: Vec<String>,
    orders: HashMap<String, usize>,
    keys: HashMap<String, u64>,
    /// The sequence number after each request that has entries, by its key; `None` if nobody has read the ledger.
    ledger: Option<HashMap<u64, i64>>,
}

/// A call that was made.
struct Operation {
    call: Asked,
    began: usize,
    /// When it was answered, and how. `None`: it may have taken effect, or not.
    ended: Option<(usize, Seen)>,
}

/// What a call asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// A request under an idempotency key.
    Write(u64, Request),
    /// The level of an item, from a database that has reached a sequence number.
    Level(usize, i64),
    /// What an order took and returned, from a database that has reached a sequence number.
    Order(usize, i64),
    /// The whole ledger.
    Ledger,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// The request is applied: the site's sequence number afterwards, if the answer has it.
    Applied(Option<i64>),
    /// The request is refused.
    Refused(Answer),
    /// A level, the number of its entries, and the sequence number of its last entry.
    Level(i64, i64, i64),
    /// What an order took and returned of each item: item, taken, returned, in the order of the items.
    Order(Vec<(usize, i64, i64)>),
    /// The item and the delta of each entry.
    Ledger(Vec<(usize, i64)>),
}

/// A call whose answer is awaited. Dropping it leaves the call without an answer.
pub struct Call {
    history: History,
    site: String,
    index: usize,
}

/// An entry of a ledger, by the names of the calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The idempotency key of its request.
    pub key: String,
    /// The unit.
    pub unit: String,
    /// Whether it is at another location than the default one.
    pub elsewhere: bool,
    /// The change.
    pub delta: i64,
}

impl History {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a call begins. Do this before it is sent.
    pub fn begin(&self, site: &str, call: Asked) -> Call {
        let index = self.record().begin(site, call);
        Call { history: self.clone(), site: site.to_owned(), index }
    }

    /// The sites of the calls.
    pub fn sites(&self) -> Vec<String> {
        self.record().sites.keys().cloned().collect()
    }

    /// The model's item for a unit, at the default location or at another one.
    pub fn item(&self, site: &str, unit: &str, elsewhere: bool) -> usize {
        self.record().site(site).item(unit, elsewhere)
    }

    /// The model's number for an order.
    pub fn order(&self, site: &str, order: &str) -> usize {
        self.record().site(site).order(order)
    }

    /// The model's number for an idempotency key.
    pub fn key(&self, site: &str, key: &str) -> u64 {
        self.record().site(site).key(key)
    }

    /// Records the whole ledger of a site as it is now, when no call is under way. It settles the calls without an
    /// answer: those whose entries are there took effect, with these sequence numbers, and the others did not.
    ///
    /// That weakens nothing: an order is looked for that also agrees with the ledger.
    pub fn ledger(&self, site: &str, lines: &[Line]) {
        let mut record = self.record();
        let known = record.site(site);
        let keys = lines.iter().map(|line| known.key(&line.key)).zip(1..);
        known.ledger = Some(keys.collect());
        let entries = lines.iter().map(|line| (known.item(&line.unit, line.elsewhere), line.delta)).collect();
        let index = record.begin(site, Asked::Ledger);
        record.end(site, index, Seen::Ledger(entries));
    }

    /// Checks that all calls can be explained. Panics with the first call that cannot.
    #[track_caller]
    pub fn check(&self) {
        if let Err(Unexplained { site, why }) = self.explain() {
            panic!("the calls of the site {site} cannot be explained: {why}");
        }
    }

    /// Looks for an order of the calls of each site in which the model gives the same answers.
    pub fn explain(&self) -> Result<(), Unexplained> {
        let record = self.record();
        let mut sites: Vec<(&String, &Site)> = record.sites.iter().collect();
        sites.sort_unstable_by_key(|(id, _)| *id);
        for (id, site) in sites {
            search::explain(&site.operations, site.ledger.as_ref())
                .map_err(|why| Unexplained { site: id.clone(), why })?;
        }
        Ok(())
    }

    /// The number of calls, and of those without an answer.
    pub fn count(&self) -> (usize, usize) {
        let record = self.record();
        let all = record.sites.values().flat_map(|site| &site.operations);
        (all.clone().count(), all.filter(|call| call.ended.is_none()).count())
    }
}

/// A site whose calls have no explanation.
#[derive(Clone, Debug)]
pub struct Unexplained {
    /// The site.
    pub site: String,
    /// The call that cannot be explained, and what was known at that time.
    pub why: String,
}

impl Record {
    fn site(&mut self, id: &str) -> &mut Site {
        self.sites.entry(id.to_owned()).or_default()
    }

    fn tick(&mut self) -> usize {
        self.now += 1;
        self.now
    }

    fn begin(&mut self, site: &str, call: Asked) -> usize {
        let began = self.tick();
        let operations = &mut self.site(site).operations;
        operations.push(Operation { call, began, ended: None });
        operations.len() - 1
    }

    fn end(&mut self, site: &str, index: usize, seen: Seen) {
        let ended = self.tick();
        self.site(site).operations[index].ended = Some((ended, seen));
    }
}

impl Site {
    /// `item-3` is the item 3, as `convert` names it. Other names get numbers as they come.
    fn item(&mut self, unit: &str, elsewhere: bool) -> usize {
        let number = unit.strip_prefix("item-").and_then(|number| number.parse().ok()).unwrap_or_else(|| {
            let known = self.units.iter().position(|known| known == unit);
            let number = known.unwrap_or(self.units.len());
            if known.is_none() {
                self.units.push(unit.to_owned());
            }
            // The others belong to a catalog with other rules.
            assert!(number < UNITS / CATALOGS, "a history has at most {} named units", UNITS / CATALOGS);
            number
        });
        number + if elsewhere { UNITS } else { 0 }
    }

    fn order(&mut self, order: &str) -> usize {
        let number = order.parse::<Uuid>().map_or(NAMED as u128, |order| order.as_u128());
        let next = NAMED + self.orders.len();
        match usize::try_from(number) {
            Ok(number) if number < NAMED => number,
            Ok(_) | Err(_) => *self.orders.entry(order.to_owned()).or_insert(next),
        }
    }

    fn key(&mut self, key: &str) -> u64 {
        let next = (NAMED + self.keys.len()) as u64;
        key.parse().unwrap_or_else(|_| *self.keys.entry(key.to_owned()).or_insert(next))
    }
}

impl Call {
    /// Records the answer. Do this after it has arrived.
    pub fn end(self, seen: Seen) {
        self.history.record().end(&self.site, self.index, seen);
    }

    /// Records the answer of the model's kind to a request.
    pub fn answered(self, answer: Answer) {
        self.end(match answer {
            Answer::Applied(sequence) => Seen::Applied(Some(sequence)),
            Answer::Short(_) | Answer::Changed(_) | Answer::NotYet | Answer::KeyReused | Answer::EmptyWindow => {
                Seen::Refused(answer)
            }
            Answer::Configured => panic!("a request changes no settings"),
        });
    }

    /// Takes the call back: the answer says that nothing was done, and that the same call may do it later.
    pub fn not_done(self) {
        let mut record = self.history.record();
        let operation = &mut record.site(&self.site).operations[self.index];
        // A read without an answer says nothing.
        operation.call = Asked::Ledger;
        operation.ended = None;
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, began, ended } = self;
        match ended {
            Some((ended, seen)) => write!(f, "{call:?} from {began} to {ended} => {seen:?}"),
            None => write!(f, "{call:?} from {began} on, without an answer"),
        }
    }
}
