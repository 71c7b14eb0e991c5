//! From the body of a call to what Wix signed.
//!
//! The whole body is one compact JWS (documented). RS256 alone is accepted: the algorithm is
//! pinned here and never taken from the header, or the public key could be used as a shared
//! secret. `exp` and `iat` are required, which is stricter than Wix's own SDK.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::provider;

/// Tolerance for clocks that differ, in seconds. Wix documents none; without one, a clock that is
/// slow against Wix's refuses fresh tokens. If it grew, an expired token would live so much longer.
pub const LEEWAY_SECONDS: u64 = 30;

/// The issuer of every token of Wix (documented).
pub const ISSUER: &str = "wix.com";

/// What tokens are checked against.
pub struct Verifier {
    keys: Vec<DecodingKey>,
    validation: Validation,
}

/// A token that nobody has checked. Its debug form shows nothing of it.
pub struct UnverifiedToken<'a>(&'a str);

/// What Wix signed: the claim `data`, still as text.
pub struct VerifiedToken {
    data: Option<Box<RawValue>>,
}

/// Why a token was refused: for the log. The caller is told nothing that helps an attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The body is not text.
    #[error("the body is not text")]
    NotText,
    /// Not signed as required, or not by any of the keys, or a claim is wrong.
    #[error("{0}")]
    Token(&'static str),
}

impl<'a> UnverifiedToken<'a> {
    /// The body of a call. White space after the token is let pass, as Wix's SDK does.
    pub fn from_body(body: &'a [u8]) -> Result<Self, Refused> {
        let text = std::str::from_utf8(body).map_err(|_| Refused::NotText)?;
        Ok(Self(text.trim_ascii_end()))
    }

    /// The token's text: good for deriving a key from it, not for believing it.
    pub fn as_str(&self) -> &str {
        self.0
    }
}

impl fmt::Debug for UnverifiedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnverifiedToken")
    }
}

/// The claims that the library does not check, or does not hand on.
#[derive(Deserialize)]
struct Claims {
    iat: f64,
    iss: String,
    #[serde(default)]
    data: Option<Box<RawValue>>,
}

impl Verifier {
    /// Accepts tokens for `app_id` under any of `keys`: several, so that keys can be rotated.
    pub fn new(app_id: &str, keys: Vec<DecodingKey>) -> Self {
        provider::install();
        let mut validation = Validation::new(Algorithm::RS256);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_audience(&[app_id]);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "aud", "iss"]);
        Self { keys, validation }
    }

    /// Checks signature and claims at the time `now`, in seconds since 1970.
    pub fn verify(&self, token: &UnverifiedToken<'_>, now: u64) -> Result<VerifiedToken, Refused> {
        // The signature may be padded (Wix's SDK accepts it); the library wants it bare.
        let bare = token.0.trim_end_matches('=');
        let mut refused = Refused::Token("no key is configured");
        for key in &self.keys {
            match jsonwebtoken::decode::<Claims>(bare, key, &self.validation) {
                Ok(found) if found.header.crit.is_some() => {
                    return Err(Refused::Token("the header names extensions that must be understood"));
                }
                Ok(found) => return accept(found.claims, now),
                Err(error) => refused = Refused::Token(told(&error)),
            }
        }
        Err(refused)
    }
}

fn accept(claims: Claims, now: u64) -> Result<VerifiedToken, Refused> {
    // The library would also take a list of issuers that holds the right one; `iss: String` does not.
    if claims.iss != ISSUER {
        return Err(Refused::Token("wrong issuer"));
    }
    let latest = now.saturating_add(LEEWAY_SECONDS);
    // Exact for any time below 2^53 seconds.
    if !claims.iat.is_finite() || claims.iat > latest as f64 {
        return Err(Refused::Token("issued in the future"));
    }
    Ok(VerifiedToken { data: claims.data })
}

impl VerifiedToken {
    /// The JSON text of the claim `data`; `null` where it is missing.
    pub fn data(&self) -> &str {
        self.data.as_ref().map_or("null", |data| data.get())
    }
}

/// A fixed word for each kind of failure, so that no part of a token gets into a log.
fn told(error: &jsonwebtoken::errors::Error) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidToken => "not a compact token of three parts",
        ErrorKind::InvalidSignature => "wrong signature",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => "wrong algorithm",
        ErrorKind::ExpiredSignature => "expired",
        ErrorKind::ImmatureSignature => "not valid yet",
        ErrorKind::InvalidAudience => "wrong audience",
        ErrorKind::InvalidIssuer => "wrong issuer",
        ErrorKind::MissingRequiredClaim(_) => "a required claim is missing",
        ErrorKind::Json(_) => "header or claims are not as expected",
        ErrorKind::Base64(_) => "not base64",
        // The library may add kinds in minor versions.
        _ => "malformed",
    }
}
