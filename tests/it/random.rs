//! Random commands against the model: the engine and the store must agree with it, answer by
//! answer. A million of them, fewer under CI; `RANDOM_COMMANDS` sets how many, `RANDOM_SEED` repeats
//! a run.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use inventory_core::catalog::CatalogReference;
use inventory_core::command::{Action, Command, Header, Line, Quantity, Reason, Target};
use inventory_core::engine::Engine;
use inventory_core::error::Error;
use inventory_core::ids::SiteId;
use inventory_core::outcome::{Outcome, Refusal, Verdict};
use inventory_core::store::Store;
use inventory_tests::model::{Ask, Model, Told};
use inventory_tests::wix_caller::CATALOG;
use inventory_tests::world::{Backend, Database};
use uuid::Uuid;

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
        let items = (0..ITEMS).map(|item| (reference(item), None)).collect();
        let stock = store.stock(*site, items).await.expect("stock can be read");
        let levels: Vec<i64> = stock.iter().map(|stock| stock.available).collect();
        assert_eq!(levels, (0..ITEMS).map(|item| model.level(item)).collect::<Vec<_>>(), "seed {seed}");
    }
    engine.drain().await;
}

fn ask(random: &mut fastrand::Rng) -> Ask {
    let many = [1, 1, 1, 2, 3, 8][random.usize(..6)];
    let lines: Vec<(usize, i64)> = (0..many).map(|_| (random.usize(..ITEMS), random.i64(1..=5))).collect();
    match random.u8(..10) {
        0..5 => Ask::Decrement(lines, true),
        5 => Ask::Decrement(lines, false),
        6..9 => Ask::Increment(lines),
        _ => {
            let mut items: Vec<usize> = lines.iter().map(|(item, _)| *item).collect();
            items.sort_unstable();
            items.dedup();
            Ask::Set(items.into_iter().map(|item| (item, random.i64(-5..30))).collect())
        }
    }
}

fn reference(item: usize) -> CatalogReference {
    CatalogReference::new(CATALOG, &format!("item-{item}"), serde_json::Map::new()).expect("in bounds")
}

fn command(site: SiteId, key: u64, ask: &Ask) -> Command {
    let lines = |lines: &[(usize, i64)]| -> Vec<Line> {
        let line = |&(item, quantity): &(usize, i64)| Line {
            reference: reference(item),
            location: None,
            quantity: Quantity::new(quantity).expect("in bounds"),
            subscription: false,
        };
        lines.iter().map(line).collect()
    };
    let action = match ask {
        Ask::Decrement(asked, restricted) => Action::Decrement { lines: lines(asked), restricted: *restricted },
        Ask::Increment(asked) => Action::Increment { lines: lines(asked) },
        Ask::Set(levels) => {
            let target =
                |&(item, available): &(usize, i64)| Target { reference: reference(item), location: None, available };
            Action::Set { targets: levels.iter().map(target).collect() }
        }
    };
    let header =
        Header { site, request_id: key.to_string(), order: None, reason: Reason::Unspecified, actor: String::new() };
    Command::new(header, action).expect("in bounds")
}

fn told(answer: Result<Outcome, Error>) -> Told {
    match answer {
        Ok(Outcome { sequence, verdict: Verdict::Applied(_), .. }) => Told::Applied(sequence),
        Ok(Outcome { verdict: Verdict::Refused(Refusal::Short(short)), .. }) => {
            let item = |id: &str| id.strip_prefix("item-").and_then(|item| item.parse().ok()).expect("our own ids");
            Told::Short(short.iter().map(|short| (item(&short.unit.item_id), short.short)).collect())
        }
        Err(Error::KeyReused) => Told::KeyReused,
        other => panic!("{other:?}"),
    }
}
