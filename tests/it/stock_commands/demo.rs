//! What `standalone --demo` prints as commands of `inventory-grpc` works as it stands, wherever the programs are.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use inventory_tests::programs::{Running, finish, program, program_of};
use tempfile::TempDir;

/// Starts the demo in a folder. Returns it with its hints about `inventory-grpc`, in their order.
fn demo(mut program: Command, folder: &Path) -> (Running, Vec<String>) {
    program.args(["standalone", "--demo", "--http-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"]);
    program.current_dir(folder);
    let (servers, lines) = Running::start_reading(program, 2);
    let mut hints = Vec::new();
    for line in lines {
        let line = line.expect("it is text").trim().to_owned();
        let is_last = line.ends_with("inventory-grpc watch");
        hints.extend((line.starts_with("export ") || line.contains("inventory-grpc")).then_some(line));
        if is_last {
            break;
        }
    }
    (servers, hints)
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("the temporary folder is writable")
}

#[test]
fn the_hints_of_the_demo_are_right() {
    let folder = folder();
    let (servers, mut hints) = demo(program("wix-adapter"), folder.path());
    let watch = hints.pop().expect("the last hint");
    let script = format!("set -eu -o pipefail\n{}\n{watch} --after 0 | head -1", hints.join("\n"));
    let mut bash = Command::new("bash");
    let settings = program("inventory-grpc");
    bash.args(["-c", &script]).current_dir(folder.path());
    bash.envs(settings.get_envs().filter_map(|(name, value)| Some((name, value?)))).env_remove("NO_COLOR");
    let (code, out, err) = finish(bash);
    assert_eq!(code, 0, "{script}\n{out}{err}");
    for part in ["AVAILABLE  UNIT", "       11  shirt", "shirt: 11 available\n", "What made it 11\n", "#1  "] {
        assert!(out.contains(part), "no {part:?}: {script}\n{out}{err}");
    }
    drop(servers);
}

/// `cargo run` builds the adapter alone. In a folder of cargo's the hints say how the other program gets there.
#[test]
fn a_program_that_is_not_built_yet_is_built_as_the_adapter_was() {
    let rows = [
        ("target/debug", Some("cargo build --bin inventory-grpc")),
        ("target/release", Some("cargo build --release --bin inventory-grpc")),
        // No folders of cargo's.
        ("local/bin", None),
        ("release", None),
    ];
    for (place, build) in rows {
        let folder = folder();
        let programs = folder.path().join(place);
        std::fs::create_dir_all(&programs).expect("the folder is writable");
        // The adapter sees the path under which it was started.
        symlink(program("wix-adapter").get_program(), programs.join("wix-adapter")).expect("the folder is writable");
        let (servers, hints) = demo(program_of(&programs, "wix-adapter"), folder.path());
        let builds = hints.iter().map(String::as_str).find(|hint| hint.starts_with("cargo "));
        assert_eq!(builds, build, "{place}: {hints:?}");
        let inventory = match build {
            Some(_) => programs.join("inventory-grpc").display().to_string(),
            None => "inventory-grpc".to_owned(),
        };
        assert_eq!(hints.last(), Some(&format!("{inventory} watch")), "{place}");
        drop(servers);
    }
}
