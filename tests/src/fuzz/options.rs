//! The options of an item. The input is their text.
//!
//! - Which unit they identify does not depend on the order of their keys, on whitespace, on how characters and numbers
//!   are written, or on whether they travel as JSON or as a `Struct`. Two such calls have one fingerprint.
//! - The canonical text of the options that identify stock has a bound, and identifies the same unit when it is read.
//! - `null` is the same as no option, and `customTextFields` identify nothing.
//! - The quick way of Wix Stores finds the same variant as the general one.

use inventory_core::model::catalog::{
    BadVariant, CatalogReference, Unit, Variant, WIX_BOOKINGS, WIX_RESTAURANTS, WIX_STORES,
};
use inventory_core::model::command::Command;
use inventory_core::model::limits;
use inventory_core::model::unit::UnitSelector;
use inventory_proto::json::{self, Lenient, mend_surrogates, read_object};
use inventory_proto::v1;
use inventory_proto::v1::change_availability_request::Change;
use prost::Message;
use serde_json::{Map, Value};

const APPS: [&str; 4] = [WIX_STORES, WIX_BOOKINGS, WIX_RESTAURANTS, "own"];
const GUID: &str = "215238eb-22a5-4c36-9e7b-e7c08025e04e";

/// The property.
pub fn options(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    surrogates_are_mended(text);
    let read = read_object(text);
    let is_object = serde_json::from_str::<Map<String, Value>>(text).is_ok();
    assert!(read.is_some() || !is_object, "an object was not read");
    let Some(object) = read else { return };
    assert!(text.trim_start().starts_with('{'), "no object was read as one");
    assert!(object.unreadable.iter().all(|key| object.fields.contains_key(key)));
    let identified = identified(&object);
    identified.iter().flatten().for_each(|variant| is_canonical(variant));
    same_in_other_spellings(&object, &identified);
    some_identify_nothing(&object);
    same_as_a_struct(&object);
}

fn surrogates_are_mended(text: &str) {
    if let Some(mended) = mend_surrogates(text) {
        assert_eq!(mended.len(), text.len());
        assert_eq!(mend_surrogates(&mended), None);
    }
}

/// The variant that the options identify, for each app, by its built-in rule and by a site's setting.
fn identified(object: &Lenient) -> Vec<Result<String, BadVariant>> {
    let named = [vec!["variantId".to_owned()], vec!["size".to_owned(), "a".to_owned()]];
    let identified = APPS.iter().flat_map(|app_id| {
        let of = |keys: Option<&[String]>| {
            let reference = CatalogReference::new(app_id, "item", object.fields.clone()).expect("within bounds");
            let unit = Unit::of(&reference.with_unreadable(object.unreadable.clone()), keys);
            unit.map(|unit| unit.variant.as_str().to_owned())
        };
        let all = [of(None), of(Some(&named[0])), of(Some(&named[1]))];
        assert!(*app_id != WIX_STORES || all[0] == all[1], "the quick way differs: {all:?}");
        all
    });
    identified.collect()
}

fn is_canonical(variant: &str) {
    assert!(variant.len() <= limits::VARIANT_BYTES_MAX && !variant.contains('\0'));
    let options = Variant::from_text(variant.to_owned()).options();
    assert_eq!(options.is_empty(), variant.is_empty(), "{variant}");
    let keys: Vec<String> = options.keys().cloned().collect();
    let reference = CatalogReference::new("own", "item", options).expect("within bounds");
    let again = Unit::of(&reference, Some(&keys)).expect("they identified a unit before");
    assert_eq!(again.variant.as_str(), variant);
}

fn same_in_other_spellings(object: &Lenient, identified_first: &[Result<String, BadVariant>]) {
    for spelling in [Spelling { is_wide: false, is_escaped: true }, Spelling { is_wide: true, is_escaped: false }] {
        let mut text = "{".to_owned();
        for (key, value) in object.fields.iter().rev() {
            if text.len() > 1 {
                text.push(',');
            }
            spelling.text(&mut text, key);
            text.push(':');
            match value {
                // It has kept its text.
                Value::String(raw) if object.unreadable.contains(key) => text.push_str(raw),
                value => spelling.value(&mut text, value),
            }
        }
        text.push('}');
        let again = read_object(&text).unwrap_or_else(|| panic!("{text} is no object"));
        assert_eq!(again.fields, object.fields, "{text}");
        assert_eq!(identified(&again), identified_first, "{text}");
    }
}

/// Another way to write JSON.
struct Spelling {
    /// With whitespace.
    is_wide: bool,
    /// With escapes for all characters.
    is_escaped: bool,
}

impl Spelling {
    fn value(&self, to: &mut String, value: &Value) {
        if self.is_wide {
            to.push_str(" \n\t\r");
        }
        match value {
            Value::Null => to.push_str("null"),
            Value::Bool(value) => to.push_str(if *value { "true" } else { "false" }),
            Value::Number(number) if self.is_escaped => {
                to.push_str(&format!("{:E}", number.as_f64().expect("each number is a double")));
            }
            Value::Number(number) => to.push_str(&format!("{}", number.as_f64().expect("each number is a double"))),
            Value::String(text) => self.text(to, text),
            Value::Array(values) => {
                to.push('[');
                for (index, value) in values.iter().enumerate() {
                    to.push_str(if index > 0 { "," } else { "" });
                    self.value(to, value);
                }
                to.push(']');
            }
            Value::Object(fields) => {
                to.push('{');
                for (index, (key, value)) in fields.iter().rev().enumerate() {
                    to.push_str(if index > 0 { "," } else { "" });
                    self.text(to, key);
                    to.push_str(if self.is_wide { " : " } else { ":" });
                    self.value(to, value);
                }
                to.push('}');
            }
        }
    }

    fn text(&self, to: &mut String, text: &str) {
        if self.is_escaped {
            to.push('"');
            text.encode_utf16().for_each(|unit| to.push_str(&format!("\\u{unit:04X}")));
            to.push('"');
        } else {
            to.push_str(&Value::from(text).to_string());
        }
    }
}

/// `null` and `customTextFields` change nothing.
fn some_identify_nothing(object: &Lenient) {
    let with = |key: &str, value: Value| {
        let mut other = object.clone();
        other.unreadable.retain(|unreadable| unreadable != key);
        other.fields.insert(key.to_owned(), value);
        identified(&other)
    };
    let without = |key: &str| {
        let mut other = object.clone();
        other.unreadable.retain(|unreadable| unreadable != key);
        other.fields.remove(key);
        identified(&other)
    };
    assert_eq!(with("customTextFields", Value::from("other")), without("customTextFields"));
    for key in ["size", "variantId", "none"] {
        assert_eq!(with(key, Value::Null), without(key), "{key}");
    }
}

/// The gRPC decoders read both forms alike.
fn same_as_a_struct(object: &Lenient) {
    if !object.unreadable.is_empty() {
        return;
    }
    let text = Value::Object(object.fields.clone()).to_string();
    let options = json::from_json(object.fields.clone());
    let encoded = options.encode_to_vec();
    let options = prost_types::Struct::decode(encoded.as_slice()).expect("nested no deeper than readers go");
    assert_eq!(json::to_json(options.clone()).as_ref(), Ok(&object.fields));
    for app_id in APPS {
        let of_struct = command(app_id, Some(options.clone()), String::new());
        let of_text = command(app_id, None, text.clone());
        assert_eq!(of_struct.fingerprint(), of_text.fingerprint(), "{app_id} {text}");
        assert_eq!(unit(&of_struct), unit(&of_text), "{app_id} {text}");
    }
}

fn command(app_id: &str, options: Option<prost_types::Struct>, options_json: String) -> Command {
    let reference =
        v1::CatalogReference { app_id: app_id.to_owned(), catalog_item_id: "item".to_owned(), options, options_json };
    let item = v1::Item { unit: Some(reference.into()), quantity: 1, ..Default::default() };
    let request = v1::DecrementAvailabilityRequest {
        site_id: GUID.to_owned(),
        order_id: GUID.to_owned(),
        items: vec![item],
        request_id: "request".to_owned(),
        ..Default::default()
    };
    inventory_grpc::fuzz::change(Change::Decrement(request)).expect("within bounds")
}

fn unit(command: &Command) -> Vec<Result<Unit, BadVariant>> {
    let named = command.action().named_levels().map(|(unit, _)| match unit {
        UnitSelector::Reference(reference) => Unit::of(reference, None),
        UnitSelector::Sku(sku) => panic!("no SKU was named: {sku:?}"),
    });
    named.collect()
}
