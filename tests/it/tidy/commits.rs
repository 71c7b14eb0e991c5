//! What commits: one file of the engine decides when, and one file of each backend says so in SQL.

use super::sources::{Token, files, parse};
use super::{File, assert_fires, assert_none};

const CORE: &str = "inventory-core/src/";
const STORE: &str = "inventory-core/src/store";
/// The one file that ends a transaction which changed something.
const COMMIT: &str = "inventory-core/src/engine/commit.rs";
/// Methods of the engine's storage trait that commit.
const COMMITTING: [&str; 2] = ["commit", "write_and_commit"];
/// Where the words of transactions may stand in SQL: one file of each place.
const PLACES: [&str; 4] = [
    "inventory-core/src/store/sqlite",
    "inventory-core/src/store/postgres",
    "inventory-core/src/store/read/snapshot.rs",
    "inventory-core/src/store/copy/side.rs",
];
/// Tries a ROLLBACK, which commits nothing, to find out whether a connection still works.
const PROBE: (&str, &str) = ("inventory-core/src/store/classify.rs", "ROLLBACK");
/// Where diesel's own transactions begin and end. Only a snapshot may use them, since it only reads.
const DIESEL: [&str; 6] = [
    "transaction",
    "immediate_transaction",
    "exclusive_transaction",
    "build_transaction",
    "begin_transaction",
    "commit_transaction",
];

/// Only `engine/commit.rs` calls what commits.
fn call_violations(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in parse(files) {
        if !source.path.starts_with(CORE) || source.path.starts_with(STORE) || source.path == COMMIT {
            continue;
        }
        for (line, _) in calls(&source.tokens, &COMMITTING) {
            violations.push(format!("{}:{line}: commits, but engine/commit.rs alone commits", source.path));
        }
    }
    violations
}

/// The calls of methods with one of these names, each with its line.
fn calls<'a>(tokens: &'a [Token], names: &[&str]) -> Vec<(usize, &'a str)> {
    let call = |at: usize| {
        let [dot, name, bracket] = tokens.get(at..at + 3)? else { return None };
        // `x.f(`, `x.f::<T>(` or `Type::f(`. `self.f(` is a method of the caller, `module::f(` is none at all.
        let of_type = || at > 0 && tokens[at - 1].text.starts_with(|c: char| c.is_ascii_uppercase() || c == '>');
        let called = match (&*dot.text, &*bracket.text) {
            (".", "(" | "::") => at > 0 && tokens[at - 1].text != "self",
            ("::", "(") => of_type(),
            _ => false,
        };
        (called && names.contains(&&*name.text)).then_some((name.line, &*name.text))
    };
    (0..tokens.len()).filter_map(call).collect()
}

/// BEGIN, COMMIT and ROLLBACK stand in one file of each backend, where a read takes its snapshot, and where a copy
/// locks its databases.
fn sql_violations(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    let mut homes: Vec<(&str, String)> = Vec::new();
    for source in parse(files).into_iter().filter(|source| source.path.starts_with(CORE)) {
        let of_transaction =
            |text: &str| text.split(';').any(is_of_transaction) && (source.path.as_str(), text) != PROBE;
        for (line, text) in source.strings.iter().filter(|(_, text)| of_transaction(text)) {
            let Some(place) = PLACES.iter().find(|place| source.path.starts_with(**place)) else {
                violations.push(format!("{}:{line}: holds {text:?}, but no backend is here", source.path));
                continue;
            };
            match homes.iter().find(|(own, _)| own == place) {
                None => homes.push((place, source.path.clone())),
                Some((_, home)) if *home == source.path => {}
                Some((_, home)) => {
                    violations.push(format!("{}:{line}: holds {text:?}, which stands in {home}", source.path));
                }
            }
        }
        if source.path != PLACES[2] {
            for (line, name) in calls(&source.tokens, &DIESEL) {
                violations.push(format!("{}:{line}: uses diesel's {name}, but BEGIN is text here", source.path));
            }
        }
    }
    violations
}

/// Whether a statement begins or ends a transaction. A sentence that starts with such a word does not.
fn is_of_transaction(statement: &str) -> bool {
    let mut words = statement.split_whitespace();
    let first = words.next().unwrap_or_default();
    let keyword = ["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "START", "END"].contains(&first);
    keyword && words.all(|word| word.chars().all(|c| c.is_ascii_uppercase() || c == ','))
}

#[test]
fn one_file_commits() {
    assert_none(call_violations(&files(&[".rs"])));
}

#[test]
fn each_backend_begins_and_ends_transactions_in_one_file() {
    assert_none(sql_violations(&files(&[".rs"])));
}

#[test]
fn a_commit_elsewhere_is_found() {
    let files = [
        ("inventory-core/src/engine/commit.rs", "store.commit()?;"),
        (
            "inventory-core/src/engine/writer.rs",
            "// a.commit()\nself.commit_all(); self.commit();\nlet commit = 1;\nstore\n  .commit()?;",
        ),
        (
            "inventory-core/src/engine/configure.rs",
            "use commit::commit;\ncommit::commit(a); BatchStore::write_and_commit(&mut *store, &batch)?;",
        ),
        ("inventory-core/src/engine/tests.rs", "store.commit()?;"),
        ("inventory-core/src/store/sqlite.rs", "self.commit()?;"),
    ];
    let expected =
        ["inventory-core/src/engine/writer.rs:5: commits", "inventory-core/src/engine/configure.rs:2: commits"];
    assert_fires(call_violations, &files, &expected);
}

#[test]
fn a_transaction_elsewhere_is_found() {
    let files = [
        ("inventory-core/src/engine/commit.rs", "/// \"COMMIT\"\nlet s = \"COMMIT did not return\";"),
        ("inventory-core/src/engine/writer.rs", "\nrun(\"UPDATE x; COMMIT\");"),
        (
            "inventory-core/src/store/classify.rs",
            "run(\"ROLLBACK\"); run(\"COMMIT\");\nconnection.transaction(|c| f(c)); transaction(d);",
        ),
        ("inventory-core/src/store/postgres/batch.rs", "run(\"BEGIN\"); run(\"COMMIT\");"),
        ("inventory-core/src/store/postgres/writes.rs", "run(\"COMMIT\");"),
        ("inventory-core/src/store/read/snapshot.rs", "run(\"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY\");"),
        ("inventory-core/src/store/sqlite/batch.rs", "run(\"BEGIN IMMEDIATE\");"),
    ];
    let expected = [
        "inventory-core/src/engine/writer.rs:2: holds \"UPDATE x; COMMIT\", but no backend",
        "inventory-core/src/store/classify.rs:1: holds \"COMMIT\", but no backend",
        "inventory-core/src/store/classify.rs:2: uses diesel's transaction",
        "inventory-core/src/store/postgres/writes.rs:1: holds \"COMMIT\", which stands in inventory-core/src/",
    ];
    assert_fires(sql_violations, &files, &expected);
}
