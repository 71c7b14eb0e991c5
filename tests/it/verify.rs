//! `VerifySite` while the site's settings change.

use std::time::Duration;

use inventory_proto::v1;
use inventory_tests::on_both;
use inventory_tests::requests::{adjust, adjust_item, guid};
use inventory_tests::world::World;

on_both!(naming_the_default_location_during_a_verification_makes_no_difference);

/// No verification here takes this long.
const PATIENCE: Duration = Duration::from_secs(60);
const UNITS: usize = 1_000;
/// Entries of each unit. There are so many entries that the server reports its progress several times.
const ROUNDS: usize = 50;

/// The default location gets its id while a verification with repair is under way. Levels of the default location are
/// stored without an id, so the verification must find no difference and repair nothing.
async fn naming_the_default_location_during_a_verification_makes_no_difference(world: World) {
    for round in 0..ROUNDS {
        let item = |unit: usize| adjust_item(&format!("unit-{unit}"), 1 + (unit + round) as i64 % 3);
        let items = (0..UNITS).map(item).collect();
        let request = v1::AdjustStockRequest { items, ..adjust(&world.site, &[]) };
        world.stock().adjust_stock(request).await.expect("the levels can be adjusted");
    }
    let request = v1::VerifySiteRequest { site_id: world.site.clone(), repair: true };
    let mut messages = world.ledger().verify_site(request).await.expect("the verification starts").into_inner();
    let first = messages.message().await.expect("a report of progress").expect("the stream has more than one message");
    assert!(
        !first.done && first.entries < first.entries_expected,
        "the verification must still be under way: {first:?}"
    );
    let change = v1::UpdateSiteRequest { default_location_id: guid(), ..Default::default() };
    world.configure_site(change).await.expect("the default location can be named");

    let rest = async {
        loop {
            let message =
                messages.message().await.expect("a report of progress").expect("the last message has the result");
            if message.done {
                return message;
            }
        }
    };
    let result = tokio::time::timeout(PATIENCE, rest).await.expect("the verification ends");
    assert_eq!((result.entries, result.levels), ((UNITS * ROUNDS) as i64, UNITS as i64));
    assert_eq!((result.difference_count, result.differences), (0, Vec::new()));
    let repairs = v1::ListEntriesRequest {
        kind: v1::Kind::Repair.into(),
        after_sequence: (UNITS * ROUNDS) as i64,
        ..Default::default()
    };
    assert_eq!(world.list_entries(repairs).await, [], "nothing is repaired");
}
