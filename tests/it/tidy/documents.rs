//! What the documents say about the programs is so: settings, and the command that runs the tests.

use inventory_tests::programs::program;

use super::assert_none;
use super::sources::file;

/// The help of a program or of one of its commands.
pub(super) struct Help {
    /// What was typed, such as `inventory-grpc serve`.
    pub(super) command: String,
    /// What it printed.
    pub(super) text: String,
}

/// Every flag and variable of the programs stands in the README; every flag of its table exists, with its variable.
fn setting_violations(readme: &str, helps: &[Help]) -> Vec<String> {
    let mut violations = Vec::new();
    let mut flags: Vec<(String, Option<String>)> = Vec::new();
    for Help { command, text } in helps {
        for (flag, variable) in settings(text) {
            for name in std::iter::once(&flag).chain(&variable) {
                if !is_named(readme, name) {
                    violations.push(format!("README.md:1: {name} of `{command}` is missing"));
                }
            }
            flags.push((flag, variable));
        }
    }
    for (line, content) in (1..).zip(readme.lines()) {
        let cells: Vec<&str> = content.split('|').map(str::trim).collect();
        let ["", flag, variable, ..] = cells[..] else { continue };
        let Some(flag) = flag.strip_prefix("`--").and_then(|flag| flag.strip_suffix('`')) else { continue };
        let flag = format!("--{flag}");
        let variable = Some(variable.trim_matches('`').to_owned()).filter(|variable| !variable.is_empty());
        let told: Vec<_> = flags.iter().filter(|(name, _)| *name == flag).collect();
        if told.is_empty() {
            violations.push(format!("README.md:{line}: no program has the flag {flag}"));
        } else if !told.iter().any(|(_, own)| *own == variable) {
            violations.push(format!("README.md:{line}: {flag} is not set by {variable:?}"));
        }
    }
    violations
}

/// The flags of a help text, each with its variable. A line of the text may break between `[env:` and the name.
pub(super) fn settings(help: &str) -> Vec<(String, Option<String>)> {
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    let mut after_env = false;
    for line in help.lines().map(str::trim_start) {
        let mut is_flag_line = line.starts_with('-');
        for word in line.split(|c: char| c.is_whitespace() || ",=[]<>.".contains(c)).filter(|word| !word.is_empty()) {
            if is_flag_line && word.starts_with("--") {
                found.push((word.to_owned(), None));
                is_flag_line = false;
            } else if after_env && let Some((_, variable)) = found.last_mut() {
                *variable = Some(word.to_owned());
            }
            after_env = word == "env:";
        }
    }
    found.retain(|(flag, _)| !["--help", "--version"].contains(&flag.as_str()));
    found
}

/// Whether a text names `name`, and not only a longer word that contains it.
fn is_named(text: &str, name: &str) -> bool {
    let of_name = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (text[..at].chars().next_back(), text[at + name.len()..].chars().next());
        !before.is_some_and(of_name) && !after.is_some_and(of_name)
    })
}

/// The command that the README gives for the tests is the one that `.ci/run` runs.
fn test_command_violations(readme: &str, ci: &str) -> Vec<String> {
    let commands: Vec<(usize, &str)> =
        (1..).zip(readme.lines()).filter(|(_, line)| line.starts_with("cargo test")).collect();
    let missing = commands.is_empty().then(|| "README.md:1: no command runs the tests".to_owned());
    let different = commands.into_iter().filter(|(_, command)| !ci.lines().any(|line| line == *command));
    let told = different.map(|(line, command)| format!("README.md:{line}: .ci/run does not run `{command}`"));
    missing.into_iter().chain(told).collect()
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    commands
        .filter_map(|line| Some(line.strip_prefix("  ")?.split(' ').next()?.to_owned()))
        .filter(|command| !command.is_empty() && command != "help")
        .collect()
}

/// The help of both programs and all of their commands, those within commands included.
pub(super) fn helps() -> Vec<Help> {
    let mut helps = Vec::new();
    for name in ["inventory-grpc", "wix-adapter"] {
        let help = |arguments: &[&str]| {
            let output = program(name).args(arguments).arg("--help").output().expect("the program starts");
            assert!(output.status.success(), "{name} {arguments:?} --help failed");
            Help {
                command: [&[name], arguments].concat().join(" "),
                text: String::from_utf8_lossy(&output.stdout).into_owned(),
            }
        };
        let own = help(&[]);
        let commands = commands(&own.text);
        assert!(!commands.is_empty(), "{name} --help lists no commands");
        for command in &commands {
            let of_command = help(&[command]);
            helps.extend(self::commands(&of_command.text).iter().map(|nested| help(&[command, nested])));
            helps.push(of_command);
        }
        helps.push(own);
    }
    helps
}

#[test]
fn the_readme_lists_every_setting() {
    assert_none(setting_violations(&file("README.md").1, &helps()));
}

#[test]
fn ci_runs_the_test_command_of_the_readme() {
    assert_none(test_command_violations(&file("README.md").1, &file(".ci/run").1));
}

#[test]
fn a_wrong_setting_is_found() {
    let text = [
        "Options:",
        "  -d, --database-url <URL>",
        "          Which.",
        "",
        "          [env: DATABASE_URL=]",
        "      --demo",
        "          Not --dry-run.",
        "      --item <ITEMS>...",
        "      --old <X>  Some [env:",
        "          NEW=]",
        "  -h, --help",
    ];
    let help = Help { command: "program serve".to_owned(), text: text.join("\n") };
    let readme = "| `--database-url` | `DATABASE_URL` | x |\n| `--old` | `OLD` | x |\n| `--gone` | | x |\n`--items`\n";
    let expected = [
        "README.md:1: --demo of `program serve` is missing",
        "README.md:1: --item of `program serve` is missing",
        "README.md:1: NEW of `program serve` is missing",
        "README.md:2: --old is not set by Some(\"OLD\")",
        "README.md:3: no program has the flag --gone",
    ];
    assert_eq!(setting_violations(readme, &[help]), expected);
}

#[test]
fn a_different_test_command_is_found() {
    let readme = "```sh\ncargo test --workspace --locked\n```\n";
    assert_eq!(test_command_violations(readme, "cargo test --workspace --locked\n"), [""; 0]);
    let told = test_command_violations(readme, "cargo test --workspace\ncargo test --workspace --locked -q\n");
    assert_eq!(told, ["README.md:2: .ci/run does not run `cargo test --workspace --locked`"]);
    assert_eq!(test_command_violations("", "cargo test"), ["README.md:1: no command runs the tests"]);
}
