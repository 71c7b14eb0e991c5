//! The settings of `token`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use inventory_core::model::access::{Scope, TokenName};
use inventory_core::model::ids::{SiteId, parse_guid};
use inventory_core::model::limits;

use super::Database;
use crate::decode::{time_in_text, whole_micros};

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a token and print its text, once. The database keeps only a hash of it.
    Create(Create),
    /// List all tokens with what they permit, those that expired or were revoked included.
    List(Database),
    /// Revoke a token. Servers refuse it within seconds.
    Revoke(Revoke),
    /// List who created and revoked which token, and when.
    Journal(Database),
}

/// Which token to create.
#[derive(Debug, Args)]
pub struct Create {
    /// Which database.
    #[command(flatten)]
    pub database: Database,
    /// The token's name, the actor of its holder's changes: 1 to 64 of a-z, 0-9, `.`, `_` and `-`. The name of a token
    /// that expired or was revoked may be used again.
    #[arg(long, value_parser = name)]
    pub name: TokenName,
    /// What it permits. Repeatable. One of `orders`, `stock:read`, `stock:write`, `settings`, `admin` and `on-behalf`;
    /// none includes another.
    #[arg(long, required = true, value_parser = scope)]
    pub scope: Vec<Scope>,
    /// A site that it is good for, a GUID. Repeatable. Unset: all sites.
    #[arg(long, value_parser = site)]
    pub site: Vec<SiteId>,
    /// Keep the token's text in this file instead of printing it. Only its owner can read a new file. If the file
    /// exists, its text becomes the token, unless it is that token already: so a deployment may run the command at
    /// every start.
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// When it expires: a time such as 2027-01-01T00:00:00Z, or a number of days such as 90d. Unset: never.
    #[arg(long, value_parser = expiry)]
    pub expires: Option<Expiry>,
}

/// Which token to revoke.
#[derive(Debug, Args)]
pub struct Revoke {
    /// Which database.
    #[command(flatten)]
    pub database: Database,
    /// The token's name.
    #[arg(long, value_parser = name)]
    pub name: TokenName,
}

/// When a token expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// At this time: microseconds since 1970.
    At(i64),
    /// So many microseconds after it is created.
    After(i64),
}

/// Microseconds of a day.
const DAY_MICROS: i64 = 86_400 * 1_000_000;
/// The most days after which a token may expire.
const DAYS_MAX: i64 = 36_500;

fn name(text: &str) -> Result<TokenName, String> {
    let bounds = format!("must be 1 to {} of a-z, 0-9, `.`, `_` and `-`", limits::ACTOR_CHARS_MAX);
    TokenName::new(text).ok_or(bounds)
}

fn scope(text: &str) -> Result<Scope, String> {
    let names = || Scope::ALL.map(Scope::name).join(", ");
    Scope::from_name(text).ok_or_else(|| format!("must be one of {}", names()))
}

fn site(text: &str) -> Result<SiteId, String> {
    parse_guid(text).map(SiteId::from_uuid).ok_or_else(|| "must be a GUID".to_owned())
}

fn expiry(text: &str) -> Result<Expiry, String> {
    let bad = || format!("must be a time such as 2027-01-01T00:00:00Z, or 1d to {DAYS_MAX}d");
    if let Some(days) = text.strip_suffix('d') {
        let days = days.parse().ok().filter(|days| (1..=DAYS_MAX).contains(days)).ok_or_else(bad)?;
        return Ok(Expiry::After(days * DAY_MICROS));
    }
    let (micros, _) = time_in_text(text).and_then(whole_micros).ok_or_else(bad)?;
    Some(micros).filter(|micros| (0..=limits::TIME_MICROS_MAX).contains(micros)).map(Expiry::At).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_expires_at_a_time_or_after_days() {
        assert_eq!(expiry("90d"), Ok(Expiry::After(90 * 86_400_000_000)));
        assert_eq!(expiry("2027-01-01T00:00:00Z"), Ok(Expiry::At(1_798_761_600_000_000)));
        assert_eq!(expiry("2027-01-01T01:00:00+01:00"), Ok(Expiry::At(1_798_761_600_000_000)));
        for bad in ["", "d", "0d", "-1d", "36501d", "2027-01-01", "2027-01-01T00:00:00", "soon", "9999999999999d"] {
            assert!(expiry(bad).is_err(), "{bad}");
        }
    }
}
