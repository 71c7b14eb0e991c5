//! Identifiers, each a type of its own, so that none can be passed for another.
//!
//! The keys of units, levels and requests are *derived*: 16 bytes of a SHA-256 of what they identify. So each hot row
//! has a single-column key, and no key has to be read from the database before a row can be written.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

macro_rules! guid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
            /// Lower case with hyphens, the one spelling in answers, logs and files.
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
    /// A location that holds stock.
    LocationId
}
guid! {
    /// An order of the shop platform.
    OrderId
}
guid! {
    /// The key of a unit: derived from the site and the unit (`Unit::id`).
    UnitId
}
guid! {
    /// The key of a level: derived from the unit and the location.
    LevelId
}
guid! {
    /// The key of a request: derived from the site and the idempotency key.
    RequestKey
}

guid! {
    /// A digest of the content of a request. The same idempotency key with another fingerprint is a misuse.
    Fingerprint
}

/// Parses a GUID with hyphens, in any letter case.
pub fn parse_guid(text: &str) -> Option<Uuid> {
    // `try_parse` also accepts braces, `urn:` and 32 bare digits. The wire formats have none of these.
    if text.len() == 36 { Uuid::try_parse(text).ok() } else { None }
}

/// Hashes length-prefixed parts, so that no two lists of parts give the same bytes.
pub(super) fn derive(domain: &str, parts: &[&[u8]]) -> Uuid {
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

impl LevelId {
    /// The key of the level of `unit` at `location`; `None` is the site's default location.
    pub fn of(unit: UnitId, location: Option<LocationId>) -> Self {
        match location {
            None => Self(derive("level", &[unit.0.as_bytes()])),
            Some(location) => Self(derive("level", &[unit.0.as_bytes(), location.0.as_bytes()])),
        }
    }
}

impl RequestKey {
    /// The key of the request with the idempotency key `request_id`.
    pub fn of(site: SiteId, request_id: &str) -> Self {
        Self(derive("request", &[site.0.as_bytes(), request_id.as_bytes()]))
    }
}

impl Fingerprint {
    /// The digest of `content`, an unambiguous encoding of the request.
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
