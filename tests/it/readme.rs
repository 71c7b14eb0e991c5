//! The README's example of slots is run as it stands, against the demo.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use inventory_tests::programs::{Running, program};
use inventory_tests::python::python;
use serde_json::Value;

/// The first block of shell commands after a heading of the README.
fn block(heading: &str) -> String {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("a README");
    let (_, rest) = readme.split_once(&format!("\n{heading}\n")).expect("the README has the heading");
    let (_, rest) = rest.split_once("```sh\n").expect("a block follows");
    rest.split_once("```").expect("the block ends").0.to_owned()
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
    let mut standalone = program("wix-adapter");
    let programs = Path::new(standalone.get_program()).parent().expect("the program is in a folder").to_owned();
    standalone.args(["standalone", "--demo", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
    let demo = Running::start(
        {
            standalone.current_dir(folder.path());
            standalone
        },
        2,
    );
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
    let path = [folder.path().display(), programs.display()].map(|folder| folder.to_string()).join(":");
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
