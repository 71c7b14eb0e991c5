//! The cluster: its start, who is who in it, and when it is whole.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::config::haproxy;
use super::folder::{Folder, path};
use super::machine::Machine;
use super::{at, port};
use crate::books;
use crate::replica::send;

/// Servers of Postgres, and etcd.
const MACHINES: usize = 3;
/// Between two looks at the cluster.
const PAUSE: Duration = Duration::from_millis(100);
/// A Patroni that does not answer within this time says nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// A client of REST APIs.
type Http = Client<HttpConnector, Full<Bytes>>;

/// A running cluster. Everything ends when it is dropped.
pub struct Cluster {
    /// The servers, each with its Patroni.
    pub machines: Vec<Machine>,
    /// Where haproxy listens.
    pub haproxy: SocketAddr,
    etcd: Vec<Etcd>,
    http: Http,
    _haproxy: Child,
    folder: Folder,
}

/// One etcd. All ports stay the same when it starts again.
struct Etcd {
    name: String,
    arguments: Vec<String>,
    child: Mutex<Option<Child>>,
}

/// Who is who in a cluster that is whole.
#[derive(Clone, Copy)]
pub struct Roles<'a> {
    /// The server that takes writes.
    pub primary: &'a Machine,
    /// The standby for which commits wait.
    pub synchronous: &'a Machine,
    /// The other standby.
    pub other: &'a Machine,
}

impl Cluster {
    /// Starts everything. Returns when the cluster is whole. `api` is how Patroni speaks to etcd: `etcd` or `etcd3`.
    pub async fn start(api: &str) -> Self {
        let folder = Folder::new();
        for (program, version) in [("patroni", "--version"), ("etcd", "--version"), ("haproxy", "-v")] {
            folder.require(program, version);
        }
        let ports: Vec<[u16; 2]> = (0..MACHINES).map(|_| [port(), port()]).collect();
        let etcd: Vec<Etcd> = (0..MACHINES).map(|index| Etcd::new(index, &ports, &folder)).collect();
        etcd.iter().for_each(|etcd| etcd.heal(&folder));
        let clients: Vec<u16> = ports.iter().map(|[client, _]| *client).collect();
        let http = Client::builder(TokioExecutor::new()).build_http();
        etcd_agree(&http, &clients).await;
        let mut machines = Vec::new();
        for index in 0..MACHINES {
            machines.push(Machine::new(index, &folder, &clients, api).await);
        }
        machines.iter().for_each(|machine| machine.start(&folder));
        let haproxy_port = port();
        let servers: Vec<[u16; 2]> = machines
            .iter()
            .map(|machine| [&machine.postgres_link, &machine.rest_link].map(|link| link.address.port()))
            .collect();
        let settings = folder.write("haproxy.cfg", &haproxy(haproxy_port, &servers));
        let mut command = folder.home.run("haproxy".as_ref());
        command.args(["-db", "-f"]).arg(settings).env("PATH", path());
        let haproxy = folder.start("haproxy", command);
        let cluster = Self { machines, haproxy: at(haproxy_port), etcd, http, _haproxy: haproxy, folder };
        cluster.whole().await;
        cluster
    }

    /// The database by way of haproxy, and with all servers named in the URL.
    pub fn urls(&self) -> [String; 2] {
        let hosts: Vec<String> =
            self.machines.iter().map(|machine| machine.postgres_link.address.to_string()).collect();
        [self.haproxy.to_string(), hosts.join(",")].map(|hosts| format!("postgres://postgres@{hosts}/postgres"))
    }

    /// A folder in which processes end with the cluster.
    pub fn folder(&self) -> &Path {
        &self.folder.home.folder
    }

    /// Leaves the folder, with the logs and the databases, when everything ends.
    pub fn keep(&mut self) -> &Path {
        self.folder.keep()
    }

    /// Waits until the cluster is whole: one primary, and two standbys that copy it, one of them for every commit.
    pub async fn whole(&self) -> Roles<'_> {
        loop {
            if let Some(roles) = self.roles().await {
                return roles;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until one server takes writes, whether or not the cluster is whole.
    pub async fn primary(&self) -> &Machine {
        loop {
            if let Some(machine) = self.one_that_says("/primary").await {
                let sql = "SELECT (NOT pg_is_in_recovery())::int::bigint AS wrong";
                if self.counts(machine, sql).await == Some(1) {
                    return machine;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Who is who; `None` while the cluster is not whole.
    async fn roles(&self) -> Option<Roles<'_>> {
        let roles = Roles {
            primary: self.one_that_says("/primary").await?,
            synchronous: self.one_that_says("/synchronous").await?,
            other: self.one_that_says("/asynchronous").await?,
        };
        // After a promotion, any standby is good enough for a commit for a while. Then none can take over.
        let sql = format!(
            "SELECT count(*) * 10 + count(*) FILTER (WHERE sync_state = 'sync') AS wrong FROM pg_stat_replication \
             WHERE state = 'streaming' AND current_setting('synchronous_standby_names') = '{}'",
            roles.synchronous.name
        );
        (self.counts(roles.primary, &sql).await == Some(21)).then_some(roles)
    }

    /// The machine whose Patroni answers a GET with 200, if it is the only one.
    async fn one_that_says(&self, path: &str) -> Option<&Machine> {
        let asked = self.machines.iter().map(|machine| self.says(machine, path));
        let answers = futures_util::future::join_all(asked).await;
        let mut found = self.machines.iter().zip(answers).filter_map(|(machine, yes)| yes.then_some(machine));
        found.next().filter(|_| found.next().is_none())
    }

    /// What a query on a machine's Postgres counts; `None` if that is away.
    async fn counts(&self, machine: &Machine, sql: &str) -> Option<i64> {
        let (url, sql) = (machine.url(), sql.to_owned());
        tokio::task::spawn_blocking(move || books::count_if_up(&url, &sql)).await.ok().flatten()
    }

    /// Waits until a machine other than `old` is the primary.
    pub(super) async fn moved_from(&self, old: &Machine) -> &Machine {
        loop {
            for machine in self.machines.iter().filter(|machine| machine.name != old.name) {
                if self.says(machine, "/primary").await {
                    return machine;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until no machine says that it is the primary.
    pub(super) async fn without_primary(&self) {
        loop {
            let asked = self.machines.iter().map(|machine| self.says(machine, "/primary"));
            if !futures_util::future::join_all(asked).await.contains(&true) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until the commits of a primary wait for this standby.
    pub(super) async fn until_synchronous(&self, primary: &Machine, standby: &Machine) {
        let sql = "SELECT count(*) AS wrong FROM pg_stat_replication WHERE sync_state = 'sync' AND application_name";
        self.until(primary, &format!("{sql} = '{}'", standby.name)).await;
    }

    /// Waits until a query on a machine's Postgres counts something.
    pub(super) async fn until(&self, machine: &Machine, sql: &str) {
        loop {
            if self.counts(machine, sql).await.is_some_and(|count| count > 0) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether a machine's Patroni answers a GET with 200.
    async fn says(&self, machine: &Machine, path: &str) -> bool {
        let call = self.ask(machine, Method::GET, path, String::new());
        tokio::time::timeout(PATIENCE, call).await.is_ok_and(|status| status == Some(200))
    }

    /// Asks a machine's Patroni, without a link. Returns the status of its answer; `None` without one.
    pub(super) async fn ask(&self, machine: &Machine, method: Method, path: &str, body: String) -> Option<u16> {
        let request = Request::builder().method(method).uri(format!("http://{}{path}", at(machine.rest)));
        let request = request.header("content-type", "application/json").body(Full::new(Bytes::from(body)));
        let answer = self.http.request(request.expect("the request is valid")).await;
        answer.ok().map(|answer| answer.status().as_u16())
    }

    /// Undoes all faults: nothing is frozen or cut off, and everything runs.
    pub fn heal(&self) {
        self.etcd.iter().for_each(|etcd| etcd.heal(&self.folder));
        self.machines.iter().for_each(|machine| machine.heal(&self.folder));
    }

    /// How many etcd there are.
    pub(super) fn etcd_count(&self) -> usize {
        self.etcd.len()
    }

    /// Kills an etcd.
    pub(super) fn kill_etcd(&self, index: usize) {
        if let Some(mut child) = self.etcd[index].child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends a signal to an etcd.
    pub(super) fn signal_etcd(&self, index: usize, signal: &str) {
        self.etcd[index].signal(signal);
    }
}

impl Etcd {
    fn new(index: usize, ports: &[[u16; 2]], folder: &Folder) -> Self {
        let name = format!("etcd{index}");
        let [client, peer] = ports[index].map(|port| format!("http://{}", at(port)));
        let members = ports.iter().enumerate().map(|(index, [_, peer])| format!("etcd{index}=http://{}", at(*peer)));
        let members: Vec<String> = members.collect();
        let data = folder.path(&format!("{name}.data")).display().to_string();
        let members = members.join(",");
        let arguments = [
            ["--name", &name],
            ["--data-dir", &data],
            ["--listen-client-urls", &client],
            ["--advertise-client-urls", &client],
            ["--listen-peer-urls", &peer],
            ["--initial-advertise-peer-urls", &peer],
            ["--initial-cluster", &members],
            ["--log-level", "warn"],
        ];
        let arguments = arguments.concat().into_iter().chain(["--enable-v2"]).map(str::to_owned).collect();
        Self { name, arguments, child: Mutex::new(None) }
    }

    /// Lets it go on if it is frozen, and starts it if it does not run.
    fn heal(&self, folder: &Folder) {
        self.signal("CONT");
        self.child().get_or_insert_with(|| {
            let mut command = folder.home.run("etcd".as_ref());
            command.args(&self.arguments);
            folder.start(&self.name, command)
        });
    }

    fn signal(&self, signal: &str) {
        send(signal, &self.child().iter().map(Child::id).collect::<Vec<_>>());
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until the etcd agree on a version. Patroni gives up if it finds none.
async fn etcd_agree(http: &Http, ports: &[u16]) {
    for port in ports {
        loop {
            let url = format!("http://{}/version", at(*port)).parse().expect("the URL is valid");
            let body = match http.get(url).await {
                Ok(answer) => answer.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default(),
                Err(_) => Bytes::new(),
            };
            let version: Value = serde_json::from_slice(&body).unwrap_or_default();
            if version["etcdcluster"].as_str().is_some_and(|version| version != "not_decided") {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
