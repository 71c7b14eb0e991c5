//! Kinds of items: untracked units, and units that were never stocked. An order may have items of every kind.

use inventory_proto::v1;
use inventory_tests::on_both;
use inventory_tests::requests::{catalog, clip, reset, tracked, unstocked};
use inventory_tests::scenario::{self, BOOKINGS, Brings, NOTHING, Scenario, Step};
use inventory_tests::wix_caller::CATALOG;
use inventory_tests::world::World;

on_both!(
    untracked_units_are_never_short,
    a_unit_that_was_never_stocked_is_sold_or_refused,
    each_line_of_an_order_has_its_own_rule,
    stocking_a_unit_that_was_sold_unstocked_makes_an_entry,
);

use Brings::{Entries, Refusal};
use Step::{Adjust, Move, Return, Set, Site, Subscribe, Take, TakeUnrestricted, Unit};
use v1::ShortageReason::InsufficientStock;

async fn untracked_units_are_never_short(world: World) {
    let scenarios = [
        Scenario {
            name: "an untracked unit that was never stocked",
            steps: vec![
                (Unit("A", tracked(v1::Tracking::Untracked)), NOTHING),
                (Take(&[("A", 3)]), Entries(&[("A", -3, 0, 0)])),
                (TakeUnrestricted(&[("A", 2)]), Entries(&[("A", -2, 0, 0)])),
                (Subscribe(&[("A", 1)]), Entries(&[("A", -1, 0, 0)])),
                (Return(&[("A", 4)]), Entries(&[("A", 4, 0, 0)])),
            ],
        },
        Scenario {
            name: "the level of an untracked unit changes only by SetStock",
            steps: vec![
                (Set(&[("A", 4)]), Entries(&[("A", 4, 4, 4)])),
                (Unit("A", tracked(v1::Tracking::Untracked)), NOTHING),
                (Take(&[("A", 9)]), Entries(&[("A", -9, 0, 4)])),
                (Adjust(&[("A", -7)]), Entries(&[("A", -7, 0, 4)])),
                (Move(&[("A", 3)]), Entries(&[("A", -3, 0, 4), ("A", 3, 0, 0)])),
                (Set(&[("A", -1)]), Entries(&[("A", -5, -5, -1)])),
                (Take(&[("A", 9)]), Entries(&[("A", -9, 0, -1)])),
            ],
        },
        Scenario {
            name: "a return of an untracked unit is no over-return and is not clipped",
            steps: vec![
                (Site(clip()), NOTHING),
                (Unit("A", tracked(v1::Tracking::Untracked)), NOTHING),
                (Take(&[("A", 1)]), Entries(&[("A", -1, 0, 0)])),
                (Return(&[("A", 9)]), Entries(&[("A", 9, 0, 0)])),
            ],
        },
        Scenario {
            name: "a catalog of downloads",
            steps: vec![
                (
                    Site(catalog(v1::CatalogSettings {
                        app_id: CATALOG.into(),
                        tracking: v1::Tracking::Untracked.into(),
                        ..Default::default()
                    })),
                    NOTHING,
                ),
                (Take(&[("A", 3), ("B", 1)]), Entries(&[("A", -3, 0, 0), ("B", -1, 0, 0)])),
                (Unit("B", tracked(v1::Tracking::Quantity)), NOTHING),
                (Take(&[("A", 3), ("B", 1)]), Refusal(&[("B", 1, 0, 1, InsufficientStock)])),
            ],
        },
    ];
    scenario::run(&world, &scenarios).await;
}

async fn a_unit_that_was_never_stocked_is_sold_or_refused(world: World) {
    let scenarios = [
        Scenario {
            name: "a booking is sold until its level is set",
            steps: vec![
                (Take(&[("booking", 2)]), Entries(&[("booking", -2, 0, 0)])),
                (TakeUnrestricted(&[("booking", 1)]), Entries(&[("booking", -1, 0, 0)])),
                (Return(&[("booking", 1)]), Entries(&[("booking", 1, 0, 0)])),
                (Move(&[("booking", 1)]), Entries(&[("booking", -1, 0, 0), ("booking", 1, 0, 0)])),
                (Take(&[("booking", 2)]), Entries(&[("booking", -2, 0, 0)])),
                (Set(&[("booking", 3)]), Entries(&[("booking", 3, 3, 3)])),
                (Take(&[("booking", 2)]), Entries(&[("booking", -2, -2, 1)])),
                (Take(&[("booking", 2)]), Refusal(&[("booking", 2, 1, 1, InsufficientStock)])),
            ],
        },
        Scenario {
            name: "a booking is sold until its level is set to 0",
            steps: vec![
                (Take(&[("booking", 1)]), Entries(&[("booking", -1, 0, 0)])),
                (Set(&[("booking", 0)]), Entries(&[("booking", 0, 0, 0)])),
                (Take(&[("booking", 1)]), Refusal(&[("booking", 1, 0, 1, InsufficientStock)])),
                (Set(&[("booking", 0)]), NOTHING),
            ],
        },
        Scenario {
            name: "a booking that nobody ever ordered is set to 0",
            steps: vec![
                (Set(&[("booking", 0)]), Entries(&[("booking", 0, 0, 0)])),
                (Take(&[("booking", 1)]), Refusal(&[("booking", 1, 0, 1, InsufficientStock)])),
            ],
        },
        Scenario {
            name: "a booking is sold until its level is adjusted",
            steps: vec![
                (Adjust(&[("booking", 5)]), Entries(&[("booking", 5, 5, 5)])),
                (Take(&[("booking", 6)]), Refusal(&[("booking", 6, 5, 1, InsufficientStock)])),
            ],
        },
        Scenario {
            name: "a dish is adjusted below zero",
            steps: vec![
                (Take(&[("dish", 7)]), Entries(&[("dish", -7, 0, 0)])),
                (Adjust(&[("dish", -1)]), Entries(&[("dish", -1, -1, -1)])),
                (Take(&[("dish", 1)]), Refusal(&[("dish", 1, -1, 2, InsufficientStock)])),
            ],
        },
        Scenario {
            name: "a product counts as 0 until it is stocked",
            steps: vec![
                (Take(&[("product", 1)]), Refusal(&[("product", 1, 0, 1, InsufficientStock)])),
                (TakeUnrestricted(&[("product", 1)]), Entries(&[("product", -1, -1, -1)])),
                (Return(&[("product", 1)]), Entries(&[("product", 1, 1, 0)])),
                (Set(&[("product", 0)]), NOTHING),
                (Take(&[("product", 1)]), Refusal(&[("product", 1, 0, 1, InsufficientStock)])),
                (Adjust(&[("product", 1)]), Entries(&[("product", 1, 1, 1)])),
                (Take(&[("product", 1)]), Entries(&[("product", -1, -1, 0)])),
            ],
        },
        Scenario {
            name: "an unknown app counts as 0 until its unit is stocked",
            steps: vec![
                (Take(&[("A", 1)]), Refusal(&[("A", 1, 0, 1, InsufficientStock)])),
                (Set(&[("A", 0)]), NOTHING),
                (Take(&[("A", 1)]), Refusal(&[("A", 1, 0, 1, InsufficientStock)])),
            ],
        },
        Scenario {
            name: "the site decides that a catalog sells, and then that it refuses",
            steps: vec![
                (Site(unstocked(CATALOG, v1::Unstocked::Sell)), NOTHING),
                (Take(&[("A", 1)]), Entries(&[("A", -1, 0, 0)])),
                (Site(unstocked(CATALOG, v1::Unstocked::Refuse)), NOTHING),
                (Take(&[("A", 1)]), Refusal(&[("A", 1, 0, 1, InsufficientStock)])),
                (Site(unstocked(CATALOG, v1::Unstocked::Sell)), NOTHING),
                (Set(&[("A", 0)]), Entries(&[("A", 0, 0, 0)])),
                (Take(&[("A", 1)]), Refusal(&[("A", 1, 0, 1, InsufficientStock)])),
            ],
        },
        Scenario {
            name: "the site decides that bookings are refused",
            steps: vec![
                (Site(unstocked(BOOKINGS, v1::Unstocked::Refuse)), NOTHING),
                (Take(&[("booking", 1)]), Refusal(&[("booking", 1, 0, 1, InsufficientStock)])),
                (Site(unstocked(BOOKINGS, v1::Unstocked::Unspecified)), NOTHING),
                (Take(&[("booking", 1)]), Entries(&[("booking", -1, 0, 0)])),
            ],
        },
        Scenario {
            name: "a booking has a tracking of its own",
            steps: vec![
                (Unit("booking", tracked(v1::Tracking::Quantity)), NOTHING),
                (Take(&[("booking", 1)]), Refusal(&[("booking", 1, 0, 1, InsufficientStock)])),
                (Unit("booking", tracked(v1::Tracking::Status)), NOTHING),
                (Take(&[("booking", 5)]), Refusal(&[("booking", 5, 0, 1, InsufficientStock)])),
                (Unit("booking", reset(&["tracking"])), NOTHING),
                (Take(&[("booking", 1)]), Entries(&[("booking", -1, 0, 0)])),
            ],
        },
        Scenario {
            name: "a backorder limit of its own does not count a booking",
            steps: vec![
                (Unit("booking", v1::UpdateUnitRequest { backorder_limit: Some(2), ..Default::default() }), NOTHING),
                (Take(&[("booking", 9)]), Entries(&[("booking", -9, 0, 0)])),
                (Set(&[("booking", 0)]), Entries(&[("booking", 0, 0, 0)])),
                (Take(&[("booking", 3)]), Refusal(&[("booking", 3, 0, 1, InsufficientStock)])),
                (Take(&[("booking", 2)]), Entries(&[("booking", -2, -2, -2)])),
            ],
        },
        Scenario {
            name: "a booking with a tracking of its own is set to 0",
            steps: vec![
                (Unit("booking", tracked(v1::Tracking::Quantity)), NOTHING),
                (Set(&[("booking", 0)]), NOTHING),
                (Unit("booking", reset(&["tracking"])), NOTHING),
                (Take(&[("booking", 1)]), Refusal(&[("booking", 1, 0, 1, InsufficientStock)])),
            ],
        },
        Scenario {
            name: "a catalog that sells what was never stocked, and tracks by status what was",
            steps: vec![
                (
                    Site(catalog(v1::CatalogSettings {
                        app_id: CATALOG.into(),
                        tracking: v1::Tracking::Status.into(),
                        unstocked: v1::Unstocked::Sell.into(),
                        ..Default::default()
                    })),
                    NOTHING,
                ),
                (Take(&[("A", 9)]), Entries(&[("A", -9, 0, 0)])),
                (Set(&[("A", 0)]), Entries(&[("A", 0, 0, 0)])),
                (Take(&[("A", 9)]), Refusal(&[("A", 9, 0, 1, InsufficientStock)])),
                (Set(&[("A", 1)]), Entries(&[("A", 1, 1, 1)])),
                (Take(&[("A", 9)]), Entries(&[("A", -9, 0, 1)])),
            ],
        },
    ];
    scenario::run(&world, &scenarios).await;
}

async fn each_line_of_an_order_has_its_own_rule(world: World) {
    let scenarios = [Scenario {
        name: "a booking, a dish and a product in one order",
        steps: vec![
            (
                Take(&[("booking", 1), ("product", 2), ("dish", 3), ("A", 1)]),
                Refusal(&[("product", 2, 0, 2, InsufficientStock), ("A", 1, 0, 1, InsufficientStock)]),
            ),
            (Set(&[("product", 5), ("A", 1)]), Entries(&[("product", 5, 5, 5), ("A", 1, 1, 1)])),
            (
                Take(&[("booking", 1), ("product", 2), ("dish", 3), ("A", 1)]),
                Entries(&[("booking", -1, 0, 0), ("product", -2, -2, 3), ("dish", -3, 0, 0), ("A", -1, -1, 0)]),
            ),
            // The booking is counted from now on, so it can be what refuses the order.
            (Set(&[("booking", 0)]), Entries(&[("booking", 0, 0, 0)])),
            (Take(&[("dish", 1), ("booking", 1), ("product", 1)]), Refusal(&[("booking", 1, 0, 1, InsufficientStock)])),
            (
                TakeUnrestricted(&[("dish", 1), ("booking", 1), ("product", 1)]),
                Entries(&[("dish", -1, 0, 0), ("booking", -1, -1, -1), ("product", -1, -1, 2)]),
            ),
            (
                Return(&[("dish", 4), ("booking", 2), ("product", 3)]),
                Entries(&[("dish", 4, 0, 0), ("booking", 2, 2, 1), ("product", 3, 3, 5)]),
            ),
        ],
    }];
    scenario::run(&world, &scenarios).await;
}

/// The unit is sold before it is stocked, and untracked after that. The entry shows that it is stocked.
async fn stocking_a_unit_that_was_sold_unstocked_makes_an_entry(world: World) {
    let untracked = |app_id: &str, unstocked: v1::Unstocked| {
        Site(catalog(v1::CatalogSettings {
            app_id: app_id.into(),
            tracking: v1::Tracking::Untracked.into(),
            unstocked: unstocked.into(),
            ..Default::default()
        }))
    };
    let scenarios = [
        Scenario {
            name: "a catalog that sells by its built-in policy",
            steps: vec![
                (untracked(BOOKINGS, v1::Unstocked::Unspecified), NOTHING),
                (Set(&[("booking", 0)]), Entries(&[("booking", 0, 0, 0)])),
                (Set(&[("booking", 0)]), NOTHING),
                (Take(&[("booking", 1)]), Entries(&[("booking", -1, 0, 0)])),
            ],
        },
        Scenario {
            name: "a catalog that sells by a setting of the site",
            steps: vec![
                (untracked(CATALOG, v1::Unstocked::Sell), NOTHING),
                (Set(&[("A", 0)]), Entries(&[("A", 0, 0, 0)])),
                (Set(&[("A", 0)]), NOTHING),
                (Take(&[("A", 1)]), Entries(&[("A", -1, 0, 0)])),
            ],
        },
    ];
    scenario::run(&world, &scenarios).await;
}
