//! SKUs name units wherever a call names one, writes included.

use inventory_proto::v1;
use inventory_tests::on_both;
use inventory_tests::world::{World, reference, sku, told};
use tonic::{Code, Status};
use uuid::Uuid;

on_both!(
    every_write_takes_a_sku,
    a_replay_by_sku_is_a_replay_after_the_sku_changed_hands,
    units_are_changed_together_or_not_at_all,
    units_are_listed_in_pages,
);

fn error(code: Code, reason: &str, field: &str) -> (Code, String, String) {
    (code, reason.to_owned(), field.to_owned())
}

fn change(id: &str, new_sku: &str) -> v1::UpdateUnitRequest {
    v1::UpdateUnitRequest { unit: reference(id), new_sku: Some(new_sku.into()), ..Default::default() }
}

async fn update(world: &World, requests: Vec<v1::UpdateUnitRequest>) -> Result<Vec<v1::Unit>, Status> {
    let request = v1::BatchUpdateUnitsRequest { site_id: world.site.clone(), requests };
    Ok(world.stock().batch_update_units(request).await?.into_inner().units)
}

async fn every_write_takes_a_sku(world: World) {
    update(&world, vec![change("A", "S-A"), change("B", "S-B")]).await.expect("free SKUs");
    let site_id = || world.site.clone();
    let shop = Uuid::new_v4().to_string();
    let set = v1::SetStockItem { unit: sku("S-A"), available: 10, ..Default::default() };
    let set = v1::SetStockRequest { site_id: site_id(), items: vec![set], ..Default::default() };
    world.stock().set_stock(set).await.expect("set");
    let adjust = v1::AdjustStockItem { unit: sku("S-B"), delta: 4, ..Default::default() };
    let adjust = v1::AdjustStockRequest { site_id: site_id(), items: vec![adjust], ..Default::default() };
    world.stock().adjust_stock(adjust).await.expect("adjusted");
    let relocate =
        v1::MoveStockItem { unit: sku("S-A"), to_location_id: shop.clone(), quantity: 3, ..Default::default() };
    let relocate = v1::MoveStockRequest { site_id: site_id(), items: vec![relocate], ..Default::default() };
    world.stock().move_stock(relocate).await.expect("moved");
    let item = |unit, quantity| v1::Item { unit, quantity, ..Default::default() };
    let order_id = Uuid::new_v4().to_string();
    // Both names mean the same level, so they are summed.
    let take = v1::DecrementAvailabilityRequest {
        site_id: site_id(),
        order_id: order_id.clone(),
        items: vec![item(sku("S-A"), 2), item(reference("A"), 1), item(sku("S-B"), 4)],
        ..Default::default()
    };
    let taken = world.availability().decrement_availability(take.clone()).await.expect("taken").into_inner();
    assert_eq!(taken.levels.iter().map(|level| level.available).collect::<Vec<_>>(), [4, 0]);
    let refused = world.availability().decrement_availability(take).await.expect_err("B is sold out");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let give = v1::IncrementAvailabilityRequest {
        site_id: site_id(),
        order_id,
        items: vec![item(sku("S-B"), 4)],
        ..Default::default()
    };
    world.availability().increment_availability(give).await.expect("given back");
    assert_eq!((world.level("A").await, world.level("B").await), (4, 4));

    let unknown = v1::AdjustStockItem { unit: sku("S-C"), delta: 1, ..Default::default() };
    let known = v1::AdjustStockItem { unit: sku("S-A"), delta: 1, ..Default::default() };
    let unknown = v1::AdjustStockRequest { site_id: site_id(), items: vec![known, unknown], ..Default::default() };
    let refused = world.stock().adjust_stock(unknown).await.expect_err("no unit");
    assert_eq!(told(&refused), error(Code::NotFound, "UNIT_NOT_FOUND", "items[1].sku"));
    assert_eq!(world.level("A").await, 4, "all or none");
    let by_sku = v1::UpdateUnitRequest {
        site_id: site_id(),
        unit: sku("S-A"),
        new_sku: Some("S-A2".into()),
        ..Default::default()
    };
    let unit = world.stock().update_unit(by_sku.clone()).await.expect("renamed").into_inner().unit.expect("held");
    assert_eq!((unit.catalog_reference, unit.sku.as_str()), (reference("A"), "S-A2"));
    let refused = world.stock().update_unit(by_sku).await.expect_err("no unit has it now");
    assert_eq!(told(&refused), error(Code::NotFound, "UNIT_NOT_FOUND", "sku"));
}

async fn a_replay_by_sku_is_a_replay_after_the_sku_changed_hands(world: World) {
    update(&world, vec![change("A", "S-1")]).await.expect("a free SKU");
    let adjust = |request_id: &str| v1::AdjustStockRequest {
        site_id: world.site.clone(),
        items: vec![v1::AdjustStockItem { unit: sku("S-1"), delta: 5, ..Default::default() }],
        request_id: request_id.into(),
        ..Default::default()
    };
    world.stock().adjust_stock(adjust("first")).await.expect("adjusted");
    // In one transaction, the first change frees the SKU for the second.
    update(&world, vec![change("A", ""), change("B", "S-1")]).await.expect("it changes hands");
    let replay = world.stock().adjust_stock(adjust("first")).await.expect("recorded").into_inner();
    assert!(replay.repeated_request);
    assert_eq!((world.level("A").await, world.level("B").await), (5, 0));
    world.stock().adjust_stock(adjust("second")).await.expect("adjusted");
    assert_eq!((world.level("A").await, world.level("B").await), (5, 5));
    // The record answers, even if nobody has the SKU any more.
    update(&world, vec![change("B", "")]).await.expect("freed");
    assert!(world.stock().adjust_stock(adjust("second")).await.expect("recorded").into_inner().repeated_request);
    let refused = world.stock().adjust_stock(adjust("third")).await.expect_err("nobody has it");
    assert_eq!(told(&refused), error(Code::NotFound, "UNIT_NOT_FOUND", "items[0].sku"));
}

async fn units_are_changed_together_or_not_at_all(world: World) {
    update(&world, vec![change("A", "S-A"), change("B", "S-B")]).await.expect("free SKUs");
    let refused = update(&world, vec![change("C", "S-C"), change("A", "S-B")]).await.expect_err("taken");
    assert_eq!(told(&refused), error(Code::AlreadyExists, "SKU_TAKEN", "requests[1].new_sku"));
    let get = v1::GetUnitRequest { site_id: world.site.clone(), unit: reference("C") };
    assert_eq!(world.stock().get_unit(get).await.expect_err("nothing was written").code(), Code::NotFound);
    // A and B exchange their SKUs by way of a third.
    let by = |name: &str, new_sku: &str| v1::UpdateUnitRequest {
        unit: sku(name),
        new_sku: Some(new_sku.into()),
        ..Default::default()
    };
    let units = update(&world, vec![by("S-A", "S-X"), by("S-B", "S-A"), by("S-X", "S-B")]).await.expect("exchanged");
    assert_eq!(units.iter().map(|unit| unit.sku.as_str()).collect::<Vec<_>>(), ["S-X", "S-A", "S-B"]);
    let get = v1::GetUnitRequest { site_id: world.site.clone(), unit: sku("S-B") };
    let unit = world.stock().get_unit(get).await.expect("known").into_inner().unit.expect("held");
    assert_eq!(unit.catalog_reference, reference("A"));

    let elsewhere = v1::UpdateUnitRequest { site_id: Uuid::new_v4().to_string(), ..change("D", "S-D") };
    let bad = v1::UpdateUnitRequest { name: Some("x".repeat(201)), ..change("D", "S-D") };
    for (request, field) in [(elsewhere, "requests[1].site_id"), (bad, "requests[1].name")] {
        let refused = update(&world, vec![change("E", "S-E"), request]).await.expect_err(field);
        assert_eq!(told(&refused), error(Code::InvalidArgument, "INVALID_FIELD", field));
    }
    for count in [0, 1_001] {
        let refused = update(&world, vec![change("D", "S-D"); count]).await.expect_err("out of bounds");
        assert_eq!(told(&refused), error(Code::InvalidArgument, "INVALID_FIELD", "requests"));
    }
}

async fn units_are_listed_in_pages(world: World) {
    let ids: Vec<String> = (0..7).map(|index| format!("unit-{index}")).collect();
    let changes = ids.iter().rev().map(|id| change(id, &format!("S-{id}"))).collect();
    update(&world, changes).await.expect("free SKUs");
    world.set(&[("unit-9", 1)]).await;
    for page_size in [1, 3, 8, 100] {
        let (mut listed, mut page_token) = (Vec::new(), String::new());
        loop {
            let site_id = world.site.clone();
            let request = v1::ListUnitsRequest { site_id, page_size, page_token, ..Default::default() };
            let page = world.stock().list_units(request).await.expect("a page").into_inner();
            assert!(page.units.len() <= page_size as usize);
            listed.extend(
                page.units.into_iter().map(|unit| (unit.catalog_reference.expect("named").catalog_item_id, unit.sku)),
            );
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let mut expected: Vec<(String, String)> = ids.iter().map(|id| (id.clone(), format!("S-{id}"))).collect();
        expected.push(("unit-9".into(), String::new()));
        assert_eq!(listed, expected, "by {page_size}");
    }
}
