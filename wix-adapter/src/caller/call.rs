//! One call of Wix, as a person describes it, and the token that carries it.

use jsonwebtoken::EncodingKey;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::convert::Method;
use crate::signing::{self, Times};
use crate::wire;

/// Why a token cannot be made.
type NoToken = Box<dyn std::error::Error>;

/// A catalog item and pieces of it.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The catalog item id.
    pub item: String,
    /// Pieces.
    pub quantity: i64,
}

/// The options of an item: a JSON object.
#[derive(Clone, Debug)]
pub struct Options(Box<RawValue>);

/// A call. All of its items are of one catalog, at one location, with the same options.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which of the two calls.
    pub method: Method,
    /// The items.
    pub pieces: Vec<Piece>,
    /// The order, a GUID.
    pub order_id: String,
    /// Wix's id of the request.
    pub request_id: String,
    /// The reason, by Wix's name.
    pub reason: &'static str,
    /// Whether a decrement may take a level below zero.
    pub is_unrestricted: bool,
    /// The site: the app's installation.
    pub site_id: String,
    /// The catalog's app id.
    pub catalog_app_id: String,
    /// The options of every item.
    pub options: Option<Options>,
    /// The location of every item, a GUID. `None`: the default location.
    pub location_id: Option<String>,
}

impl Call {
    /// A call about a new order with the method's usual reason, restricted.
    pub fn new(method: Method, site_id: &str, catalog_app_id: &str, pieces: Vec<Piece>) -> Self {
        Self {
            method,
            pieces,
            order_id: Uuid::new_v4().to_string(),
            request_id: Uuid::new_v4().to_string(),
            reason: match method {
                Method::Decrement => "ORDER_PLACED",
                Method::Increment => "ORDER_CANCELED",
            },
            is_unrestricted: false,
            site_id: site_id.to_owned(),
            catalog_app_id: catalog_app_id.to_owned(),
            options: None,
            location_id: None,
        }
    }

    /// The call for an order that exists already.
    #[must_use]
    pub fn of_order(self, order_id: &str) -> Self {
        Self { order_id: order_id.to_owned(), ..self }
    }

    /// The call with another reason.
    #[must_use]
    pub fn because(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    /// The call, which may take a level below zero.
    #[must_use]
    pub fn unrestricted(self) -> Self {
        Self { is_unrestricted: true, ..self }
    }

    /// The token that carries the call to the app.
    pub fn token(&self, key: &EncodingKey, app_id: &str, times: Times) -> Result<String, NoToken> {
        let items = self.pieces.iter().map(|piece| wire::Item {
            catalog_reference: Some(wire::CatalogReference {
                catalog_item_id: piece.item.as_str().into(),
                app_id: self.catalog_app_id.as_str().into(),
                options: self.options.as_ref().map(|options| &*options.0),
            }),
            location_id: self.location_id.as_deref().unwrap_or_default().into(),
            quantity: piece.quantity,
            subscription_item: false,
        });
        let reason = to_raw_value(self.reason)?;
        let data = wire::Data {
            request: Some(wire::AvailabilityRequest {
                items: items.collect(),
                restrict_inventory_value: match self.method {
                    Method::Decrement => Some(!self.is_unrestricted),
                    Method::Increment => None,
                },
                order_id: self.order_id.as_str().into(),
                reason: Some(&reason),
            }),
            metadata: Some(wire::Metadata {
                request_id: self.request_id.as_str().into(),
                instance_id: self.site_id.as_str().into(),
                app_extension_type: "ECOM_INVENTORY".into(),
            }),
        };
        Ok(signing::sign(key, app_id, times, &data)?)
    }
}

impl Options {
    /// Reads a JSON object.
    pub fn parse(text: &str) -> Result<Self, String> {
        let object = serde_json::from_str::<Map<String, Value>>(text).and_then(|object| to_raw_value(&object));
        object.map(Self).map_err(|_| "must be a JSON object".into())
    }
}

impl Piece {
    /// Reads ITEM or ITEM:QUANTITY.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.rsplit_once(':') {
            None => Ok(Self { item: text.to_owned(), quantity: 1 }),
            Some((item, quantity)) => match quantity.parse() {
                Ok(quantity) => Ok(Self { item: item.to_owned(), quantity }),
                Err(_) => Err("must be ITEM or ITEM:QUANTITY".into()),
            },
        }
    }
}
