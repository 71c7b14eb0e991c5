//! Every step of the schema since the previous release only adds, so that the servers of that release work on it.
//!
//! The test looks at what the steps make of a database, not at their text. It compares the tables, the columns and the
//! rules of the database before and after each step.

use std::collections::{BTreeMap, BTreeSet};

use inventory_tests::world::{Backend, Database};
use inventory_tests::{books, previous, steps};

use super::assert_none;

/// Columns, as `column|table|name|type|required`, and what a row must keep to, as `rule|table|text`. A column is
/// required if a writer that does not know it cannot write a row.
const POSTGRES: &str = "SELECT concat_ws('|', 'column', table_name, column_name, data_type, \
        is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO' AND is_generated = 'NEVER') AS line \
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_%' \
    UNION ALL SELECT concat_ws('|', 'rule', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint \
    WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'u', 'f', 'x') \
    UNION ALL SELECT concat_ws('|', 'rule', indrelid::regclass, regexp_replace(pg_get_indexdef(indexrelid), \
        '^.* USING', 'UNIQUE')) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid \
    WHERE indisunique AND relnamespace = 'public'::regnamespace \
        AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)";
const SQLITE: &str = "SELECT 'column|' || m.name || '|' || c.name || '|' || c.type || '|' || \
        CASE WHEN c.\"notnull\" AND c.dflt_value IS NULL THEN 't' ELSE 'f' END AS line \
    FROM sqlite_master m, pragma_table_info(m.name) c \
    WHERE m.type = 'table' AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
    UNION ALL SELECT 'rule|' || m.name || '|UNIQUE ' || i.name FROM sqlite_master m, pragma_index_list(m.name) i \
    WHERE m.type = 'table' AND i.\"unique\" AND i.origin <> 'pk' \
    UNION ALL SELECT 'rule|' || name || '|CHECK ' || ((length(sql) - length(replace(sql, 'CHECK', ''))) / 5) \
    FROM sqlite_master WHERE type = 'table' AND sql LIKE '%CHECK%'";

/// What a program finds in a database.
#[derive(Debug, Default)]
struct Shape {
    /// The type of each column, and whether it is required, by table and name.
    columns: BTreeMap<(String, String), (String, bool)>,
    /// What rows must keep to, by table.
    rules: BTreeSet<(String, String)>,
}

impl Shape {
    fn of(database: &Database, backend: Backend) -> Self {
        let sql = match backend {
            Backend::Sqlite => SQLITE,
            Backend::Postgres => POSTGRES,
        };
        let mut shape = Self::default();
        for line in books::lines(&database.url, sql) {
            let owned = |text: &str| text.to_owned();
            match line.splitn(5, '|').collect::<Vec<_>>()[..] {
                ["column", table, name, kind, required] => {
                    shape.columns.insert((owned(table), owned(name)), (owned(kind), required == "t"));
                }
                ["rule", table, rule] => {
                    shape.rules.insert((owned(table), owned(rule)));
                }
                _ => panic!("{line} is neither a column nor a rule"),
            }
        }
        assert!(shape.columns.len() > 30, "the columns are not all found: {shape:?}");
        shape
    }

    fn has_table(&self, name: &str) -> bool {
        self.columns.keys().any(|(table, _)| table == name)
    }
}

/// Why programs that knew the database `before` do not work on it `after`.
fn violations(step: &str, before: &Shape, after: &Shape) -> Vec<String> {
    let mut found = Vec::new();
    for ((table, name), (kind, required)) in &before.columns {
        match after.columns.get(&(table.clone(), name.clone())) {
            None => found.push(format!("{step}: {table}.{name} is gone")),
            Some((new, _)) if new != kind => found.push(format!("{step}: {table}.{name} was {kind} and is {new}")),
            Some((_, true)) if !required => found.push(format!("{step}: {table}.{name} must be written now")),
            Some(_) => {}
        }
    }
    let added = after.columns.iter().filter(|(key, _)| !before.columns.contains_key(key));
    for ((table, name), (_, required)) in added {
        if *required && before.has_table(table) {
            found.push(format!("{step}: {table}.{name} is new and must be written; give it a default"));
        }
    }
    for (table, rule) in after.rules.difference(&before.rules).filter(|(table, _)| before.has_table(table)) {
        found.push(format!("{step}: rows of {table} must keep to a new rule: {rule}"));
    }
    found
}

#[test]
fn steps_since_the_previous_release_only_add() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let all = steps::all(backend);
        let newest = previous::newest_step();
        let known = 1 + all.iter().position(|step| step == newest).expect("the previous release has its steps");
        let database = Database::fresh(backend);
        steps::apply_first(&database, backend, &all[..known]);
        let mut before = Shape::of(&database, backend);
        for step in &all[known..] {
            steps::apply(&database, backend, step);
            let after = Shape::of(&database, backend);
            // A step that takes something away names the step that replaced it. The previous release must know that.
            match step.split_once('_').and_then(|(version, _)| version.split_once("-needs-")) {
                None => assert_none(violations(step, &before, &after)),
                Some((_, needed)) => {
                    let knows = all[..known].iter().any(|step| step.starts_with(&format!("{needed}_")));
                    assert!(knows, "{step}: the previous release does not know the step {needed}");
                }
            }
            before = after;
        }
    }
}

#[test]
fn a_step_that_takes_something_away_is_found() {
    // A statement, on Postgres alone or on both stores, and what it breaks.
    let rows = [
        (false, "ALTER TABLE site ADD COLUMN x integer", &[][..]),
        (false, "ALTER TABLE site ADD COLUMN y integer NOT NULL DEFAULT 7", &[]),
        (false, "CREATE TABLE more (a integer NOT NULL CHECK (a > 0))", &[]),
        (false, "CREATE INDEX of_name ON unit (name)", &[]),
        (true, "ALTER TABLE unit ALTER COLUMN name DROP NOT NULL", &[]),
        (false, "CREATE UNIQUE INDEX one_of_name ON unit (name)", &["rows of unit must keep to a new rule: UNIQUE"]),
        (false, "ALTER TABLE site DROP COLUMN y", &["site.y is gone"]),
        (false, "ALTER TABLE unit RENAME COLUMN sell_from TO start", &["unit.sell_from is gone"]),
        (false, "DROP TABLE age_mark", &["age_mark.marked_at is gone", "age_mark.passed is gone"]),
        (false, "ALTER TABLE journal RENAME TO diary", &["journal."]),
        (true, "ALTER TABLE site ALTER COLUMN x SET NOT NULL", &["site.x must be written now"]),
        (true, "ALTER TABLE site ADD COLUMN z integer NOT NULL", &["site.z is new and must be written"]),
        (true, "ALTER TABLE site ALTER COLUMN x TYPE bigint", &["site.x was integer and is bigint"]),
        (true, "ALTER TABLE site ADD CHECK (revision < 9)", &["rows of site must keep to a new rule: CHECK"]),
    ];
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        steps::apply_first(&database, backend, &steps::all(backend));
        for (_, statement, expected) in rows.iter().filter(|(only, ..)| !only || backend == Backend::Postgres) {
            let before = Shape::of(&database, backend);
            books::script(&database.url, statement);
            let found = violations("step", &before, &Shape::of(&database, backend));
            let all_expected = found.iter().all(|found| expected.iter().any(|part| found.contains(part)));
            let each_found = expected.iter().all(|part| found.iter().any(|found| found.contains(part)));
            assert!(all_expected && each_found, "{backend:?}: {statement}: {found:?}");
        }
    }
}
