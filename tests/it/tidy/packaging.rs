//! The files by which operators install the programs agree with the programs, and with each other: commands, settings,
//! ports, names and paths.

use std::collections::{BTreeMap, BTreeSet};

use inventory_tests::packaging::{PROGRAMS, Start, starts_in_dockerfile, starts_in_unit, starts_in_yaml, texts, yaml};
use serde_json::Value;

use super::documents::{Help, helps, settings};
use super::sources::{file, root};
use super::{File, assert_fires, assert_none};

const OPERATIONS: &str = "inventory-grpc/operations";

/// The variables that give a program its ports, and the names of these ports.
const PORTS: [(&str, &str); 3] = [("GRPC_LISTEN", "grpc"), ("HTTP_LISTEN", "http"), ("ADMIN_LISTEN", "metrics")];

/// All files of the packaging.
fn packaging() -> Vec<File> {
    let mut files = vec![file("Dockerfile"), file("compose.yaml")];
    for folder in ["", "/grafana", "/kubernetes", "/systemd"] {
        let folder = format!("{OPERATIONS}{folder}");
        let entries = std::fs::read_dir(root().join(&folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let kept = names.filter(|name| [".yaml", ".yml", ".service"].iter().any(|end| name.ends_with(end)));
        files.extend(kept.map(|name| file(&format!("{folder}/{name}"))));
    }
    files.sort();
    files
}

/// Every start of a program in the files. A file that is no YAML is a violation.
fn starts(files: &[File]) -> (Vec<Start>, Vec<String>) {
    let (mut found, mut violations) = (Vec::new(), Vec::new());
    for (path, text) in files {
        if path.ends_with("Dockerfile") {
            found.extend(starts_in_dockerfile(path, text));
        } else if path.ends_with(".service") {
            found.extend(starts_in_unit(path, text));
        } else {
            match yaml(path, text) {
                Ok(documents) => found.extend(starts_in_yaml(path, &documents)),
                Err(error) => violations.push(format!("{path}:1: is no YAML: {error}")),
            }
        }
    }
    (found, violations)
}

/// Every command, flag and variable that a file gives to a program is one of that program.
fn setting_violations(files: &[File], helps: &[Help]) -> Vec<String> {
    let (starts, mut violations) = starts(files);
    for Start { file, name, program, arguments, variables } in starts {
        let words: Vec<&str> = std::iter::once(program.as_str())
            .chain(arguments.iter().map(String::as_str).take_while(|word| !word.starts_with("--")))
            .collect();
        let Some(help) = helps.iter().find(|help| help.command == words.join(" ")) else {
            violations.push(format!("{file}:1: {name}: there is no command `{}`", words.join(" ")));
            continue;
        };
        let known = settings(&help.text);
        for flag in arguments.iter().filter(|word| word.starts_with("--")) {
            if !known.iter().any(|(name, _)| name == flag) {
                violations.push(format!("{file}:1: {name}: `{}` has no flag {flag}", help.command));
            }
        }
        // An image and a settings file give the variables to every command of the program.
        let shared = file.ends_with("Dockerfile") || file.ends_with(".service");
        let of_program = |help: &&Help| help.command.split(' ').next() == Some(&program);
        let others = helps.iter().filter(|other| shared && of_program(other)).flat_map(|help| settings(&help.text));
        let known: BTreeSet<String> = known.into_iter().chain(others).filter_map(|(_, variable)| variable).collect();
        for variable in variables.keys().filter(|variable| !known.contains(*variable)) {
            violations.push(format!("{file}:1: {name}: `{}` has no variable {variable}", help.command));
        }
    }
    violations
}

/// The port of an address such as `0.0.0.0:80`.
fn port(address: &str) -> u64 {
    address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default()
}

/// The ports that a start listens on, by their names. What it does not set, its image sets.
fn ports(start: &Start, starts: &[Start]) -> BTreeMap<&'static str, u64> {
    let image = starts.iter().find(|other| other.file == "Dockerfile" && other.name == start.program);
    let set = |variable: &str| start.variables.get(variable).or_else(|| image?.variables.get(variable));
    PORTS.iter().filter_map(|(variable, name)| Some((*name, port(set(variable)?)))).collect()
}

/// The ports that the files name are those on which the programs listen, and each caller names a server that exists.
fn port_violations(files: &[File]) -> Vec<String> {
    let starts = starts(files).0;
    [listener_violations(files, &starts), caller_violations(files, &starts)].concat()
}

/// Published ports, ports of containers and ports of probes.
fn listener_violations(files: &[File], starts: &[Start]) -> Vec<String> {
    let mut violations = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| !path.ends_with(".service") && !path.ends_with("Dockerfile")) {
        for document in yaml(path, text).unwrap_or_default() {
            let mut check = |what: &str, found: u64, wanted: Option<&u64>| {
                if wanted != Some(&found) {
                    violations.push(format!("{path}:1: {what} is {found}, but the program listens on {wanted:?}"));
                }
            };
            for start in starts.iter().filter(|start| start.file == *path && start.arguments == ["serve"]) {
                let listening = ports(start, starts);
                for published in texts(&document["services"][&start.name]["ports"]) {
                    let port = port(&published);
                    check("a published port", port, listening.values().find(|listens| **listens == port));
                }
                let container = &document["spec"]["template"]["spec"]["containers"][0];
                for named in container["ports"].as_array().into_iter().flatten() {
                    let name = named["name"].as_str().unwrap_or_default();
                    check(name, named["containerPort"].as_u64().unwrap_or_default(), listening.get(name));
                }
                for probe in ["readinessProbe", "livenessProbe"].map(|probe| &container[probe]) {
                    if let Some(port) = probe["grpc"]["port"].as_u64() {
                        check("the port of a probe", port, listening.get("grpc"));
                    }
                }
            }
        }
    }
    violations
}

/// The names that lead to what a container runs: its own; in a StatefulSet those of the pods.
fn hosts(start: &Start, files: &[File]) -> Vec<String> {
    let documents = files.iter().filter(|(path, _)| *path == start.file && path.ends_with(".yaml"));
    let mut documents = documents.flat_map(|(path, text)| yaml(path, text).unwrap_or_default());
    let set = documents.find(|found| found["kind"] == "StatefulSet" && found["metadata"]["name"] == *start.name);
    let Some(set) = set else { return vec![start.name.clone()] };
    let (service, replicas) = (set["spec"]["serviceName"].as_str(), set["spec"]["replicas"].as_u64());
    let pod = |index: u64| format!("{}-{index}.{}", start.name, service.unwrap_or_default());
    (0..replicas.unwrap_or(1)).map(pod).collect()
}

/// Who calls the servers, and who reads the metrics. Who calls one of several servers has to know all of them.
fn caller_violations(files: &[File], starts: &[Start]) -> Vec<String> {
    let mut violations = Vec::new();
    let server = |host: &str, file: &str| {
        let folder = |path: &str| path.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
        let named =
            |start: &&Start| folder(&start.file) == folder(file) && hosts(start, files).iter().any(|name| name == host);
        starts.iter().filter(|start| start.file != "Dockerfile").find(named)
    };
    let host = |address: &str| address.split(':').next().unwrap_or_default().to_owned();
    let mut called: Vec<(&str, &str, &str, String)> = Vec::new();
    for start in starts {
        let Some(upstreams) = start.variables.get("GRPC_UPSTREAM") else { continue };
        let names: Vec<String> = upstreams.split(',').map(host).collect();
        let all = server(&names[0], &start.file).map(|server| hosts(server, files)).unwrap_or_default();
        for unknown in all.iter().filter(|name| !names.contains(name)) {
            violations.push(format!("{}:1: GRPC_UPSTREAM does not name {unknown}", start.file));
        }
        called.extend(upstreams.split(',').map(|upstream| (&*start.file, &*start.file, "grpc", upstream.to_owned())));
    }
    for (path, text) in files.iter().filter(|(path, _)| path.ends_with("prometheus.yml")) {
        for job in
            yaml(path, text).unwrap_or_default().iter().flat_map(|all| all["scrape_configs"].as_array()).flatten()
        {
            let targets = texts(&job["static_configs"][0]["targets"]);
            let of_job = |target: &String| target.split(':').next() == job["job_name"].as_str();
            if !targets.iter().all(of_job) {
                violations.push(format!("{path}:1: the job of {targets:?} does not have the name of the program"));
            }
            called.extend(targets.into_iter().map(|target| (&**path, "compose.yaml", "metrics", target)));
        }
    }
    for (path, among, name, address) in called {
        let listens = server(&host(&address), among);
        if listens.and_then(|start| ports(start, starts).get(name).copied()) != Some(port(&address)) {
            violations.push(format!("{path}:1: nothing in {among} listens on {address} ({name})"));
        }
    }
    violations
}

/// Labels by which the manifests select pods are labels of pods, and named ports are ports of containers.
fn selector_violations(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    let parsed = files.iter().filter(|(path, _)| path.contains("/kubernetes/"));
    let documents: Vec<(&String, Value)> = parsed
        .flat_map(|(path, text)| yaml(path, text).unwrap_or_default().into_iter().map(move |document| (path, document)))
        .collect();
    let pods = documents.iter().map(|(_, document)| &document["spec"]["template"]);
    let apps: BTreeSet<&str> = pods.clone().filter_map(|pod| pod["metadata"]["labels"]["app"].as_str()).collect();
    let containers = pods.flat_map(|pod| pod["spec"]["containers"].as_array().into_iter().flatten());
    let named: BTreeSet<&str> = containers
        .flat_map(|container| container["ports"].as_array().into_iter().flatten())
        .filter_map(|port| port["name"].as_str())
        .collect();
    for (path, document) in &documents {
        each(document, &mut |key, value| {
            let Some(text) = value.as_str() else { return };
            if key == "app" && !apps.contains(text) {
                violations.push(format!("{path}:1: no pod has the label app: {text}"));
            }
            if ["port", "targetPort"].contains(&key) && !named.contains(text) {
                violations.push(format!("{path}:1: no container has a port named {text}"));
            }
        });
    }
    violations
}

/// Calls `look` with every value that stands under a key.
fn each(value: &Value, look: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(parts) => parts.iter().for_each(|(key, part)| {
            look(key, part);
            each(part, look);
        }),
        Value::Array(parts) => parts.iter().for_each(|part| each(part, look)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_packaging_gives_the_programs_settings_that_they_have() {
    let files = packaging();
    let mut seen: Vec<(String, String)> =
        starts(&files).0.into_iter().map(|start| (start.file, start.program)).collect();
    seen.dedup();
    let kubernetes = format!("{OPERATIONS}/kubernetes");
    for file in ["Dockerfile", "compose.yaml", &format!("{kubernetes}/inventory-grpc.yaml")] {
        assert!(seen.iter().any(|(seen, _)| seen == file), "no start of a program is found in {file}: {seen:?}");
    }
    assert_none(setting_violations(&files, &helps()));
}

#[test]
fn ports_names_and_labels_of_the_packaging_agree() {
    let files = packaging();
    assert_none([port_violations(&files), selector_violations(&files)].concat());
}

#[test]
fn the_image_bounds_the_size_of_the_programs_as_the_guide_says() {
    let dockerfile = file("Dockerfile").1;
    let (_, bound) = dockerfile.split_once("/out/bin/$program\")\" -lt ").expect("the size of each program is tested");
    let bytes: u64 = bound.split(' ').next().and_then(|bytes| bytes.parse().ok()).expect("a number of bytes");
    let said = format!("The build fails if a program has {} MB.", bytes / 1_000_000);
    assert!(file(&format!("{OPERATIONS}/README.md")).1.contains(&said), "the guide does not say: {said}");
}

#[test]
fn every_file_that_the_packaging_names_exists() {
    let compose = &yaml("compose.yaml", &file("compose.yaml").1).expect("it is YAML")[0];
    let mut missing = Vec::new();
    for service in compose["services"].as_object().expect("services").values() {
        let volumes = texts(&service["volumes"]);
        let files = volumes.iter().filter_map(|volume| volume.strip_prefix("./")?.split(':').next());
        missing.extend(files.filter(|path| !root().join(path).is_file()).map(str::to_owned));
    }
    let folder = format!("{OPERATIONS}/kubernetes");
    let path = format!("{folder}/kustomization.yaml");
    let manifests = &yaml(&path, &file(&path).1).expect("it is YAML")[0];
    let mut listed = texts(&manifests["resources"]);
    listed.push("kustomization.yaml".to_owned());
    listed.sort();
    let files = packaging();
    let there = files.iter().filter_map(|(path, _)| path.strip_prefix(&format!("{folder}/")));
    assert_eq!(there.collect::<Vec<_>>(), listed, "the files in {folder}, and what kustomization.yaml lists");
    assert_eq!(missing, [""; 0]);
    // The tags of the images are the version of the programs.
    for image in manifests["images"].as_array().expect("images") {
        assert!(PROGRAMS.contains(&image["name"].as_str().unwrap_or_default()), "{image}");
        assert_eq!(image["newTag"], env!("CARGO_PKG_VERSION"));
    }
}

#[test]
fn every_secret_of_the_manifests_is_made_by_a_command_of_the_guide() {
    let guide = file(&format!("{OPERATIONS}/README.md")).1;
    for (path, text) in packaging().iter().filter(|(path, _)| path.contains("/kubernetes/")) {
        for document in yaml(path, text).expect("it is YAML") {
            each(&document, &mut |key, value| {
                let (name, part) = match key {
                    "secretKeyRef" => (value["name"].as_str(), value["key"].as_str()),
                    "secretName" if value.as_str().is_some_and(|name| name.starts_with("inventory-")) => {
                        (value.as_str(), None)
                    }
                    _ => return,
                };
                let made = |line: &str| {
                    let words: Vec<&str> = line.split([' ', '=']).collect();
                    name.is_some_and(|name| words.contains(&name))
                };
                let command = guide.split("kubectl ").find(|command| made(command));
                let command = command.unwrap_or_else(|| panic!("{path}: no command makes the secret {name:?}"));
                assert!(command.contains(part.unwrap_or_default()), "{path}: {name:?} gets no key {part:?}");
            });
        }
    }
}

#[test]
fn a_wrong_setting_of_the_packaging_is_found() {
    let help = |command: &str, text: &str| Help { command: command.to_owned(), text: text.to_owned() };
    let helps = [
        help("inventory-grpc serve", "  --migrate <M>  [env: MIGRATE=]\n"),
        help("inventory-grpc health", "  --grpc-upstream <U>  [env: GRPC_UPSTREAM=]\n"),
    ];
    let files = [
        ("Dockerfile", "FROM a AS b\nENV MIGRATE=x GONE=1\nHEALTHCHECK CMD [\"/inventory-grpc\", \"healthy\"]\n"),
        (
            "a.service",
            "#   GRPC_UPSTREAM=x # y\nEnvironment=NO=1\nExecStart=/bin/inventory-grpc serve --migrate x --no y",
        ),
        ("b.yaml", "a: {image: inventory-grpc, command: [serve], environment: {MIGRATE: x, GRPC_UPSTREAM: y}}\n"),
        ("c.yaml", "a: {image: other, command: [x]}\n---\na: {image: inventory-grpc, command: [inventory-grpc, x]}\n"),
        ("d.yaml", "a: [\n"),
    ];
    let files: Vec<File> = files.map(|(path, text)| (path.to_owned(), text.to_owned())).to_vec();
    let found = setting_violations(&files, &helps);
    let expected = [
        "d.yaml:1: is no YAML",
        "Dockerfile:1: b: there is no command `inventory-grpc healthy`",
        "a.service:1: : `inventory-grpc serve` has no flag --no",
        "a.service:1: : `inventory-grpc serve` has no variable NO",
        "b.yaml:1: a: `inventory-grpc serve` has no variable GRPC_UPSTREAM",
        "c.yaml:1: a: there is no command `inventory-grpc x`",
    ];
    let as_expected = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| a.starts_with(b));
    assert!(as_expected, "{found:#?}");
}

#[test]
fn ports_and_labels_that_disagree_are_found() {
    let image = "FROM a AS inventory-grpc\nENV GRPC_LISTEN=0.0.0.0:1 ADMIN_LISTEN=0.0.0.0:2\nCMD [\"x\"]\n\
                 HEALTHCHECK CMD [\"/inventory-grpc\", \"health\"]\n";
    let compose = "services:\n  server: {image: inventory-grpc, command: [serve], ports: [\"3:3\", \"1:1\"]}\n  \
                   adapter: {image: wix-adapter, command: [serve], environment: {GRPC_UPSTREAM: \"server:2\"}}\n";
    let pod = "kind: D\nspec: {template: {metadata: {labels: {app: s}}, spec: {containers: [{name: server, \
               image: inventory-grpc, command: [inventory-grpc, serve], ports: [{name: grpc, containerPort: 4}], \
               readinessProbe: {grpc: {port: 5}}}]}}}\n---\nspec: {selector: {app: t}, ports: [{targetPort: http}]}\n";
    let set = "kind: StatefulSet\nmetadata: {name: s}\nspec: {serviceName: all, replicas: 2, template: {spec: \
               {containers: [{name: s, image: inventory-grpc, command: [inventory-grpc, serve]}]}}}\n---\n\
               spec: {template: {spec: {containers: [{name: a, image: wix-adapter, command: [wix-adapter, serve], \
               env: [{name: GRPC_UPSTREAM, value: \"s-0.all:1,s:1\"}]}]}}}\n";
    let scrape = "scrape_configs: [{job_name: a, static_configs: [{targets: [\"server:1\"]}]}]\n";
    let files = [
        ("Dockerfile", image),
        ("compose.yaml", compose),
        ("x/kubernetes/a.yaml", pod),
        ("y/set.yaml", set),
        ("prometheus.yml", scrape),
    ];
    let expected = [
        "compose.yaml:1: a published port is 3",
        "x/kubernetes/a.yaml:1: grpc is 4, but the program listens on Some(1)",
        "x/kubernetes/a.yaml:1: the port of a probe is 5",
        "y/set.yaml:1: GRPC_UPSTREAM does not name s-1.all",
        "prometheus.yml:1: the job of [\"server:1\"]",
        "compose.yaml:1: nothing in compose.yaml listens on server:2 (grpc)",
        "y/set.yaml:1: nothing in y/set.yaml listens on s:1 (grpc)",
        "prometheus.yml:1: nothing in compose.yaml listens on server:1 (metrics)",
    ];
    assert_fires(port_violations, &files, &expected);
    let expected = [
        "x/kubernetes/a.yaml:1: no container has a port named http",
        "x/kubernetes/a.yaml:1: no pod has the label app: t",
    ];
    assert_fires(selector_violations, &files, &expected);
}
