//! TLS of the real programs: who is let in, certificates and keys that change under running calls, and the refusals at
//! the start.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use inventory_proto::v1;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_tests::certificates::{Authority, Pair, exchange, shown};
use inventory_tests::programs::{Running, finish_saying, grpc_server, program};
use inventory_tests::test_keys::{app_key, other_key};
use inventory_tests::wix_caller::{APP_ID, WixCaller, item, order};
use inventory_tests::world::{Backend, Database};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

/// No step here takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `step` returns a value.
async fn until<T>(what: &str, mut step: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(value) = step().await {
                return value;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} within {PATIENCE:?}"))
}

/// Waits until a log contains `text` at least `times` times.
async fn until_logged(log: &Path, text: &str, times: usize) {
    let read = || std::fs::read_to_string(log).expect("the log can be read");
    until(text, async || (read().matches(text).count() >= times).then_some(())).await;
}

/// `inventory-grpc serve` with a certificate, and more arguments.
fn grpc_with_tls(database: &Database, pair: &Pair, more: &[&Path]) -> Running {
    let mut command = program("inventory-grpc");
    command.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", &database.text]);
    command.arg("--tls-cert").arg(&pair.certificate).arg("--tls-key").arg(&pair.key).args(more);
    Running::start(command, 1)
}

/// `inventory-grpc import` of one row, into a new site of the server at a URL. Returns the exit code and all output.
fn import(url: &str, more: &[&Path]) -> (i32, String) {
    let folder = TempDir::new().expect("the temporary folder is writable");
    let file = folder.path().join("stock.csv");
    std::fs::write(&file, "app_id,catalog_item_id,available\na,b,1\n").expect("the file can be written");
    let mut command = program("inventory-grpc");
    command.args(["import", "--site-id", &Uuid::new_v4().to_string(), "--grpc-upstream", url]).args(more).arg(&file);
    finish_saying(command)
}

#[test]
fn a_call_needs_tls_and_the_right_authority() {
    let database = Database::fresh(Backend::Sqlite);
    let (ours, other) = (Authority::new(), Authority::new());
    let server = grpc_with_tls(&database, &ours.issue("server"), &[]);
    let port = server.addresses[0].port();
    let ca = Path::new("--upstream-ca");
    for host in ["localhost", "127.0.0.1"] {
        let (code, text) = import(&format!("https://{host}:{port}"), &[ca, &ours.file()]);
        assert_eq!(code, 0, "{text}");
    }
    let (code, text) = import(&format!("https://localhost:{port}"), &[ca, &other.file()]);
    assert!(code == 2 && text.contains(&format!("no server answers at localhost:{port}")), "{text}");
    assert!(text.contains("invalid peer certificate"), "{text}");
    let (code, text) = import(&format!("http://localhost:{port}"), &[]);
    // What answers there is no gRPC.
    assert_eq!(code, 1, "{text}");
    let (code, text) = import(&format!("https://localhost:{port}"), &[]);
    assert!(code == 1 && text.contains("is https, so --upstream-ca (UPSTREAM_CA) is required"), "{text}");
}

#[test]
fn with_a_client_authority_only_its_certificates_are_let_in() {
    let database = Database::fresh(Backend::Sqlite);
    let (ours, clients) = (Authority::new(), Authority::new());
    let more = [Path::new("--tls-client-ca"), &clients.file()];
    let server = grpc_with_tls(&database, &ours.issue("server"), &more);
    let url = format!("https://localhost:{}", server.addresses[0].port());
    let with = |pair: Option<&Pair>| {
        let (ca, ca_file) = (Path::new("--upstream-ca"), ours.file());
        let (cert, key) = (Path::new("--upstream-cert"), Path::new("--upstream-key"));
        match pair {
            None => import(&url, &[ca, &ca_file]),
            Some(pair) => import(&url, &[ca, &ca_file, cert, &pair.certificate, key, &pair.key]),
        }
    };
    let (code, text) = with(Some(&clients.issue("client")));
    assert_eq!(code, 0, "{text}");
    assert_eq!(with(None).0, 1, "no certificate");
    assert_eq!(with(Some(&ours.issue("client"))).0, 1, "a certificate of another authority");
}

/// `wix-adapter standalone` with TLS on both ports, and the test's signing key.
fn standalone(database: &Database, pair: &Pair, more: &[&Path], log: File) -> Running {
    let mut command = program("wix-adapter");
    command.args(["standalone", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
    command.args(["--database-url", &database.text, "--wix-app-id", APP_ID]);
    command.arg("--tls-cert").arg(&pair.certificate).arg("--tls-key").arg(&pair.key).args(more);
    command.env("WIX_PUBLIC_KEY", &app_key().public);
    Running::start_with_log(command, 2, log)
}

/// A signed increment of one piece.
fn increment(site: &str) -> String {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    WixCaller::new(nowhere).token(order(site, json!([item("A", 1)])))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_for_new_connections_and_drops_no_call() {
    let database = Database::fresh(Backend::Sqlite);
    let (ours, clients) = (Authority::new(), Authority::new());
    let first = ours.issue("server");
    let log = database.folder().join("log");
    let file = File::create(&log).expect("the log can be created");
    let client_ca = [Path::new("--tls-client-ca"), &clients.file()];
    let servers = standalone(&database, &first, &client_ca, file);
    let (grpc, http) = (servers.addresses[0], servers.addresses[1]);
    let site = Uuid::new_v4().to_string();
    // Wix has no certificate of ours; callers of the gRPC port must have one.
    let wix = ours.client(None, "http/1.1");
    let grpc_client = ours.client(Some(&clients.issue("client")), "h2");
    let mut kept = wix.connect(http).await.expect("the certificate is good");
    assert_eq!(shown(&kept), first.der);
    assert_eq!(exchange(&mut kept, "POST /v1/increment", &increment(&site)).await.expect("an answer"), 200);
    let channel = grpc_client.channel(grpc);
    let watch = v1::WatchEntriesRequest { site_id: site.clone(), after_sequence: 0 };
    let watched = LedgerServiceClient::new(channel).watch_entries(watch).await;
    let mut entries = watched.expect("the watch starts").into_inner();
    let mut seen = 0;
    let mut read_to = async |sequence: i64| {
        while seen < sequence {
            let message = tokio::time::timeout(PATIENCE, entries.message()).await.expect("in time");
            seen = message.expect("the watch goes on").expect("the watch goes on").sequence;
        }
    };
    read_to(1).await;

    let second = ours.issue("server");
    for (address, client) in [(http, &wix), (grpc, &grpc_client)] {
        let renewed = async || client.connect(address).await.is_ok_and(|stream| shown(&stream) == second.der);
        until("the new certificate", async || renewed().await.then_some(())).await;
    }
    assert_eq!(exchange(&mut kept, "POST /v1/increment", &increment(&site)).await.expect("an answer"), 200);
    read_to(2).await;

    // A broken file changes nothing. Each port logs it once.
    std::fs::write(&second.key, "no key").expect("the file can be written");
    until_logged(&log, "holds no private key in PEM", 2).await;
    let stream = wix.connect(http).await.expect("the old certificate is in use");
    assert_eq!(shown(&stream), second.der);
    let third = ours.issue("server");
    servers.hang_up();
    let renewed = async || wix.connect(http).await.is_ok_and(|stream| shown(&stream) == third.der);
    until("the third certificate", async || renewed().await.then_some(())).await;
    assert_eq!(exchange(&mut kept, "POST /v1/increment", &increment(&site)).await.expect("an answer"), 200);
    read_to(3).await;
    let text = std::fs::read_to_string(&log).expect("the log can be read");
    assert_eq!(text.matches("holds no private key in PEM").count(), 2, "{text}");
    drop(entries);
    drop(kept);
    let stopped = tokio::task::spawn_blocking(move || servers.terminate().code()).await;
    assert_eq!(stopped.expect("no panic"), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_wix_change_without_a_restart() {
    let database = Database::fresh(Backend::Sqlite);
    let server = grpc_server(&database.text);
    let (keys, log) = (database.folder().join("keys.pem"), database.folder().join("log"));
    let write = |text: &str| std::fs::write(&keys, text).expect("the file can be written");
    write(&other_key().public);
    let mut command = program("wix-adapter");
    command.args(["serve", "--http-listen", "127.0.0.1:0", "--wix-app-id", APP_ID, "--grpc-upstream"]);
    command.arg(server.addresses[0].to_string()).arg("--wix-public-key-file").arg(&keys);
    let adapter = Running::start_with_log(command, 1, File::create(&log).expect("the log can be created"));
    let caller = WixCaller::new(adapter.addresses[0]);
    let site = Uuid::new_v4().to_string();
    let data = || -> Value { order(&site, json!([item("A", 1)])) };
    assert_eq!(caller.call("increment", data()).await.status, 401);

    write(&[&*app_key().public, &*other_key().public].concat());
    until("the new key", async || (caller.call("increment", data()).await.status == 200).then_some(())).await;
    write("no key");
    until_logged(&log, "holds no public key that can be read", 1).await;
    assert_eq!(caller.call("increment", data()).await.status, 200, "the old keys stay");
    // SIGHUP reads the same files again, and ends nothing.
    adapter.hang_up();
    until_logged(&log, "holds no public key that can be read", 2).await;
    write(&app_key().public);
    until_logged(&log, "in use from now on", 2).await;
    adapter.hang_up();
    until_logged(&log, "in use from now on", 3).await;
    assert_eq!(caller.call("increment", data()).await.status, 200);
    let text = std::fs::read_to_string(&log).expect("the log can be read");
    assert_eq!(text.matches("holds no public key that can be read").count(), 2, "{text}");
    assert!(text.contains(&keys.display().to_string()), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_reaches_its_server_over_tls() {
    let database = Database::fresh(Backend::Sqlite);
    let (ours, clients) = (Authority::new(), Authority::new());
    let more = [Path::new("--tls-client-ca"), &clients.file()];
    let server = grpc_with_tls(&database, &ours.issue("server"), &more);
    let client = clients.issue("client");
    let mut command = program("wix-adapter");
    command.args(["serve", "--http-listen", "127.0.0.1:0", "--wix-app-id", APP_ID, "--grpc-upstream"]);
    command.arg(format!("https://localhost:{}", server.addresses[0].port())).arg("--upstream-ca").arg(ours.file());
    command.arg("--upstream-cert").arg(&client.certificate).arg("--upstream-key").arg(&client.key);
    command.env("WIX_PUBLIC_KEY", &app_key().public);
    let adapter = Running::start(command, 1);
    let caller = WixCaller::new(adapter.addresses[0]);
    let site = Uuid::new_v4().to_string();
    assert_eq!(caller.call("increment", order(&site, json!([item("A", 2)]))).await.status, 200);
    assert_eq!(caller.call("decrement", order(&site, json!([item("A", 2)]))).await.status, 200);
}

#[test]
fn a_port_is_not_opened_unprotected_or_twice() {
    let folder = TempDir::new().expect("the temporary folder is writable");
    let database = format!("sqlite:{}", folder.path().join("inventory.db").display());
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = holder.local_addr().expect("a bound port").to_string();
    let free = "127.0.0.1:0";
    let grpc = ["serve", "--database-url", &database];
    let http = ["serve", "--wix-app-id", "x"];
    let both = ["standalone", "--database-url", &database, "--wix-app-id", "x"];
    let in_use = format!("cannot listen on {taken}");
    let metrics = format!("cannot serve metrics at {taken}");
    // The program, what it needs, the wrong setting, and two parts of the sentence.
    type Row<'a> = (&'a str, &'a [&'a str], &'a [&'a str], [&'a str; 2]);
    let rows: [Row<'_>; 10] = [
        ("inventory-grpc", &grpc, &["--grpc-listen", "0.0.0.0:0"], ["--grpc-listen (GRPC_LISTEN)", "no TLS"]),
        ("wix-adapter", &http, &["--http-listen", "0.0.0.0:0"], ["--http-listen (HTTP_LISTEN)", "--allow-plaintext"]),
        ("wix-adapter", &both, &["--http-listen", "0.0.0.0:0"], ["--http-listen (HTTP_LISTEN)", "no TLS"]),
        (
            "wix-adapter",
            &both,
            &["--http-listen", free, "--grpc-listen", "0.0.0.0:0"],
            ["--grpc-listen (GRPC_LISTEN)", "no TLS"],
        ),
        ("inventory-grpc", &grpc, &["--tls-cert", "a.pem"], ["--tls-cert (TLS_CERT) needs --tls-key (TLS_KEY)", ""]),
        (
            "wix-adapter",
            &http,
            &["--tls-cert", "/nowhere/a.pem", "--tls-key", "/nowhere/a.key"],
            ["--tls-key (TLS_KEY): /nowhere/a.key cannot be read", "No such file"],
        ),
        ("inventory-grpc", &grpc, &["--grpc-listen", &taken], ["--grpc-listen (GRPC_LISTEN)", &in_use]),
        ("wix-adapter", &http, &["--http-listen", &taken], ["--http-listen (HTTP_LISTEN)", &in_use]),
        (
            "inventory-grpc",
            &grpc,
            &["--grpc-listen", free, "--admin-listen", &taken],
            ["--admin-listen (ADMIN_LISTEN)", &metrics],
        ),
        (
            "wix-adapter",
            &http,
            &["--http-listen", free, "--admin-listen", &taken],
            ["--admin-listen (ADMIN_LISTEN)", &metrics],
        ),
    ];
    for (name, arguments, more, expected) in rows {
        let mut command = program(name);
        command.args(arguments).args(more).env("WIX_PUBLIC_KEY", &app_key().public);
        let (code, text) = finish_saying(command);
        assert_eq!(code, 1, "{name} {more:?}: {text}");
        assert!(expected.iter().all(|expected| text.contains(expected)), "{name} {more:?}: {text}");
    }
    drop(holder);
}
