//! Random commands: engine and store must agree with the reference model in every answer and every entry. A run has a
//! million commands, fewer in CI. `RANDOM_COMMANDS` sets the number, `RANDOM_SEED` repeats a run.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use inventory_core::engine::Engine;
use inventory_core::model::action::{Action, Adjustment, Expected, Line, Move, Quantity, Target};
use inventory_core::model::catalog::CatalogReference;
use inventory_core::model::command::{Command, Header, Reason};
use inventory_core::model::error::{Error, Invalid};
use inventory_core::model::ids::{LocationId, OrderId, SiteId};
use inventory_core::model::outcome::{Outcome, Refusal, Verdict};
use inventory_core::model::site::{OverReturnPolicy, SiteChange, SuspectedRepeatPolicy};
use inventory_core::model::unit::{Sku, Tracking, UnitChange, UnitSelector};
use inventory_core::store::{EntryFilter, Store};
use inventory_tests::model::{self, Answer, Entry, ITEMS, Model, Policies, Request, Rules, UNITS};
use inventory_tests::wix_caller::CATALOG;
use inventory_tests::world::{Backend, Database};
use uuid::Uuid;

const SITES: usize = 3;
/// The most commands that are sent at once. The engine forms batches of every size from them.
const BURST: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_random_run_agrees_with_the_model_on_sqlite() {
    run(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_random_run_agrees_with_the_model_on_postgres() {
    run(Backend::Postgres).await;
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

async fn run(backend: Backend) {
    let seed = setting("RANDOM_SEED").unwrap_or_else(|| fastrand::u64(..));
    let usual = if std::env::var_os("CI").is_some() { 50_000 } else { 1_000_000 };
    let commands = setting("RANDOM_COMMANDS").unwrap_or(usual);
    println!("RANDOM_SEED={seed} RANDOM_COMMANDS={commands}");
    let database = Database::fresh(backend);
    let store = Store::open(database.url.clone()).expect("the store opens");
    let engine = Engine::start(&store).expect("writers start");
    let mut random = fastrand::Rng::with_seed(seed);
    let sites: Vec<SiteId> = (0..SITES).map(|_| SiteId::from_uuid(Uuid::from_u128(random.u128(..)))).collect();
    let mut models: Vec<Model> = (0..SITES).map(|_| Model::default()).collect();
    for site in &sites {
        let with_skus = (0..UNITS).map(|unit| (by_reference(unit), with_sku(Some(unit)))).collect();
        engine.configure_units(*site, with_skus, soon()).await.expect("the SKUs are free");
    }
    let mut fresh_key = 0;
    let mut done = 0;
    while done < commands {
        let burst: Vec<(usize, Step)> = (0..random.usize(1..=BURST))
            .map(|_| {
                let site = random.usize(..SITES);
                // One command in ten reuses a key, with the same content or other content.
                let key = if random.u8(..10) == 0 { random.u64(..=fresh_key) } else { fresh_key + 1 };
                fresh_key = fresh_key.max(key);
                (site, random_step(&mut random, key, &models[site]))
            })
            .collect();
        let replays: Vec<(usize, Step)> = burst.iter().filter(|_| random.u8(..20) == 0).cloned().collect();
        let burst: Vec<_> = burst.into_iter().chain(replays).collect();
        // join_all polls the calls in order, so each site's queue has the order in which the model answers.
        let answers = join_all(burst.iter().map(|(site, step)| submit(&engine, sites[*site], step))).await;
        for ((site, step), answer) in burst.iter().zip(answers) {
            assert_eq!(answer, expected(&mut models[*site], step), "seed {seed}: the answer differs: {step:?}");
        }
        done += burst.len() as u64;
    }
    for (site, model) in sites.iter().zip(&models) {
        let items: Vec<_> = (0..ITEMS).map(|item| (by_reference(item), location(item))).collect();
        let read = store.read(*site, 0, move |snapshot| snapshot.stock(&items)).await.expect("stock can be read");
        let levels: Vec<i64> = read.value.iter().map(|stock| stock.available).collect();
        assert_eq!(
            levels,
            (0..ITEMS).map(|item| model.level(item)).collect::<Vec<_>>(),
            "seed {seed}: the levels differ"
        );
        assert!(ledger(&store, *site).await == model.entries, "seed {seed}: the ledgers differ");
    }
    let entries = || models.iter().flat_map(|model| &model.entries);
    let tally = [
        ("suspected duplicates", entries().filter(|entry| entry.duplicate).count()),
        ("over-returns", entries().filter(|entry| entry.over_return && entry.delta == entry.asked).count()),
        ("clipped returns", entries().filter(|entry| entry.over_return && entry.delta < entry.asked).count()),
        (
            "changes that change no level",
            entries().filter(|entry| !entry.over_return && entry.delta != entry.asked).count(),
        ),
    ];
    println!("{} entries; {tally:?}", entries().count());
    let enough = commands < 10_000 || tally.iter().all(|(_, count)| *count > 0);
    assert!(enough, "seed {seed}: a case never occurred: {tally:?}");
    engine.drain().await;
}

/// One call to a site.
#[derive(Clone, Debug)]
enum Step {
    /// A request under an idempotency key. With the flag, its items are SKUs, not units.
    Request(u64, bool, Request),
    /// Changes the rules of a unit.
    Rules(usize, Rules),
    /// Changes the policies about orders.
    Policies(Policies),
    /// Exchanges the SKUs of two units in one transaction.
    Swap(usize, usize),
}

fn random_step(random: &mut fastrand::Rng, key: u64, model: &Model) -> Step {
    match random.u8(..200) {
        0 => Step::Policies(Policies { suppress: random.bool(), clip: random.bool() }),
        1 => {
            let (status, skips_subscriptions) = (random.u8(..4) == 0, random.u8(..4) == 0);
            let rules = Rules { status, backorder_limit: random.i64(0..8) * random.i64(0..2), skips_subscriptions };
            Step::Rules(random.usize(..UNITS), rules)
        }
        2 => Step::Swap(random.usize(..UNITS), random.usize(..UNITS)),
        _ => Step::Request(key, random.u8(..3) == 0, random_request(random, key, model)),
    }
}

fn expected(model: &mut Model, step: &Step) -> Answer {
    match step {
        Step::Request(key, by_sku, request) => return model.answer(*key, *by_sku, request),
        Step::Rules(unit, rules) => model.rules[*unit] = *rules,
        Step::Policies(policies) => model.policies = *policies,
        Step::Swap(one, other) => model.skus.swap(*one, *other),
    }
    Answer::Configured
}

fn submit<'a>(engine: &'a Engine, site: SiteId, step: &Step) -> BoxFuture<'a, Answer> {
    match step {
        Step::Request(key, by_sku, request) => {
            engine.submit(command(site, *key, *by_sku, request), soon()).map(answer).boxed()
        }
        Step::Rules(unit, Rules { status, backorder_limit, skips_subscriptions }) => {
            let change = UnitChange {
                tracking: Some(if *status { Tracking::Status } else { Tracking::Quantity }),
                backorder_limit: Some(*backorder_limit),
                counts_subscriptions: Some(!skips_subscriptions),
                ..UnitChange::default()
            };
            let changes = vec![(by_reference(*unit), change)];
            engine.configure_units(site, changes, soon()).map(|done| configured(done.map(drop))).boxed()
        }
        Step::Policies(Policies { suppress, clip }) => {
            let suspected_repeats =
                if *suppress { SuspectedRepeatPolicy::Suppress } else { SuspectedRepeatPolicy::Report };
            let change = SiteChange {
                suspected_repeats: Some(suspected_repeats),
                over_returns: Some(if *clip { OverReturnPolicy::Clip } else { OverReturnPolicy::Report }),
                ..SiteChange::default()
            };
            engine.configure_site(site, change, soon()).map(|done| configured(done.map(drop))).boxed()
        }
        Step::Swap(one, other) => {
            let changes = match one == other {
                true => vec![(by_sku(*one), UnitChange::default())],
                false => swap(*one, *other),
            };
            engine.configure_units(site, changes, soon()).map(|done| configured(done.map(drop))).boxed()
        }
    }
}

fn configured(done: Result<(), Error>) -> Answer {
    done.expect("the settings can be changed");
    Answer::Configured
}

/// The deadline of a call. No call takes that long.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn sku(index: usize) -> Sku {
    Sku::new(&format!("sku-{index}")).expect("the value is in bounds")
}

fn with_sku(index: Option<usize>) -> UnitChange {
    UnitChange { sku: Some(index.map(sku)), ..UnitChange::default() }
}

/// Exchanges two SKUs by way of a third one, because no two units of a site may have the same SKU.
fn swap(one: usize, other: usize) -> Vec<(UnitSelector, UnitChange)> {
    vec![
        (by_sku(one), with_sku(Some(UNITS))),
        (by_sku(other), with_sku(Some(one))),
        (by_sku(UNITS), with_sku(Some(other))),
    ]
}

/// The whole ledger of a site, as entries of the model.
async fn ledger(store: &Store, site: SiteId) -> Vec<Entry> {
    let mut ledger = Vec::new();
    loop {
        let filter = EntryFilter { after_sequence: ledger.len() as i64, ..EntryFilter::default() };
        let page = store
            .read(site, 0, move |snapshot| snapshot.list_entries(&filter, 1_000))
            .await
            .expect("the ledger can be read")
            .value;
        ledger.extend(page.rows.into_iter().map(|entry| Entry {
            item: item(&entry.unit.item_id, entry.location),
            asked: entry.asked,
            delta: entry.delta,
            subscription: entry.subscription,
            duplicate: entry.marks.suspected_repeat,
            over_return: entry.marks.over_return,
        }));
        if page.next.is_none() {
            return ledger;
        }
    }
}

fn random_request(random: &mut fastrand::Rng, key: u64, model: &Model) -> Request {
    let many = [1, 1, 1, 2, 3, 8][random.usize(..6)];
    let lines: Vec<(usize, i64)> = (0..many).map(|_| (random.usize(..ITEMS), random.i64(1..=5))).collect();
    // About thirty requests of all sites belong to the same order.
    let order = (key / 30) as usize + random.usize(..3);
    let mut sold = |lines: &[(usize, i64)]| -> Vec<model::Line> {
        lines.iter().map(|(item, pieces)| (*item, *pieces, random.u8(..5) == 0)).collect()
    };
    let of_order = sold(&lines);
    // Few items and one piece, so that an order takes and returns the same items again.
    let same = vec![(order % 3, 1, false)];
    match random.u8(..13) {
        0..4 => Request::Decrement(of_order, true, order, random.bool()),
        4 => Request::Decrement(of_order, false, order, random.bool()),
        5 => Request::Decrement(same, true, order, true),
        6..9 => Request::Increment(of_order, order),
        9 => Request::Increment(same, order),
        10 => Request::Adjust(lines.into_iter().map(|(item, pieces)| (item, 2 * pieces - 7)).collect()),
        11 => {
            let other = |item| (item + UNITS) % ITEMS;
            let moves = lines.into_iter().map(|(item, pieces)| (item, other(item), pieces));
            Request::Move(moves.collect(), random.u8(..4) != 0)
        }
        _ => {
            let mut items: Vec<usize> = lines.iter().map(|(item, _)| *item).collect();
            items.sort_unstable();
            items.dedup();
            let sequence = model.sequence();
            let target = |item| {
                let as_of = match random.u8(..8) {
                    0 => Some(sequence + 1_000_000),
                    1..4 if sequence > 0 => Some(random.i64((sequence - 300).max(1)..=sequence)),
                    _ => None,
                };
                let expected = (random.u8(..4) == 0).then(|| random.i64(-2..6));
                // It holds unless an earlier command of the burst changes the level.
                let expected_revision = (random.u8(..4) == 0).then(|| model.revision(item));
                model::Target { item, level: random.i64(-5..30), expected, expected_revision, as_of }
            };
            Request::Set(items.into_iter().map(target).collect())
        }
    }
}

fn reference(item: usize) -> CatalogReference {
    let unit = item % UNITS;
    CatalogReference::new(CATALOG, &format!("item-{unit}"), serde_json::Map::new()).expect("the value is in bounds")
}

fn by_reference(item: usize) -> UnitSelector {
    UnitSelector::Reference(reference(item))
}

fn by_sku(index: usize) -> UnitSelector {
    UnitSelector::Sku(sku(index))
}

fn location(item: usize) -> Option<LocationId> {
    (item >= UNITS).then(|| LocationId::from_uuid(Uuid::from_u128(7)))
}

fn command(site: SiteId, key: u64, is_by_sku: bool, request: &Request) -> Command {
    let unit = |item: usize| if is_by_sku { by_sku(item % UNITS) } else { by_reference(item) };
    let lines = |lines: &[model::Line]| -> Vec<Line> {
        let line = |&(item, quantity, subscription): &model::Line| Line {
            unit: unit(item),
            location: location(item),
            quantity: Quantity::new(quantity).expect("the value is in bounds"),
            subscription,
        };
        lines.iter().map(line).collect()
    };
    let (mut order, mut reason) = (None, Reason::Unspecified);
    let named = |order: usize| Some(OrderId::from_uuid(Uuid::from_u128(order as u128)));
    let action = match request {
        Request::Decrement(asked, restricted, of_order, placed) => {
            order = named(*of_order);
            reason = if *placed { Reason::OrderPlaced } else { Reason::OrderEdited };
            Action::Decrement { lines: lines(asked), restricted: *restricted }
        }
        Request::Increment(asked, of_order) => {
            order = named(*of_order);
            Action::Increment { lines: lines(asked) }
        }
        Request::Set(targets) => {
            let target = |&model::Target { item, level, expected, expected_revision, as_of }: &model::Target| Target {
                unit: unit(item),
                location: location(item),
                available: level,
                expected: Expected { available: expected, revision: expected_revision },
                as_of,
            };
            Action::Set { targets: targets.iter().map(target).collect() }
        }
        Request::Adjust(deltas) => {
            let adjustment =
                |&(item, delta): &(usize, i64)| Adjustment { unit: unit(item), location: location(item), delta };
            Action::Adjust { adjustments: deltas.iter().map(adjustment).collect() }
        }
        Request::Move(moves, restricted) => {
            let item = |&(from, to, pieces): &(usize, usize, i64)| Move {
                unit: unit(from),
                from: location(from),
                to: location(to),
                quantity: Quantity::new(pieces).expect("the value is in bounds"),
            };
            Action::Move { moves: moves.iter().map(item).collect(), restricted: *restricted }
        }
    };
    let (actor, note) = (String::new(), String::new());
    let header = Header { site, request_id: key.to_string(), order, reason, actor, note };
    Command::new(header, action).expect("the value is in bounds")
}

/// The engine's answer, in the terms of the model.
fn answer(answer: Result<Outcome, Error>) -> Answer {
    match answer {
        Ok(Outcome { sequence, verdict: Verdict::Applied(_), .. }) => Answer::Applied(sequence),
        Ok(Outcome { verdict: Verdict::Refused(Refusal::Short(short)), .. }) => {
            Answer::Short(short.iter().map(|short| (item(&short.unit.item_id, short.location), short.short)).collect())
        }
        Ok(Outcome { verdict: Verdict::Refused(Refusal::Changed(changed)), .. }) => Answer::Changed(
            changed.iter().map(|level| (item(&level.unit.item_id, level.location), level.available)).collect(),
        ),
        Ok(Outcome { verdict: Verdict::Refused(Refusal::NotYet { .. }), .. }) => Answer::NotYet,
        Err(Error::Invalid(Invalid::KeyReused)) => Answer::KeyReused,
        other => panic!("the model does not know this answer: {other:?}"),
    }
}

/// The model's item for a level.
fn item(id: &str, location: Option<LocationId>) -> usize {
    let unit: usize = id.strip_prefix("item-").and_then(|unit| unit.parse().ok()).expect("the ids are item-NUMBER");
    unit + if location.is_some() { UNITS } else { 0 }
}
