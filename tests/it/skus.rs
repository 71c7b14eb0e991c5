//! Every call that names a unit accepts its SKU, writes included.

use inventory_proto::v1;
use inventory_tests::errors::{error, error_of};
use inventory_tests::on_both;
use inventory_tests::requests::{adjust, all_pages, decrement, guid, increment, reference, set, sku};
use inventory_tests::world::World;
use tonic::{Code, Status};

on_both!(
    every_write_accepts_a_sku,
    a_replay_by_sku_is_recognized_after_the_sku_moved_to_another_unit,
    a_batch_changes_all_units_or_none,
    units_are_listed_in_pages,
);

fn change(id: &str, new_sku: &str) -> v1::UpdateUnitRequest {
    v1::UpdateUnitRequest { unit: reference(id), new_sku: Some(new_sku.into()), ..Default::default() }
}

async fn update(world: &World, requests: Vec<v1::UpdateUnitRequest>) -> Result<Vec<v1::Unit>, Status> {
    let request = v1::BatchUpdateUnitsRequest { site_id: world.site.clone(), requests };
    Ok(world.stock().batch_update_units(request).await?.into_inner().units)
}

async fn every_write_accepts_a_sku(world: World) {
    update(&world, vec![change("A", "S-A"), change("B", "S-B")]).await.expect("the SKUs are free");
    let shop = guid();
    let item = v1::SetStockItem { unit: sku("S-A"), available: 10, ..Default::default() };
    world.stock().set_stock(set(&world.site, vec![item])).await.expect("the level can be set");
    let item = v1::AdjustStockItem { unit: sku("S-B"), delta: 4, ..Default::default() };
    let request = v1::AdjustStockRequest { items: vec![item], ..adjust(&world.site, &[]) };
    world.stock().adjust_stock(request).await.expect("the level can be adjusted");
    let item = v1::MoveStockItem { unit: sku("S-A"), to_location_id: shop, quantity: 3, ..Default::default() };
    let request = v1::MoveStockRequest { site_id: world.site.clone(), items: vec![item], ..Default::default() };
    world.stock().move_stock(request).await.expect("the stock can be moved");
    let item = |unit, quantity| v1::Item { unit, quantity, ..Default::default() };
    // S-A and A are the same unit, so their quantities are summed. Without a key, the same request again is a new one.
    let take = v1::DecrementAvailabilityRequest {
        items: vec![item(sku("S-A"), 2), item(reference("A"), 1), item(sku("S-B"), 4)],
        request_id: String::new(),
        ..decrement(&world.site, &[])
    };
    let order_id = take.order_id.clone();
    let taken =
        world.availability().decrement_availability(take.clone()).await.expect("both are available").into_inner();
    assert_eq!(taken.levels.iter().map(|level| level.available).collect::<Vec<_>>(), [4, 0]);
    let refused = world.availability().decrement_availability(take).await.expect_err("B is sold out");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let give =
        v1::IncrementAvailabilityRequest { items: vec![item(sku("S-B"), 4)], ..increment(&world.site, &order_id, &[]) };
    world.availability().increment_availability(give).await.expect("a return is not refused");
    assert_eq!((world.level("A").await, world.level("B").await), (4, 4));

    let unknown = v1::AdjustStockItem { unit: sku("S-C"), delta: 1, ..Default::default() };
    let known = v1::AdjustStockItem { unit: sku("S-A"), delta: 1, ..Default::default() };
    let request = v1::AdjustStockRequest { items: vec![known, unknown], ..adjust(&world.site, &[]) };
    let refused = world.stock().adjust_stock(request).await.expect_err("no unit has the SKU S-C");
    assert_eq!(error_of(&refused), error(Code::NotFound, "UNIT_NOT_FOUND", "items[1].sku"));
    assert_eq!(world.level("A").await, 4, "no item of a refused request is applied");
    let by_sku = v1::UpdateUnitRequest {
        site_id: world.site.clone(),
        unit: sku("S-A"),
        new_sku: Some("S-A2".into()),
        ..Default::default()
    };
    let unit =
        world.stock().update_unit(by_sku.clone()).await.expect("the SKU is free").into_inner().unit.expect("a unit");
    assert_eq!((unit.catalog_reference, unit.sku.as_str()), (reference("A"), "S-A2"));
    let refused = world.stock().update_unit(by_sku).await.expect_err("no unit has the SKU S-A now");
    assert_eq!(error_of(&refused), error(Code::NotFound, "UNIT_NOT_FOUND", "sku"));
}

async fn a_replay_by_sku_is_recognized_after_the_sku_moved_to_another_unit(world: World) {
    update(&world, vec![change("A", "S-1")]).await.expect("the SKU is free");
    let add_five = |request_id: &str| v1::AdjustStockRequest {
        items: vec![v1::AdjustStockItem { unit: sku("S-1"), delta: 5, ..Default::default() }],
        request_id: request_id.into(),
        ..adjust(&world.site, &[])
    };
    world.stock().adjust_stock(add_five("first")).await.expect("applied");
    // One transaction: the first change frees the SKU for the second one.
    update(&world, vec![change("A", ""), change("B", "S-1")]).await.expect("the SKU is free by then");
    let replay = world.stock().adjust_stock(add_five("first")).await.expect("a recorded outcome").into_inner();
    assert!(replay.repeated_request);
    assert_eq!((world.level("A").await, world.level("B").await), (5, 0));
    world.stock().adjust_stock(add_five("second")).await.expect("applied");
    assert_eq!((world.level("A").await, world.level("B").await), (5, 5));
    // The replay is answered from its record, although no unit has the SKU any more.
    update(&world, vec![change("B", "")]).await.expect("the SKU can be removed");
    let replay = world.stock().adjust_stock(add_five("second")).await.expect("a recorded outcome").into_inner();
    assert!(replay.repeated_request);
    let refused = world.stock().adjust_stock(add_five("third")).await.expect_err("no unit has the SKU S-1");
    assert_eq!(error_of(&refused), error(Code::NotFound, "UNIT_NOT_FOUND", "items[0].sku"));
}

async fn a_batch_changes_all_units_or_none(world: World) {
    update(&world, vec![change("A", "S-A"), change("B", "S-B")]).await.expect("the SKUs are free");
    let refused = update(&world, vec![change("C", "S-C"), change("A", "S-B")]).await.expect_err("B has the SKU S-B");
    assert_eq!(error_of(&refused), error(Code::AlreadyExists, "SKU_TAKEN", "requests[1].new_sku"));
    let get = v1::GetUnitRequest { site_id: world.site.clone(), unit: reference("C") };
    assert_eq!(world.stock().get_unit(get).await.expect_err("C was not created").code(), Code::NotFound);
    // A and B exchange their SKUs by way of a third SKU.
    let by = |name: &str, new_sku: &str| v1::UpdateUnitRequest {
        unit: sku(name),
        new_sku: Some(new_sku.into()),
        ..Default::default()
    };
    let units = update(&world, vec![by("S-A", "S-X"), by("S-B", "S-A"), by("S-X", "S-B")])
        .await
        .expect("each SKU is free by then");
    assert_eq!(units.iter().map(|unit| unit.sku.as_str()).collect::<Vec<_>>(), ["S-X", "S-A", "S-B"]);
    let get = v1::GetUnitRequest { site_id: world.site.clone(), unit: sku("S-B") };
    let unit = world.stock().get_unit(get).await.expect("A has the SKU S-B").into_inner().unit.expect("a unit");
    assert_eq!(unit.catalog_reference, reference("A"));

    let elsewhere = v1::UpdateUnitRequest { site_id: guid(), ..change("D", "S-D") };
    let bad = v1::UpdateUnitRequest { name: Some("x".repeat(201)), ..change("D", "S-D") };
    for (request, field) in [(elsewhere, "requests[1].site_id"), (bad, "requests[1].name")] {
        let refused = update(&world, vec![change("E", "S-E"), request]).await.expect_err(field);
        assert_eq!(error_of(&refused), error(Code::InvalidArgument, "INVALID_FIELD", field));
    }
    for count in [0, 1_001] {
        let refused =
            update(&world, vec![change("D", "S-D"); count]).await.expect_err("a batch has 1 to 1,000 changes");
        assert_eq!(error_of(&refused), error(Code::InvalidArgument, "INVALID_FIELD", "requests"));
    }
}

async fn units_are_listed_in_pages(world: World) {
    let ids: Vec<String> = (0..7).map(|index| format!("unit-{index}")).collect();
    let changes = ids.iter().rev().map(|id| change(id, &format!("S-{id}"))).collect();
    update(&world, changes).await.expect("the SKUs are free");
    world.set(&[("unit-9", 1)]).await;
    for page_size in [1, 3, 8, 100] {
        let page = async |page_token| {
            let site_id = world.site.clone();
            let request = v1::ListUnitsRequest { site_id, page_size, page_token, ..Default::default() };
            let page = world.stock().list_units(request).await.expect("units can be listed").into_inner();
            assert!(page.units.len() <= page_size as usize);
            (page.units, page.next_page_token)
        };
        let key = |unit: v1::Unit| (unit.catalog_reference.expect("a reference").catalog_item_id, unit.sku);
        let listed: Vec<(String, String)> = all_pages(page).await.into_iter().map(key).collect();
        let mut expected: Vec<(String, String)> = ids.iter().map(|id| (id.clone(), format!("S-{id}"))).collect();
        expected.push(("unit-9".into(), String::new()));
        assert_eq!(listed, expected, "pages of {page_size}");
    }
}
