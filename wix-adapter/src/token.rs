//! Checks the token of a call and returns the data that Wix signed.
//!
//! The whole HTTP body is one compact JWS (documented). Only [`Verifier::verify`] makes a [`VerifiedToken`], so code
//! that holds one works on signed data.
//!
//! - Only RS256 is accepted. The algorithm is pinned here and never read from the header; otherwise an attacker could
//!   sign with HS256 and use the public key as the shared secret.
//! - `aud`, `iss`, `exp` and `iat` are required, which is stricter than Wix's own SDK.
//! - Every part has a bound, and the signature is checked before the claims are parsed. A signature whose length
//!   fits no key is refused before anything is hashed.
//! - A rehearsal's key opens one site alone, [`REHEARSAL_SITE_ID`]; so whoever gets hold of it cannot touch any other.
//! - There is no replay check: a replayed token has the same idempotency key, and the server answers from its record.
//! - No error, log or debug text shows any part of a token.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use inventory_program::Reloaded;
use inventory_proto::json::mend_surrogates;
use jsonwebtoken::Algorithm;
use jsonwebtoken::errors::ErrorKind;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::keys::PublicKey;
use crate::wire::{BadField, Data, Text};

/// Tolerance for clocks that differ, in seconds. Wix documents none; without one, a clock that runs behind Wix's clock
/// refuses fresh tokens. An expired token stays valid for this much longer.
pub const LEEWAY_SECONDS: u64 = 30;

/// The issuer of every token of Wix (documented).
pub const ISSUER: &str = "wix.com";

/// The site of rehearsals (`wix-adapter rehearse`): the only one that the rehearsal's keys open. It belongs to no app's
/// installation, and spells TEST.
pub const REHEARSAL_SITE_ID: &str = "7e577e57-7e57-4e57-8e57-7e577e577e57";

/// Characters of a header. It names the algorithm, and perhaps a key or its certificates. A longer one is not read.
const HEADER_CHARS_MAX: usize = 4_096;
/// Characters of a signature: those of the largest key that is accepted, 8,192 bits.
const SIGNATURE_CHARS_MAX: usize = (8_192_usize / 8 * 4).div_ceil(3);

/// The keys and claims that a token must match.
pub struct Verifier {
    app_id: String,
    keys: Reloaded<Vec<PublicKey>>,
    rehearsal: Option<Reloaded<Vec<PublicKey>>>,
}

/// Whose key made a signature.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signer {
    Wix,
    Rehearsal,
}

/// A token that is not checked yet. Its debug text shows nothing of it.
pub struct UnverifiedToken<'a>(&'a str);

/// The data that Wix signed: the claim `data`, or its field that cannot be read.
pub struct VerifiedToken<'p> {
    data: Result<Data<'p>, BadField>,
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
    /// The header is longer than any that Wix sends.
    #[error("the header is too long")]
    HeaderTooLong,
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
    /// A key of the rehearsal signed it for another site, or for none.
    #[error("signed with a rehearsal's key, which opens the rehearsal's site alone")]
    NotRehearsalSite,
    /// There is no key to check it with.
    #[error("no key is configured")]
    NoKey,
    /// Something else is wrong with it.
    #[error("malformed")]
    Malformed,
}

impl Refused {
    /// All causes.
    pub const ALL: [Self; 17] = [
        Self::NotText,
        Self::NotCompact,
        Self::NotBase64,
        Self::HeaderTooLong,
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
        Self::NotRehearsalSite,
        Self::NoKey,
        Self::Malformed,
    ];

    /// The value of the label `cause` in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotText => "not_text",
            Self::NotCompact => "not_compact",
            Self::NotBase64 => "not_base64",
            Self::HeaderTooLong => "header_too_long",
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
            Self::NotRehearsalSite => "not_rehearsal_site",
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

/// The claims. `D` is the type of the claim `data`.
#[derive(Deserialize)]
#[serde(bound(deserialize = "D: Deserialize<'de>"))]
struct Claims<'p, D> {
    #[serde(borrow)]
    iss: Option<Text<'p>>,
    #[serde(borrow)]
    aud: Option<Audience<'p>>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
    data: Option<D>,
}

/// One audience, or several. Only Wix's form, one, is documented.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience<'p> {
    One(#[serde(borrow)] Text<'p>),
    Several(#[serde(borrow)] Vec<Text<'p>>),
}

impl Verifier {
    /// Accepts tokens for `app_id` that any of `keys` signed. Several keys allow a rotation.
    pub fn new(app_id: &str, keys: Vec<PublicKey>) -> Self {
        Self::reloaded(app_id, Reloaded::fixed(keys))
    }

    /// The same, with keys that may change. A token is checked with those of its time.
    pub fn reloaded(app_id: &str, keys: Reloaded<Vec<PublicKey>>) -> Self {
        Self { app_id: app_id.to_owned(), keys, rehearsal: None }
    }

    /// Also accepts tokens for [`REHEARSAL_SITE_ID`] that any of these keys signed.
    #[must_use]
    pub fn with_rehearsal(self, keys: Option<Reloaded<Vec<PublicKey>>>) -> Self {
        Self { rehearsal: keys, ..self }
    }

    /// Checks the signature and the claims. `now` is in seconds since 1970. `payload` gets the text of the claims, from
    /// which the answer borrows.
    pub fn verify<'p>(
        &self,
        token: &UnverifiedToken<'_>,
        now: u64,
        payload: &'p mut Vec<u8>,
    ) -> Result<VerifiedToken<'p>, Refused> {
        // Wix's SDK accepts padding on the signature.
        let token = token.0.trim_end_matches('=');
        let (message, signature) = token.rsplit_once('.').ok_or(Refused::NotCompact)?;
        let (header, claims) = message.split_once('.').ok_or(Refused::NotCompact)?;
        if claims.contains('.') {
            return Err(Refused::NotCompact);
        }
        if header.len() > HEADER_CHARS_MAX {
            return Err(Refused::HeaderTooLong);
        }
        self.check_header(header)?;
        let signer = self.check_signature(message, signature)?;
        payload.clear();
        URL_SAFE_NO_PAD.decode_vec(claims, payload).map_err(|_| Refused::NotBase64)?;
        let verified = self.check_claims(payload, now)?;
        match signer {
            Signer::Rehearsal if !verified.is_for_rehearsal() => Err(Refused::NotRehearsalSite),
            Signer::Rehearsal | Signer::Wix => Ok(verified),
        }
    }

    /// Checks the claims of a token alone, as if it were signed.
    #[cfg(feature = "fuzz")]
    pub(crate) fn unsigned<'p>(&self, payload: &'p mut Vec<u8>, now: u64) -> Result<VerifiedToken<'p>, Refused> {
        self.check_claims(payload, now)
    }

    fn check_header(&self, header: &str) -> Result<(), Refused> {
        // The library looks for the header from the end, which costs a token of 300 items 30 µs. So it gets no claims.
        let header = jsonwebtoken::decode_header(format!("{header}..")).map_err(|error| match error.kind() {
            ErrorKind::InvalidToken => Refused::NotCompact,
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => Refused::WrongAlgorithm,
            ErrorKind::Json(_) => Refused::WrongForm,
            ErrorKind::Base64(_) => Refused::NotBase64,
            // The library's enum is non-exhaustive: a minor version may add kinds.
            _ => Refused::Malformed,
        })?;
        if header.alg != Algorithm::RS256 {
            return Err(Refused::WrongAlgorithm);
        }
        if header.crit.is_some() {
            return Err(Refused::CriticalExtensions);
        }
        Ok(())
    }

    fn check_signature(&self, message: &str, signature: &str) -> Result<Signer, Refused> {
        let keys = self.keys.current();
        if keys.is_empty() {
            return Err(Refused::NoKey);
        }
        if signature.len() > SIGNATURE_CHARS_MAX {
            return Err(Refused::WrongSignature);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refused::NotBase64)?;
        let signed = |keys: &[PublicKey]| keys.iter().any(|key| key.signed(message.as_bytes(), &signature));
        if signed(&keys) {
            return Ok(Signer::Wix);
        }
        let is_rehearsal = self.rehearsal.as_ref().is_some_and(|keys| signed(&keys.current()));
        is_rehearsal.then_some(Signer::Rehearsal).ok_or(Refused::WrongSignature)
    }

    /// Reads the claims once. Only if that fails are they read again, to find out whether it is the data that is bad.
    fn check_claims<'p>(&self, payload: &'p mut Vec<u8>, now: u64) -> Result<VerifiedToken<'p>, Refused> {
        let text = std::str::from_utf8(payload).map_err(|_| Refused::WrongForm)?;
        // JavaScript writes a text that was cut between the halves of a surrogate pair, which is no JSON for others.
        if let Some(mended) = mend_surrogates(text) {
            *payload = mended.into_bytes();
        }
        let payload: &'p [u8] = payload;
        match serde_json::from_slice::<Claims<'p, Data<'p>>>(payload) {
            Ok(claims) => {
                let data = self.check(claims, now)?;
                Ok(VerifiedToken { data: data.ok_or_else(BadField::no_data) })
            }
            Err(_) => {
                let claims = serde_json::from_slice::<Claims<'p, &'p RawValue>>(payload);
                let data = self.check(claims.map_err(|_| Refused::WrongForm)?, now)?;
                Ok(VerifiedToken { data: Err(data.map_or_else(BadField::no_data, |raw| BadField::of(raw.get()))) })
            }
        }
    }

    /// Checks the claims; returns the claim `data`.
    fn check<D>(&self, claims: Claims<'_, D>, now: u64) -> Result<Option<D>, Refused> {
        let Claims { iss, aud, exp, nbf, iat, data } = claims;
        let (Some(iss), Some(aud), Some(exp), Some(iat)) = (iss, aud, exp, iat) else {
            return Err(Refused::MissingClaim);
        };
        // The casts are exact for any time below 2^53 seconds.
        let (earliest, latest) = (now.saturating_sub(LEEWAY_SECONDS) as f64, now.saturating_add(LEEWAY_SECONDS) as f64);
        if exp < earliest {
            return Err(Refused::Expired);
        }
        if nbf.is_some_and(|nbf| nbf > latest) {
            return Err(Refused::NotYetValid);
        }
        if iss.as_str() != ISSUER {
            return Err(Refused::WrongIssuer);
        }
        let is_for_us = |audience: &Text<'_>| audience.as_str() == self.app_id;
        let is_meant = match &aud {
            Audience::One(audience) => is_for_us(audience),
            Audience::Several(audiences) => audiences.iter().any(is_for_us),
        };
        if !is_meant {
            return Err(Refused::WrongAudience);
        }
        if iat > latest {
            return Err(Refused::IssuedInFuture);
        }
        Ok(data)
    }
}

impl<'p> VerifiedToken<'p> {
    /// Whether the call is for the site of rehearsals. Data that cannot be read is for none.
    fn is_for_rehearsal(&self) -> bool {
        let metadata = self.data.as_ref().ok().and_then(|data| data.metadata.as_ref());
        metadata.is_some_and(|metadata| metadata.instance_id.as_str() == REHEARSAL_SITE_ID)
    }

    /// The data, or its field that cannot be read.
    pub fn into_data(self) -> Result<Data<'p>, BadField> {
        self.data
    }
}

#[cfg(test)]
mod tests;
