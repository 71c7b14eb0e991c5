//! The tokens in memory, as they were in the database at most [`limits::TOKENS_EVERY`] ago.
//!
//! If the database cannot be read, what was read last stays in force. Expiry needs no database: the server's clock
//! decides with each call.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use inventory_core::engine::clock::Clock;
use inventory_core::model::access::{Token, TokenHash, TokenState};
use inventory_core::model::limits;
use inventory_core::store::Store;
use inventory_program::with_causes;
use tokio::sync::watch;

use super::{OwnToken, Refused};

/// The tokens. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tokens {
    known: watch::Receiver<Known>,
    own: Option<(TokenHash, Arc<Token>)>,
    anonymous: Anonymous,
    clock: Clock,
}

/// Which calls without a token are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anonymous {
    /// All.
    Allowed,
    /// All as long as the database has no token.
    WithoutTokens,
    /// None.
    Refused,
}

/// Tokens by the first half of their hash. The second half is compared in constant time.
#[derive(Default)]
struct Known {
    /// Whether the database was read.
    read: bool,
    by_key: HashMap<u128, (TokenHash, Arc<Token>)>,
}

fn key(hash: &TokenHash) -> u128 {
    let [first, ..] = hash.as_bytes().as_chunks::<16>().0 else { return 0 };
    u128::from_ne_bytes(*first)
}

impl Known {
    fn of(tokens: Vec<(TokenHash, Token)>) -> Self {
        let entry = |(hash, token): (TokenHash, Token)| (key(&hash), (hash, Arc::new(token)));
        Self { read: true, by_key: tokens.into_iter().map(entry).collect() }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.read == other.read && self.by_key == other.by_key
    }
}

impl Tokens {
    /// Reads the tokens. If that fails, no call is accepted until it succeeds, except with `own`, or if all are.
    pub(crate) async fn read(store: &Store, own: Option<OwnToken>, anonymous: Anonymous, clock: Clock) -> Reader {
        let (sender, known) = watch::channel(Known::default());
        let own = own.map(|own| (own.hash(), own.token));
        let mut reader = Reader { tokens: Self { known, own, anonymous, clock }, sender, failing: false };
        reader.read(store).await;
        reader
    }

    /// Whether a call without a token is accepted.
    pub(super) fn anonymous(&self) -> Result<(), Refused> {
        let known = self.known.borrow();
        match self.anonymous {
            Anonymous::Allowed => Ok(()),
            Anonymous::WithoutTokens if !known.read => Err(Refused::NotRead),
            Anonymous::WithoutTokens if known.by_key.is_empty() => Ok(()),
            Anonymous::WithoutTokens | Anonymous::Refused => Err(Refused::Missing),
        }
    }

    /// The token with this hash, if it is good now.
    pub(super) fn find(&self, hash: &TokenHash) -> Result<Arc<Token>, Refused> {
        let same = |other: &TokenHash| verify_slices_are_equal(hash.as_bytes(), other.as_bytes()).is_ok();
        if let Some((own, token)) = &self.own
            && same(own)
        {
            return Ok(Arc::clone(token));
        }
        let known = self.known.borrow();
        if !known.read {
            return Err(Refused::NotRead);
        }
        let found = known.by_key.get(&key(hash)).filter(|(other, _)| same(other));
        let Some((_, token)) = found else { return Err(Refused::Unknown) };
        match token.state(self.clock.now()) {
            TokenState::Valid => Ok(Arc::clone(token)),
            TokenState::Expired => Err(Refused::Expired),
            TokenState::Revoked => Err(Refused::Revoked),
        }
    }

    /// Waits until the token with this hash is no longer good. Returns why.
    pub(super) async fn ended(self, hash: &TokenHash) -> Refused {
        self.until(|tokens| tokens.find(hash).err()).await
    }

    /// Waits until calls without a token are no longer accepted. Returns why.
    pub(super) async fn anonymous_ended(self) -> Refused {
        self.until(|tokens| tokens.anonymous().err()).await
    }

    async fn until(mut self, refused: impl Fn(&Self) -> Option<Refused>) -> Refused {
        loop {
            if let Some(refused) = refused(&self) {
                return refused;
            }
            // A token expires without a change of what is known.
            let changed = tokio::time::timeout(limits::TOKENS_EVERY, self.known.changed()).await;
            if let Ok(Err(_)) = changed {
                // The server stops, and ends its streams.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Reads the tokens again and again.
pub(crate) struct Reader {
    tokens: Tokens,
    sender: watch::Sender<Known>,
    failing: bool,
}

impl Reader {
    /// The tokens, as they are read.
    pub(crate) fn tokens(&self) -> Tokens {
        self.tokens.clone()
    }

    /// Keeps the tokens current. Never ends.
    pub(crate) async fn follow(mut self, store: Store) {
        loop {
            tokio::time::sleep(limits::TOKENS_EVERY).await;
            self.read(&store).await;
        }
    }

    async fn read(&mut self, store: &Store) {
        match store.tokens().await {
            Ok(tokens) => {
                let now = Known::of(tokens);
                self.sender.send_if_modified(|known| {
                    let changed = !known.is_same(&now);
                    *known = now;
                    changed
                });
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the tokens can be read again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(
                        error = with_causes(&error),
                        "the tokens cannot be read; those that were read last stay in force"
                    );
                }
            }
        }
    }
}
