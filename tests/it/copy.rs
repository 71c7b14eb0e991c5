//! `copy`: a whole database moves to another store, from SQLite to Postgres and back, and nobody can tell afterwards.

use std::process::{Output, Stdio};

use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use inventory_core::store::DatabaseUrl;
use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::site_service_client::SiteServiceClient;
use inventory_tests::books;
use inventory_tests::busy::{Busy, TOKEN};
use inventory_tests::programs::{Running, grpc_server, program};
use inventory_tests::requests::{clip, decrement};
use inventory_tests::tokens::channel_to;
use inventory_tests::world::{Backend, Database};

/// Runs a command of `inventory-grpc`.
fn run(args: &[&str]) -> Output {
    program("inventory-grpc").args(args).stdin(Stdio::null()).output().expect("the program starts")
}

fn copy(from: &Database, to: &Database) -> Output {
    run(&["copy", "--from", &from.text, "--to", &to.text])
}

fn migrate(database: &Database) {
    printed(run(&["migrate", "--database-url", &database.text]));
}

/// What a command printed, if it succeeded.
fn printed(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("it prints text")
}

/// Why a command failed.
fn error(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).expect("it prints text")
}

/// A server on a database with tokens, for callers without one.
fn open_server(database: &Database) -> Running {
    let mut serve = program("inventory-grpc");
    serve.args(["serve", "--allow-anonymous", "--grpc-listen", "127.0.0.1:0", "--database-url", &database.text]);
    Running::start(serve, 1)
}

/// All tables of the schema, as a database of SQLite has them.
fn tables(sqlite: &Database) -> Vec<String> {
    let sql = "SELECT name AS line FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_\\_%' ESCAPE '\\' \
               AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    books::lines(&sqlite.url, sql)
}

/// All rows of a table in a form that is the same on both stores.
fn rows(database: &Database, table: &str) -> Vec<String> {
    let columns = match &database.url {
        // In SQLite, the digits of NULL are an empty text.
        DatabaseUrl::Sqlite(_) => format!(
            "SELECT 'coalesce(' || CASE type WHEN 'BLOB' THEN 'nullif(lower(hex(\"' || name || '\")), '''')' \
             ELSE 'CAST(\"' || name || '\" AS text)' END || ', ''-'')' AS line FROM pragma_table_info('{table}')"
        ),
        DatabaseUrl::Postgres(_) => format!(
            "SELECT format(CASE data_type WHEN 'uuid' THEN 'coalesce(replace(%I::text, ''-'', ''''), ''-'')' \
             WHEN 'bytea' THEN 'coalesce(encode(%I, ''hex''), ''-'')' \
             WHEN 'boolean' THEN 'coalesce(%I::int::text, ''-'')' ELSE 'coalesce(%I::text, ''-'')' END, \
             column_name) AS line FROM information_schema.columns WHERE table_schema = 'public' \
             AND table_name = '{table}' ORDER BY ordinal_position"
        ),
    };
    let columns = books::lines(&database.url, &columns).join(" || '|' || ");
    let mut rows = books::lines(&database.url, &format!("SELECT {columns} AS line FROM \"{table}\""));
    rows.sort();
    rows
}

/// Every table of one database has rows, and the other one has the same.
fn assert_same(sqlite: &Database, postgres: &Database) {
    let tables = tables(sqlite);
    assert!(tables.len() >= 10, "{tables:?}");
    for table in tables {
        let rows_of_sqlite = rows(sqlite, &table);
        assert!(
            !rows_of_sqlite.is_empty(),
            "src/busy.rs puts no row into {table}, so nobody knows whether it is copied"
        );
        assert_eq!(rows(postgres, &table), rows_of_sqlite, "{table} is copied; see TABLES in store/tables.rs");
    }
}

/// What `export` and `verify` print of a site.
fn exported(database: &Database, site: &str) -> [String; 3] {
    [&["export", "stock"][..], &["export", "ledger"], &["verify"]]
        .map(|command| printed(run(&[command, &["--database-url", &database.text, "--site-id", site]].concat())))
}

/// From SQLite to Postgres, where the service goes on, and back.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_site_moves_to_postgres_and_back() {
    let (from, to) = (Database::fresh(Backend::Sqlite), Database::fresh(Backend::Postgres));
    let busy = Busy::fill(&from.text).await;
    let said = printed(copy(&from, &to));
    assert!(said.contains("the copy is complete; start the servers on postgres://"), "{said}");
    assert_eq!(said.matches("3 sites, 179 entries, 5 levels: 0 differ").count(), 2, "{said}");
    assert_same(&from, &to);
    for site in &busy.sites {
        assert_eq!(exported(&to, site), exported(&from, site));
    }
    let tokens = |database: &Database| printed(run(&["token", "list", "--database-url", &database.text]));
    assert!(tokens(&to).contains(TOKEN));
    assert_eq!(tokens(&to), tokens(&from));

    let server = open_server(&to);
    let channel = channel_to(server.addresses[0]);
    busy.replay(channel.clone()).await;
    let [site, other] = &busy.sites;
    let sequence = "SELECT max(sequence) AS wrong FROM site";
    let before = books::count(&to.url, sequence);
    let new =
        AvailabilityServiceClient::new(channel.clone()).decrement_availability(decrement(site, &[("A", 1)])).await;
    assert_eq!(new.expect("a new order is applied").into_inner().sequence, before + 1);
    let last = "SELECT max(change_id) AS wrong FROM journal";
    let before = books::count(&to.url, last);
    let change =
        v1::UpdateSiteRequest { site_id: other.clone(), over_returns: v1::OverReturnPolicy::Report.into(), ..clip() };
    SiteServiceClient::new(channel).update_site(change).await.expect("a setting can be changed");
    assert_eq!(books::count(&to.url, last), before + 1, "the journal goes on after its last number");
    assert!(server.terminate().success());
    for statement in ["UPDATE ledger SET delta = 0", "DELETE FROM change", "TRUNCATE ledger", "DELETE FROM journal"] {
        let refused = books::execute(&to.url, statement).expect_err(statement).to_string();
        assert!(refused.contains("never changed or removed"), "{statement}: {refused}");
    }

    let back = Database::fresh(Backend::Sqlite);
    let said = printed(copy(&to, &back));
    assert!(said.contains("the copy is complete; start the servers on sqlite:"), "{said}");
    assert_same(&back, &to);
    let server = open_server(&back);
    busy.replay(channel_to(server.addresses[0])).await;
}

/// Waits until one statement waits for a lock of the test, then kills the program that runs it.
fn kill_at_the_ledger(from: &Database, to: &Database) {
    migrate(to);
    // Not by `to.url`, which names its connections as a server does.
    let mut lock = PgConnection::establish(&to.text).expect("Postgres accepts connections");
    lock.batch_execute("BEGIN; LOCK TABLE ledger IN SHARE MODE").expect("nobody uses the table");
    let mut command = program("inventory-grpc");
    command.args(["copy", "--from", &from.text, "--to", &to.text]).stdout(Stdio::null());
    let mut copying = command.spawn().expect("the program starts");
    let waiting = "SELECT count(*) AS wrong FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database \
                   WHERE datname = current_database() AND NOT granted";
    while books::count(&to.url, waiting) == 0 {
        assert!(copying.try_wait().expect("the process is ours").is_none(), "the copy waits for the ledger");
        std::thread::yield_now();
    }
    copying.kill().expect("the process can be killed");
    copying.wait().expect("the process ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_copy_goes_on_and_is_no_database_before_its_end() {
    let (from, to) = (Database::fresh(Backend::Sqlite), Database::fresh(Backend::Postgres));
    let busy = Busy::fill(&from.text).await;
    kill_at_the_ledger(&from, &to);
    let count = |table: &str| books::count(&to.url, &format!("SELECT count(*) AS wrong FROM {table}"));
    assert!(count("change") > 0 && count("ledger") == 0, "it was killed in the middle");

    let half = "is the target of a copy that has not ended";
    for command in [&["serve", "--grpc-listen", "127.0.0.1:0"][..], &["migrate"], &["token", "list"]] {
        let said = error(run(&[command, &["--database-url", &to.text]].concat()));
        assert!(said.contains(half), "{command:?}: {said}");
    }

    // Somebody uses the source again before the copy has ended: then the begun copy is one of something else.
    let DatabaseUrl::Sqlite(path) = &from.url else { panic!("the source is on SQLite") };
    let kept = from.folder().join("kept").display().to_string();
    printed(run(&["backup", &kept, "--database-url", &from.text]));
    let server = open_server(&from);
    let order = decrement(&busy.sites[0], &[("A", 1)]);
    let mut availability = AvailabilityServiceClient::new(channel_to(server.addresses[0]));
    availability.decrement_availability(order).await.expect("there is enough");
    assert!(server.terminate().success());
    let said = error(copy(&from, &to));
    assert!(said.contains("holds the beginning of a copy of another source, or of this one before"), "{said}");
    for log in ["-wal", "-shm"] {
        // There is none if the server was the last one to close the database.
        let _ = std::fs::remove_file(format!("{path}{log}"));
    }
    std::fs::rename(&kept, path).expect("the folder is writable");

    let said = printed(copy(&from, &to));
    assert!(said.contains("goes on after"), "{said}");
    assert_same(&from, &to);
    let server = open_server(&to);
    busy.replay(channel_to(server.addresses[0])).await;
    assert!(server.terminate().success());
    let again = error(copy(&from, &to));
    assert!(again.contains("has rows in the table site; the target of a copy must be empty"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_copied_while_a_server_runs() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let (from, to) = (Database::fresh(backend), Database::fresh(Backend::Sqlite));
        let server = grpc_server(&from.text);
        let said = error(copy(&from, &to));
        assert!(said.contains("a server or another program is using it; stop it"), "{said}");
        let DatabaseUrl::Sqlite(path) = &to.url else { panic!("the target is on SQLite") };
        assert!(!std::path::Path::new(path).exists(), "the target was not even made");
        assert!(server.terminate().success());
        migrate(&to);

        // The same for the target.
        let (from, to) = (Database::fresh(Backend::Sqlite), Database::fresh(backend));
        migrate(&from);
        let server = grpc_server(&to.text);
        let said = error(copy(&from, &to));
        assert!(said.contains("a server or another program is using it; stop it"), "{said}");
        assert!(server.terminate().success());
    }
}

#[test]
fn a_copy_says_what_is_missing() {
    let (from, to) = (Database::fresh(Backend::Sqlite), Database::fresh(Backend::Sqlite));
    let said = error(copy(&from, &to));
    assert!(said.contains("inventory.db: no such file"), "{said}");
    let said = error(copy(&from, &from));
    assert!(said.contains("is the source and the target"), "{said}");
    let postgres = Database::fresh(Backend::Postgres);
    let said = error(copy(&postgres, &to));
    assert!(said.contains("the database has no tables of this service; run `inventory-grpc migrate`"), "{said}");

    // A database without rows can be copied too.
    migrate(&postgres);
    migrate(&from);
    printed(copy(&from, &to));
    assert_eq!(books::count(&to.url, "SELECT count(*) AS wrong FROM site"), 0);
    let (code, said) = (run(&["copy", "--from", &from.text]), "--to <TO>");
    assert!(String::from_utf8_lossy(&code.stderr).contains(said), "{code:?}");
}
