//! The token that a caller sends.

use std::path::{Path, PathBuf};

use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// What every token's text begins with, so that people and scanners of secrets recognize it.
pub const TOKEN_PREFIX: &str = "inv_";

/// A caller's token, or none. It signs calls: `authorization: Bearer inv_…`.
#[derive(Clone, Debug, Default)]
pub struct Bearer(Option<AsciiMetadataValue>);

/// A text that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must hold one token, which begins with {TOKEN_PREFIX}")]
pub struct NoToken;

/// A file that should hold a token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadTokenFile {
    /// It cannot be read.
    #[error("{flag}: {path} cannot be read")]
    Read {
        /// The flag that names the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// It holds no token.
    #[error("{flag}: {path}")]
    NoToken {
        /// The flag that names the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: NoToken,
    },
}

impl Bearer {
    /// A caller without a token.
    pub const NONE: Self = Self(None);

    /// Takes a token's text. White space around it does not matter.
    pub fn new(text: &str) -> Result<Self, NoToken> {
        let text = text.trim();
        let good = text.starts_with(TOKEN_PREFIX) && text.chars().all(|c| c.is_ascii_graphic());
        let mut value: AsciiMetadataValue = format!("Bearer {text}").parse().map_err(|_| NoToken)?;
        // Neither logs nor HPACK tables keep it.
        value.set_sensitive(true);
        good.then_some(Self(Some(value))).ok_or(NoToken)
    }

    /// Reads the token in the file that `flag` names.
    pub fn read(flag: &'static str, path: &Path) -> Result<Self, BadTokenFile> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|source| BadTokenFile::Read { flag, path: path.to_owned(), source })?;
        Self::new(&text).map_err(|source| BadTokenFile::NoToken { flag, path: path.to_owned(), source })
    }

    /// Signs a call.
    pub fn sign(&self, metadata: &mut MetadataMap) {
        if let Some(value) = &self.0 {
            metadata.insert("authorization", value.clone());
        }
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        self.sign(request.metadata_mut());
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_signs_and_is_not_shown() {
        let bearer = Bearer::new(" inv_abc\n").expect("a token");
        assert!(!format!("{bearer:?}").contains("abc"));
        let mut metadata = MetadataMap::new();
        bearer.sign(&mut metadata);
        assert_eq!(metadata.get("authorization").and_then(|value| value.to_str().ok()), Some("Bearer inv_abc"));
        for bad in ["", "abc", "inv_a b", "inv_a\ninv_b", "inv_ä"] {
            assert_eq!(Bearer::new(bad).err(), Some(NoToken), "{bad}");
        }
    }
}
