//! `wix-adapter send` as a person runs it: single calls, every scenario, their exit codes, and the hints of the demo.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use inventory_core::model::access::Scope;
use inventory_proto::v1;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::certificates::Authority;
use inventory_tests::front::{Act, Came, front};
use inventory_tests::on_both;
use inventory_tests::programs::{Running, adapter, finish_saying, grpc_server, program};
use inventory_tests::test_keys::{app_key, other_key};
use inventory_tests::tokens::{New, channel_to};
use inventory_tests::wix_caller::{APP_ID, CATALOG};
use inventory_tests::world::{Backend, Database, World};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

/// No step here takes this long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Every scenario, with the levels at its end.
const SCENARIOS: [(&str, &[(&str, i64)]); 9] = [
    ("order", &[("send-order", 3)]),
    ("replay", &[("send-replay", 3)]),
    ("sold-out", &[("send-sold-out", 2)]),
    ("paid", &[("send-paid", -1)]),
    ("edit", &[("send-edit-old", 5), ("send-edit-new", 3)]),
    ("refund-then-cancel", &[("send-refund", 6)]),
    ("expired-token", &[("send-expired-token", 5)]),
    ("wrong-key", &[("send-wrong-key", 5)]),
    ("rush", &[("send-rush", 0)]),
];

/// A folder with the private keys `app.pem`, which the adapters believe, and `other.pem`.
fn keys() -> TempDir {
    let folder = TempDir::new().expect("the temporary folder is writable");
    for (name, key) in [("app.pem", app_key()), ("other.pem", other_key())] {
        std::fs::write(folder.path().join(name), &key.private).expect("the file can be written");
    }
    folder
}

/// `wix-adapter send` for a site of an adapter, with more arguments.
fn send(keys: &Path, site: &str, url: &str, arguments: &[&str]) -> Command {
    let mut command = program("wix-adapter");
    command.args(["send", "--url", url, "--instance-id", site, "--app-id", APP_ID, "--catalog-app-id", CATALOG]);
    command.current_dir(keys).args(["--key-file", "app.pem"]).args(arguments);
    command
}

/// The same, in a test that serves meanwhile.
async fn run_beside(command: Command) -> (i32, String) {
    tokio::task::spawn_blocking(|| finish_saying(command)).await.expect("no panic")
}

on_both!(
    every_scenario_comes_out_as_it_says_whatever_the_levels_were,
    a_return_of_too_much_is_clipped_if_the_site_says_so,
);

async fn every_scenario_comes_out_as_it_says_whatever_the_levels_were(world: World) {
    let keys = keys();
    let (url, grpc) = (format!("http://{}", world.http), world.grpc.to_string());
    for round in 0..2 {
        for (scenario, levels) in SCENARIOS {
            let command = send(keys.path(), &world.site, &url, &[scenario, "--grpc-upstream", &grpc]);
            let (code, text) = run_beside(command).await;
            assert!(code == 0 && text.ends_with("came out as it should\n"), "{scenario}, round {round}: {text}");
            assert!(text.contains("in all, as expected") || text.contains("no entry, as expected"), "{text}");
            for (item, level) in levels {
                assert_eq!(world.level(item).await, *level, "{scenario}: {item}");
            }
        }
    }
    let command = send(keys.path(), &world.site, &url, &["rush", "--buyers", "3", "--grpc-upstream", &grpc]);
    let (code, text) = run_beside(command).await;
    assert!(code == 0 && text.contains("answers  3 x 200\n"), "{text}");
    assert_eq!(world.level("send-rush").await, 2);
}

async fn a_return_of_too_much_is_clipped_if_the_site_says_so(world: World) {
    let keys = keys();
    let clip = v1::OverReturnPolicy::Clip.into();
    let clip = v1::UpdateSiteRequest { over_returns: clip, ..Default::default() };
    world.configure_site(clip).await.expect("the policy can be set");
    let (url, grpc) = (format!("http://{}", world.http), world.grpc.to_string());
    let arguments = ["refund-then-cancel", "--grpc-upstream", &grpc];
    let (code, text) = run_beside(send(keys.path(), &world.site, &url, &arguments)).await;
    assert!(code == 0 && text.contains("the site's policy clips the third"), "{text}");
    assert_eq!(world.level("send-refund").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scenario_says_why_the_ledger_cannot_be_asked() {
    let database = Database::fresh(Backend::Sqlite);
    let (server, keys, site) = (grpc_server(&database.text), keys(), Uuid::new_v4().to_string());
    let front = adapter(server.addresses[0]);
    let url = format!("http://{}", front.addresses[0]);
    let nowhere = ["order", "--grpc-upstream", "127.0.0.1:1"];
    let (code, text) = finish_saying(send(keys.path(), &site, &url, &nowhere));
    assert!(code == 0 && text.contains("ledger   not asked: no server answers at 127.0.0.1:1"), "{text}");
    assert!(text.contains("send-order: 3 available, as expected: 2 are taken"), "{text}");

    // With tokens, the adapter needs one too.
    let token = |name: &str, scope: Scope| {
        let file = keys.path().join(name);
        std::fs::write(&file, New { name, scopes: &[scope], ..New::default() }.create(&database.url))
            .expect("the file can be written");
        file
    };
    let (orders, read) = (token("orders", Scope::Orders), token("read", Scope::StockRead));
    let mut with_token = program("wix-adapter");
    with_token.args(["serve", "--http-listen", "127.0.0.1:0", "--wix-app-id", APP_ID]);
    with_token.args(["--grpc-upstream", &server.addresses[0].to_string()]).arg("--upstream-token-file").arg(&orders);
    with_token.env("WIX_PUBLIC_KEY", &app_key().public);
    let front = Running::start(with_token, 1);
    let url = format!("http://{}", front.addresses[0]);
    let play = |file: Option<&PathBuf>| {
        let grpc = server.addresses[0].to_string();
        let mut command = send(keys.path(), &site, &url, &["order", "--grpc-upstream", &grpc]);
        command.args(file.map(|_| "--token-file")).args(file);
        finish_saying(command)
    };
    // The server reads new tokens within seconds.
    let started = Instant::now();
    let mut refused = play(None);
    while !refused.1.contains("it wants a token: --token-file (TOKEN_FILE)") {
        assert!(started.elapsed() < PATIENCE, "{}", refused.1);
        refused = play(None);
    }
    assert_eq!(refused.0, 0, "{}", refused.1);
    let (code, text) = play(Some(&orders));
    assert!(code == 0 && text.contains("has no scope stock:read for this site"), "{text}");
    let (code, text) = play(Some(&read));
    assert!(code == 0 && text.contains("1 in all, as expected"), "{text}");
    let (code, text) = play(Some(&keys.path().join("none")));
    assert!(code == 0 && text.contains("not asked: --token-file (TOKEN_FILE)"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_tells_what_became_of_a_call() {
    let world = World::start(Backend::Sqlite).await;
    world.set(&[("A", 5)]).await;
    let (keys, url) = (keys(), format!("http://{}", world.http));
    let rows: [(&[&str], i32, &str); 12] = [
        (&["decrement", "--item", "A:2"], 0, "200 {}"),
        (&["increment", "--item", "A", "--reason", "ORDER_REFUNDED"], 0, "200 {}"),
        (&["decrement", "--item", "A:9"], 1, "428"),
        (&["decrement", "--item", "A:9", "--unrestricted"], 0, "200 {}"),
        (&["decrement", "--item", "A", "--key-file", "other.pem"], 2, "401"),
        (&["decrement", "--item", "A", "--app-id", "another"], 2, "401"),
        (&["decrement", "--item", "A", "--key-file", "none.pem"], 2, "cannot read the key file none.pem"),
        (
            &["decrement", "--item", "A", "--url", "http://127.0.0.1:1"],
            2,
            "no adapter answers at http://127.0.0.1:1/v1/",
        ),
        (&["decrement", "--item", "A", "--url", "127.0.0.1"], 2, "must be https://HOST or http://HOST"),
        (&["decrement", "--item", "A", "--reason", "ORDER_LOST"], 2, "must be one of ORDER_PLACED, ORDER_PAID"),
        (&["decrement"], 2, "--item"),
        (&["order", "--key-file", "other.pem", "--grpc-upstream", "127.0.0.1:1"], 2, "check --key-file, --app-id"),
    ];
    for (arguments, expected, part) in rows {
        // A flag of the row goes before the same flag of `send`.
        let given = |flag: &&&str| flag.starts_with("--") && ["--url", "--key-file", "--app-id"].contains(flag);
        let mut command = program("wix-adapter");
        command.current_dir(keys.path()).arg("send").args(["--instance-id", &world.site, "--catalog-app-id", CATALOG]);
        for (flag, value) in [("--url", &*url), ("--key-file", "app.pem"), ("--app-id", APP_ID)] {
            if !arguments.iter().filter(given).any(|own| *own == flag) {
                command.args([flag, value]);
            }
        }
        command.args(arguments);
        let (code, text) = run_beside(command).await;
        assert!(code == expected && text.contains(part), "{arguments:?}: {code} {text}");
    }
    assert_eq!(world.level("A").await, -5);
}

/// The quantity of the first item in the body of a call.
fn quantity(came: &Came<'_>) -> i64 {
    let claims = came.body.split(|byte| *byte == b'.').nth(1).expect("a token has three parts");
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("JSON");
    claims["data"]["request"]["items"][0]["quantity"].as_i64().expect("a number")
}

/// An adapter that answers 200 to every order that is not beyond all reason, and takes nothing, ever.
async fn careless_adapter(item: &'static str, level: i64) -> SocketAddr {
    front(SocketAddr::from(([127, 0, 0, 1], 1)), move |came| {
        if came.path.ends_with("/increment") || quantity(came) < 100_000 {
            return Act::Answer(200, "{}".to_owned());
        }
        let shortage = json!({"catalogReference": {"catalogItemId": item}, "available": level});
        let data = json!({"reason": "INSUFFICIENT_STOCK", "shortages": [shortage]});
        Act::Answer(428, json!({"applicationError": {"code": "DECREMENT_NOT_POSSIBLE", "data": data}}).to_string())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scenario_that_comes_out_otherwise_says_how() {
    let (keys, site) = (keys(), Uuid::new_v4().to_string());
    let rows = [
        ("order", "send-order", 5, "DIFFERS  expected send-order: 3 available"),
        ("sold-out", "send-sold-out", 2, "DIFFERS  expected 428, got 200 {}"),
        ("wrong-key", "send-wrong-key", 5, "DIFFERS  expected 401, got 200 {}"),
        ("expired-token", "send-expired-token", 5, "DIFFERS  expected 401, got 200 {}"),
        ("rush", "send-rush", 5, "DIFFERS  expected 5 x 200, 15 x 428"),
    ];
    for (scenario, item, level, part) in rows {
        let url = format!("http://{}", careless_adapter(item, level).await);
        let arguments = [scenario, "--grpc-upstream", "127.0.0.1:1"];
        let (code, text) = run_beside(send(keys.path(), &site, &url, &arguments)).await;
        assert!(code == 1 && text.contains(part), "{scenario}: {code} {text}");
        assert!(text.ends_with("did NOT come out as it should\n"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_no_failure() {
    let world = World::start(Backend::Sqlite).await;
    let (keys, url) = (keys(), format!("http://{}", world.http));
    for arguments in [&["rush", "--grpc-upstream", "127.0.0.1:1"][..], &["increment", "--item", "A"]] {
        let mut command = send(keys.path(), &world.site, &url, arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        drop(child.stdout.take());
        let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.expect("no panic");
        let output = output.expect("the program ends");
        assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stderr)), (Some(0), ""), "{arguments:?}");
    }
    assert_eq!((world.level("send-rush").await, world.level("A").await), (0, 1));
}

#[test]
fn an_https_url_is_called_and_its_certificate_checked() {
    let database = Database::fresh(Backend::Sqlite);
    let (ours, other, keys, site) = (Authority::new(), Authority::new(), keys(), Uuid::new_v4().to_string());
    let (server, pair) = (grpc_server(&database.text), ours.issue("adapter"));
    let mut command = program("wix-adapter");
    command.args(["serve", "--http-listen", "127.0.0.1:0", "--wix-app-id", APP_ID]);
    command.args(["--grpc-upstream", &server.addresses[0].to_string()]).env("WIX_PUBLIC_KEY", &app_key().public);
    command.arg("--tls-cert").arg(&pair.certificate).arg("--tls-key").arg(&pair.key);
    let adapter = Running::start(command, 1);
    let port = adapter.addresses[0].port();
    let order = |url: &str, ca: Option<&Authority>| {
        let grpc = server.addresses[0].to_string();
        let mut command = send(keys.path(), &site, url, &["order", "--grpc-upstream", &grpc]);
        command.args(ca.map(|_| "--ca")).args(ca.map(Authority::file));
        finish_saying(command)
    };
    let (code, text) = order(&format!("https://localhost:{port}/shop/"), Some(&ours));
    assert!(code == 0 && text.contains("1 in all, as expected"), "{text}");
    let url = format!("https://localhost:{port}");
    for ca in [Some(&other), None] {
        let (code, text) = order(&url, ca);
        assert!(code == 2 && text.contains("invalid peer certificate"), "{code} {text}");
    }
    let (code, text) = order(&format!("http://localhost:{port}"), None);
    assert!(code == 2 && text.contains("no adapter answers"), "{code} {text}");
    let (code, text) = order(&format!("http://localhost:{port}"), Some(&ours));
    assert!(code == 2 && text.contains("--ca is set, but --url"), "{code} {text}");
}

/// A process that ends with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hints_of_the_demo_work_on_any_port() {
    let folder = TempDir::new().expect("the temporary folder is writable");
    let printed = folder.path().join("printed");
    let mut command = program("wix-adapter");
    command.args(["standalone", "--demo", "--http-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"]);
    command.current_dir(folder.path()).stdout(File::create(&printed).expect("writable")).stderr(Stdio::null());
    let _demo = Killed(command.spawn().expect("the program starts"));
    let started = Instant::now();
    let read = || std::fs::read_to_string(&printed).expect("the output can be read");
    while !read().contains("inventory-grpc watch\n") {
        assert!(started.elapsed() < PATIENCE, "{}", read());
        tokio::task::yield_now().await;
    }
    let text = read();
    let hints: Vec<String> =
        text.replace("\\\n", "").lines().filter(|line| line.contains("wix-adapter send ")).map(str::to_owned).collect();
    let expected = [(0, "200 {}"), (1, "428"), (0, "came out as it should")];
    assert_eq!(hints.len(), expected.len(), "{text}");
    for (hint, (code, part)) in hints.iter().zip(expected) {
        let mut command = Command::new("sh");
        command.args(["-c", hint]).current_dir(folder.path());
        let (got, said) = run_beside(command).await;
        assert!(got == code && said.contains(part), "{hint}: {got} {said}");
        assert!(!said.contains("not asked"), "{said}");
    }
    // The first hint is a replay, so one shirt is gone.
    let grpc = text.lines().next().and_then(|line| line.rsplit(' ').next()).expect("the first line has the address");
    let mut client = StockServiceClient::new(channel_to(grpc.parse().expect("an address")));
    let reference = v1::CatalogReference {
        app_id: wix_adapter::demo::CATALOG_APP_ID.into(),
        catalog_item_id: "shirt".into(),
        ..Default::default()
    };
    let request = v1::GetStockRequest {
        site_id: wix_adapter::demo::SITE_ID.into(),
        unit: Some(reference.into()),
        ..Default::default()
    };
    let stock = client.get_stock(request).await.expect("stock can be read").into_inner().stock;
    assert_eq!(stock.expect("the answer holds the stock").available, 11);
}
