//! Identifiers, each a type of its own so that none is taken for another.
//!
//! Three of them are *derived*: a unit, a level and a request are found by one 16-byte key that
//! is a hash of what they are. So the hot statements address every row by a single-column unique
//! key, and no id has to be fetched from the database before it can be written.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::catalog::Unit;
use crate::store::Guid;

macro_rules! guid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(diesel::expression::AsExpression, diesel::deserialize::FromSqlRow)]
        #[diesel(sql_type = Guid)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps the 16 bytes as they are stored.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The 16 bytes as they are stored.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl fmt::Display for $name {
            /// Lower case with hyphens: the one spelling used in answers, logs and tables.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }
    };
}

guid! {
    /// The tenant: for Wix the `instanceId` of the app's installation.
    SiteId
}
guid! {
    /// A place that holds stock.
    LocationId
}
guid! {
    /// An order of the shop platform.
    OrderId
}
guid! {
    /// What is counted, derived from the site and the unit's identity.
    UnitId
}
guid! {
    /// A unit at a location, derived from both.
    LevelId
}
guid! {
    /// What makes a request itself: derived from the site and the caller's request id.
    RequestKey
}

guid! {
    /// A digest of what a request asks for: the same key with another fingerprint is a misuse.
    Fingerprint
}

/// Parses a GUID in any letter case, with hyphens, as every GUID of this system is written.
pub fn parse_guid(text: &str) -> Option<Uuid> {
    // `try_parse` also takes braces, `urn:` and 32 bare digits; those are not GUIDs on the wire.
    if text.len() == 36 { Uuid::try_parse(text).ok() } else { None }
}

/// Hashes length-prefixed parts, so that no two lists of parts have the same bytes.
fn derive(domain: &str, parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(domain.as_bytes());
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let (half, _) = digest.split_at(16);
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(half);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

impl UnitId {
    /// The id of `unit` on `site`.
    pub fn of(site: SiteId, unit: &Unit) -> Self {
        Self(derive(
            "unit",
            &[site.0.as_bytes(), unit.app_id.as_bytes(), unit.item_id.as_bytes(), unit.variant.as_str().as_bytes()],
        ))
    }
}

impl LevelId {
    /// The id of the level of a unit at a location; `None` is the site's default location.
    pub fn of(unit: UnitId, location: Option<LocationId>) -> Self {
        match location {
            None => Self(derive("level", &[unit.0.as_bytes()])),
            Some(location) => Self(derive("level", &[unit.0.as_bytes(), location.0.as_bytes()])),
        }
    }
}

impl RequestKey {
    /// The key of the request that `site` calls `request_id`.
    pub fn of(site: SiteId, request_id: &str) -> Self {
        Self(derive("request", &[site.0.as_bytes(), request_id.as_bytes()]))
    }
}

impl Fingerprint {
    /// The digest of `content`, which must be an unambiguous encoding of the request.
    pub(crate) fn of(content: &[u8]) -> Self {
        Self(derive("content", &[content]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_are_read_in_any_case_and_written_in_one() {
        let upper = "215238EB-22A5-4C36-9E7B-E7C08025E04E";
        let guid = parse_guid(upper).map(SiteId::from_uuid);
        assert_eq!(guid.map(|g| g.to_string()), Some(upper.to_lowercase()));
        for bad in ["", "215238eb22a54c369e7be7c08025e04e", "{15238eb-22a5-4c36-9e7b-e7c08025e04}", "x"] {
            assert_eq!(parse_guid(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(derive("d", &[b"ab", b"c"]), derive("d", &[b"a", b"bc"]));
        assert_ne!(derive("d", &[b"ab"]), derive("d", &[b"ab", b""]));
    }
}
