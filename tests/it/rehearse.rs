//! `wix-adapter rehearse` against real deployments: one that is right, and for each check at least one that fails it.

mod give_back;
mod wrong_outcomes;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use inventory_core::model::access::Scope;
use inventory_proto::v1;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::site_service_client::SiteServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::certificates::{Authority, Pair};
use inventory_tests::front::{Act, Came, front, front_at};
use inventory_tests::programs::{Running, finish_saying, grpc_server, program};
use inventory_tests::test_keys::{app_key, other_key};
use inventory_tests::tokens::{New, channel_to};
use inventory_tests::wix_caller::{APP_ID, now};
use inventory_tests::world::{Backend, Database};
use serde_json::Value;
use tempfile::TempDir;
use wix_adapter::keys;
use wix_adapter::token::{REHEARSAL_SITE_ID, UnverifiedToken, Verifier};

/// Entries of one rehearsal: both calls, 300 items twice, 20 measured calls.
const ENTRIES: usize = 2 + 600 + 20;

/// A server, an adapter that knows the rehearsal's key, and that key in the folder `keys`.
struct Deployment {
    keys: TempDir,
    authority: Authority,
    grpc: Running,
    http: Running,
    database: Database,
}

/// The key that rehearsals sign with, in a new folder, with its public half.
fn rehearsal_keys() -> TempDir {
    let folder = TempDir::new().expect("the temporary folder is writable");
    let mut command = program("wix-adapter");
    command.args(["rehearse", "--make-key"]).current_dir(folder.path());
    let (code, text) = finish_saying(command);
    assert!(code == 0 && text.contains("wix-rehearsal-key.public.pem: give it to the adapter"), "{text}");
    folder
}

/// `wix-adapter serve` that knows the rehearsal's key of `keys`.
fn adapter(keys: &TempDir, grpc: SocketAddr, pair: Option<&Pair>) -> Command {
    let mut command = program("wix-adapter");
    command.args(["serve", "--wix-app-id", APP_ID]).env("HTTP_LISTEN", "127.0.0.1:0");
    command.args(["--grpc-upstream", &grpc.to_string()]).env("WIX_PUBLIC_KEY", &app_key().public);
    command.env("REHEARSAL_PUBLIC_KEY_FILE", keys.path().join("wix-rehearsal-key.public.pem"));
    if let Some(pair) = pair {
        command.arg("--tls-cert").arg(&pair.certificate).arg("--tls-key").arg(&pair.key);
    }
    command
}

impl Deployment {
    fn start(backend: Backend, is_tls: bool) -> Self {
        let (database, authority, keys) = (Database::fresh(backend), Authority::new(), rehearsal_keys());
        let grpc = grpc_server(&database.text);
        let pair = is_tls.then(|| authority.issue("adapter"));
        let http = Running::start(adapter(&keys, grpc.addresses[0], pair.as_ref()), 1);
        Self { keys, authority, grpc, http, database }
    }

    /// A rehearsal at a URL, which must end with this code. Returns the report.
    fn rehearse(&self, url: &str, more: &[&str], code: i32) -> Report {
        rehearse(&self.keys, url, more, code)
    }

    fn http(&self) -> SocketAddr {
        self.http.addresses[0]
    }
}

fn rehearse(keys: &TempDir, url: &str, more: &[&str], code: i32) -> Report {
    let mut command = program("wix-adapter");
    command.args(["rehearse", "--json", "--url", url, "--wix-app-id", APP_ID]).args(more).current_dir(keys.path());
    let (ended, text) = finish_saying(command);
    assert_eq!(ended, code, "{url} {more:?}: {text}");
    Report(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

/// The same, in a test that serves meanwhile.
async fn rehearse_beside(
    deployment: &Arc<Deployment>,
    url: String,
    more: &'static [&'static str],
    code: i32,
) -> Report {
    let deployment = deployment.clone();
    let rehearsed = tokio::task::spawn_blocking(move || deployment.rehearse(&url, more, code));
    rehearsed.await.expect("no panic")
}

/// A report, as a script reads it.
struct Report(Value);

impl Report {
    fn check(&self, name: &str) -> &Value {
        let checks = self.0["checks"].as_array().expect("a list of checks");
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {}", self.0))
    }

    /// The names of the checks with an outcome.
    fn with(&self, outcome: &str) -> Vec<&str> {
        let checks = self.0["checks"].as_array().expect("a list of checks");
        let named = checks.iter().filter(|check| check["outcome"] == outcome);
        named.map(|check| check["name"].as_str().expect("a name")).collect()
    }

    /// Only this check failed, and its texts contain these parts.
    #[track_caller]
    fn assert_fails(&self, name: &str, found: &str, advice: &str) {
        assert_eq!(self.with("failed"), [name], "{:#}", self.0);
        self.assert_tells(name, found, advice);
    }

    /// The texts of this check contain these parts.
    #[track_caller]
    fn assert_tells(&self, name: &str, found: &str, advice: &str) {
        let contains =
            |field: &str, part: &str| self.check(name)[field].as_str().is_some_and(|text| text.contains(part));
        assert!(contains("found", found) && contains("do", advice), "{:#}", self.check(name));
    }
}

/// The sum of all levels of the rehearsal's site that differ from 0, and its entries.
async fn books(grpc: SocketAddr) -> (usize, usize) {
    let query = v1::ListStockRequest { site_id: REHEARSAL_SITE_ID.into(), page_size: 1_000, ..Default::default() };
    let levels = StockServiceClient::new(channel_to(grpc)).list_stock(query).await.expect("stock can be read");
    let levels = levels.into_inner().stock;
    let (mut entries, mut page_token) = (0, String::new());
    loop {
        let site_id = REHEARSAL_SITE_ID.into();
        let query = v1::ListEntriesRequest { site_id, page_size: 1_000, page_token, ..Default::default() };
        let page = LedgerServiceClient::new(channel_to(grpc)).list_entries(query).await.expect("entries can be read");
        let page = page.into_inner();
        entries += page.entries.len();
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return (levels.iter().filter(|stock| stock.available != 0).count(), entries);
        }
    }
}

async fn sites(grpc: SocketAddr) -> Vec<String> {
    let sites = SiteServiceClient::new(channel_to(grpc)).list_sites(v1::ListSitesRequest::default()).await;
    sites.expect("sites can be listed").into_inner().sites.into_iter().map(|site| site.site_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_is_right_passes_and_is_left_as_it_was() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let deployment = Arc::new(Deployment::start(backend, true));
        let grpc = deployment.grpc.addresses[0];
        let url = format!("https://localhost:{}/prefix/", deployment.http().port());
        let ca = deployment.authority.file().display().to_string();
        for round in 1..=2 {
            let (own, url, ca) = (deployment.clone(), url.clone(), ca.clone());
            let report = tokio::task::spawn_blocking(move || own.rehearse(&url, &["--ca", &ca], 0)).await;
            let report = report.expect("no panic");
            assert_eq!(report.with("ok").len(), 13, "{:#}", report.0);
            assert_eq!((&report.0["ok"], &report.0["ledger_entries"]), (&Value::from(true), &Value::from(ENTRIES)));
            assert!(report.check("tls")["found"].as_str().is_some_and(|text| text.contains("01 Jan 4096")));
            assert_eq!(report.0["latency"]["calls"], 20);
            assert_eq!(books(grpc).await, (0, round * ENTRIES));
        }
        assert_eq!(sites(grpc).await, [REHEARSAL_SITE_ID]);
        // A person reads the same.
        let mut command = program("wix-adapter");
        command.args(["rehearse", "--url", &url, "--ca", &ca]).env("WIX_APP_ID", APP_ID);
        command.current_dir(deployment.keys.path());
        let (code, text) = tokio::task::spawn_blocking(|| finish_saying(command)).await.expect("no panic");
        assert!(code == 0 && text.contains("13 ok, 0 failed, 0 not tried. Ready for Wix, as far"), "{text}");
    }
}

#[test]
fn each_problem_of_tls_is_named() {
    let deployment = Deployment::start(Backend::Sqlite, true);
    let (port, ours) = (deployment.http().port(), deployment.authority.file().display().to_string());
    let url = format!("https://localhost:{port}");
    let report = deployment.rehearse(&url, &[], 1);
    report.assert_fails("tls", "no trusted authority has signed the certificate", "whole chain");
    assert_eq!(report.with("not_tried").len(), 12);
    let elsewhere = deployment.authority.issue("elsewhere");
    let mut elsewhere = adapter(&deployment.keys, deployment.grpc.addresses[0], Some(&elsewhere));
    let elsewhere = Running::start(
        {
            elsewhere.args(["--http-listen", "127.0.0.2:0"]);
            elsewhere
        },
        1,
    );
    let report = deployment.rehearse(&format!("https://{}", elsewhere.addresses[0]), &["--ca", &ours], 1);
    report.assert_fails("tls", "the certificate is for another name", "certificate for the host of the URL");
    let expired = deployment.authority.issue_until("expired", 2020);
    let expired = Running::start(adapter(&deployment.keys, deployment.grpc.addresses[0], Some(&expired)), 1);
    let report = deployment.rehearse(&format!("https://{}", expired.addresses[0]), &["--ca", &ours], 1);
    report.assert_fails("tls", "a certificate has expired", "renew the certificate");
    let short = deployment.authority.issue_for("short", Duration::from_secs(7 * 86_400 / 2));
    let short = Running::start(adapter(&deployment.keys, deployment.grpc.addresses[0], Some(&short)), 1);
    let report = deployment.rehearse(&format!("https://{}", short.addresses[0]), &["--ca", &ours], 1);
    report.assert_fails("tls", "(3 days)", "renew the certificate now");
    assert_eq!(report.with("ok").len(), 12, "for now everything else works");
    let plain = Running::start(adapter(&deployment.keys, deployment.grpc.addresses[0], None), 1);
    let report = deployment.rehearse(&format!("https://{}", plain.addresses[0]), &["--ca", &ours], 1);
    report.assert_fails("tls", "the port speaks no TLS", "--tls-cert");
    let report = deployment.rehearse("https://127.0.0.1:1", &["--ca", &ours], 1);
    report.assert_fails("tls", "no connection", "that the server runs");
    let plain = format!("http://{}", plain.addresses[0]);
    deployment.rehearse(&plain, &[], 1).assert_fails("tls", "the URL is http", "--without-tls");
    let report = deployment.rehearse(&plain, &["--without-tls"], 0);
    assert_eq!((report.with("not_tried"), report.with("ok").len()), (vec!["tls"], 12));
}

#[test]
fn a_key_that_the_adapter_does_not_believe_is_found() {
    let deployment = Deployment::start(Backend::Sqlite, false);
    let url = format!("http://{}", deployment.http());
    let not_believed = |report: &Report| {
        report.assert_fails("key", "the adapter does not believe the token (401)", "--rehearsal-public-key-file");
        assert_eq!(report.with("not_tried").len(), 10, "{:#}", report.0);
    };
    let other = deployment.keys.path().join("other.pem");
    std::fs::write(&other, &other_key().private).expect("the file can be written");
    not_believed(&deployment.rehearse(&url, &["--without-tls", "--key-file", "other.pem"], 1));

    let mut command = program("wix-adapter");
    command.args(["rehearse", "--json", "--without-tls", "--url", &url, "--wix-app-id", "another"]);
    command.current_dir(deployment.keys.path());
    let (code, text) = finish_saying(command);
    assert_eq!(code, 1, "{text}");
    not_believed(&Report(serde_json::from_str(&text).expect("JSON")));

    // A key that opens every site is a danger, so the rehearsal says so.
    let public = deployment.keys.path().join("wix-rehearsal-key.public.pem");
    let public = std::fs::read_to_string(public).expect("the file can be read");
    let mut command = adapter(&deployment.keys, deployment.grpc.addresses[0], None);
    command.env_remove("REHEARSAL_PUBLIC_KEY_FILE").env("WIX_PUBLIC_KEY", public);
    let open = Running::start(command, 1);
    let report = deployment.rehearse(&format!("http://{}", open.addresses[0]), &["--without-tls"], 1);
    report.assert_fails("strangers", "a token for another site is believed", "this key opens every site");

    for (arguments, part) in [
        (&["--url", &url, "--key-file", "none.pem"][..], "cannot read the key file none.pem"),
        (&["--url", "stock.example.com"], "must be https://HOST or http://HOST"),
        (&[], "--url"),
        (&["--make-key"], "wix-rehearsal-key.pem exists; remove it first"),
    ] {
        let mut command = program("wix-adapter");
        command.args(["rehearse", "--wix-app-id", APP_ID]).args(arguments).current_dir(deployment.keys.path());
        let (code, text) = finish_saying(command);
        assert!(code == 2 && text.contains(part), "{arguments:?}: {code} {text}");
    }
}

#[test]
fn a_server_behind_the_adapter_that_does_not_decide_is_found() {
    let deployment = Deployment::start(Backend::Sqlite, false);
    let lonely = Running::start(adapter(&deployment.keys, SocketAddr::from(([127, 0, 0, 1], 1)), None), 1);
    let report = deployment.rehearse(&format!("http://{}", lonely.addresses[0]), &["--without-tls"], 1);
    report.assert_fails("key", "its gRPC server does not answer or cannot serve (503)", "--grpc-upstream");

    // The adapter's token is good for another site alone.
    let site = ["99999999-9999-4999-8999-999999999999"];
    let token = New { name: "adapter", scopes: &[Scope::Orders], sites: &site, ..New::default() };
    let file = deployment.keys.path().join("token");
    std::fs::write(&file, token.create(&deployment.database.url)).expect("the file can be written");
    let grpc = grpc_server(&deployment.database.text);
    let mut command = adapter(&deployment.keys, grpc.addresses[0], None);
    command.env("UPSTREAM_TOKEN_FILE", file);
    let limited = Running::start(command, 1);
    let report = deployment.rehearse(&format!("http://{}", limited.addresses[0]), &["--without-tls"], 1);
    report.assert_fails("key", "its gRPC server refuses it (500)", "good for the rehearsal's site");
}

/// What a front does to each call.
type Trick = Box<dyn Fn(&Came<'_>) -> Act + Send + Sync>;

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_in_the_way_is_found() {
    let deployment = Arc::new(Deployment::start(Backend::Sqlite, false));
    let answer = |status: u16, text: &'static str| -> Trick { Box::new(move |_| Act::Answer(status, text.to_owned())) };
    let is_large = |came: &Came<'_>| came.body.len() > 100_000;
    let rows: Vec<(Trick, &str, &str, &str)> = vec![
        (answer(404, "<html>no such page"), "path", "answers: 404 <html>no such page", "which path the proxy passes"),
        (answer(200, "<html>welcome"), "path", "answers: 200", "what stands before the adapter"),
        (answer(301, ""), "path", "answers: 301", "redirects"),
        (answer(401, "log in"), "path", "answers: 401 log in", "without a login"),
        (answer(502, "bad gateway"), "path", "answers: 502 bad gateway", "start the adapter"),
        (
            Box::new(|came| Act::ForwardTo(came.path.replace("/v1", ""))),
            "path",
            "under a path that does not end in /v1/decrement",
            "pass the whole path on",
        ),
        (
            Box::new(move |came| if is_large(came) { Act::Answer(413, "too large".into()) } else { Act::Forward }),
            "300-items",
            "answers: 413 too large",
            "let the proxy pass bodies of 4 MiB",
        ),
        (
            // The first signed call is the first that may be refused for the stock.
            Box::new(|came| if came.number < 2 { Act::Forward } else { Act::ForwardThen(428, "<html>oops") }),
            "key",
            "answers: 428 <html>oops",
            "bodies of errors",
        ),
    ];
    for (trick, check, found, advice) in rows {
        let url = format!("http://{}", front(deployment.http(), trick).await);
        rehearse_beside(&deployment, url, &["--without-tls"], 1).await.assert_fails(check, found, advice);
    }
    assert_eq!(books(deployment.grpc.addresses[0]).await.0, 0, "every level is 0 again");
}

/// What stands before an adapter whose clock is so many seconds ahead: it judges tokens by that time.
fn by_clock(public: &Path, ahead: i64) -> impl Fn(&Came<'_>) -> Act + Send + Sync + 'static {
    let key = std::fs::read_to_string(public).expect("the file can be read");
    let key = keys::parse(&key).expect("the key is good");
    let verifier = Verifier::new(APP_ID, vec![key]);
    move |came| {
        let token = UnverifiedToken::from_body(came.body).expect("text");
        match verifier.verify(&token, now().saturating_add_signed(ahead), &mut Vec::new()) {
            Ok(_) => Act::Forward,
            Err(_) => Act::Answer(401, r#"{"message":"the token was not accepted"}"#.to_owned()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_found() {
    let deployment = Arc::new(Deployment::start(Backend::Sqlite, false));
    let public = deployment.keys.path().join("wix-rehearsal-key.public.pem");
    let clocks = [
        (3_600, "Sun, 01 Jan 2090 00:00:00 GMT", "ahead of this machine's"),
        (-3_600, "Sat, 01 Jan 2000 00:00:00 GMT", "behind this machine's"),
    ];
    for (ahead, date, found) in clocks {
        let url = front_at(deployment.http(), Some(date), by_clock(&public, ahead)).await;
        let report = rehearse_beside(&deployment, format!("http://{url}"), &["--without-tls"], 1).await;
        assert_eq!(report.with("failed"), ["clock", "key"], "{:#}", report.0);
        let said = report.check("clock")["found"].as_str().expect("a text");
        assert!(said.contains(found), "{said}");
    }
    // The proxy's clock is right. The adapter's is off by less than is tolerated, so for now everything works.
    for (ahead, found) in [(25, "the adapter's clock is ahead of"), (-25, "the adapter's clock is behind")] {
        let url = front(deployment.http(), by_clock(&public, ahead)).await;
        let report = rehearse_beside(&deployment, format!("http://{url}"), &["--without-tls"], 1).await;
        report.assert_fails("token-times", found, "NTP");
    }
}
