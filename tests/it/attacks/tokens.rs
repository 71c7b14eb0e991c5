//! JSON that costs much more than it weighs, inside signed tokens; tokens that are refused, and those whose parts are
//! too long.

use futures_util::future::join_all;
use inventory_tests::test_keys::{app_key, signing_key};
use inventory_tests::wix_caller::{claims, item, order, sign_texts};
use serde_json::{Value, json};

use super::Target;
use crate::token;

/// Copies of each bomb at the same time.
const COPIES: usize = 4;
/// Bytes of a bomb. As base64 it takes a third more, and a body has at most 4 MiB.
const BYTES: usize = 3_000_000;

/// Where a bomb lies in a signed token: the text of the claims, in which the text `"BOMB"` stands for it.
fn places(target: &Target) -> [(&'static str, String); 8] {
    let with = |path: &str, value: Value| {
        let mut claims = claims(order(&target.site, json!([item("good", 1)])));
        let (parent, name) = path.rsplit_once('/').expect("a path");
        claims.pointer_mut(parent).expect("the claims have it")[name] = value;
        claims.to_string()
    };
    let options = "/data/request/items/0/catalogReference/options";
    [
        ("customTextFields", with(options, json!({"customTextFields": "BOMB"}))),
        ("unknown", with("/data/request/items/0/new", json!("BOMB"))),
        ("reason", with("/data/request/reason", json!("BOMB"))),
        ("size", with(options, json!({"size": "BOMB"}))),
        ("options", with(options, json!("BOMB"))),
        ("items", with("/data/request/items", json!("BOMB"))),
        ("quantity", with("/data/request/items/0/quantity", json!("BOMB"))),
        ("aud", with("/aud", json!("BOMB"))),
    ]
}

/// Signs each place with the bomb, and posts copies at the same time: one call and its replays. Returns how many pieces
/// were taken.
async fn explode(target: &Target, bomb: &str) -> i64 {
    let mut taken = 0;
    for (place, claims) in places(target) {
        let expected = right_answer(place);
        let text = claims.replace("\"BOMB\"", bomb);
        let token = sign_texts(r#"{"alg":"RS256"}"#, &text, &signing_key(app_key()));
        let posted = join_all((0..COPIES).map(|_| target.wix.post("/v1/decrement", token.clone()))).await;
        // Bodies have a bound for all of them together, and a time to arrive.
        let right = |status: u16| [408, 503, expected].contains(&status);
        let seen: Vec<u16> = posted.iter().map(|answer| answer.status).collect();
        assert!(seen.iter().all(|status| right(*status)), "{place}, {bomb:.20}: {seen:?}");
        let again = loop {
            // A busy machine may take longer for it than the adapter gives a call. Then Wix tries again.
            match target.wix.post("/v1/decrement", token.clone()).await.status {
                408 | 503 => {}
                status => break status,
            }
        };
        assert_eq!(again, expected, "{place}, {bomb:.20}, alone");
        taken += i64::from(expected == 200);
    }
    taken
}

/// What identifies nothing is not looked at.
fn right_answer(place: &str) -> u16 {
    match place {
        "customTextFields" | "unknown" | "reason" => 200,
        "aud" => 401,
        _ => 428,
    }
}

pub(super) async fn wrong_kinds(target: &Target) -> i64 {
    for (name, token) in token::refused(&target.site) {
        for _ in 0..20 {
            assert_eq!(target.wix.post("/v1/decrement", token.clone()).await.status, 401, "{name}");
        }
    }
    0
}

pub(super) async fn long_parts(target: &Target) -> i64 {
    let token = target.wix.token(order(&target.site, json!([item("good", 1)])));
    let parts: Vec<&str> = token.split('.').collect();
    // Base64 of a text of 3 MB: a list in a list in a list.
    let long = "W1tb".repeat(1_000_000);
    for part in 0..3 {
        let mut parts = parts.clone();
        parts[part] = &long;
        let token = parts.join(".");
        let mut is_refused = false;
        for _ in 0..10 {
            let posted = join_all((0..8).map(|_| target.wix.post("/v1/decrement", token.clone()))).await;
            let seen: Vec<u16> = posted.iter().map(|answer| answer.status).collect();
            // Bodies have a bound for all of them together, and a time to arrive.
            assert!(seen.iter().all(|status| [401, 408, 503].contains(status)), "{part}: {seen:?}");
            is_refused |= seen.contains(&401);
        }
        assert!(is_refused, "{part}: never 401");
    }
    0
}

pub(super) async fn deep_nesting(target: &Target) -> i64 {
    let lists = format!("{}{}", "[".repeat(BYTES / 2), "]".repeat(BYTES / 2));
    let objects = format!("{}1{}", r#"{"":"#.repeat(BYTES / 6), "}".repeat(BYTES / 6));
    let mut taken = 0;
    for bomb in [lists, objects] {
        taken += explode(target, &bomb).await;
    }
    taken
}

pub(super) async fn many_values(target: &Target) -> i64 {
    let many = |value: &str| format!("[{}{value}]", format!("{value},").repeat(BYTES / (value.len() + 1) - 1));
    let mut taken = 0;
    for value in ["{}", "[]", "1", "\"\""] {
        taken += explode(target, &many(value)).await;
    }
    taken
}

pub(super) async fn many_keys(target: &Target) -> i64 {
    let keys = |count: usize| {
        let fields: Vec<String> = (0..count).map(|index| format!("\"{index:x}\":1")).collect();
        format!("{{{}}}", fields.join(","))
    };
    let mut taken = 0;
    for count in [100_000, 270_000] {
        taken += explode(target, &keys(count)).await;
    }
    taken
}

pub(super) async fn long_numbers_and_texts(target: &Target) -> i64 {
    let texts = ["\\u00e9", "\\ud83d", "\\ud83d\\ude00", "\\\\", "\u{e9}"];
    let texts = texts.map(|text| format!("\"{}\"", text.repeat(BYTES / text.len())));
    let numbers = ["1".repeat(BYTES), format!("0.{}", "1".repeat(BYTES)), format!("1e{}", "9".repeat(BYTES))];
    let mut taken = 0;
    for bomb in texts.iter().chain(&numbers) {
        taken += explode(target, bomb).await;
    }
    taken
}
