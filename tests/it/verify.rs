//! `VerifySite` while the site's settings change.

use std::time::Duration;

use inventory_proto::v1;
use inventory_tests::on_both;
use inventory_tests::world::{World, reference};
use uuid::Uuid;

on_both!(naming_the_default_location_makes_no_difference);

/// Nothing here takes this long.
const PATIENCE: Duration = Duration::from_secs(60);
const UNITS: usize = 1_000;
/// Entries of each unit. All together are so many that the server reports its progress several times.
const ROUNDS: usize = 50;

/// A verification with repair is under way when the default location gets its id. Its levels are stored without one, so
/// nothing may differ, and nothing may be repaired.
async fn naming_the_default_location_makes_no_difference(world: World) {
    for round in 0..ROUNDS {
        let item = |unit: usize| v1::AdjustStockItem {
            unit: reference(&format!("unit-{unit}")),
            delta: 1 + (unit + round) as i64 % 3,
            ..Default::default()
        };
        let request = v1::AdjustStockRequest {
            site_id: world.site.clone(),
            items: (0..UNITS).map(item).collect(),
            ..Default::default()
        };
        world.stock().adjust_stock(request).await.expect("adjusted");
    }
    let request = v1::VerifySiteRequest { site_id: world.site.clone(), repair: true };
    let mut messages = world.ledger().verify_site(request).await.expect("it begins").into_inner();
    let first = messages.message().await.expect("progress").expect("more than one message");
    assert!(!first.done && first.entries < first.entries_expected, "in the middle: {first:?}");
    let default_location_id = Uuid::new_v4().to_string();
    let name = v1::UpdateSiteRequest { site_id: world.site.clone(), default_location_id, ..Default::default() };
    world.sites().update_site(name).await.expect("named");

    let rest = async {
        loop {
            let message = messages.message().await.expect("progress").expect("the last message has the result");
            if message.done {
                return message;
            }
        }
    };
    let result = tokio::time::timeout(PATIENCE, rest).await.expect("it ends");
    assert_eq!((result.entries, result.levels), ((UNITS * ROUNDS) as i64, UNITS as i64));
    assert_eq!((result.difference_count, result.differences), (0, Vec::new()));
    let repairs = v1::ListEntriesRequest {
        site_id: world.site.clone(),
        kind: v1::Kind::Repair.into(),
        after_sequence: (UNITS * ROUNDS) as i64,
        ..Default::default()
    };
    let repairs = world.ledger().list_entries(repairs).await.expect("listed").into_inner().entries;
    assert_eq!(repairs, [], "nothing was repaired");
}
