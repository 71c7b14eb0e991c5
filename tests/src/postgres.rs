//! A private Postgres: the machine's own `initdb`, a cluster in a temporary folder, a database for
//! each test. `TEST_DATABASE_URL` names a server to use instead.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::{Connection, RunQueryDsl, sql_query};
use uuid::Uuid;

/// Whether the cluster forces its writes to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As in production: for benchmarks.
    Full,
    /// Not at all: for tests, none of which stops Postgres itself.
    None,
}

static SERVER: OnceLock<String> = OnceLock::new();

/// The URL of a new, empty database.
pub fn fresh_database(durability: Durability) -> String {
    let server = SERVER.get_or_init(|| match std::env::var("TEST_DATABASE_URL") {
        Ok(url) => url,
        Err(_) => start_cluster(durability),
    });
    let name = format!("t{}", Uuid::new_v4().simple());
    let mut connection = PgConnection::establish(server).expect("the test server answers");
    sql_query(format!("CREATE DATABASE {name}")).execute(&mut connection).expect("a database can be made");
    let (base, query) = server.split_once('?').unwrap_or((server, ""));
    let root = base.rsplit_once('/').map_or(base, |(root, _)| root);
    if query.is_empty() { format!("{root}/{name}") } else { format!("{root}/{name}?{query}") }
}

#[expect(clippy::zombie_processes, reason = "the shell outlives this process, to clean up after it")]
fn start_cluster(durability: Durability) -> String {
    let bin = bin_folder();
    let folder = std::env::temp_dir().join(format!("inventory-pg-{}", Uuid::new_v4().simple()));
    std::fs::create_dir(&folder).expect("a temporary folder can be made");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).expect("own folder");
    let user = unprivileged_user();
    if let Some((uid, gid)) = user {
        std::os::unix::fs::chown(&folder, Some(uid), Some(gid)).expect("root may give a folder away");
    }
    let run = |program: &Path| {
        let mut command = Command::new(program);
        command.current_dir(&folder);
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
        command
    };
    let data = folder.join("data");
    let made = run(&bin.join("initdb"))
        .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync", "--pgdata"])
        .arg(&data)
        .output()
        .expect("initdb runs");
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    let port = free_port();
    let sync = if durability == Durability::Full { "on" } else { "off" };
    // A shell between us and Postgres holds the reading end of a pipe: when this process ends, in
    // whatever way, the pipe closes, and the shell stops Postgres and removes the folder.
    let script = "\"$0\" \"$@\" & server=$!; read -r _; kill -INT $server; wait $server; rm -rf \"$FOLDER\"";
    let mut shell = run(Path::new("/bin/sh"))
        .args(["-c", script])
        .arg(bin.join("postgres"))
        .args(["-D".as_ref(), data.as_os_str()])
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"])
        .args(["-c", &format!("fsync={sync}"), "-c", &format!("unix_socket_directories={}", folder.display())])
        .env("FOLDER", &folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.join("log")).expect("a log can be made"))
        .spawn()
        .expect("a shell runs");
    // Kept open, unwritten, for as long as this process lives.
    std::mem::forget(shell.stdin.take());
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    for _ in 0..600 {
        if let Ok(mut connection) = PgConnection::establish(&url) {
            connection.batch_execute("SELECT 1").expect("a new server answers");
            return url;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    panic!("Postgres did not start: {log}");
}

/// The folder of the newest Postgres on the machine.
fn bin_folder() -> PathBuf {
    let on_path =
        std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut debian: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    debian.sort();
    let complete = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists();
    let found = debian.into_iter().rev().chain(on_path).find(complete);
    found.unwrap_or_else(|| {
        let told = "no Postgres was found: install it (Debian: apt-get install postgresql) or set TEST_DATABASE_URL";
        // Also past the test runner's capture, since every test on Postgres ends here.
        let _ = writeln!(std::io::stderr(), "{told}");
        panic!("{told}");
    })
}

/// initdb refuses root: who else there is, where this process is root.
fn unprivileged_user() -> Option<(u32, u32)> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    if !root {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    ["postgres", "nobody"].iter().find_map(|name| {
        let mut fields = users.lines().find(|line| line.split(':').next() == Some(name))?.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}
