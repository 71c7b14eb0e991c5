//! Requests that are made from a seed, signed beforehand and kept in cargo's target folder. Signing a token costs far
//! more than checking it, so it must not be part of a measurement.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fastrand::Rng;
use inventory_core::model::catalog::WIX_STORES;
use inventory_proto::v1;
use serde_json::{Map, Value, json};
use uuid::Uuid;
use wix_adapter::signing::{KeyFiles, generate};

use crate::programs::target_folder;
use crate::wix_caller::{APP_ID, now};

/// The site of every benchmark.
pub const SITE: &str = "5eed0000-0000-4000-8000-000000000001";
/// The second site of benchmarks with two sites.
pub const OTHER_SITE: &str = "5eed0000-0000-4000-8000-000000000002";
/// Items of the spread workloads.
pub const ITEMS: usize = 10_000;
/// Pieces of each item before the first order.
pub const STOCKED: i64 = 1_000_000_000;

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
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hot, Self::Spread, Self::Bulk];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hot => "HOT",
            Self::Spread => "SPREAD",
            Self::Bulk => "BULK",
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
        }
    }

    /// The most orders per second for which requests are signed.
    pub fn orders_per_second(self) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(4);
        let of_one_core = match self {
            Self::Hot | Self::Spread => 15_000.0,
            Self::Bulk => 600.0,
        };
        cores as f64 * of_one_core
    }

    /// Orders in a file of signed requests.
    const fn orders_per_file(self) -> usize {
        match self {
            Self::Hot | Self::Spread => 10_000,
            Self::Bulk => 500,
        }
    }
}

/// An item as Wix names it: a variant of a product of Wix Stores.
pub fn line(item: usize) -> Map<String, Value> {
    let v1::CatalogReference { app_id, catalog_item_id, .. } = reference(item);
    let reference = json!({"appId": app_id, "catalogItemId": catalog_item_id, "options": options(item)});
    Map::from_iter([("catalogReference".to_owned(), reference)])
}

/// The same for gRPC.
pub fn reference(item: usize) -> v1::CatalogReference {
    let options = Some(inventory_proto::json::from_json(options(item)));
    v1::CatalogReference {
        app_id: WIX_STORES.into(),
        catalog_item_id: guid(0x17e0, item),
        options,
        ..Default::default()
    }
}

fn options(item: usize) -> Map<String, Value> {
    Map::from_iter([("variantId".to_owned(), guid(0xa41a, item).into())])
}

fn guid(kind: u128, item: usize) -> String {
    Uuid::from_u128((kind << 112) | 0x4000_8000_0000_0000_0000 | item as u128).to_string()
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
    let head = "POST /v1/decrement HTTP/1.1\r\nhost: bench\r\ncontent-type: text/plain\r\ncontent-length:";
    let mut requests = Vec::with_capacity(count);
    each_token(site, workload, stream, count, |token| {
        requests.push(format!("{head} {}\r\n\r\n{token}", token.len()).into_bytes());
    });
    requests
}

/// Signed bodies of a workload.
pub fn tokens(workload: Workload, stream: u64, count: usize) -> Vec<String> {
    let mut tokens = Vec::with_capacity(count);
    each_token(SITE, workload, stream, count, |token| tokens.push(token));
    tokens
}

/// The pieces that a range of a stream's orders takes.
pub fn pieces(workload: Workload, stream: u64, orders: Range<usize>) -> i64 {
    orders.map(|index| Order::of(workload, stream, index).items.len() as i64).sum()
}

/// Reads the files of a stream, one after the other, and signs those that are missing.
fn each_token(site: &str, workload: Workload, stream: u64, count: usize, mut token: impl FnMut(String)) {
    let size = workload.orders_per_file();
    let file = |first: usize| folder().join(format!("{workload:?}-{stream}-{first}"));
    let missing: Vec<usize> = (0..count).step_by(size).filter(|first| !file(*first).exists()).collect();
    if !missing.is_empty() {
        eprintln!("signing {} requests of {} (once)", missing.len() * size, workload.name());
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for own in missing.chunks(missing.len().div_ceil(threads).max(1)) {
            scope.spawn(move || {
                let key = Signer::new(key());
                for first in own {
                    let made = make(site, workload, stream, *first..first + size, &key);
                    write(&file(*first), &made.join("\n"));
                }
            });
        }
    });
    let mut left = count;
    for first in (0..count).step_by(size) {
        let lines = BufReader::new(File::open(file(first)).expect("the file was written")).lines();
        lines.take(left.min(size)).for_each(|line| token(line.expect("the file is text")));
        left = left.saturating_sub(size);
    }
}

/// Writes a file under another name first, so that an interrupted run leaves no half of it.
fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    File::create(&new).and_then(|mut file| file.write_all(text.as_bytes())).expect("cargo's target folder is writable");
    fs::rename(&new, path).expect("cargo's target folder is writable");
}

/// Signs as jsonwebtoken does. That library parses the private key again for each token.
struct Signer {
    key: KeyPair,
    random: SystemRandom,
}

impl Signer {
    fn new(files: &KeyFiles) -> Self {
        let base64: String = files.private.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(base64).expect("PEM holds base64");
        Self { key: KeyPair::from_pkcs8(&der).expect("a generated key can be parsed"), random: SystemRandom::new() }
    }

    fn token(&self, claims: &Value) -> String {
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", encoded(r#"{"alg":"RS256","typ":"JWT"}"#), encoded(&claims.to_string()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        let made = self.key.sign(&RSA_PKCS1_SHA256, &self.random, signed.as_bytes(), &mut signature);
        made.expect("the signature has the length of the modulus");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn make(site: &str, workload: Workload, stream: u64, range: Range<usize>, key: &Signer) -> Vec<String> {
    range
        .map(|index| {
            let data = Order::of(workload, stream, index).data(site);
            let claims = json!({"data": data, "aud": APP_ID, "iss": "wix.com", "iat": now(), "exp": now() + LIFETIME});
            key.token(&claims)
        })
        .collect()
}

/// An order, the same one each time.
struct Order {
    order: String,
    request: String,
    member: String,
    items: Vec<usize>,
}

impl Order {
    fn of(workload: Workload, stream: u64, index: usize) -> Self {
        let mut random = Rng::with_seed(SEED ^ (stream << 32) ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut guid = || Uuid::from_u128(random.u128(..)).to_string();
        let (order, request, member) = (guid(), guid(), guid());
        Self { order, request, member, items: workload.items(&mut random) }
    }

    fn data(&self, site: &str) -> Value {
        let item = |item: &usize| {
            let mut line = line(*item);
            line.insert("quantity".into(), json!(1));
            line.insert("subscriptionItem".into(), json!(false));
            Value::Object(line)
        };
        json!({
            "request": {
                "items": self.items.iter().map(item).collect::<Vec<_>>(),
                "restrictInventoryValue": true, "orderId": self.order, "reason": "ORDER_PLACED",
            },
            "metadata": {
                "requestId": self.request, "instanceId": site, "currency": "USD", "languages": ["en-US"],
                "identity": {"identityType": "MEMBER", "memberId": self.member},
                "appExtensionType": "ECOM_INVENTORY",
            },
        })
    }
}

fn folder() -> PathBuf {
    let folder = target_folder().join("bench-fixtures");
    fs::create_dir_all(&folder).expect("cargo's target folder is writable");
    folder
}
