//! What a caller may ask of a site's stock. A command that exists is within all bounds.

use crate::catalog::CatalogReference;
use crate::ids::{Fingerprint, LocationId, OrderId, RequestKey, SiteId};
use crate::limits;

/// Pieces of an item: 1 to `limits::QUANTITY_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity(i64);

impl Quantity {
    /// `None` when out of bounds.
    pub fn new(pieces: i64) -> Option<Self> {
        (1..=limits::QUANTITY_MAX).contains(&pieces).then_some(Self(pieces))
    }

    /// The number of pieces.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// One item of an availability request.
#[derive(Clone, Debug)]
pub struct Line {
    /// What is taken or given back.
    pub reference: CatalogReference,
    /// Where; `None` is the default location.
    pub location: Option<LocationId>,
    /// How many pieces.
    pub quantity: Quantity,
    /// Whether the shop sold it as a subscription.
    pub subscription: bool,
}

/// One item of a stock request: the level is to be this.
#[derive(Clone, Debug)]
pub struct Target {
    /// Which stock.
    pub reference: CatalogReference,
    /// Where; `None` is the default location.
    pub location: Option<LocationId>,
    /// The level from now on.
    pub available: i64,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Take stock away: all lines or none. `restricted`: no level may end below zero.
    Decrement {
        /// What to take.
        lines: Vec<Line>,
        /// Whether to refuse rather than go below zero.
        restricted: bool,
    },
    /// Give stock back. Never refused for the level.
    Increment {
        /// What to give back.
        lines: Vec<Line>,
    },
    /// Make levels what they are said to be.
    Set {
        /// Which levels.
        targets: Vec<Target>,
    },
}

/// The kind of a change, as it is stored and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Availability was taken.
    Decrement,
    /// Availability was given back.
    Increment,
    /// Levels were set.
    Set,
}

/// Why stock changes, by the shop's own words.
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

stored_as!(Kind { Decrement = 1, Increment = 2, Set = 3 });
stored_as!(Reason {
    Unspecified = 0,
    OrderPlaced = 1,
    OrderPaid = 2,
    OrderEdited = 3,
    OrderCanceled = 4,
    OrderRefunded = 5,
    OrderRejected = 6,
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
            Action::Set { .. } => limits::STOCK_ITEMS_MAX,
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
}

impl Action {
    /// The kind of change this is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Decrement { .. } => Kind::Decrement,
            Self::Increment { .. } => Kind::Increment,
            Self::Set { .. } => Kind::Set,
        }
    }

    /// How many items it lists.
    pub fn item_count(&self) -> usize {
        match self {
            Self::Decrement { lines, .. } | Self::Increment { lines } => lines.len(),
            Self::Set { targets } => targets.len(),
        }
    }

    /// Reference and location of every item, in order.
    pub(crate) fn items(&self) -> Box<dyn Iterator<Item = (&CatalogReference, Option<LocationId>)> + '_> {
        match self {
            Self::Decrement { lines, .. } | Self::Increment { lines } => {
                Box::new(lines.iter().map(|line| (&line.reference, line.location)))
            }
            Self::Set { targets } => Box::new(targets.iter().map(|target| (&target.reference, target.location))),
        }
    }
}

/// Everything that makes two requests the same, as bytes. It speaks of what the caller sent, not
/// of the units it meant at the time: a repeat stays a repeat when the site's settings change.
fn content(header: &Header, action: &Action) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128 * action.item_count());
    bytes.extend(action.kind().code().to_le_bytes());
    bytes.extend(header.reason.code().to_le_bytes());
    bytes.extend(header.order.map_or([0; 16], |order| *order.as_uuid().as_bytes()));
    bytes.push(u8::from(matches!(action, Action::Decrement { restricted: true, .. })));
    for (reference, location) in action.items() {
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
        }
    }
    bytes
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}
