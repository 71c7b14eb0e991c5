//! The layers of the core, and the direction of every path between them.

use std::collections::BTreeSet;

use super::sources::{Source, Token, files, parse};
use super::{File, assert_fires, assert_none};

const CORE: &str = "inventory-core/src/";

/// A folder of the core: what its files may name beside the folder itself, and which parts of that they may not.
struct Layer {
    name: &'static str,
    may: &'static [&'static str],
    but_not: &'static [&'static str],
}

const LAYERS: [Layer; 5] = [
    Layer { name: "model", may: &[], but_not: &[] },
    Layer { name: "rules", may: &["model"], but_not: &[] },
    Layer { name: "engine", may: &["model", "rules"], but_not: &[] },
    // The engine's trait, which a store implements.
    Layer { name: "store", may: &["model", "engine::storage"], but_not: &[] },
    // The store's readers.
    Layer {
        name: "reports",
        may: &["model", "store"],
        but_not: &[
            "store::postgres",
            "store::sqlite",
            "store::tables",
            "store::describe",
            "store::records",
            "store::connection",
            "store::shared",
            "store::chain",
            "store::migrate",
        ],
    },
];

/// Every path of the core that starts at `crate`, `self` or `super` points in the direction of the layers.
fn layer_violations(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in parse(files) {
        let module = module_of(&source.path);
        // lib.rs declares the layers.
        let Some(own) = module.first() else { continue };
        let Some(layer) = LAYERS.iter().find(|layer| layer.name == own) else {
            violations.push(format!("{}:1: {own} is no layer of the core; see inventory-core/README.md", source.path));
            continue;
        };
        for (line, path) in paths(&source, &module) {
            let named = path.join("::");
            let target = path.first().map_or("", String::as_str);
            let within = |prefix: &&str| named == **prefix || named.starts_with(&format!("{prefix}::"));
            let allowed = target == own || layer.may.iter().any(within) && !layer.but_not.iter().any(within);
            let why = match layer.may {
                [] => "nothing else of the core".to_owned(),
                may => format!("{} alone", may.join(" and ")),
            };
            if !allowed {
                violations.push(format!("{}:{line}: names crate::{named}, but {own}/ may use {why}", source.path));
            }
        }
    }
    violations
}

/// The files of the model do not import each other in a circle.
fn circle_violations(files: &[File]) -> Vec<String> {
    let mut imports: Vec<(String, String, String)> = Vec::new();
    let mut violations = Vec::new();
    let sources = parse(files);
    let modules: BTreeSet<String> = sources.iter().filter_map(|source| file_of_model(&source.path)).collect();
    for source in &sources {
        let Some(own) = file_of_model(&source.path) else { continue };
        for (line, path) in paths(source, &module_of(&source.path)) {
            let ["model", target, ..] = path.iter().map(String::as_str).collect::<Vec<_>>()[..] else { continue };
            let at = format!("{}:{line}", source.path);
            if !modules.contains(target) {
                violations.push(format!("{at}: names model::{target}; name the file that defines it"));
            } else if target != own {
                imports.push((own.clone(), target.to_owned(), at));
            }
        }
    }
    // Whatever imports nothing, or is imported by nothing, is in no circle. What remains is.
    loop {
        let from: BTreeSet<String> = imports.iter().map(|(from, ..)| from.clone()).collect();
        let to: BTreeSet<String> = imports.iter().map(|(_, to, _)| to.clone()).collect();
        let before = imports.len();
        imports.retain(|(own, target, _)| from.contains(target) && to.contains(own));
        if imports.len() == before {
            break;
        }
    }
    let circle = |(own, target, at): (String, String, String)| {
        format!("{at}: {own} imports {target} in a circle; files of the model must have an order")
    };
    violations.extend(imports.into_iter().map(circle));
    violations
}

/// The modules from the crate's root to a file of the core. Empty for lib.rs.
fn module_of(path: &str) -> Vec<String> {
    let path = path.strip_prefix(CORE).unwrap_or(path).trim_end_matches(".rs").trim_end_matches("/mod");
    if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// The file of the model to which a source belongs: `unit` for model/unit.rs and model/unit/sku.rs.
fn file_of_model(path: &str) -> Option<String> {
    match module_of(path).as_slice() {
        [layer, file, ..] if layer == "model" => Some(file.clone()),
        _ => None,
    }
}

/// Every path that starts at `crate`, `self` or `super`, from the crate's root on, with its line.
fn paths(source: &Source, module: &[String]) -> Vec<(usize, Vec<String>)> {
    let tokens = &source.tokens;
    let (mut found, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
        let start = match text(at) {
            "crate" => Some((Vec::new(), at + 2)),
            "self" => Some((module.to_vec(), at + 2)),
            "super" => Some((module.to_vec(), at)),
            _ => None,
        };
        // Inside of another path, `self` and `super` do not start one.
        let begins = text(at + 1) == "::" && (at == 0 || text(at - 1) != "::");
        at = match start.filter(|_| begins) {
            Some((path, next)) => expand(tokens, next, path, &mut found),
            None => at + 1,
        };
    }
    found
}

/// Follows a path from the token `at`; returns the place behind it.
fn expand(tokens: &[Token], mut at: usize, mut path: Vec<String>, found: &mut Vec<(usize, Vec<String>)>) -> usize {
    let line = tokens.get(at).map_or(0, |token| token.line);
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    let next = expand(tokens, at, path.clone(), found).max(at + 1);
                    at = next + usize::from(tokens.get(next).is_some_and(|token| token.text == ","));
                }
                return at + 1;
            }
            "super" => _ = path.pop(),
            "self" | "*" => {}
            _ if token.is_word() => path.push(token.text.clone()),
            _ => break,
        }
        at += 1;
        if tokens.get(at).is_some_and(|token| token.text == "::") {
            at += 1;
        } else {
            break;
        }
    }
    // `use a::b as c`
    if tokens.get(at).is_some_and(|token| token.text == "as") {
        at += 2;
    }
    found.push((line, path));
    at
}

#[test]
fn layers_of_the_core_use_each_other_in_one_direction() {
    assert_none(layer_violations(&core_files()));
}

#[test]
fn files_of_the_model_import_each_other_without_a_circle() {
    assert_none(circle_violations(&core_files()));
}

fn core_files() -> Vec<File> {
    let mut files = files(&[".rs"]);
    files.retain(|(path, _)| path.starts_with(CORE));
    files
}

#[test]
fn a_path_against_the_direction_is_found() {
    let files = [
        ("inventory-core/src/lib.rs", "pub use crate::store::Store;"),
        ("inventory-core/src/model/unit.rs", "// one\nuse crate::model::ids::SiteId;\nuse crate::rules::stock;"),
        ("inventory-core/src/model.rs", "fn f() { super::store::open() }"),
        ("inventory-core/src/rules/stock.rs", "use crate::model::unit;\nuse super::super::engine::queue;"),
        ("inventory-core/src/engine/queue.rs", "use crate::{model::ids, rules, store::{self, url}};"),
        (
            "inventory-core/src/store/url.rs",
            "use crate::engine::storage::BatchStore;\nuse crate::engine::cache::Cache;",
        ),
        ("inventory-core/src/reports/verify.rs", "use crate::store::read::Snapshot;\nuse crate::store::sqlite as x;"),
        ("inventory-core/src/reports/explain.rs", "use super::verify;\nuse crate::Store;\nuse self::crate_::x;"),
        ("inventory-core/src/extra.rs", ""),
        ("inventory-core/src/store/tests.rs", "use crate::engine::cache::Cache;"),
        ("inventory-core/src/rules/refund.rs", "#[cfg(test)]\nmod tests { use crate::store::Store; }"),
    ];
    let expected = [
        "inventory-core/src/model/unit.rs:3: names crate::rules::stock, but model/ may use nothing else",
        "inventory-core/src/model.rs:1: names crate::store::open, but model/",
        "inventory-core/src/rules/stock.rs:2: names crate::engine::queue, but rules/ may use model alone",
        "inventory-core/src/engine/queue.rs:1: names crate::store, but engine/ may use model and rules alone",
        "inventory-core/src/engine/queue.rs:1: names crate::store::url, but engine/",
        "inventory-core/src/store/url.rs:2: names crate::engine::cache::Cache, but store/",
        "inventory-core/src/reports/verify.rs:2: names crate::store::sqlite, but reports/",
        "inventory-core/src/reports/explain.rs:2: names crate::Store, but reports/",
        "inventory-core/src/extra.rs:1: extra is no layer",
    ];
    assert_fires(layer_violations, &files, &expected);
}

#[test]
fn a_circle_in_the_model_is_found() {
    let files = [
        ("inventory-core/src/model.rs", "pub mod ids;"),
        ("inventory-core/src/model/ids.rs", "use uuid::Uuid;\nuse crate::model::unit::Unit;"),
        ("inventory-core/src/model/unit.rs", "use super::catalog::Reference;\nuse crate::model::limits;"),
        ("inventory-core/src/model/catalog.rs", "\n\nuse crate::model::{limits::MAX, ids::SiteId};"),
        ("inventory-core/src/model/limits.rs", ""),
        ("inventory-core/src/model/site.rs", "use crate::model::ids::SiteId;\nuse crate::model::Level;"),
        ("inventory-core/src/model/ids/tests.rs", "use crate::model::site::Site;"),
    ];
    let expected = [
        "inventory-core/src/model/site.rs:2: names model::Level; name the file",
        "inventory-core/src/model/ids.rs:2: ids imports unit in a circle",
        "inventory-core/src/model/unit.rs:1: unit imports catalog in a circle",
        "inventory-core/src/model/catalog.rs:3: catalog imports ids in a circle",
    ];
    assert_fires(circle_violations, &files, &expected);
}
