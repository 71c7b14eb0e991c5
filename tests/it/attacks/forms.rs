//! Ways to write the same thing, and things that only look the same.

use inventory_tests::test_keys::{app_key, signing_key};
use inventory_tests::wix_caller::{claims, item, item_with, order, sign_texts, with_new_request_id};
use serde_json::{Value, json};

use super::Target;

/// Posts claims as they stand. Returns the status.
async fn post(target: &Target, method: &str, claims: &str) -> u16 {
    let token = sign_texts(r#"{"alg":"RS256"}"#, claims, &signing_key(app_key()));
    target.wix.post(&format!("/v1/{method}"), token).await.status
}

/// The claims of an order of one piece, in which each text of `replaced` is replaced.
fn with(target: &Target, replaced: &[(&str, &str)]) -> String {
    let text = claims(order(&target.site, json!([item("good", 1)]))).to_string();
    replaced.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from} in {text}");
        text.replace(from, to)
    })
}

pub(super) async fn duplicate_keys(target: &Target) -> i64 {
    let (mut taken, options) = (0, "\"appId\":");
    for (from, to, status) in [
        ("\"iss\":", "\"iss\":\"wix.com\",\"iss\":", 401),
        ("\"aud\":", "\"aud\":\"x\",\"aud\":", 401),
        ("\"data\":", "\"data\":{},\"data\":", 401),
        ("\"exp\":", "\"exp\":1,\"exp\":", 401),
        ("\"items\":", "\"items\":[],\"items\":", 428),
        ("\"metadata\":", "\"metadata\":{},\"metadata\":", 428),
        ("\"quantity\":", "\"quantity\":1,\"quantity\":", 428),
        (options, "\"options\":{},\"options\":{},\"appId\":", 428),
        ("\"currency\":", "\"currency\":1,\"currency\":", 200),
        (options, "\"options\":{\"customTextFields\":1,\"customTextFields\":2},\"appId\":", 200),
        (options, "\"options\":{\"size\":\"M\",\"size\":null},\"appId\":", 200),
        (options, "\"options\":{\"size\":null,\"size\":\"M\"},\"appId\":", 428),
        (options, "\"options\":{\"size\":1e400,\"size\":null},\"appId\":", 200),
    ] {
        assert_eq!(post(target, "decrement", &with(target, &[(from, to)])).await, status, "{to}");
        taken += i64::from(status == 200);
    }
    taken
}

pub(super) async fn numbers(target: &Target) -> i64 {
    let mut taken = 0;
    for (number, pieces) in [
        ("2", Some(2)),
        ("2.0", Some(2)),
        ("2e0", Some(2)),
        ("0.2E1", Some(2)),
        ("20e-1", Some(2)),
        ("2.00000000000000000000000000", Some(2)),
        ("\"2\"", Some(2)),
        ("\"+2\"", Some(2)),
        ("\"002\"", Some(2)),
        ("0", None),
        ("-0", None),
        ("-2", None),
        ("2.5", None),
        ("1e-400", None),
        ("1e400", None),
        ("100001", None),
        ("1e5000000000", None),
        ("9007199254740993", None),
        ("9223372036854775808", None),
        ("18446744073709551617", None),
        ("\"2.0\"", None),
        ("\" 2\"", None),
        ("\"0x2\"", None),
        ("\"2e0\"", None),
        ("\"\u{662}\"", None),
        ("\"\"", None),
        ("null", None),
        ("true", None),
        ("[2]", None),
        ("{}", None),
    ] {
        let claims = with(target, &[("\"quantity\":1", &format!("\"quantity\":{number}"))]);
        let expected = if pieces.is_some() { 200 } else { 428 };
        assert_eq!(post(target, "decrement", &claims).await, expected, "{number}");
        taken += pieces.unwrap_or_default();
    }
    // What is no JSON at all.
    for number in ["02", "+2", "2.", ".2", "0x2", "2e", "Infinity", "NaN", "2_000", "--2"] {
        let claims = with(target, &[("\"quantity\":1", &format!("\"quantity\":{number}"))]);
        assert_eq!(post(target, "decrement", &claims).await, 401, "{number}");
    }
    taken
}

pub(super) async fn guids(target: &Target) -> i64 {
    let (mut taken, site) = (0, target.site.as_str());
    let good = [site.to_owned(), site.to_uppercase(), site.replace('a', "A"), site.replace('b', "\\u0062")];
    for id in good {
        assert_eq!(post(target, "decrement", &with(target, &[(site, &id)])).await, 200, "{id}");
        taken += 1;
    }
    let bare = site.replace('-', "");
    let bad = [
        format!("{{{site}}}"),
        format!("urn:uuid:{site}"),
        bare.clone(),
        format!("{bare}----"),
        format!(" {site}"),
        format!("{site} "),
        format!("{site}\\u0000"),
        site.replacen('-', "\u{2010}", 1),
        format!("{}\u{ff11}", &site[..35]),
        format!("{}\u{ff11}", &site[..33]),
        site[..35].to_owned(),
        format!("{}g", &site[..35]),
        format!("{}-{}", &site[..7], &site[8..]),
    ];
    for id in bad {
        for field in ["instanceId", "orderId", "locationId"] {
            let mut data = order(site, json!([item("good", 1)]));
            match field {
                "instanceId" => data["metadata"][field] = json!("ID"),
                "orderId" => data["request"][field] = json!("ID"),
                _ => data["request"]["items"][0][field] = json!("ID"),
            }
            let text = claims(data).to_string().replace("\"ID\"", &format!("\"{id}\""));
            assert_eq!(post(target, "decrement", &text).await, 428, "{field} {id}");
        }
    }
    taken
}

pub(super) async fn options(target: &Target) -> i64 {
    // Each spelling returns one piece to the same unit, and the first takes all.
    let spellings = [
        r#"{"Size":"M","caf\u00e9":1.5,"id":"x"}"#,
        r#"{"id":"x","caf\u00e9":1.5,"Size":"M"}"#,
        r#"{"id":"x","caf\u00E9":15e-1,"Size":"\u004d"}"#,
        "{ \"id\" : \"x\",\n\t\"caf\u{e9}\":1.50,\"Size\":\"M\" }",
        r#"{"id":"x","café":0.15e1,"\u0053ize":"M","none":null,"customTextFields":{"a":1e400}}"#,
    ];
    let other = [
        // Decomposed: e and an accent.
        "{\"Size\":\"M\",\"cafe\u{301}\":1.5,\"id\":\"x\"}",
        // A Cyrillic M, a fullwidth one, a small one, and one with a space.
        "{\"Size\":\"\u{41c}\",\"caf\u{e9}\":1.5,\"id\":\"x\"}",
        "{\"Size\":\"\u{ff2d}\",\"caf\u{e9}\":1.5,\"id\":\"x\"}",
        "{\"Size\":\"m\",\"caf\u{e9}\":1.5,\"id\":\"x\"}",
        "{\"Size\":\"M \",\"caf\u{e9}\":1.5,\"id\":\"x\"}",
        "{\"size\":\"M\",\"caf\u{e9}\":1.5,\"id\":\"x\"}",
        "{\"Size\":\"M\",\"caf\u{e9}\":\"1.5\",\"id\":\"x\"}",
        "{\"Size\":\"M\",\"caf\u{e9}\":1.5000000000000002,\"id\":\"x\"}",
        "{\"Size\":\"M\",\"caf\u{e9}\":1.5,\"_id\":\"x\"}",
        "{\"Size\":\"M\",\"caf\u{e9}\":1.5,\"id\":\"x\",\"extra\":\"\"}",
    ];
    let call = async |method: &str, options: &str, quantity: usize| {
        let mut data = with_new_request_id(order(&target.site, json!([item_with("v", Value::from("OPTIONS"))])));
        data["request"]["items"][0]["quantity"] = json!(quantity);
        post(target, method, &claims(data).to_string().replace("\"OPTIONS\"", options)).await
    };
    for options in spellings {
        assert_eq!(call("increment", options, 1).await, 200, "{options}");
    }
    for options in other {
        assert_eq!(call("decrement", options, 1).await, 428, "{options}");
    }
    assert_eq!(call("decrement", spellings[0], spellings.len() + 1).await, 428);
    assert_eq!(call("decrement", spellings[0], spellings.len()).await, 200);
    0
}
