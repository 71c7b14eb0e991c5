//! The metrics of the real programs: their form, and that everything that operators are given names real ones.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use axum::http::Method;
use inventory_proto::v1;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::site_service_client::SiteServiceClient;
use inventory_tests::programs::{Running, program};
use inventory_tests::test_keys::app_key;
use inventory_tests::wix_caller::{APP_ID, WixCaller, item, order};
use inventory_tests::world::{Backend, Database};
use serde_json::{Value, json};
use tonic::transport::Endpoint;
use uuid::Uuid;

/// The operators' files, as they stand in the repository.
const DASHBOARD: &str = include_str!("../../inventory-grpc/operations/dashboard.json");
const ALERTS: &str = include_str!("../../inventory-grpc/operations/alerts.yml");
const README: &str = include_str!("../../inventory-grpc/operations/README.md");

/// Both programs, each with metrics.
struct Programs {
    _server: Running,
    _front: Running,
    grpc: SocketAddr,
    wix: WixCaller,
    admins: [WixCaller; 2],
    _database: Database,
}

impl Programs {
    async fn start(backend: Backend) -> Self {
        let database = Database::fresh(backend);
        let mut command = program("inventory-grpc");
        command.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", &database.text]);
        command.args(["--admin-listen", "127.0.0.1:0"]);
        let server = Running::start(command, 2);
        let mut command = program("wix-adapter");
        command.args(["serve", "--http-listen", "127.0.0.1:0", "--wix-app-id", APP_ID]);
        command.args(["--grpc-upstream", &server.addresses[0].to_string(), "--admin-listen", "127.0.0.1:0"]);
        command.env("WIX_PUBLIC_KEY", &app_key().public);
        let front = Running::start(command, 2);
        let (grpc, wix) = (server.addresses[0], WixCaller::new(front.addresses[0]));
        let admins = [&server, &front].map(|program| WixCaller::new(program.addresses[1]));
        let programs = Self { _server: server, _front: front, grpc, wix, admins, _database: database };
        // Once they answer, they have made all of their metrics.
        let list = v1::ListSitesRequest::default();
        SiteServiceClient::new(programs.endpoint().connect_lazy()).list_sites(list).await.expect("the server answers");
        programs.wix.send(Method::GET, "/healthz", Vec::new()).await.expect("the adapter answers");
        programs
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.grpc)).expect("the URL is valid")
    }

    /// The metrics of both programs, as text.
    async fn scrape(&self) -> String {
        let mut text = String::new();
        for admin in &self.admins {
            text.push_str(&admin.metrics().await);
        }
        text
    }

    /// Scrapes until each of `lines` is there.
    async fn until(&self, lines: &[&str]) {
        let mut text = self.scrape().await;
        for _ in 0..2_000 {
            let missing: Vec<&&str> = lines.iter().filter(|line| !text.lines().any(|own| own == **line)).collect();
            if missing.is_empty() {
                return;
            }
            text = self.scrape().await;
        }
        panic!("{lines:?} are not all in\n{text}");
    }
}

/// A metric: its help, its type, and the names of its samples with the labels of each.
#[derive(Default)]
struct Family {
    help: String,
    kind: String,
    samples: Vec<(String, BTreeSet<String>)>,
}

fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => families.entry(name.to_owned()).or_default().help = help.to_owned(),
            ["#", "TYPE", name, kind] => families.entry(name.to_owned()).or_default().kind = kind.to_owned(),
            _ => {
                let name: String = line.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let labels = line[name.len()..].split('}').next().and_then(|labels| labels.strip_prefix('{'));
                let labels = labels.unwrap_or_default().split("\",").filter_map(|label| label.split('=').next());
                let labels = labels.filter(|label| !label.is_empty()).map(str::to_owned).collect();
                let of = |suffix| name.strip_suffix(suffix).filter(|base| families.contains_key(*base));
                let base = ["_bucket", "_sum", "_count"].into_iter().find_map(of).unwrap_or(&name).to_owned();
                families.entry(base).or_default().samples.push((name, labels));
            }
        }
    }
    families
}

/// What is wrong with the form of the metrics, by the conventions of Prometheus.
fn violations(families: &BTreeMap<String, Family>) -> Vec<String> {
    let mut violations = Vec::new();
    for (name, Family { help, kind, samples }) in families {
        let mut bad = |what: &str| violations.push(format!("{name}: {what}"));
        if !help.ends_with('.') || help.len() < 20 {
            bad("has no sentence as its help");
        }
        if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            bad("has a name that is not in snake case");
        }
        let ends = |suffix: &str| samples.iter().any(|(sample, _)| *sample == format!("{name}{suffix}"));
        match kind.as_str() {
            "counter" if !name.ends_with("_total") => bad("is a counter whose name does not end in _total"),
            "histogram" if !(ends("_bucket") && ends("_sum") && ends("_count")) => bad("is an incomplete histogram"),
            "gauge" | "histogram" if ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end)) => {
                bad("has the ending of another type");
            }
            "counter" | "gauge" | "histogram" => {}
            _ => bad("is neither a counter, nor a gauge, nor a histogram"),
        }
        if samples.is_empty() {
            bad("has no samples");
        }
        for unit in ["milliseconds", "_ms", "_micros", "_kb", "_mb"] {
            if name.contains(unit) {
                bad("is not in a base unit");
            }
        }
    }
    violations
}

/// The names and labels of an expression that must belong to a metric. Functions, operators and durations are none.
fn names_of(expression: &str) -> BTreeSet<String> {
    let mut rest = String::new();
    let mut quoted = false;
    for c in expression.chars() {
        match c {
            '"' => quoted = !quoted,
            _ if quoted => {}
            c => rest.push(c),
        }
    }
    // What stands in braces and in the lists of these words are labels.
    for (open, close) in [("{", '}'), ("by (", ')'), ("without (", ')'), ("on (", ')'), ("ignoring (", ')')] {
        while let Some(start) = rest.find(open) {
            let end = rest[start..].find(close).map_or(rest.len(), |end| start + end + 1);
            rest.replace_range(start..end, " ");
        }
    }
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let mut names = BTreeSet::new();
    let mut at = 0;
    while let Some(start) = rest[at..].find(is_name).map(|start| at + start) {
        let end = rest[start..].find(|c| !is_name(c)).map_or(rest.len(), |end| start + end);
        let word = &rest[start..end];
        let is_function = rest[end..].trim_start().starts_with('(');
        if !is_function && word.contains('_') && word.starts_with(|c: char| c.is_ascii_lowercase()) {
            names.insert(word.to_owned());
        }
        at = end;
    }
    names
}

/// The values of every `expr` in the dashboard.
fn dashboard_expressions(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match value.as_str() {
                Some(text) if name == "expr" => vec![text.to_owned()],
                _ => dashboard_expressions(value),
            })
            .collect(),
        Value::Array(elements) => elements.iter().flat_map(dashboard_expressions).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// The expressions of the alert rules. Each stands on one line.
fn alert_expressions(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix("expr: ")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_follows_the_conventions_from_the_start_and_is_documented() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let programs = Programs::start(backend).await;
        let families = families(&programs.scrape().await);
        assert_eq!(violations(&families), [""; 0]);
        let exported: BTreeSet<&str> = families.keys().map(String::as_str).collect();
        let in_table = |line: &'static str| line.strip_prefix("| `").and_then(|rest| rest.split('`').next());
        let documented = README.lines().skip_while(|line| *line != "## Metrics").skip(1);
        let documented = documented.take_while(|line| !line.starts_with("## ")).filter_map(in_table);
        let documented: BTreeSet<&str> = documented.collect();
        assert_eq!(documented, exported, "operations/README.md must list exactly the metrics");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_and_alerts_name_only_metrics_that_are_exported() {
    let programs = Programs::start(Backend::Sqlite).await;
    let families = families(&programs.scrape().await);
    let samples: BTreeSet<&str> =
        families.values().flat_map(|family| &family.samples).map(|(sample, _)| sample.as_str()).collect();
    let dashboard = dashboard_expressions(&serde_json::from_str(DASHBOARD).expect("the dashboard is JSON"));
    let alerts = alert_expressions(ALERTS);
    assert!(dashboard.len() > 10 && alerts.len() > 5, "{} {}", dashboard.len(), alerts.len());
    for expression in dashboard.iter().chain(&alerts) {
        let names = names_of(expression);
        let unknown: Vec<&String> = names.iter().filter(|name| !samples.contains(name.as_str())).collect();
        assert!(unknown.is_empty(), "{unknown:?} in {expression:?} is not exported");
    }
}

#[test]
fn every_alert_has_a_test_and_says_what_to_do() {
    const TESTS: &str = include_str!("../../inventory-grpc/operations/alerts_test.yml");
    let alerts: Vec<&str> = ALERTS.split("- alert: ").skip(1).collect();
    for alert in &alerts {
        let name = alert.lines().next().unwrap_or_default();
        assert!(TESTS.contains(&format!("alertname: {name}\n")), "{name} has no test in alerts_test.yml");
        for part in ["summary: \"", "action: \"", "severity: "] {
            assert_eq!(alert.matches(part).count(), 1, "{name} has no {part:?}");
        }
    }
}

#[test]
fn the_names_of_an_expression_are_found() {
    let rows = [
        ("store_up == 0", vec!["store_up"]),
        (
            r#"sum by (le, grpc_method) (rate(a_seconds_bucket{grpc_code!~"b_c|d_e"}[5m])) / on (x_y) b_total"#,
            vec!["a_seconds_bucket", "b_total"],
        ),
        ("histogram_quantile(0.99, rate(x_y[$__rate_interval])) > 0.5", vec!["x_y"]),
        (r#"up{job="a_b"} == 0"#, vec![]),
    ];
    for (expression, expected) in rows {
        assert_eq!(names_of(expression).into_iter().collect::<Vec<_>>(), expected, "{expression}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_refusals_and_watchers_are_measured() {
    let programs = Programs::start(Backend::Sqlite).await;
    let site = Uuid::new_v4().to_string();
    let give = order(&site, json!([item("A", 1)]));
    assert_eq!(programs.wix.call("increment", give.clone()).await.status, 200);
    assert_eq!(programs.wix.call("increment", give).await.status, 200);
    assert_eq!(programs.wix.call("decrement", order(&site, json!([item("A", 2)]))).await.status, 428);
    assert_eq!(programs.wix.post("/v1/decrement", "a.b.c".into()).await.status, 401);
    assert_eq!(programs.wix.post("/wrong", String::new()).await.status, 404);
    let mut ledger = LedgerServiceClient::new(programs.endpoint().connect_lazy());
    let watch = v1::WatchEntriesRequest { site_id: site, ..Default::default() };
    let mut watched = ledger.watch_entries(watch).await.expect("the ledger can be watched").into_inner();
    watched.message().await.expect("the stream is open").expect("it sends the entry");
    let of_method = r#"grpc_service="inventory.v1.AvailabilityService",grpc_method="#;
    let refused = format!(
        r#"grpc_server_handling_seconds_count{{{of_method}"DecrementAvailability",grpc_code="FAILED_PRECONDITION"}} 1"#
    );
    let applied =
        format!(r#"grpc_server_handling_seconds_count{{{of_method}"IncrementAvailability",grpc_code="OK"}} 2"#);
    let expected = [
        &*refused,
        &*applied,
        r#"inventory_refusals_total{reason="INSUFFICIENT_STOCK"} 1"#,
        r#"inventory_refusals_total{reason="NOT_ON_SALE_YET"} 0"#,
        r#"inventory_commands_total{outcome="applied"} 1"#,
        r#"inventory_commands_total{outcome="replayed"} 1"#,
        r#"inventory_commands_total{outcome="refused"} 1"#,
        // The increment returns a piece of an order that took none.
        r#"inventory_order_marks_total{mark="over_return",policy="report"} 1"#,
        r#"inventory_batch_commands_bucket{le="1"} 3"#,
        r#"inventory_batch_retries_total{cause="replay"} 1"#,
        "inventory_unknown_outcomes_total 0",
        "inventory_watchers 1",
        "inventory_watcher_lag_entries 0",
        "store_up 1",
        r#"inventory_queue_depth{writer="0"} 0"#,
        r#"wix_call_seconds_count{method="increment",answer="done"} 2"#,
        r#"wix_call_seconds_count{method="decrement",answer="not_possible"} 1"#,
        r#"wix_call_seconds_bucket{method="decrement",answer="unauthorized",le="10"} 1"#,
        r#"wix_calls_total{method="decrement",answer="not_possible"} 1"#,
        r#"wix_calls_total{method="none",answer="no_such_path"} 1"#,
        r#"wix_token_refusals_total{cause="not_base64"} 1"#,
        r#"wix_token_refusals_total{cause="expired"} 0"#,
    ];
    programs.until(&expected).await;
    drop(watched);
    programs.until(&["inventory_watchers 0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn standalone_shows_the_metrics_of_both_servers() {
    let database = Database::fresh(Backend::Sqlite);
    let mut command = program("wix-adapter");
    command.args(["standalone", "--http-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"]);
    command.args(["--database-url", &database.text, "--wix-app-id", APP_ID, "--admin-listen", "127.0.0.1:0"]);
    command.env("WIX_PUBLIC_KEY", &app_key().public);
    let servers = Running::start(command, 3);
    let give = order(&Uuid::new_v4().to_string(), json!([item("A", 1)]));
    assert_eq!(WixCaller::new(servers.addresses[1]).call("increment", give).await.status, 200);
    let metrics = WixCaller::new(servers.addresses[2]).metrics().await;
    let of_the_server = r#"inventory_commands_total{outcome="applied"} 1"#;
    let of_the_adapter = r#"wix_calls_total{method="increment",answer="done"} 1"#;
    for line in [of_the_server, of_the_adapter] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}
