//! Node.js with packages from npm: for the peer of the benchmarks, and for a client in TypeScript.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The commands with which a machine gets what is missing.
const ADVICE: &str = "install Node with npm (Debian: apt-get install nodejs npm)";

/// Copies the files of `sources` to `folder` and installs the packages of their lock file there, once for each lock
/// file. Needs Node of the major version `oldest` or later. Returns the version of Node. The error is a sentence.
pub fn install(sources: &Path, folder: &Path, oldest: u32) -> Result<String, String> {
    let node = output("node", Command::new("node").arg("--version"))?;
    let major = node.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < oldest) {
        return Err(format!("Node {oldest} is needed, and this is {node}; {ADVICE}"));
    }
    fs::create_dir_all(folder).expect("cargo's target folder is writable");
    for source in fs::read_dir(sources).expect("the sources are there").flatten() {
        fs::copy(source.path(), folder.join(source.file_name())).expect("cargo's target folder is writable");
    }
    // A copy of the lock file beside what it installed, written last.
    let (lock, installed) = (sources.join("package-lock.json"), folder.join("node_modules/installed.json"));
    let lock = fs::read(lock).expect("the sources have a lock file");
    if fs::read(&installed).ok().as_ref() != Some(&lock) {
        eprintln!("npm installs packages into {} (once)", folder.display());
        output("npm", Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(folder))?;
        fs::write(installed, lock).expect("cargo's target folder is writable");
    }
    Ok(node)
}

/// What a program of Node prints. The error is a sentence.
fn output(name: &str, command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{name} does not start: {error}; {ADVICE}"))?;
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(format!("{name} failed: {said}{told}"));
    }
    Ok(said.trim().to_owned())
}

/// The compiled client in TypeScript (`clients/typescript`). The first call installs and compiles it in `folder`:
/// cargo's folder for tests (`CARGO_TARGET_TMPDIR`).
pub fn typescript_client(folder: &str) -> PathBuf {
    // Two tests of one process may get here at the same time. The second one waits for the first.
    static COMPILING: std::sync::Mutex<bool> = std::sync::Mutex::new(false);
    let mut is_compiled = COMPILING.lock().expect("no test has failed while compiling");
    let folder = PathBuf::from(folder).join("typescript-client");
    if !*is_compiled {
        let sources = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/clients/typescript"));
        install(sources, &folder, 18).expect("the packages can be installed");
        let mut build = Command::new("npm");
        build.args(["run", "--silent", "build"]).current_dir(&folder).env("PROTO", protos());
        output("npm", &mut build).expect("the client compiles");
        *is_compiled = true;
    }
    folder.join("compiled/client.js")
}

/// The folder of the contract.
pub fn protos() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../proto"))
}
