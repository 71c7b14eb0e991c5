//! The books: explained levels, verifications and their repairs, lists of stock, and outcomes that are pruned.

use std::time::Duration;

use inventory_proto::v1;
use inventory_tests::books;
use inventory_tests::errors::reason_of;
use inventory_tests::on_both;
use inventory_tests::requests::{all_pages, decrement, guid, reference, set, set_item};
use inventory_tests::wix_caller::{CATALOG, item, order, order_id};
use inventory_tests::world::{World, start_grpc_with_retention};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tonic::Code;

on_both!(
    a_level_is_explained_now_and_in_the_past,
    a_verification_under_load_finds_no_difference,
    a_falsified_level_is_found_and_repaired_by_ledger_entries,
    stock_is_listed_by_each_filter,
    a_read_waits_for_the_sequence_number_it_names,
    old_outcomes_are_pruned_and_the_ledger_is_kept,
);

async fn explain(world: &World, request: v1::ExplainLevelRequest) -> v1::ExplainLevelResponse {
    let request = v1::ExplainLevelRequest { site_id: world.site.clone(), ..request };
    world.ledger().explain_level(request).await.expect("the level can be explained").into_inner()
}

async fn a_level_is_explained_now_and_in_the_past(world: World) {
    world.set(&[("A", 10)]).await;
    let (first, second) =
        (order(&world.site, json!([item("A", 4)])), order(&world.site, json!([item("A", 3), item("B", 1)])));
    world.set(&[("B", 5)]).await;
    for data in [&first, &second] {
        assert_eq!(world.wix.call("decrement", data.clone()).await.status, 200);
    }
    let mut back = order(&world.site, json!([item("A", 4)]));
    back["request"]["orderId"] = json!(order_id(&first));
    assert_eq!(world.wix.call("increment", back).await.status, 200);
    let of = |id: &str| v1::ExplainLevelRequest { unit: reference(id), ..Default::default() };
    let now = explain(&world, of("A")).await;
    assert_eq!((now.available, now.sequence, now.available_before, now.explained_entries), (7, 6, 0, 4));
    let sums: Vec<_> = now.sums.iter().map(|sum| (sum.kind(), sum.entries, sum.delta)).collect();
    assert_eq!(sums, [(v1::Kind::Set, 1, 10), (v1::Kind::Decrement, 2, -7), (v1::Kind::Increment, 1, 4)]);
    assert_eq!(now.available_before + now.sums.iter().map(|sum| sum.delta).sum::<i64>(), now.available);
    let holding: Vec<_> = now.orders.iter().map(|order| (order.order_id.clone(), order.net)).collect();
    assert_eq!(holding, [(order_id(&second).to_owned(), 3)]);
    assert_eq!(now.entries.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [6, 4, 3, 1]);
    let then = explain(&world, v1::ExplainLevelRequest { at_sequence: 3, ..of("A") }).await;
    assert_eq!((then.available, then.sequence, then.order_count), (6, 3, 1));
    let before = Some(prost_types::Timestamp::default());
    let never = explain(&world, v1::ExplainLevelRequest { at_time: before, ..of("A") }).await;
    assert_eq!((never.available, never.sequence, never.entries.len()), (0, 0, 0));
    let today = v1::ExplainLevelRequest { at_time: now.entries[0].record_time, ..of("A") };
    assert_eq!(explain(&world, today).await.available, 7);
    assert_eq!(explain(&world, of("nothing")).await.explained_entries, 0);
}

async fn a_verification_under_load_finds_no_difference(world: World) {
    let unknown = v1::VerifySiteRequest { site_id: guid(), repair: false };
    let mut stream = world.ledger().verify_site(unknown).await.expect("the verification starts").into_inner();
    assert_eq!(stream.message().await.expect_err("no such site").code(), Code::NotFound);
    world.set(&[("A", 1_000), ("B", 1_000)]).await;
    let orders = async {
        for number in 0..150 {
            let id = format!("item-{}", number % 40);
            let data = order(&world.site, json!([item("A", 1), item("B", 2), item(&id, 1)]));
            assert_eq!(world.wix.call("increment", data).await.status, 200);
        }
    };
    let checks = async {
        for _ in 0..10 {
            let result = world.verify(false).await;
            assert_eq!((result.difference_count, result.differences.len()), (0, 0), "{result:?}");
        }
    };
    tokio::join!(orders, checks);
    let result = world.verify(false).await;
    assert_eq!((result.entries, result.levels, result.difference_count), (452, 42, 0));
}

async fn a_falsified_level_is_found_and_repaired_by_ledger_entries(world: World) {
    world.set(&[("A", 5), ("B", 7)]).await;
    let altered = books::execute(&world.database.url, "UPDATE level SET available = 9 WHERE available = 5");
    assert_eq!(altered, Ok(1));
    for repair in [false, true] {
        let result = world.verify(repair).await;
        assert_eq!(result.difference_count, 1);
        let found = &result.differences[0];
        let item_id = found.catalog_reference.as_ref().map(|reference| reference.catalog_item_id.as_str());
        assert_eq!((item_id, found.available, found.recomputed, found.repaired), (Some("A"), 9, 5, repair));
    }
    assert_eq!((world.verify(true).await.difference_count, world.level("A").await), (0, 5));
    let entries = world.entries().await;
    let repairs: Vec<_> = entries[2..].iter().map(|e| (e.kind(), e.delta, e.level_after, e.change_sequence)).collect();
    assert_eq!(repairs, [(v1::Kind::Repair, 4, 9, 3), (v1::Kind::Repair, -4, 5, 3)]);
    world.set(&[("A", 6)]).await;
    assert_eq!(world.verify(false).await.difference_count, 0);
}

async fn stock_is_listed_by_each_filter(world: World) {
    let shop = guid();
    let at = |id: &str, location_id: &str, available| v1::SetStockItem {
        location_id: location_id.into(),
        ..set_item(id, available)
    };
    let mut items = vec![at("A", "", 5), at("A", &shop, -1), at("B", "", 2), at("C", &shop, 9)];
    let other = v1::CatalogReference { app_id: "other".into(), catalog_item_id: "A".into(), ..Default::default() };
    items.push(v1::SetStockItem { unit: Some(other.into()), available: 1, ..Default::default() });
    world.stock().set_stock(set(&world.site, items)).await.expect("the levels can be set");
    world.set(&[("B", 3)]).await;
    let base = || v1::ListStockRequest { site_id: world.site.clone(), page_size: 1, ..Default::default() };
    let rows: [(&str, v1::ListStockRequest, &[i64]); 9] = [
        ("none", base(), &[5, -1, 3, 9, 1]),
        ("unit", v1::ListStockRequest { unit: reference("A"), ..base() }, &[5, -1]),
        ("app", v1::ListStockRequest { app_id: "other".into(), ..base() }, &[1]),
        ("another app", v1::ListStockRequest { app_id: CATALOG.into(), ..base() }, &[5, -1, 3, 9]),
        ("location", v1::ListStockRequest { location_id: shop.clone(), ..base() }, &[-1, 9]),
        ("below", v1::ListStockRequest { below: Some(3), ..base() }, &[-1, 1]),
        ("negative", v1::ListStockRequest { below: Some(0), ..base() }, &[-1]),
        ("changed after an entry", v1::ListStockRequest { changed_after_sequence: 5, ..base() }, &[3]),
        ("unit and below", v1::ListStockRequest { unit: reference("A"), below: Some(0), ..base() }, &[-1]),
    ];
    for (filter, request, expected) in rows {
        let page = async |page_token| {
            let request = v1::ListStockRequest { page_token, ..request.clone() };
            let page = world.stock().list_stock(request).await.expect(filter).into_inner();
            (page.stock, page.next_page_token)
        };
        let levels: Vec<i64> = all_pages(page).await.iter().map(|stock| stock.available).collect();
        assert_eq!(levels, expected, "filter: {filter}");
    }
}

async fn a_read_waits_for_the_sequence_number_it_names(world: World) {
    world.set(&[("A", 5)]).await;
    let read = |at_least_sequence| {
        let site_id = world.site.clone();
        let request = v1::GetStockRequest { site_id, unit: reference("A"), at_least_sequence, ..Default::default() };
        let mut client = world.stock();
        async move { client.get_stock(request).await }
    };
    assert!(read(1).await.is_ok());
    let (waited, ()) = tokio::join!(read(2), world.set(&[("A", 6)]));
    assert_eq!(waited.expect("the entry is written in time").into_inner().stock.map(|stock| stock.available), Some(6));
    let status = read(3).await.expect_err("the entry is never written");
    assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, "SEQUENCE_NOT_REACHED".into()));
}

async fn old_outcomes_are_pruned_and_the_ledger_is_kept(world: World) {
    world.set(&[("A", 5_000)]).await;
    let first = decrement(&world.site, &[("A", 1)]);
    let mut client = world.availability();
    client.decrement_availability(first.clone()).await.expect("applied");
    // More requests than one step of pruning removes.
    for _ in 1..700 {
        client.decrement_availability(decrement(&world.site, &[("A", 1)])).await.expect("applied");
    }
    assert!(
        client.decrement_availability(first.clone()).await.expect("a recorded outcome").into_inner().repeated_request
    );
    let stop = CancellationToken::new();
    start_grpc_with_retention(world.database.url.clone(), Duration::ZERO, stop.clone()).await;
    let left = || books::count(&world.database.url, "SELECT count(*) AS wrong FROM request");
    let pruned = async {
        while left() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), pruned).await.expect("all outcomes are pruned in time");
    stop.cancel();
    assert_eq!(world.entries().await.len(), 701);
    assert!(!client.decrement_availability(first).await.expect("a new request").into_inner().repeated_request);
    assert_eq!(world.verify(false).await.difference_count, 0);
    // The check of the books would miss the pruned outcomes, so the database is not dropped.
    let World { database, .. } = world;
    std::mem::forget(database);
}
