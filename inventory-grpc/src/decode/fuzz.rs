//! Whatever arrives is decoded or refused by its field; nothing panics.

use inventory_proto::v1;
use proptest::prelude::*;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{
    adjust_stock, decrement, increment, move_stock, named_places, optional_time, set_stock, settings, unit_change,
    unit_name,
};

/// Decodes the bytes as every message that changes something.
fn decode_all(bytes: &[u8]) -> Vec<Result<(), Status>> {
    let mut told = Vec::new();
    macro_rules! as_message {
        ($($message:ident, $decode:expr;)+) => { $(
            if let Ok(message) = v1::$message::decode(bytes) {
                told.push($decode(message).map(drop));
            }
        )+ };
    }
    as_message! {
        DecrementAvailabilityRequest, |message| decrement(message, String::new());
        IncrementAvailabilityRequest, |message| increment(message, String::new());
        SetStockRequest, |message| set_stock(message, String::new());
        AdjustStockRequest, |message| adjust_stock(message, String::new());
        MoveStockRequest, |message| move_stock(message, String::new());
        UpdateSiteRequest, settings;
        UpdateUnitRequest, unit_change;
        GetUnitRequest, |message: v1::GetUnitRequest| unit_name(message.catalog_reference, message.sku, String::new);
        BatchGetStockRequest, |message: v1::BatchGetStockRequest| named_places(message.items);
        ListEntriesRequest, |message: v1::ListEntriesRequest| optional_time(message.start_time, "start_time");
    }
    told
}

/// A refusal says INVALID_ARGUMENT, and which field.
fn is_clear(told: &Result<(), Status>) -> bool {
    let named = |status: &Status| {
        let bad = status.get_details_bad_request();
        bad.is_some_and(|bad| bad.field_violations.iter().all(|violation| !violation.field.is_empty()))
    };
    told.as_ref().err().is_none_or(|status| status.code() == Code::InvalidArgument && named(status))
}

fn good() -> Vec<u8> {
    let text = |text: &str| prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(text.into())) };
    let options = prost_types::Struct { fields: [("size".to_owned(), text("M"))].into() };
    let reference =
        v1::CatalogReference { app_id: "app".into(), catalog_item_id: "item".into(), options: Some(options) };
    let item = v1::Item { catalog_reference: Some(reference), quantity: 3, ..Default::default() };
    let guid = "215238eb-22a5-4c36-9e7b-e7c08025e04e";
    let request = v1::DecrementAvailabilityRequest {
        site_id: guid.into(),
        items: vec![item.clone(), item],
        order_id: guid.into(),
        request_id: "request".into(),
        ..Default::default()
    };
    request.encode_to_vec()
}

#[test]
fn what_is_varied_is_good_itself() {
    assert!(decode_all(&good())[0].is_ok());
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode_all(&bytes).iter().all(is_clear));
    }

    #[test]
    fn a_good_message_with_some_bytes_changed(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = good();
        for (index, byte) in changes {
            let length = bytes.len();
            bytes[index.index(length)] = byte;
        }
        prop_assert!(decode_all(&bytes).iter().all(is_clear));
    }

    #[test]
    fn any_text_and_any_number(
        texts in prop::collection::vec(any::<String>(), 5),
        quantity in any::<i64>(),
        nanos in any::<i32>(),
        seconds in any::<i64>(),
    ) {
        let [app_id, catalog_item_id, location_id, request_id, note] = <[String; 5]>::try_from(texts).expect("five");
        let reference = v1::CatalogReference { app_id, catalog_item_id, options: None };
        let item = v1::AdjustStockItem { catalog_reference: Some(reference), location_id, delta: quantity };
        let site_id = "215238eb-22a5-4c36-9e7b-e7c08025e04e".to_owned();
        let request = v1::AdjustStockRequest { site_id, items: vec![item], request_id, note, ..Default::default() };
        prop_assert!(is_clear(&adjust_stock(request, String::new()).map(drop)));
        let time = optional_time(Some(prost_types::Timestamp { seconds, nanos }), "time").map(drop);
        prop_assert!(is_clear(&time));
    }
}
