//! Slots: units of one item whose options name a date. They are listed by their item, and each has its own capacity and
//! its own end of sale.

use inventory_proto::{json as proto_json, v1};
use inventory_tests::errors::{error, error_of};
use inventory_tests::on_both;
use inventory_tests::requests::{all_pages, catalog, guid, reference_of, set, window};
use inventory_tests::scenario::BOOKINGS;
use inventory_tests::test_clock::{SECOND, YEAR_2100, timestamp};
use inventory_tests::wix_caller::{CATALOG, order};
use inventory_tests::world::World;
use serde_json::{Value, json};
use tonic::Code;

on_both!(
    slots_are_listed_by_their_item,
    bad_filters_are_named_by_their_path,
    a_course_is_sold_out_on_one_date_and_over_on_another,
);

/// A slot of an item.
fn slot(app_id: &str, id: &str, date: &str) -> v1::CatalogReference {
    let Value::Object(options) = json!({"date": date}) else { panic!("options are an object") };
    v1::CatalogReference { options: Some(proto_json::from_json(options)), ..reference_of(app_id, id).expect("named") }
}

/// The item and the date of a slot.
fn name(reference: &Option<v1::CatalogReference>) -> (String, String) {
    let reference = reference.clone().expect("a unit");
    let options = proto_json::to_json(reference.options.unwrap_or_default()).expect("the options are finite");
    (reference.catalog_item_id, options.get("date").and_then(Value::as_str).unwrap_or_default().to_owned())
}

fn by_date(app_id: &str) -> v1::UpdateSiteRequest {
    let option_keys = Some(v1::OptionKeys { keys: vec!["date".into()] });
    catalog(v1::CatalogSettings { app_id: app_id.into(), option_keys, ..Default::default() })
}

async fn slots_are_listed_by_their_item(world: World) {
    let shop = guid();
    for app_id in [CATALOG, BOOKINGS] {
        world.configure_site(by_date(app_id)).await.expect("the option keys can be set");
    }
    // The slots of `yoga` lie between those of two other items, and in two catalogs.
    let mut items = Vec::new();
    for app_id in [CATALOG, BOOKINGS] {
        for id in ["yoga", "yo", "yoga-2"] {
            for date in ["tue", "mon", "wed"] {
                for location_id in ["", shop.as_str()] {
                    items.push(v1::SetStockItem {
                        unit: Some(slot(app_id, id, date).into()),
                        location_id: location_id.into(),
                        available: 5,
                        ..Default::default()
                    });
                }
            }
        }
    }
    // A unit without levels: its settings alone are known.
    world.stock().set_stock(set(&world.site, items)).await.expect("the levels can be set");
    let change = v1::UpdateUnitRequest {
        site_id: world.site.clone(),
        unit: Some(slot(BOOKINGS, "yoga", "zen").into()),
        name: Some("Zen".into()),
        ..Default::default()
    };
    world.stock().update_unit(change).await.expect("the unit is created");

    let ids = ["yo", "yoga", "yoga-2"];
    let dates = |app_id: &str, id: &str| {
        let zen = (app_id, id) == (BOOKINGS, "yoga");
        ["mon", "tue", "wed"].into_iter().chain(zen.then_some("zen")).map(str::to_owned).collect::<Vec<_>>()
    };
    // Filter, and the slots that it finds, each with its app.
    let all = [BOOKINGS, CATALOG].map(|app_id| ids.map(|id| (app_id, id)));
    let rows = [
        ("every unit", "", "", all.concat()),
        ("an app", BOOKINGS, "", all[0].to_vec()),
        ("an app in upper case", &BOOKINGS.to_uppercase(), "", all[0].to_vec()),
        ("an item", BOOKINGS, "yoga", vec![(BOOKINGS, "yoga")]),
        ("the item of the same id in another app", CATALOG, "yoga", vec![(CATALOG, "yoga")]),
        ("an item whose id starts others", CATALOG, "yo", vec![(CATALOG, "yo")]),
        ("the last item", CATALOG, "yoga-2", vec![(CATALOG, "yoga-2")]),
        ("an item that does not exist", CATALOG, "yog", vec![]),
        ("an app that does not exist", "nobody", "", vec![]),
    ];
    for (filter, app_id, catalog_item_id, found) in rows {
        let units: Vec<(String, String)> = found
            .iter()
            .flat_map(|(app_id, id)| dates(app_id, id).into_iter().map(|date| ((*id).to_owned(), date)))
            .collect();
        let levels: Vec<(String, String, String)> = units
            .iter()
            .filter(|(_, date)| date != "zen")
            .flat_map(|(id, date)| ["", &shop].map(|at| (id.clone(), date.clone(), at.to_owned())))
            .collect();
        for page_size in [1, 2, 5, 100] {
            let page = async |page_token| {
                let request = v1::ListUnitsRequest {
                    site_id: world.site.clone(),
                    page_size,
                    page_token,
                    app_id: app_id.to_owned(),
                    catalog_item_id: catalog_item_id.to_owned(),
                    ..Default::default()
                };
                let page = world.stock().list_units(request).await.expect(filter).into_inner();
                assert!(page.units.len() <= page_size as usize);
                (page.units, page.next_page_token)
            };
            let listed: Vec<_> = all_pages(page).await.iter().map(|unit| name(&unit.catalog_reference)).collect();
            assert_eq!(listed, units, "units of {filter}, in pages of {page_size}");
            let page = async |page_token| {
                let request = v1::ListStockRequest {
                    site_id: world.site.clone(),
                    page_size,
                    page_token,
                    app_id: app_id.to_owned(),
                    catalog_item_id: catalog_item_id.to_owned(),
                    ..Default::default()
                };
                let page = world.stock().list_stock(request).await.expect(filter).into_inner();
                assert!(page.stock.len() <= page_size as usize);
                (page.stock, page.next_page_token)
            };
            let key = |stock: &v1::Stock| {
                let (id, date) = name(&stock.catalog_reference);
                (id, date, stock.location_id.clone())
            };
            let listed: Vec<_> = all_pages(page).await.iter().map(key).collect();
            assert_eq!(listed, levels, "levels of {filter}, in pages of {page_size}");
        }
    }
    // Filters combine with "and".
    let base = || v1::ListStockRequest {
        site_id: world.site.clone(),
        app_id: BOOKINGS.into(),
        catalog_item_id: "yoga".into(),
        ..Default::default()
    };
    let rows = [
        ("item and location", v1::ListStockRequest { location_id: shop.clone(), ..base() }, 3),
        ("item and level", v1::ListStockRequest { below: Some(5), ..base() }, 0),
        ("item and unit", v1::ListStockRequest { unit: Some(slot(BOOKINGS, "yoga", "mon").into()), ..base() }, 2),
        (
            "item and a unit of another item",
            v1::ListStockRequest { unit: Some(slot(BOOKINGS, "yo", "mon").into()), ..base() },
            0,
        ),
    ];
    for (filter, request, count) in rows {
        let found = world.stock().list_stock(request).await.expect(filter).into_inner().stock;
        assert_eq!(found.len(), count, "{filter}");
    }
}

async fn bad_filters_are_named_by_their_path(world: World) {
    let long = "a".repeat(101);
    let item = "i".repeat(37);
    let rows: [(&str, &str, &str, &str); 4] = [
        ("an item without its app", "", "yoga", "catalog_item_id"),
        ("an app id of 101 characters", &long, "", "app_id"),
        ("an app id of 101 characters beside an item", &long, "yoga", "app_id"),
        ("an item id of 37 characters", CATALOG, &item, "catalog_item_id"),
    ];
    for (name, app_id, catalog_item_id, field) in rows {
        let (app_id, catalog_item_id) = (app_id.to_owned(), catalog_item_id.to_owned());
        let expected = error(Code::InvalidArgument, "INVALID_FIELD", field);
        let units = v1::ListUnitsRequest {
            site_id: world.site.clone(),
            app_id: app_id.clone(),
            catalog_item_id: catalog_item_id.clone(),
            ..Default::default()
        };
        let refused = world.stock().list_units(units).await.expect_err(name);
        assert_eq!(error_of(&refused), expected, "ListUnits: {name}");
        let levels =
            v1::ListStockRequest { site_id: world.site.clone(), app_id, catalog_item_id, ..Default::default() };
        let refused = world.stock().list_stock(levels).await.expect_err(name);
        assert_eq!(error_of(&refused), expected, "ListStock: {name}");
    }
    // A page token belongs to the filters with which it was given.
    for id in ["one", "two"] {
        let item = v1::SetStockItem { unit: reference_of(CATALOG, id), available: 1, ..Default::default() };
        world.stock().set_stock(set(&world.site, vec![item])).await.expect("the level can be set");
    }
    let units = |catalog_item_id: &str, page_token: String| v1::ListUnitsRequest {
        site_id: world.site.clone(),
        app_id: CATALOG.into(),
        catalog_item_id: catalog_item_id.into(),
        page_size: 1,
        page_token,
        ..Default::default()
    };
    let first = world.stock().list_units(units("", String::new())).await.expect("the first page").into_inner();
    let refused = world.stock().list_units(units("one", first.next_page_token)).await.expect_err("another filter");
    assert_eq!(error_of(&refused), error(Code::InvalidArgument, "INVALID_FIELD", "page_token"));
    let levels = |catalog_item_id: &str, page_token: String| v1::ListStockRequest {
        site_id: world.site.clone(),
        app_id: CATALOG.into(),
        catalog_item_id: catalog_item_id.into(),
        page_size: 1,
        page_token,
        ..Default::default()
    };
    let first = world.stock().list_stock(levels("", String::new())).await.expect("the first page").into_inner();
    let refused = world.stock().list_stock(levels("one", first.next_page_token)).await.expect_err("another filter");
    assert_eq!(error_of(&refused), error(Code::InvalidArgument, "INVALID_FIELD", "page_token"));
}

async fn a_course_is_sold_out_on_one_date_and_over_on_another(world: World) {
    let hour = 3_600 * SECOND;
    // Date, capacity, and when its sale ends.
    let dates = [("mon", 12, YEAR_2100 + hour), ("tue", 2, YEAR_2100 + 25 * hour), ("wed", 12, YEAR_2100 + 49 * hour)];
    world.configure_site(by_date(BOOKINGS)).await.expect("the option keys can be set");
    let items = dates.map(|(date, available, _)| v1::SetStockItem {
        unit: Some(slot(BOOKINGS, "yoga", date).into()),
        available,
        ..Default::default()
    });
    world.stock().set_stock(set(&world.site, items.to_vec())).await.expect("the levels can be set");
    let requests = dates.map(|(date, _, until)| v1::UpdateUnitRequest {
        unit: Some(slot(BOOKINGS, "yoga", date).into()),
        ..window(None, Some(until))
    });
    let request = v1::BatchUpdateUnitsRequest { site_id: world.site.clone(), requests: requests.to_vec() };
    world.stock().batch_update_units(request).await.expect("the windows are valid");

    let item = |date: &str, quantity: i64| {
        // Options that do not name the slot make no difference.
        let options = json!({"date": date, "staff": "anyone"});
        let reference = json!({"catalogItemId": "yoga", "appId": BOOKINGS, "options": options});
        json!({"catalogReference": reference, "quantity": quantity})
    };
    let take = async |items: Value| world.wix.call("decrement", order(&world.site, items)).await;
    world.clock.set(YEAR_2100);
    assert_eq!(take(json!([item("mon", 1), item("tue", 2), item("wed", 1)])).await.status, 200);
    world.clock.set(YEAR_2100 + hour);
    let refused = take(json!([item("mon", 1), item("tue", 1), item("wed", 1)])).await;
    let refusals: Vec<(Value, Value)> = refused
        .error_data("shortages")
        .as_array()
        .expect("a refusal lists its shortages")
        .iter()
        .map(|short| (short["catalogReference"]["options"]["date"].clone(), short["reason"].clone()))
        .collect();
    let expected = [("mon", "NO_LONGER_ON_SALE"), ("tue", "INSUFFICIENT_STOCK")];
    assert_eq!(refusals, expected.map(|(date, reason)| (json!(date), json!(reason))));
    assert_eq!(take(json!([item("wed", 1)])).await.status, 200);
    let request = v1::ListStockRequest {
        site_id: world.site.clone(),
        app_id: BOOKINGS.into(),
        catalog_item_id: "yoga".into(),
        ..Default::default()
    };
    let listed = world.stock().list_stock(request).await.expect("the slots can be listed").into_inner().stock;
    let listed: Vec<_> =
        listed.iter().map(|stock| (name(&stock.catalog_reference).1, stock.available, stock.sell_until)).collect();
    let left = [11, 0, 10];
    let expected: Vec<_> = dates
        .iter()
        .zip(left)
        .map(|((date, _, until), left)| ((*date).to_owned(), left, Some(timestamp(*until))))
        .collect();
    assert_eq!(listed, expected);
}
