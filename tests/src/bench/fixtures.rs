//! Requests that are made from a seed, signed beforehand and kept in cargo's target folder. Signing a token costs far
//! more than checking it, so it must not be part of a measurement.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;

use fastrand::Rng;
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};
use uuid::Uuid;
use wix_adapter::signing::{KeyFiles, generate};

use crate::test_keys::signing_key;
use crate::wix_caller::{self, APP_ID, now, sign};

/// The site of every benchmark.
pub const SITE: &str = "5eed0000-0000-4000-8000-000000000001";
/// The second site of benchmarks with two sites.
pub const OTHER_SITE: &str = "5eed0000-0000-4000-8000-000000000002";
/// Items of the spread workloads.
pub const ITEMS: usize = 10_000;

const SEED: u64 = 7;
/// Seconds. The kept tokens must not expire.
const LIFETIME: u64 = 10 * 365 * 86_400;

/// The kind of orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Every order takes 1 of the same item.
    Hot,
    /// Every order takes 1 to 3 of 10,000 items.
    Spread,
    /// Every order takes 300 of 10,000 items.
    Bulk,
    /// Every order takes 1 of an item that is not available.
    SoldOut,
}

impl Workload {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hot => "HOT",
            Self::Spread => "SPREAD",
            Self::Bulk => "BULK",
            Self::SoldOut => "SOLD OUT",
        }
    }

    /// The numbers of the items of one order.
    pub fn items(self, random: &mut Rng) -> Vec<usize> {
        match self {
            Self::Hot => vec![0],
            Self::Spread => {
                let many = random.usize(1..=3);
                random.choose_multiple(0..ITEMS, many)
            }
            Self::Bulk => random.choose_multiple(0..ITEMS, 300),
            Self::SoldOut => vec![ITEMS],
        }
    }
}

/// The catalog id of an item.
pub fn item_id(item: usize) -> String {
    Uuid::from_u128(0x17e0_0000_0000_4000_8000_0000_0000_0000 | item as u128).to_string()
}

/// The key of all benchmarks. It is kept beside the requests that it signed.
pub fn key() -> &'static KeyFiles {
    static KEY: OnceLock<KeyFiles> = OnceLock::new();
    KEY.get_or_init(|| {
        let (private, public) = (folder().join("private.pem"), folder().join("public.pem"));
        if !public.exists() {
            let made = generate().expect("a key can be generated");
            fs::write(&private, made.private).expect("cargo's target folder is writable");
            fs::write(&public, made.public).expect("cargo's target folder is writable");
        }
        let read = |path| fs::read_to_string(path).expect("the key was written");
        KeyFiles { private: read(private), public: read(public) }
    })
}

/// Whole HTTP requests of a workload, as they are written to a connection. Different `stream`s give different orders.
pub fn requests(workload: Workload, stream: u64, count: usize) -> Vec<Vec<u8>> {
    requests_of(SITE, workload, stream, count)
}

/// The same for any site. Two sites must not use the same stream.
pub fn requests_of(site: &str, workload: Workload, stream: u64, count: usize) -> Vec<Vec<u8>> {
    let tokens = tokens_of(site, workload, stream, count);
    let request = |token: &str| {
        let head = "POST /v1/decrement HTTP/1.1\r\nhost: bench\r\ncontent-type: text/plain\r\ncontent-length:";
        format!("{head} {}\r\n\r\n{token}", token.len()).into_bytes()
    };
    tokens.iter().map(|token| request(token)).collect()
}

/// Signed bodies of a workload.
pub fn tokens(workload: Workload, stream: u64, count: usize) -> Vec<String> {
    tokens_of(SITE, workload, stream, count)
}

fn tokens_of(site: &str, workload: Workload, stream: u64, count: usize) -> Vec<String> {
    let file = folder().join(format!("{workload:?}-{stream}-{count}"));
    if let Ok(kept) = fs::read_to_string(&file) {
        return kept.lines().map(str::to_owned).collect();
    }
    eprintln!("signing {count} requests of {} (once)", workload.name());
    let key = signing_key(key());
    let half = count / 2;
    let made = std::thread::scope(|scope| {
        let other = scope.spawn(|| make(site, workload, stream, half..count, &key));
        let mut made = make(site, workload, stream, 0..half, &key);
        made.extend(other.join().expect("no panic"));
        made
    });
    let mut out = fs::File::create(&file).expect("cargo's target folder is writable");
    out.write_all(made.join("\n").as_bytes()).expect("cargo's target folder is writable");
    made
}

fn make(site: &str, workload: Workload, stream: u64, range: std::ops::Range<usize>, key: &EncodingKey) -> Vec<String> {
    range
        .map(|index| {
            let mut random = Rng::with_seed(SEED ^ (stream << 32) ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let data = data(site, workload, &mut random);
            let claims = json!({"data": data, "aud": APP_ID, "iss": "wix.com", "iat": now(), "exp": now() + LIFETIME});
            sign(jsonwebtoken::Algorithm::RS256, key, &claims)
        })
        .collect()
}

fn data(site: &str, workload: Workload, random: &mut Rng) -> Value {
    let mut guid = || Uuid::from_u128(random.u128(..)).to_string();
    let (order, request, member) = (guid(), guid(), guid());
    let item = |item: usize| wix_caller::item(&item_id(item), 1);
    json!({
        "request": {
            "items": workload.items(random).into_iter().map(item).collect::<Vec<_>>(),
            "restrictInventoryValue": true, "orderId": order, "reason": "ORDER_PLACED",
        },
        "metadata": {
            "requestId": request, "instanceId": site, "currency": "USD", "languages": ["en-US"],
            "identity": {"identityType": "MEMBER", "memberId": member}, "appExtensionType": "ECOM_INVENTORY",
        },
    })
}

fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/bench-fixtures");
    fs::create_dir_all(&folder).expect("cargo's target folder is writable");
    folder
}
