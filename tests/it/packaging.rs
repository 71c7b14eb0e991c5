//! What operators install works: the steps of compose.yaml in their order, without containers, and the units.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use inventory_core::store::DatabaseUrl;
use inventory_tests::books;
use inventory_tests::packaging::{Start, starts_in_yaml, yaml};
use inventory_tests::postgres::{Durability, fresh_database};
use inventory_tests::programs::{Running, finish_saying, program};
use inventory_tests::requests::guid;
use inventory_tests::test_keys::app_key;
use inventory_tests::wix_caller::{APP_ID, WixCaller, item, order};
use serde_json::json;
use tempfile::TempDir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs a command to its end, which must be a success. Returns all of its output.
fn succeed(command: Command) -> String {
    let (code, text) = finish_saying(command);
    assert_eq!(code, 0, "{text}");
    text
}

/// The services of compose.yaml, with the names of this run instead of those of the file: roles belong to the whole
/// Postgres of the tests.
struct Compose {
    services: Vec<Start>,
    folder: TempDir,
    owner: String,
    role: String,
    host: String,
}

impl Compose {
    fn read(host: &str) -> Self {
        let path = "compose.yaml";
        let services = starts_in_yaml(path, &yaml(path, &read(path)).expect("it is YAML"));
        let id = guid()[..8].to_owned();
        let folder = TempDir::new().expect("the temporary folder is writable");
        fs::write(folder.path().join("wix-public-key"), &app_key().public).expect("the file can be written");
        let (owner, role) = (format!("owner_{id}"), format!("role_{id}"));
        Self { services, folder, owner, role, host: host.to_owned() }
    }

    /// A text of the files with this run's names, addresses and paths.
    fn here(&self, text: &str) -> String {
        let folder = self.folder.path().display().to_string();
        text.replace("inventory_owner", &self.owner)
            .replace("/run/inventory", &folder)
            .replace("/run/secrets", &folder)
            .replace("${WIX_APP_ID:?write it to .env}", APP_ID)
            .replace("${OWNER_PASSWORD:?write it to .env}", "secret")
            .replace("${SERVICE_PASSWORD:?write it to .env}", "secret")
            .replace("@postgres/inventory", &format!("@{}/{}", self.host, self.role))
            .replace("postgres://inventory:", &format!("postgres://{}:", self.role))
    }

    /// The command of a service.
    fn service(&self, name: &str) -> Command {
        let service = self.services.iter().find(|service| service.name == name);
        let Start { program: name, arguments, variables, .. } = service.unwrap_or_else(|| panic!("no service {name}"));
        let mut command = program(name);
        command
            .args(arguments.iter().map(|word| if word == "inventory" { self.role.clone() } else { self.here(word) }));
        command.envs(variables.iter().map(|(name, value)| (name, self.here(value))));
        command
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_steps_of_compose_make_a_service_that_takes_orders() {
    let administrator = fresh_database(Durability::None);
    let (_, address) = administrator.split_once('@').expect("the URL has a user");
    let compose = Compose::read(address.split_once('/').expect("the URL has a database").0);
    let as_administrator: DatabaseUrl = administrator.parse().expect("the URL is valid");
    // psql would read the passwords from the environment.
    let roles = read("inventory-grpc/operations/postgres/roles.sql").replace("inventory_owner", &compose.owner);
    let roles = roles.replace("inventory", &compose.role);
    let roles = roles.replace(":'owner_password'", "'secret'").replace(":'service_password'", "'secret'");
    for statement in roles.lines().filter(|line| !line.starts_with("--") && !line.starts_with('\\')) {
        books::execute(&as_administrator, statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    // Both commands of the owner run again with each start.
    for _ in 0..2 {
        assert!(succeed(compose.service("migrate")).contains("may run the service"));
        succeed(compose.service("token"));
    }
    let mut serve = compose.service("inventory-grpc");
    serve.env("GRPC_LISTEN", "0.0.0.0:0");
    let server = Running::start(serve, 1);
    let grpc = format!("127.0.0.1:{}", server.addresses[0].port());
    let mut serve = compose.service("wix-adapter");
    serve.env("HTTP_LISTEN", "0.0.0.0:0").env("GRPC_UPSTREAM", &grpc);
    let adapter = Running::start(serve, 1);
    let wix = WixCaller::new(([127, 0, 0, 1], adapter.addresses[0].port()).into());
    let order = order(&guid(), json!([item("A", 1)]));
    assert_eq!(wix.call("increment", order).await.status, 200);
    let owner: DatabaseUrl = compose.here("postgres://inventory_owner@postgres/inventory").parse().expect("valid");
    assert_eq!(books::lines(&owner, "SELECT DISTINCT actor AS line FROM change"), ["wix-adapter"]);
    books::prove(&owner);
    // Nobody else of this Postgres gets into the database.
    drop((adapter, server));
    let stranger = format!("stranger_{}", &guid()[..8]);
    books::script(&as_administrator, &format!("CREATE ROLE {stranger} LOGIN"));
    let mut list = program("inventory-grpc");
    list.args(["token", "list", "--database-url"]);
    list.arg(compose.here("postgres://inventory_owner@postgres/inventory").replace(&compose.owner, &stranger));
    let (code, said) = finish_saying(list);
    assert!(code == 1 && said.contains("permission denied for database"), "{said}");
}

/// Postgres asks again for a segment of its log if it crashed before it noted that the segment was archived.
#[test]
fn a_segment_is_archived_once_and_never_replaced() {
    let folder = TempDir::new().expect("the temporary folder is writable");
    let [segment, archived, part] = ["segment", "archived", "archived.part"].map(|name| folder.path().join(name));
    let archive = || {
        let mut command = Command::new("sh");
        command.arg(root().join("inventory-grpc/operations/postgres/archive-wal")).args([&segment, &archived]);
        finish_saying(command)
    };
    let write = |path: &Path, content: &str| fs::write(path, content).expect("the folder is writable");
    write(&segment, "a segment");
    write(&part, "a seg");
    for time in ["first", "second"] {
        let (code, said) = archive();
        assert_eq!(code, 0, "the {time} time: {said}");
        assert_eq!(fs::read_to_string(&archived).expect("it is there"), "a segment", "the {time} time");
    }
    assert!(!part.exists());
    write(&segment, "that of another database");
    let (code, said) = archive();
    assert_ne!(code, 0, "{said}");
    assert_eq!(fs::read_to_string(&archived).expect("it is there"), "a segment");
}

/// The units of systemd, with the folder of the real programs.
fn units() -> (TempDir, Vec<PathBuf>) {
    let folder = TempDir::new().expect("the temporary folder is writable");
    let programs = program("inventory-grpc");
    let programs = Path::new(programs.get_program()).parent().expect("the program is in a folder").to_owned();
    let sources = fs::read_dir(root().join("inventory-grpc/operations/systemd")).expect("the folder exists");
    let units: Vec<PathBuf> = sources
        .flatten()
        .filter(|source| source.path().extension().is_some_and(|ending| ending == "service"))
        .map(|source| {
            let text = fs::read_to_string(source.path()).expect("it is text");
            let unit = folder.path().join(source.file_name());
            let text = text.replace("ExecStart=/usr/local/bin", &format!("ExecStart={}", programs.display()));
            fs::write(&unit, text).expect("writable");
            unit
        })
        .collect();
    assert_eq!(units.len(), 3);
    (folder, units)
}

/// The most exposure that a unit may have by `systemd-analyze security`, in tenths: 100 is the worst.
const EXPOSURE_MAX: u32 = 15;

#[test]
fn systemd_accepts_the_units_and_finds_them_closed() {
    let help = Command::new("systemd-analyze").arg("--help").output();
    let Some(help) = help.ok().filter(|help| String::from_utf8_lossy(&help.stdout).contains("--offline")) else {
        println!("no systemd-analyze that works offline: the units are not checked");
        return;
    };
    assert!(help.status.success());
    let (_folder, units) = units();
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no"]).args(&units);
    let said = succeed(verify);
    assert!(said.is_empty(), "{said}");
    for unit in &units {
        let mut security = Command::new("systemd-analyze");
        security.args(["security", "--no-pager", "--offline=true", &format!("--threshold={EXPOSURE_MAX}")]).arg(unit);
        succeed(security);
    }
}
