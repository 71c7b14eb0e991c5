//! What stands behind the adapter goes away and comes back: 503 in between, never 428, and
//! nothing is lost or done twice.

use std::net::SocketAddr;
use std::time::Duration;

use inventory_core::store::DatabaseUrl;
use inventory_tests::books;
use inventory_tests::chaos::Link;
use inventory_tests::wix_caller::WixCaller;
use inventory_tests::wix_caller::{Answered, item, order};
use inventory_tests::world::{Backend, Database, World, start_adapter, start_grpc};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Asks until the answer is not 503, as Wix or a person would; bounded by the test's patience.
async fn until_served(wix: &WixCaller, data: &Value) -> Answered {
    for _ in 0..100 {
        let answer = wix.call("decrement", data.clone()).await;
        if answer.status != 503 {
            return answer;
        }
    }
    panic!("service did not return");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_goes_away_and_comes_back() {
    let database = Database::fresh(Backend::Postgres);
    let DatabaseUrl::Postgres(url) = &database.url else { unreachable!("asked for Postgres") };
    let server = url.split('@').nth(1).and_then(|rest| rest.split('/').next()).expect("host and port").to_owned();
    let target: SocketAddr = server.parse().expect("an address");
    let link = Link::to(target).await;
    let through: DatabaseUrl = url.replace(&server, &link.address.to_string()).parse().expect("a URL");
    let world = World::over(database, through).await;
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
        // What cannot be taken is not refused either: nobody can know.
        let too_much = order(&world.site, json!([item("A", 99)]));
        assert_eq!(world.wix.call("decrement", too_much).await.status, 503);
        link.restore();
        assert_eq!(until_served(&world.wix, &before).await.status, 200, "a repeat, in round {round}");
        assert_eq!(until_served(&world.wix, &during[0]).await.status, 200);
    }
    assert_eq!(world.level("A").await, 4, "one before each outage, and one that was asked for again after it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_database_is_away_and_still_read() {
    let world = World::start(Backend::Postgres).await;
    world.set(&[("A", 5)]).await;
    let url = world.database.url.clone();
    let name = world.database.text.rsplit('/').next().expect("a URL").to_owned();
    let demote = |on: bool| {
        let demoted = format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = {on}");
        let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE datname = current_database() AND pid <> pg_backend_pid()";
        books::script(&url, &format!("SET TRANSACTION READ WRITE; {demoted}; {ended}"));
    };
    demote(true);
    let data = order(&world.site, json!([item("A", 1)]));
    assert_eq!(world.wix.call("decrement", data.clone()).await.status, 503);
    let too_much = order(&world.site, json!([item("A", 99)]));
    assert_eq!(world.wix.call("decrement", too_much).await.status, 503, "nobody can know");
    assert_eq!(world.level("A").await, 5);
    demote(false);
    assert_eq!(until_served(&world.wix, &data).await.status, 200);
    assert_eq!(world.level("A").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_breaks_under_load_and_nothing_is_done_twice() {
    let database = Database::fresh(Backend::Postgres);
    let DatabaseUrl::Postgres(url) = &database.url else { unreachable!("asked for Postgres") };
    let server = url.split('@').nth(1).and_then(|rest| rest.split('/').next()).expect("host and port").to_owned();
    let link = Link::to(server.parse().expect("an address")).await;
    let through: DatabaseUrl = url.replace(&server, &link.address.to_string()).parse().expect("a URL");
    let world = World::over(database, through).await;
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
            let sent = futures_util::future::join_all(burst.iter().map(|data| until_served(&world.wix, data))).await;
            assert!(sent.iter().all(|answer| answer.status == 200));
        }
    };
    tokio::join!(cutter, send);
    assert_eq!(world.level("A").await, 98_000, "each order once, though commits were cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grpc_server_goes_away_and_comes_back() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        let stop = CancellationToken::new();
        let link = Link::to(start_grpc(database.url.clone(), stop.clone()).await).await;
        let wix = WixCaller::new(start_adapter(link.address, stop.clone()).await);
        let site = Uuid::new_v4().to_string();
        let give = |quantity| order(&site, json!([item("A", quantity)]));
        assert_eq!(wix.call("increment", give(5)).await.status, 200);
        link.cut();
        let ready = wix.send(axum::http::Method::GET, "/readyz", Vec::new()).await.expect("answers");
        assert_eq!(ready.status, 503);
        let alive = wix.send(axum::http::Method::GET, "/healthz", Vec::new()).await.expect("answers");
        assert_eq!(alive.status, 200);
        let lost = give(1);
        assert_eq!(wix.call("decrement", lost.clone()).await.status, 503);
        link.restore();
        assert_eq!(until_served(&wix, &lost).await.status, 200);
        stop.cancel();
    }
}
