//! Whatever arrives is decoded or refused by its fields; nothing panics.

use inventory_core::model::access::Author;
use inventory_core::model::catalog::{Unit, Variant};
use inventory_core::store::UnitScope;
use inventory_proto::{UnitRef, v1};
use proptest::prelude::*;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::*;

/// Decodes the bytes as every request.
fn decode_all(bytes: &[u8]) -> Vec<Result<(), Status>> {
    let mut results = Vec::new();
    macro_rules! as_request {
        ($($message:ident: $decode:expr;)+) => { $(
            if let Ok(message) = v1::$message::decode(bytes) {
                results.push($decode(message).map(drop));
            }
        )+ };
    }
    as_request! {
        DecrementAvailabilityRequest: |message| decrement(message, Author::default());
        IncrementAvailabilityRequest: |message| increment(message, Author::default());
        SetStockRequest: |message| set_stock(message, Author::default());
        AdjustStockRequest: |message| adjust_stock(message, Author::default());
        MoveStockRequest: |message| move_stock(message, Author::default());
        UpdateUnitRequest: update_unit;
        BatchUpdateUnitsRequest: batch_update_units;
        GetUnitRequest: get_unit;
        ListUnitsRequest: list_units;
        GetStockRequest: get_stock;
        BatchGetStockRequest: batch_get_stock;
        ListStockRequest: list_stock;
        ListEntriesRequest: list_entries;
        GetOrderRequest: get_order;
        ExplainLevelRequest: explain_level;
        WatchEntriesRequest: watch_entries;
        VerifySiteRequest: verify_site;
        GetSiteRequest: get_site;
        UpdateSiteRequest: update_site;
        ListSitesRequest: list_sites;
        ListSettingChangesRequest: list_setting_changes;
    }
    results
}

/// A refusal is INVALID_ARGUMENT and names 1 to 20 fields.
fn is_clear(result: &Result<(), Status>) -> bool {
    let names_fields = |status: &Status| {
        let fields = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
        (1..=20).contains(&fields.len()) && fields.iter().all(|violation| !violation.field.is_empty())
    };
    result.as_ref().err().is_none_or(|status| status.code() == Code::InvalidArgument && names_fields(status))
}

const GUID: &str = "215238eb-22a5-4c36-9e7b-e7c08025e04e";

fn unit() -> UnitRef {
    let text = |text: &str| prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(text.into())) };
    let options = prost_types::Struct { fields: [("size".to_owned(), text("M"))].into() };
    let (app_id, catalog_item_id) = ("app".into(), "item".into());
    UnitRef::CatalogReference(v1::CatalogReference {
        app_id,
        catalog_item_id,
        options: Some(options),
        ..Default::default()
    })
}

fn good() -> Vec<u8> {
    let item = v1::Item { unit: Some(unit().into()), quantity: 3, ..Default::default() };
    let by_sku = v1::Item { unit: Some(UnitRef::Sku("SKU".into()).into()), ..item.clone() };
    let request = v1::DecrementAvailabilityRequest {
        site_id: GUID.into(),
        items: vec![item, by_sku],
        order_id: GUID.into(),
        request_id: "request".into(),
        ..Default::default()
    };
    request.encode_to_vec()
}

#[test]
fn the_message_that_is_varied_is_good_itself() {
    assert!(decode_all(&good())[0].is_ok());
}

/// The fields that a decoder names, in their order.
fn fields<T>(result: Result<T, Status>) -> Vec<String> {
    let bad = result.err().and_then(|status| status.get_details_bad_request());
    bad.map(|bad| bad.field_violations.into_iter().map(|violation| violation.field).collect()).unwrap_or_default()
}

#[test]
fn all_bad_fields_of_a_request_are_named() {
    let item = v1::Item { location_id: "x".into(), ..Default::default() };
    let other = v1::Item { unit: Some(v1::CatalogReference::default().into()), quantity: 1, ..Default::default() };
    let no_sku = v1::Item { unit: Some(UnitRef::Sku(String::new()).into()), quantity: 1, ..Default::default() };
    let request = v1::DecrementAvailabilityRequest { items: vec![item, other, no_sku], ..Default::default() };
    let expected = [
        "site_id",
        "order_id",
        "items[0].catalog_reference",
        "items[0].location_id",
        "items[0].quantity",
        "items[1].catalog_reference.app_id",
        "items[1].catalog_reference.catalog_item_id",
        "items[2].sku",
    ];
    assert_eq!(fields(decrement(request, Author::default())), expected);
}

#[test]
fn a_batch_names_its_site_once() {
    let request = |site_id: &str| v1::UpdateUnitRequest {
        site_id: site_id.into(),
        unit: Some(unit().into()),
        ..Default::default()
    };
    let batch = |requests| v1::BatchUpdateUnitsRequest { site_id: GUID.into(), requests };
    let same = vec![request(""), request(GUID), request(&GUID.to_uppercase())];
    assert_eq!(batch_update_units(batch(same)).map(|(_, changes)| changes.len()).ok(), Some(3));
    let mut bad = vec![request("x"), request(&GUID.replace('2', "3")), request("")];
    bad[2].backorder_limit = Some(-1);
    let expected = ["requests[0].site_id", "requests[1].site_id", "requests[2].backorder_limit"];
    assert_eq!(fields(batch_update_units(batch(bad))), expected);
    assert_eq!(fields(batch_update_units(batch(Vec::new()))), ["requests"]);
    assert_eq!(fields(batch_update_units(batch(vec![request(""); 1_001]))), ["requests"]);
}

#[test]
fn a_list_of_one_item_needs_its_app() {
    let units = |app_id: &str, catalog_item_id: &str, page_token: &str| {
        list_units(v1::ListUnitsRequest {
            site_id: GUID.into(),
            app_id: app_id.into(),
            catalog_item_id: catalog_item_id.into(),
            page_token: page_token.into(),
            ..Default::default()
        })
    };
    let scope = |app_id: &str, item_id: &str| units(app_id, item_id, "").map(|read| read.query.0).ok();
    assert_eq!(scope("", ""), Some(UnitScope::Site));
    assert_eq!(scope(&GUID.to_uppercase(), ""), Some(UnitScope::App(GUID.into())));
    let item = UnitScope::Item("App".into(), GUID.into());
    assert_eq!(scope("App", &GUID.to_uppercase()), Some(item), "letter case matters only in other ids than GUIDs");
    assert_eq!(fields(units("", "yoga", "")), ["catalog_item_id"]);
    assert_eq!(fields(units(&"a".repeat(101), &"b".repeat(37), "")), ["app_id", "catalog_item_id"]);
    let stock = v1::ListStockRequest { site_id: GUID.into(), catalog_item_id: "yoga".into(), ..Default::default() };
    let needs = list_stock(stock.clone()).expect_err("it names no app");
    assert_eq!(needs.message(), "catalog_item_id: needs app_id");
    let filter = list_stock(v1::ListStockRequest { app_id: "app".into(), ..stock }).map(|read| read.query.0.scope);
    assert_eq!(filter.ok(), Some(UnitScope::Item("app".into(), "yoga".into())));
    // A page token belongs to the same filters.
    let unit = Unit { app_id: "app".into(), item_id: "yoga".into(), variant: Variant::default() };
    let token = units("app", "yoga", "").expect("good").query.1.next_token(Some(unit));
    assert!(units("app", "yoga", &token).is_ok());
    assert_eq!([fields(units("app", "", &token)), fields(units("", "", &token))], [["page_token"], ["page_token"]]);
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
        texts in prop::collection::vec(any::<String>(), 6),
        number in any::<i64>(),
        nanos in any::<i32>(),
    ) {
        let [app_id, catalog_item_id, location_id, request_id, note, sku] =
            <[String; 6]>::try_from(texts).expect("six");
        let reference = v1::CatalogReference { app_id: app_id.clone(), catalog_item_id, ..Default::default() };
        let items = [UnitRef::CatalogReference(reference), UnitRef::Sku(sku.clone())].map(|unit| v1::AdjustStockItem {
            unit: Some(unit.into()),
            location_id: location_id.clone(),
            delta: number,
        });
        let request = v1::AdjustStockRequest {
            site_id: GUID.to_owned(),
            items: items.into(),
            request_id,
            note: note.clone(),
            ..Default::default()
        };
        prop_assert!(is_clear(&adjust_stock(request, Author::default()).map(drop)));
        let request = v1::UpdateUnitRequest {
            site_id: GUID.to_owned(),
            unit: Some(unit().into()),
            new_sku: Some(sku),
            name: Some(note.clone()),
            tracking: nanos,
            backorder_limit: Some(number),
            sell_from: Some(prost_types::Timestamp { seconds: number, nanos }),
            reset_mask: Some(prost_types::FieldMask { paths: vec![note.clone(), "sell_from".to_owned()] }),
            ..Default::default()
        };
        prop_assert!(is_clear(&update_unit(request).map(drop)));
        let request = v1::ListEntriesRequest {
            site_id: GUID.to_owned(),
            start_time: Some(prost_types::Timestamp { seconds: number, nanos }),
            after_sequence: number,
            page_token: location_id,
            ..Default::default()
        };
        prop_assert!(is_clear(&list_entries(request).map(drop)));
        let request = v1::ListUnitsRequest {
            site_id: GUID.to_owned(),
            app_id: note.clone(),
            catalog_item_id: app_id.clone(),
            ..Default::default()
        };
        prop_assert!(is_clear(&list_units(request).map(drop)));
        let settings = v1::CatalogSettings {
            app_id,
            option_keys: Some(v1::OptionKeys { keys: vec![note] }),
            tracking: nanos,
            backorder_limit: Some(number),
            counts_subscriptions: None,
            unstocked: nanos,
        };
        let catalogs = vec![settings.clone(), settings];
        let request = v1::UpdateSiteRequest { site_id: GUID.to_owned(), catalogs, ..Default::default() };
        prop_assert!(is_clear(&update_site(request).map(drop)));
    }
}
