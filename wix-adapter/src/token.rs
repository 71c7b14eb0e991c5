//! Checks the token of a call and returns the data that Wix signed.
//!
//! The whole HTTP body is one compact JWS (documented). Only [`Verifier::verify`] makes a [`VerifiedToken`], so code
//! that holds one works on signed data.
//!
//! - Only RS256 is accepted. The algorithm is pinned here and never read from the header; otherwise an attacker could
//!   sign with HS256 and use the public key as the shared secret.
//! - `aud`, `iss`, `exp` and `iat` are required, which is stricter than Wix's own SDK.
//! - There is no replay check: a replayed token has the same idempotency key, and the server answers from its record.
//! - No error, log or debug text shows any part of a token.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::provider;

/// Tolerance for clocks that differ, in seconds. Wix documents none; without one, a clock that runs behind Wix's clock
/// refuses fresh tokens. An expired token stays valid for this much longer.
pub const LEEWAY_SECONDS: u64 = 30;

/// The issuer of every token of Wix (documented).
pub const ISSUER: &str = "wix.com";

/// The keys and claims that a token must match.
pub struct Verifier {
    keys: Vec<DecodingKey>,
    validation: Validation,
}

/// A token that is not checked yet. Its debug text shows nothing of it.
pub struct UnverifiedToken<'a>(&'a str);

/// The data that Wix signed: the claim `data`, still as JSON text.
pub struct VerifiedToken {
    data: Option<Box<RawValue>>,
}

/// Why a token was refused. It is for the log only: the caller gets no detail that helps an attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The body is not UTF-8.
    #[error("the body is not UTF-8 text")]
    NotText,
    /// The form, the signature or a claim is wrong. The text is fixed and quotes nothing.
    #[error("{0}")]
    Token(&'static str),
}

impl<'a> UnverifiedToken<'a> {
    /// The token in the body of a call. Whitespace after it is ignored, as in Wix's SDK.
    pub fn from_body(body: &'a [u8]) -> Result<Self, Refused> {
        let text = std::str::from_utf8(body).map_err(|_| Refused::NotText)?;
        Ok(Self(text.trim_ascii_end()))
    }

    /// The text of the token. Use it to derive an idempotency key, never to read claims.
    pub fn as_str(&self) -> &str {
        self.0
    }
}

impl fmt::Debug for UnverifiedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnverifiedToken")
    }
}

/// The claims that the library does not check, or does not return.
#[derive(Deserialize)]
struct Claims {
    iat: f64,
    iss: String,
    #[serde(default)]
    data: Option<Box<RawValue>>,
}

impl Verifier {
    /// Accepts tokens for `app_id` that any of `keys` signed. Several keys allow a rotation.
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

    /// Checks the signature and the claims. `now` is in seconds since 1970 and is compared with `iat`.
    pub fn verify(&self, token: &UnverifiedToken<'_>, now: u64) -> Result<VerifiedToken, Refused> {
        // Wix's SDK accepts padding on the signature; the library does not.
        let unpadded = token.0.trim_end_matches('=');
        let mut refused = Refused::Token("no key is configured");
        for key in &self.keys {
            match jsonwebtoken::decode::<Claims>(unpadded, key, &self.validation) {
                Ok(token) if token.header.crit.is_some() => {
                    return Err(Refused::Token("the header has critical extensions, which are not supported"));
                }
                Ok(token) => return accept(token.claims, now),
                Err(error) => refused = Refused::Token(reason_of(&error)),
            }
        }
        Err(refused)
    }
}

fn accept(claims: Claims, now: u64) -> Result<VerifiedToken, Refused> {
    // The library also accepts a list of issuers that contains the right one. `iss: String` does not.
    if claims.iss != ISSUER {
        return Err(Refused::Token("wrong issuer"));
    }
    let latest = now.saturating_add(LEEWAY_SECONDS);
    // The cast is exact for any time below 2^53 seconds.
    if !claims.iat.is_finite() || claims.iat > latest as f64 {
        return Err(Refused::Token("issued in the future"));
    }
    Ok(VerifiedToken { data: claims.data })
}

impl VerifiedToken {
    /// The JSON text of the claim `data`; `null` if the claim is missing.
    pub fn data(&self) -> &str {
        self.data.as_ref().map_or("null", |data| data.get())
    }
}

/// A fixed text for each kind of failure, so that no part of a token gets into a log.
fn reason_of(error: &jsonwebtoken::errors::Error) -> &'static str {
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
        ErrorKind::Json(_) => "the header or the claims have the wrong form",
        ErrorKind::Base64(_) => "not base64",
        // The library's enum is non-exhaustive: a minor version may add kinds.
        _ => "malformed",
    }
}
