//! A read answers from one snapshot although settings and stock change at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use inventory_proto::v1;
use inventory_tests::on_both;
use inventory_tests::requests::{guid, reference, sku};
use inventory_tests::world::World;

on_both!(a_read_by_sku_sees_units_and_skus_of_the_same_moment, a_read_sees_all_locations_at_the_same_moment);

const READS: usize = 300;

/// Two units exchange their SKUs over and over. A read by SKU finds the unit first and its settings after that. Without
/// a snapshot it would return a unit whose SKU differs from the requested one.
async fn a_read_by_sku_sees_units_and_skus_of_the_same_moment(world: World) {
    world.set(&[("A", 1), ("B", 2)]).await;
    let named =
        |unit, new_sku: &str| v1::UpdateUnitRequest { unit, new_sku: Some(new_sku.into()), ..Default::default() };
    let update = |requests| v1::BatchUpdateUnitsRequest { site_id: world.site.clone(), requests };
    let first = update(vec![named(reference("A"), "S-1"), named(reference("B"), "S-2")]);
    world.stock().batch_update_units(first).await.expect("the SKUs are free");
    let exchange = update(vec![named(sku("S-1"), "S-3"), named(sku("S-2"), "S-1"), named(sku("S-3"), "S-2")]);
    let is_done = Arc::new(AtomicBool::new(false));
    let exchanging = tokio::spawn({
        let (mut stock, is_done) = (world.stock(), Arc::clone(&is_done));
        async move {
            while !is_done.load(Ordering::Relaxed) {
                stock.batch_update_units(exchange.clone()).await.expect("each SKU is free by then");
            }
        }
    });
    let item = |name| v1::BatchGetStockItem { unit: sku(name), ..Default::default() };
    let items = vec![item("S-1"), item("S-2")];
    let request = v1::BatchGetStockRequest { site_id: world.site.clone(), items, ..Default::default() };
    for _ in 0..READS {
        let stock =
            world.stock().batch_get_stock(request.clone()).await.expect("a unit has each SKU").into_inner().stock;
        let skus: Vec<&str> = stock.iter().map(|stock| stock.sku.as_str()).collect();
        assert_eq!(skus, ["S-1", "S-2"]);
        assert_eq!(stock.iter().map(|stock| stock.available).sum::<i64>(), 3);
    }
    is_done.store(true, Ordering::Relaxed);
    exchanging.await.expect("no panic");
}

/// Pieces move between two locations over and over. Their sum is the same in every read.
async fn a_read_sees_all_locations_at_the_same_moment(world: World) {
    let shop = guid();
    world.set(&[("A", 10)]).await;
    let relocate = |from: &str, to: &str| v1::MoveStockRequest {
        site_id: world.site.clone(),
        items: vec![v1::MoveStockItem {
            unit: reference("A"),
            from_location_id: from.into(),
            to_location_id: to.into(),
            quantity: 10,
        }],
        ..Default::default()
    };
    let (there, back) = (relocate("", &shop), relocate(&shop, ""));
    let is_done = Arc::new(AtomicBool::new(false));
    let moving = tokio::spawn({
        let (mut stock, is_done) = (world.stock(), Arc::clone(&is_done));
        async move {
            while !is_done.load(Ordering::Relaxed) {
                for request in [&there, &back] {
                    stock.move_stock(request.clone()).await.expect("moved");
                }
            }
        }
    });
    let item = |location_id: &str| v1::BatchGetStockItem { unit: reference("A"), location_id: location_id.into() };
    let items = vec![item(""), item(&shop)];
    let request = v1::BatchGetStockRequest { site_id: world.site.clone(), items, ..Default::default() };
    for _ in 0..READS {
        let stock = world.stock().batch_get_stock(request.clone()).await.expect("stock can be read").into_inner().stock;
        assert_eq!(stock.iter().map(|stock| stock.available).sum::<i64>(), 10);
    }
    is_done.store(true, Ordering::Relaxed);
    moving.await.expect("no panic");
}
