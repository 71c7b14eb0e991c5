//! `WatchEntries` delivers every entry once, in order and without a gap: from the start of the ledger, after a server
//! was killed, and while two servers write to the same site.

use std::time::Duration;

use futures_util::future::join_all;
use inventory_proto::v1;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::errors::field_of;
use inventory_tests::on_both;
use inventory_tests::programs::grpc_server;
use inventory_tests::requests::{adjust, all_pages, guid};
use inventory_tests::tokens::channel_to;
use inventory_tests::world::{Backend, Database, World, start_grpc};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::Channel;

use crate::attacks::others;

on_both!(a_watch_starts_anywhere_and_continues_live, a_watch_sees_the_entries_of_both_servers);

/// No step here takes this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Watches a site from after an entry.
async fn watch(channel: &Channel, site: &str, after_sequence: i64) -> tonic::Streaming<v1::WatchEntriesResponse> {
    let request = v1::WatchEntriesRequest { site_id: site.to_owned(), after_sequence };
    LedgerServiceClient::new(channel.clone()).watch_entries(request).await.expect("the watch starts").into_inner()
}

/// Appends what a watch delivers to `entries`, until the entry `last` is there or the stream ends.
async fn read_to(stream: &mut tonic::Streaming<v1::WatchEntriesResponse>, last: i64, entries: &mut Vec<v1::Entry>) {
    let read = async {
        while entries.last().map_or(0, |entry| entry.sequence) < last {
            let Ok(Some(message)) = stream.message().await else { return };
            entries.extend(message.entries);
            assert_eq!(message.sequence, entries.last().map_or(message.sequence, |entry| entry.sequence));
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the entries arrive in time");
}

/// The ledger of a site, as ListEntries returns it.
async fn list_entries(channel: &Channel, site: &str) -> Vec<v1::Entry> {
    let page = async |page_token| {
        let site_id = site.to_owned();
        let request = v1::ListEntriesRequest { site_id, page_size: 1_000, page_token, ..Default::default() };
        let mut client = LedgerServiceClient::new(channel.clone());
        let page = client.list_entries(request).await.expect("entries can be read").into_inner();
        (page.entries, page.next_page_token)
    };
    all_pages(page).await
}

/// Watchers that an idle server must be able to hold.
const WATCHERS: usize = 1_000;
/// The most memory that all watchers together may take.
const COST_MEGABYTES_MAX: f64 = 60.0;
/// How often as many come, after those before them have left.
const ROUNDS: usize = 8;
/// The most that the last ones may take. The allocator returns memory when it likes, and on a busy machine it takes
/// twice as much. If only half of what the watchers of each round took were lost, it would be more.
const LAST_MEGABYTES_MAX: f64 = 100.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_watchers_take_little_memory_and_no_threads() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        let server = grpc_server(&database.text);
        let site = guid();
        let channels: Vec<Channel> = (0..10).map(|_| channel_to(server.addresses[0])).collect();
        for channel in &channels {
            StockServiceClient::new(channel.clone()).adjust_stock(adjust(&site, &[("A", 1)])).await.expect("applied");
        }
        let before = server.resident_megabytes();
        // The calls above started the writers. A watch begins with a read, which has a thread; on a busy machine the
        // threads of reads before it may still be ending. Nobody who waits has one.
        let threads_max = server.threads() + WATCHERS / 10;
        let mut costs = Vec::new();
        for round in 0..ROUNDS {
            let sequence = (channels.len() + round) as i64;
            let mut streams = Vec::new();
            for index in 0..WATCHERS {
                // Half of the watchers watch a site of their own.
                let own = guid();
                let (site, after) = if index % 2 == 0 { (&site, sequence) } else { (&own, 0) };
                let mut stream = watch(&channels[index % channels.len()], site, after).await;
                let first = stream.message().await.expect("a message").expect("one");
                assert_eq!((first.entries.len(), first.sequence), (0, after));
                streams.push(stream);
            }
            costs.push(server.resident_megabytes() - before);
            let threads = server.threads();
            assert!(threads <= threads_max, "{backend:?}: {threads} threads, at most {threads_max}");
            // An entry wakes all watchers of its site.
            StockServiceClient::new(channels[0].clone())
                .adjust_stock(adjust(&site, &[("A", 1)]))
                .await
                .expect("applied");
            for stream in streams.iter_mut().step_by(2) {
                let mut received = Vec::new();
                read_to(stream, sequence + 1, &mut received).await;
                assert_eq!(received.len(), 1);
            }
        }
        println!("{backend:?}: {costs:.1?} MB for {WATCHERS} watchers");
        let (first, last) = (costs[0], costs[ROUNDS - 1]);
        assert!(first < COST_MEGABYTES_MAX, "{backend:?}: {WATCHERS} watchers take {first:.1} MB");
        assert!(last < LAST_MEGABYTES_MAX, "{backend:?}: as many watchers take {costs:.1?} MB");
        others::WATCHERS.bounds(&server);
    }
}

async fn a_watch_starts_anywhere_and_continues_live(world: World) {
    let channel = channel_to(world.grpc);
    // The site does not exist yet. The first message shows that the watch has started.
    let mut early = watch(&channel, &world.site, 0).await;
    let first = early.message().await.expect("a message").expect("one");
    assert_eq!((first.entries.len(), first.sequence), (0, 0));
    world.set(&[("A", 1), ("B", 2), ("C", 3)]).await;
    let mut received = Vec::new();
    read_to(&mut early, 3, &mut received).await;
    let mut late = watch(&channel, &world.site, 2).await;
    world.set(&[("A", 9)]).await;
    read_to(&mut early, 4, &mut received).await;
    assert_eq!(received, world.entries().await);
    let mut rest = Vec::new();
    read_to(&mut late, 4, &mut rest).await;
    assert_eq!(rest, received[2..]);
    let request = v1::WatchEntriesRequest { site_id: world.site.clone(), after_sequence: 5 };
    let mut beyond = world.ledger().watch_entries(request).await.expect("the watch starts").into_inner();
    let status = beyond.message().await.expect_err("there is no such entry yet");
    assert_eq!(field_of(&status), "after_sequence");
}

async fn a_watch_sees_the_entries_of_both_servers(world: World) {
    let stop = CancellationToken::new();
    let second = start_grpc(world.database.url.clone(), stop.clone()).await;
    let channels = [channel_to(world.grpc), channel_to(second)];
    let mut streams = [watch(&channels[0], &world.site, 0).await, watch(&channels[1], &world.site, 0).await];
    let load = |caller: usize| {
        let (mut client, site) = (StockServiceClient::new(channels[caller % 2].clone()), world.site.clone());
        async move {
            for round in 0..25 {
                let deltas = [("A", 1), ("B", 1), ("C", 1)];
                client.adjust_stock(adjust(&site, &deltas[..1 + (caller + round) % 3])).await.expect("applied");
            }
        }
    };
    join_all((0..8).map(load)).await;
    let expected = list_entries(&channels[1], &world.site).await;
    assert_eq!(expected.last().map(|entry| entry.sequence), Some(expected.len() as i64));
    for stream in &mut streams {
        let mut received = Vec::new();
        read_to(stream, expected.len() as i64, &mut received).await;
        assert_eq!(received, expected);
    }
    // A server that stops ends its watches with an error.
    stop.cancel();
    let ended = tokio::time::timeout(PATIENCE, async {
        loop {
            match streams[1].message().await {
                Ok(Some(_)) => {}
                ended => return ended,
            }
        }
    });
    assert_eq!(
        ended.await.expect("the watch ends in time").expect_err("the server ended it").code(),
        Code::Unavailable
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_continues_after_the_server_was_killed() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        let site = guid();
        let mut received = Vec::new();
        for _ in 0..3 {
            let mut server = grpc_server(&database.text);
            let channel = channel_to(server.addresses[0]);
            let mut stream =
                watch(&channel, &site, received.last().map_or(0, |entry: &v1::Entry| entry.sequence)).await;
            let load = tokio::spawn({
                let (mut client, site) = (StockServiceClient::new(channel.clone()), site.clone());
                async move { while client.adjust_stock(adjust(&site, &[("A", 1), ("B", 1)])).await.is_ok() {} }
            });
            let enough = received.len() as i64 + 100;
            read_to(&mut stream, enough, &mut received).await;
            server.kill();
            load.await.expect("no panic");
            // Messages that were under way when the server was killed may still arrive.
            read_to(&mut stream, i64::MAX, &mut received).await;
        }
        let server = grpc_server(&database.text);
        let channel = channel_to(server.addresses[0]);
        let expected = list_entries(&channel, &site).await;
        let mut stream = watch(&channel, &site, received.last().map_or(0, |entry| entry.sequence)).await;
        read_to(&mut stream, expected.len() as i64, &mut received).await;
        assert_eq!(received, expected, "{backend:?}");
    }
}
