//! `WatchEntries`: every entry once, in order, without a gap; from zero, through a kill, and through two
//! servers that write to the same site.

use std::time::Duration;

use futures_util::future::join_all;
use inventory_core::model::limits;
use inventory_proto::v1;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::on_both;
use inventory_tests::programs::grpc_server;
use inventory_tests::world::{Backend, Database, World, reference, start_grpc};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt;
use uuid::Uuid;

on_both!(a_watch_begins_anywhere_and_goes_on_live, two_servers_are_followed_as_one);

/// Nothing here takes this long.
const PATIENCE: Duration = Duration::from_secs(30);

fn adjust(site: &str, ids: &[&str]) -> v1::AdjustStockRequest {
    let item = |id: &&str| v1::AdjustStockItem { unit: reference(id), delta: 1, ..Default::default() };
    let (items, request_id) = (ids.iter().map(item).collect(), Uuid::new_v4().to_string());
    v1::AdjustStockRequest { site_id: site.to_owned(), items, request_id, ..Default::default() }
}

async fn watch(channel: &Channel, site: &str, after_sequence: i64) -> tonic::Streaming<v1::WatchEntriesResponse> {
    let request = v1::WatchEntriesRequest { site_id: site.to_owned(), after_sequence };
    LedgerServiceClient::new(channel.clone()).watch_entries(request).await.expect("it begins").into_inner()
}

/// Reads until the entry `last` has been told; then all that was told, if the stream lasts so long.
async fn read_to(stream: &mut tonic::Streaming<v1::WatchEntriesResponse>, last: i64, told: &mut Vec<v1::Entry>) {
    let read = async {
        while told.last().map_or(0, |entry| entry.sequence) < last {
            let Ok(Some(message)) = stream.message().await else { return };
            told.extend(message.entries);
            assert_eq!(message.sequence, told.last().map_or(message.sequence, |entry| entry.sequence));
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("entries arrive");
}

async fn listed(channel: &Channel, site: &str) -> Vec<v1::Entry> {
    let mut client = LedgerServiceClient::new(channel.clone());
    let (mut entries, mut page_token) = (Vec::new(), String::new());
    loop {
        let site_id = site.to_owned();
        let request = v1::ListEntriesRequest { site_id, page_size: 1_000, page_token, ..Default::default() };
        let page = client.list_entries(request).await.expect("a page").into_inner();
        entries.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return entries;
        }
    }
}

fn channel(address: std::net::SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).expect("a URL").connect_lazy()
}

/// How many watchers an idle server must carry, what they may cost in all, and what may stay of that afterwards.
const WATCHERS: usize = 1_000;
const COST_MEGABYTES_MAX: f64 = 60.0;
const LEFT_MEGABYTES_MAX: f64 = 15.0;

#[tokio::test(flavor = "multi_thread")]
async fn idle_watchers_are_cheap() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        let server = grpc_server(&database.text);
        let site = Uuid::new_v4().to_string();
        let channels: Vec<Channel> = (0..10).map(|_| channel(server.addresses[0])).collect();
        for channel in &channels {
            StockServiceClient::new(channel.clone()).adjust_stock(adjust(&site, &["A"])).await.expect("it is done");
        }
        // As many at once as there are readers' connections, so that all threads for reading exist.
        let warm =
            (0..4 * limits::READERS_MAX as usize).map(|index| watch(&channels[index % channels.len()], &site, 0));
        for mut stream in join_all(warm).await {
            stream.message().await.expect("a message");
        }
        let before = (server.resident_megabytes(), server.threads());
        let mut streams = Vec::new();
        for index in 0..WATCHERS {
            // Half of them watch sites of their own.
            let own = Uuid::new_v4().to_string();
            let (site, after) = if index % 2 == 0 { (&site, channels.len() as i64) } else { (&own, 0) };
            let mut stream = watch(&channels[index % channels.len()], site, after).await;
            let first = stream.message().await.expect("a message").expect("one");
            assert_eq!((first.entries.len(), first.sequence), (0, after));
            streams.push(stream);
        }
        let cost = server.resident_megabytes() - before.0;
        println!("{backend:?}: {cost:.1} MB for {WATCHERS} watchers");
        assert!(cost < COST_MEGABYTES_MAX, "{backend:?}: {WATCHERS} watchers cost {cost:.1} MB");
        assert!(server.threads() <= before.1, "{backend:?}: {} threads, {} before", server.threads(), before.1);
        // They are awake when something happens.
        StockServiceClient::new(channels[0].clone()).adjust_stock(adjust(&site, &["A"])).await.expect("it is done");
        for stream in streams.iter_mut().step_by(2) {
            let mut told = Vec::new();
            read_to(stream, channels.len() as i64 + 1, &mut told).await;
            assert_eq!(told.len(), 1);
        }
        drop((streams, channels));
        // The allocator gives memory back when it is used, so a few more calls are made.
        let mut client = StockServiceClient::new(channel(server.addresses[0]));
        let returned = tokio::time::timeout(PATIENCE, async {
            while server.resident_megabytes() - before.0 > LEFT_MEGABYTES_MAX {
                client.adjust_stock(adjust(&site, &["A"])).await.expect("it is done");
            }
        });
        let left = || server.resident_megabytes() - before.0;
        returned.await.unwrap_or_else(|_| panic!("{backend:?}: {:.1} MB did not come back", left()));
    }
}

async fn a_watch_begins_anywhere_and_goes_on_live(world: World) {
    let channel = channel(world.grpc);
    // Of a site that is not there yet: the first message tells that the watch has begun.
    let mut early = watch(&channel, &world.site, 0).await;
    let first = early.message().await.expect("a message").expect("one");
    assert_eq!((first.entries.len(), first.sequence), (0, 0));
    world.set(&[("A", 1), ("B", 2), ("C", 3)]).await;
    let mut told = Vec::new();
    read_to(&mut early, 3, &mut told).await;
    let mut late = watch(&channel, &world.site, 2).await;
    world.set(&[("A", 9)]).await;
    read_to(&mut early, 4, &mut told).await;
    assert_eq!(told, world.entries().await);
    let mut rest = Vec::new();
    read_to(&mut late, 4, &mut rest).await;
    assert_eq!(rest, told[2..]);
    let request = v1::WatchEntriesRequest { site_id: world.site.clone(), after_sequence: 5 };
    let mut beyond = world.ledger().watch_entries(request).await.expect("it begins").into_inner();
    let status = beyond.message().await.expect_err("there is no such entry yet");
    assert_eq!(status.get_details_bad_request().expect("a field").field_violations[0].field, "after_sequence");
}

async fn two_servers_are_followed_as_one(world: World) {
    let stop = CancellationToken::new();
    let second = start_grpc(world.database.url.clone(), stop.clone()).await;
    let channels = [channel(world.grpc), channel(second)];
    let mut streams = [watch(&channels[0], &world.site, 0).await, watch(&channels[1], &world.site, 0).await];
    let load = |caller: usize| {
        let (mut client, site) = (StockServiceClient::new(channels[caller % 2].clone()), world.site.clone());
        async move {
            for round in 0..25 {
                let ids = ["A", "B", "C"];
                client.adjust_stock(adjust(&site, &ids[..1 + (caller + round) % 3])).await.expect("it is done");
            }
        }
    };
    join_all((0..8).map(load)).await;
    let expected = listed(&channels[1], &world.site).await;
    assert_eq!(expected.last().map(|entry| entry.sequence), Some(expected.len() as i64));
    for stream in &mut streams {
        let mut told = Vec::new();
        read_to(stream, expected.len() as i64, &mut told).await;
        assert_eq!(told, expected);
    }
    // A server that stops ends its watches, and says so.
    stop.cancel();
    let ended = tokio::time::timeout(PATIENCE, async {
        loop {
            match streams[1].message().await {
                Ok(Some(_)) => {}
                ended => return ended,
            }
        }
    });
    assert_eq!(ended.await.expect("it ends").expect_err("by its server").code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_after_a_kill() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        let site = Uuid::new_v4().to_string();
        let mut told = Vec::new();
        for _ in 0..3 {
            let mut server = grpc_server(&database.text);
            let channel = channel(server.addresses[0]);
            let mut stream = watch(&channel, &site, told.last().map_or(0, |entry: &v1::Entry| entry.sequence)).await;
            let load = tokio::spawn({
                let (mut client, site) = (StockServiceClient::new(channel.clone()), site.clone());
                async move { while client.adjust_stock(adjust(&site, &["A", "B"])).await.is_ok() {} }
            });
            let enough = told.len() as i64 + 100;
            read_to(&mut stream, enough, &mut told).await;
            server.kill();
            load.await.expect("no panic");
            // What was under way when the server died may still come.
            read_to(&mut stream, i64::MAX, &mut told).await;
        }
        let server = grpc_server(&database.text);
        let channel = channel(server.addresses[0]);
        let expected = listed(&channel, &site).await;
        let mut stream = watch(&channel, &site, told.last().map_or(0, |entry| entry.sequence)).await;
        read_to(&mut stream, expected.len() as i64, &mut told).await;
        assert_eq!(told, expected, "{backend:?}");
    }
}
