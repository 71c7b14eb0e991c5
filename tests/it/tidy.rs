//! Rules that every reader may rely on: which layer may use which, who knows which vocabulary, what commits, what
//! prints, how long a file is, and that documents and programs agree.
//!
//! Each rule is a pure function from the text of files to violations, `path:line: what and why`. Each rule has two
//! tests: the repository has no violation, and a broken example has one. So every rule is seen to fail.

mod commits;
mod documents;
mod expand;
mod fault_points;
mod layers;
mod packaging;
mod printing;
mod schema;
mod sources;
mod text;
mod vocabulary;

/// A file: its path from the root of the repository, and its content.
type File = (String, String);

/// Fails with every violation on a line of its own.
#[track_caller]
fn assert_none(violations: Vec<String>) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

/// Fails unless `rule` finds exactly the violations that start with `expected`, in files of the given content.
#[track_caller]
fn assert_fires(rule: fn(&[File]) -> Vec<String>, files: &[(&str, &str)], expected: &[&str]) {
    let files: Vec<File> = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let found = rule(&files);
    let as_expected =
        found.len() == expected.len() && found.iter().zip(expected).all(|(found, start)| found.starts_with(start));
    assert!(as_expected, "expected {expected:#?}\nfound {found:#?}");
}
