//! How many calls may be under way at one server. The others wait here, site by site.
//!
//! Calls travel to a server on one stream, in order, and the server reads no more than so many at a time. So a site
//! that sends more than that, or whose calls take long, would hold up the calls of all others behind its own. Here a
//! site may take as much room as it leaves free: alone half of it, two busy sites a third each. A call that waits has
//! its turn after one call of each other site.
//!
//! Under overload calls would wait in vain, and the server would work for callers who have left. So a call is refused
//! at once if those before it are likely to take more than its time. The server has not got it: nothing was taken.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// What a call takes besides one for each of its items.
const CALL: usize = 40;
/// The room of one server: for 1,000 calls of one item, or 120 of 300 items. The server reads 1,024 calls, 40,000
/// items, or 20 MiB at a time from one stream, so it reads each call as soon as it comes.
const ROOM: usize = 1_000 * (CALL + 1);
/// A call is likely to be answered in time if this part of its time is enough, as far as is known.
const LIKELY: f64 = 0.75;
/// In so many turns of its room, a site learns that its calls take longer than before. So a server looks no slower for
/// one pause.
const TURNS_SLOWER: f64 = 4.0;
/// In so many turns, it learns that they take less time.
const TURNS_FASTER: f64 = 0.5;

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
    /// What they will take.
    wanted: usize,
    /// For how many seconds its last calls had their room, on a moving average. Zero if none has ended yet.
    held: f64,
}

/// The answer to a call that asks for room.
#[derive(Debug)]
enum Asked {
    /// It has its room.
    Taken,
    /// It has its turn later.
    Waits,
    /// It is not likely to be answered in its time.
    InVain,
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
    since: Instant,
}

impl Room {
    /// Takes room for a call of a site with so many items; waits until there is some. `None` at once if the call is
    /// not likely to be answered before the deadline.
    pub(super) async fn take(self: &Arc<Self>, site: u64, items: usize, deadline: Instant) -> Option<Place> {
        let size = CALL + items;
        loop {
            let (caller, place) = oneshot::channel();
            let now = Instant::now();
            let asked = self.lock().ask(site, Waiting { size, caller }, deadline.saturating_duration_since(now));
            match asked {
                Asked::Taken => return Some(Place { room: Arc::clone(self), site, size, since: now }),
                Asked::InVain => return None,
                // A caller is dropped only if it has left.
                Asked::Waits => {
                    if let Ok(place) = place.await {
                        return Some(place);
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = Instant::now();
        let admitted = {
            let mut state = self.room.lock();
            state.remove(self.site, self.size, now.saturating_duration_since(self.since));
            state.admit()
        };
        for (site, Waiting { size, caller }) in admitted {
            // The place of a caller who has left in this moment is given back.
            drop(caller.send(Self { room: Arc::clone(&self.room), site, size, since: now }));
        }
    }
}

impl State {
    fn has_room(&self, site: u64) -> bool {
        self.sites.get(&site).map_or(0, |site| site.taken) < ROOM.saturating_sub(self.taken)
    }

    fn add(&mut self, site: u64, size: usize) {
        self.taken += size;
        self.sites.entry(site).or_default().taken += size;
    }

    fn remove(&mut self, site: u64, size: usize, held: Duration) {
        self.taken -= size;
        if let Some(own) = self.sites.get_mut(&site) {
            own.ended(size, held.as_secs_f64());
        }
        self.forget(site);
    }

    /// Forgets a site without calls.
    fn forget(&mut self, site: u64) {
        if self.sites.get(&site).is_some_and(|own| own.taken == 0 && own.waiting.is_empty()) {
            self.sites.remove(&site);
        }
    }

    /// Takes room for a call that has so much time, or lets it wait.
    fn ask(&mut self, site: u64, call: Waiting, time: Duration) -> Asked {
        let waits = self.sites.get(&site).is_some_and(|own| !own.waiting.is_empty());
        if !waits && self.has_room(site) {
            self.add(site, call.size);
            return Asked::Taken;
        }
        let own = self.sites.entry(site).or_default();
        if own.likely_seconds(call.size) > LIKELY * time.as_secs_f64() {
            return Asked::InVain;
        }
        if !waits {
            self.turns.push_back(site);
        }
        own.wanted += call.size;
        own.waiting.push_back(call);
        Asked::Waits
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
                drop(own.next());
            }
            let next = if has_room { own.next() } else { None };
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

impl Site {
    /// A call of this size gives back the room that it had for so many seconds.
    fn ended(&mut self, size: usize, held: f64) {
        let turns = if held > self.held { TURNS_SLOWER } else { TURNS_FASTER };
        let part = (size as f64 / (turns * self.taken as f64)).min(1.0);
        self.held = if self.held > 0.0 { self.held + part * (held - self.held) } else { held };
        self.taken -= size;
    }

    /// The seconds until a call of this size is likely to be answered. All the room that the site has is given back
    /// once in the time for which a call has it. So much room must be given back before the call has its own.
    fn likely_seconds(&self, size: usize) -> f64 {
        // A site without a call under way has the next turn.
        let before = if self.taken == 0 { 0.0 } else { (self.wanted + size) as f64 / self.taken as f64 };
        self.held * (before + 1.0)
    }

    /// Takes the call that has waited longest.
    fn next(&mut self) -> Option<Waiting> {
        let call = self.waiting.pop_front()?;
        self.wanted -= call.size;
        Some(call)
    }
}

#[cfg(test)]
mod overload;
#[cfg(test)]
mod tests;
