//! The settings of a site, and what they change about its requests.

use inventory_proto::v1;
use inventory_tests::errors::reason_of;
use inventory_tests::on_both;
use inventory_tests::requests::{catalog, guid};
use inventory_tests::wix_caller::{CATALOG, WixCaller, item, item_with, order, with_new_request_id};
use inventory_tests::world::{World, start_adapter, start_grpc};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tonic::Code;

on_both!(
    no_location_and_the_default_location_are_the_same_level,
    a_location_with_stock_cannot_become_the_default,
    option_keys_choose_the_options_that_identify_stock,
    a_replay_is_answered_although_its_items_are_invalid_by_now,
);

fn default_location(id: &str) -> v1::UpdateSiteRequest {
    v1::UpdateSiteRequest { default_location_id: id.into(), ..Default::default() }
}

/// Only the size identifies stock of a catalog.
fn by_size(app_id: &str) -> v1::UpdateSiteRequest {
    let option_keys = Some(v1::OptionKeys { keys: vec!["Size".into()] });
    catalog(v1::CatalogSettings { app_id: app_id.into(), option_keys, ..Default::default() })
}

/// A catalog returns to its built-in settings.
fn built_in(app_id: &str) -> v1::UpdateSiteRequest {
    catalog(v1::CatalogSettings { app_id: app_id.into(), ..Default::default() })
}

fn item_at(location: &str, id: &str, quantity: i64) -> Value {
    let mut item = item(id, quantity);
    item["locationId"] = json!(location);
    item
}

async fn no_location_and_the_default_location_are_the_same_level(world: World) {
    let home = "AAAAAAAA-0000-4000-8000-000000000009";
    world.set(&[("A", 5)]).await;
    let site = world.configure_site(default_location(home)).await.expect("the default location can be named");
    assert_eq!((site.default_location_id.as_str(), site.revision), (home.to_lowercase().as_str(), 1));
    // One item names the location and the other does not. Both quantities are summed before they are checked.
    let both = json!([item_at(home, "A", 3), item("A", 3)]);
    assert_eq!(world.wix.call("decrement", order(&world.site, both)).await.status, 428);
    let both = json!([item_at(home, "A", 2), item("A", 3)]);
    assert_eq!(world.wix.call("decrement", order(&world.site, both)).await.status, 200);
    assert_eq!(world.level("A").await, 0);
    let entries = world.entries().await;
    assert!(entries.iter().all(|entry| entry.location_id == home.to_lowercase()));
    let elsewhere = json!([item_at(&guid(), "A", 1)]);
    assert_eq!(world.wix.call("decrement", order(&world.site, elsewhere)).await.status, 428);
    let read =
        world.sites().get_site(v1::GetSiteRequest { site_id: world.site.clone() }).await.expect("the site is known");
    assert_eq!(read.into_inner().site.expect("the answer holds the site").sequence, 2);
}

async fn a_location_with_stock_cannot_become_the_default(world: World) {
    let shop = guid();
    let stock = json!([item_at(&shop, "A", 1)]);
    assert_eq!(world.wix.call("increment", order(&world.site, stock)).await.status, 200);
    let refused = world.configure_site(default_location(&shop)).await.expect_err("the location has levels of its own");
    assert_eq!((refused.code(), reason_of(&refused)), (Code::FailedPrecondition, "LOCATION_IN_USE".into()));
    let home = guid();
    world.configure_site(default_location(&home)).await.expect("the location has no levels");
    world.configure_site(default_location(&home)).await.expect("the same location again");
}

async fn option_keys_choose_the_options_that_identify_stock(world: World) {
    let with = |options: Value| json!([item_with("A", options)]);
    let give = |options: Value| {
        let data = order(&world.site, with(options));
        let wix = world.wix.clone();
        async move { assert_eq!(wix.call("increment", data).await.status, 200) }
    };
    let count = async || {
        let request = v1::ListStockRequest { site_id: world.site.clone(), ..Default::default() };
        world.stock().list_stock(request).await.expect("stock can be listed").into_inner().stock.len()
    };
    give(json!({"Size": "M", "gift": true})).await;
    give(json!({"Size": "M", "gift": false})).await;
    assert_eq!(count().await, 2, "without option keys, every option identifies stock");
    world.configure_site(by_size(&CATALOG.to_uppercase())).await.expect("the option keys can be set");
    give(json!({"Size": "M", "gift": true})).await;
    give(json!({"Size": "M", "gift": false})).await;
    assert_eq!(count().await, 3, "only the size identifies stock now");
    // The settings in between do not matter: the second call is a replay.
    let data = order(&world.site, with(json!({"Size": "L", "gift": true})));
    assert_eq!(world.wix.call("increment", data.clone()).await.status, 200);
    let site = world.configure_site(built_in(CATALOG)).await;
    assert!(site.expect("the option keys can be taken away").catalogs.is_empty());
    assert_eq!(world.wix.call("increment", data).await.status, 200);
    assert_eq!(count().await, 4);
}

async fn a_replay_is_answered_although_its_items_are_invalid_by_now(world: World) {
    let long = json!({"Size": "M", "message": "x".repeat(2_100)});
    let items = json!([item_with("A", json!(long))]);
    let data = order(&world.site, items);
    world.configure_site(by_size(CATALOG)).await.expect("the option keys can be set");
    assert_eq!(world.wix.call("increment", data.clone()).await.status, 200);

    // A server that has just started does not know the site's settings until it has read them under the site's lock.
    let stop = CancellationToken::new();
    let grpc = start_grpc(world.database.url.clone(), stop.clone()).await;
    let fresh = WixCaller::new(start_adapter(grpc, stop.clone()).await);
    assert_eq!(fresh.call("increment", data.clone()).await.status, 200, "the replay");
    let new = with_new_request_id(data.clone());
    assert_eq!(fresh.call("increment", new.clone()).await.status, 200, "a new request");
    stop.cancel();

    // Without the option keys the options are too large. The applied request is still answered from its record.
    world.configure_site(built_in(CATALOG)).await.expect("the option keys can be taken away");
    assert_eq!(world.wix.call("increment", data).await.status, 200, "the replay");
    let new = with_new_request_id(new);
    assert_eq!(world.wix.call("increment", new).await.status, 428, "a new request");
    assert_eq!(world.entries().await.len(), 2);
}
