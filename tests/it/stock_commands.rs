//! The commands that people type: `stock`, `why`, `order` and `watch`, against a running server.

mod demo;
mod watch;

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use inventory_core::model::access::Scope;
use inventory_proto::v1;
use inventory_tests::chaos::Link;
use inventory_tests::on_both;
use inventory_tests::programs::{finish, grpc_server, program};
use inventory_tests::requests::{guid, set, set_item};
use inventory_tests::tokens::New;
use inventory_tests::wix_caller::{CATALOG, item, order, order_id, with_new_request_id};
use inventory_tests::world::{Backend, Database, World};
use serde_json::{Value, json};

on_both!(
    levels_are_set_adjusted_shown_and_explained,
    an_order_is_shown_call_by_call,
    an_unknown_outcome_is_settled_by_its_key,
);

const SHOP: &str = "11111111-2222-4333-8444-555555555555";

/// A command of `inventory-grpc` that asks a server about a site.
fn command(server: SocketAddr, site: &str, arguments: &[&str]) -> Command {
    let mut command = program("inventory-grpc");
    command.args(arguments).stdin(Stdio::null());
    command.env("SITE_ID", site).env("GRPC_UPSTREAM", server.to_string()).env("USER", "ann");
    command
}

fn run(server: SocketAddr, site: &str, arguments: &[&str]) -> (i32, String, String) {
    finish(command(server, site, arguments))
}

/// Runs a command that succeeds, and returns what it printed. It printed no colours, because this is no terminal.
#[track_caller]
fn told(world: &World, arguments: &[&str]) -> String {
    let (code, out, err) = run(world.grpc, &world.site, arguments);
    assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}: {out}");
    assert!(!out.contains('\u{1b}'), "{out:?}");
    out
}

#[track_caller]
fn told_json(world: &World, arguments: &[&str]) -> Value {
    let out = told(world, &[arguments, &["--json"]].concat());
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

async fn levels_are_set_adjusted_shown_and_explained(world: World) {
    let named =
        v1::UpdateUnitRequest { new_sku: Some("MUG-W".into()), name: Some("Mug, white".into()), ..Default::default() };
    world.configure_unit("mug", named).await.expect("the unit has a SKU");
    let shirt = |size: &str| format!("{CATALOG}/shirt/size={size}");

    assert_eq!(
        told(&world, &["stock", "set", "MUG-W", "40"]),
        "MUG-W is 40 now, at the default location, by entry 1\n"
    );
    assert_eq!(told(&world, &["stock", "set", "MUG-W", "40"]), "MUG-W is so already; nothing was changed\n");
    let adjust = ["stock", "adjust", "MUG-W", "-2", "--reason", "damaged", "--note", "fell down"];
    assert_eq!(told(&world, &adjust), "MUG-W is 38 now, at the default location, by entry 2\n");
    let at_shop = told_json(&world, &["stock", "set", &shirt("M"), "7", "--location-id", SHOP]);
    assert_eq!((&at_shop["sequence"], &at_shop["levels"][0]["location_id"]), (&json!(3), &json!(SHOP)));
    let at_default = told_json(&world, &["stock", "adjust", &shirt("L"), "-1"]);
    assert_eq!((&at_default["levels"][0]["available"], &at_default["repeated_request"]), (&json!(-1), &json!(false)));

    // The same key and change again is a replay.
    let keyed = ["stock", "adjust", "MUG-W", "+1", "--idempotency-key", "k1"];
    assert_eq!(told(&world, &keyed), "MUG-W is 39 now, at the default location, by entry 5\n");
    assert!(told(&world, &keyed).starts_with("a replay: "), "it is applied once");
    let (code, _, err) = run(world.grpc, &world.site, &["stock", "adjust", "MUG-W", "2", "--idempotency-key", "k1"]);
    assert_eq!((code, err.contains("--idempotency-key: the key was used for another change")), (1, true), "{err}");

    let taken = order(&world.site, json!([item("mug", 2)]));
    assert_eq!(world.wix.call("decrement", taken.clone()).await.status, 200);

    let table = told(&world, &["stock", "show"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|row| row.split("  ").map(str::trim).collect()).collect();
    let cells = |row: &[&str]| row.iter().filter(|cell| !cell.is_empty()).map(|cell| (*cell).to_owned()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| cells(row)).collect();
    let (large, medium) = (shirt("L"), shirt("M"));
    let expected = [
        ["AVAILABLE", "UNIT", "LOCATION", "ABOUT"].as_slice(),
        &["37", "MUG-W", "default", "Mug, white"],
        &["-1", large.as_str(), "default"],
        &["7", medium.as_str(), SHOP],
    ];
    assert_eq!(rows, expected.map(|row| row.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>()), "{table}");
    assert_eq!(told(&world, &["stock", "show", "MUG-W"]).lines().count(), 2);
    assert_eq!(told(&world, &["stock", "show", &format!("{CATALOG}/shirt")]).lines().count(), 3, "both variants");
    assert_eq!(told(&world, &["stock", "show", &shirt("M")]).lines().count(), 2);
    let listed = told_json(&world, &["stock", "show", "--below", "0"]);
    let levels: Vec<&Value> = listed["stock"].as_array().expect("a list").iter().collect();
    assert_eq!((levels.len(), &levels[0]["available"]), (1, &json!(-1)));
    assert_eq!(levels[0]["catalog_reference"]["options"], json!({"size": "L"}));
    assert_eq!(told_json(&world, &["stock", "show", "--below", "-9"]), json!({"stock": []}));

    let page = told(&world, &["why", "MUG-W"]);
    let mut rest: &str = &page;
    for part in [
        "MUG-W: 37 available\n",
        &format!("  Mug, white, {CATALOG}/mug, at the default location, last entry #6\n"),
        "What made it 37\n     +40  set                        1 entry\n",
        "      -2  adjust, damaged",
        "    = 37\n",
        &format!("Orders that hold it\n       2  {}\n", order_id(&taken)),
        &format!("-2 -> 37     decrement, order placed  order {}  by wix\n", order_id(&taken)),
        "-2 -> 38     adjust, damaged ",
        "  by inventory-grpc for ann  \"fell down\"\n",
        "How it is counted\n  by quantity (built in)\n",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("no {part:?} in its place: {page}"));
        rest = &rest[at + part.len()..];
    }
    let explained = told_json(&world, &["why", &format!("{CATALOG}/mug")]);
    assert_eq!((&explained["available"], &explained["unit"]["sku"]), (&json!(37), &json!("MUG-W")));
    assert_eq!(explained["orders"], json!([{"order_id": order_id(&taken), "net": 2}]));
    assert_eq!(explained["entries"][0]["kind"], "KIND_DECREMENT");
    assert!(told(&world, &["why", "MUG-W", "--at", "1"]).starts_with("MUG-W: 40 available after entry 1\n"));
    let before = told(&world, &["why", "MUG-W", "--at", "2000-01-01T00:00:00Z"]);
    assert!(before.starts_with("MUG-W: 0 available at 2000-01-01 00:00:00 UTC\n"), "{before}");
    let elsewhere = told(&world, &["why", &shirt("M")]);
    assert!(elsewhere.contains(&format!("At other locations (--location-id)\n       7  at {SHOP}\n")), "{elsewhere}");
}

async fn an_order_is_shown_call_by_call(world: World) {
    world.set(&[("mug", 5)]).await;
    let sku = v1::UpdateUnitRequest { new_sku: Some("MUG-W".into()), ..Default::default() };
    world.configure_unit("mug", sku).await.expect("the unit has a SKU");
    let first = order(&world.site, json!([item("mug", 2)]));
    assert_eq!(world.wix.call("decrement", first.clone()).await.status, 200);
    let mut more = with_new_request_id(first.clone());
    more["request"]["items"][0]["quantity"] = json!(9);
    assert_eq!(world.wix.call("decrement", more).await.status, 428);

    let page = told(&world, &["order", order_id(&first)]);
    let mut rest: &str = &page;
    for part in [
        &*format!("order {}: holds 2 pieces\n", order_id(&first)),
        "       2  = 2 - 0  MUG-W\n",
        "  decrement, order placed    applied  by wix  key wix:decrement:",
        "-2 -> 3      MUG-W\n",
        "  decrement, order placed    refused: INSUFFICIENT_STOCK, nothing was changed  by wix  key wix:decrement:",
        "      MUG-W: short by 6, because 9 were asked for and 3 were available\n",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("no {part:?} in its place: {page}"));
        rest = &rest[at + part.len()..];
    }
    let order = told_json(&world, &["order", order_id(&first)]);
    assert_eq!(order["lines"][0]["net"], json!(2));
    let outcomes: Vec<&Value> =
        order["calls"].as_array().expect("a list").iter().map(|call| &call["outcome"]).collect();
    assert_eq!(outcomes, ["CALL_OUTCOME_APPLIED", "CALL_OUTCOME_REFUSED"]);
}

async fn an_unknown_outcome_is_settled_by_its_key(world: World) {
    world.set(&[("mug", 40)]).await;
    let link = Link::to(world.grpc).await;
    link.freeze();
    let unit = format!("{CATALOG}/mug");
    let adjust = ["stock", "adjust", &unit, "-2", "--timeout-seconds", "1"];
    let (code, out, err) = run(link.address, &world.site, &adjust);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    let start =
        format!("inventory-grpc: {}: no answer within 1 second (--timeout-seconds); it is not known", link.address);
    assert!(err.starts_with(&start), "{err}");
    let (_, rest) = err.split_once("with --idempotency-key ").expect("it names the key");
    let key = rest.split(',').next().expect("the key ends");
    link.restore();
    let again = ["stock", "adjust", &unit, "-2", "--idempotency-key", key];
    let (code, _, err) = run(link.address, &world.site, &again);
    assert_eq!(code, 0, "{err}");
    assert!(told(&world, &again).starts_with("a replay: "));
    assert_eq!((world.level("mug").await, world.entries().await.len()), (38, 2), "it is applied once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_one_sentence() {
    let world = World::start(Backend::Sqlite).await;
    world.set(&[("mug", 5)]).await;
    let nobody = guid();
    let rows: [(&[&str], i32, &str); 16] = [
        (&["why", "mugg"], 1, "UNIT mugg: no unit of the site"),
        (&["stock", "set", "mugg", "1"], 1, "UNIT mugg: no unit of the site"),
        (&["stock", "show", "mugg"], 1, "UNIT mugg: no unit of the site"),
        (&["stock", "adjust", "app/mug", "0"], 1, "DELTA: must"),
        (&["stock", "set", "app/mug", "1", "--note", &"x".repeat(201)], 1, "--note: must have at most 200 characters"),
        (&["why", "app/mug", "--at", "99"], 1, "--at: is after the last entry of the site, 1"),
        (&["watch", "--after", "99"], 1, "--after: is after the last entry of the site, 1"),
        (&["order", &nobody], 1, "ORDER_ID: nothing is recorded for the order"),
        (&["why", "app/"], 2, "invalid value 'app/' for '<UNIT>': the item id is required"),
        (&["stock", "set", "app/mug/M", "1"], 2, "the option \"M\" has no value"),
        (&["stock", "set", "app/mug", "many"], 2, "invalid value 'many' for '<LEVEL>'"),
        (&["stock", "adjust", "app/mug", "1", "--reason", "broken"], 2, "[possible values: received, damaged"),
        (&["why", "app/mug", "--location-id", "shop"], 2, "'--location-id <LOCATION_ID>': must be a GUID"),
        (&["order", "1"], 2, "invalid value '1' for '<ORDER_ID>': must be a GUID"),
        (&["stock", "show", "--site-id", "x"], 1, "--site-id (SITE_ID): must be a GUID"),
        (
            &["stock", "show", "--server", "127.0.0.1:1"],
            2,
            "no server answers at 127.0.0.1:1; start it, or name another",
        ),
    ];
    for (arguments, code, message) in rows {
        let (found, out, err) = run(world.grpc, &world.site, arguments);
        assert_eq!((found, out.as_str()), (code, ""), "{arguments:?}: {err}");
        assert!(err.contains(message), "{arguments:?}: {err}");
        assert!(code == 2 || err.lines().count() == 1, "{arguments:?}: {err}");
    }
    assert!(told(&world, &["stock", "show", "app/none"]).starts_with("no level of the site"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_a_token_gets_one_or_says_so() {
    let database = Database::fresh(Backend::Sqlite);
    drop(grpc_server(&database.text));
    let reader = New { name: "reader", scopes: &[Scope::StockRead], ..New::default() }.create(&database.url);
    let scopes = [Scope::StockRead, Scope::StockWrite];
    let clerk = New { name: "clerk", scopes: &scopes, ..New::default() }.create(&database.url);
    let (server, site) = (grpc_server(&database.text), guid());
    let file = |name: &str, text: &str| {
        let path = database.folder().join(name);
        std::fs::write(&path, text).expect("the folder is writable");
        path
    };
    let with = |token: Option<&str>, arguments: &[&str]| {
        let mut command = command(server.addresses[0], &site, arguments);
        if let Some(token) = token {
            command.env("TOKEN_FILE", file("token", token));
        }
        finish(command)
    };
    let set = ["stock", "set", "app/mug", "4"];
    let (code, _, err) = with(None, &set);
    assert_eq!((code, err.contains("wants a token; give --token-file (TOKEN_FILE)")), (1, true), "{err}");
    let (code, _, err) = with(None, &["watch"]);
    assert_eq!((code, err.contains("wants a token; give --token-file (TOKEN_FILE)")), (1, true), "{err}");
    let (code, _, err) = with(Some("inv_unknown"), &set);
    assert_eq!((code, err.contains("does not accept the token of --token-file (TOKEN_FILE)")), (1, true), "{err}");
    let (code, _, err) = with(Some(&reader), &set);
    assert_eq!((code, err.contains("lacks the scope stock:write, or is not good for the site")), (1, true), "{err}");
    assert_eq!(with(Some(&clerk), &set).0, 0);
    let (code, out, err) = with(Some(&reader), &["why", "app/mug"]);
    assert!(code == 0 && out.starts_with("app/mug: 4 available\n") && out.contains("  by clerk\n"), "{out}{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_ends_a_command_quietly() {
    let world = World::start(Backend::Sqlite).await;
    for part in 0..3 {
        let items = (0..1_000).map(|item| set_item(&format!("item-{part}-{item:04}"), 1)).collect();
        world.stock().set_stock(set(&world.site, items)).await.expect("the levels can be set");
    }
    for arguments in ["stock show", "stock show --json", "watch --after 0"] {
        let real = command(world.grpc, &world.site, &[]);
        let script = format!("{} {arguments} | head -1; exit ${{PIPESTATUS[0]}}", real.get_program().display());
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).envs(real.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let (code, out, err) = finish(bash);
        assert_eq!((code, out.lines().count()), (0, 1), "{arguments}: {out}{err}");
        assert!(
            err.is_empty() || err.starts_with("watching the site") && err.lines().count() == 1,
            "{arguments}: {err}"
        );
    }
    assert_eq!(told_json(&world, &["stock", "show"])["stock"].as_array().map(Vec::len), Some(3_000));
}

/// The server filters each page of 1,000 levels after it has read it. Here the first two pages lose all of theirs.
#[tokio::test(flavor = "multi_thread")]
async fn pages_without_a_level_that_is_asked_for_are_part_of_one_list() {
    let world = World::start(Backend::Sqlite).await;
    for part in 0..2 {
        let items = (0..1_000).map(|item| set_item(&format!("item-{part}-{item:04}"), 5)).collect();
        world.stock().set_stock(set(&world.site, items)).await.expect("the levels can be set");
    }
    let last = v1::SetStockItem { location_id: SHOP.into(), ..set_item("the-last-one", 1) };
    world.stock().set_stock(set(&world.site, vec![last])).await.expect("the level can be set");
    for filter in [["--below", "2"], ["--location-id", SHOP]] {
        let listed = told_json(&world, &[&["stock", "show"][..], &filter].concat());
        let levels = listed["stock"].as_array().expect("a list");
        assert_eq!((levels.len(), &levels[0]["available"]), (1, &json!(1)), "{filter:?}");
        assert_eq!(told(&world, &[&["stock", "show"][..], &filter].concat()).lines().count(), 2, "{filter:?}");
    }
    assert_eq!(told_json(&world, &["stock", "show", "--below", "1"]), json!({"stock": []}));
}

/// Runs a command on a terminal of its own.
fn on_a_terminal(of: &Command, more: &[(&str, &str)]) -> String {
    let mut python = Command::new("python3");
    python.args(["-c", "import pty, sys; pty.spawn(sys.argv[1:])"]).arg(of.get_program()).args(of.get_args());
    python.envs(of.get_envs().filter_map(|(name, value)| Some((name, value?))));
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        python.env_remove(name);
    }
    python.env("TERM", "xterm").envs(more.iter().copied()).stdin(Stdio::null());
    let (code, out, err) = finish(python);
    assert_eq!(code, 0, "{out}{err}");
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_for_terminals_and_not_with_no_color() {
    let world = World::start(Backend::Sqlite).await;
    world.set(&[("mug", 5)]).await;
    let why = command(world.grpc, &world.site, &["why", &format!("{CATALOG}/mug")]);
    let coloured = on_a_terminal(&why, &[]);
    assert!(coloured.contains('\u{1b}') && coloured.contains("available"), "{coloured:?}");
    let plain = on_a_terminal(&why, &[("NO_COLOR", "1")]);
    assert!(!plain.contains('\u{1b}') && plain.contains("5 available"), "{plain:?}");
}
