//! kill -9 in mid-load: every order that was answered is there once, and no half of any other.

use std::collections::HashSet;
use std::time::Duration;

use inventory_tests::books;
use inventory_tests::programs::{Running, adapter, grpc_server};
use inventory_tests::wix_caller::{WixCaller, item, order};
use inventory_tests::world::{Backend, Database};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    run(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    run(Backend::Postgres).await;
}

const CALLERS: usize = 16;
const KILLS: usize = 3;
const ANSWERS_BEFORE_A_KILL: usize = 150;

async fn run(backend: Backend) {
    let database = Database::fresh(backend);
    let site = Uuid::new_v4().to_string();
    let mut answered: Vec<String> = Vec::new();
    let mut unanswered: Vec<Value> = Vec::new();
    for _ in 0..KILLS {
        let mut server = grpc_server(&database.text);
        let front = adapter(server.addresses[0]);
        let (done, lost) = load_until_killed(&mut server, &front, &site).await;
        answered.extend(done);
        unanswered.extend(lost);
        // The file or the database is as the kernel left it, and its books are right already.
        books::prove(&database.url);
    }
    assert!(answered.len() >= KILLS * ANSWERS_BEFORE_A_KILL);

    let server = grpc_server(&database.text);
    let front = adapter(server.addresses[0]);
    let caller = WixCaller::new(front.addresses[0]);
    // Asking again under the same key tells what became of the others, and makes each happen once.
    for data in &unanswered {
        assert_eq!(caller.call("increment", data.clone()).await.status, 200);
    }
    let text = match backend {
        Backend::Sqlite => "lower(hex(order_id))",
        Backend::Postgres => "replace(CAST(order_id AS text), '-', '')",
    };
    let entered = books::lines(&database.url, &format!("SELECT {text} AS line FROM change"));
    let asked: HashSet<String> = unanswered.iter().map(order_id_of).chain(answered.iter().cloned()).collect();
    assert_eq!(entered.len(), asked.len(), "each order is entered once");
    assert_eq!(entered.into_iter().collect::<HashSet<_>>(), asked);
    let pairs =
        books::count(&database.url, "SELECT count(*) AS wrong FROM change WHERE last_sequence <> first_sequence + 1");
    assert_eq!(pairs, 0, "both items of every order, or neither");
}

fn order_id_of(data: &Value) -> String {
    data["request"]["orderId"].as_str().expect("text").replace('-', "")
}

/// Loads the server from several callers, kills it once enough was answered, and returns the
/// orders that were answered and the requests that were not.
async fn load_until_killed(server: &mut Running, front: &Running, site: &str) -> (Vec<String>, Vec<Value>) {
    let (tell, mut told) = mpsc::unbounded_channel::<Result<String, Value>>();
    for _ in 0..CALLERS {
        let (caller, tell, site) = (WixCaller::new(front.addresses[0]), tell.clone(), site.to_owned());
        tokio::spawn(async move {
            loop {
                let data = order(&site, json!([item("A", 1), item("B", 2)]));
                let answer =
                    tokio::time::timeout(Duration::from_secs(10), caller.call("increment", data.clone())).await;
                let answer = answer.expect("the adapter answers, whatever became of its server");
                let result = match answer.status {
                    200 => Ok(order_id_of(&data)),
                    503 => Err(data),
                    other => panic!("neither done nor unknown: {other}"),
                };
                let stop = result.is_err();
                if tell.send(result).is_err() || stop {
                    break;
                }
            }
        });
    }
    drop(tell);
    let (mut answered, mut unanswered, mut killed) = (Vec::new(), Vec::new(), false);
    while let Some(result) = told.recv().await {
        match result {
            Ok(order_id) => answered.push(order_id),
            Err(data) => unanswered.push(data),
        }
        if !killed && answered.len() >= ANSWERS_BEFORE_A_KILL {
            server.kill();
            killed = true;
        }
    }
    assert!(!unanswered.is_empty(), "the kill came in mid-load");
    (answered, unanswered)
}
