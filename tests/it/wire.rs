//! The calls of Wix as they arrive: paths, ways to write a field, bounds.

use axum::http::Method;
use inventory_proto::v1;
use inventory_tests::on_both;
use inventory_tests::requests::{reference_of, set};
use inventory_tests::test_keys::{app_key, signing_key};
use inventory_tests::wix_caller::{CATALOG, WixCaller, claims, item, item_with, order, sign_texts};
use inventory_tests::world::World;
use serde_json::{Value, json};
use uuid::Uuid;

on_both!(
    only_the_plugins_paths_and_methods_are_served,
    every_way_to_write_a_field_is_understood,
    bad_fields_are_named_as_wix_spells_them,
    an_order_has_at_most_300_items,
    the_ledger_shows_wix_s_own_request_id,
    text_that_identifies_nothing_stops_no_purchase,
    options_that_identify_stock_must_be_readable,
);

/// The idempotency key contains Wix's request id, so that a person finds a call in the ledger by the id that Wix's
/// support names. If that id is missing or too long, the key is a hash.
async fn the_ledger_shows_wix_s_own_request_id(world: World) {
    let call = |request_id: Value| {
        let mut data = order(&world.site, json!([item("A", 1)]));
        data["metadata"]["requestId"] = request_id;
        data
    };
    let long = "x".repeat(200);
    for request_id in [json!("1658407.wix|a"), json!(long), Value::Null] {
        let data = call(request_id);
        // The second call with the same token is a replay in each case.
        let token = world.wix.token(data);
        for _ in 0..2 {
            assert_eq!(world.wix.post("/v1/increment", token.clone()).await.status, 200);
        }
    }
    assert_eq!(world.wix.call("decrement", call(json!("1658407.wix|a"))).await.status, 200);
    let keys: Vec<String> = world.entries().await.into_iter().map(|entry| entry.request_id).collect();
    assert_eq!(keys.len(), 4, "{keys:?}");
    assert_eq!(keys[0], "wix:increment:1658407.wix|a");
    assert!(keys[1].starts_with("wix-hash:increment:") && keys[1].len() <= 128, "{}", keys[1]);
    assert!(keys[2].starts_with("wix-token:") && keys[2].len() <= 128, "{}", keys[2]);
    assert_eq!(keys[3], "wix:decrement:1658407.wix|a");
}

async fn only_the_plugins_paths_and_methods_are_served(world: World) {
    world.set(&[("A", 100)]).await;
    let token = || world.wix.token(order(&world.site, json!([item("A", 1)])));
    for path in [
        "/v1/decrement",
        "//v1/decrement",
        "/v1/decrement/",
        "/v1/decrement?x=1",
        "/any/prefix/v1/decrement",
        "/any//v1/decrement/?x=1&y",
    ] {
        assert_eq!(world.wix.post(path, token()).await.status, 200, "{path}");
    }
    for path in ["/", "/v1", "/xv1/decrement", "/V1/decrement", "/v1/Decrement", "/v1/decrement/x", "/v1/reserve"] {
        assert_eq!(world.wix.post(path, token()).await.status, 404, "{path}");
    }
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer =
            world.wix.send(method.clone(), "/v1/decrement", token().into_bytes()).await.expect("the adapter answers");
        assert_eq!(answer.status, 405, "{method}");
    }
    let large = vec![b'a'; 5 * 1024 * 1024];
    // The adapter answers before it has read the whole body and closes the connection. Some clients see a broken pipe,
    // so this call uses a connection of its own.
    let answer = WixCaller::new(world.http).send(Method::POST, "/v1/decrement", large).await;
    assert!(answer.map_or(true, |answer| answer.status == 413));
    for (path, status) in [("/healthz", 200), ("/readyz", 200)] {
        assert_eq!(
            world.wix.send(Method::GET, path, Vec::new()).await.expect("the adapter answers").status,
            status,
            "{path}"
        );
    }
    assert_eq!(world.level("A").await, 94);
}

/// A name, a change to a good order for 1 piece, and the pieces that the changed order takes.
type Variant = (&'static str, fn(&mut Value), i64);

const VARIANTS: &[Variant] = &[
    ("subscriptionItem absent", |data| remove(&mut data["request"]["items"][0], "subscriptionItem"), 1),
    ("subscriptionItem null", |data| data["request"]["items"][0]["subscriptionItem"] = Value::Null, 1),
    ("locationId null", |data| data["request"]["items"][0]["locationId"] = Value::Null, 1),
    ("options null", |data| data["request"]["items"][0]["catalogReference"]["options"] = Value::Null, 1),
    ("options empty", |data| data["request"]["items"][0]["catalogReference"]["options"] = json!({}), 1),
    ("restrictInventoryValue null", |data| data["request"]["restrictInventoryValue"] = Value::Null, 1),
    ("restrictInventoryValue absent", |data| remove(&mut data["request"], "restrictInventoryValue"), 1),
    ("reason absent", |data| remove(&mut data["request"], "reason"), 1),
    ("reason unknown", |data| data["request"]["reason"] = json!("ORDER_TELEPORTED"), 1),
    ("reason of earlier SDKs", |data| data["request"]["reason"] = json!("UNKNOWN_REASON"), 1),
    ("reason as a number", |data| data["request"]["reason"] = json!(2), 1),
    ("reason null", |data| data["request"]["reason"] = Value::Null, 1),
    ("quantity as a string", |data| data["request"]["items"][0]["quantity"] = json!("2"), 2),
    ("quantity with a zero fraction", |data| data["request"]["items"][0]["quantity"] = json!(2.0), 2),
    (
        "unknown fields",
        |data| {
            data["new"] = json!({"a": [1]});
            data["request"]["new"] = json!(1);
            data["request"]["items"][0]["new"] = json!([{}]);
            data["metadata"]["functionName"] = json!("decrement");
        },
        1,
    ),
    ("languages as one string", |data| data["metadata"]["languages"] = json!("en-US"), 1),
    (
        "the older identity",
        |data| data["metadata"]["identity"] = json!({"type": "SITE_VISITOR", "siteVisitorId": "x"}),
        1,
    ),
    (
        "only instanceId",
        |data| {
            let site = data["metadata"]["instanceId"].clone();
            data["metadata"] = json!({"instanceId": site});
        },
        1,
    ),
    (
        "GUIDs in upper case",
        |data| {
            for (parent, field) in [("metadata", "instanceId"), ("request", "orderId")] {
                let upper = data[parent][field].as_str().expect("text").to_uppercase();
                data[parent][field] = json!(upper);
            }
            let app = &mut data["request"]["items"][0]["catalogReference"]["appId"];
            *app = json!(app.as_str().expect("text").to_uppercase());
        },
        1,
    ),
    (
        "options that do not identify stock",
        |data| {
            data["request"]["items"][0]["catalogReference"]["options"] =
                json!({"customTextFields": {"engraving": "Ä \u{1f600}"}});
        },
        1,
    ),
];

fn remove(parent: &mut Value, field: &str) {
    parent.as_object_mut().expect("an object").remove(field);
}

async fn every_way_to_write_a_field_is_understood(world: World) {
    for (index, (name, change, takes)) in VARIANTS.iter().enumerate() {
        let id = format!("item-{index}");
        world.set(&[(&id, 10)]).await;
        let mut data = order(&world.site, json!([item(&id, 1)]));
        change(&mut data);
        let answer = world.wix.call("decrement", data).await;
        assert_eq!((answer.status, answer.body), (200, json!({})), "{name}");
        assert_eq!(world.level(&id).await, 10 - takes, "{name}");
    }
    // null means restricted: the level must not become negative.
    let mut data = order(&world.site, json!([item("none", 1)]));
    data["request"]["restrictInventoryValue"] = Value::Null;
    assert_eq!(world.wix.call("decrement", data).await.status, 428);

    // Names of options are not changed: `id` is not `_id`. Their order does not matter.
    let variant = |options: Value| json!([item_with("v", options)]);
    let give = world.wix.call("increment", order(&world.site, variant(json!({"id": "x", "Size": "M"})))).await;
    assert_eq!(give.status, 200);
    let renamed = world.wix.call("decrement", order(&world.site, variant(json!({"_id": "x", "Size": "M"})))).await;
    assert_eq!(renamed.status, 428);
    let reordered = world.wix.call("decrement", order(&world.site, variant(json!({"Size": "M", "id": "x"})))).await;
    assert_eq!(reordered.status, 200);
}

async fn bad_fields_are_named_as_wix_spells_them(world: World) {
    world.set(&[("A", 100)]).await;
    let deep = (0..40).fold(json!(1), |inner, _| json!({"x": inner}));
    let rows: Vec<(&str, Value, Value)> = vec![
        ("items[0].quantity", json!(["request", "items", 0, "quantity"]), json!(0)),
        ("items[0].quantity", json!(["request", "items", 0, "quantity"]), json!(-5)),
        ("items[0].quantity", json!(["request", "items", 0, "quantity"]), json!(100_001)),
        ("items[0].quantity", json!(["request", "items", 0, "quantity"]), json!(1.5)),
        ("items[0].quantity", json!(["request", "items", 0, "quantity"]), json!("two")),
        ("items[0].quantity", json!(["request", "items", 0, "quantity"]), json!(u64::MAX)),
        ("items[0].quantity", json!(["request", "items", 0, "quantity"]), Value::Null),
        ("items[0].quantity", json!(["request", "items", 0, "quantity"]), json!([1])),
        ("items[0].locationId", json!(["request", "items", 0, "locationId"]), json!("here")),
        ("items[0].catalogReference", json!(["request", "items", 0, "catalogReference"]), Value::Null),
        (
            "items[0].catalogReference.catalogItemId",
            json!(["request", "items", 0, "catalogReference", "catalogItemId"]),
            json!(""),
        ),
        (
            "items[0].catalogReference.catalogItemId",
            json!(["request", "items", 0, "catalogReference", "catalogItemId"]),
            json!("x".repeat(37)),
        ),
        (
            "items[0].catalogReference.catalogItemId",
            json!(["request", "items", 0, "catalogReference", "catalogItemId"]),
            json!(5),
        ),
        ("items[0].catalogReference.appId", json!(["request", "items", 0, "catalogReference", "appId"]), json!("")),
        (
            "items[0].catalogReference.options",
            json!(["request", "items", 0, "catalogReference", "options"]),
            json!("M"),
        ),
        ("items[0].catalogReference.options", json!(["request", "items", 0, "catalogReference", "options"]), deep),
        (
            "items[0].catalogReference.options",
            json!(["request", "items", 0, "catalogReference", "options"]),
            json!({"t": "x".repeat(3_000)}),
        ),
        (
            "items[0].catalogReference.catalogItemId",
            json!(["request", "items", 0, "catalogReference", "catalogItemId"]),
            json!("a\0b"),
        ),
        ("items[0]", json!(["request", "items", 0]), json!("A")),
        ("items", json!(["request", "items"]), json!([])),
        ("items", json!(["request", "items"]), Value::Null),
        ("orderId", json!(["request", "orderId"]), json!("1001")),
        ("orderId", json!(["request", "orderId"]), Value::Null),
        ("siteId", json!(["metadata", "instanceId"]), json!("not a guid")),
        ("metadata.instanceId", json!(["metadata", "instanceId"]), Value::Null),
        ("metadata.instanceId", json!(["metadata", "instanceId"]), json!(7)),
    ];
    for (field, path, value) in rows {
        for (method, code) in [("decrement", "DECREMENT_NOT_POSSIBLE"), ("increment", "INCREMENT_NOT_POSSIBLE")] {
            let mut data = order(&world.site, json!([item("A", 1)]));
            let target = path.as_array().expect("a path").iter().fold(&mut data, |at, step| match step {
                Value::Number(index) => &mut at[index.as_u64().unwrap_or_default() as usize],
                step => &mut at[step.as_str().unwrap_or_default()],
            });
            *target = value.clone();
            let answer = world.wix.call(method, data).await;
            let answered_code = answer.body["applicationError"]["code"].as_str();
            let error = (answer.status, answered_code, answer.error_data("field").as_str());
            assert_eq!(error, (428, Some(code), Some(field)), "{field} = {value:.80}");
        }
    }
    assert_eq!(world.entries().await.len(), 1);
}

async fn an_order_has_at_most_300_items(world: World) {
    let items = |count: usize| -> Value { (0..count).map(|index| item(&format!("i{index}"), 1)).collect() };
    assert_eq!(world.wix.call("increment", order(&world.site, items(300))).await.status, 200);
    assert_eq!(world.wix.call("decrement", order(&world.site, items(300))).await.status, 200);
    assert_eq!(world.entries().await.len(), 600);
    let answer = world.wix.call("increment", order(&world.site, items(301))).await;
    assert_eq!((answer.status, answer.error_data("field")), (428, &json!("items")));

    // One item of 300 is short, so no item is taken.
    assert_eq!(world.wix.call("increment", order(&world.site, items(299))).await.status, 200);
    let answer = world.wix.call("decrement", order(&world.site, items(300))).await;
    assert_eq!((answer.status, answer.shortage_count()), (428, Some(1)));
    assert_eq!(world.entries().await.len(), 899);

    // All items are short and have the longest ids. The refusal lists every one.
    let variant = "33333333-3333-4333-8333-333333333333";
    let mut long = items(300);
    for (index, item) in long.as_array_mut().expect("a list").iter_mut().enumerate() {
        item["catalogReference"]["catalogItemId"] = json!(Uuid::from_u128(index as u128));
        item["catalogReference"]["options"] = json!({"variantId": variant, "note": "x".repeat(1_500)});
    }
    let answer = world.wix.call("decrement", order(&world.site, long)).await;
    assert_eq!((answer.status, answer.shortage_count()), (428, Some(300)));

    // An order of the largest size: each item has a location of its own and long options.
    let mut data = order(&world.site, items(300));
    for item in data["request"]["items"].as_array_mut().expect("a list") {
        item["locationId"] = json!(Uuid::new_v4());
        item["catalogReference"]["options"] = json!({"customTextFields": {"text": "x".repeat(1_000)}});
    }
    assert_eq!(world.wix.call("increment", data.clone()).await.status, 200);

    // The options do not identify stock. As gRPC they would take more than 4 MiB.
    let fields: serde_json::Map<String, Value> = (0..1_000).map(|index| (format!("{index:x}"), json!(1))).collect();
    for item in data["request"]["items"].as_array_mut().expect("a list") {
        item["catalogReference"]["options"] = json!({"customTextFields": fields});
    }
    data["metadata"]["requestId"] = json!(Uuid::new_v4());
    let token = world.wix.token(data);
    assert!(token.len() < 4 * 1024 * 1024, "{}", token.len());
    assert_eq!(world.wix.post("/v1/increment", token).await.status, 200);
}

/// A token whose claims hold `options` as they stand, in an order of one piece of A of `app_id`.
fn with_options(world: &World, app_id: &str, options: &str) -> String {
    let mut data = order(&world.site, json!([{"catalogReference": {"catalogItemId": "A", "appId": app_id}}]));
    data["request"]["items"][0]["quantity"] = json!(1);
    data["request"]["items"][0]["catalogReference"]["options"] = json!("OPTIONS");
    with_text(&claims(data).to_string().replace("\"OPTIONS\"", options))
}

/// A token that carries this text as its claims.
fn with_text(claims: &str) -> String {
    sign_texts(r#"{"alg":"RS256","typ":"JWT"}"#, claims, &signing_key(app_key()))
}

/// JavaScript cuts a customer's text between the halves of an emoji, and shops store what they like.
async fn text_that_identifies_nothing_stops_no_purchase(world: World) {
    let stores = "215238eb-22a5-4c36-9e7b-e7c08025e04e";
    let unit = v1::SetStockItem { unit: reference_of(stores, "A"), available: 100, ..Default::default() };
    world.stock().set_stock(set(&world.site, vec![unit])).await.expect("the stock can be set");
    world.set(&[("A", 100)]).await;
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let texts = [r#""cut \ud83d""#, r#""\ude00 cut""#, "1e400", "-1e999", deep.as_str(), r#"{"a":{"b":"\udfff"}}"#];
    for text in texts {
        for (app_id, key) in [(stores, "customTextFields"), (stores, "engraving"), (CATALOG, "customTextFields")] {
            let token = with_options(&world, app_id, &format!(r#"{{"{key}":{text}}}"#));
            let answer = world.wix.post("/v1/decrement", token.clone()).await;
            let shown = &text[..text.len().min(30)];
            assert_eq!(answer.status, 200, "{app_id} {key} {shown}: {}", answer.text);
            assert_eq!(world.wix.post("/v1/decrement", token).await.status, 200, "a replay of {key} {shown}");
        }
    }
    assert_eq!(world.level("A").await, 100 - texts.len() as i64);

    // A cut text elsewhere is read with U+FFFD in the place of the half.
    let mut data = order(&world.site, json!([item("A", 1)]));
    data["metadata"]["requestId"] = json!("REQUEST");
    let token = with_text(&claims(data).to_string().replace("REQUEST", r"cut \ud83d"));
    assert_eq!(world.wix.post("/v1/decrement", token).await.status, 200);
    let entries = world.entries().await;
    assert_eq!(entries[entries.len() - 1].request_id, "wix:decrement:cut \u{fffd}");
}

async fn options_that_identify_stock_must_be_readable(world: World) {
    let deep = format!("{}1{}", "[".repeat(21), "]".repeat(21));
    let rows = [
        (r#"{"size":1e400}"#.to_owned(), "an option that identifies stock is"),
        (format!(r#"{{"size":{deep}}}"#), "an option that identifies stock is"),
        ("[1]".to_owned(), "must be a JSON object"),
        (r#""size""#.to_owned(), "must be a JSON object"),
    ];
    for (options, description) in rows {
        let answer = world.wix.post("/v1/decrement", with_options(&world, CATALOG, &options)).await;
        assert_eq!(answer.status, 428, "{options}");
        assert_eq!(*answer.error_data("field"), "items[0].catalogReference.options", "{options}");
        let told = answer.error_data("description").as_str().expect("text").to_owned();
        assert!(told.contains(description), "{options}: {told}");
    }
    assert_eq!(world.entries().await, []);
}
