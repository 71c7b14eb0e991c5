//! What prints. `println!` and its like panic if the reader has left, so a program that uses them may stop half way.

use super::sources::{files, parse};
use super::{File, assert_fires, assert_none};

/// Path prefixes of what the programs are made of.
const PROGRAMS: [&str; 4] = ["proto/src/", "inventory-core/src/", "inventory-grpc/", "wix-adapter/src/"];
/// Macros that panic if they cannot write.
const PANICKING: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

/// The programs print by what survives a reader that leaves.
fn print_violations(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in parse(files) {
        if !PROGRAMS.iter().any(|prefix| source.path.starts_with(prefix)) {
            continue;
        }
        for three in source.tokens.windows(3) {
            let [name, mark, bracket] = three else { continue };
            let is_call = mark.text == "!" && ["(", "[", "{"].contains(&&*bracket.text);
            if is_call && PANICKING.contains(&&*name.text) {
                violations.push(format!(
                    "{}:{}: {}! panics if the reader has left; use Out or tell of inventory-program, or commands/print",
                    source.path, name.line, name.text
                ));
            }
        }
    }
    violations
}

#[test]
fn no_program_panics_if_nobody_reads_on() {
    assert_none(print_violations(&files(&[".rs"])));
}

#[test]
fn a_panicking_print_is_found() {
    let files = [
        ("inventory-grpc/src/main.rs", "// println!(\"a\")\nfn f() { println!(\"b\"); }"),
        ("inventory-grpc/program/src/output.rs", "let _ = writeln!(std::io::stderr(), \"println!()\");"),
        ("inventory-grpc/src/commands/print.rs", "print(text)?; if print != other {}\nstd::print! { \"c\" }"),
        (
            "wix-adapter/src/send.rs",
            "eprintln!();\neprint![\"d\"]; dbg!(e);\n#[cfg(test)]\nmod tests { fn f() { dbg!(1); } }",
        ),
        ("proto/build.rs", "println!(\"cargo::rerun-if-changed=inventory\");"),
        ("tests/it/faults.rs", "println!(\"f\");"),
    ];
    let expected = [
        "inventory-grpc/src/main.rs:2: println! panics",
        "inventory-grpc/src/commands/print.rs:2: print! panics",
        "wix-adapter/src/send.rs:1: eprintln! panics",
        "wix-adapter/src/send.rs:2: eprint! panics",
        "wix-adapter/src/send.rs:2: dbg! panics",
    ];
    assert_fires(print_violations, &files, &expected);
}
