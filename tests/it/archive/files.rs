//! Files and database while something else happens: the command is killed, a verification is under way, or the database
//! is an older one than that of the files.

use std::fs;
use std::path::Path;

use inventory_core::engine::retention::Keeper;
use inventory_core::model::error::{Error, Invalid};
use inventory_core::model::ids::SiteId;
use inventory_core::reports::verify::{VerifyError, verify};
use inventory_core::store::{Open, Store};
use inventory_tests::archives::{self, FEBRUARY, JANUARY, MARCH, forget_outcomes};
use inventory_tests::books;
use inventory_tests::on_both;
use inventory_tests::programs::{finish_saying, program};
use inventory_tests::requests::{set, set_item};
use inventory_tests::world::{Backend, Database, World};

use super::{ENTRIES, archive, fill};

on_both!(
    an_archive_that_was_interrupted_goes_on,
    what_replays_needed_is_archived_by_a_later_run,
    a_verification_says_that_entries_were_archived_meanwhile,
);

fn site_id(world: &World) -> SiteId {
    SiteId::from_uuid(world.site.parse().expect("a GUID"))
}

/// A store of the test beside the servers.
async fn store(world: &World) -> Store {
    let url = world.database.url.clone();
    tokio::task::spawn_blocking(|| Store::open(url, Open::AsIs)).await.expect("no panic").expect("the store opens")
}

async fn a_verification_says_that_entries_were_archived_meanwhile(world: World) {
    fill(&world).await;
    forget_outcomes(&world.database.url);
    let (opened, site) = (store(&world).await, site_id(&world));
    // Before the first entry is read, those of January go.
    let mut keeper = Some(Keeper::connect(&opened).expect("the database takes changes"));
    let meanwhile = async |_| {
        if let Some(mut keeper) = keeper.take() {
            let archived = tokio::task::spawn_blocking(move || keeper.archive(site, 4)).await.expect("no panic");
            assert_eq!(archived.expect("a step"), 4);
        }
        true
    };
    match verify(&opened, site, meanwhile).await {
        Err(VerifyError::Read(Error::Invalid(Invalid::Archived { cut: 4 }))) => {}
        other => panic!("entries were archived: {other:?}"),
    }
    let verified = verify(&opened, site, async |_| true).await.expect("nothing is archived meanwhile");
    assert_eq!((verified.cut, verified.entries, verified.differences.len()), (4, ENTRIES - 4, 0));
    // Entries whose outcomes are forgotten do not stay.
    assert_eq!(finish_saying(archive(&world, &world.database.folder())).0, 0);
}

async fn an_archive_that_was_interrupted_goes_on(world: World) {
    world.clock.set(JANUARY);
    let items = |change: i64| (0..1_000).map(|item| set_item(&format!("item-{item:03}"), change + 1)).collect();
    for change in 0..7 {
        world.stock().set_stock(set(&world.site, items(change))).await.expect("the levels can be set");
    }
    world.clock.set(MARCH);
    world.stock().set_stock(set(&world.site, items(9))).await.expect("the levels can be set");
    forget_outcomes(&world.database.url);
    let (folder, entries) = (world.database.folder(), "SELECT count(*) AS wrong FROM ledger");
    let files = folder.join("before-2020-03");

    // Killed while it wrote: some file is there, and no manifest. It writes all of them anew.
    fs::create_dir(&files).expect("the folder is writable");
    fs::write(files.join("ledger-2019-12.csv"), "half a fi").expect("the folder is writable");
    fs::write(files.join("sites.csv"), "site_id").expect("the folder is writable");
    // Killed as soon as the manifest is there, while somebody else holds the site: nothing is removed.
    let mut holder = books::Holder::of(&world.database.url, &world.site);
    killed_at_the_manifest(&world, &folder, &files);
    holder.release();
    assert!(!files.join("ledger-2019-12.csv").exists());
    assert_eq!(books::count(&world.database.url, entries), 8_000);

    // Files that changed, and another database, are refused. Nothing is removed.
    let month = files.join("ledger-2020-01.csv");
    let whole = fs::read(&month).expect("the file is there");
    fs::write(&month, &whole[..whole.len() - 1]).expect("the folder is writable");
    let (code, said) = finish_saying(archive(&world, &folder));
    assert!(code == 1 && said.contains("ledger-2020-01.csv is not the file that manifest.json lists"), "{said}");
    fs::write(&month, &whole).expect("the folder is writable");
    let other = Database::fresh(Backend::Sqlite);
    Store::migrate(&other.url).expect("a new database");
    let (code, said) = finish_saying(archives::archive(&other.text, "2020-03", &folder));
    assert!(code == 1 && said.contains("another one in this database"), "{said}");
    assert_eq!(books::count(&world.database.url, entries), 8_000);

    // Killed between two steps: the books are right after each of them.
    let (opened, site) = (store(&world).await, site_id(&world));
    let step = tokio::task::spawn_blocking(move || Keeper::connect(&opened)?.archive(site, 7_000));
    assert_eq!(step.await.expect("no panic").expect("a step"), 2_000);
    let result = world.verify(false).await;
    assert_eq!((result.difference_count, result.entries, result.archived_sequence), (0, 6_000, 2_000));
    let (code, said) = finish_saying(archive(&world, &folder));
    assert!(code == 0 && said.contains("7000 entries of 1 sites; 5000 of them"), "{said}");
    assert_eq!(books::count(&world.database.url, entries), 1_000);
    assert_eq!(fs::read(&month).expect("the file is there"), whole, "complete files are not written again");
    let result = world.verify(false).await;
    assert_eq!((result.difference_count, result.levels, result.archived_sequence), (0, 1_000, 7_000));
}

/// The entries of the requests that are recorded stay at first. The same command archives them when they may go, also
/// if it was killed meanwhile, and leaves the files of the first run as they are.
async fn what_replays_needed_is_archived_by_a_later_run(world: World) {
    fill(&world).await;
    let forget = format!("DELETE FROM request WHERE recorded_at < {FEBRUARY}");
    books::execute(&world.database.url, &forget).expect("outcomes can be deleted");
    let (folder, left) = (world.database.folder(), || world.entries());
    let (first, further) = (folder.join("before-2020-03"), folder.join("before-2020-03-2"));
    let (code, said) = finish_saying(archive(&world, &folder));
    assert!(code == 0 && said.contains("4 entries of 1 sites; 4 of them"), "{said}");
    assert!(said.contains("1 sites keep entries that the replays"), "{said}");
    assert_eq!(left().await.len() as i64, ENTRIES - 4);

    // Nothing more may go yet, and it says why.
    let (code, said) = finish_saying(archive(&world, &folder));
    assert!(code == 0 && said.contains("1 sites keep entries that the replays"), "{said}");
    assert!(said.contains("no entry before 2020-03") && !further.exists(), "{said}");

    // Killed while it wrote, and then as soon as its manifest is there: it goes on.
    forget_outcomes(&world.database.url);
    let manifest = fs::read(first.join("manifest.json")).expect("the file is there");
    fs::create_dir(&further).expect("the folder is writable");
    fs::write(further.join("ledger-2020-01.csv"), "half a fi").expect("the folder is writable");
    let mut holder = books::Holder::of(&world.database.url, &world.site);
    killed_at_the_manifest(&world, &folder, &further);
    holder.release();
    assert_eq!(left().await.len() as i64, ENTRIES - 4);
    let (code, said) = finish_saying(archive(&world, &folder));
    assert!(code == 0 && said.contains("before-2020-03-2: 2 entries of 1 sites; 2 of them"), "{said}");
    assert_eq!(left().await.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [7, 8]);

    let files = ["ledger-2020-01.csv", "ledger-2020-02.csv"].map(|name| (first.join(name), further.join(name)));
    assert_eq!(files.map(|(first, further)| (first.exists(), further.exists())), [(true, false), (false, true)]);
    assert_eq!(fs::read(first.join("manifest.json")).expect("the file is there"), manifest);
    let (code, said) = finish_saying(archive(&world, &folder));
    assert!(code == 0 && said.contains("no entry before 2020-03"), "{said}");
    let result = world.verify(false).await;
    assert_eq!((result.difference_count, result.entries, result.archived_sequence), (0, 2, 6));
}

/// Runs the command while somebody holds the site, and kills it as soon as `files` has a manifest: nothing is removed.
fn killed_at_the_manifest(world: &World, folder: &Path, files: &Path) {
    let mut killed = archive(world, folder).spawn().expect("the program starts");
    while !files.join("manifest.json").exists() {
        assert!(killed.try_wait().expect("a child").is_none(), "it ended without a manifest");
        std::thread::yield_now();
    }
    killed.kill().expect("the program can be killed");
    killed.wait().expect("the program ends");
}

/// What the files of a month lack, because an earlier archive has it, stays in a database that still has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_needs_the_earlier_archive_first() {
    let world = World::start(Backend::Sqlite).await;
    fill(&world).await;
    forget_outcomes(&world.database.url);
    let folder = world.database.folder();
    let restored = folder.join("restored.db");
    let mut backup = program("inventory-grpc");
    backup.arg("backup").arg(&restored).args(["--database-url", &world.database.text]);
    assert_eq!(finish_saying(backup).0, 0);
    let archive = |database: &str, month: &str| finish_saying(archives::archive(database, month, &folder));
    for month in ["2020-02", "2020-03"] {
        let (code, said) = archive(&world.database.text, month);
        assert_eq!(code, 0, "{said}");
    }

    let restored = format!("sqlite:{}", restored.display());
    let url = restored.parse().expect("the URL is valid");
    let left = || books::count(&url, "SELECT count(*) AS wrong FROM ledger");
    let (code, said) = archive(&restored, "2020-03");
    let expected =
        format!("site {}: these files begin after entry 4, and the database still has those after 0", world.site);
    assert!(code == 1 && said.contains(&expected), "{said}");
    assert_eq!(left(), ENTRIES);
    for (month, entries) in [("2020-02", ENTRIES - 4), ("2020-03", ENTRIES - 6)] {
        let (code, said) = archive(&restored, month);
        assert_eq!((code, left()), (0, entries), "{said}");
    }
}
