//! A temporary folder for processes, which end with this process, in whatever way it ends.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::postgres::Home;

/// Waits for the end of the pipe, then ends every process that works in the folder. It removes the folder, unless a
/// line said to keep it.
const GUARD: &str = r#"
read -r keep
while :; do
    found=
    for process in /proc/[0-9]*; do
        case "$(readlink "$process/cwd" 2> /dev/null)" in
            "$FOLDER"*) kill -9 "${process#/proc/}" 2> /dev/null; found=1 ;;
        esac
    done
    [ "$found" ] || break
done
[ "$keep" ] || rm -rf "$FOLDER"
"#;

/// The folder.
pub(super) struct Folder {
    /// Who runs Postgres, and where.
    pub(super) home: Home,
    guard: Child,
}

impl Folder {
    pub(super) fn new() -> Self {
        let home = Home::new();
        let mut guard = Command::new("/bin/sh");
        guard.args(["-c", GUARD]).env("FOLDER", &home.folder).current_dir("/").stdin(Stdio::piped());
        // Not of the terminal's group, so that Ctrl-C does not end it.
        let guard = guard.process_group(0).spawn().expect("/bin/sh starts");
        Self { home, guard }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.home.folder.join(name)
    }

    /// Writes a file that every process may read.
    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("the folder is writable");
        path
    }

    /// Starts a program of the machine as the user who runs Postgres. Its output goes to `NAME.log`.
    pub(super) fn start(&self, name: &str, mut command: Command) -> Child {
        let log = OpenOptions::new().create(true).append(true).open(self.path(&format!("{name}.log")));
        let log = log.expect("the folder is writable");
        let errors = log.try_clone().expect("a file can be cloned");
        let started = command.process_group(0).stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        started.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"))
    }

    /// Panics if a program is not installed.
    pub(super) fn require(&self, program: &str, version: &str) {
        let found = self.home.run(program.as_ref()).arg(version).env("PATH", path()).output();
        let advice = "install Debian's packages patroni, etcd-server and haproxy";
        assert!(found.is_ok_and(|found| found.status.success()), "{program} does not run; {advice}");
    }

    /// Leaves the folder with its logs when everything ends.
    pub(super) fn keep(&mut self) -> &Path {
        let guard = self.guard.stdin.as_mut().expect("the pipe is open until the guard is dropped");
        guard.write_all(b"keep\n").expect("the guard reads");
        &self.home.folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// Debian has haproxy in a folder that not every user's PATH names.
pub(super) fn path() -> String {
    format!("{}:/usr/local/sbin:/usr/sbin", std::env::var("PATH").unwrap_or_default())
}
