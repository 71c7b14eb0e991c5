//! Sales windows: their edges to the microsecond, what they refuse and what they mark, and the time of a site, which
//! never runs backwards, whichever server decides.

use futures_util::future::join_all;
use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_tests::errors::{insufficient_stock, reason_of};
use inventory_tests::on_both;
use inventory_tests::requests::{decrement, guid, increment, reference, reset, set, set_item, tracked, window};
use inventory_tests::scenario::{self, Brings, NOTHING, Scenario, Step};
use inventory_tests::test_clock::{SECOND, TestClock, YEAR_2100, micros, timestamp};
use inventory_tests::wix_caller::{item, order};
use inventory_tests::world::{World, start_grpc_with_clock};
use prost_types::Timestamp;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

on_both!(
    a_window_has_exact_edges_for_each_tracking,
    edges_between_two_microseconds_are_rounded_up,
    a_window_goes_before_the_stock,
    edges_are_set_moved_and_taken_away,
    a_refused_order_stays_refused_when_the_window_opens,
    the_time_of_a_site_does_not_run_backwards,
    two_servers_with_different_clocks_agree,
    two_servers_with_different_clocks_sell_nothing_after_the_window,
);

use Brings::{Entries, Marked, Refusal};
use Step::{Adjust, Clock, Move, Place, Return, Set, Site, Take, TakeUnrestricted, Unit};
use v1::Mark::OutsideSalesWindow;
use v1::ShortageReason::{InsufficientStock, NoLongerOnSale, NotOnSaleYet};

/// The window of most of these tests.
const FROM: i64 = YEAR_2100 + 3_600 * SECOND;
const UNTIL: i64 = FROM + 3_600 * SECOND;

/// Sold in the window, and tracked like this.
fn sold(tracking: v1::Tracking) -> v1::UpdateUnitRequest {
    v1::UpdateUnitRequest { tracking: tracking.into(), ..window(Some(FROM), Some(UNTIL)) }
}

async fn a_window_has_exact_edges_for_each_tracking(world: World) {
    let outside = &[OutsideSalesWindow];
    let scenarios = [
        Scenario {
            name: "by quantity",
            steps: vec![
                (Clock(YEAR_2100), NOTHING),
                (Unit("A", sold(v1::Tracking::Quantity)), NOTHING),
                (Set(&[("A", 9)]), Entries(&[("A", 9, 9, 9)])),
                (Clock(FROM - 1), NOTHING),
                (Take(&[("A", 2)]), Refusal(&[("A", 2, 9, 0, NotOnSaleYet)])),
                (TakeUnrestricted(&[("A", 2)]), Marked(outside, &[("A", -2, -2, 7)])),
                (Clock(FROM), NOTHING),
                (Take(&[("A", 2)]), Entries(&[("A", -2, -2, 5)])),
                (TakeUnrestricted(&[("A", 1)]), Entries(&[("A", -1, -1, 4)])),
                (Clock(UNTIL - 1), NOTHING),
                (Take(&[("A", 2)]), Entries(&[("A", -2, -2, 2)])),
                (Clock(UNTIL), NOTHING),
                (Take(&[("A", 2)]), Refusal(&[("A", 2, 2, 0, NoLongerOnSale)])),
                (TakeUnrestricted(&[("A", 2)]), Marked(outside, &[("A", -2, -2, 0)])),
                (Return(&[("A", 9)]), Entries(&[("A", 9, 9, 9)])),
            ],
        },
        Scenario {
            name: "by status",
            steps: vec![
                (Clock(YEAR_2100), NOTHING),
                (Unit("A", sold(v1::Tracking::Status)), NOTHING),
                (Set(&[("A", 1)]), Entries(&[("A", 1, 1, 1)])),
                (Clock(FROM - 1), NOTHING),
                (Take(&[("A", 2)]), Refusal(&[("A", 2, 1, 0, NotOnSaleYet)])),
                (TakeUnrestricted(&[("A", 2)]), Marked(outside, &[("A", -2, 0, 1)])),
                (Clock(FROM), NOTHING),
                (Take(&[("A", 2)]), Entries(&[("A", -2, 0, 1)])),
                (Set(&[("A", 0)]), Entries(&[("A", -1, -1, 0)])),
                (Clock(UNTIL - 1), NOTHING),
                (Take(&[("A", 2)]), Refusal(&[("A", 2, 0, 1, InsufficientStock)])),
                (Clock(UNTIL), NOTHING),
                (Take(&[("A", 2)]), Refusal(&[("A", 2, 0, 1, NoLongerOnSale)])),
                (TakeUnrestricted(&[("A", 2)]), Marked(outside, &[("A", -2, 0, 0)])),
                (Return(&[("A", 2)]), Entries(&[("A", 2, 0, 0)])),
            ],
        },
        Scenario {
            name: "untracked",
            steps: vec![
                (Clock(FROM - 1), NOTHING),
                (Unit("A", sold(v1::Tracking::Untracked)), NOTHING),
                (Take(&[("A", 2)]), Refusal(&[("A", 2, 0, 0, NotOnSaleYet)])),
                (TakeUnrestricted(&[("A", 2)]), Marked(outside, &[("A", -2, 0, 0)])),
                (Clock(FROM), NOTHING),
                (Take(&[("A", 2)]), Entries(&[("A", -2, 0, 0)])),
                (Clock(UNTIL), NOTHING),
                (Take(&[("A", 2)]), Refusal(&[("A", 2, 0, 0, NoLongerOnSale)])),
            ],
        },
        Scenario {
            name: "a booking that was never stocked",
            steps: vec![
                (Clock(UNTIL - 1), NOTHING),
                (Unit("booking", window(None, Some(UNTIL))), NOTHING),
                (Take(&[("booking", 2)]), Entries(&[("booking", -2, 0, 0)])),
                (Clock(UNTIL), NOTHING),
                (Take(&[("booking", 2)]), Refusal(&[("booking", 2, 0, 0, NoLongerOnSale)])),
                (Set(&[("booking", 1)]), Entries(&[("booking", 1, 1, 1)])),
                (Take(&[("booking", 2)]), Refusal(&[("booking", 2, 1, 1, NoLongerOnSale)])),
            ],
        },
        Scenario {
            name: "a window concerns orders alone",
            steps: vec![
                (Clock(UNTIL), NOTHING),
                (Unit("A", sold(v1::Tracking::Quantity)), NOTHING),
                (Set(&[("A", 5)]), Entries(&[("A", 5, 5, 5)])),
                (Adjust(&[("A", -1)]), Entries(&[("A", -1, -1, 4)])),
                (Move(&[("A", 3)]), Entries(&[("A", -3, -3, 1), ("A", 3, 3, 3)])),
            ],
        },
    ];
    scenario::run(&world, &scenarios).await;
}

async fn edges_between_two_microseconds_are_rounded_up(world: World) {
    let after = |micros: i64| {
        let Timestamp { seconds, nanos } = timestamp(micros);
        Some(Timestamp { seconds, nanos: nanos + 1 })
    };
    let change = v1::UpdateUnitRequest {
        tracking: v1::Tracking::Untracked.into(),
        sell_from: after(FROM),
        sell_until: after(UNTIL),
        ..Default::default()
    };
    let unit = world.configure_unit("A", change).await.expect("the window is open for an hour");
    let edges = (Some(timestamp(FROM + 1)), Some(timestamp(UNTIL + 1)));
    assert_eq!((unit.sell_from, unit.sell_until), edges);
    let stock = world.stock_at("A", "").await;
    assert_eq!((stock.sell_from, stock.sell_until), edges);
    for (time, is_sold) in [(FROM, false), (FROM + 1, true), (UNTIL, true), (UNTIL + 1, false)] {
        world.clock.set(time);
        let taken = world.availability().decrement_availability(decrement(&world.site, &[("A", 1)])).await;
        assert_eq!(taken.is_ok(), is_sold, "at {time}");
    }
}

async fn a_window_goes_before_the_stock(world: World) {
    let suppress =
        v1::UpdateSiteRequest { suspected_repeats: v1::SuspectedRepeatPolicy::Suppress.into(), ..Default::default() };
    let scenarios = [
        Scenario {
            name: "each line by its own rule, and a refusal lists them all",
            steps: vec![
                (Clock(FROM - 1), NOTHING),
                (Unit("early", sold(v1::Tracking::Quantity)), NOTHING),
                (Unit("late", window(None, Some(FROM - 1))), NOTHING),
                (
                    Set(&[("early", 1), ("late", 5), ("few", 1), ("enough", 5)]),
                    Entries(&[("early", 1, 1, 1), ("late", 5, 5, 5), ("few", 1, 1, 1), ("enough", 5, 5, 5)]),
                ),
                (
                    Take(&[("enough", 2), ("early", 1), ("booking", 1), ("late", 2), ("few", 2), ("early", 2)]),
                    Refusal(&[
                        ("early", 3, 1, 2, NotOnSaleYet),
                        ("late", 2, 5, 0, NoLongerOnSale),
                        ("few", 2, 1, 1, InsufficientStock),
                    ]),
                ),
            ],
        },
        Scenario {
            name: "a backorder limit does not open a window",
            steps: vec![
                (Clock(UNTIL), NOTHING),
                (
                    Unit("A", v1::UpdateUnitRequest { backorder_limit: Some(9), ..sold(v1::Tracking::Quantity) }),
                    NOTHING,
                ),
                (Take(&[("A", 2)]), Refusal(&[("A", 2, 0, 0, NoLongerOnSale)])),
                (Take(&[("A", 10)]), Refusal(&[("A", 10, 0, 1, NoLongerOnSale)])),
            ],
        },
        Scenario {
            name: "a suppressed duplicate is answered as the order was, although the window has closed",
            steps: vec![
                (Site(suppress), NOTHING),
                (Clock(FROM), NOTHING),
                (Unit("A", sold(v1::Tracking::Untracked)), NOTHING),
                (Place(&[("A", 2)]), Entries(&[("A", -2, 0, 0)])),
                (Clock(UNTIL), NOTHING),
                (Place(&[("A", 2)]), NOTHING),
                (Place(&[("A", 3)]), Refusal(&[("A", 3, 0, 0, NoLongerOnSale)])),
            ],
        },
    ];
    scenario::run(&world, &scenarios).await;
}

async fn edges_are_set_moved_and_taken_away(world: World) {
    let scenarios = [Scenario {
        name: "a window is moved and taken away edge by edge",
        steps: vec![
            (Clock(YEAR_2100), NOTHING),
            (Unit("A", tracked(v1::Tracking::Untracked)), NOTHING),
            (Take(&[("A", 1)]), Entries(&[("A", -1, 0, 0)])),
            (Unit("A", window(Some(YEAR_2100 + 1), None)), NOTHING),
            (Take(&[("A", 1)]), Refusal(&[("A", 1, 0, 0, NotOnSaleYet)])),
            (Unit("A", window(Some(YEAR_2100), Some(YEAR_2100 + 1))), NOTHING),
            (Take(&[("A", 1)]), Entries(&[("A", -1, 0, 0)])),
            (Unit("A", v1::UpdateUnitRequest { sell_until: Some(timestamp(1)), ..reset(&["sell_from"]) }), NOTHING),
            (Take(&[("A", 1)]), Refusal(&[("A", 1, 0, 0, NoLongerOnSale)])),
            (Unit("A", v1::UpdateUnitRequest { name: Some("Class".into()), ..Default::default() }), NOTHING),
            (Take(&[("A", 1)]), Refusal(&[("A", 1, 0, 0, NoLongerOnSale)])),
            (Unit("A", reset(&["sell_until"])), NOTHING),
            (Take(&[("A", 1)]), Entries(&[("A", -1, 0, 0)])),
        ],
    }];
    scenario::run(&world, &scenarios).await;
}

async fn a_refused_order_stays_refused_when_the_window_opens(world: World) {
    world.clock.set(FROM - 1);
    world.configure_unit("A", sold(v1::Tracking::Untracked)).await.expect("the settings are valid");
    let data = order(&world.site, json!([item("A", 1)]));
    let refused = world.wix.call("decrement", data.clone()).await;
    assert_eq!((refused.status, &refused.error_data("shortages")[0]["reason"]), (428, &json!("NOT_ON_SALE_YET")));
    world.clock.set(FROM);
    assert_eq!(world.wix.call("decrement", data).await, refused, "the replay");
    assert_eq!(world.wix.call("decrement", order(&world.site, json!([item("A", 1)]))).await.status, 200);
}

/// The times of a site's entries, in the order of their sequence numbers.
async fn times(world: &World) -> Vec<i64> {
    world.entries().await.iter().map(|entry| micros(&entry.record_time.expect("every entry has a time"))).collect()
}

async fn the_time_of_a_site_does_not_run_backwards(world: World) {
    world.configure_unit("A", window(None, Some(UNTIL))).await.expect("the settings are valid");
    world.clock.set(FROM);
    world.set(&[("A", 9)]).await;
    world.clock.set(YEAR_2100);
    world.set(&[("A", 8)]).await;
    world.clock.set(UNTIL);
    let take = || decrement(&world.site, &[("A", 1)]);
    world.availability().decrement_availability(take()).await.expect_err("the window has closed");
    world.clock.set(UNTIL - 1);
    let refused = world.availability().decrement_availability(take()).await.expect_err("it stays closed");
    assert_eq!(insufficient_stock(&refused).shortages[0].reason(), NoLongerOnSale);
    world.set(&[("A", 7)]).await;
    // Another site has its own time.
    let site_id = guid();
    world.stock().set_stock(set(&site_id, vec![set_item("A", 1)])).await.expect("the level can be set");
    assert_eq!(times(&world).await, [FROM, FROM, UNTIL]);
    let request = v1::ListEntriesRequest { site_id, ..Default::default() };
    let entries = world.ledger().list_entries(request).await.expect("entries can be read").into_inner().entries;
    assert_eq!(entries.iter().filter_map(|entry| entry.record_time).collect::<Vec<_>>(), [timestamp(UNTIL - 1)]);
}

/// A second server on the same database, with a clock of its own.
struct Other {
    clock: TestClock,
    channel: Channel,
    stop: CancellationToken,
}

impl Other {
    async fn start(world: &World, time: i64) -> Self {
        let (clock, stop) = (TestClock::at(time), CancellationToken::new());
        let address = start_grpc_with_clock(world.database.url.clone(), &clock, stop.clone()).await;
        let endpoint = Channel::from_shared(format!("http://{address}")).expect("the URL is valid");
        Self { clock, channel: endpoint.connect_lazy(), stop }
    }

    fn availability(&self) -> AvailabilityServiceClient<Channel> {
        AvailabilityServiceClient::new(self.channel.clone())
    }

    fn ledger(&self) -> LedgerServiceClient<Channel> {
        LedgerServiceClient::new(self.channel.clone())
    }
}

/// The reason of the only shortage of a refused order.
fn why(refused: &Status) -> v1::ShortageReason {
    assert_eq!(reason_of(refused), "INSUFFICIENT_STOCK");
    let [shortage] = insufficient_stock(refused).shortages.try_into().expect("one shortage");
    shortage.reason()
}

/// The world's server is an hour ahead of the other one. The sale ends in between.
async fn two_servers_with_different_clocks_agree(world: World) {
    let slow = Other::start(&world, FROM).await;
    let take = || decrement(&world.site, &[("A", 1)]);
    world.clock.set(FROM);
    world.configure_unit("A", window(None, Some(UNTIL))).await.expect("the settings are valid");
    world.set(&[("A", 9)]).await;
    world.clock.set(UNTIL);
    // The slow server sells by its own clock, and knows the level from its cache after the first order.
    for second in 1..=3 {
        slow.clock.set(FROM + second * SECOND);
        slow.availability().decrement_availability(take()).await.expect("the slow server's clock is in the window");
    }
    let refused = world.availability().decrement_availability(take()).await.expect_err("the sale has ended");
    assert_eq!(why(&refused), NoLongerOnSale);
    // The refusal made no entry, and still the slow server may not sell after it.
    slow.clock.set(FROM + 4 * SECOND);
    let refused = slow.availability().decrement_availability(take()).await.expect_err("the sale has ended");
    assert_eq!(why(&refused), NoLongerOnSale);
    let unrestricted = v1::DecrementAvailabilityRequest { restrict_inventory_value: Some(false), ..take() };
    let order_id = unrestricted.order_id.clone();
    slow.availability().decrement_availability(unrestricted).await.expect("an unrestricted order is applied");
    world.clock.set(UNTIL + SECOND);
    let back = |pieces| increment(&world.site, &order_id, &[("A", pieces)]);
    world.availability().increment_availability(back(1)).await.expect("a return is not refused");
    slow.availability().increment_availability(back(1)).await.expect("a return is not refused");

    let expected: Vec<(i64, i64)> = vec![
        (FROM, 9),
        (FROM + SECOND, 8),
        (FROM + 2 * SECOND, 7),
        (FROM + 3 * SECOND, 6),
        (UNTIL, 5),
        (UNTIL + SECOND, 6),
        (UNTIL + SECOND, 7),
    ];
    let entries = world.entries().await;
    let levels = entries.iter().map(|entry| entry.level_after);
    assert_eq!(times(&world).await.into_iter().zip(levels).collect::<Vec<_>>(), expected);
    let marks: Vec<v1::Mark> = entries[4].marks().collect();
    assert_eq!(marks, [OutsideSalesWindow]);
    // Each server explains each moment in the same way.
    for (time, _) in &expected {
        for (at, moment) in [("before", time - 1), ("at", *time), ("after", time + 1)] {
            let level = expected.iter().rfind(|(entry, _)| *entry <= moment).map_or(0, |(_, level)| *level);
            let request = v1::ExplainLevelRequest {
                site_id: world.site.clone(),
                unit: reference("A"),
                at_time: Some(timestamp(moment)),
                ..Default::default()
            };
            for mut ledger in [world.ledger(), slow.ledger()] {
                let explained = ledger.explain_level(request.clone()).await.expect("the level can be explained");
                assert_eq!(explained.into_inner().available, level, "{at} {time}");
            }
            let from = v1::ListEntriesRequest { start_time: Some(timestamp(moment)), ..Default::default() };
            let count = expected.iter().filter(|(entry, _)| *entry >= moment).count();
            assert_eq!(world.list_entries(from).await.len(), count, "from {at} {time}");
        }
    }
    slow.stop.cancel();
}

/// Both servers get orders at the same time while the clock of one is far ahead.
async fn two_servers_with_different_clocks_sell_nothing_after_the_window(world: World) {
    let slow = Other::start(&world, FROM).await;
    world.clock.set(FROM);
    world.configure_unit("A", window(None, Some(UNTIL))).await.expect("the settings are valid");
    world.set(&[("A", 1_000)]).await;
    let mut answers = Vec::new();
    for round in 0..10 {
        // From the fifth round on, the world's server is past the window, and the other one is still before its end.
        world.clock.set(if round < 5 { FROM + round * SECOND } else { UNTIL + round * SECOND });
        slow.clock.set(FROM + 20 * SECOND - round);
        let calls = (0..24).map(|index| {
            let mut server = if index % 2 == 0 { world.availability() } else { slow.availability() };
            let request = decrement(&world.site, &[("A", 1)]);
            async move { (round, server.decrement_availability(request).await.map_err(|refused| why(&refused))) }
        });
        answers.extend(join_all(calls).await);
    }
    let sold = answers.iter().filter(|(_, answer)| answer.is_ok()).count();
    assert_eq!(world.level("A").await, 1_000 - sold as i64);
    for (round, answer) in &answers {
        match answer {
            Ok(_) => assert!(*round <= 5, "round {round}: sold, although the window had closed before"),
            Err(reason) => assert!(*round >= 5 && *reason == NoLongerOnSale, "round {round}: {reason:?}"),
        }
    }
    let times = times(&world).await;
    assert!(times.is_sorted(), "{times:?}");
    assert!(times.iter().all(|time| *time < UNTIL), "{times:?}");
    slow.stop.cancel();
}
