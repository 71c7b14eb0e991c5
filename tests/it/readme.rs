//! Examples of the README are run as they stand, against the demo, and print what it shows.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use inventory_tests::programs::{Running, finish, program};
use inventory_tests::python::python;
use serde_json::Value;

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("a README")
}

/// The first block of shell commands after a heading of the README.
fn block(heading: &str) -> String {
    let readme = readme();
    let (_, rest) = readme.split_once(&format!("\n{heading}\n")).expect("the README has the heading");
    fenced(rest, "sh\n").0.to_owned()
}

/// What stands in the first block that begins so, and the text after the block.
fn fenced<'a>(text: &'a str, beginning: &str) -> (&'a str, &'a str) {
    let (_, rest) = text.split_once(&format!("```{beginning}")).expect("the README has the block");
    rest.split_once("```").expect("the block ends")
}

/// The demo, once its order is sent and its hints are printed.
fn demo(folder: &Path) -> Running {
    let mut standalone = program("wix-adapter");
    standalone.args(["standalone", "--demo", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
    standalone.current_dir(folder);
    let (demo, mut lines) = Running::start_reading(standalone, 2);
    let is_last = |line: std::io::Result<String>| line.expect("it is text").ends_with("inventory-grpc watch");
    assert!(lines.any(is_last), "the demo prints its hints");
    demo
}

/// The folder of the programs.
fn programs() -> PathBuf {
    let program = program("wix-adapter");
    Path::new(program.get_program()).parent().expect("the program is in a folder").to_owned()
}

/// A folder that holds a `grpcurl` which does what the README asks of it.
fn with_grpcurl(folder: &Path) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/grpcurl.py");
    let path = folder.join("grpcurl");
    std::fs::write(
        &path,
        format!("#!/bin/sh\nexec {} {script} \"$@\"\n", python(env!("CARGO_TARGET_TMPDIR")).display()),
    )
    .expect("writable");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("it can be made executable");
}

#[test]
fn the_course_with_three_dates_runs_as_written() {
    let folder = tempfile::TempDir::new().expect("the temporary folder is writable");
    with_grpcurl(folder.path());
    let demo = demo(folder.path());
    let (grpc, http) = (demo.addresses[0], demo.addresses[1]);

    // The tour's first lines define what the example uses.
    let tour = block("## A tour");
    let setup = tour.split_once("\n\n").expect("the definitions come first").0;
    let script = format!("set -eu\n{setup}\n{}", block("### Slots: a course with three dates"))
        .replace("127.0.0.1:50051", &grpc.to_string())
        .replace("wix-adapter send", &format!("wix-adapter send --url http://{http}"))
        // A refused order ends with 1.
        .replace("\nbook 2090-03-08", "\n! book 2090-03-08")
        .replace("\nbook 2020-03-02", "\n! book 2020-03-02");
    let path = [folder.path().display(), programs().display()].map(|folder| folder.to_string()).join(":");
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .env("PATH", format!("{path}:{}", std::env::var("PATH").unwrap_or_default()))
        .env("GRPC_UPSTREAM", grpc.to_string())
        .output()
        .expect("bash starts");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");

    // What the comments of the example promise, in its order.
    let mut rest: &str = &said;
    for part in ["200 {}", "428", "INSUFFICIENT_STOCK", "\"short\":1", "428", "NO_LONGER_ON_SALE"] {
        let at = rest.find(part).unwrap_or_else(|| panic!("no {part:?} in its place: {said}{errors}"));
        rest = &rest[at + part.len()..];
    }
    let listed = &rest[rest.find("\n{").expect("the last answer is JSON")..];
    let listed: Value = serde_json::from_str(listed).expect("the list is JSON");
    let slot = |stock: &Value| (stock["name"].clone(), stock["available"].clone());
    let slots: Vec<(Value, Value)> = listed["stock"].as_array().expect("a list").iter().map(slot).collect();
    let expected = [("Yoga, 2 March", "12"), ("Yoga, 1 March", "10"), ("Yoga, 8 March", "1")];
    assert_eq!(slots, expected.map(|(name, left)| (Value::from(name), Value::from(left))));
}

/// A page without the times of its entries.
fn without_times(page: &str) -> String {
    let line = |line: &str| match line.split_once("  20") {
        Some((before, rest)) if before.trim_start().starts_with('#') => {
            let after = rest.get("26-11-28 15:30:12".len()..).expect("a time is as long as any other");
            format!("{before}  TIME{after}")
        }
        Some(_) | None => line.to_owned(),
    };
    page.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_first_page_is_the_one_that_is_shown() {
    let folder = tempfile::TempDir::new().expect("the temporary folder is writable");
    let demo = demo(folder.path());
    let readme = readme();
    let (commands, rest) = fenced(&readme, "sh\ncargo build --release --bin inventory-grpc\n");
    let (shown, _) = fenced(rest, "text\n");
    let commands = commands.replace("target/release/", &format!("{}/", programs().display()));
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("set -eu\n{commands}")]).current_dir(folder.path());
    bash.env("GRPC_UPSTREAM", demo.addresses[0].to_string()).env("USER", "ann").env_remove("TOKEN_FILE");
    let (code, said, errors) = finish(bash);
    assert_eq!(code, 0, "{said}{errors}");
    assert_eq!(without_times(&said), without_times(shown), "{said}");
}
