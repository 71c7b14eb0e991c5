//! How many calls may be under way at one server. The others wait here, site by site.
//!
//! Calls travel to a server on one stream, in order, and the server reads no more than so many at a time. So a site
//! that sends more than that, or whose calls take long, would hold up the calls of all others behind its own. Here a
//! site may take as much room as it leaves free: alone half of it, two busy sites a third each. A call that waits has
//! its turn after one call of each other site.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// What a call takes besides one for each of its items.
const CALL: usize = 40;
/// The room of one server: for 1,000 calls of one item, or 120 of 300 items. The server reads 1,024 calls, 40,000
/// items, or 20 MiB at a time from one stream, so it reads each call as soon as it comes.
const ROOM: usize = 1_000 * (CALL + 1);

/// The room of one server.
#[derive(Debug, Default)]
pub(super) struct Room(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// Sites with calls under way, or that wait.
    sites: HashMap<u64, Site>,
    /// The sites with calls that wait, in the order of their turns.
    turns: VecDeque<u64>,
}

#[derive(Debug, Default)]
struct Site {
    taken: usize,
    /// In the order in which they came.
    waiting: VecDeque<Waiting>,
}

/// A call that waits.
#[derive(Debug)]
struct Waiting {
    size: usize,
    caller: oneshot::Sender<Place>,
}

/// The room that a call has. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    site: u64,
    size: usize,
}

impl Room {
    /// Takes room for a call of a site with so many items; waits until there is some.
    pub(super) async fn take(self: &Arc<Self>, site: u64, items: usize) -> Place {
        let size = CALL + items;
        loop {
            let (caller, place) = oneshot::channel();
            {
                let mut state = self.lock();
                if !state.waits(site) && state.has_room(site) {
                    state.add(site, size);
                    return Place { room: Arc::clone(self), site, size };
                }
                state.wait(site, Waiting { size, caller });
            }
            // A caller is dropped only if it has left.
            if let Ok(place) = place.await {
                return place;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let admitted = {
            let mut state = self.room.lock();
            state.remove(self.site, self.size);
            state.admit()
        };
        for (site, Waiting { size, caller }) in admitted {
            // The place of a caller who has left in this moment is given back.
            drop(caller.send(Self { room: Arc::clone(&self.room), site, size }));
        }
    }
}

impl State {
    fn has_room(&self, site: u64) -> bool {
        self.sites.get(&site).map_or(0, |site| site.taken) < ROOM.saturating_sub(self.taken)
    }

    fn waits(&self, site: u64) -> bool {
        self.sites.get(&site).is_some_and(|site| !site.waiting.is_empty())
    }

    fn add(&mut self, site: u64, size: usize) {
        self.taken += size;
        self.sites.entry(site).or_default().taken += size;
    }

    fn remove(&mut self, site: u64, size: usize) {
        self.taken -= size;
        if let Some(own) = self.sites.get_mut(&site) {
            own.taken -= size;
        }
        self.forget(site);
    }

    /// Forgets a site without calls.
    fn forget(&mut self, site: u64) {
        if self.sites.get(&site).is_some_and(|own| own.taken == 0 && own.waiting.is_empty()) {
            self.sites.remove(&site);
        }
    }

    fn wait(&mut self, site: u64, call: Waiting) {
        let own = self.sites.entry(site).or_default();
        if own.waiting.is_empty() {
            self.turns.push_back(site);
        }
        own.waiting.push_back(call);
    }

    /// Takes room for those who wait, as far as there is some, a call of each site in turn.
    fn admit(&mut self) -> Vec<(u64, Waiting)> {
        let (mut admitted, mut passed) = (Vec::new(), 0);
        while passed < self.turns.len() && self.taken < ROOM {
            let Some(site) = self.turns.pop_front() else { break };
            let has_room = self.has_room(site);
            let Some(own) = self.sites.get_mut(&site) else { continue };
            // Nobody waits for the answer of a call whose time is over.
            while own.waiting.front().is_some_and(|call| call.caller.is_closed()) {
                own.waiting.pop_front();
            }
            let next = if has_room { own.waiting.pop_front() } else { None };
            let waits = !own.waiting.is_empty();
            if waits {
                self.turns.push_back(site);
            }
            match next {
                Some(call) => {
                    self.add(site, call.size);
                    admitted.push((site, call));
                    passed = 0;
                }
                // A site that waits no more has left the turns.
                None if waits => passed += 1,
                None => self.forget(site),
            }
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// Takes room if there is some at once.
    fn take(room: &Arc<Room>, site: u64, items: usize) -> Option<Place> {
        room.take(site, items).now_or_never()
    }

    fn taken(room: &Room) -> usize {
        room.lock().taken
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
        let mut waiting = Vec::from(calls.map(|(name, site)| (name, Box::pin(room.take(site, 1)))));
        assert!(waiting.iter_mut().all(|(_, call)| call.now_or_never().is_none()));
        // The time of this one is over.
        waiting.retain(|(name, _)| *name != "a2");
        let (mut order, mut places) = (Vec::new(), Vec::new());
        while let Some(place) = held.pop_front() {
            drop(place);
            waiting.retain_mut(|(name, call)| {
                let place = call.now_or_never();
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
            let mut call = Box::pin(room.take(site, 1));
            assert!((&mut call).now_or_never().is_none());
            call
        };
        let leave = [wait(1), wait(2), wait(3)];
        let mut stays = wait(4);
        drop(leave);
        drop(held.pop());
        assert!((&mut stays).now_or_never().is_some(), "the first room is for the one who still waits");
    }

    #[test]
    fn a_caller_that_leaves_when_its_turn_comes_gives_its_place_back() {
        let room = Arc::default();
        let held: Vec<_> = (100..1_100).map(|site| take(&room, site, 1).expect("there is room")).collect();
        let mut leaves = Box::pin(room.take(1, 1));
        assert!((&mut leaves).now_or_never().is_none());
        drop(held);
        assert_eq!(taken(&room), CALL + 1, "it has a place, which it has not seen yet");
        drop(leaves);
        assert_eq!(taken(&room), 0);
    }
}
