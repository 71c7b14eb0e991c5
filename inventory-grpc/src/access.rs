//! Who may call which method. Every call of every service passes through here before its message is read.
//!
//! A caller sends its token as `authorization: Bearer inv_…`. [`METHODS`] says which scope each method needs; one that
//! is not in the table cannot be called. Health is open to everybody, and so is reflection, unless it is closed.
//!
//! Without a token, a call is accepted if the operator allows it (`--allow-anonymous`), or on loopback as long as
//! nobody has ever created a token. An answer tells no cause: not whether a token exists, has expired or was revoked,
//! and not whether the scope or the site is missing. The log and a metric tell.

mod layer;
mod tokens;

use std::sync::Arc;

use aws_lc_rs::error::Unspecified;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use inventory_core::model::access::{Scope, Token, TokenHash, TokenName};
use inventory_core::model::ids::{SiteId, parse_guid};
use inventory_proto::TOKEN_PREFIX;
use metrics::{counter, describe_counter};
use tonic::{Extensions, Status};

pub(crate) use self::layer::AccessLayer;
pub(crate) use self::tokens::{Anonymous, Tokens};
use crate::status;

/// Every method of `inventory.v1`, and the scope that it needs.
///
/// Two methods need more than their scope. VerifySite with `repair` also needs `stock:write` and `admin`, because it
/// changes levels that orders rely on. ListSites shows a token that is good for some sites no others.
pub const METHODS: [(&str, Scope); 22] = [
    ("/inventory.v1.AvailabilityService/DecrementAvailability", Scope::Orders),
    ("/inventory.v1.AvailabilityService/IncrementAvailability", Scope::Orders),
    ("/inventory.v1.AvailabilityService/ChangeAvailability", Scope::Orders),
    ("/inventory.v1.StockService/SetStock", Scope::StockWrite),
    ("/inventory.v1.StockService/AdjustStock", Scope::StockWrite),
    ("/inventory.v1.StockService/MoveStock", Scope::StockWrite),
    ("/inventory.v1.StockService/GetStock", Scope::StockRead),
    ("/inventory.v1.StockService/BatchGetStock", Scope::StockRead),
    ("/inventory.v1.StockService/ListStock", Scope::StockRead),
    ("/inventory.v1.StockService/GetUnit", Scope::StockRead),
    ("/inventory.v1.StockService/ListUnits", Scope::StockRead),
    ("/inventory.v1.StockService/UpdateUnit", Scope::Settings),
    ("/inventory.v1.StockService/BatchUpdateUnits", Scope::Settings),
    ("/inventory.v1.LedgerService/ListEntries", Scope::StockRead),
    ("/inventory.v1.LedgerService/GetOrder", Scope::StockRead),
    ("/inventory.v1.LedgerService/ExplainLevel", Scope::StockRead),
    ("/inventory.v1.LedgerService/WatchEntries", Scope::StockRead),
    ("/inventory.v1.LedgerService/VerifySite", Scope::StockRead),
    ("/inventory.v1.SiteService/GetSite", Scope::StockRead),
    ("/inventory.v1.SiteService/UpdateSite", Scope::Settings),
    ("/inventory.v1.SiteService/ListSettingChanges", Scope::Settings),
    ("/inventory.v1.SiteService/ListSites", Scope::Admin),
];

/// Paths of services that need no token.
const OPEN: &str = "/grpc.health.v1.Health/";
/// Paths of reflection.
const REFLECTION: &str = "/grpc.reflection.";

const REFUSALS: &str = "inventory_token_refusals_total";

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// Characters of a token: the prefix, and the random bytes as base64.
const TOKEN_CHARS: usize = TOKEN_PREFIX.len() + (TOKEN_BYTES * 4).div_ceil(3);

/// Makes the text of a new token: 256 random bits.
pub fn new_token() -> Result<String, Unspecified> {
    let mut bytes = [0; TOKEN_BYTES];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// Whether a text has the form of a token.
pub fn is_token(text: &str) -> bool {
    let random = text.strip_prefix(TOKEN_PREFIX).map(|random| URL_SAFE_NO_PAD.decode(random));
    matches!(random, Some(Ok(bytes)) if bytes.len() == TOKEN_BYTES)
}

/// A token that only this process knows, for callers inside of it. It permits everything, and is stored nowhere.
#[derive(Clone)]
pub struct OwnToken {
    text: String,
    token: Arc<Token>,
}

impl OwnToken {
    /// A new token. `name` is the actor of its holder's changes.
    pub fn new(name: &'static str) -> Result<Self, NoOwnToken> {
        let (name, scopes) = (TokenName::new(name).ok_or(NoOwnToken)?, Scope::ALL.into_iter().collect());
        let (sites, expires_at, revoked_at) = (Vec::new(), None, None);
        let token = Arc::new(Token { name, scopes, sites, created_at: 0, expires_at, revoked_at });
        Ok(Self { text: new_token().map_err(|_| NoOwnToken)?, token })
    }

    /// Its text, which its holder sends.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn hash(&self) -> TokenHash {
        TokenHash::of(&self.text)
    }
}

/// The system has no random numbers.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system has no random numbers for a token")]
pub struct NoOwnToken;

/// Who makes a call. [`AccessLayer`] puts it into the extensions of each request.
#[derive(Clone)]
pub(crate) enum Access {
    /// Nobody in particular. May do everything, as long as these tokens say so; for ever, without any.
    Anonymous(Option<Tokens>),
    /// The holder of a token.
    Holder(Holder),
}

/// The holder of a token that was good when the call began.
#[derive(Clone)]
pub(crate) struct Holder {
    token: Arc<Token>,
    hash: TokenHash,
    tokens: Tokens,
}

/// Why a call is refused. Its text is for the log and the metric alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    NotRead,
    Missing,
    Unknown,
    Expired,
    Revoked,
    Scope,
    Site,
    OnBehalf,
}

impl Refused {
    const ALL: [Self; 8] = [
        Self::NotRead,
        Self::Missing,
        Self::Unknown,
        Self::Expired,
        Self::Revoked,
        Self::Scope,
        Self::Site,
        Self::OnBehalf,
    ];

    /// The value of the metric's label `cause`.
    const fn cause(self) -> &'static str {
        match self {
            Self::NotRead => "tokens_not_read",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Scope => "scope",
            Self::Site => "site",
            Self::OnBehalf => "on_behalf",
        }
    }

    /// The answer. `token` is the caller's token, if it is known, for the log.
    fn status(self, token: Option<&Token>) -> Status {
        self.count(1);
        status::tell_refused(self.cause(), token.map(|token| &token.name));
        match self {
            Self::NotRead => status::tokens_not_read(),
            Self::Missing | Self::Unknown | Self::Expired | Self::Revoked => status::unauthenticated(),
            Self::Scope | Self::Site | Self::OnBehalf => status::permission_denied(),
        }
    }

    fn count(self, calls: u64) {
        counter!(REFUSALS, "cause" => self.cause()).increment(calls);
    }
}

/// Names the metric of refusals. It is there from now on, with 0.
fn describe() {
    describe_counter!(REFUSALS, "Calls that were refused for their token, by cause.");
    Refused::ALL.into_iter().for_each(|refused| refused.count(0));
}

impl Access {
    /// Who makes the call that has these extensions.
    pub(crate) fn of(extensions: &Extensions) -> Result<Self, Status> {
        // Without the layer nobody would be checked.
        extensions.get::<Self>().cloned().ok_or_else(|| Refused::NotRead.status(None))
    }

    /// Refuses a call for a site that the token is not good for. A text that is no site is left to the decoder.
    pub(crate) fn check_site(&self, site_id: &str) -> Result<(), Status> {
        match self {
            Self::Holder(Holder { token, .. }) if !token.sites.is_empty() => match parse_guid(site_id) {
                Some(site) if !token.covers(SiteId::from_uuid(site)) => Err(Refused::Site.status(Some(token))),
                Some(_) | None => Ok(()),
            },
            Self::Anonymous(_) | Self::Holder(_) => Ok(()),
        }
    }

    /// Refuses a call that needs another scope beside its method's.
    pub(crate) fn check_scope(&self, scope: Scope) -> Result<(), Status> {
        match self {
            Self::Holder(Holder { token, .. }) if !token.scopes.has(scope) => Err(Refused::Scope.status(Some(token))),
            Self::Anonymous(_) | Self::Holder(_) => Ok(()),
        }
    }

    /// Refuses a call on somebody's behalf, unless the token permits it.
    pub(crate) fn check_on_behalf(&self) -> Result<(), Status> {
        match self {
            Self::Holder(Holder { token, .. }) if !token.scopes.has(Scope::OnBehalf) => {
                Err(Refused::OnBehalf.status(Some(token)))
            }
            Self::Anonymous(_) | Self::Holder(_) => Ok(()),
        }
    }

    /// The token's name.
    pub(crate) fn token_name(&self) -> Option<&TokenName> {
        match self {
            Self::Anonymous(_) => None,
            Self::Holder(Holder { token, .. }) => Some(&token.name),
        }
    }

    /// The only sites that the caller may see; `None` if it may see all.
    pub(crate) fn sites(&self) -> Option<Vec<SiteId>> {
        match self {
            Self::Anonymous(_) => None,
            Self::Holder(Holder { token, .. }) => Some(token.sites.clone()).filter(|sites| !sites.is_empty()),
        }
    }

    /// Waits until the caller may no longer call, for calls that never end by themselves.
    pub(crate) async fn ended(self) -> Status {
        match self {
            Self::Anonymous(None) => std::future::pending().await,
            Self::Anonymous(Some(tokens)) => tokens.anonymous_ended().await.status(None),
            Self::Holder(Holder { token, hash, tokens }) => tokens.ended(&hash).await.status(Some(&token)),
        }
    }
}

/// The scope that a method needs; `None` if the service has no such method.
fn scope_of(path: &str) -> Option<Scope> {
    METHODS.iter().find(|(method, _)| *method == path).map(|(_, scope)| *scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_is_recognizable_and_never_the_same() {
        let [one, other] = [new_token(), new_token()].map(|token| token.expect("random bytes"));
        assert!(one.starts_with(TOKEN_PREFIX) && one.len() == TOKEN_CHARS, "{one}");
        assert_ne!(one, other);
        assert!(is_token(&one));
        for bad in ["", "inv_", "inv_short", &one[1..], &one[..one.len() - 1], &format!("{one}a"), &format!("{one}\n")]
        {
            assert!(!is_token(bad), "{bad:?}");
        }
    }
}
