//! The form of the text: the length of files and lines, and matches that name every case.

use super::sources::{Token, files, parse};
use super::{File, assert_fires, assert_none};

/// Lines of a file, at most.
const LINES_MAX: usize = 400;
/// Columns of a line, at most: the formatter's width.
const COLUMNS_MAX: usize = 120;

/// No file and no line is too long.
fn length_violations(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for (path, text) in files {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            violations.push(format!("{path}:{lines}: has {lines} lines; split it by idea, {LINES_MAX} are allowed"));
        }
        for (line, content) in (1..).zip(text.lines()) {
            let columns = content.chars().count();
            if columns > COLUMNS_MAX {
                violations.push(format!("{path}:{line}: has {columns} columns; {COLUMNS_MAX} are allowed"));
            }
        }
    }
    violations
}

/// Where one vocabulary becomes another, every case is named: no `_ =>`. A new case is then a compile error. Matches
/// on text or numbers cannot name every case.
fn catch_all_violations(files: &[File]) -> Vec<String> {
    let translates = |path: &str| {
        let parts = path.trim_end_matches(".rs").split('/');
        let named = |part: &str| ["status", "answer", "encode", "decode"].contains(&part);
        ["inventory-grpc/src/", "wix-adapter/src/"].iter().any(|crate_| path.starts_with(crate_))
            && parts.skip(2).any(named)
    };
    let mut violations = Vec::new();
    for source in parse(files).into_iter().filter(|source| translates(&source.path)) {
        for (at, token) in source.tokens.iter().enumerate().filter(|(_, token)| token.text == "=>") {
            let before = &source.tokens[..at];
            if is_catch_all(before) && !matches_literals(before) {
                let (path, line) = (&source.path, token.line);
                violations.push(format!("{path}:{line}: `_ =>` hides cases that come later; name each case"));
            }
        }
    }
    violations
}

/// Whether the pattern that ends here is `_`, or a tuple of nothing but `_`.
fn is_catch_all(tokens: &[Token]) -> bool {
    let pattern: Vec<&Token> =
        tokens.iter().rev().take_while(|token| ["_", "(", ")", ","].contains(&&*token.text)).collect();
    let mut depth = 0_i32;
    for (at, token) in pattern.iter().enumerate() {
        depth += match token.text.as_str() {
            ")" => 1,
            "(" => -1,
            _ => 0,
        };
        if depth == 0 {
            // The end of the pattern. `Some(_)` has a name before it.
            let before = tokens.len().checked_sub(at + 2).map(|before| &tokens[before]);
            return token.text != "," && !before.is_some_and(|before| before.is_word() && before.text != "_");
        }
    }
    false
}

/// Whether the match whose arm ends here starts with a literal. The content of strings is blank here.
fn matches_literals(tokens: &[Token]) -> bool {
    let mut depth = 0_i32;
    let opening = tokens.iter().rposition(|token| {
        depth += match token.text.as_str() {
            "}" => 1,
            "{" => -1,
            _ => 0,
        };
        depth < 0
    });
    let arms = opening.map_or(tokens, |opening| &tokens[opening + 1..]);
    let mut first = arms.iter().take_while(|token| token.text != "=>").peekable();
    first.peek().is_none_or(|token| token.text.starts_with(|c: char| c.is_ascii_digit() || c == '|'))
}

#[test]
fn files_and_lines_are_short() {
    assert_none(length_violations(&files(&[".rs", ".proto"])));
}

#[test]
fn translations_name_every_case() {
    assert_none(catch_all_violations(&files(&[".rs"])));
}

#[test]
fn a_long_file_and_a_long_line_are_found() {
    let (full, over) = ("x\n".repeat(400), "x\n".repeat(401));
    let (wide, wider) = ("é".repeat(120), format!("\n// {}", "é".repeat(118)));
    let files = [("a.rs", &*full), ("b.proto", &*over), ("c.rs", &*wide), ("d.proto", &*wider)];
    assert_fires(length_violations, &files, &["b.proto:401: has 401 lines", "d.proto:2: has 121 columns"]);
}

#[test]
fn a_catch_all_is_found() {
    let files = [
        ("inventory-grpc/src/status.rs", "match a {\n  A => 1,\n  // _ =>\n  _ => 2,\n}"),
        ("inventory-grpc/src/decode/unit.rs", "match (a, b) { (A, _) => 1, (B(_), _) => 2, '_' => 0, (_, _) => 3 }"),
        ("inventory-grpc/src/encode.rs", "match a { Some(_) => 1, None => 2, (_, Some(_)) => 4, A | _ => 3 }"),
        ("inventory-grpc/src/decode/site.rs", "match a { \"H\" => A { b }, _ => 2 }; match b { 0..=3 => 1, _ => 0 }"),
        ("wix-adapter/src/answer.rs", "match a { A => 1, _ if b => 2, B => 3 }"),
        ("wix-adapter/src/token.rs", "match a { _ => 1 }"),
        ("inventory-grpc/src/decode/tests.rs", "match a { _ => 1 }"),
    ];
    let expected = [
        "inventory-grpc/src/status.rs:4: `_ =>`",
        "inventory-grpc/src/decode/unit.rs:1: `_ =>`",
        "inventory-grpc/src/encode.rs:1: `_ =>`",
    ];
    assert_fires(catch_all_violations, &files, &expected);
}
