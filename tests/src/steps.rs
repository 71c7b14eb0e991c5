//! The steps of the schema, as files: what a program of an earlier version would have applied.

use std::path::PathBuf;

use crate::books;
use crate::world::{Backend, Database};

/// The folder of a store's steps.
fn folder(backend: Backend) -> PathBuf {
    let folder = match backend {
        Backend::Sqlite => "sqlite",
        Backend::Postgres => "postgres",
    };
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations")).join(folder)
}

/// The names of all steps, in order.
pub fn all(backend: Backend) -> Vec<String> {
    let steps = std::fs::read_dir(folder(backend)).expect("each store has its folder of steps").flatten();
    let mut steps: Vec<String> = steps.map(|step| step.file_name().to_string_lossy().into_owned()).collect();
    steps.sort();
    steps
}

/// Runs the first steps on an empty database, as a program of that time did.
pub fn apply_first(database: &Database, backend: Backend, steps: &[impl AsRef<str>]) {
    let table = "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, \
                 run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)";
    books::script(&database.url, table);
    for step in steps {
        apply(database, backend, step.as_ref());
    }
}

/// Runs the next step on a database, and records it.
pub fn apply(database: &Database, backend: Backend, step: &str) {
    let path = folder(backend).join(step).join("up.sql");
    books::script(&database.url, &std::fs::read_to_string(path).expect("the step can be read"));
    let version: String = step.chars().take_while(|c| *c != '_').filter(|c| *c != '-').collect();
    let record = format!("INSERT INTO __diesel_schema_migrations (version) VALUES ('{version}')");
    books::script(&database.url, &record);
}
