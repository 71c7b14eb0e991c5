//! Somebody else's transaction holds rows that a site needs: the others do not wait for it.

use super::*;

#[tokio::test]
async fn a_site_with_a_locked_row_is_set_aside_and_seldom_tried() {
    const ORDERS: i64 = 200;
    let (engine, books) = engine(&[]);
    books.lock().expect("no panic").locked.push(SiteId::from_uuid(Uuid::from_u128(1)));
    let mut blocked = Vec::new();
    for order in 1..=ORDERS {
        blocked.push(submitted(&engine, give_to(1, &format!("blocked {order}"), 1)));
        let free = engine.submit(give_to(2, &format!("free {order}"), 1), soon()).await;
        assert!(is_applied(&free), "{free:?}");
    }
    assert!(blocked.iter().all(|order| !order.is_finished()), "they wait for the lock as long as they may");
    let met = books.lock().expect("no panic").met_locks;
    assert!((2..=ORDERS as usize / 2).contains(&met), "{met} writes met the lock, of {ORDERS} orders of each site");

    books.lock().expect("no panic").locked.clear();
    for (order, level) in blocked.into_iter().zip(1..) {
        assert_eq!(level_after(order.await.expect("no panic")), level, "they are carried out in their order");
    }
    engine.drain().await;
}
