use futures_util::FutureExt;

use super::*;

/// Takes room if there is some at once.
fn take(room: &Arc<Room>, site: u64, items: usize) -> Option<Place> {
    room.take(site, items, in_time()).now_or_never().flatten()
}

fn taken(room: &Room) -> usize {
    room.lock().taken
}

/// A deadline that is far.
fn in_time() -> Instant {
    Instant::now() + Duration::from_secs(3_600)
}

#[test]
fn a_site_takes_as_much_as_it_leaves_free() {
    let room = Arc::default();
    let calls = |site, items| std::iter::from_fn(|| take(&room, site, items)).collect::<Vec<_>>();
    let flood = calls(1, 300);
    assert_eq!((flood.len(), taken(&room)), (61, 61 * 340));
    let second = calls(2, 1);
    assert_eq!(second.len(), 248);
    assert!(take(&room, 1, 1).is_none() && take(&room, 3, 1).is_some());
    drop((flood, second));
    assert_eq!(calls(1, 1).len(), 500, "half of the room");
    assert_eq!(taken(&room), 0);
    assert!(room.lock().sites.is_empty() && room.lock().turns.is_empty(), "nothing is left of them");
}

#[test]
fn those_who_wait_have_turns_by_site() {
    let room = Arc::default();
    // A call of each of so many sites.
    let mut held: VecDeque<_> = (100..1_100).map(|site| take(&room, site, 1).expect("there is room")).collect();
    assert_eq!(taken(&room), ROOM);
    let calls = [("a1", 1), ("a2", 1), ("a3", 1), ("b1", 2), ("b2", 2), ("c1", 3)];
    let mut waiting = Vec::from(calls.map(|(name, site)| (name, Box::pin(room.take(site, 1, in_time())))));
    assert!(waiting.iter_mut().all(|(_, call)| call.now_or_never().is_none()));
    // The time of this one is over.
    waiting.retain(|(name, _)| *name != "a2");
    let (mut order, mut places) = (Vec::new(), Vec::new());
    while let Some(place) = held.pop_front() {
        drop(place);
        waiting.retain_mut(|(name, call)| {
            let place = call.now_or_never().flatten();
            order.extend(place.is_some().then_some(*name));
            let waits = place.is_none();
            places.extend(place);
            waits
        });
    }
    assert_eq!(order, ["a1", "b1", "c1", "a3", "b2"]);
    drop(places);
    assert_eq!(taken(&room), 0);
}

#[test]
fn sites_whose_callers_have_left_hold_up_nobody() {
    let room = Arc::default();
    let mut held: Vec<_> = (100..1_100).map(|site| take(&room, site, 1).expect("there is room")).collect();
    let wait = |site| {
        let mut call = Box::pin(room.take(site, 1, in_time()));
        assert!((&mut call).now_or_never().is_none());
        call
    };
    let leave = [wait(1), wait(2), wait(3)];
    let mut stays = wait(4);
    drop(leave);
    drop(held.pop());
    assert!((&mut stays).now_or_never().flatten().is_some(), "the first room is for the one who still waits");
}

#[test]
fn a_caller_that_leaves_when_its_turn_comes_gives_its_place_back() {
    let room = Arc::default();
    let held: Vec<_> = (100..1_100).map(|site| take(&room, site, 1).expect("there is room")).collect();
    let mut leaves = Box::pin(room.take(1, 1, in_time()));
    assert!((&mut leaves).now_or_never().is_none());
    drop(held);
    assert_eq!(taken(&room), CALL + 1, "it has a place, which it has not seen yet");
    drop(leaves);
    assert_eq!(taken(&room), 0);
}
