//! Random calls from many callers at the same time: through one engine on SQLite, through two on Postgres. Nobody knows
//! the order in which they are decided, so the history has to explain them. `RANDOM_SEED` repeats what is asked, but
//! not when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use inventory_core::engine::clock::Clock;
use inventory_core::engine::{Engine, StreamCommand};
use inventory_core::model::error::{Error, Failed};
use inventory_core::model::ids::SiteId;
use inventory_core::model::outcome::Outcome;
use inventory_core::reports::journal::order_journal;
use inventory_core::store::{EntryFilter, Open, Store, Terms};
use inventory_tests::history::{Asked, Call, History, Line, Seen};
use inventory_tests::model::convert::{self, by_reference, command, item, location, order, soon};
use inventory_tests::model::{Answer, Request, Target, UNITS};
use inventory_tests::world::{Backend, Database};
use tokio::task::JoinSet;
use uuid::Uuid;

const CALLERS: usize = 24;
const CALLS: usize = 120;
const SITES: usize = 3;
/// Units whose levels the calls are about.
const FEW: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn random_calls_at_the_same_time_are_explained_on_sqlite() {
    run(Backend::Sqlite, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_calls_at_the_same_time_are_explained_on_postgres() {
    run(Backend::Postgres, 2).await;
}

/// What the callers share.
struct Shop {
    engines: Vec<Engine>,
    store: Store,
    sites: Vec<SiteId>,
    history: History,
    /// The last key that was given out.
    keys: AtomicU64,
}

async fn run(backend: Backend, servers: usize) {
    let seed =
        std::env::var("RANDOM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("RANDOM_SEED={seed}");
    let database = Database::fresh(backend);
    let store = Store::open(database.url.clone(), Open::Migrate).expect("the store opens");
    let start = |_| Engine::start(&store, Clock::system()).expect("writers start");
    let shop = Arc::new(Shop {
        engines: (0..servers).map(start).collect(),
        store: store.clone(),
        sites: (0..SITES).map(|_| SiteId::from_uuid(Uuid::new_v4())).collect(),
        history: History::default(),
        keys: AtomicU64::new(0),
    });
    let caller = |caller| {
        let (shop, random) = (Arc::clone(&shop), fastrand::Rng::with_seed(seed.wrapping_add(caller)));
        async move { shop.call_often(random).await }
    };
    (0..CALLERS as u64).map(caller).collect::<JoinSet<_>>().join_all().await;
    for engine in &shop.engines {
        // Whatever callers left behind is finished.
        engine.drain().await;
    }
    for site in &shop.sites {
        shop.read_ledger(*site).await;
    }
    println!("calls, and those without an answer: {:?}", shop.history.count());
    shop.history.check();
}

impl Shop {
    async fn call_often(&self, mut random: fastrand::Rng) {
        let engine = &self.engines[random.usize(..self.engines.len())];
        let mut sequences = [0; SITES];
        for _ in 0..CALLS {
            let index = random.usize(..SITES);
            let site = self.sites[index];
            match random.u8(..10) {
                0 | 1 => self.level(site, random.usize(..FEW), sequences[index]).await,
                2 => self.order(site, random.usize(..8), sequences[index]).await,
                3 => self.stream(engine, site, &mut random).await,
                _ => {
                    let (key, request) = self.request(&mut random);
                    let recorded = self.begin(site, key, &request);
                    let answer = engine.submit(command(site, key, false, &request), soon());
                    if random.u8(..12) == 0 {
                        // The caller leaves, at once or a little later.
                        let leave = async {
                            for _ in 0..random.u8(..4) {
                                tokio::task::yield_now().await;
                            }
                        };
                        tokio::select! {
                            biased;
                            answer = answer => { end(recorded, answer); }
                            () = leave => {}
                        }
                    } else if let Some(sequence) = end(recorded, answer.await) {
                        sequences[index] = sequences[index].max(sequence);
                    }
                }
            }
        }
    }

    /// A request under a new key, or one of the last that anybody used.
    fn request(&self, random: &mut fastrand::Rng) -> (u64, Request) {
        let key = match random.u8(..4) {
            0 => self.keys.load(Ordering::Relaxed).saturating_sub(random.u64(..20)),
            _ => 1 + self.keys.fetch_add(1, Ordering::Relaxed),
        };
        // By the key, so that most of those who use the same one ask for the same.
        let mut random = fastrand::Rng::with_seed(key + u64::from(random.u8(..10) == 0));
        let item = random.usize(..FEW) + if random.u8(..4) == 0 { UNITS } else { 0 };
        let (pieces, order) = (random.i64(1..4), random.usize(..8));
        let lines = [(item, pieces, false), ((item + 1) % FEW, 1, false)];
        let lines = lines[..random.usize(1..=2)].to_vec();
        let target = |level, expected, as_of| Target { item, level, expected, expected_revision: None, as_of };
        let request = match random.u8(..10) {
            0..=3 => Request::Decrement(lines, true, order, random.bool()),
            4 => Request::Decrement(lines, false, order, true),
            5 => Request::Increment(lines, order),
            6 => Request::Adjust(vec![(item, pieces), (item, 1)]),
            7 => Request::Set(vec![target(random.i64(0..9), None, None)]),
            8 => Request::Set(vec![target(pieces, random.bool().then_some(pieces), Some(random.i64(1..20)))]),
            _ => Request::Move(vec![(item, (item + UNITS) % (2 * UNITS), pieces)], random.bool()),
        };
        (key, request)
    }

    /// Sends several calls as one message.
    async fn stream(&self, engine: &Engine, site: SiteId, random: &mut fastrand::Rng) {
        let (commands, mut answers) = engine.stream();
        let (mut recorded, mut messages) = (BTreeMap::new(), Vec::new());
        for id in 0..random.u64(2..12) {
            let (key, request) = self.request(random);
            recorded.insert(id, self.begin(site, key, &request));
            messages.push(StreamCommand::new(id, command(site, key, false, &request), soon()));
        }
        commands.submit(messages);
        while !recorded.is_empty() {
            for answered in answers.next().await.expect("the stream is open") {
                end(recorded.remove(&answered.id).expect("one answer for each call"), answered.result);
            }
        }
    }

    fn begin(&self, site: SiteId, key: u64, request: &Request) -> Call {
        self.history.begin(&site.as_uuid().to_string(), Asked::Write(key, request.clone()))
    }

    async fn level(&self, site: SiteId, item: usize, at_least: i64) {
        let call = self.history.begin(&site.as_uuid().to_string(), Asked::Level(item, at_least));
        let terms = Terms { at_least_sequence: at_least, deadline: soon() };
        let wanted = vec![(by_reference(item), location(item))];
        let read = self.store.read(site, terms, move |snapshot| snapshot.stock(&wanted)).await;
        let stock = &read.expect("stock can be read").value[0];
        call.end(Seen::Level(stock.available, stock.revision, stock.last_sequence));
    }

    async fn order(&self, site: SiteId, number: usize, at_least: i64) {
        let call = self.history.begin(&site.as_uuid().to_string(), Asked::Order(number, at_least));
        let terms = Terms { at_least_sequence: at_least, deadline: soon() };
        let read = self.store.read(site, terms, move |snapshot| order_journal(snapshot, order(number))).await;
        let lines = read.expect("an order can be read").value.map(|journal| journal.lines).unwrap_or_default();
        let lines = lines.iter().map(|line| (item(&line.unit, line.location), line.taken, line.returned));
        let mut lines: Vec<(usize, i64, i64)> = lines.collect();
        lines.sort_unstable();
        call.end(Seen::Order(lines));
    }

    async fn read_ledger(&self, site: SiteId) {
        let mut ledger = Vec::new();
        loop {
            let filter = EntryFilter { after_sequence: ledger.len() as i64, ..EntryFilter::default() };
            let page = self.store.read(site, Terms::default(), move |snapshot| snapshot.list_entries(&filter, 1_000));
            let page = page.await.expect("the ledger can be read").value;
            ledger.extend(page.rows.into_iter().map(|entry| Line {
                unit: format!("item-{}", item(&entry.unit, entry.location) % UNITS),
                elsewhere: entry.location.is_some(),
                key: entry.request_id,
                delta: entry.delta,
            }));
            if page.next.is_none() {
                break;
            }
        }
        self.history.ledger(&site.as_uuid().to_string(), &ledger);
    }
}

/// Records an answer; returns the sequence number of an applied request.
fn end(call: Call, answer: Result<Outcome, Error>) -> Option<i64> {
    match convert::answer(answer) {
        Ok(answer) => {
            let sequence = if let Answer::Applied(sequence) = &answer { Some(*sequence) } else { None };
            call.answered(answer);
            sequence
        }
        Err(Error::Failed(Failed::Overloaded | Failed::StoreUnavailable(_))) => {
            call.not_done();
            None
        }
        Err(Error::Failed(Failed::OutcomeUnknown(_) | Failed::NoAnswer)) => None,
        Err(error) => panic!("nothing explains {error:?}"),
    }
}
