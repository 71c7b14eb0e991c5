//! The cryptography provider of the JWT library: aws-lc-rs, with parsed public keys kept in memory.
//!
//! The library parses a key for every token and so computes the constants of its modulus each time: a third of the
//! cost of a check. This provider parses each key once. It checks RS256 signatures itself and leaves every other
//! operation to the library's own provider.

use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, aws_lc};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey};

static PROVIDER: LazyLock<CryptoProvider> =
    LazyLock::new(|| CryptoProvider { verifier_factory: verifier, ..aws_lc::DEFAULT_PROVIDER.clone() });

/// Parsed keys by their DER bytes. Only keys of the settings get here, so there are few.
static PARSED: LazyLock<RwLock<HashMap<Vec<u8>, ParsedPublicKey>>> = LazyLock::new(RwLock::default);

/// Makes this the provider of the process. Calling it again does nothing.
pub fn install() {
    // It fails only if a provider is installed already: this one, or one that the program chose.
    let _ = PROVIDER.install_default();
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if *algorithm == Algorithm::RS256 {
        Ok(Box::new(Rs256(parsed(key.try_get_as_bytes()?)?)))
    } else {
        (aws_lc::DEFAULT_PROVIDER.verifier_factory)(algorithm, key)
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
