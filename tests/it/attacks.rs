//! Attacks on both ports, each with the memory that it may take and with what its sender sees.
//!
//! Each attack meets programs of its own. While it goes on, a good order gets 200, or 503 if an attack takes all of the
//! processor; after it, every good order gets 200, the refused ones again too. The stock is what they have left, and
//! neither program has taken more memory than the table says. `inventory-grpc/operations/README.md` shows the table.
//! Attacks that other files test stand in `others.rs`.

mod forms;
mod frames;
mod http;
mod messages;
pub(crate) mod others;
mod tokens;

use std::cell::Cell;
use std::future::Future;
use std::time::{Duration, Instant};

use inventory_proto::v1;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::programs::{Running, adapter, grpc_server};
use inventory_tests::requests::{guid, reference, set, set_item};
use inventory_tests::tokens::channel_to;
use inventory_tests::wix_caller::{WixCaller, item, order};
use inventory_tests::world::{Backend, Database};
use serde_json::json;
use tonic::transport::Channel;

/// Pieces of the unit that good orders take.
const GOOD: i64 = 1_000_000;
/// Pieces of the unit that nobody may take.
const LOCKED: i64 = 1_000;
/// Good orders before an attack, so that what a program keeps for its work is there.
const WARM_UP: usize = 50;

/// Both programs, as they are attacked.
struct Target {
    server: Running,
    front: Running,
    /// The site of the good orders.
    site: String,
    wix: WixCaller,
    channel: Channel,
    /// Its books are checked at the end, after the programs are gone.
    _database: Database,
}

impl Target {
    async fn start() -> Self {
        let database = Database::fresh(Backend::Sqlite);
        let server = grpc_server(&database.text);
        let front = adapter(server.addresses[0]);
        let (site, wix, channel) = (guid(), WixCaller::new(front.addresses[0]), channel_to(server.addresses[0]));
        let target = Self { server, front, site, wix, channel, _database: database };
        let levels = set(&target.site, vec![set_item("good", GOOD), set_item("locked", LOCKED)]);
        StockServiceClient::new(target.channel.clone()).set_stock(levels).await.expect("the stock can be set");
        target
    }

    /// Orders a piece, as Wix does. Returns the token if the answer is 503, to try again.
    async fn good_order(&self) -> Option<String> {
        let token = self.wix.token(order(&self.site, json!([item("good", 1)])));
        self.send_order(token).await
    }

    async fn send_order(&self, token: String) -> Option<String> {
        let answer = self.wix.post("/v1/decrement", token.clone()).await;
        assert!([200, 503].contains(&answer.status), "a good order: {}", answer.text);
        (answer.status == 503).then_some(token)
    }

    /// What is left of a unit.
    async fn level(&self, id: &str) -> i64 {
        let request = v1::GetStockRequest { site_id: self.site.clone(), unit: reference(id), ..Default::default() };
        let answer = StockServiceClient::new(self.channel.clone()).get_stock(request).await;
        answer.expect("the level can be read").into_inner().stock.expect("a level").available
    }

    /// Survives an attack, which takes at most so much memory of each program. The attack returns how many pieces it
    /// took by right.
    async fn survives(&self, name: &str, megabytes: u32, attack: impl Future<Output = i64>) {
        for _ in 0..WARM_UP {
            assert_eq!(self.good_order().await, None, "a good order before the attack");
        }
        let programs = [("wix-adapter", &self.front), ("inventory-grpc", &self.server)];
        let before = programs.map(|(_, program)| {
            program.forget_peak();
            program.resident_megabytes()
        });
        let over = Cell::new(false);
        let attack = async {
            let taken = attack.await;
            over.set(true);
            taken
        };
        let orders = async {
            let (mut sold, mut refused, mut slowest) = (0, Vec::new(), Duration::ZERO);
            while !over.get() {
                let began = Instant::now();
                refused.extend(self.good_order().await);
                slowest = slowest.max(began.elapsed());
                sold += 1;
            }
            (sold, refused, slowest)
        };
        let (taken, (sold, refused, slowest)) = tokio::join!(attack, orders);
        let at_first = refused.len();
        println!("{name}: {sold} good orders meanwhile, {at_first} refused at first, the slowest {slowest:.1?}");
        for token in refused {
            assert_eq!(self.send_order(token).await, None, "a good order, again after the attack");
        }
        assert_eq!(self.good_order().await, None, "a good order after the attack");
        let left = GOOD - WARM_UP as i64 - sold - taken - 1;
        assert_eq!(self.level("good").await, left, "what the good orders and the attack left");
        assert_eq!(self.level("locked").await, LOCKED);
        for ((program, running), before) in programs.into_iter().zip(before) {
            let more = running.peak_megabytes() - before;
            println!("{name}: {program} took {more:.0} MB more than {before:.0}");
            assert!(more <= f64::from(megabytes), "{name}: {program} took {more:.0} MB more than {before:.0}");
        }
    }
}

/// A row of the table: what is sent, to which port, the megabytes that it may take, and what its sender sees.
struct Row(&'static str, &'static str, u32, &'static str);

macro_rules! attacks {
    ($($file:ident::$name:ident $sends:literal to $port:literal takes $megabytes:literal: $sees:literal;)+) => {
        const TABLE: &[Row] = &[$(Row($sends, $port, $megabytes, $sees)),+];

        mod on {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let target = super::Target::start().await;
                    target.survives(stringify!($name), $megabytes, super::$file::$name(&target)).await;
                }
            )+
        }
    };
}

attacks! {
    http::pipelined_orders "200 orders and 800 replays in one piece, without waiting"
        to "HTTP" takes 50: "200 for each, in their order";
    http::pipelined_and_unread "300,000 requests in one piece, no answer read"
        to "HTTP" takes 50: "no more answers than fit the connection; it is closed after 10 s";
    http::content_length_with_transfer_encoding "both `Content-Length` and `Transfer-Encoding`"
        to "HTTP" takes 50: "the body ends by its chunks; the connection is closed after the answer";
    http::contradicting_lengths "lengths that contradict each other, or are none"
        to "HTTP" takes 50: "400, closed";
    http::malformed_heads "heads with NUL, bare line ends, folded lines, spaces in names"
        to "HTTP" takes 50: "400, closed";
    http::header_floods "heads of 101 or 100,000 headers, or of 16 MB"
        to "HTTP" takes 50: "431, closed";
    http::chunk_floods "100,000 chunks of one byte; endless sizes, extensions and trailers"
        to "HTTP" takes 50: "401 for what is read to its end; otherwise 408, or closed";
    http::other_protocols "HTTP/2, TLS, upgrades"
        to "HTTP" takes 50: "400, or closed; an upgrade is ignored";
    tokens::wrong_kinds "tokens of every wrong kind, 20 of each"
        to "HTTP" takes 50: "401";
    tokens::long_parts "headers, claims and signatures of 4 MB in a token, 8 at a time"
        to "HTTP" takes 100: "401; 408 or 503 for some of the 8";
    tokens::deep_nesting "a million levels of nesting anywhere in a signed token"
        to "HTTP" takes 200: "200 where it identifies nothing, else 401 or 428";
    tokens::many_values "a million values in the options, the items or unknown fields of a signed token"
        to "HTTP" takes 300: "200 where they identify nothing, else 428";
    tokens::many_keys "100,000 keys in the options of a signed token"
        to "HTTP" takes 300: "200 where they identify nothing, else 428";
    tokens::long_numbers_and_texts "numbers and texts of 2 MB in a signed token, of escapes and halves of pairs too"
        to "HTTP" takes 200: "200 where they identify nothing, else 401 or 428";
    forms::duplicate_keys "keys twice in a signed token"
        to "HTTP" takes 50: "the last one counts in options; elsewhere 401 or 428";
    forms::numbers "quantities in every form"
        to "HTTP" takes 50: "200 for one whole number, in quotes as digits; else 428, and 401 for what is not JSON";
    forms::guids "GUIDs in every form"
        to "HTTP" takes 50: "200 for 32 digits with hyphens, in any letter case; else 428";
    forms::options "the same options by another key order, other escapes and spaces; composed and decomposed letters"
        to "HTTP" takes 50: "the same unit; letters are compared by their code points, so other ones are another unit";
    frames::rapid_reset "50,000 calls, each reset at once"
        to "gRPC" takes 100: "the connection ends with ENHANCE_YOUR_CALM, or all is ignored";
    frames::continuation_flood "a head that never ends: 10,000 CONTINUATION frames"
        to "gRPC" takes 50: "the connection ends";
    frames::settings_and_ping_floods "200,000 SETTINGS, PING, PRIORITY, WINDOW_UPDATE or unknown frames"
        to "gRPC" takes 50: "each is answered in its turn";
    frames::goodbyes "10,000 GOAWAY frames, and a call after each"
        to "gRPC" takes 100: "calls are answered until the connection ends";
    frames::data_floods "200,000 DATA frames without a byte, or with one"
        to "gRPC" takes 50: "the connection ends with ENHANCE_YOUR_CALM";
    frames::compressed_heads "heads that name a header of 4 KB 16,000 times"
        to "gRPC" takes 50: "431 for each, or the connection ends";
    frames::full_heads "20,000 calls with heads of 16 KB and without a message, on 5 connections"
        to "gRPC" takes 300: "RESOURCE_EXHAUSTED for those beyond the bounds; DEADLINE_EXCEEDED after 10 s";
    frames::closed_windows "4,000 calls whose answers have no window"
        to "gRPC" takes 200: "the answers wait within bounds";
    frames::broken_frames "frames on wrong streams, of wrong sizes, windows beyond their largest"
        to "gRPC" takes 50: "the connection ends with PROTOCOL_ERROR, FRAME_SIZE_ERROR or FLOW_CONTROL_ERROR";
    frames::no_frames "HTTP/1.1, TLS, 1 MB of noise"
        to "gRPC" takes 50: "closed";
    messages::many_elements "messages of 4 MB that hold two million elements, 8 at a time"
        to "gRPC" takes 300: "INVALID_ARGUMENT, or RESOURCE_EXHAUSTED";
    messages::large_options "options of 4 MB: two million values, 300,000 keys, deep nesting, 8 at a time"
        to "gRPC" takes 400: "INVALID_ARGUMENT, or RESOURCE_EXHAUSTED; OK where they identify nothing";
    messages::wrong_lengths "messages that announce 4 GB, are compressed, or are cut"
        to "gRPC" takes 50: "OUT_OF_RANGE, UNIMPLEMENTED, INVALID_ARGUMENT or INTERNAL";
}

/// The table as the guide shows it.
fn table() -> String {
    let mut table =
        "| attack | port | MB more, at most | what its sender sees |\n| --- | --- | --- | --- |\n".to_owned();
    for Row(sends, port, megabytes, sees) in TABLE {
        table.push_str(&format!("| {sends} | {port} | {megabytes} | {sees} |\n"));
    }
    table
}

#[test]
fn the_guide_shows_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../inventory-grpc/operations/README.md");
    let guide = std::fs::read_to_string(path).expect("the guide can be read");
    let (_, section) = guide.split_once("\n## Attacks\n").expect("the guide has the section");
    for file in section.split('`').filter(|word| word.ends_with(".rs")) {
        let path = format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"));
        assert!(std::path::Path::new(&path).exists(), "the guide names {file}");
    }
    for table in [table(), others::table()] {
        assert!(guide.contains(&table), "inventory-grpc/operations/README.md must show this table:\n{table}");
    }
}
