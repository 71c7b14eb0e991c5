//! How a person names a unit, in both directions: what is typed, and what a page shows so that it can be typed.
//!
//! ```text
//! UNIT    = SKU | sku:SKU | APP/ITEM | APP/ITEM/OPTIONS | REFERENCE
//! OPTIONS = KEY=VALUE,KEY=VALUE,… | a JSON object
//! ```
//!
//! A text without a slash is a SKU; `sku:` stands before a SKU that has one. All values of KEY=VALUE are texts; for
//! numbers, and for texts with a comma, write a JSON object. REFERENCE is the contract's `CatalogReference` as a JSON
//! object, for ids that have a slash: `{"app_id": "a/b", "catalog_item_id": "c", "options": {}}`.
//!
//! Every part is within its bounds. Which options identify the unit is decided by the server.

use std::fmt::Display;

use inventory_proto::{UnitRef, json, v1};
use prost_types::Struct;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::decode::Fields;
use crate::violation::{At, Violation};

/// What stands before a SKU that could be read as something else.
const SKU_PREFIX: &str = "sku:";
/// Doubles up to this one are whole numbers without gaps.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A unit as a person named it.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitName {
    /// What was typed.
    pub typed: String,
    /// The unit.
    pub unit: UnitRef,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    app_id: String,
    catalog_item_id: String,
    #[serde(default)]
    options: Map<String, Value>,
}

/// Reads a UNIT. The error names the part that is wrong.
pub fn parse(text: &str) -> Result<UnitName, String> {
    let unit = match text.strip_prefix(SKU_PREFIX) {
        Some(sku) => UnitRef::Sku(sku.to_owned()),
        None if text.starts_with('{') => {
            let names = "a unit as a JSON object has app_id, catalog_item_id and perhaps options";
            let Reference { app_id, catalog_item_id, options } =
                serde_json::from_str(text).map_err(|error| format!("{names}: {error}"))?;
            reference(app_id, catalog_item_id, options)
        }
        None => match text.split_once('/') {
            None => UnitRef::Sku(text.to_owned()),
            Some((app_id, rest)) => {
                let (item_id, options) = match rest.split_once('/') {
                    None => (rest, Map::new()),
                    Some((item_id, text)) => (item_id, read_options(text)?),
                };
                reference(app_id.to_owned(), item_id.to_owned(), options)
            }
        },
    };
    let mut fields = Fields::default();
    if fields.unit(At::REQUEST, Some(unit.clone())).is_ok() {
        return Ok(UnitName { typed: text.to_owned(), unit });
    }
    let reasons: Vec<String> = fields.into_listed().into_iter().map(reason).collect();
    Err(reasons.join("; "))
}

fn reference(app_id: String, catalog_item_id: String, options: Map<String, Value>) -> UnitRef {
    let options = (!options.is_empty()).then(|| json::from_json(options));
    UnitRef::CatalogReference(v1::CatalogReference { app_id, catalog_item_id, options, options_json: String::new() })
}

/// Reads OPTIONS.
fn read_options(text: &str) -> Result<Map<String, Value>, String> {
    if text.starts_with('{') {
        return serde_json::from_str(text).map_err(|error| format!("the options are no JSON object: {error}"));
    }
    let mut options = Map::new();
    for option in text.split(',') {
        let form = "write KEY=VALUE,KEY=VALUE or a JSON object";
        match option.split_once('=') {
            None if text.is_empty() => return Err(format!("the options after the second slash are empty; {form}")),
            None => return Err(format!("the option {option:?} has no value; {form}")),
            Some(("", _)) => return Err(format!("the option {option:?} has no name; {form}")),
            Some((key, value)) => {
                if options.insert(key.to_owned(), Value::from(value)).is_some() {
                    return Err(format!("the option {key:?} is there twice"));
                }
            }
        }
    }
    Ok(options)
}

/// What is wrong with a part, in words of the grammar.
fn reason(Violation { field, description }: Violation) -> String {
    let part = match field.as_str() {
        "sku" => "SKU",
        "catalog_reference.app_id" => "app id",
        "catalog_reference.catalog_item_id" => "item id",
        "catalog_reference.options" => "options",
        other => other,
    };
    format!("the {part} {description}")
}

/// The unit with this SKU. The text can be typed.
pub fn of_sku(sku: &str) -> String {
    let is_plain = !sku.contains('/') && !sku.starts_with('{') && !sku.starts_with(SKU_PREFIX);
    if is_plain { sku.to_owned() } else { format!("{SKU_PREFIX}{sku}") }
}

/// The unit by the catalog's names. The text can be typed.
pub fn of_reference(reference: &v1::CatalogReference) -> String {
    let v1::CatalogReference { app_id, catalog_item_id, options, options_json: _ } = reference;
    let options = options_of(options.clone().unwrap_or_default());
    let is_plain = !app_id.starts_with('{') && !app_id.starts_with(SKU_PREFIX);
    if !is_plain || [app_id, catalog_item_id].iter().any(|id| id.contains('/')) {
        let names = serde_json::json!({"app_id": app_id, "catalog_item_id": catalog_item_id, "options": options});
        return names.to_string();
    }
    let item = format!("{app_id}/{catalog_item_id}");
    match written(&options) {
        _ if options.is_empty() => item,
        Some(options) => join(&item, options),
        None => join(&item, Value::Object(options)),
    }
}

fn join(item: &str, options: impl Display) -> String {
    format!("{item}/{options}")
}

/// Options as KEY=VALUE. `None` if only JSON can tell them.
fn written(options: &Map<String, Value>) -> Option<String> {
    let option = |(key, value): (&String, &Value)| match value {
        Value::String(value) if !key.is_empty() && !key.contains([',', '=']) && !value.contains(',') => {
            Some(format!("{key}={value}"))
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let parts: Option<Vec<String>> = options.iter().map(option).collect();
    parts.map(|parts| parts.join(",")).filter(|text| !text.starts_with('{'))
}

/// A `Struct` as JSON. Whole numbers have no fraction: 5, not 5.0.
pub(crate) fn options_of(options: Struct) -> Map<String, Value> {
    // The server sends no number that JSON cannot tell.
    let mut options = json::to_json(options).unwrap_or_default();
    options.values_mut().for_each(make_whole);
    options
}

fn make_whole(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().filter(|double| double.fract() == 0.0 && double.abs() <= WHOLE_MAX);
            if let Some(double) = whole {
                // In range by the line above.
                *number = (double as i64).into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(make_whole),
        Value::Object(fields) => fields.values_mut().for_each(make_whole),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LONG: &str = "0123456789012345678901234567890123456";

    #[test]
    fn a_unit_is_named_by_sku_or_by_the_catalogs_names() {
        let sku = |sku: &str| UnitRef::Sku(sku.to_owned());
        let item = |app: &str, item: &str, options: Value| {
            let Value::Object(options) = options else { panic!("options are an object") };
            reference(app.to_owned(), item.to_owned(), options)
        };
        // What is typed, what it means, and how a page shows the same unit.
        let rows = [
            ("mug", sku("mug"), "mug"),
            ("Mug, white = 1", sku("Mug, white = 1"), "Mug, white = 1"),
            ("sku:A/B", sku("A/B"), "sku:A/B"),
            ("sku:mug", sku("mug"), "mug"),
            ("sku:sku:x", sku("sku:x"), "sku:sku:x"),
            ("sku:{x", sku("{x"), "sku:{x"),
            ("app/mug", item("app", "mug", json!({})), "app/mug"),
            ("app/shirt/size=M", item("app", "shirt", json!({"size": "M"})), "app/shirt/size=M"),
            (
                "app/shirt/size=M,color=a/b",
                item("app", "shirt", json!({"size": "M", "color": "a/b"})),
                "app/shirt/color=a/b,size=M",
            ),
            ("app/shirt/size=", item("app", "shirt", json!({"size": ""})), "app/shirt/size="),
            ("app/shirt/a=b=c", item("app", "shirt", json!({"a": "b=c"})), "app/shirt/a=b=c"),
            (r#"app/shirt/{"size":"M"}"#, item("app", "shirt", json!({"size": "M"})), "app/shirt/size=M"),
            ("app/shirt/{}", item("app", "shirt", json!({})), "app/shirt"),
            (
                r#"app/x/{"n": 5, "t": "a,b"}"#,
                item("app", "x", json!({"n": 5, "t": "a,b"})),
                r#"app/x/{"n":5,"t":"a,b"}"#,
            ),
            (r#"app/x/{"n": 0.5}"#, item("app", "x", json!({"n": 0.5})), r#"app/x/{"n":0.5}"#),
            (r#"app/x/{"{a": "b"}"#, item("app", "x", json!({"{a": "b"})), r#"app/x/{"{a":"b"}"#),
            (
                r#"{"app_id":"a/b","catalog_item_id":"c"}"#,
                item("a/b", "c", json!({})),
                r#"{"app_id":"a/b","catalog_item_id":"c","options":{}}"#,
            ),
            (
                r#"{"app_id":"sku:a","catalog_item_id":"c","options":{"d":true}}"#,
                item("sku:a", "c", json!({"d": true})),
                r#"{"app_id":"sku:a","catalog_item_id":"c","options":{"d":true}}"#,
            ),
        ];
        for (typed, unit, shown) in rows {
            assert_eq!(parse(typed), Ok(UnitName { typed: typed.to_owned(), unit: unit.clone() }), "{typed}");
            let text = match &unit {
                UnitRef::Sku(sku) => of_sku(sku),
                UnitRef::CatalogReference(reference) => of_reference(reference),
            };
            assert_eq!(text, shown, "{typed}");
            assert_eq!(parse(&text).map(|name| name.unit), Ok(unit), "{typed} as it is shown");
        }
    }

    #[test]
    fn a_wrong_part_is_named() {
        let rows = [
            ("", "the SKU is required"),
            ("sku:", "the SKU is required"),
            ("/mug", "the app id is required"),
            ("app/", "the item id is required"),
            ("/", "the app id is required; the item id is required"),
            (&format!("app/{LONG}"), "the item id must have 1 to 36 characters, none of them NUL"),
            ("app/mug/", "the options after the second slash are empty; write KEY=VALUE,KEY=VALUE or a JSON object"),
            ("app/mug/M", "the option \"M\" has no value; write KEY=VALUE,KEY=VALUE or a JSON object"),
            ("app/mug/size=M,", "the option \"\" has no value; write KEY=VALUE,KEY=VALUE or a JSON object"),
            ("app/mug/=M", "the option \"=M\" has no name; write KEY=VALUE,KEY=VALUE or a JSON object"),
            ("app/mug/a=1,a=2", "the option \"a\" is there twice"),
        ];
        for (typed, reason) in rows {
            assert_eq!(parse(typed), Err(reason.to_owned()), "{typed}");
        }
        for (typed, start) in [
            ("app/mug/{size", "the options are no JSON object: "),
            ("{\"app_id\":\"a\"}", "a unit as a JSON object has app_id, catalog_item_id and perhaps options: missing"),
            ("{\"appId\":\"a\"}", "a unit as a JSON object has app_id, catalog_item_id and perhaps options: unknown"),
        ] {
            assert!(parse(typed).is_err_and(|reason| reason.starts_with(start)), "{typed}: {:?}", parse(typed));
        }
    }
}
