//! Runs the real programs as processes, for tests that need a process: kill -9, signals, settings, memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Lines};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use crate::test_keys;
use crate::wix_caller::APP_ID;

/// The folder of the programs. The first call builds them from the current sources.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        // A test's own binary is target/PROFILE/deps/NAME.
        let own = std::env::current_exe().expect("a test binary has a path");
        let folder = own.ancestors().nth(2).expect("the profile's folder is two levels up").to_owned();
        let mut build = Command::new(env!("CARGO"));
        // The tests' own package is among the chosen ones, so cargo resolves the same features and does not build
        // anything a second time.
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
        assert!(build.status().expect("cargo starts").success(), "cargo cannot build the programs");
        folder
    })
}

/// Cargo's target folder.
pub fn target_folder() -> PathBuf {
    // A test's own binary is target/PROFILE/deps/NAME.
    let own = std::env::current_exe().expect("a test binary has a path");
    own.ancestors().nth(3).expect("cargo's target folder is three levels up").to_owned()
}

/// A command that runs one of the programs. It inherits no setting from the environment.
pub fn program(name: &str) -> Command {
    program_of(folder(), name)
}

/// The same for the programs in a folder, which may be of another version.
pub fn program_of(folder: &Path, name: &str) -> Command {
    let mut command = Command::new(folder.join(name));
    for setting in ["DATABASE_URL", "GRPC_LISTEN", "HTTP_LISTEN", "GRPC_UPSTREAM", "WIX_APP_ID", "ADMIN_LISTEN"] {
        command.env_remove(setting);
    }
    command.env_remove("WIX_PUBLIC_KEY").env_remove("WIX_PUBLIC_KEY_FILE").env_remove("REHEARSAL_PUBLIC_KEY_FILE");
    for setting in ["TOKEN_FILE", "UPSTREAM_TOKEN_FILE", "ALLOW_ANONYMOUS", "NO_REFLECTION"] {
        command.env_remove(setting);
    }
    for setting in ["TLS_CERT", "TLS_KEY", "TLS_CLIENT_CA", "ALLOW_PLAINTEXT", "UPSTREAM_CA", "UPSTREAM_CERT"] {
        command.env_remove(setting);
    }
    command.env_remove("UPSTREAM_KEY").env_remove("DRAIN_SECONDS").env_remove("ANNOUNCE_SECONDS");
    command.env_remove("COPY_FROM").env_remove("COPY_TO").env_remove("SITE_ID");
    for setting in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(setting);
    }
    for setting in ["OTLP_ENDPOINT", "OTLP_CA", "LOG_CALLS", "RUST_LOG", "MIGRATE"] {
        command.env_remove(setting);
    }
    command
}

/// The command, run by another program with these arguments.
pub fn run_by(runner: &[&str], command: &Command) -> Command {
    let mut run = Command::new(runner[0]);
    run.args(&runner[1..]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => run.env(name, value),
            None => run.env_remove(name),
        };
    }
    run
}

/// A free port for a program that does not tell which one it takes.
///
/// Linux gives ports above 32,767 to programs that ask for any port, as clients do. So until the program binds this
/// one, only another process of these tests could take it.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Two processes begin at different ports.
    let first = std::process::id().wrapping_mul(101);
    let mut ports = std::iter::repeat_with(|| first.wrapping_add(TAKEN.fetch_add(1, Relaxed)))
        .map(|number| 12_000 + (number % 20_000) as u16);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port is free")
}

/// Runs a program to its end. Returns its exit code, standard output and standard error.
pub fn finish(mut command: Command) -> (i32, String, String) {
    // The program may call a server of this test's runtime.
    let output = tokio::task::block_in_place(|| command.output()).expect("the program starts");
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(!err.contains("panicked"), "{err}");
    (output.status.code().unwrap_or(-1), out, err)
}

/// The writing end of a pipe whose reader has left.
pub fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    drop(reader);
    writer.into()
}

/// Runs a program to its end. Returns its exit code, and both of its outputs as one text.
pub fn finish_saying(command: Command) -> (i32, String) {
    let (code, out, err) = finish(command);
    (code, out + &err)
}

/// A running server. Dropping it kills the process with SIGKILL.
pub struct Running {
    child: Child,
    /// The addresses it listens on, in the order in which it printed them.
    pub addresses: Vec<SocketAddr>,
}

impl Running {
    /// Starts `command`, which prints `… listening on ADDRESS` in each of its first `lines` lines.
    pub fn start(command: Command, lines: usize) -> Self {
        Self::start_with_log(command, lines, Stdio::null())
    }

    /// The same, with its log written to a new file.
    pub fn start_logging(command: Command, lines: usize, log: &Path) -> Self {
        Self::start_with_log(command, lines, File::create(log).expect("the log can be written"))
    }

    /// The same, with standard error going to `log`.
    pub fn start_with_log(command: Command, lines: usize, log: impl Into<Stdio>) -> Self {
        let (running, output) = Self::spawn(command, lines, log);
        // Reads all later output, so that the pipe never fills up and blocks the program.
        std::thread::spawn(move || output.for_each(drop));
        running
    }

    /// The same as `start`, with the lines that the program prints later.
    pub fn start_reading(command: Command, lines: usize) -> (Self, Lines<BufReader<ChildStdout>>) {
        Self::spawn(command, lines, Stdio::null())
    }

    fn spawn(mut command: Command, lines: usize, log: impl Into<Stdio>) -> (Self, Lines<BufReader<ChildStdout>>) {
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the program starts");
        let mut output = BufReader::new(child.stdout.take().expect("standard output is piped")).lines();
        let address = |line: String| line.rsplit(' ').next().and_then(|address| address.parse().ok());
        let addresses = output.by_ref().take(lines).map_while(Result::ok).filter_map(address).collect();
        let running = Self { child, addresses };
        assert_eq!(running.addresses.len(), lines, "the program did not print all of its addresses");
        (running, output)
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The processor time that the process has used so far, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // utime and stime are the 14th and 15th fields, in 1/100 s. The name in parentheses is the second.
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
    }

    /// The resident memory of the process now, in megabytes of 1,000,000 bytes.
    pub fn resident_megabytes(&self) -> f64 {
        self.megabytes("VmRSS:")
    }

    /// The most resident memory that the process had since its start, or since the peak was forgotten, in megabytes.
    pub fn peak_megabytes(&self) -> f64 {
        self.megabytes("VmHWM:")
    }

    /// Makes the resident memory of now the peak.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").expect("the peak can be forgotten");
    }

    fn megabytes(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) * 1_024.0 / 1e6
    }

    /// The number of files and connections that the process has open.
    pub fn open_files(&self) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        files.map_or(0, |files| files.count())
    }

    /// The number of threads of the process.
    pub fn threads(&self) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        tasks.map_or(0, |tasks| tasks.count())
    }

    /// Kills the process with SIGKILL and waits for its end. It cannot clean up.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process ends");
    }

    /// Stops the process with SIGSTOP: it does nothing more, and its connections stay open.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal("-INT");
    }

    /// Sends SIGTERM, and does not wait for the end.
    pub fn begin_stop(&self) {
        self.signal("-TERM");
    }

    /// Sends SIGHUP.
    pub fn hang_up(&self) {
        self.signal("-HUP");
    }

    fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    /// Sends a signal to the only child of the process, which must have one.
    pub fn signal_child(&self, name: &str) {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        signal(name, children.trim().parse().unwrap_or_else(|_| panic!("one child, not {children:?}")));
    }

    /// Waits for the process to end. Returns its exit status.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("the process ends")
    }

    /// Sends SIGTERM to the only child of the process, and waits for the process to end. Returns its exit status.
    pub fn terminate_child(mut self) -> ExitStatus {
        self.signal_child("-TERM");
        self.wait()
    }

    /// Sends SIGTERM and waits for the process to end; `None` if it does not end within `time`.
    pub fn terminate_within(mut self, time: Duration) -> Option<ExitStatus> {
        self.signal("-TERM");
        let (process, child, (ended, ends)) = (self.child.id(), &mut self.child, mpsc::channel());
        std::thread::scope(|scope| {
            scope.spawn(move || ended.send(child.wait().expect("the process can be waited for")));
            let status = ends.recv_timeout(time).ok();
            if status.is_none() {
                // The other thread waits for it.
                signal("-KILL", process);
            }
            status
        })
    }

    /// Sends SIGTERM and waits for the process to end. Returns its exit status.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal("-TERM");
        self.wait()
    }
}

fn signal(name: &str, process: u32) {
    let sent = Command::new("kill").args([name, &process.to_string()]).status();
    assert!(sent.expect("kill starts").success(), "{name} could not be sent");
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `inventory-grpc serve` on a database.
pub fn grpc_server(database_url: &str) -> Running {
    grpc_server_at("127.0.0.1:0", database_url)
}

/// Starts `inventory-grpc serve` on a database, at an address such as that of a server that has ended.
pub fn grpc_server_at(address: &str, database_url: &str) -> Running {
    serve_at(program("inventory-grpc"), address, database_url)
}

/// Starts `serve` of a gRPC server, which may be another version of `inventory-grpc`.
pub fn serve_at(mut program: Command, address: &str, database_url: &str) -> Running {
    program.args(["serve", "--grpc-listen", address, "--database-url", database_url]);
    Running::start(program, 1)
}

/// Starts `wix-adapter serve` in front of a gRPC server. It accepts tokens that the tests' key signed.
pub fn adapter(grpc: SocketAddr) -> Running {
    Running::start(adapter_of(&[grpc]), 1)
}

/// The command that starts `wix-adapter serve` in front of gRPC servers.
pub fn adapter_of(grpc: &[SocketAddr]) -> Command {
    let mut command = program("wix-adapter");
    let upstreams = grpc.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    command
        .args(["serve", "--http-listen", "127.0.0.1:0", "--wix-app-id", APP_ID])
        .args(["--grpc-upstream", &upstreams])
        .env("WIX_PUBLIC_KEY", &test_keys::app_key().public);
    command
}
