//! Between `google.protobuf.Struct` and JSON, and JSON text that is read with leniency.

mod lenient;

pub use self::lenient::{Lenient, mend_surrogates, read_object, read_struct};

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as ProtoValue};
use serde_json::{Map, Number, Value};

/// A number that JSON cannot tell (infinite, or not a number).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANumber;

/// A JSON object from a Struct.
pub fn to_json(fields: Struct) -> Result<Map<String, Value>, NotANumber> {
    fields.fields.into_iter().map(|(key, value)| Ok((key, value_to_json(value)?))).collect()
}

fn value_to_json(value: ProtoValue) -> Result<Value, NotANumber> {
    Ok(match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::StringValue(value)) => Value::String(value),
        Some(Kind::NumberValue(value)) => Value::Number(Number::from_f64(value).ok_or(NotANumber)?),
        Some(Kind::ListValue(list)) => {
            Value::Array(list.values.into_iter().map(value_to_json).collect::<Result<_, _>>()?)
        }
        Some(Kind::StructValue(fields)) => Value::Object(to_json(fields)?),
    })
}

/// A Struct from a JSON object.
pub fn from_json(fields: Map<String, Value>) -> Struct {
    Struct { fields: fields.into_iter().map(|(key, value)| (key, value_from_json(value))).collect() }
}

fn value_from_json(value: Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        Value::String(value) => Kind::StringValue(value),
        Value::Array(values) => {
            Kind::ListValue(ListValue { values: values.into_iter().map(value_from_json).collect() })
        }
        Value::Object(fields) => Kind::StructValue(from_json(fields)),
    };
    ProtoValue { kind: Some(kind) }
}
