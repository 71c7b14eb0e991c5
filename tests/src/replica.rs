//! Two Postgres servers for one test: a primary, and a standby that copies it. A test can freeze, kill and promote
//! them, start them again, and let the old primary follow the new one.
//!
//! The servers end with the test process, and with the [`Pair`].

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};

use inventory_core::store::DatabaseUrl;

use crate::books;
use crate::postgres::{Home, succeed};
use crate::programs::free_port;

/// Ends the server as soon as the test's pipe closes. A frozen one has to be thawed first.
const SCRIPT: &str =
    "\"$0\" \"$@\" & server=$!; echo $server > \"$PID_FILE\"; read -r _; kill -CONT $server; kill -QUIT $server; wait";

/// A primary and its standby, each on a port of its own.
pub struct Pair {
    /// The server that takes the writes at first.
    pub primary: Node,
    /// The server that copies it.
    pub standby: Node,
    home: Home,
}

/// One server.
pub struct Node {
    /// Its port on 127.0.0.1.
    pub port: u16,
    data: PathBuf,
    shell: Mutex<Option<Child>>,
}

impl Pair {
    /// Starts both. The primary's commits do not wait for the standby; see [`Pair::require_standby`].
    pub fn start() -> Self {
        let home = Home::new();
        let primary = Node::at(&home, "primary");
        home.initdb(&primary.data);
        // pg_rewind wants the hints and all of the WAL, and starts the server without the settings of `Node::start`.
        let settings = std::fs::OpenOptions::new().append(true).open(primary.data.join("postgresql.conf"));
        settings
            .and_then(|mut file| file.write_all(b"wal_log_hints = on\nwal_keep_size = 256MB\n"))
            .expect("initdb wrote the file");
        primary.start(&home);
        let standby = Node::at(&home, "standby");
        copy(&home, &standby, &primary);
        standby.start(&home);
        Self { primary, standby, home }
    }

    /// Starts both. A commit of the primary returns when the standby has it.
    pub fn synchronous() -> Self {
        let pair = Self::start();
        pair.require_standby();
        pair
    }

    /// Lets every commit of the primary wait for the standby, from now on.
    pub fn require_standby(&self) {
        // The standby has no such setting: once it is promoted, its commits wait for nobody.
        self.primary.require_standby();
    }

    /// Makes a killed server a standby of the other one, which takes the writes. Its cluster is rewound: what it wrote
    /// and the other one does not have is gone.
    pub fn rewind(&self, node: &Node, primary: &Node) {
        // Until its first checkpoint, a new primary says that it is on the timeline of the old one.
        books::script(&primary.url(), "CHECKPOINT");
        let mut rewind = self.home.command("pg_rewind");
        rewind.args(["--no-sync", "--write-recovery-conf", "--source-server", &conninfo(primary)]);
        rewind.arg("--target-pgdata").arg(&node.data);
        succeed(rewind);
        node.start(&self.home);
    }

    /// The same, with a new copy of the other server's cluster.
    pub fn rebuild(&self, node: &Node, primary: &Node) {
        std::fs::remove_dir_all(&node.data).expect("the cluster can be removed");
        copy(&self.home, node, primary);
        node.start(&self.home);
    }

    /// The database on whichever of both takes writes: the primary stands first.
    pub fn text(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres", self.primary.port, self.standby.port)
    }

    /// The same, for a role that may do what an owner of tables may, and no more.
    pub fn text_of_plain_role(&self) -> String {
        books::script(&self.primary.url(), "CREATE ROLE plain LOGIN; GRANT CREATE ON SCHEMA public TO plain");
        self.text().replace("//postgres@", "//plain@")
    }

    /// [`Pair::text`], parsed.
    pub fn url(&self) -> DatabaseUrl {
        self.text().parse().expect("the URL is valid")
    }

    /// What a server has written to its log.
    pub fn log(&self, node: &Node) -> String {
        std::fs::read_to_string(self.home.log(node.port)).expect("the server has a log")
    }

    /// Starts a server again that was killed.
    pub fn restart(&self, node: &Node) {
        node.start(&self.home);
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for node in [&self.standby, &self.primary] {
            node.signal("CONT");
            node.kill();
        }
        let _ = std::fs::remove_dir_all(&self.home.folder);
    }
}

impl Node {
    fn at(home: &Home, name: &str) -> Self {
        Self { port: free_port(), data: home.folder.join(name), shell: Mutex::new(None) }
    }

    fn start(&self, home: &Home) {
        let settings =
            ["max_connections=100", "fsync=off", "wal_receiver_status_interval=1", "wal_retrieve_retry_interval=100"];
        let script = SCRIPT.replace("$PID_FILE", &self.pid_file().display().to_string());
        let shell = home.serve(&script, &self.data, self.port, &settings);
        *self.shell.lock().unwrap_or_else(PoisonError::into_inner) = Some(shell);
        home.wait_for(self.port);
    }

    fn pid_file(&self) -> PathBuf {
        self.data.with_extension("pid")
    }

    /// The database on this server, whether or not it takes writes.
    pub fn url(&self) -> DatabaseUrl {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres?target_session_attrs=any", self.port);
        url.parse().expect("the URL is valid")
    }

    /// Stops all processes of the server, as a machine that hangs. Their connections stay open.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Stops one process of the server, such as that of one connection. The others go on.
    pub fn freeze_process(&self, process: u32) {
        send("STOP", &[process]);
    }

    /// Lets a frozen server, and each frozen process of it, go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Ends the server at once, without a checkpoint.
    pub fn kill(&self) {
        if let Some(mut shell) = self.shell.lock().unwrap_or_else(PoisonError::into_inner).take() {
            drop(shell.stdin.take());
            let _ = shell.wait();
        }
    }

    /// Makes the standby take writes.
    pub fn promote(&self) {
        let refused = books::count(&self.url(), "SELECT (NOT pg_promote(true, 60))::int::bigint AS wrong");
        assert_eq!(refused, 0, "the standby is promoted");
    }

    /// Lets every commit wait for the standby, from now on. Returns when the standby has everything so far.
    pub fn require_standby(&self) {
        self.require("standby");
    }

    /// Sets `synchronous_standby_names`. Returns when it holds for all sessions, and a standby that counts is there.
    pub fn require(&self, names: &str) {
        books::script(&self.url(), &format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"));
        books::script(&self.url(), "SELECT pg_reload_conf()");
        // A new session has it once the server has told all others.
        let counting = format!(
            "SELECT count(*) AS wrong FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum') \
             AND current_setting('synchronous_standby_names') = '{names}'"
        );
        while books::count(&self.url(), &counting) != 1 {
            std::thread::yield_now();
        }
    }

    /// How many connections wait for a standby in their COMMIT.
    pub fn waiting_for_standby(&self) -> i64 {
        books::count(&self.url(), "SELECT count(*) AS wrong FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    }

    /// Sends a signal to the server and to its children.
    fn signal(&self, name: &str) {
        let Ok(text) = std::fs::read_to_string(self.pid_file()) else { return };
        let Ok(server) = text.trim().parse::<u32>() else { return };
        // The server first: then it starts no more of them.
        send(name, &[server]);
        send(name, &children(server));
    }
}

/// How a standby reaches its primary.
fn conninfo(primary: &Node) -> String {
    format!("host=127.0.0.1 port={} user=postgres dbname=postgres application_name=standby", primary.port)
}

/// Copies the cluster of a running server, as that of a standby.
fn copy(home: &Home, standby: &Node, primary: &Node) {
    let mut copy = home.command("pg_basebackup");
    copy.args(["--checkpoint=fast", "--no-sync", "--write-recovery-conf", "--wal-method=stream"]);
    copy.args(["--dbname", &conninfo(primary)]).arg("--pgdata").arg(&standby.data);
    succeed(copy);
}

/// Sends a signal to processes.
pub(crate) fn send(signal: &str, processes: &[u32]) {
    let mut kill = Command::new("/bin/sh");
    kill.args(["-c", "kill -s \"$0\" \"$@\" 2> /dev/null", signal]).args(processes.iter().map(u32::to_string));
    // A process that has just ended is no error.
    let _ = kill.status();
}

/// The processes whose parent is `parent`.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("Linux shows its processes").flatten();
    let all = processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    let of_parent = |process: &u32| {
        // `PID (NAME) STATE PARENT …`; the name may hold anything.
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let after = stat.rsplit(')').next().unwrap_or_default();
        after.split_whitespace().nth(1).is_some_and(|found| found == parent.to_string())
    };
    all.filter(of_parent).collect()
}
