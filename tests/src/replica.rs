//! Two Postgres servers for one test: a primary, and a standby that copies it. A test can freeze, kill and promote
//! them, and start them again.
//!
//! The servers end with the test process, and with the [`Pair`].

use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};

use inventory_core::store::DatabaseUrl;

use crate::books;
use crate::postgres::{Home, free_port, succeed};

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
        primary.start(&home);
        let standby = Node::at(&home, "standby");
        let mut copy = home.command("pg_basebackup");
        copy.args(["--checkpoint=fast", "--no-sync", "--write-recovery-conf", "--wal-method=stream", "--dbname"]);
        copy.arg(format!("postgres://postgres@127.0.0.1:{}/?application_name=standby", primary.port));
        copy.arg("--pgdata").arg(&standby.data);
        succeed(copy);
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
        books::script(&self.primary.url(), "ALTER SYSTEM SET synchronous_standby_names = 'standby'");
        books::script(&self.primary.url(), "SELECT pg_reload_conf()");
        let waiting = "SELECT count(*) AS wrong FROM pg_stat_replication WHERE sync_state = 'sync'";
        while books::count(&self.primary.url(), waiting) != 1 {
            std::thread::yield_now();
        }
    }

    /// The database on whichever of both takes writes: the primary stands first.
    pub fn text(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres", self.primary.port, self.standby.port)
    }

    /// [`Pair::text`], parsed.
    pub fn url(&self) -> DatabaseUrl {
        self.text().parse().expect("the URL is valid")
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
        let settings = ["max_connections=100", "fsync=off", "wal_receiver_status_interval=1"];
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

    /// Lets a frozen server go on.
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

fn send(signal: &str, processes: &[u32]) {
    let mut kill = Command::new("/bin/sh");
    kill.args(["-c", "kill -s \"$0\" \"$@\" 2> /dev/null", signal]).args(processes.iter().map(u32::to_string));
    // A process that has just ended is no error.
    let _ = kill.status();
}

/// The processes whose parent is `parent`.
fn children(parent: u32) -> Vec<u32> {
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
