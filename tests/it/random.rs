//! Random commands against the model: the engine and the store must agree with it, answer by
//! answer. A million of them, fewer under CI; `RANDOM_COMMANDS` sets how many, `RANDOM_SEED` repeats
//! a run.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use inventory_core::catalog::CatalogReference;
use inventory_core::command::{Action, Adjustment, Command, Expected, Header, Line, Move, Quantity, Reason, Target};
use inventory_core::engine::Engine;
use inventory_core::error::Error;
use inventory_core::ids::{LocationId, SiteId};
use inventory_core::outcome::{Outcome, Refusal, Verdict};
use inventory_core::store::Store;
use inventory_tests::model::{Ask, Model, Told};
use inventory_tests::wix_caller::CATALOG;
use inventory_tests::world::{Backend, Database};
use uuid::Uuid;

/// Levels: half of them are units at the default location, the others the same units elsewhere.
const ITEMS: usize = 20;
const SITES: usize = 3;
/// Sent at once, so that the engine forms batches of every size.
const BURST: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    run(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
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
    let mut fresh_key = 0;
    let mut done = 0;
    while done < commands {
        let burst: Vec<(usize, u64, Ask)> = (0..random.usize(1..=BURST))
            .map(|_| {
                // One in ten is under a key that was used before, with other content or the same.
                let key = if random.u8(..10) == 0 { random.u64(..=fresh_key) } else { fresh_key + 1 };
                fresh_key = fresh_key.max(key);
                (random.usize(..SITES), key, ask(&mut random))
            })
            .collect();
        let repeated: Vec<(usize, u64, Ask)> = burst.iter().filter(|_| random.u8(..20) == 0).cloned().collect();
        let burst: Vec<_> = burst.into_iter().chain(repeated).collect();
        // Polled in their order, so each site's queue has the order in which the model is asked.
        let deadline = Instant::now() + Duration::from_secs(60);
        let submit = |(site, key, ask): &(usize, u64, Ask)| engine.submit(command(sites[*site], *key, ask), deadline);
        let answers = join_all(burst.iter().map(submit)).await;
        for ((site, key, ask), answer) in burst.iter().zip(answers) {
            assert_eq!(told(answer), models[*site].ask(*key, ask), "seed {seed}, key {key}: {ask:?}");
        }
        done += burst.len() as u64;
    }
    for (site, model) in sites.iter().zip(&models) {
        let items = (0..ITEMS).map(|item| (reference(item), location(item))).collect();
        let stock = store.stock(*site, items).await.expect("stock can be read");
        let levels: Vec<i64> = stock.iter().map(|stock| stock.available).collect();
        assert_eq!(levels, (0..ITEMS).map(|item| model.level(item)).collect::<Vec<_>>(), "seed {seed}");
    }
    engine.drain().await;
}

fn ask(random: &mut fastrand::Rng) -> Ask {
    let many = [1, 1, 1, 2, 3, 8][random.usize(..6)];
    let lines: Vec<(usize, i64)> = (0..many).map(|_| (random.usize(..ITEMS), random.i64(1..=5))).collect();
    match random.u8(..12) {
        0..5 => Ask::Decrement(lines, true),
        5 => Ask::Decrement(lines, false),
        6..9 => Ask::Increment(lines),
        9 => Ask::Adjust(lines.into_iter().map(|(item, pieces)| (item, 2 * pieces - 7)).collect()),
        10 => {
            let other = |item| (item + ITEMS / 2) % ITEMS;
            let moves = lines.into_iter().map(|(item, pieces)| (item, other(item), pieces));
            Ask::Move(moves.collect(), random.u8(..4) != 0)
        }
        _ => {
            let mut items: Vec<usize> = lines.iter().map(|(item, _)| *item).collect();
            items.sort_unstable();
            items.dedup();
            let expected = |random: &mut fastrand::Rng| (random.u8(..4) == 0).then(|| random.i64(-2..6));
            Ask::Set(items.into_iter().map(|item| (item, random.i64(-5..30), expected(random))).collect())
        }
    }
}

fn reference(item: usize) -> CatalogReference {
    let unit = item % (ITEMS / 2);
    CatalogReference::new(CATALOG, &format!("item-{unit}"), serde_json::Map::new()).expect("in bounds")
}

fn location(item: usize) -> Option<LocationId> {
    (item >= ITEMS / 2).then(|| LocationId::from_uuid(Uuid::from_u128(7)))
}

fn command(site: SiteId, key: u64, ask: &Ask) -> Command {
    let lines = |lines: &[(usize, i64)]| -> Vec<Line> {
        let line = |&(item, quantity): &(usize, i64)| Line {
            reference: reference(item),
            location: location(item),
            quantity: Quantity::new(quantity).expect("in bounds"),
            subscription: false,
        };
        lines.iter().map(line).collect()
    };
    let action = match ask {
        Ask::Decrement(asked, restricted) => Action::Decrement { lines: lines(asked), restricted: *restricted },
        Ask::Increment(asked) => Action::Increment { lines: lines(asked) },
        Ask::Set(levels) => {
            let target = |&(item, available, expected): &(usize, i64, Option<i64>)| Target {
                reference: reference(item),
                location: location(item),
                available,
                expected: Expected { available: expected, revision: None },
                as_of: None,
            };
            Action::Set { targets: levels.iter().map(target).collect() }
        }
        Ask::Adjust(deltas) => {
            let adjustment = |&(item, delta): &(usize, i64)| Adjustment {
                reference: reference(item),
                location: location(item),
                delta,
            };
            Action::Adjust { adjustments: deltas.iter().map(adjustment).collect() }
        }
        Ask::Move(moves, restricted) => {
            let item = |&(from, to, pieces): &(usize, usize, i64)| Move {
                reference: reference(from),
                from: location(from),
                to: location(to),
                quantity: Quantity::new(pieces).expect("in bounds"),
            };
            Action::Move { moves: moves.iter().map(item).collect(), restricted: *restricted }
        }
    };
    let (reason, actor, note) = (Reason::Unspecified, String::new(), String::new());
    let header = Header { site, request_id: key.to_string(), order: None, reason, actor, note };
    Command::new(header, action).expect("in bounds")
}

fn told(answer: Result<Outcome, Error>) -> Told {
    match answer {
        Ok(Outcome { sequence, verdict: Verdict::Applied(_), .. }) => Told::Applied(sequence),
        Ok(Outcome { verdict: Verdict::Refused(Refusal::Short(short)), .. }) => {
            Told::Short(short.iter().map(|short| (item(&short.unit.item_id, short.location), short.short)).collect())
        }
        Ok(Outcome { verdict: Verdict::Refused(Refusal::Changed(changed)), .. }) => Told::Changed(
            changed.iter().map(|level| (item(&level.unit.item_id, level.location), level.available)).collect(),
        ),
        Err(Error::KeyReused) => Told::KeyReused,
        other => panic!("{other:?}"),
    }
}

/// The item that a level stands for.
fn item(id: &str, location: Option<LocationId>) -> usize {
    let unit: usize = id.strip_prefix("item-").and_then(|unit| unit.parse().ok()).expect("our own ids");
    unit + if location.is_some() { ITEMS / 2 } else { 0 }
}
