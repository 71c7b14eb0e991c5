//! The rules of orders: worked examples through signed HTTP, through gRPC and through a stream, replays, refusals and
//! the 64-bit range.

use inventory_proto::v1;
use inventory_proto::v1::change_availability_request::Change;
use inventory_tests::call_stream::{CallStream, unary};
use inventory_tests::errors::{insufficient_stock, reason_of};
use inventory_tests::on_both;
use inventory_tests::requests::{decrement, guid, increment, set, set_item};
use inventory_tests::wix_caller::{item, order, with_new_request_id};
use inventory_tests::world::World;
use serde_json::{Value, json};
use tonic::{Code, Status};

on_both!(
    examples_through_grpc,
    examples_through_a_stream,
    examples_through_wix,
    a_replay_changes_nothing,
    the_replay_of_a_refused_order_is_refused,
    an_idempotency_key_belongs_to_its_content,
    no_level_leaves_the_64_bit_range,
    equal_refunds_under_two_keys_are_two_refunds,
    a_refusal_lists_every_shortage,
    the_ledger_marks_subscriptions,
);

/// Units, each with a quantity or a level.
type Units = &'static [(&'static str, i64)];

enum Order {
    Take(Units),
    TakeUnrestricted(Units),
    Return(Units),
}
use Order::{Return, Take, TakeUnrestricted};

struct Example {
    name: &'static str,
    before: Units,
    order: Order,
    /// The deltas of the entries, or the units that are short and by how much.
    outcome: Result<&'static [i64], Units>,
    after: Units,
}

const EXAMPLES: &[Example] = &[
    Example {
        name: "an order takes less than is available",
        before: &[("A", 5)],
        order: Take(&[("A", 3)]),
        outcome: Ok(&[-3]),
        after: &[("A", 2)],
    },
    Example {
        name: "an order for more than is available is refused",
        before: &[("A", 2)],
        order: Take(&[("A", 3)]),
        outcome: Err(&[("A", 1)]),
        after: &[("A", 2)],
    },
    Example {
        name: "an unrestricted order takes more than is available",
        before: &[("A", 2)],
        order: TakeUnrestricted(&[("A", 3)]),
        outcome: Ok(&[-3]),
        after: &[("A", -1)],
    },
    Example {
        name: "a return raises a negative level",
        before: &[("A", -1)],
        order: Return(&[("A", 4)]),
        outcome: Ok(&[4]),
        after: &[("A", 3)],
    },
    Example {
        name: "items of the same unit are summed before they are refused",
        before: &[("A", 5)],
        order: Take(&[("A", 3), ("A", 3)]),
        outcome: Err(&[("A", 1)]),
        after: &[("A", 5)],
    },
    Example {
        name: "items of the same unit make one entry",
        before: &[("A", 6)],
        order: Take(&[("A", 3), ("A", 3)]),
        outcome: Ok(&[-6]),
        after: &[("A", 0)],
    },
    Example {
        name: "one shortage refuses the whole order",
        before: &[("A", 5), ("B", 0)],
        order: Take(&[("A", 1), ("B", 1)]),
        outcome: Err(&[("B", 1)]),
        after: &[("A", 5), ("B", 0)],
    },
    Example {
        name: "a unit that was never stocked has none available",
        before: &[],
        order: Take(&[("A", 1)]),
        outcome: Err(&[("A", 1)]),
        after: &[("A", 0)],
    },
    Example {
        name: "an unrestricted order takes a unit that was never stocked",
        before: &[],
        order: TakeUnrestricted(&[("A", 1)]),
        outcome: Ok(&[-1]),
        after: &[("A", -1)],
    },
    Example {
        name: "a return stocks a unit that was never stocked",
        before: &[],
        order: Return(&[("A", 1)]),
        outcome: Ok(&[1]),
        after: &[("A", 1)],
    },
];

/// Gives the units of an example ids of their own, so that all examples share one world.
fn own(example: &Example, units: Units) -> Vec<(String, i64)> {
    let number = EXAMPLES.iter().position(|other| other.name == example.name).expect("the example is in the table");
    units.iter().map(|(id, quantity)| (format!("{id}{number}"), *quantity)).collect()
}

/// Sets the levels before an example. Returns the number of entries.
async fn set_before(world: &World, example: &Example) -> usize {
    for (id, level) in own(example, example.before) {
        world.set(&[(&id, level)]).await;
    }
    world.entries().await.len()
}

async fn check_after(world: &World, example: &Example, entries_before: usize) {
    for (id, level) in own(example, example.after) {
        assert_eq!(world.level(&id).await, level, "{}: the level of {id}", example.name);
    }
    let deltas: Vec<i64> = world.entries().await[entries_before..].iter().map(|entry| entry.delta).collect();
    assert_eq!(deltas, example.outcome.unwrap_or_default(), "{}: the entries", example.name);
}

async fn examples_through_grpc(world: World) {
    examples(&world, async |change| unary(world.availability(), change).await).await;
}

async fn examples_through_a_stream(world: World) {
    let mut stream = CallStream::open(world.availability()).await;
    examples(&world, async |change| stream.call(change).await).await;
}

/// Runs the examples. `call` makes a call, and returns its answer.
async fn examples(world: &World, mut call: impl AsyncFnMut(Change) -> Result<v1::AppliedChange, Status>) {
    for example in EXAMPLES {
        let name = example.name;
        let entries = set_before(world, example).await;
        let change = match example.order {
            Take(units) => Change::from(taking(world, &own(example, units), Some(true), &guid())),
            TakeUnrestricted(units) => Change::from(taking(world, &own(example, units), Some(false), &guid())),
            Return(units) => Change::from(giving(world, &own(example, units), &guid())),
        };
        let result = call(change).await;
        match example.outcome {
            Ok(_) => assert_eq!(result.map(|_| ()).map_err(|status| status.code()), Ok(()), "{name}"),
            Err(short) => {
                let status = result.expect_err(name);
                assert_eq!(status.code(), Code::FailedPrecondition, "{name}");
                assert_eq!(reason_of(&status), "INSUFFICIENT_STOCK", "{name}");
                assert_eq!(shortages(&status), own(example, short), "{name}");
            }
        }
        check_after(world, example, entries).await;
    }
}

async fn examples_through_wix(world: World) {
    for example in EXAMPLES {
        let name = example.name;
        let entries = set_before(&world, example).await;
        let (method, units, restricted) = match example.order {
            Take(units) => ("decrement", units, true),
            TakeUnrestricted(units) => ("decrement", units, false),
            Return(units) => ("increment", units, true),
        };
        let items: Vec<Value> = own(example, units).iter().map(|(id, quantity)| item(id, *quantity)).collect();
        let mut data = order(&world.site, json!(items));
        data["request"]["restrictInventoryValue"] = json!(restricted);
        let answer = world.wix.call(method, data).await;
        match example.outcome {
            Ok(_) => assert_eq!((answer.status, answer.body), (200, json!({})), "{name}"),
            Err(short) => {
                assert_eq!(answer.status, 428, "{name}");
                assert_eq!(answer.body["applicationError"]["code"], "DECREMENT_NOT_POSSIBLE", "{name}");
                let shortages: Vec<Value> = answer
                    .error_data("shortages")
                    .as_array()
                    .expect(name)
                    .iter()
                    .map(|short| json!([short["catalogReference"]["catalogItemId"], short["short"]]))
                    .collect();
                let expected: Vec<Value> = own(example, short).iter().map(|(id, by)| json!([id, by])).collect();
                assert_eq!(shortages, expected, "{name}");
            }
        }
        check_after(&world, example, entries).await;
    }
}

async fn a_replay_changes_nothing(world: World) {
    world.set(&[("A", 5)]).await;
    let first = take(&world, &[("A".into(), 2)], None, "same").await.expect("there is enough");
    let replay = take(&world, &[("A".into(), 2)], None, "same").await.expect("the recorded outcome");
    assert!(!first.repeated_request && replay.repeated_request);
    assert_eq!((first.sequence, first.levels), (replay.sequence, replay.levels));
    assert_eq!(world.level("A").await, 3);

    let data = order(&world.site, json!([item("A", 1)]));
    for _ in 0..3 {
        assert_eq!(world.wix.call("decrement", data.clone()).await.status, 200);
    }
    // Without a request id, the idempotency key is a hash of the token.
    let mut data = order(&world.site, json!([item("A", 1)]));
    data["metadata"]["requestId"] = Value::Null;
    let token = world.wix.token(data);
    for _ in 0..3 {
        assert_eq!(world.wix.post("/v1/decrement", token.clone()).await.status, 200);
    }
    assert_eq!(world.level("A").await, 1);
    assert_eq!(world.entries().await.len(), 4);
}

async fn the_replay_of_a_refused_order_is_refused(world: World) {
    let data = order(&world.site, json!([item("A", 1)]));
    let refused = world.wix.call("decrement", data.clone()).await;
    assert_eq!(refused.status, 428);
    world.set(&[("A", 9)]).await;
    assert_eq!(world.wix.call("decrement", data).await, refused, "a refused order must not take stock later");
    assert_eq!(world.level("A").await, 9);
}

async fn an_idempotency_key_belongs_to_its_content(world: World) {
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
    assert_eq!((answer.status, answer.error_data("reason")), (428, &json!("REQUEST_ID_REUSED")));
    assert_eq!(world.level("A").await, 2);
    // Wix's request id belongs to one method: the other method with the same id is another request.
    assert_eq!(world.wix.call("increment", data).await.status, 200);
}

async fn no_level_leaves_the_64_bit_range(world: World) {
    world.set(&[("A", i64::MAX), ("B", i64::MIN)]).await;
    let over = give(&world, &[("A".into(), 1)], "over").await.expect_err("out of range");
    assert_eq!((over.code(), reason_of(&over).as_str()), (Code::OutOfRange, "LEVEL_OUT_OF_RANGE"));
    let under = take(&world, &[("B".into(), 1)], Some(false), "under").await.expect_err("out of range");
    assert_eq!(under.code(), Code::OutOfRange);
    let mut stream = CallStream::open(world.availability()).await;
    let over = stream.call(giving(&world, &[("A".into(), 1)], "over on a stream")).await.expect_err("out of range");
    assert_eq!((over.code(), reason_of(&over).as_str()), (Code::OutOfRange, "LEVEL_OUT_OF_RANGE"));
    let short = take(&world, &[("B".into(), 1)], Some(true), "short").await.expect_err("short");
    assert_eq!(shortages(&short), [("B".to_owned(), i64::MAX)]);
    let answer = world.wix.call("increment", order(&world.site, json!([item("A", 1)]))).await;
    assert_eq!((answer.status, &answer.body["applicationError"]["code"]), (428, &json!("INCREMENT_NOT_POSSIBLE")));
    assert_eq!((world.level("A").await, world.level("B").await), (i64::MAX, i64::MIN));
    // The delta from the maximum to -2 does not fit into 64 bits.
    let request = set(&world.site, vec![set_item("A", -2)]);
    assert_eq!(world.stock().set_stock(request).await.expect_err("out of range").code(), Code::OutOfRange);
}

async fn equal_refunds_under_two_keys_are_two_refunds(world: World) {
    let mut data = order(&world.site, json!([item("A", 1)]));
    data["request"]["reason"] = json!("ORDER_REFUNDED");
    assert_eq!(world.wix.call("increment", data.clone()).await.status, 200);
    assert_eq!(world.wix.call("increment", with_new_request_id(data)).await.status, 200);
    assert_eq!(world.level("A").await, 2);
    let reasons: Vec<i32> = world.entries().await.iter().map(|entry| entry.reason).collect();
    assert_eq!(reasons, [v1::Reason::OrderRefunded as i32; 2]);
}

async fn a_refusal_lists_every_shortage(world: World) {
    world.set(&[("A", 1), ("B", 5), ("C", -2)]).await;
    let lines: Vec<(String, i64)> = ["A", "B", "C", "D", "A"].iter().map(|id| ((*id).to_owned(), 2)).collect();
    let refused = take(&world, &lines, None, "key").await.expect_err("short");
    let expected = [("A".to_owned(), 3), ("C".to_owned(), 4), ("D".to_owned(), 2)];
    assert_eq!(shortages(&refused), expected);
    let replay = take(&world, &lines, None, "key").await.expect_err("the recorded refusal");
    assert_eq!(shortages(&replay), expected);
    assert_eq!(replay.message(), refused.message());
}

async fn the_ledger_marks_subscriptions(world: World) {
    world.set(&[("A", 5)]).await;
    let mut items = json!([item("A", 1), item("A", 2)]);
    items[1]["subscriptionItem"] = json!(true);
    assert_eq!(world.wix.call("decrement", order(&world.site, items)).await.status, 200);
    let entries = world.entries().await;
    let changes: Vec<(i64, i64, bool)> =
        entries[1..].iter().map(|entry| (entry.delta, entry.level_after, entry.subscription_item)).collect();
    assert_eq!(changes, [(-1, 4, false), (-2, 2, true)]);
    assert_eq!(entries[1].actor, "wix");
}

fn borrowed(lines: &[(String, i64)]) -> Vec<(&str, i64)> {
    lines.iter().map(|(id, quantity)| (id.as_str(), *quantity)).collect()
}

const ORDER: &str = "00000000-0000-4000-8000-00000000000a";

/// A call that takes units for the order `ORDER`.
fn taking(
    world: &World,
    lines: &[(String, i64)],
    restrict: Option<bool>,
    request_id: &str,
) -> v1::DecrementAvailabilityRequest {
    v1::DecrementAvailabilityRequest {
        restrict_inventory_value: restrict,
        order_id: ORDER.into(),
        reason: v1::Reason::OrderPlaced.into(),
        request_id: request_id.into(),
        ..decrement(&world.site, &borrowed(lines))
    }
}

/// A call that returns units of the order `ORDER`.
fn giving(world: &World, lines: &[(String, i64)], request_id: &str) -> v1::IncrementAvailabilityRequest {
    v1::IncrementAvailabilityRequest {
        reason: v1::Reason::OrderPlaced.into(),
        request_id: request_id.into(),
        ..increment(&world.site, ORDER, &borrowed(lines))
    }
}

/// Takes units for the order `ORDER`.
async fn take(
    world: &World,
    lines: &[(String, i64)],
    restrict: Option<bool>,
    request_id: &str,
) -> Result<v1::AppliedChange, Status> {
    unary(world.availability(), taking(world, lines, restrict, request_id)).await
}

/// Returns units of the order `ORDER`.
async fn give(world: &World, lines: &[(String, i64)], request_id: &str) -> Result<v1::AppliedChange, Status> {
    unary(world.availability(), giving(world, lines, request_id)).await
}

/// The units that a refusal lists, each with the quantity it is short by.
fn shortages(status: &Status) -> Vec<(String, i64)> {
    let one = |short: v1::Shortage| {
        (short.catalog_reference.expect("a shortage names its unit").catalog_item_id, short.short)
    };
    insufficient_stock(status).shortages.into_iter().map(one).collect()
}
