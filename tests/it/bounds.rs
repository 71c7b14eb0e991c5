//! Every call answers a bad request with code, reason and field, and applies nothing of it.

use inventory_proto::v1;
use inventory_tests::errors::{error, error_of};
use inventory_tests::on_both;
use inventory_tests::requests::{adjust, decrement, guid, reference, set, set_item};
use inventory_tests::world::World;
use tonic::Code;

on_both!(
    every_call_requires_a_valid_site_id,
    an_unknown_site_is_empty_or_not_found,
    a_change_beyond_the_64_bit_range_is_refused,
);

async fn every_call_requires_a_valid_site_id(world: World) {
    let expected = error(Code::InvalidArgument, "INVALID_FIELD", "site_id");
    macro_rules! refused {
        ($($client:ident: $($method:ident $request:ident),+;)+) => { $($(
            for site_id in ["", "x", "00000000-0000-0000-0000-00000000000", "{0000000-0000-0000-0000-00000000000}"] {
                let request = v1::$request { site_id: site_id.into(), ..Default::default() };
                let refused = world.$client().$method(request).await.expect_err(stringify!($method));
                assert_eq!(error_of(&refused), expected, "{} {site_id:?}", stringify!($method));
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
        sites: update_site UpdateSiteRequest, list_setting_changes ListSettingChangesRequest;
    }
    let refused = world.sites().get_site(v1::GetSiteRequest { site_id: "x".into() }).await.expect_err("not a GUID");
    assert_eq!(error_of(&refused), expected);
}

async fn an_unknown_site_is_empty_or_not_found(world: World) {
    let get = v1::GetStockRequest { site_id: guid(), unit: reference("A"), ..Default::default() };
    let stock =
        world.stock().get_stock(get).await.expect("empty").into_inner().stock.expect("the answer holds the stock");
    assert_eq!((stock.available, stock.revision, stock.tracking()), (0, 0, v1::Tracking::Quantity));
    let list = v1::ListStockRequest { site_id: guid(), ..Default::default() };
    assert_eq!(world.stock().list_stock(list).await.expect("empty").into_inner(), v1::ListStockResponse::default());
    let list = v1::ListEntriesRequest { site_id: guid(), ..Default::default() };
    let entries = world.ledger().list_entries(list).await.expect("empty").into_inner();
    assert_eq!(entries, v1::ListEntriesResponse::default());
    let explain = v1::ExplainLevelRequest { site_id: guid(), unit: reference("A"), ..Default::default() };
    let explained = world.ledger().explain_level(explain).await.expect("empty").into_inner();
    let v1::ExplainLevelResponse { unit, .. } = explained.clone();
    assert_eq!(explained, v1::ExplainLevelResponse { unit, ..Default::default() }, "the unit alone is described");

    let unit = v1::GetUnitRequest { site_id: guid(), unit: reference("A") };
    let order = v1::GetOrderRequest { site_id: guid(), order_id: guid(), ..Default::default() };
    let verify = v1::VerifySiteRequest { site_id: guid(), ..Default::default() };
    let verified = world.ledger().verify_site(verify).await.expect("a stream").into_inner().message().await;
    let missing = [
        (world.stock().get_unit(unit).await.map(drop), "UNIT_NOT_FOUND"),
        (world.ledger().get_order(order).await.map(drop), "ORDER_NOT_FOUND"),
        (world.sites().get_site(v1::GetSiteRequest { site_id: guid() }).await.map(drop), "SITE_NOT_FOUND"),
        (verified.map(drop), "SITE_NOT_FOUND"),
    ];
    for (answer, reason) in missing {
        assert_eq!(error_of(&answer.expect_err(reason)), error(Code::NotFound, reason, ""));
    }
    let listed = world.sites().list_sites(v1::ListSitesRequest::default()).await.expect("listed").into_inner();
    assert_eq!(listed.sites, [], "a read creates no site");
}

async fn a_change_beyond_the_64_bit_range_is_refused(world: World) {
    world.set(&[("top", i64::MAX), ("bottom", i64::MIN), ("shop", 1)]).await;
    let out_of_range = |item: usize| error(Code::OutOfRange, "LEVEL_OUT_OF_RANGE", &format!("items[{item}]"));
    let rows: [(&[(&str, i64)], usize); 3] =
        [(&[("shop", 1), ("top", 1)], 1), (&[("bottom", -1), ("shop", 1)], 0), (&[("shop", i64::MAX)], 0)];
    for (deltas, item) in rows {
        let refused = world.stock().adjust_stock(adjust(&world.site, deltas)).await.expect_err("out of range");
        assert_eq!(error_of(&refused), out_of_range(item));
    }
    let item =
        v1::MoveStockItem { unit: reference("bottom"), to_location_id: guid(), quantity: 1, ..Default::default() };
    let request = v1::MoveStockRequest {
        site_id: world.site.clone(),
        items: vec![item],
        allow_negative: true,
        ..Default::default()
    };
    let refused = world.stock().move_stock(request).await.expect_err("out of range");
    assert_eq!(error_of(&refused), out_of_range(0));
    // The delta from the minimum to the counted maximum does not fit into 64 bits.
    let counted = v1::SetStockItem { as_of_sequence: 2, ..set_item("bottom", i64::MAX) };
    let refused = world.stock().set_stock(set(&world.site, vec![counted])).await.expect_err("out of range");
    assert_eq!(error_of(&refused), out_of_range(0));
    // The largest backorder limit does not let an order go below the minimum either.
    let limit = v1::UpdateUnitRequest { backorder_limit: Some(1_000_000_000_000), ..Default::default() };
    world.configure_unit("bottom", limit).await.expect("the backorder limit can be set");
    let request = decrement(&world.site, &[("bottom", 1)]);
    let refused = world.availability().decrement_availability(request).await.expect_err("a shortage");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(world.entries().await.len(), 3, "no refused request is applied");
}
