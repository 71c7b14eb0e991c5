//! What is wrong with a request is said by code, reason and field, whichever call it is; and nothing of it
//! is done.

use inventory_proto::v1;
use inventory_tests::on_both;
use inventory_tests::world::{World, reference, told};
use tonic::Code;
use uuid::Uuid;

on_both!(every_call_names_its_site, a_site_that_is_not_there_is_empty_or_not_found, the_64_bit_edge_is_never_crossed);

async fn every_call_names_its_site(world: World) {
    let named = (Code::InvalidArgument, "INVALID_FIELD".to_owned(), "site_id".to_owned());
    macro_rules! refused {
        ($($client:ident: $($method:ident $request:ident),+;)+) => { $($(
            for site_id in ["", "x", "00000000-0000-0000-0000-00000000000", "{0000000-0000-0000-0000-00000000000}"] {
                let request = v1::$request { site_id: site_id.into(), ..Default::default() };
                let refused = world.$client().$method(request).await.expect_err(stringify!($method));
                assert_eq!(told(&refused), named, "{} {site_id:?}", stringify!($method));
            }
        )+)+ };
    }
    refused! {
        availability: decrement_availability DecrementAvailabilityRequest,
            increment_availability IncrementAvailabilityRequest;
        stock: set_stock SetStockRequest, adjust_stock AdjustStockRequest, move_stock MoveStockRequest,
            update_unit UpdateUnitRequest, batch_update_units BatchUpdateUnitsRequest,
            list_units ListUnitsRequest, get_unit GetUnitRequest, get_stock GetStockRequest,
            batch_get_stock BatchGetStockRequest, list_stock ListStockRequest;
        ledger: list_entries ListEntriesRequest, get_order GetOrderRequest, explain_level ExplainLevelRequest,
            watch_entries WatchEntriesRequest, verify_site VerifySiteRequest;
        sites: update_site UpdateSiteRequest;
    }
    let refused = world.sites().get_site(v1::GetSiteRequest { site_id: "x".into() }).await.expect_err("no GUID");
    assert_eq!(told(&refused), named);
}

async fn a_site_that_is_not_there_is_empty_or_not_found(world: World) {
    let site_id = || Uuid::new_v4().to_string();
    let get = v1::GetStockRequest { site_id: site_id(), unit: reference("A"), ..Default::default() };
    let stock = world.stock().get_stock(get).await.expect("empty").into_inner().stock.expect("held");
    assert_eq!((stock.available, stock.revision, stock.tracking()), (0, 0, v1::Tracking::Quantity));
    let list = v1::ListStockRequest { site_id: site_id(), ..Default::default() };
    assert_eq!(world.stock().list_stock(list).await.expect("empty").into_inner(), v1::ListStockResponse::default());
    let list = v1::ListEntriesRequest { site_id: site_id(), ..Default::default() };
    let entries = world.ledger().list_entries(list).await.expect("empty").into_inner();
    assert_eq!(entries, v1::ListEntriesResponse::default());
    let explain = v1::ExplainLevelRequest { site_id: site_id(), unit: reference("A"), ..Default::default() };
    let explained = world.ledger().explain_level(explain).await.expect("empty").into_inner();
    assert_eq!(explained, v1::ExplainLevelResponse::default());

    let unit = v1::GetUnitRequest { site_id: site_id(), unit: reference("A") };
    let order = v1::GetOrderRequest { site_id: site_id(), order_id: site_id(), ..Default::default() };
    let verify = v1::VerifySiteRequest { site_id: site_id(), ..Default::default() };
    let verified = world.ledger().verify_site(verify).await.expect("a stream").into_inner().message().await;
    let missing = [
        (world.stock().get_unit(unit).await.map(drop), "UNIT_NOT_FOUND"),
        (world.ledger().get_order(order).await.map(drop), "ORDER_NOT_FOUND"),
        (world.sites().get_site(v1::GetSiteRequest { site_id: site_id() }).await.map(drop), "SITE_NOT_FOUND"),
        (verified.map(drop), "SITE_NOT_FOUND"),
    ];
    for (answer, reason) in missing {
        assert_eq!(told(&answer.expect_err(reason)), (Code::NotFound, reason.to_owned(), String::new()));
    }
    let asked = world.sites().list_sites(v1::ListSitesRequest::default()).await.expect("listed").into_inner();
    assert_eq!(asked.sites, [], "to ask makes no site");
}

async fn the_64_bit_edge_is_never_crossed(world: World) {
    let site_id = || world.site.clone();
    let named = |id: &str, delta| v1::AdjustStockItem { unit: reference(id), delta, ..Default::default() };
    let adjust = |items: Vec<v1::AdjustStockItem>| v1::AdjustStockRequest {
        site_id: site_id(),
        items,
        request_id: Uuid::new_v4().to_string(),
        ..Default::default()
    };
    world.set(&[("top", i64::MAX), ("bottom", i64::MIN), ("shop", 1)]).await;
    let over = |item: usize| (Code::OutOfRange, "LEVEL_OUT_OF_RANGE".to_owned(), format!("items[{item}]"));
    for (items, item) in [
        (vec![named("shop", 1), named("top", 1)], 1),
        (vec![named("bottom", -1), named("shop", 1)], 0),
        (vec![named("shop", i64::MAX)], 0),
    ] {
        let refused = world.stock().adjust_stock(adjust(items)).await.expect_err("over the edge");
        assert_eq!(told(&refused), over(item));
    }
    let relocate = v1::MoveStockItem {
        unit: reference("bottom"),
        to_location_id: Uuid::new_v4().to_string(),
        quantity: 1,
        ..Default::default()
    };
    let request =
        v1::MoveStockRequest { site_id: site_id(), items: vec![relocate], allow_negative: true, ..Default::default() };
    assert_eq!(told(&world.stock().move_stock(request).await.expect_err("over the edge")), over(0));
    // A count of as much as there can be, when some were sold since: there would be less than none of the rest.
    let counted =
        v1::SetStockItem { unit: reference("bottom"), available: i64::MAX, as_of_sequence: 2, ..Default::default() };
    let request = v1::SetStockRequest { site_id: site_id(), items: vec![counted], ..Default::default() };
    assert_eq!(told(&world.stock().set_stock(request).await.expect_err("over the edge")), over(0));
    // A backorder limit as far as it goes does not lead over it either.
    let limit = v1::UpdateUnitRequest {
        site_id: site_id(),
        unit: reference("bottom"),
        backorder_limit: Some(1_000_000_000_000),
        ..Default::default()
    };
    world.stock().update_unit(limit).await.expect("settled");
    let take = v1::DecrementAvailabilityRequest {
        site_id: site_id(),
        order_id: Uuid::new_v4().to_string(),
        items: vec![v1::Item { unit: reference("bottom"), quantity: 1, ..Default::default() }],
        ..Default::default()
    };
    assert_eq!(
        world.availability().decrement_availability(take).await.expect_err("short").code(),
        Code::FailedPrecondition
    );
    assert_eq!(world.entries().await.len(), 3, "nothing of it was done");
}
