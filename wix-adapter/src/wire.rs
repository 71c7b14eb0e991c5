//! The JSON that Wix signs, as types.
//!
//! Reading is lenient: unknown fields are ignored, `null` means the same as an absent field, and an absent scalar is
//! empty or zero, because a proto3 writer may leave it out (inferred from Wix's types). Bounds are not checked here:
//! the gRPC server checks them, once for every caller. The types borrow from the text that they are read from, and the
//! options are not read at all. Writing is for the simulator and for tests.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The claim `data`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Data<'a> {
    /// The items and the order.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub request: Option<AvailabilityRequest<'a>>,
    /// The installation and the id of the call.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata<'a>>,
}

/// The request of either call. Only a decrement has `restrict_inventory_value`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AvailabilityRequest<'a> {
    /// 1 to 300 items. Of more, one is read, and the server refuses the order.
    #[serde(borrow, deserialize_with = "items")]
    pub items: Vec<Item<'a>>,
    /// `None` counts as true, which never oversells. Wix does not define it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restrict_inventory_value: Option<bool>,
    /// A GUID.
    #[serde(borrow)]
    pub order_id: Text<'a>,
    /// A name of Wix's enum. Any other value counts as no reason.
    #[serde(borrow)]
    pub reason: Option<&'a RawValue>,
}

/// One item.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Item<'a> {
    /// The unit.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub catalog_reference: Option<CatalogReference<'a>>,
    /// The location, a GUID. Empty: the site's default location.
    #[serde(borrow, skip_serializing_if = "Text::is_empty")]
    pub location_id: Text<'a>,
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
pub struct CatalogReference<'a> {
    /// The item's id in the catalog.
    #[serde(borrow)]
    pub catalog_item_id: Text<'a>,
    /// The catalog's app id.
    #[serde(borrow)]
    pub app_id: Text<'a>,
    /// Free-form. The keys stay as they are; Wix's SDK renames some.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub options: Option<&'a RawValue>,
}

/// Metadata of the call. Wix sends more fields; they are ignored.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata<'a> {
    /// Wix's id of the request.
    #[serde(borrow, skip_serializing_if = "Text::is_empty")]
    pub request_id: Text<'a>,
    /// The app's installation on one site, a GUID. It is our site id.
    #[serde(borrow, skip_serializing_if = "Text::is_empty")]
    pub instance_id: Text<'a>,
    /// The plugin that the call is for: `ECOM_INVENTORY`, in any letter case.
    #[serde(borrow, skip_serializing_if = "Text::is_empty")]
    pub app_extension_type: Text<'a>,
}

/// A text, borrowed where it stands without escapes. `null` is the empty text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text<'a>(Cow<'a, str>);

impl<'a> Text<'a> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text as its own.
    pub fn into_owned(self) -> String {
        self.0.into_owned()
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Borrowed;

        impl<'de> Visitor<'de> for Borrowed {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
        }

        from.deserialize_any(Borrowed)
    }
}

/// A field of the signed data that cannot be converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadField {
    /// Its path as Wix spells it: below `data.request`, or `metadata.…`.
    pub field: String,
    /// What is wrong with it. It quotes nothing of the content.
    pub description: String,
}

impl BadField {
    /// A bad field.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into() }
    }

    /// There is no claim `data`.
    pub fn no_data() -> Self {
        Self::new("data", WRONG_TYPE)
    }

    /// The field of `data` that cannot be read. `text` is the JSON of a [`Data`] that cannot be.
    pub fn of(text: &str) -> Self {
        let mut reader = serde_json::Deserializer::from_str(text);
        let Err(error) = serde_path_to_error::deserialize::<_, Data<'_>>(&mut reader) else { return Self::no_data() };
        let path = error.path().to_string();
        let field = path.strip_prefix("request.").unwrap_or(&path);
        let field = if field == "." { "data" } else { field };
        // The text of the error may quote the content; its category does not.
        let problem = match error.inner().classify() {
            serde_json::error::Category::Data => WRONG_TYPE,
            serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof
            | serde_json::error::Category::Io => "is not JSON",
        };
        Self::new(field, problem)
    }
}

const WRONG_TYPE: &str = "has the wrong type";

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Items that are read: one more than an order may have. An item takes many times the memory of its shortest text.
const ITEMS_READ_MAX: usize = 301;

fn items<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Vec<Item<'a>>, D::Error> {
    struct Items;

    impl<'de> Visitor<'de> for Items {
        type Value = Vec<Item<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            while items.len() < ITEMS_READ_MAX {
                let Some(item) = seq.next_element()? else { return Ok(items) };
                items.push(item);
            }
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(items)
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }
    }

    from.deserialize_any(Items)
}

/// A whole number: `5`, `5.0`, `"5"`. `null` is 0.
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
