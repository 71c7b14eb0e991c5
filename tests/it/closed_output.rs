//! Nobody reads what a program prints. A command that reads ends quietly then; one that changes something does all of
//! its work, and a server serves. `token create` fails after its work, because nobody has seen the token.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use inventory_proto::v1;
use inventory_tests::archives::{JANUARY, MARCH, archive, forget_outcomes};
use inventory_tests::books;
use inventory_tests::programs::{closed_pipe, finish, free_port, grpc_server, program};
use inventory_tests::requests::guid;
use inventory_tests::test_keys::app_key;
use inventory_tests::wix_caller::{APP_ID, CATALOG};
use inventory_tests::world::{Backend, Database, World};
use tonic::Code;

use crate::role::remove_role;

fn inventory(arguments: &[&str]) -> Command {
    let mut command = program("inventory-grpc");
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs a command to its end whose standard output nobody reads. Returns its exit code and standard error.
fn unread(mut command: Command) -> (i32, String) {
    command.stdout(closed_pipe());
    let (code, _, err) = finish(command);
    (code, err)
}

/// A file on a disk without space.
fn full_disk() -> File {
    File::options().write(true).open("/dev/full").expect("every Linux has it")
}

/// The same as `unread`, of a command that must succeed.
#[track_caller]
fn done(command: Command) {
    let shown = format!("{command:?}");
    let (code, err) = unread(command);
    assert_eq!(code, 0, "{shown}: {err}");
}

/// A file with one level, which an import sets.
fn level_file(world: &World, available: i64) -> String {
    let file = world.database.folder().join("stock.csv");
    let rows = format!("app_id,catalog_item_id,available\n{CATALOG},A,{available}\n");
    fs::write(&file, rows).expect("the folder is writable");
    file.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_reads_ends_quietly() {
    let world = World::start(Backend::Sqlite).await;
    world.set(&[("A", 5)]).await;
    let (unit, file, database) = (format!("{CATALOG}/A"), level_file(&world, 9), &world.database.text);
    let about_site = |arguments: &[&str]| {
        let mut command = inventory(arguments);
        command.env("SITE_ID", &world.site).env("GRPC_UPSTREAM", world.grpc.to_string());
        command
    };
    let rows: [&[&str]; 12] = [
        &["stock", "show"],
        &["stock", "show", "--json"],
        &["why", &unit],
        &["export", "stock"],
        &["export", "stock", "--format", "ndjson"],
        &["export", "ledger"],
        &["export", "ledger", "--database-url", database],
        &["verify"],
        &["import", &file, "--dry-run"],
        &["health"],
        &["token", "list", "--database-url", database],
        &["token", "journal", "--database-url", database],
    ];
    for arguments in rows {
        let (code, err) = unread(about_site(arguments));
        assert!(code == 0 && !err.contains("inventory-grpc: "), "{arguments:?}: {err}");
        // Whatever else happens to standard output is told.
        let mut command = about_site(arguments);
        command.stdout(full_disk());
        let (code, _, err) = finish(command);
        let expected = "inventory-grpc: standard output cannot be written: No space left on device (os error 28)\n";
        assert!(code == 1 && err.ends_with(expected), "{arguments:?}: {err}");
    }
    assert_eq!(world.level("A").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_page_cannot_be_written_is_said_to_be_made() {
    let world = World::start(Backend::Sqlite).await;
    let unit = format!("{CATALOG}/A");
    for (arguments, level) in [(["stock", "set", &unit, "7"], 7), (["stock", "adjust", &unit, "5"], 12)] {
        let mut command = inventory(&arguments);
        command.env("SITE_ID", &world.site).env("GRPC_UPSTREAM", world.grpc.to_string());
        command.args(["--idempotency-key", &format!("key {level}")]).stdout(full_disk());
        let (code, _, err) = finish(command);
        let made = format!("; the change is made, under the idempotency key key {level}\n");
        assert!(code == 1 && err.contains("standard output cannot be written") && err.ends_with(&made), "{err}");
        assert_eq!(world.level("A").await, level);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_changes_something_does_all_of_its_work() {
    let world = World::start(Backend::Sqlite).await;
    let (url, database, folder) = (&world.database.url, &world.database.text, world.database.folder());
    world.clock.set(JANUARY);
    world.set(&[("A", 5), ("B", 7)]).await;
    world.clock.set(MARCH);
    let (site, server) = (world.site.as_str(), world.grpc.to_string());
    let asked = ["--site-id", site, "--server", &server];

    let file = level_file(&world, 9);
    done(inventory(&[&["import", file.as_str()][..], &asked].concat()));
    assert_eq!(world.level("A").await, 9);

    assert_eq!(books::execute(url, "UPDATE level SET available = 8 WHERE available = 9"), Ok(1));
    let (code, err) = unread(inventory(&[&["verify"][..], &asked].concat()));
    assert!(code == 1 && err.contains("1 levels differ"), "{err}");
    done(inventory(&[&["verify", "--repair"][..], &asked].concat()));
    assert_eq!((world.level("A").await, world.verify(false).await.difference_count), (9, 0));

    forget_outcomes(url);
    done(archive(database, "2020-03", &folder));
    assert!(folder.join("before-2020-03/manifest.json").exists());
    assert_eq!(world.entries().await[0].sequence, 3, "the entries of January are removed");

    let backup = folder.join("backup.db").display().to_string();
    done(inventory(&["backup", &backup, "--database-url", database]));
    assert!(fs::exists(&backup).expect("the folder can be read"));

    let target = Database::fresh(Backend::Postgres);
    let mut copy = inventory(&["copy", "--from", &format!("sqlite:{backup}"), "--to", &target.text]);
    // It tells its progress there.
    copy.stderr(closed_pipe());
    done(copy);
    assert!(grpc_server(&target.text).terminate().success(), "servers take only a complete copy");

    let why = ["--by", "ann", "--reason", "the owner asked for it", "--database-url", database];
    done(inventory(&[&["site", "delete", "--yes", "--site-id", site][..], &why].concat()));
    let get = v1::GetSiteRequest { site_id: site.to_owned() };
    assert_eq!(world.sites().get_site(get).await.expect_err("no such site").code(), Code::NotFound);
}

#[test]
fn a_database_gets_its_schema_and_its_tokens() {
    let database = Database::fresh(Backend::Sqlite);
    let on = ["--database-url", database.text.as_str()];
    let listed = || finish(inventory(&[&["token", "list"][..], &on].concat())).1;
    done(inventory(&[&["migrate"][..], &on].concat()));
    let create = ["token", "create", "--scope", "orders", "--name"];
    let (code, err) = unread(inventory(&[&create[..], &["erp"], &on].concat()));
    assert_unseen("erp", code, &err);
    let mut full = inventory(&[&create[..], &["pos"], &on].concat());
    full.stdout(full_disk());
    let (code, _, err) = finish(full);
    assert_unseen("pos", code, &err);
    let file = database.folder().join("token").display().to_string();
    let mut in_file = inventory(&[&create[..], &["wix", "--file", &file], &on].concat());
    in_file.stderr(closed_pipe());
    done(in_file);
    assert!(fs::exists(&file).expect("the folder can be read"));
    assert_eq!(listed().matches("\tvalid\n").count(), 3, "{}", listed());
    done(inventory(&[&["token", "revoke", "--name", "erp"][..], &on].concat()));
    assert_eq!(listed().matches("\trevoked\n").count(), 1, "{}", listed());
}

/// `token create` has made a token that it could not print: it fails, and says what to do.
#[track_caller]
fn assert_unseen(name: &str, code: i32, err: &str) {
    let created = format!("the token {name} was created, but nobody has seen its text");
    let revoke = format!("`inventory-grpc token revoke --name {name}`");
    assert!(code == 1 && err.contains(&created) && err.contains(&revoke), "{name}: {code}: {err}");
    assert!(!err.contains("is shown only now"), "{name}: {err}");
}

#[test]
fn a_role_gets_its_rights_though_standard_output_is_full() {
    let database = Database::fresh(Backend::Postgres);
    let role = format!("service-{}", &guid()[..8]);
    books::script(&database.url, &format!("CREATE ROLE \"{role}\" LOGIN"));
    let mut migrate = inventory(&["migrate", "--database-url", &database.text, "--grant-to", &role]);
    migrate.stdout(full_disk());
    let (code, _, err) = finish(migrate);
    assert!(code == 1 && err.contains("standard output cannot be written"), "{err}");
    let granted = format!("SELECT has_table_privilege('{role}', 'ledger', 'INSERT')::int::bigint AS wrong");
    let is_granted = books::count(&database.url, &granted) == 1;
    remove_role(&database, &role);
    assert!(is_granted, "the role may add entries");
}

/// A server whose outputs nobody reads. It ends with the test.
struct Unread(Child);

impl Unread {
    /// Starts it, and waits until `health` succeeds.
    fn start(mut command: Command, health: impl Fn() -> Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(closed_pipe()).stderr(closed_pipe()).spawn();
        let mut server = Self(child.expect("the program starts"));
        while unread(health()).0 != 0 {
            let ended = server.0.try_wait().expect("the process is ours");
            assert_eq!(ended, None, "{command:?} ended");
        }
        server
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_serves_though_nobody_reads_its_address_or_its_log() {
    let database = Database::fresh(Backend::Sqlite);
    let grpc = format!("127.0.0.1:{}", free_port());
    let serve = inventory(&["serve", "--grpc-listen", &grpc, "--database-url", &database.text]);
    let _server = Unread::start(serve, || inventory(&["health", "--grpc-upstream", &grpc]));
    let http = format!("127.0.0.1:{}", free_port());
    let adapter = |arguments: &[&str]| {
        let mut command = program("wix-adapter");
        command.args(arguments).args(["--http-listen", &http]).env("WIX_PUBLIC_KEY", &app_key().public);
        command
    };
    let serve = adapter(&["serve", "--wix-app-id", APP_ID, "--grpc-upstream", &grpc]);
    let _adapter = Unread::start(serve, || adapter(&["health"]));
}
