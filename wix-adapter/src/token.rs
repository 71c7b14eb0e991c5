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

use inventory_program::Reloaded;
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
    keys: Reloaded<Vec<DecodingKey>>,
    validation: Validation,
}

/// A token that is not checked yet. Its debug text shows nothing of it.
pub struct UnverifiedToken<'a>(&'a str);

/// The data that Wix signed: the claim `data`, still as JSON text.
pub struct VerifiedToken {
    data: Option<Box<RawValue>>,
}

/// Why a token was refused. It is for the log and the metrics only: the caller gets no detail that helps an attacker.
/// The texts are fixed and quote nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The body is not UTF-8.
    #[error("the body is not UTF-8 text")]
    NotText,
    /// The form is wrong.
    #[error("not a compact token of three parts")]
    NotCompact,
    /// A part is not base64.
    #[error("not base64")]
    NotBase64,
    /// The header or the claims are not the JSON that they must be.
    #[error("the header or the claims have the wrong form")]
    WrongForm,
    /// The header asks for extensions.
    #[error("the header has critical extensions, which are not supported")]
    CriticalExtensions,
    /// The algorithm is not RS256.
    #[error("wrong algorithm")]
    WrongAlgorithm,
    /// None of the keys made the signature.
    #[error("wrong signature")]
    WrongSignature,
    /// It is for another app.
    #[error("wrong audience")]
    WrongAudience,
    /// It is not from Wix.
    #[error("wrong issuer")]
    WrongIssuer,
    /// Its time is over.
    #[error("expired")]
    Expired,
    /// Its time has not come.
    #[error("not valid yet")]
    NotYetValid,
    /// It was issued in the future.
    #[error("issued in the future")]
    IssuedInFuture,
    /// A claim is missing.
    #[error("a required claim is missing")]
    MissingClaim,
    /// There is no key to check it with.
    #[error("no key is configured")]
    NoKey,
    /// Something else is wrong with it.
    #[error("malformed")]
    Malformed,
}

impl Refused {
    /// All causes.
    pub const ALL: [Self; 15] = [
        Self::NotText,
        Self::NotCompact,
        Self::NotBase64,
        Self::WrongForm,
        Self::CriticalExtensions,
        Self::WrongAlgorithm,
        Self::WrongSignature,
        Self::WrongAudience,
        Self::WrongIssuer,
        Self::Expired,
        Self::NotYetValid,
        Self::IssuedInFuture,
        Self::MissingClaim,
        Self::NoKey,
        Self::Malformed,
    ];

    /// The value of the label `cause` in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotText => "not_text",
            Self::NotCompact => "not_compact",
            Self::NotBase64 => "not_base64",
            Self::WrongForm => "wrong_form",
            Self::CriticalExtensions => "critical_extensions",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::WrongSignature => "wrong_signature",
            Self::WrongAudience => "wrong_audience",
            Self::WrongIssuer => "wrong_issuer",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedInFuture => "issued_in_future",
            Self::MissingClaim => "missing_claim",
            Self::NoKey => "no_key",
            Self::Malformed => "malformed",
        }
    }
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
        Self::reloaded(app_id, Reloaded::fixed(keys))
    }

    /// The same, with keys that may change. A token is checked with those of its time.
    pub fn reloaded(app_id: &str, keys: Reloaded<Vec<DecodingKey>>) -> Self {
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
        let mut refused = Refused::NoKey;
        for key in self.keys.current().iter() {
            match jsonwebtoken::decode::<Claims>(unpadded, key, &self.validation) {
                Ok(token) if token.header.crit.is_some() => {
                    return Err(Refused::CriticalExtensions);
                }
                Ok(token) => return accept(token.claims, now),
                Err(error) => refused = refusal_of(&error),
            }
        }
        Err(refused)
    }
}

fn accept(claims: Claims, now: u64) -> Result<VerifiedToken, Refused> {
    // The library also accepts a list of issuers that contains the right one. `iss: String` does not.
    if claims.iss != ISSUER {
        return Err(Refused::WrongIssuer);
    }
    let latest = now.saturating_add(LEEWAY_SECONDS);
    // The cast is exact for any time below 2^53 seconds.
    if !claims.iat.is_finite() || claims.iat > latest as f64 {
        return Err(Refused::IssuedInFuture);
    }
    Ok(VerifiedToken { data: claims.data })
}

impl VerifiedToken {
    /// The JSON text of the claim `data`; `null` if the claim is missing.
    pub fn data(&self) -> &str {
        self.data.as_ref().map_or("null", |data| data.get())
    }
}

fn refusal_of(error: &jsonwebtoken::errors::Error) -> Refused {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidToken => Refused::NotCompact,
        ErrorKind::InvalidSignature => Refused::WrongSignature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => Refused::WrongAlgorithm,
        ErrorKind::ExpiredSignature => Refused::Expired,
        ErrorKind::ImmatureSignature => Refused::NotYetValid,
        ErrorKind::InvalidAudience => Refused::WrongAudience,
        ErrorKind::InvalidIssuer => Refused::WrongIssuer,
        ErrorKind::MissingRequiredClaim(_) => Refused::MissingClaim,
        ErrorKind::Json(_) => Refused::WrongForm,
        ErrorKind::Base64(_) => Refused::NotBase64,
        // The library's enum is non-exhaustive: a minor version may add kinds.
        _ => Refused::Malformed,
    }
}
