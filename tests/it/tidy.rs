//! What a reader may rely on in the sources: who may know what, and how long a file is.

use std::fs;
use std::path::{Path, PathBuf};

use inventory_tests::books;
use inventory_tests::programs::program;
use inventory_tests::world::{Backend, Database};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, ending: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path, ending));
        } else if path.extension().is_some_and(|own| own == ending) {
            found.push((path.clone(), fs::read_to_string(&path).expect("text")));
        }
    }
    found
}

#[test]
fn each_vocabulary_has_one_home() {
    let rows: [(&str, &[&str], &[&str]); 3] = [
        ("inventory-core/src", &["tonic", "prost", "axum", "jsonwebtoken", "http::", "hyper"], &[]),
        ("inventory-grpc/src", &["diesel", "axum", "jsonwebtoken", "wix"], &["status.rs"]),
        ("wix-adapter/src", &["diesel", "inventory_core", "inventory_grpc"], &["standalone.rs"]),
    ];
    for (folder, banned, exceptions) in rows {
        for (path, text) in sources(&root().join(folder), "rs") {
            if exceptions.iter().any(|exception| path.ends_with(exception)) {
                continue;
            }
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for (line, number) in code.zip(1..) {
                let knows = banned
                    .iter()
                    .find(|word| line.contains(&format!("{word}::")) || line.contains(&format!("use {word}")));
                assert_eq!(knows, None, "{}:{number}", path.display());
            }
        }
    }
}

#[test]
fn only_commit_ends_a_transaction_that_writes_stock() {
    for (path, text) in sources(&root().join("inventory-core/src"), "rs") {
        let commits = text.contains(".commit()");
        // Settings are no stock; and `write_at_once` is a whole transaction where the backend has no shorter form.
        let allowed = ["engine/commit.rs", "engine/configure.rs", "engine/tests/faulty.rs", "store/batch.rs"]
            .iter()
            .any(|file| path.ends_with(file));
        assert!(!commits || allowed, "{}", path.display());
    }
}

#[test]
fn no_file_is_longer_than_400_lines() {
    for folder in ["proto", "inventory-core", "inventory-grpc", "wix-adapter", "tests"] {
        for (path, text) in sources(&root().join(folder), "rs") {
            let lines = text.lines().count();
            assert!(lines <= 400 || text.contains("Longer than 400 lines because"), "{}: {lines}", path.display());
        }
    }
}

/// Both sets have the same steps and end in the same tables and columns.
#[test]
fn both_backends_have_the_same_schema() {
    let steps = |backend: &str| {
        let folder = root().join("migrations").join(backend);
        let mut steps: Vec<_> =
            fs::read_dir(folder).expect("a folder").flatten().map(|step| step.file_name()).collect();
        steps.sort();
        steps
    };
    assert_eq!(steps("sqlite"), steps("postgres"));
    let columns = |backend: Backend, sql: &str| {
        let database = Database::fresh(backend);
        let mut migrate = program("inventory-grpc");
        migrate.args(["migrate", "--database-url", &database.text]);
        assert!(migrate.output().expect("it runs").status.success());
        books::lines(&database.url, sql)
    };
    let sqlite = columns(
        Backend::Sqlite,
        "SELECT m.name || '.' || c.name AS line FROM sqlite_master m, pragma_table_info(m.name) c \
         WHERE m.type = 'table' AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY m.name, c.cid",
    );
    let postgres = columns(
        Backend::Postgres,
        "SELECT table_name || '.' || column_name AS line FROM information_schema.columns \
         WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_%' ORDER BY table_name, ordinal_position",
    );
    assert!(sqlite.len() > 30);
    assert_eq!(sqlite, postgres);
}
