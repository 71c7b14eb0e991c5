//! Rust sources as the rules see them: tokens with their true line numbers, without comments and without tests.

use std::fs;
use std::path::{Path, PathBuf};

use super::File;

/// The root of the repository.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files of the crates with one of the given endings, in the order of their paths.
pub(super) fn files(endings: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    for folder in ["proto", "inventory-core", "inventory-grpc", "wix-adapter", "tests"] {
        collect(&root().join(folder), folder, endings, &mut found);
    }
    found.sort();
    assert!(!found.is_empty(), "no files were found below {}", root().display());
    found
}

/// One file of the repository.
pub(super) fn file(path: &str) -> File {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path} cannot be read: {error}"));
    (path.to_owned(), text)
}

fn collect(folder: &Path, name: &str, endings: &[&str], found: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{name} cannot be read: {error}")).flatten() {
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        // A build folder holds the sources of others.
        if entry.file_name() == "target" {
            continue;
        }
        if entry.path().is_dir() {
            collect(&entry.path(), &name, endings, found);
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(file(&name));
        }
    }
}

/// An identifier, a number, `::`, `=>`, or one other character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// The line, from 1.
    pub(super) line: usize,
    /// The token's text.
    pub(super) text: String,
}

impl Token {
    /// Whether it is an identifier, a keyword or a number.
    pub(super) fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
    }
}

/// What stands in a source file outside of comments and tests.
pub(super) struct Source {
    /// The path from the root of the repository.
    pub(super) path: String,
    /// The code.
    pub(super) tokens: Vec<Token>,
    /// The string literals, each with the line on which it starts.
    pub(super) strings: Vec<(usize, String)>,
}

/// Reads sources. Leaves out folders and files named `tests`, and whatever follows `#[cfg(test)]`: an item, or the
/// file of a module.
pub(super) fn parse(files: &[File]) -> Vec<Source> {
    let mut test_modules = Vec::new();
    let mut sources = Vec::new();
    for (path, text) in files {
        let (code, mut strings) = split(text);
        let mut tokens = tokenize(&code);
        for range in test_items(&tokens).into_iter().rev() {
            let item = tokens.drain(range).collect::<Vec<_>>();
            let (first, last) = (item[0].line, item[item.len() - 1].line);
            strings.retain(|(line, _)| *line < first || *line > last);
            if let [.., module, name, end] = item.as_slice()
                && (module.text.as_str(), end.text.as_str()) == ("mod", ";")
            {
                test_modules.push(format!("{}/{}", module_folder(path), name.text));
            }
        }
        sources.push(Source { path: path.clone(), tokens, strings });
    }
    sources.retain(|source| {
        let stem = source.path.trim_end_matches(".rs");
        let declared = |module: &String| stem == module || stem.starts_with(&format!("{module}/"));
        !source.path.contains("/tests/") && !source.path.ends_with("/tests.rs") && !test_modules.iter().any(declared)
    });
    sources
}

/// The folder in which a file's modules have their files.
fn module_folder(path: &str) -> &str {
    let root_file = ["/lib.rs", "/main.rs", "/mod.rs"].iter().find_map(|name| path.strip_suffix(name));
    root_file.unwrap_or_else(|| path.trim_end_matches(".rs"))
}

/// The items that stand behind `#[cfg(test)]`, the attribute included.
fn test_items(tokens: &[Token]) -> Vec<std::ops::Range<usize>> {
    let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut found = Vec::new();
    let mut at = 0;
    while at + attribute.len() < tokens.len() {
        if tokens[at..].iter().zip(attribute).all(|(token, expected)| token.text == expected) {
            let end = item_end(tokens, at + attribute.len());
            found.push(at..end);
            at = end;
        } else {
            at += 1;
        }
    }
    found
}

/// The end of the item that starts at `at`: past its `;` or its closing brace.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        let closes = depth == 0 && ["}", ";"].contains(&tokens[at].text.as_str());
        at += 1;
        if closes {
            return at;
        }
    }
    at
}

fn tokenize(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (line, text) in (1..).zip(code.split('\n')) {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = match word {
                0 if rest.starts_with("::") || rest.starts_with("=>") => 2,
                0 => first.len_utf8(),
                word => word,
            };
            tokens.push(Token { line, text: rest[..length].to_owned() });
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// Splits a source into its code, in which comments, strings and characters are blank, and its string literals.
fn split(text: &str) -> (String, Vec<(usize, String)>) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut strings) = (String::new(), Vec::new());
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
        let (length, content) = match rest {
            ['/', '/', ..] => (rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()), None),
            ['/', '*', ..] => (block_comment(rest), None),
            ['"', ..] => quoted(rest),
            ['r', '"' | '#', ..] if !in_word => raw(rest),
            ['b', 'r', '"' | '#', ..] if !in_word => raw(rest),
            ['\'', '\\', _, ..] => (3 + rest[3..].iter().position(|c| *c == '\'').unwrap_or(0), None),
            ['\'', _, '\'', ..] => (2, None),
            _ => (0, None),
        };
        strings.extend(content.map(|content| (1 + code.matches('\n').count(), content)));
        code.extend(rest[..length].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at += length;
        // What is left of the literal, or a character of the code.
        if let Some(c) = chars.get(at) {
            code.push(if length > 0 && *c != '\n' { ' ' } else { *c });
            at += 1;
        }
    }
    (code, strings)
}

/// The length of a block comment without its last character; block comments nest.
fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at + 1 < rest.len() {
        match (rest[at], rest[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at - 1;
        }
    }
    rest.len()
}

/// A string literal's length without its closing quote, and its content.
fn quoted(rest: &[char]) -> (usize, Option<String>) {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    let at = at.min(rest.len());
    (at, Some(rest[1..at].iter().collect()))
}

/// A raw string literal's length without its last character, and its content. Length 0 for a raw identifier.
fn raw(rest: &[char]) -> (usize, Option<String>) {
    let start = rest.iter().position(|c| *c == '#' || *c == '"').unwrap_or(0);
    let hashes = rest[start..].iter().take_while(|c| **c == '#').count();
    if rest.get(start + hashes) != Some(&'"') {
        return (0, None);
    }
    let content = &rest[start + hashes + 1..];
    let closing: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let length = content.windows(closing.len()).position(|window| window == closing).unwrap_or(content.len());
    let end = (start + hashes + 1 + length + hashes).min(rest.len());
    (end, Some(content[..length].iter().collect()))
}

/// Whether a word names `crate_name` or a member of its family: `tonic` and `tonic_types`, but not `tonics`.
pub(super) fn is_of_family(word: &str, crate_name: &str) -> bool {
    let rest = word.strip_prefix(crate_name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['_', '-']) || crate_name.ends_with(['_', '-']))
}

#[test]
fn comments_strings_and_tests_are_told_from_code() {
    let text = [
        "//! diesel::x",
        "/* a /* b */ \"c\" */ use a::b;",
        "let s = \"SELECT // 1\\\" \\",
        "  2\"; let c = '\"'; 'd: loop {}",
        "let r = r#\"x \"y\" z\"#; let n = '\\n'; let q = '\\'';",
        "#[cfg(test)]",
        "mod tests {",
        " use t::t;",
        " fn f() { \"no\"; }",
        "}",
        "#[cfg(test)]",
        "mod fuzz;",
        "use e::f;",
    ];
    let files = [
        ("k/src/a.rs".to_owned(), text.join("\n")),
        ("k/src/a/fuzz.rs".to_owned(), "use no::no;".to_owned()),
        ("k/src/a/tests/b.rs".to_owned(), "use no::no;".to_owned()),
    ];
    let sources = parse(&files);
    assert_eq!(sources.len(), 1, "files of tests are left out");
    let words: Vec<(usize, &str)> =
        sources[0].tokens.iter().filter(|token| token.is_word()).map(|token| (token.line, &*token.text)).collect();
    let first = [(2, "use"), (2, "a"), (2, "b"), (3, "let"), (3, "s"), (4, "let"), (4, "c"), (4, "d"), (4, "loop")];
    assert_eq!(words[..9], first);
    let rest = [(5, "let"), (5, "r"), (5, "let"), (5, "n"), (5, "let"), (5, "q"), (13, "use"), (13, "e"), (13, "f")];
    assert_eq!(words[9..], rest);
    let strings: Vec<_> = sources[0].strings.iter().map(|(line, text)| (*line, text.as_str())).collect();
    assert_eq!(strings, [(3, "SELECT // 1\\\" \\\n  2"), (5, "x \"y\" z")]);
}
