//! A way to the reader of claims without a signature, for the fuzz targets of `tests/fuzz/`: a fuzzer cannot sign fast.
//!
//! It stands behind the feature `fuzz`, which only the tests ask for. It makes no [`VerifiedToken`](crate::token) that
//! others could use, only the call that would have been sent.

use crate::convert::{Converted, Method, convert};
use crate::token::{Refused, UnverifiedToken, Verifier};
use crate::wire::BadField;

/// Checks and converts the claims of a token for `app_id`, as if they were signed. `token` is the text whose hash is
/// the idempotency key where the claims name none. `now` is in seconds since 1970.
pub fn convert_unsigned(
    method: Method,
    app_id: &str,
    claims: &[u8],
    token: &str,
    now: u64,
) -> Result<Result<Converted, BadField>, Refused> {
    let verifier = Verifier::new(app_id, Vec::new());
    let token = UnverifiedToken::from_body(token.as_bytes())?;
    let mut payload = claims.to_vec();
    let verified = verifier.unsigned(&mut payload, now)?;
    Ok(convert(method, verified, &token))
}
