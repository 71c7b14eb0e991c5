//! Stock as internal services change it: adjust, move, set with an expectation, count. And the ledger of a unit with a
//! long history.

use inventory_proto::v1;
use inventory_tests::errors::{field_of, insufficient_stock, reason_of, stock_changed};
use inventory_tests::on_both;
use inventory_tests::requests::{adjust, guid, reference, set, set_item};
use inventory_tests::world::World;
use tonic::Code;

on_both!(
    levels_are_adjusted_with_reason_and_note,
    stock_moves_as_two_entries_of_one_change,
    a_move_takes_no_more_than_is_available,
    a_set_with_a_wrong_expectation_is_refused_with_the_levels,
    bad_items_are_named_by_their_path,
    a_count_keeps_what_was_sold_since,
    the_history_of_a_unit_is_paged_in_both_directions,
    entries_are_found_by_kind_and_time,
);

/// Moves stock: each item is a unit, the location it leaves, the location it reaches, and a quantity.
fn move_stock(world: &World, items: &[(&str, &str, &str, i64)]) -> v1::MoveStockRequest {
    let item = |&(id, from, to, quantity): &(&str, &str, &str, i64)| v1::MoveStockItem {
        unit: reference(id),
        from_location_id: from.into(),
        to_location_id: to.into(),
        quantity,
    };
    let items = items.iter().map(item).collect();
    v1::MoveStockRequest { site_id: world.site.clone(), items, request_id: guid(), ..Default::default() }
}

/// The level of a unit at a location, and its number of entries.
async fn level_and_revision(world: &World, id: &str, location: &str) -> (i64, i64) {
    let stock = world.stock_at(id, location).await;
    (stock.available, stock.revision)
}

async fn levels_are_adjusted_with_reason_and_note(world: World) {
    world.set(&[("A", 5)]).await;
    let request = v1::AdjustStockRequest {
        reason: v1::Reason::Damaged.into(),
        note: "pallet 7".into(),
        ..adjust(&world.site, &[("A", -2), ("B", 4), ("A", -4)])
    };
    let answer = world.stock().adjust_stock(request.clone()).await.expect("applied").into_inner();
    let levels: Vec<i64> = answer.levels.iter().map(|level| level.available).collect();
    assert_eq!((answer.sequence, levels), (4, vec![3, 4, -1]));
    let entries = world.entries().await;
    let changes: Vec<_> = entries[1..].iter().map(|e| (e.delta, e.level_after, e.change_sequence)).collect();
    assert_eq!(changes, [(-2, 3, 2), (4, 4, 2), (-4, -1, 2)]);
    for entry in &entries[1..] {
        assert_eq!(
            (entry.kind(), entry.reason(), entry.note.as_str()),
            (v1::Kind::Adjust, v1::Reason::Damaged, "pallet 7")
        );
    }
    let replay = world.stock().adjust_stock(request.clone()).await.expect("a recorded outcome").into_inner();
    assert_eq!((replay.repeated_request, replay.sequence, world.level("A").await), (true, 4, -1));
    let other = v1::AdjustStockRequest { note: "pallet 8".into(), ..request };
    let status = world.stock().adjust_stock(other).await.expect_err("the same key with other content");
    assert_eq!(reason_of(&status), "REQUEST_ID_REUSED");
    world.set(&[("C", i64::MAX)]).await;
    let status =
        world.stock().adjust_stock(adjust(&world.site, &[("A", 1), ("C", 1)])).await.expect_err("C is at its maximum");
    assert_eq!((status.code(), world.level("A").await), (Code::OutOfRange, -1));
}

async fn stock_moves_as_two_entries_of_one_change(world: World) {
    world.set(&[("A", 5)]).await;
    let shop = guid();
    let answer =
        world.stock().move_stock(move_stock(&world, &[("A", "", &shop, 3)])).await.expect("moved").into_inner();
    assert_eq!(answer.sequence, 3);
    assert_eq!((world.level("A").await, world.stock_at("A", &shop).await.available), (2, 3));
    let entries = world.entries().await;
    let changes: Vec<_> =
        entries[1..].iter().map(|e| (e.delta, e.location_id.as_str(), e.change_sequence, e.kind())).collect();
    assert_eq!(changes, [(-3, "", 2, v1::Kind::Move), (3, shop.as_str(), 2, v1::Kind::Move)]);
    // The pieces pass through the empty yard. Only the levels after the whole request must not be negative.
    let yard = guid();
    let chain = move_stock(&world, &[("A", &yard, &shop, 2), ("A", "", &yard, 2)]);
    world.stock().move_stock(chain).await.expect("no level ends below 0");
    let levels = (world.stock_at("A", &shop).await.available, world.stock_at("A", &yard).await.available);
    assert_eq!(levels, (5, 0));
    // Both ids mean the default location.
    let default = guid();
    let change = v1::UpdateSiteRequest { default_location_id: default.clone(), ..Default::default() };
    world.configure_site(change).await.expect("the default location can be named");
    let before = world.entries().await.len();
    world.stock().move_stock(move_stock(&world, &[("A", "", &default, 1)])).await.expect("a move to the same location");
    assert_eq!(world.entries().await.len(), before);
}

async fn a_move_takes_no_more_than_is_available(world: World) {
    world.set(&[("A", 5), ("B", 1)]).await;
    let shop = guid();
    let moves = [("B", "", shop.as_str(), 1), ("A", "", &shop, 3), ("A", "", &shop, 3), ("C", &shop, "", 2)];
    let status = world.stock().move_stock(move_stock(&world, &moves)).await.expect_err("too little is available");
    assert_eq!((status.code(), reason_of(&status)), (Code::FailedPrecondition, "INSUFFICIENT_STOCK".into()));
    let shortages = insufficient_stock(&status).shortages;
    let short: Vec<_> = shortages.iter().map(|s| (s.asked, s.available, s.short, s.location_id.as_str())).collect();
    assert_eq!(short, [(6, 5, 1, ""), (2, 0, 2, shop.as_str())]);
    assert_eq!((world.level("A").await, world.level("B").await), (5, 1));
    let forced = v1::MoveStockRequest { allow_negative: true, ..move_stock(&world, &moves) };
    world.stock().move_stock(forced).await.expect("levels may become negative");
    assert_eq!((world.level("A").await, world.stock_at("C", &shop).await.available), (-1, -2));
}

async fn a_set_with_a_wrong_expectation_is_refused_with_the_levels(world: World) {
    world.set(&[("A", 5), ("B", 7)]).await;
    let item = |id: &str, available, expected_available, expected_revision| v1::SetStockItem {
        expected_available,
        expected_revision,
        ..set_item(id, available)
    };
    let stale = vec![item("A", 1, Some(5), Some(1)), item("B", 1, Some(6), None), item("C", 1, None, Some(1))];
    let stale = set(&world.site, stale);
    // The second call is a replay.
    for _ in 0..2 {
        let status = world.stock().set_stock(stale.clone()).await.expect_err("B and C differ from the expectation");
        assert_eq!((status.code(), reason_of(&status)), (Code::Aborted, "STOCK_CHANGED".into()));
        let levels = stock_changed(&status).levels;
        let levels: Vec<_> = levels.iter().map(|level| (level.item, level.available, level.revision)).collect();
        assert_eq!(levels, [(1, 7, 1), (2, 0, 0)]);
    }
    assert_eq!((world.level("A").await, world.level("B").await), (5, 7));
    let right = vec![item("A", 1, Some(5), Some(1)), item("C", 2, Some(0), Some(0))];
    world.stock().set_stock(set(&world.site, right)).await.expect("all levels are as expected");
    let levels = (level_and_revision(&world, "A", "").await, level_and_revision(&world, "C", "").await);
    assert_eq!(levels, ((1, 2), (2, 1)));
}

/// Stock is counted in the morning, and the count is sent in the evening. The sales of the day must not be undone.
async fn a_count_keeps_what_was_sold_since(world: World) {
    world.set(&[("A", 10), ("B", 3)]).await;
    for _ in 0..150 {
        world.stock().adjust_stock(adjust(&world.site, &[("A", -1), ("A", 1), ("B", 1)])).await.expect("applied");
    }
    let last = world.stock().adjust_stock(adjust(&world.site, &[("A", 2)])).await.expect("applied").into_inner();
    let counted_at = last.sequence;
    world.stock().adjust_stock(adjust(&world.site, &[("A", -5), ("B", -3)])).await.expect("applied");
    let item = |id: &str, available, as_of_sequence| v1::SetStockItem { as_of_sequence, ..set_item(id, available) };
    let count = |items| set(&world.site, items);
    // At that time the levels were 12, 153 and 0. The count found 11, 153 and 4.
    let items = vec![item("A", 11, counted_at), item("B", 153, counted_at), item("C", 4, 1)];
    world.stock().set_stock(count(items)).await.expect("applied");
    assert_eq!((world.level("A").await, world.level("B").await, world.level("C").await), (6, 150, 4));
    // Counts at the first entry, before any later entry of A, in the middle of its chain, and after an entry of A.
    for (sequence, then) in [(1, 10), (2, 10), (100, 10), (3, 9)] {
        let before = world.level("A").await;
        world
            .stock()
            .set_stock(count(vec![item("A", then, sequence)]))
            .await
            .expect("a count equal to the level at that time");
        assert_eq!(world.level("A").await, before, "counted at {sequence}");
    }
    let status = world.stock().set_stock(count(vec![item("A", 1, 1_000_000)])).await.expect_err("not reached yet");
    assert_eq!(field_of(&status), "items[0].as_of_sequence");
}

async fn bad_items_are_named_by_their_path(world: World) {
    let mut request = adjust(&world.site, &[("A", 1), ("A", 0)]);
    assert_eq!(
        field_of(&world.stock().adjust_stock(request.clone()).await.expect_err("a delta of 0")),
        "items[1].delta"
    );
    request.items.truncate(1);
    request.note = "x".repeat(201);
    assert_eq!(
        field_of(&world.stock().adjust_stock(request.clone()).await.expect_err("a note of 201 characters")),
        "note"
    );
    request.note = String::new();
    request.items = vec![request.items[0].clone(); 1_001];
    assert_eq!(field_of(&world.stock().adjust_stock(request).await.expect_err("1,001 items")), "items");
    for (field, items) in [
        ("items[0].quantity", [("A", "", "", 0)]),
        ("items[0].from_location_id", [("A", "x", "", 1)]),
        ("items[0].to_location_id", [("A", "", "x", 1)]),
        ("items[0].catalog_reference.catalog_item_id", [("", "", "", 1)]),
    ] {
        let refused = world.stock().move_stock(move_stock(&world, &items)).await.expect_err(field);
        assert_eq!(field_of(&refused), field);
    }
    let list = v1::ListEntriesRequest { site_id: world.site.clone(), kind: 99, ..Default::default() };
    assert_eq!(field_of(&world.ledger().list_entries(list).await.expect_err("an unknown kind")), "kind");
}

/// The sequence numbers of the entries that a query finds.
async fn sequences(world: &World, query: v1::ListEntriesRequest) -> Vec<i64> {
    world.list_entries(query).await.iter().map(|entry| entry.sequence).collect()
}

/// A unit with several hundred entries at two locations, and entries of another unit between them. The levels have
/// several waypoints, and pages of different sizes start and end anywhere.
async fn the_history_of_a_unit_is_paged_in_both_directions(world: World) {
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
        let request = v1::AdjustStockRequest { items, ..adjust(&world.site, &[]) };
        world.stock().adjust_stock(request).await.expect("applied");
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
                unit: reference("A"),
                location_id: location_id.into(),
                after_sequence: after,
                up_to_sequence: up_to,
                page_size,
                newest_first,
                ..Default::default()
            };
            let case =
                format!("{location_id:?}, pages of {page_size}, {after} to {up_to}, newest first: {newest_first}");
            assert_eq!(sequences(&world, request).await, expected, "{case}");
        }
    }
}

async fn entries_are_found_by_kind_and_time(world: World) {
    world.set(&[("A", 5)]).await;
    world.stock().adjust_stock(adjust(&world.site, &[("A", 1), ("A", 2)])).await.expect("applied");
    world.set(&[("A", 1)]).await;
    let entries = world.entries().await;
    let base = || v1::ListEntriesRequest { page_size: 2, ..Default::default() };
    let kind = |kind: v1::Kind| v1::ListEntriesRequest { kind: kind.into(), ..base() };
    assert_eq!(sequences(&world, kind(v1::Kind::Adjust)).await, [2, 3]);
    assert_eq!(sequences(&world, kind(v1::Kind::Set)).await, [1, 4]);
    assert_eq!(sequences(&world, kind(v1::Kind::Move)).await, [] as [i64; 0]);
    let newest = v1::ListEntriesRequest { newest_first: true, ..base() };
    assert_eq!(sequences(&world, newest).await, [4, 3, 2, 1]);
    // The entries of one change have the same time, and the clock may give several changes the same time.
    let (second, last) = (entries[1].record_time, entries[3].record_time);
    let from = v1::ListEntriesRequest { start_time: second, ..base() };
    let expected: Vec<i64> = entries.iter().filter(|e| time(e) >= time(&entries[1])).map(|e| e.sequence).collect();
    assert_eq!(sequences(&world, from).await, expected);
    let until = v1::ListEntriesRequest { end_time: last, ..base() };
    let expected: Vec<i64> = entries.iter().filter(|e| time(e) < time(&entries[3])).map(|e| e.sequence).collect();
    assert_eq!(sequences(&world, until).await, expected);
    let never = v1::ListEntriesRequest { end_time: Some(prost_types::Timestamp::default()), ..base() };
    assert_eq!(sequences(&world, never).await, [] as [i64; 0]);
}

fn time(entry: &v1::Entry) -> (i64, i32) {
    entry.record_time.as_ref().map(|time| (time.seconds, time.nanos)).expect("every entry has a time")
}
