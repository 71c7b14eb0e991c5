//! One machine of the cluster: a Postgres and its Patroni. Both can be killed, frozen, and cut off.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, PoisonError};

use inventory_core::store::DatabaseUrl;

use super::config::{Patroni, patroni};
use super::folder::Folder;
use super::{at, port};
use crate::chaos::Link;
use crate::replica::{children, send};

/// Starts Patroni and adopts what it leaves behind, as the first process of a machine does. Patroni waits for the end
/// of a Postgres that is not its child, which it would not see if nobody took note of it.
const INIT: &str = "
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
patroni = os.spawnvp(os.P_NOWAIT, sys.argv[2], sys.argv[2:])
with open(sys.argv[1], 'w') as file:
    print(patroni, file=file)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
";

/// A Postgres and its Patroni.
pub struct Machine {
    /// Its name, `n0` and so on.
    pub name: String,
    pub(super) postgres: u16,
    pub(super) rest: u16,
    /// How others reach its Postgres.
    pub(super) postgres_link: Link,
    /// How others reach its Patroni.
    pub(super) rest_link: Link,
    /// How its Patroni reaches each etcd.
    pub(super) etcd_links: Vec<Link>,
    data: PathBuf,
    settings: PathBuf,
    process: PathBuf,
    inits: Mutex<Vec<Child>>,
}

/// How a link is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Break {
    /// Connections are closed, and new ones too.
    Cut,
    /// Connections stay open, and nothing comes through.
    Silent,
}

impl Machine {
    /// Writes the settings of a machine, and starts its links.
    pub(super) async fn new(index: usize, folder: &Folder, etcd: &[u16], api: &str) -> Self {
        let (name, postgres, rest) = (format!("n{index}"), port(), port());
        let (postgres_link, rest_link) = (Link::to(at(postgres)).await, Link::to(at(rest)).await);
        let mut etcd_links = Vec::new();
        for etcd in etcd {
            etcd_links.push(Link::to(at(*etcd)).await);
        }
        let etcd: Vec<u16> = etcd_links.iter().map(|link| link.address.port()).collect();
        let data = folder.path(&name);
        let settings = patroni(&Patroni {
            name: &name,
            rest: [rest, rest_link.address.port()],
            postgres: [postgres, postgres_link.address.port()],
            etcd: &etcd,
            api,
            data: &data,
            bin: folder.home.bin(),
            folder: &folder.home.folder,
        });
        let settings = folder.write(&format!("{name}.yml"), &settings);
        let process = folder.path(&format!("{name}.pid"));
        let inits = Mutex::new(Vec::new());
        Self { name, postgres, rest, postgres_link, rest_link, etcd_links, data, settings, process, inits }
    }

    /// Starts its Patroni, which starts its Postgres or adopts the one that runs.
    pub(super) fn start(&self, folder: &Folder) {
        let _ = std::fs::remove_file(&self.process);
        let mut init = folder.home.run("python3".as_ref());
        init.args(["-c", INIT]).arg(&self.process).arg("patroni").arg(&self.settings);
        let mut inits = self.inits.lock().unwrap_or_else(PoisonError::into_inner);
        // Those whose processes have all ended.
        inits.retain_mut(|init| !matches!(init.try_wait(), Ok(Some(_))));
        inits.push(folder.start(&self.name, init));
    }

    /// The database on its Postgres, reached without a link.
    pub fn url(&self) -> DatabaseUrl {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres?target_session_attrs=any", self.postgres);
        url.parse().expect("the URL is valid")
    }

    /// Lets frozen processes go on, repairs the links, and starts Patroni if it does not run.
    pub(super) fn heal(&self, folder: &Folder) {
        self.etcd_links.iter().chain([&self.postgres_link, &self.rest_link]).for_each(Link::restore);
        self.signal_postgres("CONT");
        self.signal_patroni("CONT");
        if self.patroni().is_empty() {
            self.start(folder);
        }
    }

    /// Sends a signal to Patroni.
    pub(super) fn signal_patroni(&self, signal: &str) {
        send(signal, &self.patroni());
    }

    /// Sends a signal to the first process of Postgres. The others end with it.
    pub(super) fn signal_postmaster(&self, signal: &str) {
        send(signal, &self.postmaster());
    }

    /// Sends a signal to all processes of Postgres.
    pub(super) fn signal_postgres(&self, signal: &str) {
        // The first process first: then it starts no more of them.
        self.signal_postmaster(signal);
        send(signal, &self.backends());
    }

    /// The processes that the first one started.
    pub(super) fn backends(&self) -> Vec<u32> {
        self.postmaster().into_iter().flat_map(children).collect()
    }

    fn postmaster(&self) -> Vec<u32> {
        self.process_in(&self.data.join("postmaster.pid"))
    }

    fn patroni(&self) -> Vec<u32> {
        self.process_in(&self.process)
    }

    /// The process whose id stands in the first line of a file. None if it has ended, whoever may have its id now.
    fn process_in(&self, file: &Path) -> Vec<u32> {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let id = text.lines().next().and_then(|line| line.trim().parse().ok());
        let ours = |id: &u32| {
            let works_in = std::fs::read_link(format!("/proc/{id}/cwd"));
            let folder = self.data.parent().expect("the cluster is in the folder");
            works_in.is_ok_and(|works_in| works_in.starts_with(folder))
        };
        id.filter(ours).into_iter().collect()
    }

    /// Breaks the links of Patroni to etcd.
    pub(super) fn cut_from_etcd(&self, how: Break) {
        self.etcd_links.iter().for_each(|link| break_(link, how));
    }

    /// Breaks the links of others to this machine.
    pub(super) fn cut_from_others(&self, how: Break) {
        [&self.postgres_link, &self.rest_link].into_iter().for_each(|link| break_(link, how));
    }
}

fn break_(link: &Link, how: Break) {
    match how {
        Break::Cut => link.cut(),
        Break::Silent => link.freeze(),
    }
}
