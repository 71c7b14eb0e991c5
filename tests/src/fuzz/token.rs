//! Tokens. The input is a body; and its first line, as the header, and the rest, as the claims, are signed.
//!
//! - A token that is accepted verifies under the key with another library's code, and under no other key.
//! - Its header names RS256 and no critical extension; its claims name the app and Wix, and are valid now.
//! - With any one character changed it is refused.
//! - Padding of the signature and whitespace after the token change nothing.

use std::collections::HashMap;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use inventory_proto::json::mend_surrogates;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde_json::Value;
use serde_json::value::RawValue;
use wix_adapter::keys;
use wix_adapter::token::{ISSUER, LEEWAY_SECONDS, Refused, UnverifiedToken, Verifier};

use super::NOW;
use crate::test_keys::{app_key, other_key, signing_key};
use crate::wix_caller::{APP_ID, sign_texts};

/// Characters of a header that is read.
const HEADER_CHARS_MAX: usize = 4_096;

struct Keys {
    signing: EncodingKey,
    public: DecodingKey,
    verifier: Verifier,
    /// Accepts another key's tokens.
    other: Verifier,
}

impl Keys {
    fn get() -> &'static Self {
        static KEYS: OnceLock<Keys> = OnceLock::new();
        KEYS.get_or_init(|| {
            let verifier = |text: &str| Verifier::new(APP_ID, vec![keys::parse(text).expect("a generated key")]);
            let public = &app_key().public;
            Self {
                signing: signing_key(app_key()),
                public: DecodingKey::from_rsa_pem(public.as_bytes()).expect("a generated key"),
                verifier: verifier(public),
                other: verifier(&other_key().public),
            }
        })
    }
}

/// The property.
pub fn token(bytes: &[u8]) {
    let _ = check(bytes);
    let Some((header, claims)) = std::str::from_utf8(bytes).ok().and_then(|text| text.split_once('\n')) else { return };
    let token = sign_texts(header, claims, &Keys::get().signing);
    let accepted = check(token.as_bytes());
    for ending in ["\n", " \r\n\t", "=", "==\n"] {
        assert_eq!(read(&Keys::get().verifier, format!("{token}{ending}").as_bytes()), accepted, "{ending:?}");
    }
    if accepted.is_ok() {
        refuses_a_change(&token, bytes);
    }
}

/// The data that a verifier reads, as text.
fn read(verifier: &Verifier, body: &[u8]) -> Result<String, Refused> {
    let token = UnverifiedToken::from_body(body)?;
    let mut payload = Vec::new();
    verifier.verify(&token, NOW, &mut payload).map(|verified| format!("{:?}", verified.into_data()))
}

/// Checks what is accepted by other means.
fn check(body: &[u8]) -> Result<String, Refused> {
    let read_once = read(&Keys::get().verifier, body);
    assert!(read(&Keys::get().other, body).is_err(), "another key did not sign it");
    let data = read_once?;
    let text = std::str::from_utf8(body).expect("an accepted token is text");
    let text = text.trim_ascii_end().trim_end_matches('=');
    let [header, claims, signature] = text.split('.').collect::<Vec<_>>()[..] else { panic!("three parts: {text}") };
    assert!(header.len() <= HEADER_CHARS_MAX);
    let message = format!("{header}.{claims}");
    let verified = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &Keys::get().public, Algorithm::RS256);
    assert!(verified.is_ok_and(|verified| verified), "the signature is good");
    let header: HashMap<String, Value> = serde_json::from_slice(&decoded(header)).expect("the header is an object");
    assert_eq!(header["alg"], "RS256");
    assert!(header.get("crit").is_none_or(Value::is_null), "no critical extension");
    check_claims(&decoded(claims));
    Ok(data)
}

fn decoded(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).expect("an accepted part is base64")
}

fn check_claims(claims: &[u8]) {
    let text = std::str::from_utf8(claims).expect("accepted claims are text");
    let mended = mend_surrogates(text);
    let claims: HashMap<String, &RawValue> =
        serde_json::from_str(mended.as_deref().unwrap_or(text)).expect("accepted claims are an object");
    let value = |name: &str| {
        claims.get(name).map_or(Value::Null, |raw| {
            serde_json::from_str(raw.get()).unwrap_or_else(|error| panic!("{name} is not read: {error}"))
        })
    };
    let (now, leeway) = (NOW as f64, LEEWAY_SECONDS as f64);
    assert_eq!(value("iss"), ISSUER);
    let audience = value("aud");
    assert!(audience == APP_ID || audience.as_array().is_some_and(|all| all.iter().any(|one| one == APP_ID)));
    assert!(value("exp").as_f64().expect("a number") >= now - leeway, "not expired");
    assert!(value("iat").as_f64().expect("a number") <= now + leeway, "issued in the past");
    assert!(value("nbf").is_null() || value("nbf").as_f64().expect("a number") <= now + leeway, "valid already");
}

/// One character of the token is another one. The input decides which.
fn refuses_a_change(token: &str, bytes: &[u8]) {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=\0";
    let seed = bytes.iter().fold(7_usize, |seed, byte| seed.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let mut changed = token.as_bytes().to_vec();
    let at = seed % changed.len();
    let other = ALPHABET[seed / changed.len() % ALPHABET.len()];
    // Padding and whitespace at the end are no part of it.
    if other == changed[at] || at + 2 >= changed.len() && b"=.\0".contains(&other) {
        return;
    }
    changed[at] = other;
    assert!(read(&Keys::get().verifier, &changed).is_err(), "changed at {at} to {other}");
}
