//! What a site's settings make of its requests.

use inventory_proto::v1;
use inventory_tests::on_both;
use inventory_tests::wix_caller::{CATALOG, WixCaller, item, item_with, order};
use inventory_tests::world::{World, start_adapter, start_grpc};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

on_both!(
    absent_and_the_default_location_are_one,
    a_location_with_stock_cannot_become_the_default,
    option_keys_decide,
    a_repeat_is_known_even_where_its_items_mean_nothing_today
);

async fn update(world: &World, change: v1::UpdateSiteRequest) -> Result<v1::Site, Status> {
    let request = v1::UpdateSiteRequest { site_id: world.site.clone(), ..change };
    let answer = world.sites().update_site(request).await?.into_inner();
    Ok(answer.site.expect("an answer holds the site"))
}

fn default_location(id: &str) -> v1::UpdateSiteRequest {
    v1::UpdateSiteRequest { default_location_id: id.into(), ..Default::default() }
}

fn at(location: &str, id: &str, quantity: i64) -> Value {
    let mut item = item(id, quantity);
    item["locationId"] = json!(location);
    item
}

async fn absent_and_the_default_location_are_one(world: World) {
    let home = "AAAAAAAA-0000-4000-8000-000000000009";
    world.set(&[("A", 5)]).await;
    let site = update(&world, default_location(home)).await.expect("named");
    assert_eq!((site.default_location_id.as_str(), site.revision), (home.to_lowercase().as_str(), 1));
    // Summed first, though one names the place and the other does not.
    let both = json!([at(home, "A", 3), item("A", 3)]);
    assert_eq!(world.wix.call("decrement", order(&world.site, both)).await.status, 428);
    let both = json!([at(home, "A", 2), item("A", 3)]);
    assert_eq!(world.wix.call("decrement", order(&world.site, both)).await.status, 200);
    assert_eq!(world.level("A").await, 0);
    let entries = world.entries().await;
    assert!(entries.iter().all(|entry| entry.location_id == home.to_lowercase()));
    let elsewhere = json!([at(&Uuid::new_v4().to_string(), "A", 1)]);
    assert_eq!(world.wix.call("decrement", order(&world.site, elsewhere)).await.status, 428);
    let read = world.sites().get_site(v1::GetSiteRequest { site_id: world.site.clone() }).await.expect("known");
    assert_eq!(read.into_inner().site.expect("held").sequence, 2);
}

async fn a_location_with_stock_cannot_become_the_default(world: World) {
    let shop = Uuid::new_v4().to_string();
    let stock = json!([at(&shop, "A", 1)]);
    assert_eq!(world.wix.call("increment", order(&world.site, stock)).await.status, 200);
    let refused = update(&world, default_location(&shop)).await.expect_err("it has levels of its own");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.get_details_error_info().expect("details").reason, "LOCATION_IN_USE");
    let home = Uuid::new_v4().to_string();
    update(&world, default_location(&home)).await.expect("free");
    update(&world, default_location(&home)).await.expect("naming it again changes nothing");
}

async fn option_keys_decide(world: World) {
    let with = |options: Value| json!([item_with("A", options)]);
    let give = |options: Value| {
        let data = order(&world.site, with(options));
        let wix = world.wix.clone();
        async move { assert_eq!(wix.call("increment", data).await.status, 200) }
    };
    let count = async || {
        let request = v1::ListStockRequest { site_id: world.site.clone(), ..Default::default() };
        world.stock().list_stock(request).await.expect("lists").into_inner().stock.len()
    };
    give(json!({"Size": "M", "gift": true})).await;
    give(json!({"Size": "M", "gift": false})).await;
    assert_eq!(count().await, 2, "any option identifies stock until the site says otherwise");
    let keys = vec![v1::OptionKeys { app_id: CATALOG.to_uppercase(), keys: vec!["Size".into()] }];
    update(&world, v1::UpdateSiteRequest { option_keys: keys, ..Default::default() }).await.expect("set");
    give(json!({"Size": "M", "gift": true})).await;
    give(json!({"Size": "M", "gift": false})).await;
    assert_eq!(count().await, 3, "both are Size M now");
    // A repeat stays a repeat, whatever its items would mean today.
    let data = order(&world.site, with(json!({"Size": "L", "gift": true})));
    assert_eq!(world.wix.call("increment", data.clone()).await.status, 200);
    let reset = vec![CATALOG.to_owned()];
    let site = update(&world, v1::UpdateSiteRequest { reset_option_keys: reset, ..Default::default() }).await;
    assert!(site.expect("reset").option_keys.is_empty());
    assert_eq!(world.wix.call("increment", data).await.status, 200);
    assert_eq!(count().await, 4);
}

async fn a_repeat_is_known_even_where_its_items_mean_nothing_today(world: World) {
    let long = json!({"Size": "M", "message": "x".repeat(2_100)});
    let items = json!([item_with("A", json!(long))]);
    let data = order(&world.site, items);
    let keys = vec![v1::OptionKeys { app_id: CATALOG.into(), keys: vec!["Size".into()] }];
    update(&world, v1::UpdateSiteRequest { option_keys: keys, ..Default::default() }).await.expect("set");
    assert_eq!(world.wix.call("increment", data.clone()).await.status, 200);

    // A server that has just started knows nothing of the site's settings until it has its lock.
    let stop = CancellationToken::new();
    let grpc = start_grpc(world.database.url.clone(), stop.clone()).await;
    let fresh = WixCaller::new(start_adapter(grpc, stop.clone()).await);
    assert_eq!(fresh.call("increment", data.clone()).await.status, 200, "the repeat");
    let mut new = data.clone();
    new["metadata"]["requestId"] = json!(Uuid::new_v4());
    assert_eq!(fresh.call("increment", new.clone()).await.status, 200, "a new one");
    stop.cancel();

    // Without the setting the options are too large; what was done is still known to have been done.
    let reset = vec![CATALOG.to_owned()];
    update(&world, v1::UpdateSiteRequest { reset_option_keys: reset, ..Default::default() }).await.expect("reset");
    assert_eq!(world.wix.call("increment", data).await.status, 200, "the repeat");
    new["metadata"]["requestId"] = json!(Uuid::new_v4());
    assert_eq!(world.wix.call("increment", new).await.status, 428, "a new one");
    assert_eq!(world.entries().await.len(), 2);
}
