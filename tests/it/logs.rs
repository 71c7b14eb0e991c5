//! The log of the real programs: its form, its levels, and what it leaves out.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use inventory_core::model::access::Scope;
use inventory_proto::Bearer;
use inventory_tests::chaos::Link;
use inventory_tests::programs::{Running, program};
use inventory_tests::test_keys::{app_key, other_key, signing_key};
use inventory_tests::tokens::{GET_SITE, New, bearer, call, channel_to, code_of, until_known};
use inventory_tests::wix_caller::{APP_ID, WixCaller, claims, item, order, order_id, sign};
use inventory_tests::world::{Backend, Database};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tonic::Code;
use uuid::Uuid;

/// The names of a line's fields, at all depths, in their order in the text.
fn field_names(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut text, mut is_escaped) = (None::<String>, false);
    let mut last = String::new();
    for c in line.chars() {
        match (&mut text, c) {
            (Some(_), _) if is_escaped => is_escaped = false,
            (Some(_), '\\') => is_escaped = true,
            (Some(own), '"') => {
                last = std::mem::take(own);
                text = None;
            }
            (Some(own), c) => own.push(c),
            (None, '"') => text = Some(String::new()),
            (None, ':') => names.push(last.clone()),
            (None, _) => {}
        }
    }
    names
}

/// Starts both servers in one process, sends an order, a replay, an order that is refused, and a bad token. Returns the
/// log, and the id of the refused order.
async fn log_of(flags: &[&str]) -> (Vec<Value>, String, String) {
    let database = Database::fresh(Backend::Sqlite);
    let path = database.folder().join("log");
    let mut command = program("wix-adapter");
    command.args(["standalone", "--http-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"]);
    command.args(["--database-url", &database.text, "--wix-app-id", APP_ID]).args(flags);
    command.env("WIX_PUBLIC_KEY", &app_key().public);
    let servers = Running::start_logging(command, 2, &path);
    let addresses = servers.addresses.clone();
    let caller = WixCaller::new(addresses[1]);
    let site = Uuid::new_v4().to_string();
    assert_eq!(caller.call("increment", order(&site, json!([item("A", 1)]))).await.status, 200);
    let refused = order(&site, json!([item("A", 2)]));
    assert_eq!(caller.call("decrement", refused.clone()).await.status, 428);
    assert_eq!(caller.post("/v1/decrement", "a.b.c".into()).await.status, 401);
    drop(caller);
    assert!(tokio::task::spawn_blocking(|| servers.terminate().success()).await.expect("no panic"));
    let text = std::fs::read_to_string(&path).expect("the log can be read");
    for line in text.lines() {
        let names: Vec<String> = field_names(line).into_iter().filter(|name| name != "name").collect();
        let different: BTreeSet<&String> = names.iter().collect();
        assert_eq!(names.len(), different.len(), "a field stands twice in {line}");
    }
    let started = &text.lines().next().expect("the log has lines").to_owned();
    for address in &addresses {
        assert!(started.contains(&address.to_string()), "{started}");
    }
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")));
    (lines.collect(), order_id(&refused).to_owned(), site)
}

/// The level and the message of each line.
fn told(lines: &[Value]) -> Vec<(&str, &str)> {
    let text = |line: &'static str| line;
    lines
        .iter()
        .map(|line| (line[text("level")].as_str().unwrap_or_default(), line["message"].as_str().unwrap_or_default()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_the_start_and_refusals_but_no_successes() {
    let (lines, order, site) = log_of(&[]).await;
    assert_eq!(lines[0]["message"], "started");
    for field in ["version", "schema", "backend"] {
        assert!(lines[0][field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {}", lines[0]);
    }
    let told = told(&lines);
    let expected = [("INFO", "refused"), ("INFO", "request refused"), ("INFO", "token refused")];
    for line in expected {
        assert_eq!(told.iter().filter(|own| **own == line).count(), 1, "{line:?} in {told:?}");
    }
    assert!(told.iter().all(|(level, message)| *level == "INFO" && *message != "call"), "{told:?}");
    let refused = lines.iter().find(|line| line["message"] == "refused").expect("checked before");
    assert_eq!(refused["code"], "FAILED_PRECONDITION");
    let span = &refused["spans"][0];
    assert_eq!((&span["order.id"], &span["site.id"]), (&json!(order), &json!(site)));
    assert_eq!(span["rpc.method"], "inventory.v1.AvailabilityService/DecrementAvailability");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_calls_makes_one_line_for_each_call() {
    let (lines, order, _) = log_of(&["--log-calls"]).await;
    let calls = |target: &str| {
        let of_target = lines.iter().filter(|line| line["target"].as_str().is_some_and(|own| own.starts_with(target)));
        of_target.filter(|line| line["ms"].is_number()).cloned().collect::<Vec<_>>()
    };
    let (server, front) = (calls("inventory_grpc"), calls("wix_adapter"));
    // The stream on which the adapter calls is the last call of the server.
    assert_eq!((server.len(), front.len()), (3, 3), "{lines:?}");
    let codes: Vec<&str> = server.iter().filter_map(|line| line["code"].as_str()).collect();
    assert_eq!(codes, ["OK", "FAILED_PRECONDITION", "OK"]);
    let answers: Vec<&str> = front.iter().filter_map(|line| line["answer"].as_str()).collect();
    assert_eq!(answers, ["done", "not_possible", "unauthorized"]);
    for line in [&server[1], &front[1]] {
        let span = &line["spans"][0];
        assert_eq!(span["order.id"], json!(order));
        assert!(span["request.id"].is_string() && span["site.id"].is_string(), "{line}");
    }
}

#[test]
fn a_wrong_filter_collector_or_app_id_is_one_sentence() {
    type Row<'a> = (&'a str, &'a [&'a str], (&'a str, &'a str), &'a str);
    let rows: [Row<'_>; 7] = [
        ("inventory-grpc", &["serve"], ("RUST_LOG", "inof"), "inventory-grpc: RUST_LOG: \"inof\" is no filter; "),
        ("wix-adapter", &["serve"], ("RUST_LOG", "a=b"), "wix-adapter: RUST_LOG: \"a=b\" is no filter; "),
        (
            "inventory-grpc",
            &["serve", "--otlp-endpoint", "ftp://x"],
            ("A", ""),
            "'--otlp-endpoint <OTLP_ENDPOINT>': must",
        ),
        ("wix-adapter", &["serve"], ("OTLP_ENDPOINT", "here"), "'--otlp-endpoint <OTLP_ENDPOINT>': must be http://"),
        (
            "wix-adapter",
            &["serve"],
            ("OTLP_ENDPOINT", "https://collector:4317"),
            "wix-adapter: --otlp-endpoint (OTLP_ENDPOINT): https://collector:4317/ is https, so --otlp-ca (OTLP_CA) is",
        ),
        (
            "inventory-grpc",
            &["serve", "--otlp-endpoint", "https://collector:4317", "--otlp-ca", "/no/such.pem"],
            ("A", ""),
            "inventory-grpc: --otlp-ca (OTLP_CA): /no/such.pem cannot be read: ",
        ),
        (
            "wix-adapter",
            &["serve", "--wix-app-id", "my app"],
            ("A", ""),
            "wix-adapter: --wix-app-id (WIX_APP_ID): \"my app\" is no app id; ",
        ),
    ];
    for (name, arguments, (variable, value), message) in rows {
        let mut command = program(name);
        let output = command.args(arguments).env(variable, value).output().expect("the program starts");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(message), "{name} {arguments:?}: {text}");
        let own = text.lines().filter(|line| line.starts_with(name)).count();
        assert!(own <= 1 && !text.contains("panicked"), "{text}");
    }
}

/// Lines that an outage may add to the log, whatever the number of orders.
const OUTAGE_LINES_MAX: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn orders_during_an_outage_add_few_lines() {
    let database = Database::fresh(Backend::Postgres);
    let (_, host) = database.text.split_once('@').expect("the URL names the user");
    let (host, _) = host.split_once('/').expect("the URL names the database");
    let link = Link::to(host.parse().expect("host and port are an address")).await;
    let path = database.folder().join("log");
    let mut command = program("wix-adapter");
    command.args(["standalone", "--http-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"]);
    command.args(["--database-url", &database.text.replace(host, &link.address.to_string())]);
    command.args(["--wix-app-id", APP_ID]).env("WIX_PUBLIC_KEY", &app_key().public);
    let log = path.clone();
    let servers = tokio::task::spawn_blocking(move || Running::start_logging(command, 2, &log)).await;
    let servers = servers.expect("no panic");
    let wix = WixCaller::new(servers.addresses[1]);
    let site = Uuid::new_v4().to_string();
    let call = async || wix.call("increment", order(&site, json!([item("A", 1)]))).await.status;
    assert_eq!(call().await, 200);
    let lines = || std::fs::read_to_string(&path).expect("the log can be read");
    let before = lines().lines().count();
    link.cut();
    for _ in 0..10 {
        let statuses = join_all((0..30).map(|_| call())).await;
        assert!(statuses.iter().all(|status| *status == 503), "{statuses:?}");
    }
    let added: Vec<String> = lines().lines().skip(before).map(str::to_owned).collect();
    assert!(added.len() <= OUTAGE_LINES_MAX, "{} lines, such as {:#?}", added.len(), &added[..OUTAGE_LINES_MAX]);
    link.restore();
    while call().await != 200 {}
}

/// Bad tokens of one cause.
const BAD_TOKENS: usize = 1_000;
/// How many of them are sent at a time.
const AT_A_TIME: usize = 50;
/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_add_few_lines_and_each_is_counted() {
    let database = Database::fresh(Backend::Sqlite);
    let path = database.folder().join("log");
    let mut command = program("wix-adapter");
    command.args(["standalone", "--http-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"]);
    command.args(["--database-url", &database.text, "--wix-app-id", APP_ID]);
    command.args(["--admin-listen", "127.0.0.1:0"]).env("WIX_PUBLIC_KEY", &app_key().public);
    let servers = Running::start_logging(command, 3, &path);
    let wix = WixCaller::new(servers.addresses[1]);
    let refuse = async |token: &str| assert_eq!(wix.post("/v1/decrement", token.to_owned()).await.status, 401);
    let refusals = |cause: &str| {
        let text = std::fs::read_to_string(&path).expect("the log can be read");
        // The last line may be half written.
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["cause"] == cause).collect::<Vec<_>>()
    };

    let data = order(&Uuid::new_v4().to_string(), json!([item("A", 1)]));
    let wrong_key = sign(Algorithm::RS256, &signing_key(other_key()), &claims(data));
    let started = Instant::now();
    refuse(&wrong_key).await;
    let first = refusals("wrong_signature");
    assert_eq!(first.len(), 1, "{first:?}");
    assert_eq!((&first[0]["level"], &first[0]["message"]), (&json!("INFO"), &json!("token refused")));
    assert_eq!((&first[0]["refused"], &first[0]["calls"]), (&json!("wrong signature"), &json!(1)));
    for _ in 0..BAD_TOKENS / AT_A_TIME {
        join_all((0..AT_A_TIME).map(|_| refuse(&wrong_key))).await;
    }
    let lines = refusals("wrong_signature").len() as u64;
    assert!(lines <= 1 + started.elapsed().as_secs(), "{lines} lines in {:?}", started.elapsed());
    refuse("no token").await;
    assert_eq!(refusals("not_compact").len(), 1, "another cause has its own line at once");

    // When no more have come for a while, the log has told of all of them.
    let told = || refusals("wrong_signature").iter().filter_map(|line| line["since_last_line"].as_u64()).sum::<u64>();
    let all = async {
        while told() <= BAD_TOKENS as u64 {
            assert_eq!(wix.get("/healthz").await, 200);
        }
    };
    tokio::time::timeout(LONG, all).await.expect("the end is told");
    assert_eq!(told(), 1 + BAD_TOKENS as u64);
    let metrics = WixCaller::new(servers.addresses[2]).metrics().await;
    let counted = format!("wix_token_refusals_total{{cause=\"wrong_signature\"}} {}", 1 + BAD_TOKENS);
    assert!(metrics.lines().any(|line| line == counted), "{counted} is not in\n{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_not_let_in_add_few_lines_to_the_log_of_grpc_and_each_is_counted() {
    let database = Database::fresh(Backend::Sqlite);
    let path = database.folder().join("log");
    let mut command = program("inventory-grpc");
    command.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", &database.text]);
    command.args(["--admin-listen", "127.0.0.1:0"]);
    let server = Running::start_logging(command, 2, &path);
    let good = New { name: "erp", scopes: &[Scope::StockRead], ..New::default() }.create(&database.url);
    let channel = channel_to(server.addresses[0]);
    until_known(channel.clone(), &good).await;
    let admin = WixCaller::new(server.addresses[1]);
    let counted = |text: &str, cause: &str| {
        let name = format!("inventory_token_refusals_total{{cause=\"{cause}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)?.parse::<usize>().ok())
    };
    assert_eq!(counted(&admin.metrics().await, "scope"), Some(0), "it is there from the start");

    let lines = || std::fs::read_to_string(&path).expect("the log can be read").lines().count();
    let (before, missing) = (lines(), counted(&admin.metrics().await, "missing"));
    let (none, holder) = (Bearer::NONE, bearer(&good));
    for _ in 0..BAD_TOKENS / AT_A_TIME {
        join_all((0..AT_A_TIME).map(async |_| {
            let ask = async |path, bearer| code_of(&call(channel.clone(), bearer, path, ()).await);
            assert_eq!(ask(GET_SITE, &none).await, Code::Unauthenticated);
            assert_eq!(ask("/inventory.v1.SiteService/UpdateSite", &holder).await, Code::PermissionDenied);
            assert_eq!(ask("/inventory.v1.SiteService/Nothing", &none).await, Code::Unimplemented);
        }))
        .await;
    }
    let added = lines() - before;
    assert!(added <= OUTAGE_LINES_MAX, "{added} lines");
    let text = admin.metrics().await;
    assert_eq!(counted(&text, "scope"), Some(BAD_TOKENS));
    assert_eq!(counted(&text, "missing"), missing.map(|before| before + BAD_TOKENS));
}
