//! The database or the gRPC server is away for a while. Wix gets 503 in the meantime, never 428; no order is lost or
//! applied twice.

use std::time::Duration;

use axum::http::Method;
use inventory_core::store::{Open, Store};
use inventory_grpc::server::{self, Options};
use inventory_tests::books;
use inventory_tests::chaos::Link;
use inventory_tests::history::{History, RecordedGrpc};
use inventory_tests::programs::{Running, adapter_of};
use inventory_tests::tokens::channel_to;
use inventory_tests::wix_caller::{WixCaller, item, order};
use inventory_tests::world::{Backend, Database, World, start_adapter, start_grpc};
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_database_loses_no_order() {
    let (world, link) = World::behind_link().await;
    world.set(&[("A", 10)]).await;

    for round in 0..3 {
        let before = order(&world.site, json!([item("A", 1)]));
        assert_eq!(world.wix.call("decrement", before.clone()).await.status, 200, "round {round}");
        link.cut();
        let during: Vec<Value> = (0..3).map(|_| order(&world.site, json!([item("A", 1)]))).collect();
        for data in &during {
            let answer = world.wix.call("decrement", data.clone()).await;
            assert_eq!((answer.status, answer.retry_after.as_deref()), (503, Some("1")), "round {round}");
        }
        // An order for too much is not refused either, because the server cannot read the level.
        let too_much = order(&world.site, json!([item("A", 99)]));
        assert_eq!(world.wix.call("decrement", too_much).await.status, 503);
        link.restore();
        assert_eq!(world.wix.until_served("decrement", &before).await.status, 200, "a replay, in round {round}");
        assert_eq!(world.wix.until_served("decrement", &during[0]).await.status, 200);
    }
    assert_eq!(world.level("A").await, 4, "each round takes one piece before the outage and one after it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_refuses_no_order_and_can_be_read() {
    let world = World::start(Backend::Postgres).await;
    world.set(&[("A", 5)]).await;
    world.database.set_read_only(true);
    let data = order(&world.site, json!([item("A", 1)]));
    assert_eq!(world.wix.call("decrement", data.clone()).await.status, 503);
    let too_much = order(&world.site, json!([item("A", 99)]));
    assert_eq!(
        world.wix.call("decrement", too_much).await.status,
        503,
        "the server cannot lock the level, so it must not refuse"
    );
    assert_eq!(world.level("A").await, 5);
    world.database.set_read_only(false);
    assert_eq!(world.wix.until_served("decrement", &data).await.status, 200);
    assert_eq!(world.level("A").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_under_load_apply_no_order_twice() {
    let (world, link) = World::behind_link().await;
    let world = world.recording();
    world.set(&[("A", 100_000)]).await;
    let orders: Vec<Value> = (0..2_000).map(|_| order(&world.site, json!([item("A", 1)]))).collect();
    let cutter = async {
        for _ in 0..20 {
            tokio::time::timeout(Duration::from_millis(30), std::future::pending::<()>()).await.ok();
            link.cut();
            link.restore();
        }
    };
    let send = async {
        for burst in orders.chunks(50) {
            let sent =
                futures_util::future::join_all(burst.iter().map(|data| world.wix.until_served("decrement", data)))
                    .await;
            assert!(sent.iter().all(|answer| answer.status == 200));
        }
    };
    tokio::join!(cutter, send);
    assert_eq!(world.level("A").await, 98_000, "each order is applied once, although commits were interrupted");
    world.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_grpc_server_loses_no_order() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        let stop = CancellationToken::new();
        let link = Link::to(start_grpc(database.url.clone(), stop.clone()).await).await;
        let wix = WixCaller::new(start_adapter(link.address, stop.clone()).await);
        let site = Uuid::new_v4().to_string();
        let give = |quantity| order(&site, json!([item("A", quantity)]));
        assert_eq!(wix.call("increment", give(5)).await.status, 200);
        link.cut();
        let ready = wix.send(Method::GET, "/readyz", Vec::new()).await.expect("the adapter answers");
        assert_eq!(ready.status, 503);
        let alive = wix.send(Method::GET, "/healthz", Vec::new()).await.expect("the adapter answers");
        assert_eq!(alive.status, 200);
        let lost = give(1);
        assert_eq!(wix.call("decrement", lost.clone()).await.status, 503);
        link.restore();
        assert_eq!(wix.until_served("decrement", &lost).await.status, 200);
        stop.cancel();
    }
}

/// Waits until the adapter has sent a call again, because no server took it. `admin` is its port of metrics.
async fn until_retried(admin: &WixCaller) {
    let line = r#"wix_upstream_retries_total{code="UNAVAILABLE"} "#;
    loop {
        let text = admin.metrics().await;
        let retried = text.lines().find_map(|own| own.strip_prefix(line)?.parse::<u64>().ok());
        if retried.expect("the metric is there") > 0 {
            return;
        }
    }
}

/// The adapter opens a stream with the first call, whether or not anybody listens.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_comes_before_the_server_listens_is_applied_once() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        let store = Store::open(database.url.clone(), Open::Migrate).expect("the store opens");
        // The port is taken, and connections to it are refused until somebody listens.
        let socket = TcpSocket::new_v4().expect("there are sockets");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port is free");
        let upstream = socket.local_addr().expect("the socket has an address");
        let mut command = adapter_of(&[upstream]);
        command.args(["--admin-listen", "127.0.0.1:0"]);
        let front = Running::start(command, 2);
        let admin = WixCaller::new(front.addresses[1]);
        let (history, stop) = (History::default(), CancellationToken::new());
        let wix = WixCaller::new(front.addresses[0]).recording(&history);
        assert_eq!(wix.get("/healthz").await, 200, "once it answers, it has made all of its metrics");

        let mut data = order(&Uuid::new_v4().to_string(), json!([item("A", 1)]));
        data["request"]["restrictInventoryValue"] = json!(false);
        let listen = async {
            until_retried(&admin).await;
            let listener = socket.listen(1_024).expect("the socket can listen");
            tokio::spawn(server::serve(listener, store, Options::default(), stop.clone()));
        };
        let (answer, ()) = tokio::join!(wix.call("decrement", data.clone()), listen);
        assert!([200, 503].contains(&answer.status), "{answer:?}");
        assert_eq!(
            wix.until_served("decrement", &data).await.status,
            200,
            "a replay, or the first call that the server gets"
        );
        let changes = books::count(&database.url, "SELECT count(*) AS wrong FROM change");
        assert_eq!(changes, 1, "the order is applied once");
        RecordedGrpc::new(&history, channel_to(upstream)).check().await;
        stop.cancel();
    }
}
