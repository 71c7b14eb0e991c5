//! What a caller may ask of a site's stock. A command that exists is within all bounds.

pub use crate::action::{Action, Adjustment, Expected, Kind, LevelNow, Line, Move, Quantity, Repair, Target};
use crate::ids::{Fingerprint, OrderId, RequestKey, SiteId};
use crate::limits;
use crate::order::Question;

/// Why stock changes: first in the shop's own words, then in a warehouse's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    /// Not said, or not known to this version.
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
    /// The books were wrong.
    Correction,
    /// A customer brought goods back.
    Returned,
    /// Goods were stolen.
    Theft,
    /// Goods went elsewhere, or came from there.
    Transfer,
}

macro_rules! stored_as {
    ($type:ident { $($variant:ident = $code:literal),+ $(,)? }) => {
        impl $type {
            /// The number that stands for it in the store; never reused.
            pub const fn code(self) -> i16 {
                match self { $(Self::$variant => $code),+ }
            }

            /// What a stored number means; `None` for one this version does not know.
            pub const fn from_code(code: i16) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

pub(crate) use stored_as;

stored_as!(Kind { Decrement = 1, Increment = 2, Set = 3, Adjust = 4, Move = 5, Repair = 6 });
stored_as!(Reason {
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

/// What every command says of itself.
#[derive(Clone, Debug)]
pub struct Header {
    /// Whose stock.
    pub site: SiteId,
    /// The caller's name for this request, at most `limits::REQUEST_ID_CHARS_MAX` characters.
    pub request_id: String,
    /// The order behind it.
    pub order: Option<OrderId>,
    /// Why.
    pub reason: Reason,
    /// Who asked, at most `limits::ACTOR_CHARS_MAX` characters; empty when unknown.
    pub actor: String,
    /// Whatever the caller wants to find again in the ledger, such as the number of a delivery note; at
    /// most `limits::NOTE_CHARS_MAX` characters.
    pub note: String,
}

/// A change of stock that may be carried out.
#[derive(Clone, Debug)]
pub struct Command {
    pub(crate) header: Header,
    pub(crate) action: Action,
    pub(crate) key: RequestKey,
    pub(crate) fingerprint: Fingerprint,
}

/// The number of items is out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadItemCount {
    /// At least one, at most this.
    pub max: usize,
}

impl Command {
    /// Joins header and action; refuses an empty or an overlong list of items.
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

    /// What its order's past is asked, if anything.
    pub(crate) fn question(&self) -> Option<(OrderId, Question)> {
        Some((self.header.order?, Question::about(self.action.kind(), self.header.reason)?))
    }
}

/// Everything that makes two requests the same, as bytes. It speaks of what the caller sent, not
/// of the units it meant at the time: a repeat stays a repeat when the site's settings change.
fn content(header: &Header, action: &Action) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128 * action.item_count());
    bytes.extend(action.kind().code().to_le_bytes());
    bytes.extend(header.reason.code().to_le_bytes());
    bytes.extend(header.order.map_or([0; 16], |order| *order.as_uuid().as_bytes()));
    let restricted =
        matches!(action, Action::Decrement { restricted: true, .. } | Action::Move { restricted: true, .. });
    bytes.push(u8::from(restricted));
    for (reference, location) in action.places() {
        put_text(&mut bytes, reference.app_id());
        put_text(&mut bytes, reference.item_id());
        // The map is sorted by key, so equal options have equal text.
        put_text(&mut bytes, &serde_json::Value::Object(reference.options().clone()).to_string());
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
            // What is not there adds nothing, so that requests from before there was such a thing stay
            // what they were.
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
        Action::Repair(Repair { reference: _, location: _, found, recomputed }) => {
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

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}
