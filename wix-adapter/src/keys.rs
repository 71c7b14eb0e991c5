//! Reads the app's public key in every form in which people paste it into a setting.
//!
//! Wix shows the key as PEM (documented: one key per app, copied by hand from the dashboard). On its way through an
//! environment variable it loses its line breaks, gets `\n` as two characters, or is wrapped in base64 once more. These
//! forms are read, and so is PKCS#1. Only RSA keys of 2,048 to 8,192 bits are accepted, and no private keys.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// The text holds no RSA public key of 2,048 to 8,192 bits. The error does not show the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a public key must be an RSA key of 2,048 to 8,192 bits, as PEM (BEGIN PUBLIC KEY or BEGIN RSA PUBLIC KEY), \
     base64 of PEM, or base64 of DER"
)]
pub struct BadKey;

/// An RSA public key. It is parsed once: the constants of its modulus are a third of the cost of a check.
#[derive(Clone, Debug)]
pub struct PublicKey {
    key: ParsedPublicKey,
    /// Bytes of the modulus, and of every signature.
    signature_bytes: usize,
}

impl PublicKey {
    /// Whether a signature has the length of those that the key's owner makes.
    pub(crate) fn fits(&self, signature: &[u8]) -> bool {
        signature.len() == self.signature_bytes
    }

    /// Whether the key's owner signed the message: RSASSA-PKCS1-v1_5 with SHA-256, which JWS names RS256. A signature
    /// that does not fit is refused before the message is hashed; the library would hash it first.
    pub(crate) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.fits(signature) && self.key.verify_sig(message, signature).is_ok()
    }
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads one key.
pub fn parse(text: &str) -> Result<PublicKey, BadKey> {
    let der = der_of(text, 1).ok_or(BadKey)?;
    let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &der).map_err(|_| BadKey)?;
    // The library tells the size of a key only if it is read as one that encrypts, in this form. It then also checks
    // that the size is one of those that are accepted.
    let der: PublicKeyX509Der<'_> = key.as_der().map_err(|_| BadKey)?;
    let signature_bytes = PublicEncryptingKey::from_der(der.as_ref()).map_err(|_| BadKey)?.key_size_bytes();
    Ok(PublicKey { key, signature_bytes })
}

/// Reads the text of a file that holds several PEM keys, or one key in any form. Returns at least one key.
pub fn parse_file(text: &str) -> Result<Vec<PublicKey>, BadKey> {
    const END: &str = "PUBLIC KEY-----";
    let blocks: Vec<&str> = text.split_inclusive("-----END ").collect();
    if blocks.len() <= 2 {
        return Ok(vec![parse(text)?]);
    }
    // Each block but the last ends with "-----END ". The rest of that line stands at the start of the next block.
    let mut keys = Vec::new();
    for block in &blocks[..blocks.len() - 1] {
        let start = block.find("-----BEGIN").ok_or(BadKey)?;
        keys.push(parse(&format!("{}{END}", &block[start..]))?);
    }
    Ok(keys)
}

/// The DER bytes of a key in any form. `wraps` is how many layers of base64 around a PEM are still allowed.
fn der_of(text: &str, wraps: u8) -> Option<Vec<u8>> {
    let text = text.replace("\\r", "").replace("\\n", "\n");
    let body = match text.split_once("-----BEGIN") {
        // The base64 stands between the dashes that end the BEGIN label and those that start the END label.
        Some((_, rest)) => rest.split_once("-----")?.1.split_once("-----END")?.0.to_owned(),
        None => text,
    };
    let compact: String = body.chars().filter(|c| !c.is_whitespace() && *c != '"' && *c != '\'').collect();
    let bytes = BASE64.decode(compact).ok()?;
    match std::str::from_utf8(&bytes) {
        Ok(inner) if wraps > 0 && inner.contains("-----BEGIN") => der_of(inner, wraps - 1),
        Ok(_) | Err(_) => Some(bytes),
    }
}
