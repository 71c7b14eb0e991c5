//! No program that anybody runs has fault points. Two things keep them out: only the tests' crate asks for the feature,
//! and no build without debug assertions has them, whatever its features are. Dockerfile looks into the programs too.

use super::sources::files;
use super::{File, assert_fires, assert_none};

const FEATURE: &str = "fault-points";

/// The feature is asked for by the tests alone, and whatever it switches on depends on debug assertions too.
fn violations(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| path != file_of_this_rule()) {
        for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| text.contains(FEATURE)) {
            let is_fine = match path.as_str() {
                "inventory-core/Cargo.toml" => text == format!("{FEATURE} = []"),
                "tests/Cargo.toml" => true,
                path if path.ends_with(".toml") => false,
                _ => !text.contains("cfg") || text.contains("debug_assertions"),
            };
            if !is_fine {
                violations.push(format!("{path}:{line}: {FEATURE} may reach a release build"));
            }
        }
    }
    violations
}

/// Its examples are broken.
fn file_of_this_rule() -> &'static str {
    "tests/it/tidy/fault_points.rs"
}

#[test]
fn fault_points_are_in_no_release_build() {
    assert_none(violations(&files(&[".rs", ".toml"])));
}

#[test]
fn a_way_into_a_release_build_is_found() {
    let files = [
        ("inventory-core/Cargo.toml", "[features]\ndefault = [\"fault-points\"]\nfault-points = []"),
        ("inventory-grpc/Cargo.toml", "inventory-core = { workspace = true, features = [\"fault-points\"] }"),
        ("tests/Cargo.toml", "inventory-core = { workspace = true, features = [\"fault-points\"] }"),
        (
            "inventory-core/src/store/x.rs",
            "// `fault-points`\n#[cfg(all(feature = \"fault-points\", debug_assertions))]\n\
             #[cfg(feature = \"fault-points\")]",
        ),
    ];
    let expected = ["inventory-core/Cargo.toml:2", "inventory-grpc/Cargo.toml:1", "inventory-core/src/store/x.rs:3"];
    assert_fires(violations, &files, &expected);
}
