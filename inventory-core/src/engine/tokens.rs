//! Tokens: creates and revokes them, each in a transaction with its row in the journal.
//!
//! Only the operator's command calls this. A server never changes a token.

use crate::engine::commit;
use crate::engine::storage::{BatchStore, CommitError, OpenWriters};
use crate::model::access::{Author, Token, TokenHash, TokenName, TokenState};
use crate::model::error::StoreError;
use crate::model::journal::Journal;
use crate::model::limits;

/// Why a token was not created or revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A token with this name is valid.
    #[error("--name: a token with the name {0} exists and is valid; choose another name, or revoke that token first")]
    Exists(TokenName),
    /// No token has this name.
    #[error("--name: no token has the name {0}; `inventory-grpc token list` shows all")]
    Unknown(TokenName),
    /// The token is revoked already.
    #[error("--name: the token {0} is revoked already")]
    Revoked(TokenName),
    /// There are too many tokens.
    #[error("there are {max} tokens already; take the name of one that expired or was revoked")]
    TooMany {
        /// The most that there may be, those that expired or were revoked included.
        max: usize,
    },
    /// The database cannot be written. Nothing was changed.
    #[error("nothing was changed")]
    Store(#[from] StoreError),
    /// The connection was lost during COMMIT.
    #[error("it is not known whether the change was made; `inventory-grpc token list` shows it")]
    Unknowable(#[source] StoreError),
}

impl From<CommitError> for TokenError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::NotCommitted(error) => Self::Store(error),
            CommitError::Unknown(error) => Self::Unknowable(error),
        }
    }
}

/// Creates a token, perhaps in the place of one with its name that expired or was revoked. Blocks.
pub fn create(
    store: &impl OpenWriters,
    hash: &TokenHash,
    token: &Token,
    author: &Author,
    now: i64,
) -> Result<(), TokenError> {
    write(store, author, now, |tokens| {
        let replaced = tokens.iter().find(|(_, other)| other.name == token.name);
        match replaced {
            Some((_, other)) if other.state(now) == TokenState::Valid => Err(TokenError::Exists(token.name.clone())),
            None if tokens.len() >= limits::TOKENS_MAX => Err(TokenError::TooMany { max: limits::TOKENS_MAX }),
            Some(_) | None => Ok((*hash, token.clone())),
        }
    })
}

/// Revokes a token. Servers refuse it after `limits::TOKENS_EVERY` at the latest. Blocks.
pub fn revoke(store: &impl OpenWriters, name: &TokenName, author: &Author, now: i64) -> Result<(), TokenError> {
    write(store, author, now, |tokens| match tokens.iter().find(|(_, token)| token.name == *name) {
        None => Err(TokenError::Unknown(name.clone())),
        Some((_, token)) if token.state(now) == TokenState::Revoked => Err(TokenError::Revoked(name.clone())),
        Some((hash, token)) => Ok((*hash, Token { revoked_at: Some(now), ..token.clone() })),
    })
}

/// Writes the token that `decide` returns, and its row in the journal.
fn write(
    store: &impl OpenWriters,
    author: &Author,
    now: i64,
    decide: impl FnOnce(&[(TokenHash, Token)]) -> Result<(TokenHash, Token), TokenError>,
) -> Result<(), TokenError> {
    let Some(mut writer) = store.writers().into_iter().next() else { return Ok(()) };
    writer.connect()?;
    let result = try_write(writer.as_mut(), author, now, decide);
    if result.is_err() {
        // The connection ends here, and its transaction with it.
        let _ = writer.rollback();
    }
    result
}

fn try_write(
    writer: &mut dyn BatchStore,
    author: &Author,
    now: i64,
    decide: impl FnOnce(&[(TokenHash, Token)]) -> Result<(TokenHash, Token), TokenError>,
) -> Result<(), TokenError> {
    writer.begin(&[])?;
    let tokens = writer.lock_tokens()?;
    let (hash, token) = decide(&tokens)?;
    let before = tokens.iter().find(|(_, other)| other.name == token.name).map(|(_, other)| other);
    let journal = Journal { site: None, author, recorded_at: now };
    let changes: Vec<_> = journal.token(before, &token).into_iter().collect();
    writer.write_token(&hash, &token)?;
    writer.write_journal(&changes)?;
    Ok(commit::by_operator(writer)?)
}
