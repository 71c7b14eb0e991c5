//! The real programs as processes, for what only a process can show: kill -9, signals, settings.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

use crate::test_keys;
use crate::wix_caller::APP_ID;

/// The folder of the programs, built from the sources as they are.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        // This test's own binary is …/target/PROFILE/deps/NAME.
        let own = std::env::current_exe().expect("a test has a path");
        let folder = own.parent().and_then(|deps| deps.parent()).expect("cargo's folders").to_owned();
        let mut build = Command::new(env!("CARGO"));
        // With the tests' own package among those chosen, so that features are the same and nothing
        // that cargo has just built is built again.
        build.args([
            "build",
            "--quiet",
            "--bins",
            "-p",
            "inventory-grpc",
            "-p",
            "wix-adapter",
            "-p",
            "inventory-tests",
        ]);
        build.arg("--manifest-path");
        build.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
        if folder.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs").success(), "the programs do not build");
        folder
    })
}

/// A command that runs one of the programs, with no setting inherited.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(folder().join(name));
    for setting in ["DATABASE_URL", "GRPC_LISTEN", "HTTP_LISTEN", "GRPC_UPSTREAM", "WIX_APP_ID", "ADMIN_LISTEN"] {
        command.env_remove(setting);
    }
    command.env_remove("WIX_PUBLIC_KEY").env_remove("WIX_PUBLIC_KEY_FILE");
    command
}

/// A running server, killed with -9 when dropped.
pub struct Running {
    child: Child,
    /// Where it listens, in the order in which it said so.
    pub addresses: Vec<SocketAddr>,
}

impl Running {
    /// Starts `command`, which says `… listening on ADDRESS` in its first `lines` lines.
    pub fn start(mut command: Command, lines: usize) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a program starts");
        let mut output = BufReader::new(child.stdout.take().expect("piped")).lines();
        let address = |line: String| line.rsplit(' ').next().and_then(|address| address.parse().ok());
        let addresses = output.by_ref().take(lines).map_while(Result::ok).filter_map(address).collect();
        // What it says later must not fill the pipe.
        std::thread::spawn(move || output.for_each(drop));
        let running = Self { child, addresses };
        assert_eq!(running.addresses.len(), lines, "the program did not say where it listens");
        running
    }

    /// Processor time it has used so far, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // After the name in parentheses; utime and stime are the 14th and 15th fields, in 1/100 s.
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
    }

    /// Memory it holds now, in megabytes of a million bytes.
    pub fn resident_megabytes(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) * 1_024.0 / 1e6
    }

    /// Its threads.
    pub fn threads(&self) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        tasks.map_or(0, |tasks| tasks.count())
    }

    /// Ends it as the kernel would: no clean-up, no last words.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Asks it to stop, and waits until it has.
    pub fn terminate(mut self) -> ExitStatus {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(told.expect("kill runs").success());
        self.child.wait().expect("it ends")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `inventory-grpc serve` on a database.
pub fn grpc_server(database_url: &str) -> Running {
    let mut command = program("inventory-grpc");
    command.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", database_url]);
    Running::start(command, 1)
}

/// `wix-adapter serve` before a gRPC server, believing the tests' key.
pub fn adapter(grpc: SocketAddr) -> Running {
    let mut command = program("wix-adapter");
    command
        .args(["serve", "--http-listen", "127.0.0.1:0", "--wix-app-id", APP_ID])
        .args(["--grpc-upstream", &grpc.to_string()])
        .env("WIX_PUBLIC_KEY", &test_keys::app_key().public);
    Running::start(command, 1)
}
