//! Catalog references, and the units that they identify.
//!
//! A reference carries free-form options. Only some of them identify stock: the size does, the engraving does not.
//! Which ones is a setting per site and catalog app, with built-in rules for Wix's own catalogs.

use serde_json::{Map, Value};

use crate::model::ids::{SiteId, UnitId, derive, parse_guid};
use crate::model::limits;

/// The app id of Wix Stores. Source of this and the next two: Wix's list of apps.
pub const WIX_STORES: &str = "215238eb-22a5-4c36-9e7b-e7c08025e04e";
/// The app id of Wix Bookings.
pub const WIX_BOOKINGS: &str = "13d21c63-b5ec-5912-8397-c3a5ddb27a97";
/// The app id of Wix Restaurants Orders.
pub const WIX_RESTAURANTS: &str = "9a5d83fd-8570-482e-81ab-cfa88942ee60";

/// The option of Wix Stores that names the variant.
const VARIANT_ID: &str = "variantId";
/// The variant of a product without variants.
const NO_VARIANT: &str = "00000000-0000-0000-0000-000000000000";

/// An item by the catalog's names, within bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogReference {
    app_id: String,
    item_id: String,
    options: Map<String, Value>,
    /// Keys of options whose values cannot be read.
    unreadable: Vec<String>,
}

/// The field of a reference that is out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadReference {
    /// The app id is empty, too long, or holds a NUL.
    AppId,
    /// The item id is empty, too long, or holds a NUL.
    ItemId,
}

impl CatalogReference {
    /// Checks the bounds (`limits`). Letter case does not matter in an id that is a GUID, so it is kept in lower case.
    /// Any other id is kept as it is.
    pub fn new(app_id: &str, item_id: &str, options: Map<String, Value>) -> Result<Self, BadReference> {
        // Postgres text cannot hold a NUL.
        if !(1..=limits::APP_ID_CHARS_MAX).contains(&app_id.chars().count()) || app_id.contains('\0') {
            return Err(BadReference::AppId);
        }
        if !(1..=limits::ITEM_ID_CHARS_MAX).contains(&item_id.chars().count()) || item_id.contains('\0') {
            return Err(BadReference::ItemId);
        }
        Ok(Self { app_id: fold_guid(app_id), item_id: fold_guid(item_id), options, unreadable: Vec::new() })
    }

    /// The reference, with the keys of its options that cannot be read. If one of them identifies stock, the reference
    /// identifies no unit.
    #[must_use]
    pub fn with_unreadable(self, keys: Vec<String>) -> Self {
        Self { unreadable: keys, ..self }
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

/// The options that identify stock, as canonical JSON (RFC 8785). Empty if there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Variant(String);

impl Variant {
    /// The canonical text, as stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes back text that `as_str` returned.
    pub fn from_text(text: String) -> Self {
        Self(text)
    }

    /// The options as a JSON object.
    pub fn options(&self) -> Map<String, Value> {
        // Only `Variant::of` writes this text. Damaged text reads as no options, so that the rest of the answer
        // can still be given.
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    fn of(options: &Map<String, Value>) -> Result<Self, BadVariant> {
        if options.is_empty() {
            return Ok(Self::default());
        }
        let text = serde_json_canonicalizer::to_string(options).map_err(|_| BadVariant::TooLarge)?;
        if text.len() > limits::VARIANT_BYTES_MAX { Err(BadVariant::TooLarge) } else { Ok(Self(text)) }
    }

    /// The only option is a text that JSON writes as it is.
    fn of_plain_text(key: &str, text: &str) -> Self {
        Self(format!(r#"{{"{key}":"{text}"}}"#))
    }
}

/// Why options identify no unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadVariant {
    /// They are larger than `limits::VARIANT_BYTES_MAX`.
    #[error("the options that identify stock are too large")]
    TooLarge,
    /// One of them cannot be read.
    #[error("an option that identifies stock is a number that is too large, is nested too deeply, or is too long")]
    Unreadable,
}

/// What is counted: within a site, the thing that has levels.
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
    /// The unit that `reference` identifies. `named_keys` is the site's setting for the catalog app.
    pub fn of(reference: &CatalogReference, named_keys: Option<&[String]>) -> Result<Self, BadVariant> {
        let variant = match (named_keys, reference.app_id.as_str()) {
            (None, WIX_STORES) => stores_variant(&reference.options),
            (Some(_), _) | (None, _) => None,
        };
        let variant = match variant {
            Some(variant) => variant,
            None => Variant::of(&identifying(reference, named_keys)?)?,
        };
        Ok(Self { app_id: reference.app_id.clone(), item_id: reference.item_id.clone(), variant })
    }

    /// The unit's key on `site`.
    pub fn id(&self, site: SiteId) -> UnitId {
        let site = site.as_uuid().as_bytes().as_slice();
        let parts = [site, self.app_id.as_bytes(), self.item_id.as_bytes(), self.variant.as_str().as_bytes()];
        UnitId::from_uuid(derive("unit", &parts))
    }
}

/// The variant of a product of Wix Stores: what [`identifying`] finds, without the map, for the usual cases. `None` for
/// the others.
fn stores_variant(options: &Map<String, Value>) -> Option<Variant> {
    match options.get(VARIANT_ID)? {
        Value::Null => Some(Variant::default()),
        Value::String(id) if id == NO_VARIANT => Some(Variant::default()),
        Value::String(id) if parse_guid(id).is_some() => {
            Some(Variant::of_plain_text(VARIANT_ID, &id.to_ascii_lowercase()))
        }
        Value::String(_) | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn identifying(reference: &CatalogReference, named_keys: Option<&[String]>) -> Result<Map<String, Value>, BadVariant> {
    let pick = |keys: &mut dyn Iterator<Item = &str>| -> Map<String, Value> {
        keys.filter_map(|key| Some((key.to_owned(), reference.options.get(key)?.clone()))).collect()
    };
    let mut options = match (named_keys, reference.app_id.as_str()) {
        (Some(keys), _) => pick(&mut keys.iter().map(String::as_str)),
        (None, WIX_STORES) => pick(&mut std::iter::once(VARIANT_ID)),
        (None, WIX_BOOKINGS | WIX_RESTAURANTS) => Map::new(),
        (None, _) => pick(&mut reference.options.keys().map(String::as_str).filter(|key| *key != "customTextFields")),
    };
    if reference.unreadable.iter().any(|key| options.contains_key(key)) {
        return Err(BadVariant::Unreadable);
    }
    if reference.app_id == WIX_STORES
        && let Some(Value::String(id)) = options.get_mut(VARIANT_ID)
    {
        *id = fold_guid(id);
    }
    // An absent option equals a null one. For Wix Stores, no variant equals the all-zero variant; whether products
    // without variants send it is not documented.
    options.retain(|key, value| match value {
        Value::Null => false,
        Value::String(id) => {
            !(reference.app_id == WIX_STORES && key == VARIANT_ID && (id.is_empty() || id == NO_VARIANT))
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => true,
    });
    Ok(options)
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
        let (modifiers, texts) = (json!({"gift": "yes"}), json!({"t": "x"}));
        let v3 = json!({
            "variantId": guid, "options": modifiers, "customTextFields": texts, "subscriptionOptionId": "s"
        });
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
        assert_eq!(Unit::of(&reference, None), Err(BadVariant::TooLarge));
    }

    #[test]
    fn an_option_that_cannot_be_read_must_not_identify_stock() {
        let of = |app_id: &str, key: &str| {
            let options = Map::from_iter([(key.to_owned(), json!("1e400")), ("size".to_owned(), json!("M"))]);
            let reference = CatalogReference::new(app_id, "item", options).expect("in bounds");
            Unit::of(&reference.with_unreadable(vec![key.to_owned()]), None).map(|unit| unit.variant.0)
        };
        assert_eq!(of("own", "customTextFields"), Ok(r#"{"size":"M"}"#.to_owned()));
        assert_eq!(of("own", "weight"), Err(BadVariant::Unreadable));
        assert_eq!(of(WIX_STORES, "weight"), Ok(String::new()));
        assert_eq!(of(WIX_STORES, VARIANT_ID), Err(BadVariant::Unreadable));
    }
}
