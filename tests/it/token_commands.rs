//! Tokens as an operator uses them: the command `token`, and the settings of both programs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use inventory_core::model::access::Scope;
use inventory_proto::{Bearer, v1};
use inventory_tests::books;
use inventory_tests::programs::{Running, finish, grpc_server, program};
use inventory_tests::requests::{guid, set, set_item};
use inventory_tests::test_keys;
use inventory_tests::tokens::{GET_SITE, New, bearer, call, channel_to, code_of, signed, until, until_known};
use inventory_tests::wix_caller::{APP_ID, WixCaller, item, order};
use inventory_tests::world::{Backend, Database};
use serde_json::json;
use tonic::Code;

fn token(database: &Database, arguments: &[&str]) -> (i32, String, String) {
    let mut command = program("inventory-grpc");
    command.arg("token").args(arguments).args(["--database-url", &database.text]).env("USER", "ann");
    finish(command)
}

fn migrated(backend: Backend) -> Database {
    let database = Database::fresh(backend);
    let mut migrate = program("inventory-grpc");
    migrate.args(["migrate", "--database-url", &database.text]);
    assert_eq!(finish(migrate).0, 0);
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_creates_lists_and_revokes_tokens() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = migrated(backend);
        let site = guid();
        let create = ["create", "--name", "erp", "--scope", "stock:read", "--scope", "orders", "--site", &site];
        let (code, out, err) = token(&database, &[&create[..], &["--expires", "90d"]].concat());
        assert_eq!(code, 0, "{err}");
        let text = out.trim_end();
        assert!(text.starts_with("inv_") && text.len() == 47 && !text.contains('\n'), "{out:?}");
        assert!(err.contains("erp") && !err.contains(text), "{err}");
        let rows = books::lines(&database.url, "SELECT scopes || ' | ' || sites AS line FROM token");
        assert_eq!(rows, [format!("orders stock:read | {site}")]);

        let server = grpc_server(&database.text);
        let channel = channel_to(server.addresses[0]);
        until_known(channel.clone(), text).await;
        let list = || token(&database, &["list"]).1;
        let row = list().lines().nth(1).expect("the token is listed").to_owned();
        let cells: Vec<&str> = row.split('\t').collect();
        assert_eq!((cells[0], cells[1], cells[2], cells[5]), ("erp", "orders stock:read", &*site, "valid"));
        assert!(!list().contains(text));

        let (code, _, err) = token(&database, &create);
        assert!(code == 1 && err.contains("--name: a token with the name erp exists and is valid"), "{err}");
        let (code, _, err) = token(&database, &["revoke", "--name", "erp"]);
        assert_eq!(code, 0, "{err}");
        let refused = |result: &Result<(), tonic::Status>| code_of(result) == Code::Unauthenticated;
        let old = bearer(text);
        let _ = until(|| call(channel.clone(), &old, GET_SITE, ()), refused).await;
        assert!(list().lines().nth(1).is_some_and(|row| row.ends_with("revoked")));
        let (code, _, err) = token(&database, &["revoke", "--name", "erp"]);
        assert!(code == 1 && err.contains("revoked already"), "{err}");
        let (code, _, err) = token(&database, &["revoke", "--name", "nobody"]);
        assert!(code == 1 && err.contains("no token has the name nobody"), "{err}");

        // The name is free again, and the new token is another one.
        let (code, out, err) = token(&database, &["create", "--name", "erp", "--scope", "admin"]);
        assert_eq!(code, 0, "{err}");
        until_known(channel.clone(), out.trim_end()).await;
        assert_eq!(code_of(&call(channel, &old, GET_SITE, ()).await), Code::Unauthenticated);

        let journal = token(&database, &["journal"]).1;
        let rows: Vec<Vec<&str>> = journal.lines().skip(1).map(|row| row.split('\t').collect()).collect();
        assert_eq!(rows.len(), 3, "{journal}");
        for row in &rows {
            assert_eq!(row[1..4], ["inventory-grpc token", "ann", "token erp"]);
        }
        assert!(rows[0][4].contains(r#""scopes":null"#) && rows[0][5].contains(r#"["orders","stock:read"]"#));
        assert!(rows[1][4].contains(r#"{"revoked_micros":null}"#), "{}", rows[1][4]);
        assert!(!journal.contains(text));
    }
}

#[test]
fn a_wrong_token_command_is_one_sentence() {
    let database = migrated(Backend::Sqlite);
    let rows: [(&[&str], &str); 6] = [
        (&["create", "--name", "erp"], "--scope"),
        (&["create", "--name", "ERP", "--scope", "orders"], "must be 1 to 64 of a-z"),
        (&["create", "--name", "erp", "--scope", "all"], "must be one of orders, stock:read"),
        (&["create", "--name", "erp", "--scope", "orders", "--site", "x"], "must be a GUID"),
        (&["create", "--name", "erp", "--scope", "orders", "--expires", "soon"], "2027-01-01T00:00:00Z"),
        (&["create", "--name", "erp", "--scope", "orders", "--expires", "2020-01-01T00:00:00Z"], "in the future"),
    ];
    for (arguments, message) in rows {
        let (code, out, err) = token(&database, arguments);
        assert!(code != 0 && out.is_empty() && err.contains(message), "{arguments:?}: {err}");
    }
    let missing = format!("sqlite:{}", database.folder().join("missing.db").display());
    let mut command = program("inventory-grpc");
    command.args(["token", "create", "--name", "erp", "--scope", "orders", "--database-url", &missing]);
    let (code, _, err) = finish(command);
    assert!(code == 1 && err.contains("missing.db: no such file"), "{err}");
    assert!(!database.folder().join("missing.db").exists());
}

#[test]
fn a_token_in_a_file_is_created_once() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = migrated(backend);
        let folder = tempfile::TempDir::new().expect("the temporary folder is writable");
        let file = folder.path().join("token");
        let path = file.display().to_string();
        let create = |name: &str, more: &[&str]| {
            let arguments = ["create", "--name", name, "--scope", "orders", "--file", &path];
            token(&database, &[&arguments[..], more].concat())
        };
        let (code, out, err) = create("wix-adapter", &[]);
        assert!(code == 0 && out.is_empty() && err.contains(&path), "{out}{err}");
        let text = std::fs::read_to_string(&file).expect("the file is written");
        assert!(text.starts_with("inv_") && text.len() == 47 && !err.contains(&text), "{text:?}");
        assert_eq!(std::fs::metadata(&file).expect("it exists").permissions().mode() & 0o777, 0o600);
        // The same command again changes nothing.
        let (code, _, err) = create("wix-adapter", &[]);
        assert!(code == 0 && err.contains("nothing was changed"), "{err}");
        assert_eq!(std::fs::read_to_string(&file).expect("the file exists"), text);
        let journal = || token(&database, &["journal"]).1.lines().count();
        assert_eq!(journal(), 2, "a header and one token");
        // It is no way to another token.
        for (name, more, why) in [
            ("wix-adapter", ["--scope", "admin"], "has other scopes or sites"),
            ("other", ["--expires", "1d"], "holds the token wix-adapter"),
        ] {
            let (code, _, err) = create(name, &more);
            assert!(code == 1 && err.contains("--file") && err.contains(why), "{err}");
        }
        assert_eq!(token(&database, &["revoke", "--name", "wix-adapter"]).0, 0);
        let (code, _, err) = create("wix-adapter", &[]);
        assert!(code == 1 && err.contains("is revoked; remove the file"), "{err}");
        // A text that exists already, as in a secret, becomes the token.
        write(&file, &format!("{}\n", inventory_grpc::access::new_token().expect("random bytes")));
        assert_eq!(create("wix-adapter", &[]).0, 0);
        assert_eq!(journal(), 4, "a header, two tokens, and a revocation");
        // A file that could not become the token is not left behind.
        std::fs::remove_file(&file).expect("the file exists");
        let (code, _, err) = create("wix-adapter", &[]);
        assert!(code == 1 && err.contains("exists and is valid") && !file.exists(), "{err}");
        write(&file, "inv_short");
        let (code, _, err) = create("erp", &[]);
        assert!(code == 1 && err.contains("holds no token; remove it"), "{err}");
    }
}

#[test]
fn a_server_beyond_loopback_needs_a_token_or_permission() {
    let database = migrated(Backend::Sqlite);
    let serve = |more: &[&str]| {
        let mut command = program("inventory-grpc");
        command.args(["serve", "--grpc-listen", "0.0.0.0:0", "--allow-plaintext", "--database-url", &database.text]);
        command.args(more);
        command
    };
    let (code, _, err) = finish(serve(&[]));
    assert!(code == 1 && err.contains("--grpc-listen (GRPC_LISTEN)") && err.contains("--allow-anonymous"), "{err}");
    Running::start(serve(&["--allow-anonymous"]), 1);
    let expired = New { name: "expired", scopes: &[Scope::Admin], sites: &[], expires_at: Some(1) };
    expired.create(&database.url);
    assert_eq!(finish(serve(&[])).0, 1, "an expired token is none");
    New { name: "erp", scopes: &[Scope::Admin], ..New::default() }.create(&database.url);
    Running::start(serve(&[]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_can_be_closed() {
    let database = migrated(Backend::Sqlite);
    let serve = |more: &[&str]| {
        let mut command = program("inventory-grpc");
        command.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", &database.text]).args(more);
        Running::start(command, 1)
    };
    New { name: "erp", scopes: &[Scope::Admin], ..New::default() }.create(&database.url);
    let reflect = async |server: &Running| {
        let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        code_of(&call(channel_to(server.addresses[0]), &Bearer::NONE, path, ()).await)
    };
    assert_eq!(reflect(&serve(&[])).await, Code::Ok);
    assert_eq!(reflect(&serve(&["--no-reflection"])).await, Code::Unimplemented);
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).expect("the file can be written");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_adapter_sends_the_token_of_its_file_and_follows_the_file() {
    let database = migrated(Backend::Sqlite);
    let site = guid();
    let text = New { name: "wix-adapter", scopes: &[Scope::Orders], ..New::default() }.create(&database.url);
    let reader = New { name: "reader", scopes: &[Scope::StockRead], ..New::default() }.create(&database.url);
    let file = database.folder().join("token");
    write(&file, &reader);
    let server = grpc_server(&database.text);
    let mut command = program("wix-adapter");
    command
        .args(["serve", "--http-listen", "127.0.0.1:0", "--wix-app-id", APP_ID])
        .args(["--grpc-upstream", &server.addresses[0].to_string()])
        .arg("--upstream-token-file")
        .arg(&file)
        .env("WIX_PUBLIC_KEY", &test_keys::app_key().public);
    let adapter = Running::start(command, 1);
    let wix = WixCaller::new(adapter.addresses[0]);
    let give = async || wix.call("increment", order(&site, json!([item("A", 1)]))).await.status;
    assert_eq!(give().await, 500, "the token lacks the scope");
    write(&file, &format!("{text}\n"));
    let status = until(&give, |status| *status != 500).await;
    assert_eq!(status, 200);
    let mut client =
        inventory_proto::v1::ledger_service_client::LedgerServiceClient::new(channel_to(server.addresses[0]));
    let request = v1::ListEntriesRequest { site_id: site, ..Default::default() };
    let entries =
        client.list_entries(signed(request, &bearer(&reader), &[])).await.expect("listed").into_inner().entries;
    assert_eq!(entries[0].actor, "wix-adapter");

    let mut command = program("wix-adapter");
    command.args(["serve", "--http-listen", "127.0.0.1:0", "--wix-app-id", APP_ID]).arg("--upstream-token-file");
    command.arg(database.folder().join("none")).env("WIX_PUBLIC_KEY", &test_keys::app_key().public);
    let (code, _, err) = finish(command);
    assert!(code == 1 && err.contains("--upstream-token-file (UPSTREAM_TOKEN_FILE)"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_send_the_token_of_their_file() {
    let database = migrated(Backend::Sqlite);
    let site = guid();
    let scopes = [Scope::StockRead, Scope::StockWrite, Scope::Settings];
    let text = New { name: "erp", scopes: &scopes, ..New::default() }.create(&database.url);
    let server = grpc_server(&database.text);
    let rows = database.folder().join("rows.csv");
    write(&rows, "app_id,catalog_item_id,available\napp,A,5\n");
    let tokens = database.folder().join("token");
    let ask = |name: &str, more: &[&str]| {
        let mut command = program("inventory-grpc");
        command.arg(name).args(more).args(["--grpc-upstream", &server.addresses[0].to_string(), "--site-id", &site]);
        command
    };
    let file = rows.display().to_string();
    let (code, _, err) = finish(ask("import", &[&file]));
    assert!(code == 1 && err.contains("needs a valid token"), "{err}");
    let with = |mut command: Command| {
        command.env("TOKEN_FILE", &tokens);
        finish(command)
    };
    let (code, _, err) = with(ask("import", &[&file]));
    assert!(code == 1 && err.contains("--token-file (TOKEN_FILE)"), "{err}");
    write(&tokens, &text);
    assert_eq!(with(ask("import", &[&file])).0, 0);
    assert_eq!(with(ask("verify", &[])).0, 0);
    let (code, out, err) = with(ask("export", &["ledger"]));
    assert!(code == 0 && out.contains(",erp,"), "{out} {err}");
    // A command that opens the database itself needs no token.
    let mut command = program("inventory-grpc");
    command.args(["export", "ledger", "--database-url", &database.text, "--site-id", &site]);
    assert_eq!(finish(command).0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_adapter_works_whether_or_not_there_are_tokens() {
    let database = migrated(Backend::Sqlite);
    let mut command = program("wix-adapter");
    command
        .args(["standalone", "--http-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"])
        .args(["--database-url", &database.text, "--wix-app-id", APP_ID])
        .env("WIX_PUBLIC_KEY", &test_keys::app_key().public);
    let running = Running::start(command, 2);
    let (channel, wix) = (channel_to(running.addresses[0]), WixCaller::new(running.addresses[1]));
    let site = guid();
    let mut stock = v1::stock_service_client::StockServiceClient::new(channel.clone());
    stock.set_stock(set(&site, vec![set_item("A", 5)])).await.expect("nobody needs a token yet");
    let take = async || wix.call("decrement", order(&site, json!([item("A", 1)]))).await.status;
    assert_eq!(take().await, 200);
    let text = New { name: "erp", scopes: &[Scope::StockRead], ..New::default() }.create(&database.url);
    let closed = |result: &Result<(), tonic::Status>| code_of(result) == Code::Unauthenticated;
    let _ = until(|| call(channel.clone(), &Bearer::NONE, GET_SITE, ()), closed).await;
    assert_eq!(take().await, 200);
    let request = v1::ListEntriesRequest { site_id: site.clone(), ..Default::default() };
    let mut ledger = v1::ledger_service_client::LedgerServiceClient::new(channel);
    let entries = ledger.list_entries(signed(request, &bearer(&text), &[])).await.expect("listed").into_inner().entries;
    assert_eq!(entries[1..].iter().map(|entry| &*entry.actor).collect::<Vec<_>>(), ["wix"; 2]);
}
