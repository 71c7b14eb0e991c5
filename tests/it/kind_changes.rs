//! An item whose kind changes: between the sale and the return, between two calls of an order, and between the calls of
//! one batch.

use futures_util::future::join_all;
use inventory_proto::v1;
use inventory_tests::on_both;
use inventory_tests::requests::{clip, decrement, guid, increment, reference, reference_of, reset, tracked};
use inventory_tests::scenario::{self, BOOKINGS, Brings, NOTHING, Scenario, Step};
use inventory_tests::world::World;
use tonic::Code;

on_both!(
    the_kind_of_an_item_may_change_between_sale_and_return,
    an_item_that_is_not_counted_can_be_ordered_twice,
    reports_count_pieces,
    the_kind_of_an_item_may_change_among_concurrent_calls,
);

use Brings::{Entries, Marked};
use Step::{Place, PlaceUnrestricted, Return, Set, Site, Subscribe, Take, Unit};
use v1::Mark::{OverReturn, SuspectedRepeat};

fn untracked() -> v1::UpdateUnitRequest {
    tracked(v1::Tracking::Untracked)
}

/// Orders that take an item while it is one kind, and return it while it is another. The last return of each is more
/// than the order holds.
fn changes_of_kind(clips: bool) -> Vec<Scenario> {
    let quantity = || Unit("A", reset(&["tracking"]));
    let subscriptions = |count| v1::UpdateUnitRequest { counts_subscriptions: Some(count), ..Default::default() };
    let over_return = |applied, clipped| Marked(&[OverReturn], if clips { clipped } else { applied });
    let mut scenarios = vec![
        Scenario {
            name: "taken untracked, returned by quantity",
            steps: vec![
                (Unit("A", untracked()), NOTHING),
                (Take(&[("A", 3)]), Entries(&[("A", -3, 0, 0)])),
                (quantity(), NOTHING),
                (Return(&[("A", 3)]), Entries(&[("A", 3, 3, 3)])),
                (Return(&[("A", 1)]), over_return(&[("A", 1, 1, 4)], &[("A", 1, 0, 3)])),
            ],
        },
        Scenario {
            name: "taken by quantity, returned untracked",
            steps: vec![
                (Set(&[("A", 5)]), Entries(&[("A", 5, 5, 5)])),
                (Take(&[("A", 3)]), Entries(&[("A", -3, -3, 2)])),
                (Unit("A", untracked()), NOTHING),
                (Return(&[("A", 2)]), Entries(&[("A", 2, 0, 2)])),
                (quantity(), NOTHING),
                (Return(&[("A", 2)]), over_return(&[("A", 2, 2, 4)], &[("A", 2, 1, 3)])),
            ],
        },
        Scenario {
            name: "returned too often while it is untracked",
            steps: vec![
                (Unit("A", untracked()), NOTHING),
                (Take(&[("A", 1)]), Entries(&[("A", -1, 0, 0)])),
                (Return(&[("A", 3)]), Entries(&[("A", 3, 0, 0)])),
                (quantity(), NOTHING),
                (Return(&[("A", 1)]), over_return(&[("A", 1, 1, 1)], &[("A", 1, 0, 0)])),
            ],
        },
        Scenario {
            name: "a booking that is stocked between sale and return",
            steps: vec![
                (Take(&[("booking", 2)]), Entries(&[("booking", -2, 0, 0)])),
                (Set(&[("booking", 4)]), Entries(&[("booking", 4, 4, 4)])),
                (Return(&[("booking", 2)]), Entries(&[("booking", 2, 2, 6)])),
                (Return(&[("booking", 1)]), over_return(&[("booking", 1, 1, 7)], &[("booking", 1, 0, 6)])),
            ],
        },
        Scenario {
            name: "taken and returned by status, then returned by quantity",
            steps: vec![
                (Set(&[("A", 1)]), Entries(&[("A", 1, 1, 1)])),
                (Unit("A", tracked(v1::Tracking::Status)), NOTHING),
                (Take(&[("A", 9)]), Entries(&[("A", -9, 0, 1)])),
                (Return(&[("A", 4)]), Entries(&[("A", 4, 0, 1)])),
                (quantity(), NOTHING),
                (Return(&[("A", 5)]), Entries(&[("A", 5, 5, 6)])),
                (Return(&[("A", 1)]), over_return(&[("A", 1, 1, 7)], &[("A", 1, 0, 6)])),
            ],
        },
        Scenario {
            name: "subscriptions are counted after one was sold",
            steps: vec![
                (Unit("A", subscriptions(false)), NOTHING),
                (Subscribe(&[("A", 2)]), Entries(&[("A", -2, 0, 0)])),
                (Unit("A", subscriptions(true)), NOTHING),
                (Return(&[("A", 2)]), Entries(&[("A", 2, 2, 2)])),
                (Return(&[("A", 1)]), over_return(&[("A", 1, 1, 3)], &[("A", 1, 0, 2)])),
            ],
        },
    ];
    if clips {
        scenarios.iter_mut().for_each(|scenario| scenario.steps.insert(0, (Site(clip()), NOTHING)));
    }
    scenarios
}

async fn the_kind_of_an_item_may_change_between_sale_and_return(world: World) {
    for clips in [false, true] {
        scenario::run(&world, &changes_of_kind(clips)).await;
    }
}

async fn an_item_that_is_not_counted_can_be_ordered_twice(world: World) {
    let suppress = || v1::UpdateSiteRequest {
        suspected_repeats: v1::SuspectedRepeatPolicy::Suppress.into(),
        ..Default::default()
    };
    let scenarios = [
        Scenario {
            name: "a duplicate of an untracked item is reported",
            steps: vec![
                (Unit("A", untracked()), NOTHING),
                (Place(&[("A", 1)]), Entries(&[("A", -1, 0, 0)])),
                (Place(&[("A", 1)]), Marked(&[SuspectedRepeat], &[("A", -1, 0, 0)])),
                (PlaceUnrestricted(&[("A", 1)]), Marked(&[SuspectedRepeat], &[("A", -1, 0, 0)])),
                (Place(&[("A", 2)]), Entries(&[("A", -2, 0, 0)])),
                (Return(&[("A", 1)]), Entries(&[("A", 1, 0, 0)])),
                (Place(&[("A", 1)]), Entries(&[("A", -1, 0, 0)])),
            ],
        },
        Scenario {
            name: "a duplicate of untracked items is suppressed",
            steps: vec![
                (Site(suppress()), NOTHING),
                (Place(&[("booking", 1), ("dish", 2)]), Entries(&[("booking", -1, 0, 0), ("dish", -2, 0, 0)])),
                (Place(&[("dish", 2), ("booking", 1)]), NOTHING),
                (Return(&[("dish", 1)]), Entries(&[("dish", 1, 0, 0)])),
                (Place(&[("dish", 2), ("booking", 1)]), Entries(&[("dish", -2, 0, 0), ("booking", -1, 0, 0)])),
            ],
        },
        Scenario {
            name: "a duplicate of an order that took the item while it was untracked",
            steps: vec![
                (Place(&[("booking", 1)]), Entries(&[("booking", -1, 0, 0)])),
                (Set(&[("booking", 5)]), Entries(&[("booking", 5, 5, 5)])),
                (Place(&[("booking", 1)]), Marked(&[SuspectedRepeat], &[("booking", -1, -1, 4)])),
                (Site(suppress()), NOTHING),
                (Place(&[("booking", 1)]), NOTHING),
            ],
        },
    ];
    scenario::run(&world, &scenarios).await;
}

async fn reports_count_pieces(world: World) {
    world.configure_site(clip()).await.expect("the policy can be changed");
    world.configure_unit("A", untracked()).await.expect("the tracking can be changed");
    let take = decrement(&world.site, &[("A", 3), ("A", 1)]);
    let order_id = take.order_id.clone();
    world.availability().decrement_availability(take).await.expect("an untracked unit is never short");
    let other = decrement(&world.site, &[("A", 7)]);
    let other_id = other.order_id.clone();
    world.availability().decrement_availability(other).await.expect("an untracked unit is never short");
    let give = async |pieces| {
        let request = increment(&world.site, &order_id, &[("A", pieces)]);
        world.availability().increment_availability(request).await.expect("a return is not refused");
    };
    let line = async || {
        let (site_id, order_id) = (world.site.clone(), order_id.clone());
        let request = v1::GetOrderRequest { site_id, order_id, ..Default::default() };
        let lines = world.ledger().get_order(request).await.expect("the order is known").into_inner().lines;
        lines.iter().map(|line| (line.taken, line.returned, line.net)).collect::<Vec<_>>()
    };
    let explain = async || {
        let request =
            v1::ExplainLevelRequest { site_id: world.site.clone(), unit: reference("A"), ..Default::default() };
        let explained = world.ledger().explain_level(request).await.expect("A is known").into_inner();
        assert_eq!(explained.sums.iter().map(|sum| sum.delta).sum::<i64>(), explained.available);
        let held: Vec<(String, i64)> = explained.orders.into_iter().map(|held| (held.order_id, held.net)).collect();
        (explained.available, held)
    };
    assert_eq!(line().await, [(4, 0, 4)]);
    assert_eq!(explain().await, (0, vec![(other_id.clone(), 7), (order_id.clone(), 4)]));
    give(1).await;
    assert_eq!(line().await, [(4, 1, 3)]);
    assert_eq!(explain().await, (0, vec![(other_id.clone(), 7), (order_id.clone(), 3)]));
    world.configure_unit("A", reset(&["tracking"])).await.expect("the tracking can be taken away");
    // Of the five pieces, the order holds three.
    give(5).await;
    assert_eq!(line().await, [(4, 4, 0)]);
    assert_eq!(explain().await, (3, vec![(other_id, 7)]));
}

/// How a booking is stocked while it is ordered.
#[derive(Clone, Copy, Debug)]
enum Stocking {
    Set(i64),
    Adjust(i64),
}

/// Orders of a booking are sent all at once, and in the middle of them the call that stocks it. The ledger must show
/// one order of decisions that explains all answers: before it is stocked, every order is applied and changes no level;
/// afterwards, pieces are counted.
async fn the_kind_of_an_item_may_change_among_concurrent_calls(world: World) {
    const ORDERS: usize = 40;
    let stockings = [Stocking::Set(7), Stocking::Set(0), Stocking::Adjust(12), Stocking::Adjust(-1)];
    for (round, stocking) in stockings.into_iter().cycle().take(12).enumerate() {
        let (id, pieces) = (format!("booking-{round}"), 1 + round as i64 % 2);
        let order = |_| {
            let item = v1::Item { unit: reference_of(BOOKINGS, &id), quantity: pieces, ..Default::default() };
            let request = v1::DecrementAvailabilityRequest { items: vec![item], ..decrement(&world.site, &[]) };
            let mut client = world.availability();
            async move {
                match client.decrement_availability(request).await {
                    Ok(_) => true,
                    Err(refused) => {
                        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
                        false
                    }
                }
            }
        };
        let half = || join_all((0..ORDERS / 2).map(order));
        let (first, (), second) = tokio::join!(half(), stock(&world, &id, stocking), half());
        let sold = first.into_iter().chain(second).filter(|is_sold| *is_sold).count();

        let unit = reference_of(BOOKINGS, &id);
        let entries = world.list_entries(v1::ListEntriesRequest { unit, page_size: 1_000, ..Default::default() }).await;
        let is_order = |entry: &&v1::Entry| entry.kind() == v1::Kind::Decrement;
        assert_eq!(
            entries.iter().filter(is_order).count(),
            sold,
            "{id}, {stocking:?}: one entry for each applied order"
        );
        let stocked = entries.iter().position(|entry| entry.kind() != v1::Kind::Decrement).expect("it is stocked");
        let (before, after) = (&entries[..stocked], &entries[stocked + 1..]);
        assert!(before.iter().all(|entry| (entry.asked_delta, entry.delta) == (-pieces, 0)), "{id}: {before:?}");
        assert!(after.iter().all(|entry| (entry.asked_delta, entry.delta) == (-pieces, -pieces)), "{id}: {after:?}");
        let (Stocking::Set(level) | Stocking::Adjust(level)) = stocking;
        assert_eq!((entries[stocked].asked_delta, entries[stocked].level_after), (level, level), "{id}");
        let left = level - pieces * after.len() as i64;
        assert!(after.is_empty() || left >= 0, "{id}: more was sold than there was");
        assert!(sold == ORDERS || left < pieces, "{id}: an order was refused although {left} were left");
    }
}

async fn stock(world: &World, id: &str, stocking: Stocking) {
    let (site_id, request_id, mut client) = (world.site.clone(), guid(), world.stock());
    match stocking {
        Stocking::Set(available) => {
            let item = v1::SetStockItem { unit: reference_of(BOOKINGS, id), available, ..Default::default() };
            let request = v1::SetStockRequest { site_id, items: vec![item], request_id, ..Default::default() };
            client.set_stock(request).await.map(drop)
        }
        Stocking::Adjust(delta) => {
            let item = v1::AdjustStockItem { unit: reference_of(BOOKINGS, id), delta, ..Default::default() };
            let request = v1::AdjustStockRequest { site_id, items: vec![item], request_id, ..Default::default() };
            client.adjust_stock(request).await.map(drop)
        }
    }
    .expect("the booking can be stocked");
}
