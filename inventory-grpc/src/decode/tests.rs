//! What the decoders refuse, by which fields. That they do so for any bytes, the fuzz target `requests` checks.

use inventory_core::model::access::Author;
use inventory_core::model::catalog::{Unit, Variant};
use inventory_core::store::UnitScope;
use inventory_proto::{UnitRef, v1};
use tonic::Status;
use tonic_types::StatusExt;

use super::*;

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
