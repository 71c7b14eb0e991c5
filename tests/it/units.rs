//! What a merchant settles for a unit, and what orders then meet with.

use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::on_both;
use inventory_tests::wix_caller::{item, order};
use inventory_tests::world::{World, reference, sku, start_grpc, told};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use uuid::Uuid;

on_both!(
    a_unit_is_settled_field_by_field,
    stock_is_read_by_sku,
    a_sku_belongs_to_one_unit_of_a_site,
    a_backorder_limit_lets_orders_go_so_far,
    a_status_is_not_counted,
    subscriptions_may_be_left_uncounted,
    another_server_goes_by_new_settings_at_once,
    bad_settings_are_named_by_their_field,
);

async fn settle(world: &World, id: &str, change: v1::UpdateUnitRequest) -> Result<v1::Unit, Status> {
    let request = v1::UpdateUnitRequest { site_id: world.site.clone(), unit: reference(id), ..change };
    Ok(world.stock().update_unit(request).await?.into_inner().unit.expect("an answer holds the unit"))
}

fn with_sku(sku: &str) -> v1::UpdateUnitRequest {
    v1::UpdateUnitRequest { new_sku: Some(sku.into()), ..Default::default() }
}

fn backorder(limit: i64) -> v1::UpdateUnitRequest {
    v1::UpdateUnitRequest { backorder_limit: Some(limit), ..Default::default() }
}

async fn unit(world: &World, by: v1::GetUnitRequest) -> Result<v1::Unit, Status> {
    let request = v1::GetUnitRequest { site_id: world.site.clone(), ..by };
    Ok(world.stock().get_unit(request).await?.into_inner().unit.expect("an answer holds the unit"))
}

fn error(code: Code, reason: &str, field: &str) -> (Code, String, String) {
    (code, reason.to_owned(), field.to_owned())
}

async fn a_unit_is_settled_field_by_field(world: World) {
    let by = |id: &str| v1::GetUnitRequest { unit: reference(id), ..Default::default() };
    let unknown = unit(&world, by("A")).await.expect_err("nothing was written");
    assert_eq!(told(&unknown), error(Code::NotFound, "UNIT_NOT_FOUND", ""));
    let made = settle(&world, "A", with_sku("SHIRT-M")).await.expect("made");
    let usual = v1::Unit {
        catalog_reference: reference("A"),
        sku: "SHIRT-M".into(),
        name: String::new(),
        tracking: v1::Tracking::Quantity.into(),
        backorder_limit: 0,
        counts_subscriptions: true,
    };
    assert_eq!(made, usual);
    let name = v1::UpdateUnitRequest {
        name: Some("Shirt, M".into()),
        backorder_limit: Some(5),
        counts_subscriptions: Some(false),
        tracking: v1::Tracking::Status.into(),
        ..Default::default()
    };
    let settled = settle(&world, "A", name).await.expect("settled");
    let expected = v1::Unit {
        name: "Shirt, M".into(),
        tracking: v1::Tracking::Status.into(),
        backorder_limit: 5,
        counts_subscriptions: false,
        ..usual
    };
    assert_eq!(settled, expected, "what was not named stays");
    assert_eq!(settle(&world, "A", v1::UpdateUnitRequest::default()).await.expect("nothing"), expected);
    assert_eq!(unit(&world, by("A")).await.expect("known"), expected);
    let by_sku = v1::GetUnitRequest { unit: sku("SHIRT-M"), ..Default::default() };
    assert_eq!(unit(&world, by_sku).await.expect("known"), expected);
    assert_eq!(settle(&world, "A", with_sku("")).await.expect("taken away").sku, "");
    // None of this is stock.
    assert_eq!(world.entries().await, []);
    world.set(&[("B", 3)]).await;
    assert_eq!(unit(&world, by("B")).await.expect("it has stock").tracking(), v1::Tracking::Quantity);
}

async fn stock_is_read_by_sku(world: World) {
    let shop = Uuid::new_v4().to_string();
    world.set(&[("A", 5), ("B", 7)]).await;
    let at_shop = v1::AdjustStockItem { unit: reference("A"), location_id: shop.clone(), delta: 2 };
    let request = v1::AdjustStockRequest { site_id: world.site.clone(), items: vec![at_shop], ..Default::default() };
    world.stock().adjust_stock(request).await.expect("adjusted");
    let name = v1::UpdateUnitRequest { name: Some("Shirt".into()), ..with_sku("S-1") };
    settle(&world, "A", name).await.expect("settled");
    let get = |name: &str, location_id: &str| v1::GetStockRequest {
        site_id: world.site.clone(),
        unit: sku(name),
        location_id: location_id.into(),
        ..Default::default()
    };
    let read = world.stock().get_stock(get("S-1", &shop)).await.expect("known").into_inner().stock.expect("held");
    assert_eq!((read.available, read.sku.as_str(), read.name.as_str()), (2, "S-1", "Shirt"));
    assert_eq!(read.catalog_reference, reference("A"));
    let unknown = world.stock().get_stock(get("S-2", "")).await.expect_err("no unit");
    assert_eq!(told(&unknown), error(Code::NotFound, "UNIT_NOT_FOUND", "sku"));
    let empty = world.stock().get_stock(get("", "")).await.expect_err("an empty SKU");
    assert_eq!(told(&empty), error(Code::InvalidArgument, "INVALID_FIELD", "sku"));
    let none = v1::GetStockRequest { unit: None, ..get("S-1", "") };
    let none = world.stock().get_stock(none).await.expect_err("no name");
    assert_eq!(told(&none), error(Code::InvalidArgument, "INVALID_FIELD", "catalog_reference"));

    let named = |name: &str| v1::BatchGetStockItem { unit: sku(name), ..Default::default() };
    let referred = v1::BatchGetStockItem { unit: reference("B"), ..Default::default() };
    let batch = |items| v1::BatchGetStockRequest { site_id: world.site.clone(), items, ..Default::default() };
    let several = world.stock().batch_get_stock(batch(vec![referred.clone(), named("S-1")])).await.expect("known");
    let levels: Vec<i64> = several.into_inner().stock.iter().map(|stock| stock.available).collect();
    assert_eq!(levels, [7, 5]);
    let unknown = world.stock().batch_get_stock(batch(vec![referred, named("S-2")])).await.expect_err("no unit");
    assert_eq!(told(&unknown), error(Code::NotFound, "UNIT_NOT_FOUND", "items[1].sku"));

    let list = v1::ListStockRequest { site_id: world.site.clone(), unit: sku("S-1"), ..Default::default() };
    let found = world.stock().list_stock(list.clone()).await.expect("listed").into_inner().stock;
    let levels: Vec<(&str, i64)> = found.iter().map(|stock| (stock.location_id.as_str(), stock.available)).collect();
    assert_eq!(levels, [("", 5), (shop.as_str(), 2)], "at all of its locations");
    let explain = |name: &str| v1::ExplainLevelRequest {
        site_id: world.site.clone(),
        unit: sku(name),
        location_id: shop.clone(),
        ..Default::default()
    };
    let explained = world.ledger().explain_level(explain("S-1")).await.expect("known").into_inner();
    assert_eq!((explained.available, explained.entries.len()), (2, 1));
    let unknown = world.ledger().explain_level(explain("S-2")).await.expect_err("no unit");
    assert_eq!(told(&unknown), error(Code::NotFound, "UNIT_NOT_FOUND", "sku"));
    let entries = v1::ListEntriesRequest { site_id: world.site.clone(), unit: sku("S-1"), ..Default::default() };
    let entries = world.ledger().list_entries(entries).await.expect("listed").into_inner().entries;
    assert_eq!(entries.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [1, 3]);
    let page = v1::ListStockRequest { page_size: 1, ..list };
    let first = world.stock().list_stock(page.clone()).await.expect("listed").into_inner();
    let other = v1::ListStockRequest { unit: sku("S-2"), page_token: first.next_page_token, ..page };
    let refused = world.stock().list_stock(other).await.expect_err("a token of another query");
    assert_eq!(told(&refused), error(Code::InvalidArgument, "INVALID_FIELD", "page_token"));
}

async fn a_sku_belongs_to_one_unit_of_a_site(world: World) {
    settle(&world, "A", with_sku("S-1")).await.expect("free");
    settle(&world, "A", with_sku("S-1")).await.expect("its own");
    let change = v1::UpdateUnitRequest { name: Some("Other".into()), ..with_sku("S-1") };
    let clash = settle(&world, "B", change).await.expect_err("taken");
    assert_eq!(told(&clash), error(Code::AlreadyExists, "SKU_TAKEN", "new_sku"));
    assert!(clash.message().contains("/A"), "{}", clash.message());
    let by = v1::GetUnitRequest { unit: reference("B"), ..Default::default() };
    assert_eq!(unit(&world, by).await.expect_err("nothing of it was written").code(), Code::NotFound);
    settle(&world, "B", with_sku("s-1")).await.expect("compared exactly");
    settle(&world, "A", with_sku("S-2")).await.expect("changed");
    settle(&world, "B", with_sku("S-1")).await.expect("free again");
    let elsewhere =
        v1::UpdateUnitRequest { site_id: Uuid::new_v4().to_string(), unit: reference("A"), ..with_sku("S-1") };
    world.stock().update_unit(elsewhere).await.expect("another site");
}

async fn a_backorder_limit_lets_orders_go_so_far(world: World) {
    world.set(&[("A", 2)]).await;
    settle(&world, "A", backorder(3)).await.expect("settled");
    let take = async |quantity| world.wix.call("decrement", order(&world.site, json!([item("A", quantity)]))).await;
    let refused = take(6).await;
    assert_eq!(
        (refused.status, &refused.body["applicationError"]["data"]["shortages"][0]["short"]),
        (428, &json!(1)),
        "{refused:?}"
    );
    assert_eq!(take(5).await.status, 200);
    assert_eq!(world.level("A").await, -3);
    assert_eq!(take(1).await.status, 428);
    settle(&world, "A", backorder(4)).await.expect("raised");
    assert_eq!(take(1).await.status, 200);
    settle(&world, "A", backorder(0)).await.expect("lowered");
    assert_eq!(take(1).await.status, 428);
    assert_eq!(world.level("A").await, -4);
    let stock = v1::ListStockRequest { site_id: world.site.clone(), below: Some(0), ..Default::default() };
    let negative = world.stock().list_stock(stock).await.expect("listed").into_inner().stock;
    assert_eq!(negative.iter().map(|stock| (stock.available, stock.backorder_limit)).collect::<Vec<_>>(), [(-4, 0)]);
}

async fn a_status_is_not_counted(world: World) {
    let status = v1::UpdateUnitRequest { tracking: v1::Tracking::Status.into(), ..Default::default() };
    settle(&world, "A", status).await.expect("settled");
    let take = async |quantity| world.wix.call("decrement", order(&world.site, json!([item("A", quantity)]))).await;
    assert_eq!(take(1).await.status, 428, "never stocked is out of stock");
    world.set(&[("A", 1)]).await;
    assert_eq!(take(900).await.status, 200);
    assert_eq!(world.wix.call("increment", order(&world.site, json!([item("A", 5)]))).await.status, 200);
    let adjust = v1::AdjustStockItem { unit: reference("A"), delta: -7, ..Default::default() };
    let request = v1::AdjustStockRequest { site_id: world.site.clone(), items: vec![adjust], ..Default::default() };
    world.stock().adjust_stock(request).await.expect("entered");
    let entries = world.entries().await;
    let told: Vec<_> = entries.iter().map(|e| (e.asked_delta, e.delta, e.level_after)).collect();
    assert_eq!(told, [(1, 1, 1), (-900, 0, 1), (5, 0, 1), (-7, 0, 1)]);
    assert!(entries.iter().all(|entry| entry.marks.is_empty()), "what is not counted is not returned too often");
    world.set(&[("A", 0)]).await;
    let refused = take(3).await;
    assert_eq!(
        (refused.status, &refused.body["applicationError"]["data"]["shortages"][0]["short"]),
        (428, &json!(1)),
        "{refused:?}"
    );
    let mut unrestricted = order(&world.site, json!([item("A", 3)]));
    unrestricted["request"]["restrictInventoryValue"] = json!(false);
    assert_eq!(world.wix.call("decrement", unrestricted).await.status, 200);
    assert_eq!(world.level("A").await, 0);
}

async fn subscriptions_may_be_left_uncounted(world: World) {
    world.set(&[("A", 1)]).await;
    let change = v1::UpdateUnitRequest { counts_subscriptions: Some(false), ..Default::default() };
    settle(&world, "A", change).await.expect("settled");
    let mut subscribed = item("A", 9);
    subscribed["subscriptionItem"] = json!(true);
    let both = order(&world.site, json!([subscribed, item("A", 1)]));
    assert_eq!(world.wix.call("decrement", both).await.status, 200);
    let told: Vec<_> =
        world.entries().await.iter().map(|e| (e.asked_delta, e.delta, e.subscription_item)).skip(1).collect();
    assert_eq!(told, [(-1, -1, false), (-9, 0, true)]);
}

async fn another_server_goes_by_new_settings_at_once(world: World) {
    let stop = CancellationToken::new();
    let other = start_grpc(world.database.url.clone(), stop.clone()).await;
    let other = format!("http://{other}");
    let mut shop = AvailabilityServiceClient::connect(other.clone()).await.expect("it answers");
    let mut desk = StockServiceClient::connect(other).await.expect("it answers");
    let take = || v1::DecrementAvailabilityRequest {
        site_id: world.site.clone(),
        order_id: Uuid::new_v4().to_string(),
        items: vec![v1::Item { unit: reference("A"), quantity: 1, ..Default::default() }],
        ..Default::default()
    };
    world.set(&[("A", 1)]).await;
    world.availability().decrement_availability(take()).await.expect("the last piece");
    // This server now remembers level and rules; the other one changes them.
    for limit in 1..=20 {
        let request = v1::UpdateUnitRequest { site_id: world.site.clone(), unit: reference("A"), ..backorder(limit) };
        desk.update_unit(request).await.expect("settled");
        world.availability().decrement_availability(take()).await.expect("as far as the new limit");
        let refused = shop.decrement_availability(take()).await.expect_err("no further");
        assert_eq!(refused.code(), Code::FailedPrecondition);
    }
    assert_eq!(world.level("A").await, -20);
    stop.cancel();
}

async fn bad_settings_are_named_by_their_field(world: World) {
    let rows: [(v1::UpdateUnitRequest, &str); 7] = [
        (backorder(-1), "backorder_limit"),
        (backorder(1_000_000_000_001), "backorder_limit"),
        (with_sku(&"ä".repeat(101)), "new_sku"),
        (with_sku("a\0b"), "new_sku"),
        (v1::UpdateUnitRequest { name: Some("x".repeat(201)), ..Default::default() }, "name"),
        (v1::UpdateUnitRequest { tracking: 99, ..Default::default() }, "tracking"),
        (v1::UpdateUnitRequest { site_id: "x".into(), ..Default::default() }, "site_id"),
    ];
    for (request, field) in rows {
        let site_id = if request.site_id.is_empty() { world.site.clone() } else { request.site_id.clone() };
        let request = v1::UpdateUnitRequest { site_id, unit: reference("A"), ..request };
        let refused = world.stock().update_unit(request).await.expect_err(field);
        assert_eq!(told(&refused), error(Code::InvalidArgument, "INVALID_FIELD", field));
    }
    let nameless = v1::UpdateUnitRequest { site_id: world.site.clone(), ..with_sku("S-1") };
    let refused = world.stock().update_unit(nameless).await.expect_err("no reference");
    assert_eq!(told(&refused), error(Code::InvalidArgument, "INVALID_FIELD", "catalog_reference"));
    let request = v1::GetSiteRequest { site_id: world.site.clone() };
    assert_eq!(world.sites().get_site(request).await.expect_err("nothing was written").code(), Code::NotFound);
}
