//! Which tokens the adapter accepts: every row of the SDK's table (`wix-protocol.md`, section 8), with stricter answers
//! in some rows. A call with a refused token changes no stock.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use inventory_tests::on_both;
use inventory_tests::test_keys::{app_key, other_key, signing_key};
use inventory_tests::wix_caller::{claims, item, now, order, sign, sign_texts};
use inventory_tests::world::World;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use wix_adapter::keys;

on_both!(invalid_tokens_are_refused, valid_tokens_are_accepted);

/// A public key of 1,024 bits: DER in base64.
const SMALL_KEY: &str = "\
    MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDbIZrh4lc24+NJ3wKrmF9LfwEK9MMvDPPTUXPYBlQOuJ8HQSHHgBu79ahVLjR362OKJ5qw\
    gAKmJR56T+W5cOfMmU8OZuHnZmStTjK9i6TNgCSW1I0Y2KNM/c8T2a4CkisnvvPUt7t7s4OwxtdPEko8+x1zTXFzFAS10pYic+NlEQIDAQAB";

/// A token with any JSON as its header and claims. It is signed with RS256, whatever the header says.
fn crafted(header: &Value, claims: &Value, key: &EncodingKey) -> String {
    sign_texts(&header.to_string(), &claims.to_string(), key)
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().expect("an object").remove(name);
    claims
}

/// Tokens that are refused, each with its name: orders of a site for a unit "A".
pub(crate) fn refused(site: &str) -> Vec<(&'static str, String)> {
    let good = || claims(order(site, json!([item("A", 1)])));
    let key = signing_key(app_key());
    let rs = |claims: Value| sign(Algorithm::RS256, &key, &claims);
    let token = rs(good());
    let (message, signature) = token.rsplit_once('.').expect("a token has three parts");
    let (header, payload) = message.split_once('.').expect("a token has three parts");
    let shared_secret = EncodingKey::from_secret(app_key().public.as_bytes());
    let other_jwk = json!({"alg": "RS256", "jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}});
    let far = claims(order(site, json!([item("A", 50)])));

    vec![
        ("empty body", String::new()),
        ("no token", "hello".into()),
        ("two parts", message.to_owned()),
        ("four parts", format!("{token}.x")),
        ("in JSON", json!({"token": token}).to_string()),
        ("in quotes", format!("\"{token}\"")),
        ("leading space", format!(" {token}")),
        ("another key", sign(Algorithm::RS256, &signing_key(other_key()), &good())),
        ("altered payload", format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(far.to_string()))),
        ("altered header", format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","x":1}"#))),
        ("key in the header", crafted(&other_jwk, &good(), &signing_key(other_key()))),
        ("no signature", format!("{message}.")),
        ("alg none", format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#))),
        ("alg in lower case", crafted(&json!({"alg": "rs256"}), &good(), &key)),
        ("no alg", crafted(&json!({"typ": "JWT"}), &good(), &key)),
        ("public key as a secret", sign(Algorithm::HS256, &shared_secret, &good())),
        ("RS384", sign(Algorithm::RS384, &key, &good())),
        ("RS512", sign(Algorithm::RS512, &key, &good())),
        ("PS256", sign(Algorithm::PS256, &key, &good())),
        ("unknown crit", crafted(&json!({"alg": "RS256", "crit": ["x"], "x": 1}), &good(), &key)),
        ("expired", rs(with(good(), "exp", json!(now() - 31)))),
        ("no exp", rs(without(good(), "exp"))),
        ("exp null", rs(with(good(), "exp", Value::Null))),
        ("exp as a string", rs(with(good(), "exp", json!((now() + 300).to_string())))),
        ("no iat", rs(without(good(), "iat"))),
        ("iat as a string", rs(with(good(), "iat", json!(now().to_string())))),
        ("iat an hour ahead", rs(with(good(), "iat", json!(now() + 3_600)))),
        ("nbf ahead", rs(with(good(), "nbf", json!(now() + 3_600)))),
        ("another aud", rs(with(good(), "aud", json!("bbbbbbbb-0000-4000-8000-000000000001")))),
        ("no aud", rs(without(good(), "aud"))),
        ("aud in upper case", rs(with(good(), "aud", json!("AAAAAAAA-0000-4000-8000-000000000001")))),
        ("another iss", rs(with(good(), "iss", json!("example.com")))),
        ("no iss", rs(without(good(), "iss"))),
        ("iss in upper case", rs(with(good(), "iss", json!("WIX.COM")))),
        ("iss as a URL", rs(with(good(), "iss", json!("https://wix.com")))),
        ("iss in a list", rs(with(good(), "iss", json!(["wix.com"])))),
        ("claims are a list", rs(json!([1]))),
        ("a header of more than 4 KiB", crafted(&json!({"alg": "RS256", "x": "x".repeat(3_100)}), &good(), &key)),
        ("an endless header", format!("{}.{payload}.{signature}", "a".repeat(3 * 1024 * 1024))),
        ("an endless signature", format!("{message}.{}", "a".repeat(3 * 1024 * 1024))),
    ]
}

async fn invalid_tokens_are_refused(world: World) {
    world.set(&[("A", 100)]).await;
    for (name, body) in refused(&world.site) {
        for method in ["decrement", "increment"] {
            let answer = world.wix.post(&format!("/v1/{method}"), body.clone()).await;
            assert_eq!(answer.status, 401, "{name}");
            assert_eq!(
                answer.body,
                json!({"message": "the token was not accepted"}),
                "{name}: the answer has no details"
            );
        }
    }

    let good = || claims(order(&world.site, json!([item("A", 1)])));
    let rs = |claims: Value| sign(Algorithm::RS256, &signing_key(app_key()), &claims);
    // The token is valid, but its data is not a call of this plugin. The refusal names the field.
    let data = || order(&world.site, json!([item("A", 1)]));
    let other_plugin = {
        let mut data = data();
        data["metadata"]["appExtensionType"] = json!("ECOM_SHIPPING_RATES");
        data
    };
    let rows: Vec<(&str, Value, &str)> = vec![
        ("data as a string", with(good(), "data", json!(data().to_string())), "data"),
        ("no data", without(good(), "data"), "data"),
        ("no metadata", with(good(), "data", without(data(), "metadata")), "metadata"),
        ("another plugin", with(good(), "data", other_plugin), "metadata.appExtensionType"),
        ("no request", with(good(), "data", without(data(), "request")), "request"),
    ];
    for (name, claims, field) in rows {
        let answer = world.wix.post("/v1/decrement", rs(claims)).await;
        assert_eq!(answer.status, 428, "{name}");
        assert_eq!(*answer.error_data("field"), *field, "{name}");
    }
    assert_eq!(world.entries().await.len(), 1, "the ledger has only the entry that set the stock");
}

async fn valid_tokens_are_accepted(world: World) {
    let world = Arc::new(world);
    world.set(&[("A", 1_000)]).await;
    let good = || claims(order(&world.site, json!([item("A", 1)])));
    let key = signing_key(app_key());
    let rs = |claims: Value| sign(Algorithm::RS256, &key, &claims);
    let lower_case_plugin = {
        let mut data = order(&world.site, json!([item("A", 1)]));
        data["metadata"]["appExtensionType"] = json!("ecom_inventory");
        claims(data)
    };
    let no_plugin = {
        let mut data = order(&world.site, json!([item("A", 1)]));
        data["metadata"].as_object_mut().expect("an object").remove("appExtensionType");
        claims(data)
    };
    let rows: Vec<(&str, String)> = vec![
        ("a plain token", rs(good())),
        ("a newline after it", format!("{}\n", rs(good()))),
        ("padding on the signature", format!("{}==", rs(good()))),
        ("any kid and typ", {
            let header = Header { kid: Some("any".into()), typ: Some("x".into()), ..Header::new(Algorithm::RS256) };
            jsonwebtoken::encode(&header, &good(), &key).expect("the key can sign")
        }),
        ("no typ", crafted(&json!({"alg": "RS256"}), &good(), &key)),
        ("exp within the leeway", rs(with(good(), "exp", json!(now() - 5)))),
        ("iat within the leeway", rs(with(good(), "iat", json!(now() + 5)))),
        ("exp in milliseconds", rs(with(good(), "exp", json!((now() + 300) * 1_000)))),
        ("exp with a fraction", rs(with(good(), "exp", json!(now() as f64 + 300.5)))),
        ("a long life", rs(with(good(), "exp", json!(now() + 300_000)))),
        ("iat ten years ago", rs(with(good(), "iat", json!(now() - 315_000_000)))),
        ("aud in a list", rs(with(good(), "aud", json!(["x", "aaaaaaaa-0000-4000-8000-000000000001"])))),
        ("the plugin in lower case", rs(lower_case_plugin)),
        ("no plugin named", rs(no_plugin)),
    ];
    let count = rows.len() as i64;
    for (name, body) in rows {
        let answer = world.wix.post("/v1/decrement", body).await;
        assert_eq!((answer.status, answer.body), (200, json!({})), "{name}");
    }
    assert_eq!(world.level("A").await, 1_000 - count);
}

#[test]
fn public_keys_are_read_in_every_pasted_form() {
    let pem = &app_key().public;
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(&body).expect("base64");
    // The PKCS#1 key is the bit string inside the SPKI wrapper, whose prefix is 24 bytes for 2,048 bits.
    let pkcs1 = STANDARD.encode(&der[24..]);
    let forms = [
        ("PEM", pem.clone()),
        ("PEM with spaces and empty lines around it", format!("  {pem}\n\n")),
        ("PEM with CRLF", pem.replace('\n', "\r\n")),
        ("PEM with \\n as text", pem.trim_end().replace('\n', "\\n")),
        ("PEM with spaces for line breaks", pem.replace('\n', " ")),
        ("PEM without line breaks", pem.replace('\n', "")),
        ("PEM with \\n as text, in quotes", format!("\"{}\"", pem.trim_end().replace('\n', "\\n"))),
        ("PEM in base64", STANDARD.encode(pem)),
        ("PEM in base64 and a line break", format!("{}\n", STANDARD.encode(pem))),
        ("DER in base64", body.clone()),
        ("DER in base64 and a line break", format!("{body}\n")),
        ("DER in base64 without padding", body.trim_end_matches('=').to_owned()),
        ("PKCS#1 in base64", pkcs1.clone()),
        ("PKCS#1 as PEM", format!("-----BEGIN RSA PUBLIC KEY-----\n{pkcs1}\n-----END RSA PUBLIC KEY-----\n")),
    ];
    for (name, form) in &forms {
        assert!(keys::parse(form).is_ok(), "{name}: {form}");
    }
    for bad in ["", "hello", "-----BEGIN PUBLIC KEY-----", &app_key().private, &body[..100], SMALL_KEY] {
        assert!(keys::parse(bad).is_err(), "{bad}");
    }
    let two = format!("{pem}{}", other_key().public);
    assert_eq!(keys::parse_file(&two).map(|keys| keys.len()), Ok(2));
    assert_eq!(keys::parse_file(pem).map(|keys| keys.len()), Ok(1));
    assert_eq!(keys::parse_file(&body).map(|keys| keys.len()), Ok(1));
}

#[test]
fn tokens_of_each_configured_key_are_accepted_so_that_keys_can_be_rotated() {
    use wix_adapter::token::{UnverifiedToken, Verifier};
    let found =
        [app_key(), other_key()].map(|files| keys::parse(&files.public).expect("a generated key can be parsed"));
    let verifier = Verifier::new(inventory_tests::wix_caller::APP_ID, found.to_vec());
    for files in [app_key(), other_key()] {
        let token = sign(Algorithm::RS256, &signing_key(files), &claims(json!({})));
        let token = UnverifiedToken::from_body(token.as_bytes()).expect("a token is text");
        assert!(verifier.verify(&token, now(), &mut Vec::new()).is_ok());
    }
}
