//! A server is killed with SIGKILL under load. Every answered order is in the ledger once, and no order is there by
//! half. All calls are recorded, and have to be explained by the model.

use std::collections::HashSet;
use std::time::Duration;

use inventory_tests::books;
use inventory_tests::history::{History, RecordedGrpc};
use inventory_tests::programs::{Running, adapter, grpc_server};
use inventory_tests::tokens::channel_to;
use inventory_tests::wix_caller::{WixCaller, item, order, order_id};
use inventory_tests::world::{Backend, Database};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn orders_survive_kill_9_on_sqlite() {
    run(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_survive_kill_9_on_postgres() {
    run(Backend::Postgres).await;
}

const CALLERS: usize = 16;
const KILLS: usize = 3;
const ANSWERS_BEFORE_A_KILL: usize = 150;

async fn run(backend: Backend) {
    let database = Database::fresh(backend);
    let site = Uuid::new_v4().to_string();
    let history = History::default();
    let mut answered: Vec<String> = Vec::new();
    let mut unanswered: Vec<Value> = Vec::new();
    for _ in 0..KILLS {
        let mut server = grpc_server(&database.text);
        let front = adapter(server.addresses[0]);
        let (done, lost) = load_until_killed(&mut server, &front, &site, &history).await;
        answered.extend(done);
        unanswered.extend(lost);
        // Nothing was repaired after the kill. The books must be right already.
        books::prove(&database.url);
    }
    assert!(answered.len() >= KILLS * ANSWERS_BEFORE_A_KILL);

    let server = grpc_server(&database.text);
    let front = adapter(server.addresses[0]);
    let caller = WixCaller::new(front.addresses[0]).recording(&history);
    // The outcome of the unanswered requests is unknown. A replay finds it out, and applies those that were lost.
    for data in &unanswered {
        assert_eq!(caller.call("increment", data.clone()).await.status, 200, "a replay after the kill");
    }
    let text = match backend {
        Backend::Sqlite => "lower(hex(order_id))",
        Backend::Postgres => "replace(CAST(order_id AS text), '-', '')",
    };
    let recorded = books::lines(&database.url, &format!("SELECT {text} AS line FROM change"));
    let sent: HashSet<String> = unanswered.iter().map(order_digits).chain(answered.iter().cloned()).collect();
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

/// Loads the server from several callers and kills it after enough answers. Returns the answered orders and the
/// unanswered requests.
async fn load_until_killed(
    server: &mut Running,
    front: &Running,
    site: &str,
    history: &History,
) -> (Vec<String>, Vec<Value>) {
    let (sender, mut results) = mpsc::unbounded_channel::<Result<String, Value>>();
    for _ in 0..CALLERS {
        let caller = WixCaller::new(front.addresses[0]).recording(history);
        let (sender, site) = (sender.clone(), site.to_owned());
        tokio::spawn(async move {
            loop {
                let data = order(&site, json!([item("A", 1), item("B", 2)]));
                let answer =
                    tokio::time::timeout(Duration::from_secs(10), caller.call("increment", data.clone())).await;
                let answer = answer.expect("the adapter answers although its server was killed");
                let result = match answer.status {
                    200 => Ok(order_digits(&data)),
                    503 => Err(data),
                    other => panic!("an order is answered with 200 or 503, not with {other}"),
                };
                let stop = result.is_err();
                if sender.send(result).is_err() || stop {
                    break;
                }
            }
        });
    }
    drop(sender);
    let (mut answered, mut unanswered, mut killed) = (Vec::new(), Vec::new(), false);
    while let Some(result) = results.recv().await {
        match result {
            Ok(order_id) => answered.push(order_id),
            Err(data) => unanswered.push(data),
        }
        if !killed && answered.len() >= ANSWERS_BEFORE_A_KILL {
            server.kill();
            killed = true;
        }
    }
    assert!(!unanswered.is_empty(), "no request was under way when the server was killed");
    (answered, unanswered)
}
