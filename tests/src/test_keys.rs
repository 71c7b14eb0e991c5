//! Signing keys for tests. Every run makes new ones and keeps none.

use std::sync::OnceLock;

use jsonwebtoken::EncodingKey;
use wix_adapter::signing::{KeyFiles, generate};

/// The key whose signatures the adapter of a test accepts.
pub fn app_key() -> &'static KeyFiles {
    static KEY: OnceLock<KeyFiles> = OnceLock::new();
    KEY.get_or_init(|| generate().expect("a key can be generated"))
}

/// A key whose signatures no adapter accepts.
pub fn other_key() -> &'static KeyFiles {
    static KEY: OnceLock<KeyFiles> = OnceLock::new();
    KEY.get_or_init(|| generate().expect("a key can be generated"))
}

/// The private key in the form that signs tokens.
pub fn signing_key(files: &KeyFiles) -> EncodingKey {
    EncodingKey::from_rsa_pem(files.private.as_bytes()).expect("a generated key can be parsed")
}
