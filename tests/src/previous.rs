//! The gRPC server of the previous release, built from the history of this repository.
//!
//! `tests/previous-release` names the release: its commit and its newest migration. It is replaced at each release. The
//! build takes a minute, because the dependencies that are built already are linked into its target folder; it is kept
//! until the file changes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use uuid::Uuid;

use crate::programs;

const PROGRAM: &str = "inventory-grpc";

/// The commit of the previous release.
pub fn commit() -> &'static str {
    words()[0]
}

/// The newest migration of the previous release, as its folder is named.
pub fn newest_step() -> &'static str {
    words()[1]
}

fn words() -> [&'static str; 2] {
    let mut words = include_str!("../previous-release").split_whitespace();
    [(); 2].map(|()| words.next().expect("tests/previous-release holds a commit and a migration"))
}

/// A command that runs `inventory-grpc` of the previous release. It inherits no setting from the environment.
pub fn inventory_grpc() -> Command {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    programs::program_of(FOLDER.get_or_init(build), PROGRAM)
}

/// Builds the program, if it is not there yet. Returns its folder.
fn build() -> PathBuf {
    // The current programs first: then their dependencies are complete, and nobody writes to their folder.
    let current = programs::program(PROGRAM);
    let profile = Path::new(current.get_program()).parent().expect("a program stands in the profile's folder");
    let profile_name = profile.file_name().expect("the profile's folder has a name");
    let home = programs::target_folder().join("previous").join(commit());
    let target = home.join("target");
    let built = target.join(profile_name);
    if built.join(PROGRAM).exists() {
        return built;
    }
    let sources = home.join("sources");
    if !sources.exists() {
        take_sources(&home, &sources);
    }
    if !built.exists() {
        link_dependencies(profile, &built);
    }
    let mut build = Command::new(env!("CARGO"));
    // The packages that the current programs are built with, so that the features of the dependencies are the same.
    build.args(["build", "--quiet", "--locked", "--bin", PROGRAM]);
    build.args(["-p", "inventory-grpc", "-p", "wix-adapter", "-p", "inventory-tests", "--manifest-path"]);
    build.arg(sources.join("Cargo.toml")).env("CARGO_TARGET_DIR", &target);
    if profile_name == "release" {
        build.arg("--release");
    }
    run(&mut build);
    assert!(built.join(PROGRAM).exists(), "{PROGRAM} was not built in {}", built.display());
    built
}

/// Writes the files of the commit into a folder of a name of its own, then renames it: other processes see all of them
/// or none.
fn take_sources(home: &Path, sources: &Path) {
    let work = home.join(format!("new-{}", Uuid::new_v4().simple()));
    std::fs::create_dir_all(&work).expect("cargo's target folder is writable");
    let archive = work.with_extension("tar");
    let mut git = Command::new("git");
    // The checkout may belong to somebody else, as in a container.
    git.args(["-c", "safe.directory=*", "-C", concat!(env!("CARGO_MANIFEST_DIR"), "/.."), "archive", "--output"]);
    let output = git.arg(&archive).arg(commit()).output().unwrap_or_else(|error| panic!("git does not start: {error}"));
    assert!(
        output.status.success(),
        "git has not the commit {} of tests/previous-release, from which the previous release is built: {}; get it by \
         `git fetch --unshallow`, or by `git fetch --depth=1 origin {}`",
        commit(),
        String::from_utf8_lossy(&output.stderr),
        commit(),
    );
    run(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&work));
    let renamed = std::fs::rename(&work, sources);
    assert!(sources.exists(), "{} cannot be created: {renamed:?}", sources.display());
    let _ = std::fs::remove_file(&archive);
}

/// Links the built dependencies of the current programs into another profile's folder. Crates of this repository are
/// left out: they have the same names there, and other sources.
fn link_dependencies(from: &Path, to: &Path) {
    let script = "set -e; mkdir -p \"$2.new\"; cp -al \"$1/deps\" \"$1/build\" \"$2.new/\"; \
        cp -a \"$1/.fingerprint\" \"$2.new/\"; cd \"$2.new\"; \
        rm -rf deps/*inventory[-_]* deps/*wix[-_]adapter* deps/it-* \
        .fingerprint/*inventory[-_]* .fingerprint/*wix[-_]adapter* build/*inventory[-_]* build/*wix[-_]adapter*; \
        mv \"$2.new\" \"$2\"";
    run(Command::new("/bin/sh").args(["-c", script, "link"]).args([from, to]));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    assert!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
}
