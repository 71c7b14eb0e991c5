//! A server or an adapter is killed with SIGKILL under load. Every answered order is in the ledger once, and no order
//! is there by half. All calls are recorded, and have to be explained by the model.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use inventory_tests::books;
use inventory_tests::history::{History, RecordedGrpc};
use inventory_tests::programs::{Running, adapter, grpc_server};
use inventory_tests::tokens::channel_to;
use inventory_tests::wix_caller::{WixCaller, item, order, order_id};
use inventory_tests::world::{Backend, Database};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn orders_survive_kill_9_of_the_server_on_sqlite() {
    run(Backend::Sqlite, Killed::Server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_survive_kill_9_of_the_server_on_postgres() {
    run(Backend::Postgres, Killed::Server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_survive_kill_9_of_the_adapter_on_sqlite() {
    run(Backend::Sqlite, Killed::Adapter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_survive_kill_9_of_the_adapter_on_postgres() {
    run(Backend::Postgres, Killed::Adapter).await;
}

/// The process that is killed. The other one goes on.
#[derive(Clone, Copy, PartialEq)]
enum Killed {
    Server,
    Adapter,
}

const CALLERS: usize = 16;
const KILLS: usize = 3;
const ANSWERS_BEFORE_A_KILL: usize = 150;

async fn run(backend: Backend, killed: Killed) {
    let database = Database::fresh(backend);
    let site = Uuid::new_v4().to_string();
    let history = History::default();
    let mut sent: HashSet<String> = HashSet::new();
    let mut server = grpc_server(&database.text);
    let mut front = adapter(server.addresses[0]);
    for _ in 0..KILLS {
        let address = front.addresses[0];
        let process = match killed {
            Killed::Server => &mut server,
            Killed::Adapter => &mut front,
        };
        let (answered, unanswered) = load_until_killed(killed, process, address, &site, &history).await;
        assert!(answered.len() >= ANSWERS_BEFORE_A_KILL);
        if killed == Killed::Server {
            // Nothing was repaired after the kill. The books must be right already.
            books::prove(&database.url);
            server = grpc_server(&database.text);
        }
        front = adapter(server.addresses[0]);
        // The outcome of the unanswered requests is unknown. A replay finds it out, and applies those that were lost. A
        // server that lives may still work at the first of the two. Right after a start an answer may come too late for
        // the adapter, which then answers 503.
        let caller = WixCaller::new(front.addresses[0]).recording(&history);
        let replays = join_all(unanswered.iter().map(|data| caller.until_served("increment", data))).await;
        assert!(replays.iter().all(|answer| answer.status == 200), "replays after the kill: {replays:?}");
        sent.extend(answered);
        sent.extend(unanswered.iter().map(order_digits));
    }

    let text = match backend {
        Backend::Sqlite => "lower(hex(order_id))",
        Backend::Postgres => "replace(CAST(order_id AS text), '-', '')",
    };
    let recorded = books::lines(&database.url, &format!("SELECT {text} AS line FROM change"));
    assert_eq!(recorded.len(), sent.len(), "each order is recorded once");
    assert_eq!(recorded.into_iter().collect::<HashSet<_>>(), sent);
    let halves =
        books::count(&database.url, "SELECT count(*) AS wrong FROM change WHERE last_sequence <> first_sequence + 1");
    assert_eq!(halves, 0, "every order has an entry for each of its two items");
    RecordedGrpc::new(&history, channel_to(server.addresses[0])).check().await;
}

/// The order id as hexadecimal digits.
fn order_digits(data: &Value) -> String {
    order_id(data).replace('-', "")
}

/// Loads the service from several callers, by way of the adapter at `front`, and kills a process after enough answers.
/// Returns the answered orders and the unanswered requests.
async fn load_until_killed(
    killed: Killed,
    process: &mut Running,
    front: SocketAddr,
    site: &str,
    history: &History,
) -> (Vec<String>, Vec<Value>) {
    let (sender, mut results) = mpsc::unbounded_channel::<Result<String, Value>>();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let caller = WixCaller::new(front).recording(history);
        let (sender, site) = (sender.clone(), site.to_owned());
        callers.spawn(async move {
            loop {
                let data = order(&site, json!([item("A", 1), item("B", 2)]));
                let call = caller.try_call("increment", data.clone());
                let answer = tokio::time::timeout(Duration::from_secs(10), call).await;
                let answer = answer.expect("a call is answered, or its connection breaks");
                let result = match answer.map(|answer| answer.status) {
                    Ok(200) => Ok(order_digits(&data)),
                    Ok(503) => Err(data),
                    Ok(other) => panic!("an order is answered with 200 or 503, not with {other}"),
                    Err(_) if killed == Killed::Adapter => Err(data),
                    Err(error) => panic!("the adapter answers although its server was killed: {error}"),
                };
                let stop = result.is_err();
                if sender.send(result).is_err() || stop {
                    break;
                }
            }
        });
    }
    drop(sender);
    let (mut answered, mut unanswered, mut is_killed) = (Vec::new(), Vec::new(), false);
    while let Some(result) = results.recv().await {
        match result {
            Ok(order_id) => answered.push(order_id),
            Err(data) => unanswered.push(data),
        }
        if !is_killed && answered.len() >= ANSWERS_BEFORE_A_KILL {
            process.kill();
            is_killed = true;
        }
    }
    callers.join_all().await;
    assert!(!unanswered.is_empty(), "no request was under way when the process was killed");
    (answered, unanswered)
}
