//! Errors that any client can read: every bad field, messages that cannot be decoded, refusals that fit the metadata of
//! any client, and sequence numbers that the site has not reached.

use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::{DETAIL_BYTES_DEFAULT, MAX_DETAIL_BYTES_METADATA, v1};
use inventory_tests::errors::{error, error_of, insufficient_stock, stock_changed};
use inventory_tests::on_both;
use inventory_tests::requests::{decrement, reference, set, set_item};
use inventory_tests::wix_caller::{item, order};
use inventory_tests::world::World;
use prost::Message;
use serde_json::{Value, json};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

on_both!(
    every_bad_field_is_listed,
    an_undecodable_message_is_an_invalid_argument,
    a_refusal_fits_any_client,
    wix_gets_every_shortage,
    changed_levels_fit_any_client,
    a_level_is_explained_only_at_a_reached_sequence_number,
);

/// All bad fields of an error, each with its description.
fn fields(status: &Status) -> Vec<(String, String)> {
    let violations = status.get_details_bad_request().expect("the error carries a BadRequest").field_violations;
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
    let request = v1::DecrementAvailabilityRequest { items: many, ..decrement(&world.site, &[]) };
    let refused = world.availability().decrement_availability(request).await.expect_err("300 bad fields");
    assert_eq!(fields(&refused).len(), 20);
    let refused = world.stock().set_stock(set(&world.site, Vec::new())).await.expect_err("no items");
    assert!(fields(&refused)[0].1.contains("required"), "{refused:?}");
}

/// A message that is sent as a decrement, with any bytes as the text of field 1, the `site_id`.
#[derive(Clone, PartialEq, prost::Message)]
struct Bytes {
    #[prost(bytes = "vec", tag = "1")]
    site_id: Vec<u8>,
}

/// The same with a number in field 1.
#[derive(Clone, PartialEq, prost::Message)]
struct Number {
    #[prost(uint64, tag = "1")]
    site_id: u64,
}

/// Sends a message of another type as a decrement.
async fn send_raw<T: Message + Default + 'static>(world: &World, message: T) -> Status {
    let mut client = tonic::client::Grpc::new(world.channel());
    client.ready().await.expect("the server accepts connections");
    let path = "/inventory.v1.AvailabilityService/DecrementAvailability".parse().expect("the path is valid");
    let codec = tonic_prost::ProstCodec::<T, v1::DecrementAvailabilityResponse>::default();
    client.unary(Request::new(message), path, codec).await.expect_err("the message cannot be decoded")
}

async fn an_undecodable_message_is_an_invalid_argument(world: World) {
    let mut deep = prost_types::Value { kind: Some(prost_types::value::Kind::BoolValue(true)) };
    for _ in 0..200 {
        let fields = [("deeper".to_owned(), deep)].into();
        deep = prost_types::Value { kind: Some(prost_types::value::Kind::StructValue(prost_types::Struct { fields })) };
    }
    let options = prost_types::Struct { fields: [("deep".to_owned(), deep)].into() };
    let reference = v1::CatalogReference { options: Some(options), ..reference("A").expect("a reference") };
    let deep = v1::DecrementAvailabilityRequest {
        items: vec![v1::Item { unit: Some(reference.into()), quantity: 1, ..Default::default() }],
        ..Default::default()
    };
    let refusals = [
        send_raw(&world, Bytes { site_id: vec![0xff, 0xfe] }).await,
        send_raw(&world, Number { site_id: 7 }).await,
        world.availability().decrement_availability(deep).await.expect_err("the options are nested too deep"),
    ];
    for refused in refusals {
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        let info = refused.get_details_error_info().expect("the error carries an ErrorInfo");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("UNDECODABLE", "inventory.v1"));
    }
}

/// A decrement of 300 units that were never stocked, each with options of its own.
fn decrement_of_300(world: &World) -> v1::DecrementAvailabilityRequest {
    let item = |index: usize| {
        let size = prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(format!("{index:0>300}"))) };
        let options = Some(prost_types::Struct { fields: [("size".to_owned(), size)].into() });
        let reference = v1::CatalogReference { options, ..reference("A").expect("a reference") };
        v1::Item { unit: Some(reference.into()), quantity: 1, ..Default::default() }
    };
    v1::DecrementAvailabilityRequest { items: (0..300).map(item).collect(), ..decrement(&world.site, &[]) }
}

async fn a_refusal_fits_any_client(world: World) {
    let refused =
        world.availability().decrement_availability(decrement_of_300(&world)).await.expect_err("nothing is available");
    assert_eq!(error_of(&refused), error(Code::FailedPrecondition, "INSUFFICIENT_STOCK", ""));
    assert!(refused.details().len() <= DETAIL_BYTES_DEFAULT, "{} bytes", refused.details().len());
    let short = insufficient_stock(&refused);
    assert_eq!(short.shortage_count, 300);
    assert!((1..300).contains(&short.shortages.len()), "{} listed", short.shortages.len());

    // A caller that can read more sends the metadata with its own bound.
    let mut request = Request::new(decrement_of_300(&world));
    request.metadata_mut().insert(MAX_DETAIL_BYTES_METADATA, MetadataValue::from_static("1000000"));
    let channel = world.endpoint().http2_max_header_list_size(2_000_000).connect_lazy();
    let mut client = AvailabilityServiceClient::new(channel);
    let refused = client.decrement_availability(request).await.expect_err("nothing is available");
    assert_eq!(insufficient_stock(&refused).shortages.len(), 300);
    let mut request = Request::new(decrement_of_300(&world));
    request.metadata_mut().insert(MAX_DETAIL_BYTES_METADATA, MetadataValue::from_static("many"));
    let refused = world.availability().decrement_availability(request).await.expect_err("not a number");
    assert_eq!(error_of(&refused), error(Code::InvalidArgument, "INVALID_FIELD", MAX_DETAIL_BYTES_METADATA));
}

async fn wix_gets_every_shortage(world: World) {
    let items: Vec<Value> = (0..300).map(|index| item(&format!("item-{index}"), 1)).collect();
    let refused = world.wix.call("decrement", order(&world.site, json!(items))).await;
    assert_eq!(refused.status, 428);
    assert_eq!(refused.shortage_count(), Some(300));
}

async fn changed_levels_fit_any_client(world: World) {
    let item = |index: usize| v1::SetStockItem { expected_available: Some(5), ..set_item(&format!("item-{index}"), 1) };
    let items = (0..1_000).map(item).collect();
    let refused = world.stock().set_stock(set(&world.site, items)).await.expect_err("all levels are 0");
    assert_eq!(error_of(&refused), error(Code::Aborted, "STOCK_CHANGED", ""));
    assert!(refused.details().len() <= DETAIL_BYTES_DEFAULT, "{} bytes", refused.details().len());
    let changed = stock_changed(&refused);
    assert_eq!(changed.level_count, 1_000);
    assert!(!changed.levels.is_empty());
}

async fn a_level_is_explained_only_at_a_reached_sequence_number(world: World) {
    world.set(&[("A", 5), ("B", 7)]).await;
    let explain = |at_sequence| v1::ExplainLevelRequest {
        site_id: world.site.clone(),
        unit: reference("A"),
        at_sequence,
        ..Default::default()
    };
    let explained = world.ledger().explain_level(explain(2)).await.expect("the site has reached 2").into_inner();
    assert_eq!((explained.available, explained.sequence), (5, 1));
    let refused = world.ledger().explain_level(explain(3)).await.expect_err("the site has not reached 3");
    assert_eq!(error_of(&refused), error(Code::InvalidArgument, "INVALID_FIELD", "at_sequence"));
}
