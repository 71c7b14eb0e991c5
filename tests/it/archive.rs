//! Old entries are archived: files hold them, and what is left in the database is still right and can be proved.

mod files;

use std::fs;
use std::path::Path;
use std::process::Command;

use inventory_proto::v1;
use inventory_tests::archives::{self, FEBRUARY, JANUARY, MARCH};
use inventory_tests::books;
use inventory_tests::errors::{error, error_of};
use inventory_tests::on_both;
use inventory_tests::programs::{finish_saying, program};
use inventory_tests::requests::{adjust, clip, decrement, guid, increment, reference, set, set_item};
use inventory_tests::test_clock::timestamp;
use inventory_tests::wix_caller::CATALOG;
use inventory_tests::world::World;
use tonic::{Code, Status};

on_both!(
    the_rest_is_proved_after_old_months_are_archived,
    questions_that_reach_before_the_cut_name_it,
    orders_hold_what_they_took_before_the_cut,
    a_long_chain_is_read_up_to_the_cut,
    a_level_without_entries_of_its_own_is_explained_where_it_is,
);

fn archive(world: &World, folder: &Path) -> Command {
    archives::archive(&world.database.text, "2020-03", folder)
}

/// Archives what is from before March.
fn archived(world: &World) {
    archives::archive_old_months(&world.database.url, &world.database.text, &world.database.folder());
}

async fn take(world: &World, order_id: &str, items: &[(&str, i64)]) {
    let request = v1::DecrementAvailabilityRequest { order_id: order_id.into(), ..decrement(&world.site, items) };
    world.availability().decrement_availability(request).await.expect("there is stock");
}

async fn give_back(world: &World, order_id: &str, items: &[(&str, i64)]) {
    let request = increment(&world.site, order_id, items);
    world.availability().increment_availability(request).await.expect("stock can come back");
}

/// The first order of the filled site. It takes 3 of A and 1 of B in January, and gives 1 of A back in February.
const ORDER: &str = "0a0a0a0a-0000-4000-8000-000000000001";
/// The last entry before March, and all entries.
const CUT: i64 = 6;
const ENTRIES: i64 = 8;

/// Fills the site: 6 entries before March, and 2 in March. In the end A is 102, and B 9.
async fn fill(world: &World) {
    world.clock.set(JANUARY);
    world.set(&[("A", 100), ("B", 10)]).await;
    take(world, ORDER, &[("A", 3), ("B", 1)]).await;
    world.clock.set(FEBRUARY);
    give_back(world, ORDER, &[("A", 1)]).await;
    take(world, &guid(), &[("A", 1)]).await;
    world.clock.set(MARCH);
    world.stock().adjust_stock(adjust(&world.site, &[("A", 7)])).await.expect("levels can be adjusted");
    take(world, &guid(), &[("A", 2)]).await;
}

async fn the_rest_is_proved_after_old_months_are_archived(world: World) {
    fill(&world).await;
    let folder = world.database.folder();
    let (code, said) = finish_saying(archive(&world, &folder));
    assert!(code == 0 && said.contains("1 sites keep entries that the replays"), "{said}");
    assert_eq!(world.entries().await.len() as i64, ENTRIES);

    archived(&world);
    let files = folder.join("before-2020-03");
    let lines = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(files.join(name)).expect(name);
        text.lines().map(str::to_owned).collect()
    };
    let (january, february) = (lines("ledger-2020-01.csv"), lines("ledger-2020-02.csv"));
    assert!(january[0].starts_with("site_id,sequence,record_time,") && january[0].ends_with("subscription_item"));
    assert_eq!((january.len(), february.len()), (1 + 4, 1 + 2));
    assert!(january[3].starts_with(&format!("{},3,2020-01-15", world.site)), "{january:?}");
    assert!(january[3].contains(ORDER), "{january:?}");
    assert_eq!(lines("sites.csv").len(), 2);
    let manifest: serde_json::Value =
        serde_json::from_str(&lines("manifest.json").join("\n")).expect("the manifest is JSON");
    assert_eq!((manifest["months"][0]["rows"].as_u64(), manifest["months"][1]["rows"].as_u64()), (Some(4), Some(2)));

    let entries = world.entries().await;
    assert_eq!(entries.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [7, 8]);
    let result = world.verify(false).await;
    assert_eq!((result.difference_count, result.entries, result.levels), (0, ENTRIES - CUT, 2));
    assert_eq!(result.archived_sequence, CUT);
    assert_eq!((world.level("A").await, world.level("B").await), (102, 9));

    // What is wrong is still found: a level with entries after the cut, and one without.
    for (item, right, wrong) in [("A", 102, 50), ("B", 9, 8)] {
        let alter = |from, to| format!("UPDATE level SET available = {to} WHERE available = {from}");
        assert_eq!(books::execute(&world.database.url, &alter(right, wrong)), Ok(1));
        let found = world.verify(false).await.differences;
        assert_eq!(found.len(), 1, "{item}");
        assert_eq!((found[0].available, found[0].recomputed), (wrong, right), "{item}");
        assert_eq!(books::execute(&world.database.url, &alter(wrong, right)), Ok(1));
    }

    // Nobody removes more, and the command finds nothing more.
    for table in ["ledger", "change"] {
        let refused = books::execute(&world.database.url, &format!("DELETE FROM {table}")).expect_err(table);
        assert!(refused.to_string().contains("never changed or removed"), "{refused}");
    }
    let (code, said) = finish_saying(archive(&world, &folder));
    assert!(code == 0 && said.contains("6 entries of 1 sites; 0 of them"), "{said}");
    let (code, said) = finish_saying(archive(&world, &folder.join("other")));
    assert!(code == 0 && said.contains("no entry before 2020-03"), "{said}");
    assert!(!folder.join("other").exists());
    world.set(&[("A", 1), ("B", 2)]).await;
    let result = world.verify(false).await;
    assert_eq!((result.difference_count, result.entries), (0, 4));
}

/// The error of a request that reaches before the cut. Its text names the cut.
fn assert_archived(what: &str, status: &Status) {
    assert_eq!(error_of(status), error(Code::FailedPrecondition, "ENTRIES_ARCHIVED", ""), "{what}");
    assert!(status.message().contains(&format!("up to {CUT} are archived")), "{what}: {status:?}");
}

async fn questions_that_reach_before_the_cut_name_it(world: World) {
    fill(&world).await;
    archived(&world);
    let list = || v1::ListEntriesRequest { site_id: world.site.clone(), ..Default::default() };
    let whole = world.ledger().list_entries(list()).await.expect("entries can be read").into_inner();
    assert_eq!((whole.entries.len() as i64, whole.archived_sequence), (ENTRIES - CUT, CUT));
    let start = |micros| v1::ListEntriesRequest { start_time: Some(timestamp(micros)), ..list() };
    let end = |micros| v1::ListEntriesRequest { end_time: Some(timestamp(micros)), ..list() };
    let rows = [
        ("after an archived entry", v1::ListEntriesRequest { after_sequence: CUT - 1, ..list() }, None),
        ("after the cut", v1::ListEntriesRequest { after_sequence: CUT, ..list() }, Some(2)),
        ("up to the cut", v1::ListEntriesRequest { up_to_sequence: CUT, ..list() }, None),
        ("up to the first entry that is left", v1::ListEntriesRequest { up_to_sequence: CUT + 1, ..list() }, Some(1)),
        ("of a unit", v1::ListEntriesRequest { unit: reference("A"), ..list() }, Some(2)),
        ("of a unit without entries", v1::ListEntriesRequest { unit: reference("B"), ..list() }, Some(0)),
        ("newest first", v1::ListEntriesRequest { newest_first: true, ..list() }, Some(2)),
        ("from January on", start(JANUARY), None),
        ("from February on", start(FEBRUARY), None),
        ("from March on", start(MARCH), Some(2)),
        ("before February", end(FEBRUARY), None),
        ("before March", end(MARCH), None),
        ("before a later time", end(MARCH + 1), Some(2)),
    ];
    for (what, request, expected) in rows {
        match (world.ledger().list_entries(request).await, expected) {
            (Ok(answer), Some(expected)) => assert_eq!(answer.into_inner().entries.len(), expected, "{what}"),
            (Err(status), None) => assert_archived(what, &status),
            (answer, expected) => panic!("{what}: {answer:?}, expected {expected:?}"),
        }
    }

    let explain = |item: &str, at_sequence, at_time| {
        let (site_id, unit) = (world.site.clone(), reference(item));
        let request = v1::ExplainLevelRequest { site_id, unit, at_sequence, at_time, ..Default::default() };
        let mut client = world.ledger();
        async move { client.explain_level(request).await.map(tonic::Response::into_inner) }
    };
    // The level, its last entry, the level before the explained ones, and their number.
    for (what, item, at_sequence, expected) in [
        ("now", "A", 0, (102, 8, 97, 2)),
        ("between", "A", 7, (104, 7, 97, 1)),
        ("at the cut", "A", CUT, (97, 6, 97, 0)),
        ("all entries are archived", "B", 0, (9, 4, 9, 0)),
        ("never written", "C", 0, (0, 0, 0, 0)),
    ] {
        let found = explain(item, at_sequence, None).await.expect(what);
        let numbers = (found.available, found.sequence, found.available_before, found.explained_entries);
        assert_eq!((numbers, found.archived_sequence), (expected, CUT), "{what}");
    }
    assert_archived("explained before the cut", &explain("A", CUT - 1, None).await.expect_err("archived"));
    let before = explain("A", 0, Some(timestamp(FEBRUARY - 1))).await.expect_err("archived");
    assert_archived("explained before the last archived entry", &before);
    assert_eq!(explain("A", 0, Some(timestamp(FEBRUARY))).await.expect("known").available, 97);
    assert_eq!(explain("A", 0, Some(timestamp(MARCH))).await.expect("known").available, 102);

    let watch = |after_sequence| {
        let request = v1::WatchEntriesRequest { site_id: world.site.clone(), after_sequence };
        let mut client = world.ledger();
        async move { client.watch_entries(request).await.expect("a stream").into_inner().message().await }
    };
    assert_archived("watched from the beginning", &watch(0).await.expect_err("archived"));
    assert_archived("watched before the cut", &watch(CUT - 1).await.expect_err("archived"));
    let first = watch(CUT).await.expect("entries").expect("a message");
    assert_eq!((first.entries.len(), first.sequence), (2, ENTRIES));

    let counted = |as_of_sequence| {
        let item = v1::SetStockItem { as_of_sequence, ..set_item("A", 90) };
        let mut client = world.stock();
        let request = set(&world.site, vec![item]);
        async move { client.set_stock(request).await }
    };
    let refused = counted(CUT - 1).await.expect_err("archived");
    assert_eq!(error_of(&refused), error(Code::InvalidArgument, "INVALID_FIELD", "items[0].as_of_sequence"));
    assert!(refused.message().contains(&format!("up to {CUT} are archived")), "{refused:?}");
    counted(CUT).await.expect("the level is known");
    // Counted 90 where it was 97, and 102 now.
    assert_eq!(world.level("A").await, 95);
    let item = v1::SetStockItem { as_of_sequence: ENTRIES, ..set_item("B", 4) };
    world.stock().set_stock(set(&world.site, vec![item])).await.expect("the level is known");
    assert_eq!((world.level("B").await, world.verify(false).await.difference_count), (4, 0));
}

async fn orders_hold_what_they_took_before_the_cut(world: World) {
    fill(&world).await;
    archived(&world);
    let get = |order_id: &str| {
        let request =
            v1::GetOrderRequest { site_id: world.site.clone(), order_id: order_id.into(), ..Default::default() };
        let mut client = world.ledger();
        async move { client.get_order(request).await.expect("the order is known").into_inner() }
    };
    let net = |order: &v1::GetOrderResponse| {
        let line = |line: &v1::OrderLine| {
            let item = line.catalog_reference.as_ref().map(|unit| unit.catalog_item_id.clone()).unwrap_or_default();
            (item, line.taken, line.returned, line.net)
        };
        let mut lines: Vec<_> = order.lines.iter().map(line).collect();
        lines.sort();
        lines
    };
    let order = get(ORDER).await;
    assert_eq!(net(&order), [("A".to_owned(), 3, 1, 2), ("B".to_owned(), 1, 0, 1)]);
    assert_eq!((order.entry_count, order.calls.len(), order.archived_sequence), (0, 0, CUT));

    // The order holds 2 of A: so many come back without a mark, and no more.
    give_back(&world, ORDER, &[("A", 2)]).await;
    give_back(&world, ORDER, &[("B", 2)]).await;
    let entries = world.entries().await;
    let marks: Vec<Vec<i32>> = entries[2..].iter().map(|entry| entry.marks.clone()).collect();
    assert_eq!(marks, [vec![], vec![i32::from(v1::Mark::OverReturn)]]);
    world.configure_site(clip()).await.expect("the policy can be set");
    give_back(&world, ORDER, &[("A", 1)]).await;
    let last = world.entries().await.pop().expect("an entry");
    assert_eq!((last.delta, last.marks), (0, vec![i32::from(v1::Mark::OverReturn)]));
    let order = get(ORDER).await;
    assert_eq!(net(&order), [("A".to_owned(), 3, 3, 0), ("B".to_owned(), 1, 2, -1)]);
    assert_eq!((order.entry_count, order.calls.len(), order.archived_sequence), (3, 3, CUT));

    let new = guid();
    take(&world, &new, &[("A", 1)]).await;
    let order = get(&new).await;
    assert_eq!((order.entry_count, order.archived_sequence), (1, 0));
}

/// Waypoints are removed with their entries, and pages of a unit still end in time and are complete.
async fn a_long_chain_is_read_up_to_the_cut(world: World) {
    world.clock.set(JANUARY);
    let add = async || {
        world.stock().adjust_stock(adjust(&world.site, &[("A", 1)])).await.expect("levels can be adjusted");
    };
    for _ in 0..150 {
        add().await;
    }
    world.clock.set(MARCH);
    for _ in 0..150 {
        add().await;
    }
    archived(&world);
    assert_eq!(books::count(&world.database.url, "SELECT count(*) AS wrong FROM waypoint"), 2);
    for newest_first in [false, true] {
        for (after_sequence, expected) in [(0, 151..=300), (150, 151..=300), (191, 192..=300), (256, 257..=300)] {
            let unit = reference("A");
            let list =
                v1::ListEntriesRequest { unit, after_sequence, newest_first, page_size: 40, ..Default::default() };
            let mut found: Vec<i64> = world.list_entries(list).await.iter().map(|entry| entry.sequence).collect();
            if newest_first {
                found.reverse();
            }
            assert_eq!(found, expected.collect::<Vec<i64>>(), "after {after_sequence}");
        }
    }
    for (at_sequence, expected) in [(150, 150), (151, 151), (200, 200), (0, 300)] {
        let (site_id, unit) = (world.site.clone(), reference("A"));
        let request = v1::ExplainLevelRequest { site_id, unit, at_sequence, ..Default::default() };
        let found = world.ledger().explain_level(request).await.expect("known").into_inner();
        assert_eq!((found.available, found.available_before), (expected, 150), "at {at_sequence}");
    }
}

/// `why` tells the level from those at other locations, although no entry is left that shows its location.
async fn a_level_without_entries_of_its_own_is_explained_where_it_is(world: World) {
    let (home, shop) = (guid(), guid());
    let named = v1::UpdateSiteRequest { default_location_id: home.clone(), ..Default::default() };
    world.configure_site(named).await.expect("the default location can be named");
    fill(&world).await;
    let item = v1::SetStockItem { location_id: shop.clone(), ..set_item("B", 4) };
    world.stock().set_stock(set(&world.site, vec![item])).await.expect("the level can be set");
    archived(&world);
    let mut why = program("inventory-grpc");
    why.args(["why", &format!("{CATALOG}/B"), "--site-id", &world.site, "--server", &world.grpc.to_string()]);
    let (code, page) = finish_saying(why);
    assert_eq!(code, 0, "{page}");
    assert!(page.contains(&format!("/B: 9 available\n  at {home}, last entry #4\n")), "{page}");
    assert!(page.contains(&format!("\nAt other locations (--location-id)\n       4  at {shop}\n\n")), "{page}");
}
