//! The JSON that Wix signs, as types.
//!
//! Reading is lenient: unknown fields are ignored, `null` means the same as an absent field, and an absent scalar is
//! zero, because a proto3 writer may leave it out (inferred from Wix's types). Bounds are not checked here: the gRPC
//! server checks them, once for every caller. Writing is for the simulator and for tests.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The claim `data`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Data {
    /// The items and the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<AvailabilityRequest>,
    /// The installation and the id of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// The request of either call. Only a decrement has `restrict_inventory_value`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AvailabilityRequest {
    /// 1 to 300 items.
    #[serde(deserialize_with = "or_default")]
    pub items: Vec<Item>,
    /// `None` counts as true, which never oversells. Wix does not define it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restrict_inventory_value: Option<bool>,
    /// A GUID.
    #[serde(deserialize_with = "or_default")]
    pub order_id: String,
    /// A name of Wix's enum. Any other value counts as no reason.
    pub reason: Value,
}

/// One item.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Item {
    /// The unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog_reference: Option<CatalogReference>,
    /// The location, a GUID. `None`: the site's default location.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location_id: Option<String>,
    /// Pieces: a number, or a number in a string.
    #[serde(deserialize_with = "integer")]
    pub quantity: i64,
    /// Whether the item is sold as a subscription.
    #[serde(deserialize_with = "or_default")]
    pub subscription_item: bool,
}

/// An item of a catalog.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CatalogReference {
    /// The item's id in the catalog.
    #[serde(deserialize_with = "or_default")]
    pub catalog_item_id: String,
    /// The catalog's app id.
    #[serde(deserialize_with = "or_default")]
    pub app_id: String,
    /// Free-form. The keys stay as they are; Wix's SDK renames some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Map<String, Value>>,
}

/// Metadata of the call. Wix sends more fields; they are ignored.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Wix's id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The app's installation on one site, a GUID. It is our site id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The plugin that the call is for: `ECOM_INVENTORY`, in any letter case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_extension_type: Option<String>,
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A whole number in any form that a proto3 reader accepts: `5`, `5.0`, `"5"`. `null` is 0.
fn integer<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    struct Integer;

    impl Visitor<'_> for Integer {
        type Value = i64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<i64, E> {
            Ok(value)
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<i64, E> {
            // Both values are beyond every bound, so the server refuses both.
            Ok(i64::try_from(value).unwrap_or(i64::MAX))
        }

        fn visit_f64<E: de::Error>(self, value: f64) -> Result<i64, E> {
            // Below this bound the cast of a whole number is exact.
            if value.fract() == 0.0 && value.abs() < 9e15 {
                Ok(value as i64)
            } else {
                Err(E::custom("must be a whole number"))
            }
        }

        fn visit_str<E: de::Error>(self, value: &str) -> Result<i64, E> {
            value.parse().map_err(|_| E::custom("must be a whole number"))
        }

        fn visit_unit<E: de::Error>(self) -> Result<i64, E> {
            Ok(0)
        }
    }

    from.deserialize_any(Integer)
}
