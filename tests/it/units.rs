//! The settings of a unit, and what they change for orders.

use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::errors::{error, error_of};
use inventory_tests::on_both;
use inventory_tests::requests::{adjust, adjust_item, decrement, guid, reference, reset, sku, window};
use inventory_tests::wix_caller::{item, order};
use inventory_tests::world::{World, start_grpc};
use prost_types::Timestamp;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

on_both!(
    a_unit_is_configured_field_by_field,
    stock_is_read_by_sku,
    a_sku_belongs_to_one_unit_of_a_site,
    orders_may_go_below_zero_up_to_the_backorder_limit,
    orders_do_not_change_the_level_of_a_unit_tracked_by_status,
    subscriptions_take_no_stock_if_they_are_not_counted,
    another_server_applies_new_settings_at_once,
    bad_settings_are_named_by_their_field,
);

fn with_sku(sku: &str) -> v1::UpdateUnitRequest {
    v1::UpdateUnitRequest { new_sku: Some(sku.into()), ..Default::default() }
}

fn backorder_limit(limit: i64) -> v1::UpdateUnitRequest {
    v1::UpdateUnitRequest { backorder_limit: Some(limit), ..Default::default() }
}

async fn unit(world: &World, by: v1::GetUnitRequest) -> Result<v1::Unit, Status> {
    let request = v1::GetUnitRequest { site_id: world.site.clone(), ..by };
    Ok(world.stock().get_unit(request).await?.into_inner().unit.expect("the answer holds the unit"))
}

async fn a_unit_is_configured_field_by_field(world: World) {
    let by = |id: &str| v1::GetUnitRequest { unit: reference(id), ..Default::default() };
    let unknown = unit(&world, by("A")).await.expect_err("A does not exist");
    assert_eq!(error_of(&unknown), error(Code::NotFound, "UNIT_NOT_FOUND", ""));
    let made = world.configure_unit("A", with_sku("SHIRT-M")).await.expect("the unit is created");
    let default = v1::Unit {
        catalog_reference: reference("A"),
        sku: "SHIRT-M".into(),
        name: String::new(),
        tracking: v1::Tracking::Quantity.into(),
        backorder_limit: 0,
        counts_subscriptions: true,
        tracking_source: v1::SettingSource::BuiltIn.into(),
        backorder_limit_source: v1::SettingSource::BuiltIn.into(),
        counts_subscriptions_source: v1::SettingSource::BuiltIn.into(),
        stocked: false,
        sell_from: None,
        sell_until: None,
    };
    assert_eq!(made, default);
    let change = v1::UpdateUnitRequest {
        name: Some("Shirt, M".into()),
        backorder_limit: Some(5),
        counts_subscriptions: Some(false),
        tracking: v1::Tracking::Status.into(),
        ..window(Some(7), Some(8_000_009))
    };
    let changed = world.configure_unit("A", change).await.expect("the settings are valid");
    let expected = v1::Unit {
        name: "Shirt, M".into(),
        tracking: v1::Tracking::Status.into(),
        backorder_limit: 5,
        counts_subscriptions: false,
        tracking_source: v1::SettingSource::Unit.into(),
        backorder_limit_source: v1::SettingSource::Unit.into(),
        counts_subscriptions_source: v1::SettingSource::Unit.into(),
        sell_from: Some(Timestamp { seconds: 0, nanos: 7_000 }),
        sell_until: Some(Timestamp { seconds: 8, nanos: 9_000 }),
        ..default.clone()
    };
    assert_eq!(changed, expected, "a field that the request does not name keeps its value");
    assert_eq!(world.configure_unit("A", v1::UpdateUnitRequest::default()).await.expect("no change"), expected);
    assert_eq!(unit(&world, by("A")).await.expect("A exists"), expected);
    let by_sku = v1::GetUnitRequest { unit: sku("SHIRT-M"), ..Default::default() };
    assert_eq!(unit(&world, by_sku).await.expect("A has the SKU"), expected);
    let some = reset(&["backorder_limit", "sell_from"]);
    let expected = v1::Unit {
        backorder_limit: 0,
        backorder_limit_source: v1::SettingSource::BuiltIn.into(),
        sell_from: None,
        ..expected
    };
    assert_eq!(world.configure_unit("A", some).await.expect("two settings are taken away"), expected);
    let all = reset(&["tracking", "backorder_limit", "counts_subscriptions", "sell_from", "sell_until"]);
    let expected = v1::Unit { name: "Shirt, M".into(), ..default };
    assert_eq!(world.configure_unit("A", all).await.expect("all settings are taken away"), expected);
    assert_eq!(world.configure_unit("A", with_sku("")).await.expect("the SKU can be removed").sku, "");
    // Settings write no ledger entries.
    assert_eq!(world.entries().await, []);
    world.set(&[("B", 3)]).await;
    let made = unit(&world, by("B")).await.expect("setting a level creates the unit");
    assert_eq!((made.tracking(), made.stocked), (v1::Tracking::Quantity, true));
}

async fn stock_is_read_by_sku(world: World) {
    let shop = guid();
    world.set(&[("A", 5), ("B", 7)]).await;
    let at_shop = v1::AdjustStockItem { location_id: shop.clone(), ..adjust_item("A", 2) };
    let request = v1::AdjustStockRequest { items: vec![at_shop], ..adjust(&world.site, &[]) };
    world.stock().adjust_stock(request).await.expect("the level can be adjusted");
    let change = v1::UpdateUnitRequest { name: Some("Shirt".into()), ..with_sku("S-1") };
    world.configure_unit("A", change).await.expect("the SKU is free");
    let get = |name: &str, location_id: &str| v1::GetStockRequest {
        site_id: world.site.clone(),
        unit: sku(name),
        location_id: location_id.into(),
        ..Default::default()
    };
    let read = world
        .stock()
        .get_stock(get("S-1", &shop))
        .await
        .expect("A has the SKU")
        .into_inner()
        .stock
        .expect("the answer holds the stock");
    assert_eq!((read.available, read.sku.as_str(), read.name.as_str()), (2, "S-1", "Shirt"));
    assert_eq!(read.catalog_reference, reference("A"));
    let unknown = world.stock().get_stock(get("S-2", "")).await.expect_err("no unit has the SKU S-2");
    assert_eq!(error_of(&unknown), error(Code::NotFound, "UNIT_NOT_FOUND", "sku"));
    let empty = world.stock().get_stock(get("", "")).await.expect_err("an empty SKU");
    assert_eq!(error_of(&empty), error(Code::InvalidArgument, "INVALID_FIELD", "sku"));
    let none = v1::GetStockRequest { unit: None, ..get("S-1", "") };
    let none = world.stock().get_stock(none).await.expect_err("the request names no unit");
    assert_eq!(error_of(&none), error(Code::InvalidArgument, "INVALID_FIELD", "catalog_reference"));

    let by_sku = |name: &str| v1::BatchGetStockItem { unit: sku(name), ..Default::default() };
    let by_reference = v1::BatchGetStockItem { unit: reference("B"), ..Default::default() };
    let batch = |items| v1::BatchGetStockRequest { site_id: world.site.clone(), items, ..Default::default() };
    let several = world
        .stock()
        .batch_get_stock(batch(vec![by_reference.clone(), by_sku("S-1")]))
        .await
        .expect("both units exist");
    let levels: Vec<i64> = several.into_inner().stock.iter().map(|stock| stock.available).collect();
    assert_eq!(levels, [7, 5]);
    let unknown = world
        .stock()
        .batch_get_stock(batch(vec![by_reference, by_sku("S-2")]))
        .await
        .expect_err("no unit has the SKU S-2");
    assert_eq!(error_of(&unknown), error(Code::NotFound, "UNIT_NOT_FOUND", "items[1].sku"));

    let list = v1::ListStockRequest { site_id: world.site.clone(), unit: sku("S-1"), ..Default::default() };
    let found = world.stock().list_stock(list.clone()).await.expect("stock can be listed").into_inner().stock;
    let levels: Vec<(&str, i64)> = found.iter().map(|stock| (stock.location_id.as_str(), stock.available)).collect();
    assert_eq!(levels, [("", 5), (shop.as_str(), 2)], "the unit at all of its locations");
    let explain = |name: &str| v1::ExplainLevelRequest {
        site_id: world.site.clone(),
        unit: sku(name),
        location_id: shop.clone(),
        ..Default::default()
    };
    let explained = world.ledger().explain_level(explain("S-1")).await.expect("A has the SKU").into_inner();
    assert_eq!((explained.available, explained.entries.len()), (2, 1));
    let unknown = world.ledger().explain_level(explain("S-2")).await.expect_err("no unit has the SKU S-2");
    assert_eq!(error_of(&unknown), error(Code::NotFound, "UNIT_NOT_FOUND", "sku"));
    let entries = world.list_entries(v1::ListEntriesRequest { unit: sku("S-1"), ..Default::default() }).await;
    assert_eq!(entries.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [1, 3]);
    let page = v1::ListStockRequest { page_size: 1, ..list };
    let first = world.stock().list_stock(page.clone()).await.expect("the first page").into_inner();
    let other = v1::ListStockRequest { unit: sku("S-2"), page_token: first.next_page_token, ..page };
    let refused = world.stock().list_stock(other).await.expect_err("a token of another query");
    assert_eq!(error_of(&refused), error(Code::InvalidArgument, "INVALID_FIELD", "page_token"));
}

async fn a_sku_belongs_to_one_unit_of_a_site(world: World) {
    world.configure_unit("A", with_sku("S-1")).await.expect("the SKU is free");
    world.configure_unit("A", with_sku("S-1")).await.expect("A has the SKU already");
    let change = v1::UpdateUnitRequest { name: Some("Other".into()), ..with_sku("S-1") };
    let clash = world.configure_unit("B", change).await.expect_err("A has the SKU");
    assert_eq!(error_of(&clash), error(Code::AlreadyExists, "SKU_TAKEN", "new_sku"));
    assert!(clash.message().contains("/A"), "{}", clash.message());
    let by = v1::GetUnitRequest { unit: reference("B"), ..Default::default() };
    assert_eq!(unit(&world, by).await.expect_err("B was not created").code(), Code::NotFound);
    world.configure_unit("B", with_sku("s-1")).await.expect("SKUs are compared exactly");
    world.configure_unit("A", with_sku("S-2")).await.expect("the SKU is free");
    world.configure_unit("B", with_sku("S-1")).await.expect("the SKU is free again");
    let other_site = v1::UpdateUnitRequest { site_id: guid(), unit: reference("A"), ..with_sku("S-1") };
    world.stock().update_unit(other_site).await.expect("the SKU is free on another site");
}

async fn orders_may_go_below_zero_up_to_the_backorder_limit(world: World) {
    world.set(&[("A", 2)]).await;
    world.configure_unit("A", backorder_limit(3)).await.expect("the limit can be set");
    let take = async |quantity| world.wix.call("decrement", order(&world.site, json!([item("A", quantity)]))).await;
    let refused = take(6).await;
    assert_eq!((refused.status, &refused.error_data("shortages")[0]["short"]), (428, &json!(1)), "{refused:?}");
    assert_eq!(take(5).await.status, 200);
    assert_eq!(world.level("A").await, -3);
    assert_eq!(take(1).await.status, 428);
    world.configure_unit("A", backorder_limit(4)).await.expect("the limit can be raised");
    assert_eq!(take(1).await.status, 200);
    world.configure_unit("A", backorder_limit(0)).await.expect("the limit can be lowered");
    assert_eq!(take(1).await.status, 428);
    assert_eq!(world.level("A").await, -4);
    let stock = v1::ListStockRequest { site_id: world.site.clone(), below: Some(0), ..Default::default() };
    let negative = world.stock().list_stock(stock).await.expect("stock can be listed").into_inner().stock;
    assert_eq!(negative.iter().map(|stock| (stock.available, stock.backorder_limit)).collect::<Vec<_>>(), [(-4, 0)]);
}

async fn orders_do_not_change_the_level_of_a_unit_tracked_by_status(world: World) {
    let status = v1::UpdateUnitRequest { tracking: v1::Tracking::Status.into(), ..Default::default() };
    world.configure_unit("A", status).await.expect("the tracking can be changed");
    let take = async |quantity| world.wix.call("decrement", order(&world.site, json!([item("A", quantity)]))).await;
    assert_eq!(take(1).await.status, 428, "a unit that was never stocked is out of stock");
    world.set(&[("A", 1)]).await;
    assert_eq!(take(900).await.status, 200);
    assert_eq!(world.wix.call("increment", order(&world.site, json!([item("A", 5)]))).await.status, 200);
    world.stock().adjust_stock(adjust(&world.site, &[("A", -7)])).await.expect("the adjustment is recorded");
    let entries = world.entries().await;
    let changes: Vec<_> = entries.iter().map(|e| (e.asked_delta, e.delta, e.level_after)).collect();
    assert_eq!(changes, [(1, 1, 1), (-900, 0, 1), (5, 0, 1), (-7, 0, 1)]);
    assert!(entries.iter().all(|entry| entry.marks.is_empty()), "a return that changes no level is no over-return");
    world.set(&[("A", 0)]).await;
    let refused = take(3).await;
    assert_eq!((refused.status, &refused.error_data("shortages")[0]["short"]), (428, &json!(1)), "{refused:?}");
    let mut unrestricted = order(&world.site, json!([item("A", 3)]));
    unrestricted["request"]["restrictInventoryValue"] = json!(false);
    assert_eq!(world.wix.call("decrement", unrestricted).await.status, 200);
    assert_eq!(world.level("A").await, 0);
}

async fn subscriptions_take_no_stock_if_they_are_not_counted(world: World) {
    world.set(&[("A", 1)]).await;
    let change = v1::UpdateUnitRequest { counts_subscriptions: Some(false), ..Default::default() };
    world.configure_unit("A", change).await.expect("the setting can be changed");
    let mut subscribed = item("A", 9);
    subscribed["subscriptionItem"] = json!(true);
    let both = order(&world.site, json!([subscribed, item("A", 1)]));
    assert_eq!(world.wix.call("decrement", both).await.status, 200);
    let changes: Vec<_> =
        world.entries().await.iter().map(|e| (e.asked_delta, e.delta, e.subscription_item)).skip(1).collect();
    assert_eq!(changes, [(-1, -1, false), (-9, 0, true)]);
}

async fn another_server_applies_new_settings_at_once(world: World) {
    let stop = CancellationToken::new();
    let other = format!("http://{}", start_grpc(world.database.url.clone(), stop.clone()).await);
    let connected = "the second server accepts connections";
    let mut other_availability = AvailabilityServiceClient::connect(other.clone()).await.expect(connected);
    let mut other_stock = StockServiceClient::connect(other).await.expect(connected);
    let take = || decrement(&world.site, &[("A", 1)]);
    world.set(&[("A", 1)]).await;
    world.availability().decrement_availability(take()).await.expect("the last piece");
    // The first server has the level and the settings in its cache. The second one changes the settings.
    for limit in 1..=20 {
        let request =
            v1::UpdateUnitRequest { site_id: world.site.clone(), unit: reference("A"), ..backorder_limit(limit) };
        other_stock.update_unit(request).await.expect("the limit can be raised");
        world.availability().decrement_availability(take()).await.expect("the new limit allows one more");
        let refused = other_availability.decrement_availability(take()).await.expect_err("the limit is reached");
        assert_eq!(refused.code(), Code::FailedPrecondition);
    }
    assert_eq!(world.level("A").await, -20);
    stop.cancel();
}

async fn bad_settings_are_named_by_their_field(world: World) {
    let rows: [(v1::UpdateUnitRequest, &str); 7] = [
        (backorder_limit(-1), "backorder_limit"),
        (backorder_limit(1_000_000_000_001), "backorder_limit"),
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
        assert_eq!(error_of(&refused), error(Code::InvalidArgument, "INVALID_FIELD", field));
    }
    let without_unit = v1::UpdateUnitRequest { site_id: world.site.clone(), ..with_sku("S-1") };
    let refused = world.stock().update_unit(without_unit).await.expect_err("the request names no unit");
    assert_eq!(error_of(&refused), error(Code::InvalidArgument, "INVALID_FIELD", "catalog_reference"));
    let request = v1::GetSiteRequest { site_id: world.site.clone() };
    assert_eq!(
        world.sites().get_site(request).await.expect_err("a refused request creates no site").code(),
        Code::NotFound
    );
}
