//! The library's cryptography on aws-lc-rs, with public keys parsed once.
//!
//! The library would read a key from its bytes for every check, and so compute the constants of
//! its modulus anew: a third of the cost of a check. This keeps parsed keys instead.

use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, aws_lc};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey};

static PROVIDER: LazyLock<CryptoProvider> =
    LazyLock::new(|| CryptoProvider { verifier_factory: verifier, ..aws_lc::DEFAULT_PROVIDER.clone() });

/// Keys by their DER bytes: those of the settings, so few.
static PARSED: LazyLock<RwLock<HashMap<Vec<u8>, ParsedPublicKey>>> = LazyLock::new(RwLock::default);

/// Makes it the process's provider; once is enough.
pub fn install() {
    // Refused where one is installed already, which is this one or one that the program chose.
    let _ = PROVIDER.install_default();
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    match algorithm {
        Algorithm::RS256 => Ok(Box::new(Rs256(parsed(key.try_get_as_bytes()?)?))),
        _ => (aws_lc::DEFAULT_PROVIDER.verifier_factory)(algorithm, key),
    }
}

fn parsed(der: &[u8]) -> Result<ParsedPublicKey> {
    if let Some(key) = PARSED.read().unwrap_or_else(PoisonError::into_inner).get(der) {
        return Ok(key.clone());
    }
    let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).map_err(|_| ErrorKind::InvalidKeyFormat)?;
    PARSED.write().unwrap_or_else(PoisonError::into_inner).insert(der.to_vec(), key.clone());
    Ok(key)
}

struct Rs256(ParsedPublicKey);

impl Verifier<Vec<u8>> for Rs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        self.0.verify_sig(message, signature).map_err(Error::from_source)
    }
}

impl JwtVerifier for Rs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}
