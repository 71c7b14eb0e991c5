//! Errors as any client can read them: every bad field, messages that cannot be decoded, refusals that fit the
//! metadata of any client, and sequence numbers that are not reached.

use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::{DETAIL_BYTES_DEFAULT, MAX_DETAIL_BYTES_METADATA, v1};
use inventory_tests::on_both;
use inventory_tests::wix_caller::{item, order};
use inventory_tests::world::{World, reference, told};
use prost::Message;
use serde_json::{Value, json};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

on_both!(
    every_bad_field_is_listed,
    an_undecodable_message_is_the_callers_mistake,
    a_refusal_fits_any_client,
    wix_gets_every_shortage,
    changed_levels_fit_any_client,
    a_level_is_explained_only_as_far_as_the_ledger_goes,
);

fn fields(status: &Status) -> Vec<(String, String)> {
    let violations = status.get_details_bad_request().expect("a BadRequest").field_violations;
    violations.into_iter().map(|violation| (violation.field, violation.description)).collect()
}

async fn every_bad_field_is_listed(world: World) {
    let item = |quantity| v1::Item { unit: reference("A"), quantity, ..Default::default() };
    let nameless = v1::Item { unit: Some(v1::CatalogReference::default().into()), quantity: 1, ..Default::default() };
    let request = v1::DecrementAvailabilityRequest {
        order_id: "x".into(),
        items: vec![item(0), nameless, v1::Item { quantity: 1, ..Default::default() }],
        request_id: "y".repeat(129),
        ..Default::default()
    };
    let refused = world.availability().decrement_availability(request).await.expect_err("bad fields");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let mut listed = fields(&refused);
    listed.sort();
    let expected = [
        ("items[0].quantity", "must be 1 to 100000"),
        ("items[1].catalog_reference.app_id", "is required"),
        ("items[1].catalog_reference.catalog_item_id", "is required"),
        ("items[2].catalog_reference", "is required"),
        ("order_id", "must be a GUID"),
        ("request_id", "must have at most 128 characters, none of them NUL"),
        ("site_id", "is required"),
    ];
    assert_eq!(listed, expected.map(|(field, text)| (field.to_owned(), text.to_owned())));

    let many = vec![item(0); 300];
    let request = v1::DecrementAvailabilityRequest {
        site_id: world.site.clone(),
        order_id: Uuid::new_v4().to_string(),
        items: many,
        ..Default::default()
    };
    let refused = world.availability().decrement_availability(request).await.expect_err("300 bad fields");
    assert_eq!(fields(&refused).len(), 20);
    let empty = v1::SetStockRequest { site_id: world.site.clone(), ..Default::default() };
    let refused = world.stock().set_stock(empty).await.expect_err("no items");
    assert!(fields(&refused)[0].1.contains("required"), "{refused:?}");
}

/// A message of bytes, to be sent as a decrement. Field 1 of a decrement is its `site_id`.
#[derive(Clone, PartialEq, prost::Message)]
struct Bytes {
    #[prost(bytes = "vec", tag = "1")]
    site_id: Vec<u8>,
}

/// The same with another wire type.
#[derive(Clone, PartialEq, prost::Message)]
struct Number {
    #[prost(uint64, tag = "1")]
    site_id: u64,
}

async fn send_raw<T: Message + Default + 'static>(world: &World, message: T) -> Status {
    let mut client = tonic::client::Grpc::new(world.channel());
    client.ready().await.expect("connected");
    let path = "/inventory.v1.AvailabilityService/DecrementAvailability".parse().expect("a path");
    let codec = tonic_prost::ProstCodec::<T, v1::DecrementAvailabilityResponse>::default();
    client.unary(Request::new(message), path, codec).await.expect_err("it cannot be decoded")
}

async fn an_undecodable_message_is_the_callers_mistake(world: World) {
    let mut deep = prost_types::Value { kind: Some(prost_types::value::Kind::BoolValue(true)) };
    for _ in 0..200 {
        let fields = [("deeper".to_owned(), deep)].into();
        deep = prost_types::Value { kind: Some(prost_types::value::Kind::StructValue(prost_types::Struct { fields })) };
    }
    let options = prost_types::Struct { fields: [("deep".to_owned(), deep)].into() };
    let reference = v1::CatalogReference { options: Some(options), ..reference("A").expect("named") };
    let deep = v1::DecrementAvailabilityRequest {
        items: vec![v1::Item { unit: Some(reference.into()), quantity: 1, ..Default::default() }],
        ..Default::default()
    };
    let refusals = [
        send_raw(&world, Bytes { site_id: vec![0xff, 0xfe] }).await,
        send_raw(&world, Number { site_id: 7 }).await,
        world.availability().decrement_availability(deep).await.expect_err("it is nested too deep"),
    ];
    for refused in refusals {
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        let info = refused.get_details_error_info().expect("an ErrorInfo");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("UNDECODABLE", "inventory.v1"));
    }
}

/// A decrement of 300 units that were never stocked, each with options of its own.
fn three_hundred(world: &World) -> v1::DecrementAvailabilityRequest {
    let item = |index: usize| {
        let size = prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(format!("{index:0>300}"))) };
        let options = Some(prost_types::Struct { fields: [("size".to_owned(), size)].into() });
        let reference = v1::CatalogReference { options, ..reference("A").expect("named") };
        v1::Item { unit: Some(reference.into()), quantity: 1, ..Default::default() }
    };
    v1::DecrementAvailabilityRequest {
        site_id: world.site.clone(),
        order_id: Uuid::new_v4().to_string(),
        items: (0..300).map(item).collect(),
        ..Default::default()
    }
}

fn insufficient_stock(status: &Status) -> v1::InsufficientStock {
    let rich = tonic_types::Status::decode(status.details()).expect("rich details");
    let detail = rich.details.into_iter().find(|any| any.type_url.ends_with("/inventory.v1.InsufficientStock"));
    v1::InsufficientStock::decode(detail.expect("an InsufficientStock").value.as_slice()).expect("decodable")
}

async fn a_refusal_fits_any_client(world: World) {
    let refused = world.availability().decrement_availability(three_hundred(&world)).await.expect_err("short");
    assert_eq!(told(&refused), (Code::FailedPrecondition, "INSUFFICIENT_STOCK".into(), String::new()));
    assert!(refused.details().len() <= DETAIL_BYTES_DEFAULT, "{} bytes", refused.details().len());
    let short = insufficient_stock(&refused);
    assert_eq!(short.shortage_count, 300);
    assert!((1..300).contains(&short.shortages.len()), "{} listed", short.shortages.len());

    // A caller that can read more says so.
    let mut request = Request::new(three_hundred(&world));
    request.metadata_mut().insert(MAX_DETAIL_BYTES_METADATA, MetadataValue::from_static("1000000"));
    let channel = world.endpoint().http2_max_header_list_size(2_000_000).connect_lazy();
    let mut client = AvailabilityServiceClient::new(channel);
    let refused = client.decrement_availability(request).await.expect_err("short");
    assert_eq!(insufficient_stock(&refused).shortages.len(), 300);
    let mut request = Request::new(three_hundred(&world));
    request.metadata_mut().insert(MAX_DETAIL_BYTES_METADATA, MetadataValue::from_static("many"));
    let refused = world.availability().decrement_availability(request).await.expect_err("not a number");
    assert_eq!(told(&refused), (Code::InvalidArgument, "INVALID_FIELD".into(), MAX_DETAIL_BYTES_METADATA.into()));
}

async fn wix_gets_every_shortage(world: World) {
    let items: Vec<Value> = (0..300).map(|index| item(&format!("item-{index}"), 1)).collect();
    let refused = world.wix.call("decrement", order(&world.site, json!(items))).await;
    assert_eq!(refused.status, 428);
    let listed = refused.body["applicationError"]["data"]["shortages"].as_array().map(Vec::len);
    assert_eq!(listed, Some(300));
}

async fn changed_levels_fit_any_client(world: World) {
    let item = |index: usize| v1::SetStockItem {
        unit: reference(&format!("item-{index}")),
        available: 1,
        expected_available: Some(5),
        ..Default::default()
    };
    let items = (0..1_000).map(item).collect();
    let request = v1::SetStockRequest { site_id: world.site.clone(), items, ..Default::default() };
    let refused = world.stock().set_stock(request).await.expect_err("all are 0");
    assert_eq!(told(&refused), (Code::Aborted, "STOCK_CHANGED".into(), String::new()));
    assert!(refused.details().len() <= DETAIL_BYTES_DEFAULT, "{} bytes", refused.details().len());
    let rich = tonic_types::Status::decode(refused.details()).expect("rich details");
    let detail = rich.details.into_iter().find(|any| any.type_url.ends_with("/inventory.v1.StockChanged"));
    let changed = v1::StockChanged::decode(detail.expect("a StockChanged").value.as_slice()).expect("decodable");
    assert_eq!(changed.level_count, 1_000);
    assert!(!changed.levels.is_empty());
}

async fn a_level_is_explained_only_as_far_as_the_ledger_goes(world: World) {
    world.set(&[("A", 5), ("B", 7)]).await;
    let explain = |at_sequence| v1::ExplainLevelRequest {
        site_id: world.site.clone(),
        unit: reference("A"),
        at_sequence,
        ..Default::default()
    };
    let explained = world.ledger().explain_level(explain(2)).await.expect("reached").into_inner();
    assert_eq!((explained.available, explained.sequence), (5, 1));
    let refused = world.ledger().explain_level(explain(3)).await.expect_err("not reached");
    assert_eq!(told(&refused), (Code::InvalidArgument, "INVALID_FIELD".into(), "at_sequence".into()));
}
