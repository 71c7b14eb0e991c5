//! Random commands: engine and store must agree with the reference model in every answer and every entry. A run has a
//! million commands, fewer in CI. `RANDOM_COMMANDS` sets the number, `RANDOM_SEED` repeats a run.

mod convert;
mod generate;

use inventory_core::engine::Engine;
use inventory_core::model::access::Author;
use inventory_core::model::ids::SiteId;
use inventory_core::reports::journal::order_journal;
use inventory_core::store::{EntryFilter, Open, Store, Terms};
use inventory_tests::model::convert::{by_reference, entry, item, location, order, soon};
use inventory_tests::model::kinds::{Case, Catalog, InForce, UnitChange};
use inventory_tests::model::{Answer, Entry, ITEMS, Model, Policies, Request, UNITS};
use inventory_tests::test_clock::{TestClock, YEAR_2100};
use inventory_tests::world::{Backend, Database};
use uuid::Uuid;

use self::convert::{in_force, submit_all, with_sku};

const SITES: usize = 3;
/// The most commands that are sent at once. The engine forms batches of every size from them.
const BURST: usize = 200;
/// A new site takes the place of another one after this many bursts. Its units were never stocked.
const BURSTS_OF_A_SITE: u64 = 12;

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

/// One call to a site.
#[derive(Clone, Debug)]
enum Step {
    /// A request under an idempotency key. With the flag, its items are SKUs, not units.
    Request(u64, bool, Request),
    /// Changes the settings of a unit.
    Unit(usize, UnitChange),
    /// Replaces the settings of a catalog.
    Catalog(usize, Catalog),
    /// Changes the policies about orders.
    Policies(Policies),
    /// Exchanges the SKUs of two units in one transaction.
    Swap(usize, usize),
}

async fn run(backend: Backend) {
    let seed = setting("RANDOM_SEED").unwrap_or_else(|| fastrand::u64(..));
    let usual = if std::env::var_os("CI").is_some() { 50_000 } else { 1_000_000 };
    let commands = setting("RANDOM_COMMANDS").unwrap_or(usual);
    println!("RANDOM_SEED={seed} RANDOM_COMMANDS={commands}");
    let database = Database::fresh(backend);
    let store = Store::open(database.url.clone(), Open::Migrate).expect("the store opens");
    // The clock stands still during a burst, so that the model need not know which commands are in the same batch.
    let (clock, mut now) = (TestClock::at(YEAR_2100), YEAR_2100);
    let engine = Engine::start(&store, clock.clock()).expect("writers start");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut sites = Vec::new();
    for _ in 0..SITES {
        sites.push(new_site(&engine, &mut random).await);
    }
    let (mut fresh_key, mut done, mut bursts) = (0, 0, 0);
    let (mut entries, mut tally) = (0, [0; Case::ALL.len()]);
    while done < commands {
        now = generate::time_after(&mut random, now);
        clock.set(now);
        let burst: Vec<(usize, Step)> = (0..random.usize(1..=BURST))
            .map(|_| {
                let site = random.usize(..SITES);
                // One command in ten reuses a key, with the same content or other content.
                let key = match random.u8(..20) {
                    0 => random.u64(..=fresh_key),
                    1 => random.u64(fresh_key.saturating_sub(300)..=fresh_key),
                    _ => fresh_key + 1,
                };
                fresh_key = fresh_key.max(key);
                (site, generate::step(&mut random, now, key, &sites[site].1))
            })
            .collect();
        let replays: Vec<(usize, Step)> = burst.iter().filter(|_| random.u8(..20) == 0).cloned().collect();
        let burst: Vec<_> = burst.into_iter().chain(replays).collect();
        let steps: Vec<_> = burst.iter().map(|(site, step)| (sites[*site].0, step)).collect();
        let answers = submit_all(&engine, &steps, random.bool()).await;
        for ((site, step), answer) in burst.iter().zip(answers) {
            assert_eq!(answer, expected(&mut sites[*site].1, now, step), "seed {seed}: the answer differs: {step:?}");
        }
        done += burst.len() as u64;
        bursts += 1;
        if bursts % BURSTS_OF_A_SITE == 0 || done >= commands {
            let retired = if done >= commands { SITES } else { 1 };
            for (id, model) in sites.drain(..retired) {
                check(&store, id, &model, seed).await;
                entries += model.entries.len();
                tally.iter_mut().zip(model.tally).for_each(|(sum, count)| *sum += count);
            }
            while sites.len() < SITES {
                sites.push(new_site(&engine, &mut random).await);
            }
        }
    }
    let counts: Vec<(Case, usize)> = Case::ALL.into_iter().zip(tally).collect();
    println!("{entries} entries; {counts:?}");
    let enough = commands < 50_000 || tally.iter().all(|count| *count > 0);
    assert!(enough, "seed {seed}: a case never occurred: {counts:?}");
    engine.drain().await;
}

/// A site whose units have SKUs.
async fn new_site(engine: &Engine, random: &mut fastrand::Rng) -> (SiteId, Model) {
    let site = SiteId::from_uuid(Uuid::from_u128(random.u128(..)));
    let with_skus = (0..UNITS).map(|unit| (by_reference(unit), with_sku(unit))).collect();
    engine.configure_units(site, with_skus, Author::default(), soon()).await.expect("the SKUs are free");
    (site, Model::default())
}

fn expected(model: &mut Model, clock: i64, step: &Step) -> Answer {
    match step {
        Step::Request(key, by_sku, request) => return model.answer(clock, *key, *by_sku, request),
        Step::Unit(unit, change) if !model.change_unit(*unit, change) => return Answer::EmptyWindow,
        Step::Unit(..) => {}
        Step::Catalog(catalog, settings) => model.catalogs[*catalog] = *settings,
        Step::Policies(policies) => model.policies = *policies,
        Step::Swap(one, other) => model.skus.swap(*one, *other),
    }
    Answer::Configured
}

/// Compares what the store has of a site with the model: levels, units, the ledger, and some orders.
async fn check(store: &Store, site: SiteId, model: &Model, seed: u64) {
    let items: Vec<_> = (0..ITEMS).map(|item| (by_reference(item), location(item))).collect();
    let read =
        store.read(site, Terms::default(), move |snapshot| snapshot.stock(&items)).await.expect("stock can be read");
    let levels: Vec<i64> = read.value.iter().map(|stock| stock.available).collect();
    let expected: Vec<i64> = (0..ITEMS).map(|item| model.level(item)).collect();
    assert_eq!(levels, expected, "seed {seed}: the levels differ");
    let units: Vec<(InForce, bool)> =
        read.value[..UNITS].iter().map(|stock| (in_force(&stock.rules), stock.settings.state.stocked)).collect();
    let expected: Vec<(InForce, bool)> =
        (0..UNITS).map(|unit| (model.in_force(unit), model.units[unit].stocked)).collect();
    assert_eq!(units, expected, "seed {seed}: the units differ");
    assert!(ledger(store, site).await == model.entries, "seed {seed}: the ledgers differ");
    for (number, expected) in model.holdings().into_iter().take(20) {
        let read = store.read(site, Terms::default(), move |snapshot| order_journal(snapshot, order(number))).await;
        let journal = read.expect("an order can be read").value.expect("the order made calls");
        let mut lines: Vec<(usize, i64, i64)> =
            journal.lines.iter().map(|line| (item(&line.unit, line.location), line.taken, line.returned)).collect();
        lines.sort_unstable();
        assert_eq!(lines, expected, "seed {seed}: what order {number} took and returned differs");
    }
}

/// The whole ledger of a site, as entries of the model.
async fn ledger(store: &Store, site: SiteId) -> Vec<Entry> {
    let mut ledger = Vec::new();
    loop {
        let filter = EntryFilter { after_sequence: ledger.len() as i64, ..EntryFilter::default() };
        let page = store
            .read(site, Terms::default(), move |snapshot| snapshot.list_entries(&filter, 1_000))
            .await
            .expect("the ledger can be read")
            .value;
        ledger.extend(page.rows.into_iter().map(entry));
        if page.next.is_none() {
            return ledger;
        }
    }
}
