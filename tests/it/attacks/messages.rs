//! Messages of gRPC that cost much more than they weigh.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use http_body_util::BodyExt;
use hyper::body::Bytes;
use inventory_proto::v1;
use inventory_tests::raw_grpc;
use inventory_tests::requests::guid;
use inventory_tests::wix_caller::CATALOG;
use prost::Message;
use tonic::{Code, Status};

use super::Target;

/// Copies of each message at the same time.
const COPIES: usize = 8;
/// Bytes of a message. A server takes 4 MiB.
const BYTES: usize = 4_000_000;

const ORDER: &str = "AvailabilityService/DecrementAvailability";

/// Sends bytes as the body of a call. Returns the code of the answer.
async fn call(target: &Target, path: &str, bytes: Bytes) -> Code {
    // A connection of its own: the server may close it.
    let channel = inventory_tests::tokens::channel_to(target.server.addresses[0]);
    let body = tonic::body::Body::new(http_body_util::Full::new(bytes).map_err(|never| match never {}));
    let Ok(answer) = raw_grpc::call(channel, &format!("/inventory.v1.{path}"), body).await else {
        return Code::Unknown;
    };
    if let Some(status) = Status::from_header_map(answer.headers()) {
        return status.code();
    }
    let collected = answer.into_body().collect().await;
    let trailers = collected.ok().and_then(|collected| collected.trailers().cloned()).unwrap_or_default();
    Status::from_header_map(&trailers).map_or(Code::Unknown, |status| status.code())
}

/// A message with the bytes before it that gRPC wants.
fn prefixed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a message is small").to_be_bytes();
    [&[0][..], &length, message].concat().into()
}

/// Sends copies of a message. Returns the codes that are seen.
async fn copies(target: &Target, path: &str, message: &[u8]) -> BTreeSet<i32> {
    let bytes = prefixed(message);
    let codes = join_all((0..COPIES).map(|_| call(target, path, bytes.clone()))).await;
    codes.into_iter().map(|code| code as i32).collect()
}

/// Fails unless all codes are expected. A message has a time to arrive, which may be short on a busy machine.
fn check(name: &str, seen: &BTreeSet<i32>, expected: &[Code]) {
    let right = |code: Code| code == Code::DeadlineExceeded || expected.contains(&code);
    assert!(seen.iter().all(|code| right(Code::from_i32(*code))), "{name}: codes {seen:?}");
}

/// A field with bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut field);
    field.extend(bytes);
    field
}

/// An order of a unit with these options, as bytes of a `Struct` or as text.
fn order(target: &Target, options: &[u8], options_json: String) -> Vec<u8> {
    let reference =
        v1::CatalogReference { app_id: CATALOG.into(), catalog_item_id: "other".into(), options_json, options: None };
    let mut reference = reference.encode_to_vec();
    if !options.is_empty() {
        reference.extend(field(3, options));
    }
    let item = [field(1, &reference), vec![3 << 3, 1]].concat();
    let request = v1::DecrementAvailabilityRequest {
        site_id: target.site.clone(),
        order_id: guid(),
        request_id: guid(),
        restrict_inventory_value: Some(false),
        ..Default::default()
    };
    [request.encode_to_vec(), field(2, &item)].concat()
}

pub(super) async fn many_elements(target: &Target) -> i64 {
    let empty = |number: u8| [number << 3 | 2, 0].repeat(BYTES / 2);
    let site = field(1, target.site.as_bytes());
    let rows: [(&str, Vec<u8>); 8] = [
        (ORDER, empty(2)),
        ("StockService/SetStock", empty(2)),
        ("StockService/MoveStock", empty(2)),
        ("StockService/BatchGetStock", empty(2)),
        ("StockService/BatchUpdateUnits", empty(2)),
        ("SiteService/UpdateSite", empty(3)),
        ("SiteService/UpdateSite", field(3, &field(2, &empty(1)))),
        ("StockService/UpdateUnit", field(11, &empty(1))),
    ];
    for (path, bytes) in rows {
        let seen = copies(target, path, &[site.clone(), bytes].concat()).await;
        check(path, &seen, &[Code::InvalidArgument, Code::ResourceExhausted]);
    }
    // A call of a stream holds its request in a field.
    for request in [3, 4] {
        let bytes = field(request, &[site.clone(), empty(2)].concat());
        let seen = copies(target, "AvailabilityService/ChangeAvailability", &bytes).await;
        check("a call of a stream", &seen, &[Code::InvalidArgument, Code::ResourceExhausted]);
    }
    0
}

pub(super) async fn large_options(target: &Target) -> i64 {
    let refused = [Code::InvalidArgument, Code::ResourceExhausted];
    let applied = [Code::Ok, Code::ResourceExhausted];
    // As a `Struct`: a field of a list of values without a kind, many fields, and nesting.
    let of_field = |key: &str, value: &[u8]| field(1, &[field(1, key.as_bytes()), field(2, value)].concat());
    let list = |key: &str| of_field(key, &field(6, &[1 << 3 | 2, 0].repeat(BYTES / 2)));
    let keys: Vec<u8> = (0..BYTES / 12).flat_map(|index| of_field(&format!("{index:x}"), &[])).collect();
    let deep = (0..200).fold(vec![1 << 3, 0], |inner, _| field(5, &of_field("", &inner)));
    for (name, options, codes) in [
        ("a list", list("size"), &refused),
        ("a list that identifies nothing", list("customTextFields"), &applied),
        ("keys that identify nothing", keys, &applied),
        ("nesting", of_field("customTextFields", &deep), &refused),
    ] {
        let seen = copies(target, ORDER, &order(target, &options, String::new())).await;
        check(name, &seen, codes);
    }
    let lists = format!("[{}[]]", "[],".repeat(BYTES / 3 - 10));
    let nested = format!("{}{}", "[".repeat(BYTES / 2 - 100), "]".repeat(BYTES / 2 - 100));
    let fields: Vec<String> = (0..BYTES / 10).map(|index| format!("\"{index:x}\":1")).collect();
    let fields = format!("{{{}}}", fields.join(","));
    for (name, value) in [("lists", &lists), ("nested", &nested), ("fields", &fields)] {
        for (key, codes) in [("size", &refused), ("customTextFields", &applied)] {
            let seen = copies(target, ORDER, &order(target, &[], format!("{{\"{key}\":{value}}}"))).await;
            check(&format!("{name} in {key}"), &seen, codes);
        }
    }
    check("keys as text", &copies(target, ORDER, &order(target, &[], fields)).await, &refused);
    0
}

pub(super) async fn wrong_lengths(target: &Target) -> i64 {
    let good = order(target, &[], String::new());
    let rows: [(&str, Vec<u8>, &[Code]); 6] = [
        (
            "4 GB announced",
            [&[0, 0xff, 0xff, 0xff, 0xff][..], &good].concat(),
            &[Code::OutOfRange, Code::ResourceExhausted],
        ),
        ("5 MB", [&[0, 0, 0x50, 0, 0][..], &vec![0; 0x50_0000]].concat(), &[Code::OutOfRange, Code::ResourceExhausted]),
        ("compressed", [&[1, 0, 0, 0, 3][..], b"abc"].concat(), &[Code::Internal, Code::Unimplemented]),
        ("no such flag", [&[7, 0, 0, 0, 3][..], b"abc"].concat(), &[Code::Internal]),
        ("nothing", Vec::new(), &[Code::Internal]),
        ("a prefix alone", vec![0, 0, 0, 1, 0], &[Code::Internal, Code::InvalidArgument]),
    ];
    for (name, bytes, codes) in rows {
        let code = call(target, ORDER, bytes.into()).await;
        assert!(codes.contains(&code), "{name}: {code:?}");
    }
    let group = [&good[..], &[7 << 3 | 3].repeat(1_000_000)].concat();
    check("groups", &copies(target, ORDER, &group).await, &[Code::InvalidArgument]);
    0
}
