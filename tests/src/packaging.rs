//! The files by which operators install the programs, as the tests read them: Dockerfile, compose.yaml, and the units
//! and manifests in `inventory-grpc/operations/`.
//!
//! It finds every place that starts one of the programs: its arguments, and the variables that it is given.

use std::collections::BTreeMap;

use serde_json::Value;

/// The programs, and the images that hold them.
pub const PROGRAMS: [&str; 2] = ["inventory-grpc", "wix-adapter"];

/// One way in which a file starts a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The file, from the root of the repository.
    pub file: String,
    /// What the file calls it: a unit, a stage of the image, a service or a container. Empty if it has no name.
    pub name: String,
    /// The program.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The variables that it is given, with their values. The value is empty if it comes from a secret.
    pub variables: BTreeMap<String, String>,
}

/// The documents of a YAML file, with aliases and merge keys resolved.
pub fn yaml(path: &str, text: &str) -> Result<Vec<Value>, String> {
    serde_saphyr::from_multiple(text).map_err(|error| format!("{path}: {error}"))
}

/// Every start of a program in a YAML file: an object with the `image` of one of the programs.
pub fn starts_in_yaml(file: &str, documents: &[Value]) -> Vec<Start> {
    let mut found = Vec::new();
    for document in documents {
        // Parts that others merge are no starts of their own.
        let parts = document.as_object().into_iter().flatten().filter(|(key, _)| !key.starts_with("x-"));
        parts.for_each(|(key, part)| collect(file, key, part, &mut found));
    }
    found
}

fn collect(file: &str, key: &str, part: &Value, found: &mut Vec<Start>) {
    if let Some(program) = part["image"].as_str().filter(|image| PROGRAMS.contains(image)) {
        // `command` of Kubernetes names the program; that of Compose begins with its first argument.
        let mut arguments = texts(&part["command"]);
        if arguments.first().is_some_and(|first| first == program) {
            arguments.remove(0);
        }
        let mut variables = BTreeMap::new();
        for (name, value) in part["environment"].as_object().into_iter().flatten() {
            variables.insert(name.clone(), value.as_str().unwrap_or_default().to_owned());
        }
        for variable in part["env"].as_array().into_iter().flatten() {
            let text = |key: &str| variable[key].as_str().unwrap_or_default().to_owned();
            variables.insert(text("name"), text("value"));
        }
        let name = part["name"].as_str().unwrap_or(key).to_owned();
        found.push(Start { file: file.to_owned(), name, program: program.to_owned(), arguments, variables });
    }
    match part {
        Value::Object(parts) => parts.iter().for_each(|(key, part)| collect(file, key, part, found)),
        Value::Array(parts) => parts.iter().for_each(|part| collect(file, key, part, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The texts of a list.
pub fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Every start of a program in a unit of systemd. The variables of the settings files that its comments show count too.
pub fn starts_in_unit(file: &str, text: &str) -> Vec<Start> {
    let mut variables = BTreeMap::new();
    let mut starts = Vec::new();
    for line in text.lines() {
        let assigned = line.strip_prefix("Environment=").or_else(|| line.strip_prefix("#   "));
        if let Some((name, value)) = assigned.and_then(|assigned| assigned.split_once('=')) {
            let value = value.split(" #").next().unwrap_or_default().trim_end();
            variables.insert(name.to_owned(), value.to_owned());
        }
        if let Some(command) = line.strip_prefix("ExecStart=") {
            starts.extend(start(file, "", command.split_whitespace()));
        }
    }
    for start in &mut starts {
        start.variables = variables.clone();
    }
    starts
}

/// Every start of a program in a Dockerfile: the health check and the default command of each stage.
pub fn starts_in_dockerfile(file: &str, text: &str) -> Vec<Start> {
    let (mut found, mut stage, mut entry, mut variables) = (Vec::new(), "", Vec::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some((_, name)) = line.strip_prefix("FROM ").and_then(|from| from.split_once(" AS ")) {
            (stage, entry, variables) = (name, Vec::new(), BTreeMap::new());
        }
        let assigned = line.strip_prefix("ENV ").into_iter().flat_map(str::split_whitespace);
        for (name, value) in assigned.filter_map(|assigned| assigned.split_once('=')) {
            variables.insert(name.to_owned(), value.to_owned());
        }
        let list = |words: &str| -> Vec<String> { serde_json::from_str(words).unwrap_or_default() };
        if let Some(words) = line.strip_prefix("ENTRYPOINT ") {
            entry = list(words);
        }
        let command = match (line.strip_prefix("CMD "), line.split_once(" CMD ")) {
            (Some(words), _) => [entry.clone(), list(words)].concat(),
            (None, Some((_, words))) => list(words),
            (None, None) => continue,
        };
        let started = start(file, stage, command.iter().map(String::as_str));
        found.extend(started.map(|start| Start { variables: variables.clone(), ..start }));
    }
    found
}

/// The start that a command line is, if it names one of the programs.
fn start<'a>(file: &str, name: &str, mut words: impl Iterator<Item = &'a str>) -> Option<Start> {
    let program = words.next()?.rsplit('/').next().filter(|program| PROGRAMS.contains(program))?.to_owned();
    let arguments = words.map(str::to_owned).collect();
    Some(Start { file: file.to_owned(), name: name.to_owned(), program, arguments, variables: BTreeMap::new() })
}
