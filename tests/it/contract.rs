//! The contract as gRPC callers see it: bad fields with their paths, pages, orders, idempotency keys.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use inventory_proto::v1;
use inventory_proto::v1::change_availability_request::Change;
use inventory_tests::call_stream::{CallStream, unary};
use inventory_tests::errors::{error, error_of, field_of};
use inventory_tests::on_both;
use inventory_tests::requests::{all_pages, decrement, guid, reference, set, set_item};
use inventory_tests::wix_caller::{CATALOG, item, item_with, order, order_id, with_new_request_id};
use inventory_tests::world::World;
use serde_json::json;
use tonic::Code;
use uuid::Uuid;

on_both!(
    bad_fields_are_named_by_their_path,
    stock_is_read_as_it_was_set,
    stock_is_listed_in_pages,
    a_page_may_end_at_any_variant,
    entries_are_filtered_and_paged,
    an_order_has_its_net_quantities,
    a_set_is_all_or_nothing,
    a_write_without_a_request_id_is_new_each_time,
);

/// Breaks a field of a call. Both calls about orders have this field.
type Break = fn(&mut v1::DecrementAvailabilityRequest);

/// Fields of a call about an order, by their paths.
const BAD_FIELDS: &[(&str, Break)] = &[
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

/// The path is the same for both calls, whether or not the call travels on a stream.
async fn bad_fields_are_named_by_their_path(world: World) {
    let mut stream = CallStream::open(world.availability()).await;
    for (field, break_field) in BAD_FIELDS {
        let mut take = decrement(&world.site, &[("A", 1)]);
        break_field(&mut take);
        let v1::DecrementAvailabilityRequest { site_id, items, order_id, reason, request_id, .. } = take.clone();
        let give = v1::IncrementAvailabilityRequest { site_id, items, order_id, reason, request_id };
        for change in [Change::from(take), Change::from(give)] {
            let alone = unary(world.availability(), change.clone()).await.expect_err(field);
            let on_stream = stream.call(change).await.expect_err(field);
            let expected = error(Code::InvalidArgument, "INVALID_FIELD", field);
            assert_eq!((error_of(&alone), error_of(&on_stream)), (expected.clone(), expected));
            assert_eq!(alone.message(), on_stream.message());
        }
    }
    let mut request = decrement(&world.site, &[("A", 1)]);
    request.items[0].quantity = 100_000;
    request.restrict_inventory_value = Some(false);
    request.reason = 77;
    let applied = world.availability().decrement_availability(request).await.expect("all fields are at their bounds");
    assert_eq!(applied.into_inner().levels[0].available, -100_000);
    assert_eq!(
        world.entries().await[0].reason,
        v1::Reason::Unspecified as i32,
        "an unknown reason is recorded as unspecified"
    );

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
        assert_eq!(field_of(&status), field);
    }
    let status = world.sites().get_site(v1::GetSiteRequest { site_id: guid() }).await;
    assert_eq!(status.expect_err("the site is unknown").code(), Code::NotFound);
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
    let stock = world.stock().batch_get_stock(request).await.expect("stock can be read").into_inner().stock;
    let levels: Vec<(i64, i64, i64)> =
        stock.iter().map(|stock| (stock.available, stock.revision, stock.last_sequence)).collect();
    assert_eq!(levels, [(-3, 1, 2), (0, 0, 0), (7, 2, 3)]);
}

async fn stock_is_listed_in_pages(world: World) {
    let locations = [String::new(), Uuid::from_u128(1).to_string(), Uuid::from_u128(2).to_string()];
    let mut items = Vec::new();
    for id in ["b", "a", "c"] {
        for location_id in &locations {
            items.push(v1::SetStockItem { location_id: location_id.clone(), ..set_item(id, 1) });
        }
    }
    world.stock().set_stock(set(&world.site, items)).await.expect("the levels can be set");

    let expected: Vec<(String, String)> =
        ["a", "b", "c"].iter().flat_map(|id| locations.iter().map(|at| ((*id).to_owned(), at.clone()))).collect();
    for page_size in [1, 2, 4, 9, 100] {
        let page = async |page_token| {
            let request =
                v1::ListStockRequest { site_id: world.site.clone(), page_size, page_token, ..Default::default() };
            let page = world.stock().list_stock(request).await.expect("stock can be listed").into_inner();
            assert!(page.stock.len() <= page_size as usize);
            (page.stock, page.next_page_token)
        };
        let key = |stock: v1::Stock| (stock.catalog_reference.expect("a unit").catalog_item_id, stock.location_id);
        let listed: Vec<(String, String)> = all_pages(page).await.into_iter().map(key).collect();
        assert_eq!(listed, expected, "pages of {page_size}");
    }
}

/// A variant with a NUL is stored escaped, so a page token may contain it. A forged token with a raw NUL is refused.
async fn a_page_may_end_at_any_variant(world: World) {
    let with =
        |options: serde_json::Value| world.wix.call("increment", order(&world.site, json!([item_with("v", options)])));
    assert_eq!(with(json!({"Size": "\0"})).await.status, 200);
    assert_eq!(with(json!({"Size": "x"})).await.status, 200);
    let list = |page_token| v1::ListStockRequest {
        site_id: world.site.clone(),
        page_size: 1,
        page_token,
        ..Default::default()
    };
    let first = world.stock().list_stock(list(String::new())).await.expect("the first page").into_inner();
    let token = first.next_page_token;
    let second = world.stock().list_stock(list(token.clone())).await.expect("the next page").into_inner();
    assert_eq!((second.stock.len(), second.next_page_token.as_str()), (1, ""));
    assert_ne!(first.stock, second.stock);

    let given = URL_SAFE_NO_PAD.decode(&token).expect("base64");
    let given: serde_json::Value = serde_json::from_slice(&given).expect("JSON");
    let forged = URL_SAFE_NO_PAD.encode(json!([given[0], ["a\0", "", "", ""]]).to_string());
    let status = world.stock().list_stock(list(forged)).await.expect_err("a forged token");
    assert_eq!(field_of(&status), "page_token");
}

async fn entries_are_filtered_and_paged(world: World) {
    world.set(&[("A", 10), ("B", 10)]).await;
    let (mine, other) =
        (order(&world.site, json!([item("A", 1), item("B", 1)])), order(&world.site, json!([item("A", 2)])));
    assert_eq!(world.wix.call("decrement", mine.clone()).await.status, 200);
    assert_eq!(world.wix.call("decrement", other).await.status, 200);
    let order_id = order_id(&mine).to_owned();
    let base = || v1::ListEntriesRequest { site_id: world.site.clone(), ..Default::default() };
    let rows = [
        ("none", base(), vec![1, 2, 3, 4, 5]),
        ("order", v1::ListEntriesRequest { order_id: order_id.clone(), ..base() }, vec![3, 4]),
        ("unit", v1::ListEntriesRequest { unit: reference("A"), ..base() }, vec![1, 3, 5]),
        ("order and unit", v1::ListEntriesRequest { order_id, unit: reference("B"), ..base() }, vec![4]),
        ("after", v1::ListEntriesRequest { after_sequence: 3, ..base() }, vec![4, 5]),
        ("after and up to", v1::ListEntriesRequest { after_sequence: 1, up_to_sequence: 3, ..base() }, vec![2, 3]),
        ("a unit without entries", v1::ListEntriesRequest { unit: reference("C"), ..base() }, vec![]),
    ];
    for (filter, query, expected) in rows {
        let entries = world.list_entries(v1::ListEntriesRequest { page_size: 2, ..query }).await;
        let sequences: Vec<i64> = entries.iter().map(|entry| entry.sequence).collect();
        assert_eq!(sequences, expected, "filter: {filter}");
    }
    let first = v1::ListEntriesRequest { page_size: 2, ..base() };
    let page_token = world.ledger().list_entries(first).await.expect("the first page").into_inner().next_page_token;
    let other = v1::ListEntriesRequest { page_token, after_sequence: 1, ..base() };
    let status = world.ledger().list_entries(other).await.expect_err("the token of another query");
    assert_eq!(field_of(&status), "page_token");
}

async fn an_order_has_its_net_quantities(world: World) {
    world.set(&[("A", 10), ("B", 10)]).await;
    let mut data = order(&world.site, json!([item("A", 3), item("B", 1)]));
    assert_eq!(world.wix.call("decrement", data.clone()).await.status, 200);
    data["request"]["items"] = json!([item("A", 2)]);
    let data = with_new_request_id(data);
    assert_eq!(world.wix.call("increment", data.clone()).await.status, 200);
    let order_id = order_id(&data).to_owned();
    let request = v1::GetOrderRequest { site_id: world.site.clone(), order_id, ..Default::default() };
    let answer = world.ledger().get_order(request).await.expect("the order is known").into_inner();
    let lines: Vec<(i64, i64, i64)> = answer.lines.iter().map(|line| (line.taken, line.returned, line.net)).collect();
    assert_eq!(lines, [(3, 2, 1), (1, 0, 1)]);
    assert_eq!(answer.entries.iter().map(|entry| entry.delta).collect::<Vec<_>>(), [-3, -1, 2]);
    let request = v1::GetOrderRequest { site_id: world.site.clone(), order_id: guid(), ..Default::default() };
    assert_eq!(world.ledger().get_order(request).await.expect_err("the order is unknown").code(), Code::NotFound);
}

async fn a_set_is_all_or_nothing(world: World) {
    world.set(&[("A", 5)]).await;
    let twice = set(&world.site, vec![set_item("A", 1), set_item("B", 2), set_item("A", 3)]);
    let refused = world.stock().set_stock(twice).await.expect_err("A is set twice");
    assert_eq!(field_of(&refused), "items[2]");
    assert_eq!(world.level("A").await, 5);
    let many = (0..1_000).map(|index| set_item(&format!("i{index}"), index)).collect();
    let answer = world.stock().set_stock(set(&world.site, many)).await.expect("1,000 items").into_inner();
    // The first level was never used, so setting it to 0 writes no entry.
    assert_eq!((answer.levels.len(), answer.sequence), (999, 1_000));
    let too_many = set(&world.site, vec![set_item("A", 1); 1_001]);
    let refused = world.stock().set_stock(too_many).await.expect_err("1,001 items");
    assert_eq!(field_of(&refused), "items");
    let app = world.entries().await[0].catalog_reference.clone().expect("an entry names its unit").app_id;
    assert_eq!(app, CATALOG);
}

async fn a_write_without_a_request_id_is_new_each_time(world: World) {
    world.set(&[("A", 5)]).await;
    let request = v1::DecrementAvailabilityRequest { request_id: String::new(), ..decrement(&world.site, &[("A", 1)]) };
    for _ in 0..2 {
        world.availability().decrement_availability(request.clone()).await.expect("there is enough");
    }
    assert_eq!(world.level("A").await, 3);
}
