//! What internal services do to stock: adjust, move, set what they expect; and what the ledger tells of
//! a unit that has a long history.

use inventory_proto::v1;
use inventory_tests::on_both;
use inventory_tests::world::{World, reference};
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

on_both!(
    levels_are_adjusted_with_reason_and_note,
    stock_moves_as_two_entries_of_one_change,
    a_move_takes_no_more_than_there_is,
    a_stale_set_is_refused_with_what_there_is,
    bad_items_are_named_by_their_path,
    a_count_keeps_what_was_sold_since,
    the_history_of_a_unit_is_paged_both_ways,
    entries_are_found_by_kind_and_time,
);

fn guid() -> String {
    Uuid::new_v4().to_string()
}

fn reason_of(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

fn adjust(world: &World, items: &[(&str, i64)]) -> v1::AdjustStockRequest {
    let item = |&(id, delta): &(&str, i64)| v1::AdjustStockItem { unit: reference(id), delta, ..Default::default() };
    let items = items.iter().map(item).collect();
    v1::AdjustStockRequest { site_id: world.site.clone(), items, request_id: guid(), ..Default::default() }
}

fn relocate(world: &World, items: &[(&str, &str, &str, i64)]) -> v1::MoveStockRequest {
    let item = |&(id, from, to, quantity): &(&str, &str, &str, i64)| v1::MoveStockItem {
        unit: reference(id),
        from_location_id: from.into(),
        to_location_id: to.into(),
        quantity,
    };
    let items = items.iter().map(item).collect();
    v1::MoveStockRequest { site_id: world.site.clone(), items, request_id: guid(), ..Default::default() }
}

async fn level_at(world: &World, id: &str, location: &str) -> (i64, i64) {
    let request = v1::GetStockRequest {
        site_id: world.site.clone(),
        unit: reference(id),
        location_id: location.into(),
        ..Default::default()
    };
    let stock = world.stock().get_stock(request).await.expect("it can be read").into_inner().stock.expect("always");
    (stock.available, stock.revision)
}

async fn levels_are_adjusted_with_reason_and_note(world: World) {
    world.set(&[("A", 5)]).await;
    let request = v1::AdjustStockRequest {
        reason: v1::Reason::Damaged.into(),
        note: "pallet 7".into(),
        ..adjust(&world, &[("A", -2), ("B", 4), ("A", -4)])
    };
    let answer = world.stock().adjust_stock(request.clone()).await.expect("it is done").into_inner();
    let levels: Vec<i64> = answer.levels.iter().map(|level| level.available).collect();
    assert_eq!((answer.sequence, levels), (4, vec![3, 4, -1]));
    let entries = world.entries().await;
    let told: Vec<_> = entries[1..].iter().map(|e| (e.delta, e.level_after, e.change_sequence)).collect();
    assert_eq!(told, [(-2, 3, 2), (4, 4, 2), (-4, -1, 2)]);
    for entry in &entries[1..] {
        assert_eq!(
            (entry.kind(), entry.reason(), entry.note.as_str()),
            (v1::Kind::Adjust, v1::Reason::Damaged, "pallet 7")
        );
    }
    let again = world.stock().adjust_stock(request.clone()).await.expect("recorded").into_inner();
    assert_eq!((again.repeated_request, again.sequence, world.level("A").await), (true, 4, -1));
    let other = v1::AdjustStockRequest { note: "pallet 8".into(), ..request };
    let status = world.stock().adjust_stock(other).await.expect_err("other content");
    assert_eq!(reason_of(&status), "REQUEST_ID_REUSED");
    world.set(&[("C", i64::MAX)]).await;
    let status = world.stock().adjust_stock(adjust(&world, &[("A", 1), ("C", 1)])).await.expect_err("too much");
    assert_eq!((status.code(), world.level("A").await), (Code::OutOfRange, -1));
}

async fn stock_moves_as_two_entries_of_one_change(world: World) {
    world.set(&[("A", 5)]).await;
    let shop = guid();
    let answer = world.stock().move_stock(relocate(&world, &[("A", "", &shop, 3)])).await.expect("moved").into_inner();
    assert_eq!(answer.sequence, 3);
    assert_eq!((level_at(&world, "A", "").await.0, level_at(&world, "A", &shop).await.0), (2, 3));
    let entries = world.entries().await;
    let told: Vec<_> =
        entries[1..].iter().map(|e| (e.delta, e.location_id.as_str(), e.change_sequence, e.kind())).collect();
    assert_eq!(told, [(-3, "", 2, v1::Kind::Move), (3, shop.as_str(), 2, v1::Kind::Move)]);
    // Through a place that had none: what counts is what is left in the end.
    let yard = guid();
    let chain = relocate(&world, &[("A", &yard, &shop, 2), ("A", "", &yard, 2)]);
    world.stock().move_stock(chain).await.expect("nothing is left below zero");
    assert_eq!((level_at(&world, "A", &shop).await.0, level_at(&world, "A", &yard).await.0), (5, 0));
    // Two names of one place.
    let default = guid();
    let name = v1::UpdateSiteRequest {
        site_id: world.site.clone(),
        default_location_id: default.clone(),
        ..Default::default()
    };
    world.sites().update_site(name).await.expect("named");
    let before = world.entries().await.len();
    world.stock().move_stock(relocate(&world, &[("A", "", &default, 1)])).await.expect("nothing moves");
    assert_eq!(world.entries().await.len(), before);
}

async fn a_move_takes_no_more_than_there_is(world: World) {
    world.set(&[("A", 5), ("B", 1)]).await;
    let shop = guid();
    let moves = [("B", "", shop.as_str(), 1), ("A", "", &shop, 3), ("A", "", &shop, 3), ("C", &shop, "", 2)];
    let status = world.stock().move_stock(relocate(&world, &moves)).await.expect_err("too much");
    assert_eq!((status.code(), reason_of(&status)), (Code::FailedPrecondition, "INSUFFICIENT_STOCK".into()));
    let rich = tonic_types::Status::decode(status.details()).expect("details");
    let short = rich.details.iter().find(|any| any.type_url.ends_with("InsufficientStock")).expect("the list");
    let short = v1::InsufficientStock::decode(short.value.as_slice()).expect("ours").shortages;
    let told: Vec<_> = short.iter().map(|s| (s.asked, s.available, s.short, s.location_id.as_str())).collect();
    assert_eq!(told, [(6, 5, 1, ""), (2, 0, 2, shop.as_str())]);
    assert_eq!((world.level("A").await, world.level("B").await), (5, 1));
    let forced = v1::MoveStockRequest { allow_negative: true, ..relocate(&world, &moves) };
    world.stock().move_stock(forced).await.expect("as told");
    assert_eq!((world.level("A").await, level_at(&world, "C", &shop).await.0), (-1, -2));
}

async fn a_stale_set_is_refused_with_what_there_is(world: World) {
    world.set(&[("A", 5), ("B", 7)]).await;
    let item = |id: &str, available, expected_available, expected_revision| v1::SetStockItem {
        unit: reference(id),
        available,
        expected_available,
        expected_revision,
        ..Default::default()
    };
    let set =
        |items| v1::SetStockRequest { site_id: world.site.clone(), items, request_id: guid(), ..Default::default() };
    let stale = set(vec![item("A", 1, Some(5), Some(1)), item("B", 1, Some(6), None), item("C", 1, None, Some(1))]);
    for _ in 0..2 {
        let status = world.stock().set_stock(stale.clone()).await.expect_err("stale");
        assert_eq!((status.code(), reason_of(&status)), (Code::Aborted, "STOCK_CHANGED".into()));
        let rich = tonic_types::Status::decode(status.details()).expect("details");
        let changed = rich.details.iter().find(|any| any.type_url.ends_with("StockChanged")).expect("the list");
        let levels = v1::StockChanged::decode(changed.value.as_slice()).expect("ours").levels;
        let told: Vec<_> = levels.iter().map(|level| (level.item, level.available, level.revision)).collect();
        assert_eq!(told, [(1, 7, 1), (2, 0, 0)]);
    }
    assert_eq!((world.level("A").await, world.level("B").await), (5, 7));
    let good = set(vec![item("A", 1, Some(5), Some(1)), item("C", 2, Some(0), Some(0))]);
    world.stock().set_stock(good).await.expect("as expected");
    assert_eq!((level_at(&world, "A", "").await, level_at(&world, "C", "").await), ((1, 2), (2, 1)));
}

/// Counted in the morning, entered in the evening: orders of the day stay sold.
async fn a_count_keeps_what_was_sold_since(world: World) {
    world.set(&[("A", 10), ("B", 3)]).await;
    for _ in 0..150 {
        world.stock().adjust_stock(adjust(&world, &[("A", -1), ("A", 1), ("B", 1)])).await.expect("it is done");
    }
    let counted_at = world.stock().adjust_stock(adjust(&world, &[("A", 2)])).await.expect("done").into_inner().sequence;
    world.stock().adjust_stock(adjust(&world, &[("A", -5), ("B", -3)])).await.expect("it is done");
    let item = |id: &str, available, as_of_sequence| v1::SetStockItem {
        unit: reference(id),
        available,
        as_of_sequence,
        ..Default::default()
    };
    let count =
        |items| v1::SetStockRequest { site_id: world.site.clone(), items, request_id: guid(), ..Default::default() };
    // The books had 12, 153 and 0; the shelves 11, 153 and 4.
    let items = vec![item("A", 11, counted_at), item("B", 153, counted_at), item("C", 4, 1)];
    world.stock().set_stock(count(items)).await.expect("counted");
    assert_eq!((world.level("A").await, world.level("B").await, world.level("C").await), (6, 150, 4));
    // At the very beginning, in the middle of a chain, and before the level was there.
    for (sequence, then) in [(1, 10), (2, 10), (100, 10), (3, 9)] {
        let before = world.level("A").await;
        world.stock().set_stock(count(vec![item("A", then, sequence)])).await.expect("as the books said");
        assert_eq!(world.level("A").await, before, "{sequence}");
    }
    let status = world.stock().set_stock(count(vec![item("A", 1, 1_000_000)])).await.expect_err("it is not yet");
    let field = status.get_details_bad_request().expect("a field").field_violations[0].field.clone();
    assert_eq!(field, "items[0].as_of_sequence");
}

async fn bad_items_are_named_by_their_path(world: World) {
    let named = |status: Status| status.get_details_bad_request().expect("a field").field_violations[0].field.clone();
    let mut request = adjust(&world, &[("A", 1), ("A", 0)]);
    assert_eq!(named(world.stock().adjust_stock(request.clone()).await.expect_err("0")), "items[1].delta");
    request.items.truncate(1);
    request.note = "x".repeat(201);
    assert_eq!(named(world.stock().adjust_stock(request.clone()).await.expect_err("long")), "note");
    request.note = String::new();
    request.items = vec![request.items[0].clone(); 1_001];
    assert_eq!(named(world.stock().adjust_stock(request).await.expect_err("many")), "items");
    for (field, items) in [
        ("items[0].quantity", [("A", "", "", 0)]),
        ("items[0].from_location_id", [("A", "x", "", 1)]),
        ("items[0].to_location_id", [("A", "", "x", 1)]),
        ("items[0].catalog_reference.catalog_item_id", [("", "", "", 1)]),
    ] {
        assert_eq!(named(world.stock().move_stock(relocate(&world, &items)).await.expect_err(field)), field);
    }
    let list = v1::ListEntriesRequest { site_id: world.site.clone(), kind: 99, ..Default::default() };
    assert_eq!(named(world.ledger().list_entries(list).await.expect_err("a kind")), "kind");
}

/// All pages of a request, one after the other.
async fn pages(world: &World, request: v1::ListEntriesRequest) -> Vec<i64> {
    let (mut told, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListEntriesRequest { page_token, ..request.clone() };
        let page = world.ledger().list_entries(request).await.expect("a page").into_inner();
        told.extend(page.entries.iter().map(|entry| entry.sequence));
        if page.next_page_token.is_empty() {
            return told;
        }
        page_token = page.next_page_token;
    }
}

/// Several hundred entries of a unit at two locations, and of another one in between: more than a
/// waypoint's worth, on pages of every size.
async fn the_history_of_a_unit_is_paged_both_ways(world: World) {
    let shop = guid();
    let mut random = fastrand::Rng::with_seed(5);
    let mut expected: Vec<(i64, &str, bool)> = Vec::new();
    while expected.len() < 700 {
        let items: Vec<(&str, bool)> = (0..random.usize(1..=40))
            .map(|_| (if random.u8(..5) == 0 { "B" } else { "A" }, random.u8(..3) == 0))
            .collect();
        let first = expected.len() as i64 + 1;
        expected.extend(items.iter().zip(first..).map(|((id, at_shop), sequence)| (sequence, *id, *at_shop)));
        let item = |&(id, at_shop): &(&str, bool)| v1::AdjustStockItem {
            unit: reference(id),
            location_id: if at_shop { shop.clone() } else { String::new() },
            delta: 1,
        };
        let items = items.iter().map(item).collect();
        world.stock().adjust_stock(v1::AdjustStockRequest { items, ..adjust(&world, &[]) }).await.expect("it is done");
    }
    for (location_id, page_size, after, up_to) in [
        ("", 1_000, 0, 0),
        ("", 7, 0, 0),
        ("", 64, 100, 650),
        ("", 63, 1, 2),
        (shop.as_str(), 1_000, 0, 0),
        (&shop, 10, 130, 0),
        (&shop, 65, 0, 333),
    ] {
        for newest_first in [false, true] {
            let wanted = |(sequence, id, at_shop): &&(i64, &str, bool)| {
                *id == "A"
                    && (location_id.is_empty() || *at_shop)
                    && *sequence > after
                    && (up_to == 0 || *sequence <= up_to)
            };
            let mut expected: Vec<i64> = expected.iter().filter(wanted).map(|(sequence, ..)| *sequence).collect();
            if newest_first {
                expected.reverse();
            }
            let request = v1::ListEntriesRequest {
                site_id: world.site.clone(),
                unit: reference("A"),
                location_id: location_id.into(),
                after_sequence: after,
                up_to_sequence: up_to,
                page_size,
                newest_first,
                ..Default::default()
            };
            let told = pages(&world, request).await;
            assert_eq!(told, expected, "{location_id:?} {page_size} {after} {up_to} {newest_first}");
        }
    }
}

async fn entries_are_found_by_kind_and_time(world: World) {
    world.set(&[("A", 5)]).await;
    world.stock().adjust_stock(adjust(&world, &[("A", 1), ("A", 2)])).await.expect("it is done");
    world.set(&[("A", 1)]).await;
    let entries = world.entries().await;
    let base = || v1::ListEntriesRequest { site_id: world.site.clone(), page_size: 2, ..Default::default() };
    let kind = |kind: v1::Kind| v1::ListEntriesRequest { kind: kind.into(), ..base() };
    assert_eq!(pages(&world, kind(v1::Kind::Adjust)).await, [2, 3]);
    assert_eq!(pages(&world, kind(v1::Kind::Set)).await, [1, 4]);
    assert_eq!(pages(&world, kind(v1::Kind::Move)).await, [] as [i64; 0]);
    let newest = v1::ListEntriesRequest { newest_first: true, ..base() };
    assert_eq!(pages(&world, newest).await, [4, 3, 2, 1]);
    // Times differ by what the clock tells: the first and the last of a change have the same.
    let (second, last) = (entries[1].record_time, entries[3].record_time);
    let from = v1::ListEntriesRequest { start_time: second, ..base() };
    let expected: Vec<i64> = entries.iter().filter(|e| time(e) >= time(&entries[1])).map(|e| e.sequence).collect();
    assert_eq!(pages(&world, from).await, expected);
    let until = v1::ListEntriesRequest { end_time: last, ..base() };
    let expected: Vec<i64> = entries.iter().filter(|e| time(e) < time(&entries[3])).map(|e| e.sequence).collect();
    assert_eq!(pages(&world, until).await, expected);
    let never = v1::ListEntriesRequest { end_time: Some(prost_types::Timestamp::default()), ..base() };
    assert_eq!(pages(&world, never).await, [] as [i64; 0]);
}

fn time(entry: &v1::Entry) -> (i64, i32) {
    entry.record_time.as_ref().map(|time| (time.seconds, time.nanos)).expect("always")
}
