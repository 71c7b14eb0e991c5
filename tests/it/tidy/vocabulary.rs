//! Who knows which vocabulary: the crates that a folder may name, and where SQL may stand.

use super::sources::{Source, Token, file, files, is_of_family, parse};
use super::{File, assert_fires, assert_none};

/// Files that may not name some crates.
struct Ban {
    /// Path prefixes of the files.
    of: &'static [&'static str],
    /// Path prefixes of files that may.
    except: &'static [&'static str],
    /// Crates, each with its family: `tonic` also stands for `tonic_types`.
    words: &'static [&'static str],
    why: &'static str,
}

const BANS: [Ban; 7] = [
    Ban {
        of: &["inventory-core/src/"],
        except: &[],
        words: &[
            "tonic",
            "prost",
            "axum",
            "jsonwebtoken",
            "hyper",
            "http",
            "inventory_proto",
            "inventory_grpc",
            "inventory_program",
            "wix_adapter",
        ],
        why: "the core knows no gRPC, HTTP or JWT",
    },
    Ban {
        of: &["inventory-core/src/model", "inventory-core/src/rules"],
        except: &[],
        words: &["diesel", "tokio", "tracing"],
        why: "model and rules are pure: no I/O",
    },
    Ban {
        of: &["inventory-core/src/"],
        except: &["inventory-core/src/store.rs", "inventory-core/src/store/"],
        words: &["diesel"],
        why: "only the store knows diesel",
    },
    Ban {
        of: &["inventory-grpc/src/"],
        except: &[],
        words: &["diesel", "axum", "jsonwebtoken", "wix"],
        why: "the gRPC server knows no database, HTTP server, JWT or Wix",
    },
    Ban {
        of: &["inventory-grpc/program/"],
        except: &[],
        words: &["diesel", "axum", "jsonwebtoken", "inventory_core", "inventory_proto", "inventory_grpc", "wix"],
        why: "what both programs share knows nothing of their work",
    },
    Ban {
        of: &["wix-adapter/"],
        except: &[],
        words: &["diesel", "inventory_core"],
        why: "the adapter speaks gRPC and knows no database",
    },
    Ban {
        of: &["wix-adapter/"],
        except: &["wix-adapter/src/standalone.rs"],
        words: &["inventory_grpc"],
        why: "standalone.rs alone starts the gRPC server in the adapter's process",
    },
];

/// Dependencies that a crate's Cargo.toml may not have, each with its family. Dependencies of tests are free.
const DEPENDENCY_BANS: [(&str, &[&str]); 5] = [
    ("proto", &["inventory-", "wix-adapter", "diesel", "libsqlite3-sys", "pq-sys", "axum", "jsonwebtoken"]),
    (
        "inventory-core",
        &["inventory-", "wix-adapter", "tonic", "prost", "axum", "jsonwebtoken", "hyper", "http", "clap"],
    ),
    ("inventory-grpc", &["wix-adapter", "diesel", "libsqlite3-sys", "pq-sys", "axum", "jsonwebtoken"]),
    (
        "inventory-grpc/program",
        &["inventory-", "wix-adapter", "diesel", "libsqlite3-sys", "pq-sys", "axum", "jsonwebtoken"],
    ),
    ("wix-adapter", &["inventory-core", "diesel", "libsqlite3-sys", "pq-sys"]),
];

/// No file names a crate that its folder may not know.
fn word_violations(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in parse(files) {
        for ban in &BANS {
            let matches = |prefixes: &[&str]| prefixes.iter().any(|prefix| source.path.starts_with(prefix));
            if !matches(ban.of) || matches(ban.except) {
                continue;
            }
            for (line, word) in crates_named(&source) {
                if ban.words.iter().any(|banned| is_of_family(word, banned)) {
                    violations.push(format!("{}:{line}: names {word}, but {}", source.path, ban.why));
                }
            }
        }
    }
    violations
}

/// The first word of every path, import and attribute.
fn crates_named(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let tokens = &source.tokens;
    tokens.iter().enumerate().filter_map(move |(at, token)| {
        let text = |at: Option<usize>| at.and_then(|at| tokens.get(at)).map_or("", |token| &*token.text);
        let before = text(at.checked_sub(1));
        // `::name` is the middle of a path, unless it is an absolute one.
        let qualified = |token: &Token| token.is_word() && token.text != "use" || token.text == ">";
        let in_path = before == "::" && at >= 2 && qualified(&tokens[at - 2]);
        let starts = text(Some(at + 1)) == "::" || ["use", "crate"].contains(&before) || before == "[";
        (token.is_word() && !in_path && starts).then_some((token.line, &*token.text))
    })
}

/// SQL stands in the store alone.
fn sql_violations(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in parse(files) {
        let of_store = ["inventory-core/src/store.rs", "inventory-core/src/store/"];
        let in_programs = ["inventory-core/src/", "inventory-grpc/", "wix-adapter/"];
        let matches = |prefixes: &[&str]| prefixes.iter().any(|prefix| source.path.starts_with(prefix));
        if !matches(&in_programs) || matches(&of_store) {
            continue;
        }
        for (line, text) in &source.strings {
            let words: Vec<&str> = text.split_whitespace().collect();
            let statement = |pair: &[&str]| {
                ["INSERT INTO", "DELETE FROM", "CREATE TABLE", "ALTER TABLE", "DROP TABLE"].contains(&&*pair.join(" "))
            };
            let is_sql = words.windows(2).any(statement)
                || words.len() > 1 && words.iter().any(|word| ["SELECT", "PRAGMA"].contains(word))
                || words.contains(&"UPDATE") && words.contains(&"SET");
            if is_sql {
                violations.push(format!("{}:{line}: holds SQL, but only the store knows SQL", source.path));
            }
        }
    }
    violations
}

/// No crate depends on what its folder may not know, and the adapter depends on the gRPC server only optionally.
fn dependency_violations(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for (path, text) in files {
        let folder = path.trim_end_matches("/Cargo.toml");
        let Some((_, banned)) = DEPENDENCY_BANS.iter().find(|(own, _)| *own == folder) else { continue };
        let mut section = "";
        for (line, content) in (1..).zip(text.lines()) {
            let content = content.split('#').next().unwrap_or_default().trim();
            if let Some(header) = content.strip_prefix('[') {
                section = header.trim_end_matches(']');
            }
            // A dependency is a key of the section `dependencies`, or the end of a section's name.
            let (table, name) = match (section.rsplit_once("dependencies."), content.starts_with('[')) {
                (Some((table, name)), true) => (table, name),
                (None, false) if section.ends_with("dependencies") && !content.is_empty() => (section, content),
                _ => continue,
            };
            if table.contains("dev-") {
                continue;
            }
            let name = name.split(['.', '=', ' ']).next().unwrap_or_default();
            let renamed = content.split_once("package = \"").and_then(|(_, rest)| rest.split('"').next());
            let name = renamed.unwrap_or(name);
            // The one crate of ours that both programs share.
            let shared = name == "inventory-program";
            if !shared && banned.iter().any(|word| is_of_family(name, word)) {
                violations.push(format!("{path}:{line}: depends on {name}, which {folder} may not know"));
            }
            if (folder, name) == ("wix-adapter", "inventory-grpc") && !content.contains("optional = true") {
                violations.push(format!("{path}:{line}: inventory-grpc must be optional: `serve` works without it"));
            }
        }
    }
    violations
}

#[test]
fn each_vocabulary_has_one_home() {
    assert_none(word_violations(&files(&[".rs"])));
}

#[test]
fn sql_stands_in_the_store_alone() {
    assert_none(sql_violations(&files(&[".rs"])));
}

#[test]
fn dependencies_of_the_crates_point_one_way() {
    let folders = DEPENDENCY_BANS.iter().map(|(folder, _)| file(&format!("{folder}/Cargo.toml")));
    assert_none(dependency_violations(&folders.collect::<Vec<_>>()));
}

#[test]
fn a_foreign_word_is_found() {
    let files = [
        ("inventory-core/src/engine/queue.rs", "// tonic::x\nuse tokio::time;\nfn f(s: tonic::Status) { http::get() }"),
        ("inventory-core/src/model/ids.rs", "use diesel::sql_types;\nlet http = self.http; crate::http::x();"),
        ("inventory-core/src/rules.rs", "use tracing;"),
        ("inventory-core/src/reports/verify.rs", "#[derive(QueryableByName)]\n#[diesel(x)]\nstruct A;"),
        ("inventory-core/src/store/url.rs", "use diesel::pg;\nuse ::tonic_types::pb;\nuse a::tonic::b;"),
        ("inventory-grpc/src/status.rs", "use wix_adapter::x;"),
        ("inventory-grpc/program/src/lib.rs", "fn f() { inventory_core::x() }"),
        ("wix-adapter/src/routes.rs", "use axum::http;\n\nuse inventory_grpc as grpc;"),
        ("wix-adapter/src/standalone.rs", "use inventory_grpc::server;\nuse inventory_core::store;"),
        ("tests/src/world.rs", "use diesel::pg; use inventory_core::store;"),
    ];
    let expected = [
        "inventory-core/src/engine/queue.rs:3: names tonic, but the core",
        "inventory-core/src/engine/queue.rs:3: names http, but the core",
        "inventory-core/src/model/ids.rs:1: names diesel, but model and rules",
        "inventory-core/src/model/ids.rs:1: names diesel, but only the store",
        "inventory-core/src/rules.rs:1: names tracing, but model and rules",
        "inventory-core/src/reports/verify.rs:2: names diesel, but only the store",
        "inventory-core/src/store/url.rs:2: names tonic_types, but the core",
        "inventory-grpc/src/status.rs:1: names wix_adapter, but the gRPC server",
        "inventory-grpc/program/src/lib.rs:1: names inventory_core, but what both programs",
        "wix-adapter/src/routes.rs:3: names inventory_grpc, but standalone.rs alone",
        "wix-adapter/src/standalone.rs:2: names inventory_core, but the adapter",
    ];
    assert_fires(word_violations, &files, &expected);
}

#[test]
fn sql_outside_of_the_store_is_found() {
    let files = [
        ("inventory-core/src/engine/commit.rs", "/// SELECT x FROM y\nlet s =\n    \"SELECT x \\\n     FROM y\";"),
        ("inventory-core/src/store/read/stock.rs", "let s = \"SELECT x FROM y\";"),
        ("inventory-grpc/src/server.rs", "let a = \"select a file\"; let b = r\"UPDATE x SET y = 1\";"),
        ("wix-adapter/src/send.rs", "let a = \"an UPDATE\"; let b = \"x; DELETE FROM y\";"),
    ];
    let expected = [
        "inventory-core/src/engine/commit.rs:3: holds SQL",
        "inventory-grpc/src/server.rs:1: holds SQL",
        "wix-adapter/src/send.rs:1: holds SQL",
    ];
    assert_fires(sql_violations, &files, &expected);
}

#[test]
fn a_foreign_dependency_is_found() {
    let files = [
        (
            "inventory-core/Cargo.toml",
            "[package]\nname = \"http\"\n[dependencies]\n# tonic = 1\nserde = \"1\"\n\nprost-types.workspace = true\n\
             [dependencies.http]\nversion = \"1\"\n[dev-dependencies]\ntonic = \"1\"\n",
        ),
        ("inventory-grpc/Cargo.toml", "[target.'cfg(unix)'.dependencies]\ndb = { package = \"diesel\" }\n"),
        ("inventory-grpc/program/Cargo.toml", "[build-dependencies]\ninventory-core.workspace = true\n"),
        (
            "wix-adapter/Cargo.toml",
            "[dependencies]\ninventory-grpc.workspace = true\ninventory-program.workspace = true\n",
        ),
    ];
    let expected = [
        "inventory-core/Cargo.toml:7: depends on prost-types",
        "inventory-core/Cargo.toml:8: depends on http",
        "inventory-grpc/Cargo.toml:2: depends on diesel",
        "inventory-grpc/program/Cargo.toml:2: depends on inventory-core",
        "wix-adapter/Cargo.toml:2: inventory-grpc must be optional",
    ];
    assert_fires(dependency_violations, &files, &expected);
}
