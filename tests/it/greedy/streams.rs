//! Streamed answers whose callers do not read: `VerifySite` and `WatchEntries`.

use std::time::Duration;

use futures_util::future::join_all;
use inventory_proto::v1;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::errors::{error, error_of};
use inventory_tests::programs::{Running, grpc_server};
use inventory_tests::raw_http2::calls_without_reading;
use inventory_tests::requests::{guid, set, set_item};
use inventory_tests::world::{Backend, Database};
use prost::Message;
use tonic::transport::Channel;
use tonic::{Code, Response, Status, Streaming};

use super::{endpoint, logging_server, set_long_levels, withstands};
use crate::attacks::others::{UNREAD_VERIFICATIONS, UNREAD_WATCHES};

/// Less than the 30 seconds after which a caller that takes no message loses its connection.
const SOON: Duration = Duration::from_secs(20);

/// A connection on which each stream of messages has room for so many bytes. More room comes only from reading.
async fn with_windows(server: &Running, bytes: u32) -> Channel {
    endpoint(server).initial_stream_window_size(bytes).connect().await.expect("the server is there")
}

/// Begins to verify a site.
async fn verify(channel: &Channel, site_id: &str) -> Result<Streaming<v1::VerifySiteResponse>, Status> {
    let request = v1::VerifySiteRequest { site_id: site_id.to_owned(), repair: false };
    LedgerServiceClient::new(channel.clone()).verify_site(request).await.map(Response::into_inner)
}

/// The call was refused because as many verifications are under way as may be.
fn assert_refused(status: &Status) {
    assert_eq!(error_of(status), error(Code::ResourceExhausted, "TOO_MANY_VERIFICATIONS", ""));
    assert!(status.message().contains("4 verifications are under way"), "{status:?}");
}

/// Begins to verify a site as soon as there is a place.
async fn verify_when_free(channel: &Channel, site_id: &str) -> Streaming<v1::VerifySiteResponse> {
    loop {
        match verify(channel, site_id).await {
            Ok(messages) => return messages,
            Err(status) => assert_refused(&status),
        }
    }
}

/// Reads a verification to its end, which finds so many levels and no difference.
async fn assert_verified(mut messages: Streaming<v1::VerifySiteResponse>, levels: i64) {
    let mut last = v1::VerifySiteResponse::default();
    while let Some(message) = messages.message().await.expect("the verification goes on") {
        last = message;
    }
    assert_eq!((last.done, last.levels, last.entries, last.difference_count), (true, levels, levels, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn few_verifications_run_at_a_time_and_callers_that_do_not_read_lose_their_places() {
    const CALLERS: usize = 200;
    const PLACES: usize = 4;
    let database = Database::fresh(Backend::Sqlite);
    let server = grpc_server(&database.text);
    let site_id = guid();
    set_long_levels(&server, &site_id, 8).await;
    withstands(&server, UNREAD_VERIFICATIONS, async {
        let (unread, read) = (with_windows(&server, 0).await, endpoint(&server).connect_lazy());
        let calls = join_all((0..CALLERS).map(|_| verify(&unread, &site_id))).await;
        let (begun, refused): (Vec<_>, Vec<_>) = calls.into_iter().partition(Result::is_ok);
        assert_eq!((begun.len(), refused.len()), (PLACES, CALLERS - PLACES));
        refused.iter().filter_map(|call| call.as_ref().err()).for_each(assert_refused);
        // Callers that leave free their places at once.
        drop(begun);
        let free = tokio::time::timeout(SOON, verify_when_free(&read, &site_id)).await;
        assert_verified(free.expect("a place is free soon"), 4_000).await;
        // Callers that stay lose their connection.
        let mut begun = Vec::new();
        for _ in 0..PLACES {
            begun.push(verify_when_free(&unread, &site_id).await);
        }
        assert_refused(&verify(&read, &site_id).await.expect_err("all places are taken"));
        for messages in &mut begun {
            messages.message().await.expect_err("the server closes the connection");
        }
        assert_verified(verify_when_free(&read, &site_id).await, 4_000).await;
    })
    .await;
}

/// Begins to watch a site that has no entries yet.
async fn watch(channel: &Channel, request: v1::WatchEntriesRequest) -> Streaming<v1::WatchEntriesResponse> {
    let call = LedgerServiceClient::new(channel.clone()).watch_entries(request).await;
    let mut messages = call.expect("the watch starts").into_inner();
    let first = messages.message().await.expect("the watch starts").expect("a first message");
    assert_eq!(first, v1::WatchEntriesResponse::default());
    messages
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_that_do_not_read_take_a_bounded_memory_and_hold_up_nobody() {
    const WATCHERS: u32 = 500;
    const ENTRIES: i64 = 1_000;
    let database = Database::fresh(Backend::Sqlite);
    let (server, log) = logging_server(&database);
    let site_id = guid();
    let request = v1::WatchEntriesRequest { site_id: site_id.clone(), after_sequence: 0 };
    withstands(&server, UNREAD_WATCHES, async {
        // Room for a message without entries, and for the first bytes of one that has entries.
        let channel = with_windows(&server, 100).await;
        let unread = join_all((0..WATCHERS).map(|_| watch(&channel, request.clone()))).await;
        // Room for everything, but nobody reads from the connection.
        let path = "/inventory.v1.LedgerService/WatchEntries";
        let blocked = calls_without_reading(server.addresses[0], path, &request.encode_to_vec(), WATCHERS).await;
        let channel = endpoint(&server).connect_lazy();
        let mut read = watch(&channel, request.clone()).await;
        set_long_levels(&server, &site_id, 2).await;
        // A watcher that reads gets every entry, until the server closes the connections of those that do not.
        let (mut stock, mut seen) = (StockServiceClient::new(channel), 0);
        for written in ENTRIES.. {
            while seen < written {
                let message = read.message().await.expect("the watch goes on").expect("one more message");
                seen += message.entries.len() as i64;
                assert_eq!(message.sequence, seen);
            }
            if log().contains("watched entries") {
                break;
            }
            let level = set(&site_id, vec![set_item("A", written)]);
            stock.set_stock(level).await.expect("the level can be set");
        }
        drop((unread, blocked));
    })
    .await;
}
