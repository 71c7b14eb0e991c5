//! Callers that ask for much, read nothing, or never finish: they take a bounded memory, and hold up nobody.

mod streams;

use std::iter::{once, repeat_n};
use std::time::Duration;

use futures_util::future::join_all;
use hyper::body::Bytes;
use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::programs::{Running, grpc_server, program};
use inventory_tests::raw_http2::{
    ACK, DATA, END_HEADERS, HEADERS, INITIAL_WINDOW_SIZE, SETTINGS, calls_without_reading, frame, greeting, head,
    settings,
};
use inventory_tests::requests::{decrement, guid, reference, set};
use inventory_tests::world::{Backend, Database};
use inventory_tests::{raw_grpc, requests};
use prost::Message;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::attacks::others::{BURSTS, HALF_MESSAGES, Other, UNREAD_ANSWERS};

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);

/// A unit whose options are about as long as they may be.
fn long<U: From<v1::CatalogReference>>(number: usize) -> Option<U> {
    let text = |text: String| prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(text)) };
    let fields = [("text".to_owned(), text(format!("{number}{}", "x".repeat(1_900))))].into();
    let options = Some(prost_types::Struct { fields });
    Some(v1::CatalogReference { options, ..reference(&number.to_string()).expect("named") }.into())
}

/// Sets the levels of 500 such units for each part, with one entry each.
async fn set_long_levels(server: &Running, site_id: &str, parts: usize) {
    let mut stock = StockServiceClient::new(endpoint(server).connect_lazy());
    for part in 0..parts {
        let item =
            |number: usize| v1::SetStockItem { unit: long(part * 500 + number), available: 1, ..Default::default() };
        stock.set_stock(set(site_id, (0..500).map(item).collect())).await.expect("the levels can be set");
    }
}

/// A server, and what reads its log.
fn logging_server(database: &Database) -> (Running, impl Fn() -> String) {
    let log = database.folder().join("log");
    let mut command = program("inventory-grpc");
    command.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", &database.text]);
    let server = Running::start_logging(command, 1, &log);
    (server, move || std::fs::read_to_string(&log).expect("there is a log"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_any_size_fits_into_answers_that_clients_take() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        order_of_any_size(&grpc_server(&database.text)).await;
    }
}

async fn order_of_any_size(server: &Running) {
    let channel = endpoint(server).connect_lazy();
    let (site_id, order_id) = (guid(), guid());
    let (mut availability, mut ledger) =
        (AvailabilityServiceClient::new(channel.clone()), LedgerServiceClient::new(channel));
    // Every unit gets two entries.
    for part in 0..20 {
        let units = (0..300).map(|item| long(part / 2 * 300 + item));
        let items = units.map(|unit| v1::Item { unit, quantity: 1, ..Default::default() });
        let request = v1::DecrementAvailabilityRequest {
            items: items.collect(),
            order_id: order_id.clone(),
            restrict_inventory_value: Some(false),
            ..decrement(&site_id, &[])
        };
        availability.decrement_availability(request).await.expect("applied");
    }
    let (mut units, mut pages, mut page_token) = (std::collections::BTreeSet::new(), 0, String::new());
    loop {
        let request = v1::GetOrderRequest {
            site_id: site_id.clone(),
            order_id: order_id.clone(),
            page_token: page_token.clone(),
            ..Default::default()
        };
        let page = ledger.get_order(request).await.expect("the answer is not too large").into_inner();
        assert!(page.encoded_len() < 4 * 1024 * 1024, "{}", page.encoded_len());
        assert_eq!(page.entry_count, 6_000);
        assert_eq!((page.entries.is_empty(), page.calls.len()), (pages > 0, if pages > 0 { 0 } else { 20 }));
        for line in page.lines {
            assert_eq!((line.taken, line.net), (2, 2));
            assert!(units.insert(line.catalog_reference.expect("a unit").catalog_item_id), "each unit once");
        }
        pages += 1;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(units.len(), 3_000);
    let request = v1::GetOrderRequest {
        site_id: site_id.clone(),
        order_id: guid(),
        page_token: "AAAA".into(),
        ..Default::default()
    };
    assert_eq!(ledger.get_order(request).await.expect_err("not a token").code(), Code::InvalidArgument);
}

fn endpoint(server: &Running) -> Endpoint {
    Endpoint::from_shared(format!("http://{}", server.addresses[0])).expect("the URL is valid")
}

/// Does `work` while others read and write, and checks the memory that the server had for it.
async fn withstands(server: &Running, attack: Other, work: impl Future<Output = ()>) {
    let channel = endpoint(server).connect_lazy();
    let site_id = guid();
    server.forget_peak();
    let mut work = std::pin::pin!(tokio::time::timeout(LONG, work));
    loop {
        let healthy = async {
            let levels = set(&site_id, vec![requests::set_item("A", 1)]);
            StockServiceClient::new(channel.clone()).set_stock(levels).await.expect("a level can be set meanwhile");
        };
        tokio::select! {
            done = &mut work => {
                done.expect("it ends in time");
                return attack.bounds(server);
            }
            () = healthy => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_take_a_bounded_memory() {
    let database = Database::fresh(Backend::Sqlite);
    let server = grpc_server(&database.text);
    let site_id = guid();
    set_long_levels(&server, &site_id, 2).await;
    let request = v1::ListStockRequest { site_id, page_size: 1_000, ..Default::default() }.encode_to_vec();
    withstands(&server, UNREAD_ANSWERS, async {
        let path = "/inventory.v1.StockService/ListStock";
        let before = server.open_files();
        let callers = (0..3).map(|_| calls_without_reading(server.addresses[0], path, &request, 150));
        let callers = join_all(callers).await;
        // The server closes the connections. The callers do not learn it, because they read nothing.
        while server.open_files() < before + 3 {
            tokio::task::yield_now().await;
        }
        while server.open_files() > before + 1 {
            tokio::task::yield_now().await;
        }
        drop(callers);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_of_a_stream_count_until_their_answers_are_taken() {
    /// Calls of one stream without an answer, as the contract says. One answer fits into the window.
    const CALLS_MAX: usize = 1_024;
    const FRAME_BYTES: usize = 16_000;
    let database = Database::fresh(Backend::Sqlite);
    let (server, log) = logging_server(&database);
    let refused = || log().matches("change: is required").count();

    // The caller takes no answer at first. The server's settings hold as soon as they are acknowledged.
    let mut bytes = [greeting(0), frame(SETTINGS, ACK, 0, &[])].concat();
    bytes.extend(frame(HEADERS, END_HEADERS, 1, &head("/inventory.v1.AvailabilityService/ChangeAvailability")));
    for _ in 0..1024 * 1024 / FRAME_BYTES {
        // An empty message is five zeros.
        bytes.extend(frame(DATA, 0, 1, &[0; FRAME_BYTES]));
    }
    // Now it has room for a single byte.
    bytes.extend(settings(INITIAL_WINDOW_SIZE, 1));
    let mut stream = TcpStream::connect(server.addresses[0]).await.expect("the port is open");
    stream.write_all(&bytes).await.expect("the server takes them");

    let mut stock = StockServiceClient::new(endpoint(&server).connect_lazy());
    let site_id = guid();
    let mut work = async || {
        let levels = set(&site_id, vec![requests::set_item("A", 1)]);
        stock.set_stock(levels).await.expect("a level can be set meanwhile");
    };
    let begun = async {
        while refused() < CALLS_MAX {
            work().await;
        }
    };
    tokio::time::timeout(LONG, begun).await.expect("the server reads what it may");
    for _ in 0..100 {
        work().await;
    }
    let refused = refused();
    assert!(refused <= CALLS_MAX + 1, "{refused} messages were read");
}

/// Sends a message that says it has 3.5 MiB, has 3, and never ends. Returns the code of the answer.
async fn half_message(channel: Channel, path: &str) -> Code {
    let part = Bytes::from_static(&[0; 64 * 1024]);
    let frames = once(Bytes::from_static(&[0, 0, 0x38, 0, 0])).chain(repeat_n(part, 48));
    match raw_grpc::call(channel, path, raw_grpc::unfinished(frames)).await {
        Ok(answer) => Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code()),
        // The server closed the stream.
        Err(_) => Code::Unknown,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_never_end_take_a_bounded_memory_and_a_bounded_time() {
    let database = Database::fresh(Backend::Sqlite);
    let server = grpc_server(&database.text);
    withstands(&server, HALF_MESSAGES, async {
        let halves = (0..3).flat_map(|_| {
            let channel = endpoint(&server).connect_lazy();
            (0..100)
                .map(move |_| half_message(channel.clone(), "/inventory.v1.AvailabilityService/DecrementAvailability"))
        });
        let codes = join_all(halves).await;
        let refused = |code: &&Code| matches!(code, Code::DeadlineExceeded | Code::ResourceExhausted);
        assert_eq!(codes.iter().filter(refused).count(), codes.len(), "{codes:?}");
        assert!(codes.contains(&Code::DeadlineExceeded) && codes.contains(&Code::ResourceExhausted), "{codes:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_at_a_time_on_one_connection_are_all_answered() {
    let database = Database::fresh(Backend::Sqlite);
    let server = grpc_server(&database.text);
    let client = HealthClient::new(endpoint(&server).connect().await.expect("the server is there"));
    for _ in 0..10 {
        // Many more than the server lets a connection have at a time. The others wait on the caller's side.
        let calls = (0..6_000).map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.check(HealthCheckRequest { service: String::new() }).await })
        });
        // The server reads no more while many of them wait for their first turn. It must go on afterwards.
        let answers = tokio::time::timeout(LONG, join_all(calls)).await.expect("all calls are answered");
        for answer in answers {
            answer.expect("no panic").expect("the health");
        }
    }
    BURSTS.bounds(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_deadlines_leaves_the_connection_to_the_others() {
    let database = Database::fresh(Backend::Sqlite);
    let server = grpc_server(&database.text);
    let channel = endpoint(&server).connect().await.expect("the server is there");
    let (mut stock, site_id) = (StockServiceClient::new(channel.clone()), guid());
    stock.set_stock(set(&site_id, vec![requests::set_item("A", 1_000_000)])).await.expect("the level can be set");
    let watch = v1::WatchEntriesRequest { site_id: site_id.clone(), after_sequence: 0 };
    let mut watched =
        LedgerServiceClient::new(channel.clone()).watch_entries(watch).await.expect("a stream").into_inner();
    watched.message().await.expect("the stream lives").expect("a message");
    for _ in 0..20 {
        let calls = (0..200).map(|_| {
            let (channel, site) = (channel.clone(), site_id.clone());
            let call = async move {
                let mut client = AvailabilityServiceClient::new(channel);
                client.decrement_availability(decrement(&site, &[("A", 1)])).await
            };
            tokio::spawn(tokio::time::timeout(Duration::from_micros(500), call))
        });
        join_all(calls).await;
    }
    stock.set_stock(set(&site_id, vec![requests::set_item("B", 7)])).await.expect("the level can be set");
    // The stream ends with an error if the server has closed the connection.
    let found = async {
        loop {
            let message = watched.message().await.expect("the stream lives").expect("one more");
            if message.entries.iter().any(|entry| entry.level_after == 7) {
                return;
            }
        }
    };
    tokio::time::timeout(LONG, found).await.expect("the watcher sees the entry");
    BURSTS.bounds(&server);
}
