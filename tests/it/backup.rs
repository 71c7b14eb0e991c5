//! `backup`: a file with everything of a database on SQLite, taken while orders go on.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use inventory_core::store::{Backup, DatabaseUrl};
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_tests::archives::{JANUARY, archive_old_months};
use inventory_tests::books;
use inventory_tests::busy::Busy;
use inventory_tests::programs::{Running, grpc_server, program};
use inventory_tests::requests::{decrement, guid, increment};
use inventory_tests::tokens::channel_to;
use inventory_tests::world::{Backend, Database, World};

const CALLERS: usize = 8;
/// Orders that are answered before the backup begins.
const BEFORE: usize = 300;

fn run(args: &[&str]) -> Output {
    program("inventory-grpc").args(args).stdin(Stdio::null()).output().expect("the program starts")
}

fn backup(database: &Database, file: &Path) -> Output {
    run(&["backup", &file.display().to_string(), "--database-url", &database.text])
}

/// Why a backup failed.
fn error(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).expect("it prints text")
}

fn sqlite(file: &Path) -> (String, DatabaseUrl) {
    let text = format!("sqlite:{}", file.display());
    let url = text.parse().expect("the URL is valid");
    (text, url)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("the folder exists")
        .map(|file| file.expect("it can be read").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Orders of several callers, for as long as this lives.
struct Load {
    answered: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    callers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(address: std::net::SocketAddr, site: &str) -> Self {
        let (answered, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let caller = |_| {
            let mut client = AvailabilityServiceClient::new(channel_to(address));
            let (answered, stop, site) = (Arc::clone(&answered), Arc::clone(&stop), site.to_owned());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let order = increment(&site, &guid(), &[("A", 1), ("B", 2)]);
                    client.increment_availability(order.clone()).await.expect("the order is answered");
                    answered.lock().unwrap_or_else(PoisonError::into_inner).push(order.order_id.replace('-', ""));
                }
            })
        };
        let callers = (0..CALLERS).map(caller).collect();
        Self { answered, stop, callers }
    }

    /// The orders answered so far, once they are so many.
    async fn answered(&self, at_least: usize) -> Vec<String> {
        loop {
            let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if answered.len() >= at_least {
                return answered;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.expect("every order was answered");
        }
    }
}

/// The entries of a ledger up to a sequence number.
fn ledger(url: &DatabaseUrl, up_to: i64) -> Vec<String> {
    let columns = "sequence, change_sequence, previous_sequence, unit_id, location_id, delta, level_after";
    let columns = columns.split(", ").map(|name| format!("quote({name})")).collect::<Vec<_>>().join(" || ");
    books::lines(url, &format!("SELECT {columns} AS line FROM ledger WHERE sequence <= {up_to} ORDER BY sequence"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_a_prefix_with_every_order_answered_before() {
    let database = Database::fresh(Backend::Sqlite);
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let file = folder.path().join("monday.db");
    let (server, site) = (grpc_server(&database.text), guid());
    let load = Load::start(server.addresses[0], &site);
    let before = load.answered(BEFORE).await;
    let made = tokio::task::block_in_place(|| backup(&database, &file));
    let after = load.answered(0).await.len();
    // Orders go on after the backup too.
    load.answered(after + CALLERS + 1).await;
    load.stop().await;
    assert!(made.status.success(), "{made:?}");
    assert_eq!(names(folder.path()), ["monday.db"], "one file, and nothing beside it");

    let (text, url) = sqlite(&file);
    let up_to = books::count(&url, "SELECT sequence AS wrong FROM site");
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(said.contains(&format!("site {site}: up to sequence {up_to}\n")), "{said}");
    assert!(said.contains(&format!("monday.db: 1 sites, {up_to} entries, 2 levels: 0 differ\n")), "{said}");
    let copied = ledger(&url, i64::MAX);
    assert_eq!(copied.len() as i64, up_to);
    assert_eq!(copied, ledger(&database.url, up_to), "the ledger up to one moment");
    assert!(ledger(&database.url, i64::MAX).len() > copied.len(), "the database went on");
    let orders = books::lines(&url, "SELECT lower(hex(order_id)) AS line FROM change");
    let orders: HashSet<String> = orders.into_iter().collect();
    assert!(before.iter().all(|order| orders.contains(order)), "every order answered before is in it");
    books::prove(&url);

    // A server starts on it, as after a restore.
    let restored = grpc_server(&text);
    let mut availability = AvailabilityServiceClient::new(channel_to(restored.addresses[0]));
    let answer = availability.decrement_availability(decrement(&site, &[("A", 1)])).await.expect("there is enough");
    assert_eq!(answer.into_inner().sequence, up_to + 1);
    assert!(restored.terminate().success());
    books::prove(&url);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_has_everything() {
    let database = Database::fresh(Backend::Sqlite);
    let busy = Busy::fill(&database.text).await;
    let file = database.folder().join("backup.db");
    let made = backup(&database, &file);
    assert!(made.status.success(), "{made:?}");
    let (text, _) = sqlite(&file);
    let mut serve = program("inventory-grpc");
    serve.args(["serve", "--allow-anonymous", "--grpc-listen", "127.0.0.1:0", "--database-url", &text]);
    let server = Running::start(serve, 1);
    busy.replay(channel_to(server.addresses[0])).await;
    let tokens = |text: &str| run(&["token", "list", "--database-url", text]).stdout;
    assert_eq!(tokens(&text), tokens(&database.text));
}

/// Entries leave the database while a backup of them is made. That is nothing against the backup.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_may_hold_what_was_archived_meanwhile() {
    let world = World::start(Backend::Sqlite).await;
    world.clock.set(JANUARY);
    world.set(&[("A", 5)]).await;
    let (url, folder) = (&world.database.url, world.database.folder());
    let made =
        tokio::task::block_in_place(|| Backup::write(url, &folder.join("backup.db"))).expect("it can be written");
    archive_old_months(url, &world.database.text, &folder);
    assert_eq!(books::count(url, "SELECT count(*) AS wrong FROM ledger"), 0);
    tokio::task::block_in_place(|| made.check()).expect("nothing is wrong with it");
}

#[test]
fn a_backup_that_is_not_made_leaves_nothing() {
    let database = Database::fresh(Backend::Sqlite);
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let file = folder.path().join("a.db");
    let missing = error(backup(&database, &file));
    assert!(missing.contains("inventory.db: no such file"), "{missing}");
    let postgres = Database::fresh(Backend::Postgres);
    for database in [&database, &postgres] {
        assert!(run(&["migrate", "--database-url", &database.text]).status.success());
    }
    let told = error(backup(&postgres, &file));
    assert!(told.contains("only SQLite has such backups; for Postgres use pg_dump or pg_basebackup"), "{told}");
    let nowhere = error(backup(&database, &folder.path().join("nowhere/a.db")));
    assert!(nowhere.contains("nowhere/a.db.part: No such file or directory"), "{nowhere}");
    assert_eq!(names(folder.path()), [""; 0]);

    fs::write(&file, "precious").expect("the folder is writable");
    let exists = error(backup(&database, &file));
    assert!(exists.contains("a.db: exists; a backup never overwrites a file"), "{exists}");
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "precious");
    assert_eq!(names(folder.path()), ["a.db"]);
}
