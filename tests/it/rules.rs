//! The worked examples of the design, through signed HTTP and through gRPC.

use inventory_proto::v1;
use inventory_tests::on_both;
use inventory_tests::wix_caller::{Answered, item, order};
use inventory_tests::world::{World, reference};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

on_both!(
    examples_through_grpc,
    examples_through_wix,
    a_repeat_changes_nothing,
    a_refusal_stays_a_refusal,
    a_key_belongs_to_its_content,
    nothing_leaves_the_64_bit_range,
    equal_refunds_are_two_refunds,
    a_refusal_lists_every_short_line,
    subscriptions_are_noted,
);

enum Do {
    Take(&'static [(&'static str, i64)]),
    TakeUnrestricted(&'static [(&'static str, i64)]),
    Give(&'static [(&'static str, i64)]),
}
use Do::{Give, Take, TakeUnrestricted};

struct Example {
    before: &'static [(&'static str, i64)],
    request: Do,
    /// Entries made, or what is short.
    outcome: Result<&'static [i64], &'static [(&'static str, i64)]>,
    after: &'static [(&'static str, i64)],
}

const EXAMPLES: &[Example] = &[
    Example { before: &[("A", 5)], request: Take(&[("A", 3)]), outcome: Ok(&[-3]), after: &[("A", 2)] },
    Example { before: &[("A", 2)], request: Take(&[("A", 3)]), outcome: Err(&[("A", 1)]), after: &[("A", 2)] },
    Example { before: &[("A", 2)], request: TakeUnrestricted(&[("A", 3)]), outcome: Ok(&[-3]), after: &[("A", -1)] },
    Example { before: &[("A", -1)], request: Give(&[("A", 4)]), outcome: Ok(&[4]), after: &[("A", 3)] },
    Example {
        before: &[("A", 5)],
        request: Take(&[("A", 3), ("A", 3)]),
        outcome: Err(&[("A", 1)]),
        after: &[("A", 5)],
    },
    Example { before: &[("A", 6)], request: Take(&[("A", 3), ("A", 3)]), outcome: Ok(&[-6]), after: &[("A", 0)] },
    Example {
        before: &[("A", 5), ("B", 0)],
        request: Take(&[("A", 1), ("B", 1)]),
        outcome: Err(&[("B", 1)]),
        after: &[("A", 5), ("B", 0)],
    },
    Example { before: &[], request: Take(&[("A", 1)]), outcome: Err(&[("A", 1)]), after: &[("A", 0)] },
    Example { before: &[], request: TakeUnrestricted(&[("A", 1)]), outcome: Ok(&[-1]), after: &[("A", -1)] },
    Example { before: &[], request: Give(&[("A", 1)]), outcome: Ok(&[1]), after: &[("A", 1)] },
];

/// Each example speaks of items of its own, so that all of them share one world.
fn own(index: usize, id: &str) -> String {
    format!("{id}{index}")
}

async fn set_before(world: &World, index: usize, example: &Example) -> usize {
    for (id, level) in example.before {
        world.set(&[(&own(index, id), *level)]).await;
    }
    world.entries().await.len()
}

async fn check_after(world: &World, index: usize, example: &Example, entries_before: usize) {
    for (id, level) in example.after {
        assert_eq!(world.level(&own(index, id)).await, *level, "example {index}, {id}");
    }
    let deltas: Vec<i64> = world.entries().await[entries_before..].iter().map(|entry| entry.delta).collect();
    assert_eq!(deltas, example.outcome.unwrap_or_default(), "example {index}");
}

async fn examples_through_grpc(world: World) {
    for (index, example) in EXAMPLES.iter().enumerate() {
        let entries = set_before(&world, index, example).await;
        let result = match &example.request {
            Take(lines) => take(&world, &lines_of(index, lines), Some(true), &Uuid::new_v4().to_string()).await,
            TakeUnrestricted(lines) => {
                take(&world, &lines_of(index, lines), Some(false), &Uuid::new_v4().to_string()).await
            }
            Give(lines) => give(&world, &lines_of(index, lines), &Uuid::new_v4().to_string()).await,
        };
        match example.outcome {
            Ok(_) => assert_eq!(result.map(|_| ()).map_err(|status| status.code()), Ok(()), "example {index}"),
            Err(short) => {
                let status = result.expect_err("refused");
                assert_eq!(status.code(), Code::FailedPrecondition, "example {index}");
                assert_eq!(reason_of(&status), "INSUFFICIENT_STOCK");
                let told: Vec<(String, i64)> = shortages(&status);
                let expected: Vec<(String, i64)> = short.iter().map(|(id, by)| (own(index, id), *by)).collect();
                assert_eq!(told, expected, "example {index}");
            }
        }
        check_after(&world, index, example, entries).await;
    }
}

async fn examples_through_wix(world: World) {
    for (index, example) in EXAMPLES.iter().enumerate() {
        let entries = set_before(&world, index, example).await;
        let (method, lines, restricted) = match &example.request {
            Take(lines) => ("decrement", lines, true),
            TakeUnrestricted(lines) => ("decrement", lines, false),
            Give(lines) => ("increment", lines, true),
        };
        let items: Vec<Value> = lines.iter().map(|(id, quantity)| item(&own(index, id), *quantity)).collect();
        let mut data = order(&world.site, json!(items));
        data["request"]["restrictInventoryValue"] = json!(restricted);
        let Answered { status, body, .. } = world.wix.call(method, data).await;
        match example.outcome {
            Ok(_) => assert_eq!((status, body), (200, json!({})), "example {index}"),
            Err(short) => {
                assert_eq!(status, 428, "example {index}");
                assert_eq!(body["applicationError"]["code"], "DECREMENT_NOT_POSSIBLE");
                let told: Vec<Value> = body["applicationError"]["data"]["shortages"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .map(|short| json!([short["catalogReference"]["catalogItemId"], short["short"]]))
                    .collect();
                let expected: Vec<Value> = short.iter().map(|(id, by)| json!([own(index, id), by])).collect();
                assert_eq!(told, expected, "example {index}");
            }
        }
        check_after(&world, index, example, entries).await;
    }
}

async fn a_repeat_changes_nothing(world: World) {
    world.set(&[("A", 5)]).await;
    let first = take(&world, &[("A".into(), 2)], None, "same").await.expect("there is enough");
    let again = take(&world, &[("A".into(), 2)], None, "same").await.expect("the recorded outcome");
    assert!(!first.repeated_request && again.repeated_request);
    assert_eq!((first.sequence, first.levels), (again.sequence, again.levels));
    assert_eq!(world.level("A").await, 3);

    let data = order(&world.site, json!([item("A", 1)]));
    for _ in 0..3 {
        assert_eq!(world.wix.call("decrement", data.clone()).await.status, 200);
    }
    // Without a request id, the token itself is the request.
    let mut data = order(&world.site, json!([item("A", 1)]));
    data["metadata"]["requestId"] = Value::Null;
    let token = world.wix.token(data);
    for _ in 0..3 {
        assert_eq!(world.wix.post("/v1/decrement", token.clone()).await.status, 200);
    }
    assert_eq!(world.level("A").await, 1);
    assert_eq!(world.entries().await.len(), 4);
}

async fn a_refusal_stays_a_refusal(world: World) {
    let data = order(&world.site, json!([item("A", 1)]));
    let refused = world.wix.call("decrement", data.clone()).await;
    assert_eq!(refused.status, 428);
    world.set(&[("A", 9)]).await;
    assert_eq!(world.wix.call("decrement", data).await, refused, "an order that was told no must not take stock later");
    assert_eq!(world.level("A").await, 9);
}

async fn a_key_belongs_to_its_content(world: World) {
    world.set(&[("A", 5)]).await;
    take(&world, &[("A".into(), 2)], None, "key").await.expect("there is enough");
    for misuse in [
        take(&world, &[("A".into(), 3)], None, "key").await.expect_err("another quantity"),
        take(&world, &[("A".into(), 2)], Some(false), "key").await.expect_err("another restriction"),
        give(&world, &[("A".into(), 2)], "key").await.expect_err("another method"),
    ] {
        assert_eq!((misuse.code(), reason_of(&misuse).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    }
    let data = order(&world.site, json!([item("A", 1)]));
    assert_eq!(world.wix.call("decrement", data.clone()).await.status, 200);
    let mut other = data.clone();
    other["request"]["items"][0]["quantity"] = json!(2);
    let answer = world.wix.call("decrement", other).await;
    assert_eq!((answer.status, &answer.body["applicationError"]["data"]["reason"]), (428, &json!("REQUEST_ID_REUSED")));
    assert_eq!(world.level("A").await, 2);
    // The same request id on another site, or of the other method, is another request.
    assert_eq!(world.wix.call("increment", data).await.status, 200);
}

async fn nothing_leaves_the_64_bit_range(world: World) {
    world.set(&[("A", i64::MAX), ("B", i64::MIN)]).await;
    let over = give(&world, &[("A".into(), 1)], "over").await.expect_err("out of range");
    assert_eq!((over.code(), reason_of(&over).as_str()), (Code::OutOfRange, "LEVEL_OUT_OF_RANGE"));
    let under = take(&world, &[("B".into(), 1)], Some(false), "under").await.expect_err("out of range");
    assert_eq!(under.code(), Code::OutOfRange);
    let short = take(&world, &[("B".into(), 1)], Some(true), "short").await.expect_err("short");
    assert_eq!(shortages(&short), [("B".to_owned(), i64::MAX)]);
    let answer = world.wix.call("increment", order(&world.site, json!([item("A", 1)]))).await;
    assert_eq!((answer.status, &answer.body["applicationError"]["code"]), (428, &json!("INCREMENT_NOT_POSSIBLE")));
    assert_eq!((world.level("A").await, world.level("B").await), (i64::MAX, i64::MIN));
    // From one edge to the other is no 64-bit change.
    let request = v1::SetStockRequest {
        site_id: world.site.clone(),
        items: vec![v1::SetStockItem {
            unit: reference("A"),
            location_id: String::new(),
            available: -2,
            ..Default::default()
        }],
        request_id: String::new(),
        ..Default::default()
    };
    assert_eq!(world.stock().set_stock(request).await.expect_err("out of range").code(), Code::OutOfRange);
}

async fn equal_refunds_are_two_refunds(world: World) {
    let mut data = order(&world.site, json!([item("A", 1)]));
    data["request"]["reason"] = json!("ORDER_REFUNDED");
    assert_eq!(world.wix.call("increment", data.clone()).await.status, 200);
    data["metadata"]["requestId"] = json!(Uuid::new_v4());
    assert_eq!(world.wix.call("increment", data).await.status, 200);
    assert_eq!(world.level("A").await, 2);
    let reasons: Vec<i32> = world.entries().await.iter().map(|entry| entry.reason).collect();
    assert_eq!(reasons, [v1::Reason::OrderRefunded as i32; 2]);
}

async fn a_refusal_lists_every_short_line(world: World) {
    world.set(&[("A", 1), ("B", 5), ("C", -2)]).await;
    let lines: Vec<(String, i64)> = ["A", "B", "C", "D", "A"].iter().map(|id| ((*id).to_owned(), 2)).collect();
    let refused = take(&world, &lines, None, "key").await.expect_err("short");
    let expected = [("A".to_owned(), 3), ("C".to_owned(), 4), ("D".to_owned(), 2)];
    assert_eq!(shortages(&refused), expected);
    let again = take(&world, &lines, None, "key").await.expect_err("the recorded refusal");
    assert_eq!(shortages(&again), expected);
    assert_eq!(again.message(), refused.message());
}

async fn subscriptions_are_noted(world: World) {
    world.set(&[("A", 5)]).await;
    let mut items = json!([item("A", 1), item("A", 2)]);
    items[1]["subscriptionItem"] = json!(true);
    assert_eq!(world.wix.call("decrement", order(&world.site, items)).await.status, 200);
    let entries = world.entries().await;
    let told: Vec<(i64, i64, bool)> =
        entries[1..].iter().map(|entry| (entry.delta, entry.level_after, entry.subscription_item)).collect();
    assert_eq!(told, [(-1, 4, false), (-2, 2, true)]);
    assert_eq!(entries[1].actor, "wix");
}

fn lines_of(index: usize, lines: &[(&str, i64)]) -> Vec<(String, i64)> {
    lines.iter().map(|(id, quantity)| (own(index, id), *quantity)).collect()
}

fn items(lines: &[(String, i64)]) -> Vec<v1::Item> {
    let item = |(id, quantity): &(String, i64)| v1::Item {
        unit: reference(id),
        location_id: String::new(),
        quantity: *quantity,
        subscription_item: false,
    };
    lines.iter().map(item).collect()
}

const ORDER: &str = "00000000-0000-4000-8000-00000000000a";

async fn take(
    world: &World,
    lines: &[(String, i64)],
    restrict: Option<bool>,
    request_id: &str,
) -> Result<v1::DecrementAvailabilityResponse, Status> {
    let request = v1::DecrementAvailabilityRequest {
        site_id: world.site.clone(),
        items: items(lines),
        restrict_inventory_value: restrict,
        order_id: ORDER.into(),
        reason: v1::Reason::OrderPlaced.into(),
        request_id: request_id.into(),
    };
    world.availability().decrement_availability(request).await.map(tonic::Response::into_inner)
}

async fn give(
    world: &World,
    lines: &[(String, i64)],
    request_id: &str,
) -> Result<v1::DecrementAvailabilityResponse, Status> {
    let request = v1::IncrementAvailabilityRequest {
        site_id: world.site.clone(),
        items: items(lines),
        order_id: ORDER.into(),
        reason: v1::Reason::OrderPlaced.into(),
        request_id: request_id.into(),
    };
    let v1::IncrementAvailabilityResponse { sequence, levels, repeated_request } =
        world.availability().increment_availability(request).await?.into_inner();
    Ok(v1::DecrementAvailabilityResponse { sequence, levels, repeated_request })
}

fn reason_of(status: &Status) -> String {
    status.get_details_error_info().expect("every error says who it is").reason
}

fn shortages(status: &Status) -> Vec<(String, i64)> {
    use prost::Message;
    let rich = tonic_types::Status::decode(status.details()).expect("details");
    let any = rich.details.iter().find(|any| any.type_url.ends_with("InsufficientStock")).expect("a typed detail");
    let short = v1::InsufficientStock::decode(any.value.as_slice()).expect("decodes");
    let one = |short: v1::Shortage| (short.catalog_reference.expect("named").catalog_item_id, short.short);
    short.shortages.into_iter().map(one).collect()
}
