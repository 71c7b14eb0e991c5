//! Who may call: tokens, their scopes, and the author of a change.
//!
//! A token is a random text that only its holder knows. The database keeps its SHA-256. The hash needs no salt, because
//! the text has 256 random bits.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::model::ids::{SiteId, parse_guid};
use crate::model::limits;

/// What a token permits. No scope includes another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Take stock for orders, and give it back.
    Orders,
    /// Read levels, units, sites and the ledger.
    StockRead,
    /// Change levels.
    StockWrite,
    /// Change the settings of sites and units, and read the journal of these changes.
    Settings,
    /// List sites. Together with [`Scope::StockWrite`]: repair levels.
    Admin,
    /// Say on whose behalf a change is made.
    OnBehalf,
}

impl Scope {
    /// All scopes, in the order in which they are listed.
    pub const ALL: [Self; 6] =
        [Self::Orders, Self::StockRead, Self::StockWrite, Self::Settings, Self::Admin, Self::OnBehalf];

    /// Its name, for people and in the database. A name is never reused.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::StockRead => "stock:read",
            Self::StockWrite => "stock:write",
            Self::Settings => "settings",
            Self::Admin => "admin",
            Self::OnBehalf => "on-behalf",
        }
    }

    /// The scope with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Whether the set has this scope.
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether the set has no scope.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The scopes of the set, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }

    /// Reads the form that `Display` writes. `None` if this version does not know a name.
    pub fn from_text(text: &str) -> Option<Self> {
        text.split_whitespace().map(Scope::from_name).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Display for Scopes {
    /// The names, separated by spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            write!(f, "{}{scope}", if index > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

/// The name of a token: 1 to `limits::ACTOR_CHARS_MAX` of `a` to `z`, `0` to `9`, `.`, `_` and `-`. It is the actor of
/// the changes that the token's holder makes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenName(String);

impl TokenName {
    /// `None` if out of bounds.
    pub fn new(text: &str) -> Option<Self> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
        ((1..=limits::ACTOR_CHARS_MAX).contains(&text.len()) && text.chars().all(good)).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SHA-256 of a token's text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token's text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Wraps the 32 bytes as they are stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes as they are stored.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    /// Nothing: no log shows a hash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash")
    }
}

/// A token, without its text. Times are microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its name.
    pub name: TokenName,
    /// What it permits.
    pub scopes: Scopes,
    /// The sites that it is good for, sorted, at most `limits::TOKEN_SITES_MAX`. Empty: all sites.
    pub sites: Vec<SiteId>,
    /// When it was created.
    pub created_at: i64,
    /// The first moment at which it is no longer good.
    pub expires_at: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
}

/// Whether a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// It is.
    Valid,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

impl Token {
    /// Whether it is good at the time `now`.
    pub fn state(&self, now: i64) -> TokenState {
        if self.revoked_at.is_some() {
            TokenState::Revoked
        } else if self.expires_at.is_some_and(|end| now >= end) {
            TokenState::Expired
        } else {
            TokenState::Valid
        }
    }

    /// Whether it is good for the site.
    pub fn covers(&self, site: SiteId) -> bool {
        self.sites.is_empty() || self.sites.binary_search(&site).is_ok()
    }

    /// The sites as they are stored: GUIDs, separated by spaces.
    pub fn sites_text(&self) -> String {
        self.sites.iter().map(SiteId::to_string).collect::<Vec<_>>().join(" ")
    }

    /// Reads the form of `sites_text`. `None` if it holds something else.
    pub fn sites_from_text(text: &str) -> Option<Vec<SiteId>> {
        text.split_whitespace().map(|site| parse_guid(site).map(SiteId::from_uuid)).collect()
    }
}

/// Who makes a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author {
    /// Who calls, at most `limits::ACTOR_CHARS_MAX` characters. Empty if unknown.
    pub actor: String,
    /// On whose behalf, at most `limits::ACTOR_CHARS_MAX` characters. Empty if on nobody's.
    pub on_behalf_of: String,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn scopes_survive_their_stored_form() {
        for bits in 0..1 << Scope::ALL.len() {
            let scopes: Scopes = Scope::ALL.into_iter().filter(|scope| bits & scope.bit() != 0).collect();
            assert_eq!(Scopes::from_text(&scopes.to_string()), Some(scopes));
        }
        let two: Scopes = [Scope::Admin, Scope::StockRead, Scope::Admin].into_iter().collect();
        assert_eq!(two.to_string(), "stock:read admin");
        assert_eq!(Scopes::from_text("orders everything"), None);
    }

    #[test]
    fn a_name_has_few_characters() {
        for good in ["e", "erp-2.main_x", &"x".repeat(64)] {
            assert!(TokenName::new(good).is_some(), "{good}");
        }
        for bad in ["", "ERP", "a b", "ü", "a/b", &"x".repeat(65)] {
            assert!(TokenName::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_good_until_it_expires_or_is_revoked() {
        let site = |number| SiteId::from_uuid(Uuid::from_u128(number));
        let name = TokenName::new("erp").expect("in bounds");
        let token = Token {
            name,
            scopes: Scopes::default(),
            sites: vec![site(2), site(3)],
            created_at: 0,
            expires_at: Some(10),
            revoked_at: None,
        };
        assert_eq!([token.state(9), token.state(10)], [TokenState::Valid, TokenState::Expired]);
        assert_eq!(Token { revoked_at: Some(5), ..token.clone() }.state(9), TokenState::Revoked);
        assert_eq!([1, 2, 3, 4].map(|number| token.covers(site(number))), [false, true, true, false]);
        assert_eq!(Token::sites_from_text(&token.sites_text()), Some(token.sites.clone()));
        assert!(Token { sites: Vec::new(), ..token }.covers(site(1)));
        assert_eq!(Token::sites_from_text("x"), None);
    }
}
