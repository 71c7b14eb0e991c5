//! `health` of both programs says what a health check of a container must know, and a program that is process 1 of a
//! container stops like any other.

use std::process::Command;
use std::time::Duration;

use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use inventory_tests::books;
use inventory_tests::certificates::Authority;
use inventory_tests::programs::{Running, adapter, finish_saying, grpc_server, program, run_by};
use inventory_tests::test_keys::app_key;
use inventory_tests::wix_caller::APP_ID;
use inventory_tests::world::{Backend, Database, World};

/// No step here takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `health` of a program. Returns its exit code and all of its output.
fn health(name: &str, arguments: &[&str]) -> (i32, String) {
    let mut command = program(name);
    command.arg("health").args(arguments);
    finish_saying(command)
}

/// Runs `health` again and again, until it ends with `code`. Returns its last output.
async fn until(code: i32, name: &'static str, arguments: &[&str]) -> String {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let asked = tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        loop {
            let (ended, text) = health(name, &arguments);
            if ended == code {
                return text;
            }
        }
    });
    tokio::time::timeout(PATIENCE, asked).await.expect("in time").expect("no panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_what_the_writers_can_do() {
    let world = World::start(Backend::Postgres).await;
    let (grpc, http) = (world.grpc.to_string(), world.http.to_string());
    let (server, front) = (["--grpc-upstream", &*grpc], ["--http-listen", &*http]);
    assert_eq!(until(0, "inventory-grpc", &server).await, "ready\n");
    assert_eq!(until(0, "wix-adapter", &front).await, "ready\n");
    world.database.set_read_only(true);
    let text = until(1, "inventory-grpc", &server).await;
    assert!(text.contains("the server is not ready") && text.contains(&grpc), "{text}");
    let text = until(1, "wix-adapter", &front).await;
    assert!(text.contains("the adapter is not ready") && text.contains(&http), "{text}");
    world.database.set_read_only(false);
    until(0, "inventory-grpc", &server).await;
    until(0, "wix-adapter", &front).await;
}

#[test]
fn health_names_an_address_where_nothing_answers() {
    let database = Database::fresh(Backend::Sqlite);
    let mut server = grpc_server(&database.text);
    let mut front = adapter(server.addresses[0]);
    let [grpc, http] = [server.addresses[0], front.addresses[0]].map(|address| address.to_string());
    // Each program's port is asked as if it were the other's.
    let (code, text) = health("wix-adapter", &["--http-listen", &grpc]);
    assert!(code == 1 && text.contains(&grpc), "{text}");
    let (code, text) = health("inventory-grpc", &["--grpc-upstream", &http]);
    assert!(code == 1 && text.contains(&http), "{text}");
    server.kill();
    front.kill();
    let (code, text) = health("inventory-grpc", &["--grpc-upstream", &grpc]);
    assert!(code == 1 && text.contains(&format!("no server answers at {grpc}")), "{text}");
    let (code, text) = health("wix-adapter", &["--http-listen", &http]);
    assert!(code == 1 && text.contains(&format!("--http-listen (HTTP_LISTEN): {http} cannot be reached")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_asks_ports_with_tls() {
    let database = Database::fresh(Backend::Sqlite);
    let (ours, other) = (Authority::new(), Authority::new());
    let pair = ours.issue("server");
    let mut command = program("wix-adapter");
    command.args(["standalone", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
    command.args(["--database-url", &database.text, "--wix-app-id", APP_ID]);
    command.arg("--tls-cert").arg(&pair.certificate).arg("--tls-key").arg(&pair.key);
    command.env("WIX_PUBLIC_KEY", &app_key().public);
    let servers = Running::start(command, 2);
    let http = servers.addresses[1].to_string();
    let grpc = format!("https://localhost:{}", servers.addresses[0].port());
    let file = |path: std::path::PathBuf| path.display().to_string();
    until(0, "inventory-grpc", &["--grpc-upstream", &grpc, "--upstream-ca", &file(ours.file())]).await;
    until(0, "wix-adapter", &["--http-listen", &http, "--tls-cert", &file(pair.certificate)]).await;
    // The port shows another certificate than the file's; then, the port is asked without TLS.
    let wrong = file(other.issue("other").certificate);
    let (code, text) = health("wix-adapter", &["--http-listen", &http, "--tls-cert", &wrong]);
    assert!(code == 1 && text.contains("cannot be reached: invalid peer certificate"), "{text}");
    let (code, text) = health("wix-adapter", &["--http-listen", &http]);
    assert_eq!(code, 1, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_of_the_metrics_says_that_the_program_lives() {
    let database = Database::fresh(Backend::Sqlite);
    let mut command = program("inventory-grpc");
    command.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", &database.text]);
    command.args(["--admin-listen", "127.0.0.1:0"]);
    let server = Running::start(command, 2);
    assert_eq!(inventory_tests::wix_caller::WixCaller::new(server.addresses[1]).get("/health").await, 200);
}

/// A command that runs another one as process 1 of a process namespace of its own.
fn as_process_1(command: &Command) -> Command {
    run_by(&["unshare", "--map-root-user", "--pid", "--fork", "--kill-child", "--"], command)
}

/// A connection that holds the lock by which servers that migrate take turns, so that they wait for it.
fn holding_the_schema(database: &Database) -> PgConnection {
    let mut connection = PgConnection::establish(&database.text).expect("Postgres accepts connections");
    connection.batch_execute("SELECT pg_advisory_lock(7461966240120001)").expect("the lock is free");
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn process_1_stops_on_sigterm() {
    let database = Database::fresh(Backend::Sqlite);
    let mut serve = program("inventory-grpc");
    serve.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", &database.text]);
    let server = Running::start(as_process_1(&serve), 1);
    let front = {
        let mut serve = program("wix-adapter");
        serve.args(["serve", "--http-listen", "127.0.0.1:0", "--wix-app-id", APP_ID]);
        serve.args(["--grpc-upstream", &server.addresses[0].to_string()]).env("WIX_PUBLIC_KEY", &app_key().public);
        Running::start(as_process_1(&serve), 1)
    };
    for running in [front, server] {
        let stopped = tokio::task::spawn_blocking(move || running.terminate_child().code());
        let stopped = tokio::time::timeout(PATIENCE, stopped).await.expect("it hears SIGTERM").expect("no panic");
        assert_eq!(stopped, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn process_1_hears_a_sigterm_that_comes_while_it_starts() {
    let database = Database::fresh(Backend::Postgres);
    let lock = holding_the_schema(&database);
    let mut serve = program("inventory-grpc");
    serve.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", &database.text]);
    let server = Running::start(as_process_1(&serve), 0);
    let waits = "SELECT count(*) AS wrong FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while books::count(&database.url, waits) == 0 {}
    let stopped = tokio::task::spawn_blocking(move || {
        let mut server = server;
        server.signal_child("-TERM");
        drop(lock);
        server.wait().code()
    });
    let stopped = tokio::time::timeout(PATIENCE, stopped).await.expect("it hears SIGTERM").expect("no panic");
    assert_eq!(stopped, Some(0));
}
