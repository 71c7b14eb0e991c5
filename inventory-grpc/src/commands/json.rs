//! Messages of the contract as JSON for programs.
//!
//! Names are those of the `.proto` files, and every field is there: an unset message or optional field is null.
//! Enumerations are their names, times are texts in RFC 3339, and 64-bit numbers are JSON numbers.

use std::sync::OnceLock;

use inventory_proto::{DESCRIPTORS, v1};
use prost::{DecodeError, Message};
use prost_reflect::{
    DescriptorError, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value as Field,
};
use prost_types::{Struct, Timestamp};
use serde_json::{Map, Value};

use crate::config::unit_name::options_of;

/// The contract cannot describe a message of its own. A bug.
#[derive(Debug, thiserror::Error)]
pub(super) enum JsonError {
    /// The description cannot be read.
    #[error("the contract's description cannot be read")]
    Pool(#[from] DescriptorError),
    /// The description lacks the message.
    #[error("the contract does not describe {0}")]
    Unknown(&'static str),
    /// A message differs from its description.
    #[error("a message differs from its description")]
    Message(#[from] DecodeError),
}

/// A message that the contract describes.
pub(super) trait Described: Message {
    /// Its full name.
    const NAME: &'static str;
}

macro_rules! described {
    ($($message:ident),+ $(,)?) => { $(
        impl Described for v1::$message {
            const NAME: &'static str = concat!("inventory.v1.", stringify!($message));
        }
    )+ };
}

described!(Entry, ExplainLevelResponse, GetOrderResponse, SetStockResponse, AdjustStockResponse, Stock);

/// The message as a JSON object.
pub(super) fn of<M: Described>(message: &M) -> Result<Value, JsonError> {
    let description = contract()?.get_message_by_name(M::NAME).ok_or(JsonError::Unknown(M::NAME))?;
    object(&DynamicMessage::decode(description, message.encode_to_vec().as_slice())?)
}

/// The contract. It is read once.
fn contract() -> Result<&'static DescriptorPool, JsonError> {
    static CONTRACT: OnceLock<DescriptorPool> = OnceLock::new();
    match CONTRACT.get() {
        Some(contract) => Ok(contract),
        None => {
            let contract = DescriptorPool::decode(DESCRIPTORS)?;
            Ok(CONTRACT.get_or_init(|| contract))
        }
    }
}

fn object(message: &DynamicMessage) -> Result<Value, JsonError> {
    match message.descriptor().full_name() {
        "google.protobuf.Timestamp" => Ok(Value::from(message.transcode_to::<Timestamp>()?.to_string())),
        "google.protobuf.Struct" => Ok(Value::Object(options_of(message.transcode_to::<Struct>()?))),
        _ => {
            let named = |field: FieldDescriptor| {
                let unset = field.supports_presence() && !message.has_field(&field);
                let value = if unset { Value::Null } else { value(&message.get_field(&field), &field.kind())? };
                Ok((field.name().to_owned(), value))
            };
            message.descriptor().fields().map(named).collect::<Result<Map<_, _>, _>>().map(Value::Object)
        }
    }
}

fn value(field: &Field, kind: &Kind) -> Result<Value, JsonError> {
    Ok(match field {
        Field::Bool(value) => Value::from(*value),
        Field::I32(value) => Value::from(*value),
        Field::I64(value) => Value::from(*value),
        Field::U32(value) => Value::from(*value),
        Field::U64(value) => Value::from(*value),
        Field::F32(value) => Value::from(*value),
        Field::F64(value) => Value::from(*value),
        Field::String(value) => Value::from(value.as_str()),
        Field::Bytes(value) => Value::from(value.to_vec()),
        Field::EnumNumber(number) => {
            let name = kind.as_enum().and_then(|values| values.get_value(*number)).map(|value| value.name().to_owned());
            name.map_or_else(|| Value::from(*number), Value::from)
        }
        Field::Message(message) => object(message)?,
        Field::List(values) => Value::Array(values.iter().map(|one| value(one, kind)).collect::<Result<_, _>>()?),
        Field::Map(values) => {
            // A map's kind is the message of its entries.
            let of_values =
                kind.as_message().map_or_else(|| kind.clone(), |entry| entry.map_entry_value_field().kind());
            let named = |(key, one): (&MapKey, &Field)| Ok((key_of(key), value(one, &of_values)?));
            Value::Object(values.iter().map(named).collect::<Result<_, JsonError>>()?)
        }
    })
}

fn key_of(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

#[cfg(test)]
mod tests {
    use inventory_proto::json::from_json;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_has_its_name_of_the_contract() {
        let options = Map::from_iter([("size".to_owned(), json!(5))]);
        let reference = v1::CatalogReference {
            app_id: "app".into(),
            catalog_item_id: "shirt".into(),
            options: Some(from_json(options)),
            options_json: String::new(),
        };
        let stock = v1::Stock {
            catalog_reference: Some(reference),
            available: -3,
            revision: 9_007_199_254_740_993,
            tracking: v1::Tracking::Quantity.into(),
            sell_until: Some(Timestamp { seconds: 1, nanos: 500_000_000 }),
            ..Default::default()
        };
        let expected = json!({
            "catalog_reference": {
                "app_id": "app", "catalog_item_id": "shirt", "options": {"size": 5}, "options_json": "",
            },
            "location_id": "",
            "available": -3,
            "revision": 9_007_199_254_740_993_i64,
            "last_sequence": 0,
            "sku": "",
            "name": "",
            "tracking": "TRACKING_QUANTITY",
            "backorder_limit": 0,
            "sell_from": null,
            "sell_until": "1970-01-01T00:00:01.500Z",
        });
        assert_eq!(of(&stock).expect("the contract describes it"), expected);
    }

    #[test]
    fn lists_and_unknown_numbers_are_told() {
        let entry = v1::Entry { marks: vec![2, 99], kind: 99, ..Default::default() };
        let told = of(&entry).expect("the contract describes it");
        assert_eq!((&told["marks"], &told["kind"]), (&json!(["MARK_OVER_RETURN", 99]), &json!(99)));
        assert_eq!(told["catalog_reference"], Value::Null);
    }

    #[test]
    fn the_contract_describes_each_of_them() {
        let result = |told: Result<Value, JsonError>| assert!(told.is_ok_and(|told| told.is_object()));
        result(of(&v1::ExplainLevelResponse::default()));
        result(of(&v1::GetOrderResponse::default()));
        result(of(&v1::SetStockResponse::default()));
        result(of(&v1::AdjustStockResponse::default()));
        result(of(&v1::Entry::default()));
    }
}
