//! The contract as gRPC callers see it: bounds with their paths, pages, orders, reflection.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use inventory_proto::v1;
use inventory_tests::on_both;
use inventory_tests::wix_caller::{CATALOG, item, order};
use inventory_tests::world::{World, reference};
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt;
use uuid::Uuid;

on_both!(
    bad_fields_are_named_by_their_path,
    stock_is_read_as_it_was_set,
    stock_is_listed_by_pages,
    a_page_may_end_at_any_variant,
    entries_are_filtered_and_paged,
    an_order_is_told_with_its_net,
    a_set_is_all_or_nothing,
    a_write_without_a_request_id_is_new_each_time,
);

fn good(world: &World) -> v1::DecrementAvailabilityRequest {
    v1::DecrementAvailabilityRequest {
        site_id: world.site.clone(),
        items: vec![v1::Item { unit: reference("A"), quantity: 1, ..Default::default() }],
        order_id: Uuid::new_v4().to_string(),
        request_id: Uuid::new_v4().to_string(),
        ..Default::default()
    }
}

async fn bad_fields_are_named_by_their_path(world: World) {
    type Change = fn(&mut v1::DecrementAvailabilityRequest);
    let rows: &[(&str, Change)] = &[
        ("site_id", |request| request.site_id = "x".into()),
        ("site_id", |request| request.site_id.clear()),
        ("order_id", |request| request.order_id = "1".into()),
        ("items", |request| request.items.clear()),
        ("items", |request| request.items = vec![request.items[0].clone(); 301]),
        ("items[1].quantity", |request| {
            request.items.push(v1::Item { unit: reference("B"), ..Default::default() });
        }),
        ("items[0].quantity", |request| request.items[0].quantity = 100_001),
        ("items[0].quantity", |request| request.items[0].quantity = i64::MIN),
        ("items[0].location_id", |request| request.items[0].location_id = "shelf".into()),
        ("items[0].catalog_reference", |request| request.items[0].unit = None),
        ("items[0].catalog_reference.app_id", |request| {
            request.items[0].unit = Some(v1::CatalogReference::default().into())
        }),
        ("items[0].catalog_reference.catalog_item_id", |request| request.items[0].unit = reference("")),
        ("items[0].catalog_reference.catalog_item_id", |request| {
            request.items[0].unit = reference(&"ü".repeat(37));
        }),
        ("items[0].catalog_reference.options", |request| {
            let infinite = prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(f64::INFINITY)) };
            let fields = [("x".to_owned(), infinite)].into();
            let options = Some(prost_types::Struct { fields });
            let named = v1::CatalogReference { options, ..reference("A").expect("named") };
            request.items[0].unit = Some(named.into());
        }),
        ("request_id", |request| request.request_id = "x".repeat(129)),
        ("request_id", |request| request.request_id = "a\0b".into()),
        ("items[0].catalog_reference.app_id", |request| {
            let named = v1::CatalogReference { app_id: "a\0b".into(), ..reference("A").expect("named") };
            request.items[0].unit = Some(named.into());
        }),
    ];
    for (field, change) in rows {
        let mut request = good(&world);
        change(&mut request);
        let status = world.availability().decrement_availability(request).await.expect_err(field);
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        assert_eq!(status.get_details_error_info().map(|info| info.reason), Some("INVALID_FIELD".into()), "{field}");
        let named = status.get_details_bad_request().expect("a BadRequest").field_violations[0].field.clone();
        assert_eq!(&named, field);
    }
    let mut request = good(&world);
    request.items[0].quantity = 100_000;
    request.restrict_inventory_value = Some(false);
    request.reason = 77;
    let applied = world.availability().decrement_availability(request).await.expect("all at their bounds");
    assert_eq!(applied.into_inner().levels[0].available, -100_000);
    assert_eq!(world.entries().await[0].reason, v1::Reason::Unspecified as i32, "an unknown reason stops nothing");

    for (field, page_size, token) in
        [("page_size", -1, ""), ("page_size", 1_001, ""), ("page_token", 0, "@@"), ("page_token", 0, "AAAA")]
    {
        let request = v1::ListStockRequest {
            site_id: world.site.clone(),
            page_size,
            page_token: token.into(),
            ..Default::default()
        };
        let status = world.stock().list_stock(request).await.expect_err(field);
        assert_eq!(status.get_details_bad_request().expect("details").field_violations[0].field, field);
    }
    let status = world.sites().get_site(v1::GetSiteRequest { site_id: Uuid::new_v4().to_string() }).await;
    assert_eq!(status.expect_err("unknown").code(), Code::NotFound);
}

async fn stock_is_read_as_it_was_set(world: World) {
    world.set(&[("A", 5), ("B", -3)]).await;
    world.set(&[("A", 7)]).await;
    let item = |id: &str| v1::BatchGetStockItem { unit: reference(id), ..Default::default() };
    let request = v1::BatchGetStockRequest {
        site_id: world.site.clone(),
        items: vec![item("B"), item("never"), item("A")],
        ..Default::default()
    };
    let stock = world.stock().batch_get_stock(request).await.expect("reads").into_inner().stock;
    let told: Vec<(i64, i64, i64)> =
        stock.iter().map(|stock| (stock.available, stock.revision, stock.last_sequence)).collect();
    assert_eq!(told, [(-3, 1, 2), (0, 0, 0), (7, 2, 3)]);
}

async fn stock_is_listed_by_pages(world: World) {
    let places = [String::new(), Uuid::from_u128(1).to_string(), Uuid::from_u128(2).to_string()];
    let mut items = Vec::new();
    for id in ["b", "a", "c"] {
        for location_id in &places {
            let unit = reference(id);
            items.push(v1::SetStockItem { unit, location_id: location_id.clone(), available: 1, ..Default::default() });
        }
    }
    let request =
        v1::SetStockRequest { site_id: world.site.clone(), items, request_id: String::new(), ..Default::default() };
    world.stock().set_stock(request).await.expect("sets");

    let expected: Vec<(String, String)> =
        ["a", "b", "c"].iter().flat_map(|id| places.iter().map(|place| ((*id).to_owned(), place.clone()))).collect();
    for page_size in [1, 2, 4, 9, 100] {
        let (mut told, mut page_token) = (Vec::new(), String::new());
        loop {
            let request =
                v1::ListStockRequest { site_id: world.site.clone(), page_size, page_token, ..Default::default() };
            let page = world.stock().list_stock(request).await.expect("lists").into_inner();
            assert!(page.stock.len() <= page_size as usize);
            told.extend(
                page.stock
                    .into_iter()
                    .map(|stock| (stock.catalog_reference.expect("named").catalog_item_id, stock.location_id)),
            );
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(told, expected, "by {page_size}");
    }
}

/// A NUL in a variant is stored escaped, and a page may end there; a forged one is no token.
async fn a_page_may_end_at_any_variant(world: World) {
    let with = |options: serde_json::Value| {
        let give =
            json!([{"catalogReference": {"catalogItemId": "v", "appId": CATALOG, "options": options}, "quantity": 1}]);
        world.wix.call("increment", order(&world.site, give))
    };
    assert_eq!(with(json!({"Size": "\0"})).await.status, 200);
    assert_eq!(with(json!({"Size": "x"})).await.status, 200);
    let list = |page_token| v1::ListStockRequest {
        site_id: world.site.clone(),
        page_size: 1,
        page_token,
        ..Default::default()
    };
    let first = world.stock().list_stock(list(String::new())).await.expect("a page").into_inner();
    let token = first.next_page_token;
    let second = world.stock().list_stock(list(token.clone())).await.expect("the next").into_inner();
    assert_eq!((second.stock.len(), second.next_page_token.as_str()), (1, ""));
    assert_ne!(first.stock, second.stock);

    let given = URL_SAFE_NO_PAD.decode(&token).expect("base64");
    let given: serde_json::Value = serde_json::from_slice(&given).expect("JSON");
    let forged = URL_SAFE_NO_PAD.encode(json!([given[0], ["a\0", "", "", ""]]).to_string());
    let status = world.stock().list_stock(list(forged)).await.expect_err("no token of ours");
    assert_eq!(status.get_details_bad_request().expect("details").field_violations[0].field, "page_token");
}

async fn entries_are_filtered_and_paged(world: World) {
    world.set(&[("A", 10), ("B", 10)]).await;
    let (mine, other) =
        (order(&world.site, json!([item("A", 1), item("B", 1)])), order(&world.site, json!([item("A", 2)])));
    assert_eq!(world.wix.call("decrement", mine.clone()).await.status, 200);
    assert_eq!(world.wix.call("decrement", other).await.status, 200);
    let order_id = mine["request"]["orderId"].as_str().expect("text").to_owned();
    let base = || v1::ListEntriesRequest { site_id: world.site.clone(), ..Default::default() };
    let rows = [
        ("all", base(), vec![1, 2, 3, 4, 5]),
        ("of an order", v1::ListEntriesRequest { order_id: order_id.clone(), ..base() }, vec![3, 4]),
        ("of a unit", v1::ListEntriesRequest { unit: reference("A"), ..base() }, vec![1, 3, 5]),
        ("of both", v1::ListEntriesRequest { order_id, unit: reference("B"), ..base() }, vec![4]),
        ("after", v1::ListEntriesRequest { after_sequence: 3, ..base() }, vec![4, 5]),
        ("up to", v1::ListEntriesRequest { after_sequence: 1, up_to_sequence: 3, ..base() }, vec![2, 3]),
        ("of nothing", v1::ListEntriesRequest { unit: reference("C"), ..base() }, vec![]),
    ];
    for (what, request, expected) in rows {
        let mut told = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListEntriesRequest { page_size: 2, page_token, ..request.clone() };
            let page = world.ledger().list_entries(request).await.expect(what).into_inner();
            told.extend(page.entries.iter().map(|entry| entry.sequence));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(told, expected, "{what}");
    }
    let first = v1::ListEntriesRequest { page_size: 2, ..base() };
    let page_token = world.ledger().list_entries(first).await.expect("a page").into_inner().next_page_token;
    let strange = v1::ListEntriesRequest { page_token, after_sequence: 1, ..base() };
    let status = world.ledger().list_entries(strange).await.expect_err("the token of another query");
    assert_eq!(status.get_details_bad_request().expect("details").field_violations[0].field, "page_token");
}

async fn an_order_is_told_with_its_net(world: World) {
    world.set(&[("A", 10), ("B", 10)]).await;
    let mut data = order(&world.site, json!([item("A", 3), item("B", 1)]));
    assert_eq!(world.wix.call("decrement", data.clone()).await.status, 200);
    data["request"]["items"] = json!([item("A", 2)]);
    data["metadata"]["requestId"] = json!(Uuid::new_v4());
    assert_eq!(world.wix.call("increment", data.clone()).await.status, 200);
    let order_id = data["request"]["orderId"].as_str().expect("text").to_owned();
    let request = v1::GetOrderRequest { site_id: world.site.clone(), order_id, ..Default::default() };
    let answer = world.ledger().get_order(request).await.expect("known").into_inner();
    let lines: Vec<(i64, i64, i64)> = answer.lines.iter().map(|line| (line.taken, line.returned, line.net)).collect();
    assert_eq!(lines, [(3, 2, 1), (1, 0, 1)]);
    assert_eq!(answer.entries.iter().map(|entry| entry.delta).collect::<Vec<_>>(), [-3, -1, 2]);
    let request =
        v1::GetOrderRequest { site_id: world.site.clone(), order_id: Uuid::new_v4().to_string(), ..Default::default() };
    assert_eq!(world.ledger().get_order(request).await.expect_err("unknown").code(), Code::NotFound);
}

async fn a_set_is_all_or_nothing(world: World) {
    world.set(&[("A", 5)]).await;
    let item = |id: &str, available| v1::SetStockItem {
        unit: reference(id),
        location_id: String::new(),
        available,
        ..Default::default()
    };
    let set = |items| v1::SetStockRequest {
        site_id: world.site.clone(),
        items,
        request_id: "set".into(),
        ..Default::default()
    };
    let twice = world.stock().set_stock(set(vec![item("A", 1), item("B", 2), item("A", 3)])).await.expect_err("twice");
    assert_eq!(twice.get_details_bad_request().expect("details").field_violations[0].field, "items[2]");
    assert_eq!(world.level("A").await, 5);
    let many = (0..1_000).map(|index| item(&format!("i{index}"), index)).collect();
    let set = |items| v1::SetStockRequest {
        site_id: world.site.clone(),
        items,
        request_id: "many".into(),
        ..Default::default()
    };
    let answer = world.stock().set_stock(set(many)).await.expect("1,000 are taken").into_inner();
    // The first of them was 0 already, which is no change.
    assert_eq!((answer.levels.len(), answer.sequence), (999, 1_000));
    let status = world.stock().set_stock(set(vec![item("A", 1); 1_001])).await.expect_err("1,001 are not");
    assert_eq!(status.get_details_bad_request().expect("details").field_violations[0].field, "items");
    let app = world.entries().await[0].catalog_reference.clone().expect("named").app_id;
    assert_eq!(app, CATALOG);
}

async fn a_write_without_a_request_id_is_new_each_time(world: World) {
    world.set(&[("A", 5)]).await;
    let request = v1::DecrementAvailabilityRequest { request_id: String::new(), ..good(&world) };
    for _ in 0..2 {
        world.availability().decrement_availability(request.clone()).await.expect("there is enough");
    }
    assert_eq!(world.level("A").await, 3);
}
