//! Options as JSON text, read with leniency: what does not identify stock must not stop a purchase.
//!
//! A shop sends texts that customers typed. JavaScript cuts them between the halves of a surrogate pair, numbers exceed
//! a double, and values nest deep or are long. Such a value is kept as its text, and named as unreadable;
//! whether that matters is decided where it is known which options identify stock.

use std::collections::BTreeSet;
use std::fmt;

use prost::Message;
use prost_types::Struct;
use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::{NotANumber, value_to_json};

/// Levels of nesting of a readable value. Protobuf readers stop at 100, and each level of JSON takes several.
const DEPTH_MAX: usize = 20;

/// Bytes of a readable value. What identifies stock takes at most 2,000 as canonical text, and six times that if each
/// is written as an escape; a value that is parsed takes many times the memory of its text.
const VALUE_BYTES_MAX: usize = 32 * 1024;

/// A JSON object that was read with leniency.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lenient {
    /// Its fields. Numbers are doubles, as in a `Struct`. An unreadable value is its text.
    pub fields: Map<String, Value>,
    /// The keys of the unreadable values.
    pub unreadable: Vec<String>,
}

/// Reads the text of a JSON object. `None` if it is none.
pub fn read_object(text: &str) -> Option<Lenient> {
    let read = |text: &str| {
        let mut reader = serde_json::Deserializer::from_str(text);
        let object = reader.deserialize_map(Fields).ok()?;
        reader.end().ok().map(|()| object)
    };
    // A key may hold half of a surrogate pair.
    read(text).or_else(|| read(&mend_surrogates(text)?))
}

/// Reads the options of a `Struct` alike: what would be unreadable as text is unreadable here too.
pub fn read_struct(options: Struct) -> Result<Lenient, NotANumber> {
    let mut object = Lenient::default();
    for (key, value) in options.fields {
        let is_long = value.encoded_len() > VALUE_BYTES_MAX;
        let mut value = value_to_json(value)?;
        if is_long || !to_doubles(&mut value, DEPTH_MAX) {
            object.unreadable.push(key.clone());
            value = Value::String(value.to_string());
        }
        object.fields.insert(key, value);
    }
    Ok(object)
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Lenient;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lenient, A::Error> {
        let (mut fields, mut unreadable) = (Map::new(), BTreeSet::new());
        while let Some((key, raw)) = map.next_entry::<String, &RawValue>()? {
            let value = match value_of(raw.get()) {
                Some(value) => {
                    // Of a key that stands there twice, the last value counts.
                    unreadable.remove(&key);
                    value
                }
                None => {
                    unreadable.insert(key.clone());
                    Value::String(raw.get().to_owned())
                }
            };
            fields.insert(key, value);
        }
        Ok(Lenient { fields, unreadable: unreadable.into_iter().collect() })
    }
}

fn value_of(text: &str) -> Option<Value> {
    if text.len() > VALUE_BYTES_MAX {
        return None;
    }
    let read = |text: &str| serde_json::from_str(text).ok();
    let mut value = read(text).or_else(|| read(&mend_surrogates(text)?))?;
    to_doubles(&mut value, DEPTH_MAX).then_some(value)
}

/// Makes every number a double. False if the value is nested too deep.
fn to_doubles(value: &mut Value, left: usize) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => match number.as_f64().and_then(Number::from_f64) {
            Some(double) => {
                *number = double;
                true
            }
            None => false,
        },
        Value::Array(values) => left > 0 && values.iter_mut().all(|value| to_doubles(value, left - 1)),
        Value::Object(fields) => left > 0 && fields.values_mut().all(|value| to_doubles(value, left - 1)),
    }
}

/// JSON text in which each half of a surrogate pair that stands alone is replaced by U+FFFD. `None` if there is none.
pub fn mend_surrogates(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut mended = String::new();
    // Up to where the text is in `mended`.
    let mut taken = 0;
    let mut at = 0;
    // An escape is ASCII, so `at` is always between two characters.
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('\\')) {
        at += found;
        match (unit_at(bytes, at), unit_at(bytes, at + ESCAPE_BYTES)) {
            // Another escape, or a broken one, which the parser refuses.
            (None, _) => at += 1 + usize::from(bytes.get(at + 1).is_some_and(u8::is_ascii)),
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 2 * ESCAPE_BYTES,
            (Some(0xd800..=0xdfff), _) => {
                mended.push_str(&text[taken..at]);
                mended.push_str("\\ufffd");
                at += ESCAPE_BYTES;
                taken = at;
            }
            (Some(_), _) => at += ESCAPE_BYTES,
        }
    }
    (taken > 0).then(|| mended + &text[taken..])
}

/// Bytes of `\uXXXX`.
const ESCAPE_BYTES: usize = 6;

/// The UTF-16 unit that stands at `at` as `\uXXXX`.
fn unit_at(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + ESCAPE_BYTES)?.strip_prefix(b"\\u")?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn halves_of_surrogate_pairs_are_replaced() {
        let rows = [
            (r#""\ud83d""#, Some(r#""\ufffd""#)),
            (r#""a\ude00b""#, Some(r#""a\ufffdb""#)),
            (r#""\ud83d\ud83d\ude00""#, Some(r#""\ufffd\ud83d\ude00""#)),
            (r#""\uD83Dx\n\uDE00""#, Some(r#""\ufffdx\n\ufffd""#)),
            (r#""\ud83d\ude00""#, None),
            (r#""\\ud83d""#, None),
            (r#""\u00e9 \n""#, None),
            (r#""\ud8""#, None),
            (r#""\u""#, None),
            ("", None),
            ("\\", None),
            ("ä\\ud83dä", Some("ä\\ufffdä")),
        ];
        for (text, mended) in rows {
            assert_eq!(mend_surrogates(text).as_deref(), mended, "{text}");
        }
    }

    #[test]
    fn a_value_is_read_or_named() {
        let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        let (deepest, too_deep, far_too_deep) = (deep(20), deep(21), deep(100_000));
        let text = format!(r#""c":1e400,"d":{deepest},"e":{too_deep},"f":{far_too_deep},"\udc00":[true,{{"x":null}}]"#);
        let text = format!(r#"{{"a":"\ud83d","b":5,{text}}}"#);
        let Lenient { fields, unreadable } = read_object(&text).expect("an object");
        assert_eq!(unreadable, ["c", "e", "f"]);
        assert_eq!(fields["a"], json!("\u{fffd}"));
        assert_eq!(fields["b"], json!(5.0));
        assert_eq!(fields["c"], json!("1e400"));
        assert!(fields["d"].is_array());
        assert_eq!(fields["e"], json!(too_deep));
        assert_eq!(fields["\u{fffd}"], json!([true, {"x": null}]));
    }

    #[test]
    fn only_an_object_is_one() {
        for text in ["", "null", "[]", "1", "\"x\"", "{", "{}x", "{\"a\":}", "{\"a\":1}{}"] {
            assert_eq!(read_object(text), None, "{text}");
        }
        assert_eq!(read_object(" {} "), Some(Lenient::default()));
    }
}
