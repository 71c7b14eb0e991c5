//! Many callers at the same time, on one server and on two. All calls are recorded, and have to be explained by the
//! model.

use futures_util::future::join_all;
use inventory_tests::history::{History, RecordedGrpc};
use inventory_tests::on_both;
use inventory_tests::programs::{adapter, grpc_server};
use inventory_tests::tokens::channel_to;
use inventory_tests::wix_caller::{WixCaller, item, order};
use inventory_tests::world::{Backend, Database, World};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use uuid::Uuid;

on_both!(
    a_thousand_orders_get_the_last_hundred_pieces_once,
    replays_under_load_change_nothing,
    orders_with_items_in_opposite_order_do_not_deadlock,
);

/// Calls in flight at most.
const IN_FLIGHT: usize = 200;

/// Sends all orders at once, over all callers in turn. Returns the status of each answer.
async fn send_all(callers: &[WixCaller], orders: Vec<(&str, Value)>) -> Vec<u16> {
    let gate = Semaphore::new(IN_FLIGHT);
    let send = |(index, (method, data)): (usize, (&'static str, Value))| {
        let (caller, gate) = (callers[index % callers.len()].clone(), &gate);
        async move {
            let _open = gate.acquire().await.expect("the semaphore is never closed");
            caller.call(method, data).await.status
        }
    };
    let orders =
        orders.into_iter().map(|(method, data)| (if method == "decrement" { "decrement" } else { "increment" }, data));
    join_all(orders.enumerate().map(send)).await
}

fn count(statuses: &[u16], status: u16) -> usize {
    statuses.iter().filter(|&&one| one == status).count()
}

async fn a_thousand_orders_get_the_last_hundred_pieces_once(world: World) {
    let world = world.recording();
    world.set(&[("A", 100)]).await;
    let orders = (0..1_000).map(|_| ("decrement", order(&world.site, json!([item("A", 1)])))).collect();
    let statuses = while_reading(&world, send_all(std::slice::from_ref(&world.wix), orders)).await;
    assert_eq!((count(&statuses, 200), count(&statuses, 428)), (100, 900));
    assert_eq!(world.level("A").await, 0);
    world.check().await;
}

async fn replays_under_load_change_nothing(world: World) {
    let world = world.recording();
    world.set(&[("A", 1_000)]).await;
    let distinct: Vec<Value> = (0..100).map(|_| order(&world.site, json!([item("A", 1)]))).collect();
    let orders = (0..1_000).map(|index| ("decrement", distinct[index % 100].clone())).collect();
    let statuses = while_reading(&world, send_all(std::slice::from_ref(&world.wix), orders)).await;
    assert_eq!(count(&statuses, 200), 1_000);
    assert_eq!(world.level("A").await, 900);
    assert_eq!(world.entries().await.len(), 101);
    world.check().await;
}

async fn orders_with_items_in_opposite_order_do_not_deadlock(world: World) {
    let world = world.recording();
    world.set(&[("A", 500), ("B", 500)]).await;
    let orders = (0..400).map(|index| {
        let items =
            if index % 2 == 0 { json!([item("A", 1), item("B", 1)]) } else { json!([item("B", 1), item("A", 1)]) };
        ("decrement", order(&world.site, items))
    });
    assert_eq!(count(&send_all(std::slice::from_ref(&world.wix), orders.collect()).await, 200), 400);
    assert_eq!((world.level("A").await, world.level("B").await), (100, 100));
    world.check().await;
}

/// Reads a level again and again until `work` is done.
async fn while_reading<T>(world: &World, work: impl Future<Output = T>) -> T {
    let read = async {
        loop {
            world.level("A").await;
        }
    };
    tokio::select! {
        done = work => done,
        () = read => unreachable!("it reads for ever"),
    }
}

/// Two server processes on one Postgres, each behind an adapter process of its own.
#[tokio::test(flavor = "multi_thread")]
async fn two_servers_sell_the_last_hundred_pieces_once() {
    let database = Database::fresh(Backend::Postgres);
    let servers = [grpc_server(&database.text), grpc_server(&database.text)];
    let adapters = servers.each_ref().map(|server| adapter(server.addresses[0]));
    let history = History::default();
    let callers = adapters.each_ref().map(|adapter| WixCaller::new(adapter.addresses[0]).recording(&history));
    let sites: [String; 2] = [Uuid::new_v4().to_string(), Uuid::new_v4().to_string()];
    for site in &sites {
        assert_eq!(callers[0].call("increment", order(site, json!([item("A", 100)]))).await.status, 200);
    }
    // Each order is sent twice, once to each server. The second call is a replay on either server.
    let orders: Vec<(&str, Value)> = (0..500)
        .flat_map(|index| {
            let data = order(&sites[index % 2], json!([item("A", 1)]));
            [("decrement", data.clone()), ("decrement", data)]
        })
        .collect();
    let statuses = send_all(&callers, orders).await;
    assert_eq!((count(&statuses, 200), count(&statuses, 428)), (400, 600));
    for site in &sites {
        let answer = callers[1].call("decrement", order(site, json!([item("A", 1)]))).await;
        assert_eq!(answer.error_data("shortages")[0]["available"], 0);
    }
    RecordedGrpc::new(&history, channel_to(servers[1].addresses[0])).check().await;
}
