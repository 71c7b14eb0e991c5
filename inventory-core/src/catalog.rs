//! From a shop's catalog reference to the unit whose stock it means.
//!
//! A reference carries free-form options, of which only some say *which* stock is meant (the
//! size, not the engraving). Which ones is a setting of the site per catalog app, with built-in
//! answers for Wix's own catalogs.

use serde_json::{Map, Value};

use crate::ids::parse_guid;
use crate::limits;

/// Wix Stores (documented in Wix's list of apps, as the two below).
pub const WIX_STORES: &str = "215238eb-22a5-4c36-9e7b-e7c08025e04e";
/// Wix Bookings.
pub const WIX_BOOKINGS: &str = "13d21c63-b5ec-5912-8397-c3a5ddb27a97";
/// Wix Restaurants Orders.
pub const WIX_RESTAURANTS: &str = "9a5d83fd-8570-482e-81ab-cfa88942ee60";

const NO_VARIANT: &str = "00000000-0000-0000-0000-000000000000";

/// An item as a caller names it: checked in its bounds, not yet reduced to a unit.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogReference {
    app_id: String,
    item_id: String,
    options: Map<String, Value>,
}

/// Which bound a reference breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadReference {
    /// The app id is empty, too long, or holds a NUL.
    AppId,
    /// The item id is empty, too long, or holds a NUL.
    ItemId,
}

impl CatalogReference {
    /// Checks the bounds. An id that is a GUID is compared without regard to letter case, so it
    /// is kept in lower case; any other id is kept as it is.
    pub fn new(app_id: &str, item_id: &str, options: Map<String, Value>) -> Result<Self, BadReference> {
        // Postgres has no NUL in its texts.
        if !(1..=limits::APP_ID_CHARS_MAX).contains(&app_id.chars().count()) || app_id.contains('\0') {
            return Err(BadReference::AppId);
        }
        if !(1..=limits::ITEM_ID_CHARS_MAX).contains(&item_id.chars().count()) || item_id.contains('\0') {
            return Err(BadReference::ItemId);
        }
        Ok(Self { app_id: fold_guid(app_id), item_id: fold_guid(item_id), options })
    }

    /// The catalog's app id.
    pub fn app_id(&self) -> &str {
        &self.app_id
    }

    /// The item's id in that catalog.
    pub fn item_id(&self) -> &str {
        &self.item_id
    }

    /// All options as the caller sent them.
    pub fn options(&self) -> &Map<String, Value> {
        &self.options
    }
}

/// A GUID in lower case; any other text unchanged.
pub(crate) fn fold_guid(text: &str) -> String {
    if parse_guid(text).is_some() { text.to_ascii_lowercase() } else { text.to_owned() }
}

/// The options that identify stock, as canonical JSON (RFC 8785); empty when there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Variant(String);

impl Variant {
    /// The canonical text as it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes text that `as_str` has given before.
    pub fn from_text(text: String) -> Self {
        Self(text)
    }

    /// The options as a JSON object.
    pub fn options(&self) -> Map<String, Value> {
        // Only text written by `Variant::of` gets here; damaged text reads as no options rather
        // than taking the answer down.
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    fn of(options: &Map<String, Value>) -> Result<Self, VariantTooLarge> {
        if options.is_empty() {
            return Ok(Self::default());
        }
        let text = serde_json_canonicalizer::to_string(options).map_err(|_| VariantTooLarge)?;
        if text.len() > limits::VARIANT_BYTES_MAX { Err(VariantTooLarge) } else { Ok(Self(text)) }
    }
}

/// The options that identify stock are larger than `limits::VARIANT_BYTES_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VariantTooLarge;

/// What is counted, within a site.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unit {
    /// The catalog's app id.
    pub app_id: String,
    /// The item's id in that catalog.
    pub item_id: String,
    /// Which variant of the item.
    pub variant: Variant,
}

impl Unit {
    /// The unit that `reference` means. `named_keys` is the site's setting for the catalog app.
    pub fn of(reference: &CatalogReference, named_keys: Option<&[String]>) -> Result<Self, VariantTooLarge> {
        Ok(Self {
            app_id: reference.app_id.clone(),
            item_id: reference.item_id.clone(),
            variant: Variant::of(&identifying(reference, named_keys))?,
        })
    }
}

fn identifying(reference: &CatalogReference, named_keys: Option<&[String]>) -> Map<String, Value> {
    let pick = |keys: &mut dyn Iterator<Item = &str>| -> Map<String, Value> {
        keys.filter_map(|key| Some((key.to_owned(), reference.options.get(key)?.clone()))).collect()
    };
    let mut options = match (named_keys, reference.app_id.as_str()) {
        (Some(keys), _) => pick(&mut keys.iter().map(String::as_str)),
        (None, WIX_STORES) => pick(&mut std::iter::once("variantId")),
        (None, WIX_BOOKINGS | WIX_RESTAURANTS) => Map::new(),
        (None, _) => pick(&mut reference.options.keys().map(String::as_str).filter(|key| *key != "customTextFields")),
    };
    if reference.app_id == WIX_STORES
        && let Some(Value::String(id)) = options.get_mut("variantId")
    {
        *id = fold_guid(id);
    }
    // An absent option and a null one say the same; so do, for Wix Stores, no variant and the
    // all-zero one (whether products without variants send it is not documented).
    options.retain(|key, value| match value {
        Value::Null => false,
        Value::String(id) => {
            !(reference.app_id == WIX_STORES && key == "variantId" && (id.is_empty() || id == NO_VARIANT))
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => true,
    });
    options
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn variant(app_id: &str, options: Value, keys: Option<&[&str]>) -> String {
        let Value::Object(options) = options else { panic!("options are an object") };
        let keys: Option<Vec<String>> = keys.map(|keys| keys.iter().map(|&key| key.into()).collect());
        let reference = CatalogReference::new(app_id, "item", options).expect("in bounds");
        Unit::of(&reference, keys.as_deref()).expect("small").variant.as_str().to_owned()
    }

    #[test]
    fn which_options_identify_stock() {
        let guid = "3F2504E0-4F89-41D3-9A0C-0305E82C3301";
        let low = guid.to_lowercase();
        let v3 = json!({"variantId": guid, "options": {"gift": "yes"}, "customTextFields": {"t": "x"}, "subscriptionOptionId": "s"});
        let rows: &[(&str, Value, Option<&[&str]>, String)] = &[
            (WIX_STORES, v3, None, format!(r#"{{"variantId":"{low}"}}"#)),
            (WIX_STORES, json!({"variantId": NO_VARIANT}), None, String::new()),
            (WIX_STORES, json!({"variantId": null}), None, String::new()),
            (WIX_STORES, json!({}), None, String::new()),
            (WIX_STORES, json!({"variantId": guid, "size": "M"}), Some(&["size"]), r#"{"size":"M"}"#.into()),
            (WIX_BOOKINGS, json!({"any": 1}), None, String::new()),
            (WIX_RESTAURANTS, json!({"operationId": "o", "menuId": "m"}), None, String::new()),
            (
                "own",
                json!({"Size": "M", "Color": "Red", "customTextFields": {"t": "x"}}),
                None,
                r#"{"Color":"Red","Size":"M"}"#.into(),
            ),
            ("own", json!({"Color": "Red", "Size": "M"}), None, r#"{"Color":"Red","Size":"M"}"#.into()),
            ("own", json!({"b": {"z": 1.0, "a": true}, "n": null}), None, r#"{"b":{"a":true,"z":1}}"#.into()),
            ("own", json!({"id": "kept", "_id": "other"}), Some(&["id"]), r#"{"id":"kept"}"#.into()),
            ("own", json!({"x": 1}), Some(&[]), String::new()),
        ];
        for (app, options, keys, expected) in rows {
            assert_eq!(&variant(app, options.clone(), *keys), expected, "{app} {options} {keys:?}");
        }
    }

    #[test]
    fn bounds_of_a_reference() {
        let new = |app: &str, item: &str| CatalogReference::new(app, item, Map::new()).map(|_| ());
        assert_eq!(new("a", &"ä".repeat(36)), Ok(()));
        assert_eq!(new("a", &"ä".repeat(37)), Err(BadReference::ItemId));
        assert_eq!(new("a", ""), Err(BadReference::ItemId));
        assert_eq!(new("", "i"), Err(BadReference::AppId));
        assert_eq!(new(&"a".repeat(101), "i"), Err(BadReference::AppId));
    }

    #[test]
    fn a_variant_has_a_bound() {
        let options = Map::from_iter([("text".to_owned(), Value::String("x".repeat(3_000)))]);
        let reference = CatalogReference::new("own", "item", options).expect("in bounds");
        assert_eq!(Unit::of(&reference, None), Err(VariantTooLarge));
    }
}
