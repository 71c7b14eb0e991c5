//! Keys for tests, made anew in every run: UNSAFE for anything else, since they are never kept.

use std::sync::OnceLock;

use jsonwebtoken::EncodingKey;
use wix_adapter::signing::{KeyFiles, generate};

/// The key under which the adapter of a test believes.
pub fn app_key() -> &'static KeyFiles {
    static KEY: OnceLock<KeyFiles> = OnceLock::new();
    KEY.get_or_init(|| generate().expect("a key can be made"))
}

/// A key that nobody believes.
pub fn other_key() -> &'static KeyFiles {
    static KEY: OnceLock<KeyFiles> = OnceLock::new();
    KEY.get_or_init(|| generate().expect("a key can be made"))
}

/// The private half, ready to sign.
pub fn signing_key(files: &KeyFiles) -> EncodingKey {
    EncodingKey::from_rsa_pem(files.private.as_bytes()).expect("its own form is read")
}
