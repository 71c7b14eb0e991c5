//! Commands: what a caller may ask of a site's stock. A command that exists is within all bounds.

use crate::model::access::Author;
use crate::model::action::{Action, Expected, Repair};
use crate::model::ids::{Fingerprint, OrderId, RequestKey, SiteId};
use crate::model::limits;
use crate::model::unit::UnitSelector;

/// Why stock changes. The shop's reasons come first, then a warehouse's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    /// No reason given, or one that this version does not know.
    #[default]
    Unspecified,
    /// An order was placed.
    OrderPlaced,
    /// An order was paid.
    OrderPaid,
    /// An order was edited.
    OrderEdited,
    /// An order was canceled.
    OrderCanceled,
    /// An order was refunded.
    OrderRefunded,
    /// An order was rejected: its payment failed.
    OrderRejected,
    /// Goods came in.
    Received,
    /// Goods broke or spoiled.
    Damaged,
    /// Goods cannot be found.
    Lost,
    /// Goods were found.
    Found,
    /// The recorded stock was wrong.
    Correction,
    /// A customer brought goods back.
    Returned,
    /// Goods were stolen.
    Theft,
    /// Goods were moved between locations.
    Transfer,
}

coded!(Reason {
    Unspecified = 0,
    OrderPlaced = 1,
    OrderPaid = 2,
    OrderEdited = 3,
    OrderCanceled = 4,
    OrderRefunded = 5,
    OrderRejected = 6,
    Received = 7,
    Damaged = 8,
    Lost = 9,
    Found = 10,
    Correction = 11,
    Returned = 12,
    Theft = 13,
    Transfer = 14,
});

/// What every command carries beside its action.
#[derive(Clone, Debug)]
pub struct Header {
    /// The site.
    pub site: SiteId,
    /// The idempotency key, at most `limits::REQUEST_ID_CHARS_MAX` characters.
    pub request_id: String,
    /// The order.
    pub order: Option<OrderId>,
    /// Why the stock changes.
    pub reason: Reason,
    /// Who makes the change.
    pub author: Author,
    /// A note for the ledger, such as the number of a delivery note; at most `limits::NOTE_CHARS_MAX` characters.
    pub note: String,
}

/// A change of stock, within all bounds.
#[derive(Clone, Debug)]
pub struct Command {
    header: Header,
    action: Action,
    key: RequestKey,
    fingerprint: Fingerprint,
}

/// The number of items is out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadItemCount {
    /// The upper bound; the lower is 1.
    pub max: usize,
}

impl Command {
    /// Joins header and action. Fails if there is no item, or too many.
    pub fn new(header: Header, action: Action) -> Result<Self, BadItemCount> {
        let max = match &action {
            Action::Decrement { .. } | Action::Increment { .. } => limits::AVAILABILITY_ITEMS_MAX,
            Action::Set { .. } | Action::Adjust { .. } | Action::Move { .. } | Action::Repair(_) => {
                limits::STOCK_ITEMS_MAX
            }
        };
        if !(1..=max).contains(&action.item_count()) {
            return Err(BadItemCount { max });
        }
        let key = RequestKey::of(header.site, &header.request_id);
        let fingerprint = Fingerprint::of(&content(&header, &action));
        Ok(Self { header, action, key, fingerprint })
    }

    /// The site whose stock the command changes.
    pub fn site(&self) -> SiteId {
        self.header.site
    }

    /// Site, idempotency key, order, reason, actor and note.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The change.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// The key under which its outcome is recorded.
    pub fn key(&self) -> RequestKey {
        self.key
    }

    /// The digest of its content. A replay has the same.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// The content of a request as bytes: the same bytes mean the same request. It covers what the caller sent, not the
/// units that it means, so a replay stays a replay when the site's settings change.
fn content(header: &Header, action: &Action) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128 * action.item_count());
    bytes.extend(action.kind().code().to_le_bytes());
    bytes.extend(header.reason.code().to_le_bytes());
    bytes.extend(header.order.map_or([0; 16], |order| *order.as_uuid().as_bytes()));
    let restricted =
        matches!(action, Action::Decrement { restricted: true, .. } | Action::Move { restricted: true, .. });
    bytes.push(u8::from(restricted));
    for (unit, location) in action.named_levels() {
        put_unit(&mut bytes, unit);
        bytes.extend(location.map_or([0; 16], |location| *location.as_uuid().as_bytes()));
    }
    match action {
        Action::Decrement { lines, .. } | Action::Increment { lines } => {
            for line in lines {
                bytes.extend(line.quantity.get().to_le_bytes());
                bytes.push(u8::from(line.subscription));
            }
        }
        Action::Set { targets } => {
            for target in targets {
                bytes.extend(target.available.to_le_bytes());
            }
            // Absent fields add no bytes, so older fingerprints stay valid.
            for (index, target) in targets.iter().enumerate() {
                let Expected { available, revision } = target.expected;
                for (mark, expected) in [(1, available), (2, revision), (4, target.as_of)] {
                    if let Some(expected) = expected {
                        bytes.push(mark);
                        bytes.extend((index as u64).to_le_bytes());
                        bytes.extend(expected.to_le_bytes());
                    }
                }
            }
        }
        Action::Adjust { adjustments } => {
            for adjustment in adjustments {
                bytes.extend(adjustment.delta.to_le_bytes());
            }
        }
        Action::Repair(Repair { level, found, recomputed }) => {
            bytes.extend(level.id.as_uuid().as_bytes());
            for number in [found.available, found.revision, *recomputed] {
                bytes.extend(number.to_le_bytes());
            }
        }
        Action::Move { moves, .. } => {
            for item in moves {
                bytes.extend(item.quantity.get().to_le_bytes());
            }
        }
    }
    if !header.note.is_empty() {
        bytes.push(3);
        put_text(&mut bytes, &header.note);
    }
    bytes
}

fn put_unit(bytes: &mut Vec<u8>, unit: &UnitSelector) {
    match unit {
        UnitSelector::Reference(reference) => {
            put_text(bytes, reference.app_id());
            put_text(bytes, reference.item_id());
            // The map is sorted by key, so equal options have equal text.
            let start = bytes.len();
            put_text(bytes, "");
            let text = start + size_of::<u64>();
            // A map of texts and values can be written, and a `Vec` takes all of it.
            let _ = serde_json::to_writer(&mut *bytes, reference.options());
            let length = (bytes.len() - text) as u64;
            bytes[start..text].copy_from_slice(&length.to_le_bytes());
        }
        UnitSelector::Sku(sku) => {
            // No text has this length, so no reference has these bytes.
            bytes.extend(u64::MAX.to_le_bytes());
            put_text(bytes, sku.as_str());
        }
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}
