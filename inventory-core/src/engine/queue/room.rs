//! How much may wait for a writer. A site may take as much room as it leaves free: alone half of the queue, two busy
//! sites a third each. So a site that floods is refused while another still finds room.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::engine::queue::turns::Lane;
use crate::model::limits;

/// Sites share a counter with those of the same hash, which is random in each process: none can choose its neighbours.
const COUNTERS: usize = 256;

/// The room of one queue, counted in commands and tasks.
pub(super) struct Room {
    all: AtomicUsize,
    of_lanes: [AtomicUsize; COUNTERS],
    hasher: RandomState,
}

impl Room {
    pub(super) fn new() -> Self {
        let of_lanes = [const { AtomicUsize::new(0) }; COUNTERS];
        Self { all: AtomicUsize::new(0), of_lanes, hasher: RandomState::new() }
    }

    /// Takes room for one piece of work; says whether there was any.
    pub(super) fn take(&self, lane: Lane) -> bool {
        let all = self.all.fetch_add(1, Ordering::Relaxed);
        let own = self.of(lane).fetch_add(1, Ordering::Relaxed);
        let has_room = own < limits::QUEUE_COMMANDS_MAX.saturating_sub(all);
        if !has_room {
            self.give_back(lane);
        }
        has_room
    }

    /// Gives back what `take` took.
    pub(super) fn give_back(&self, lane: Lane) {
        self.of(lane).fetch_sub(1, Ordering::Relaxed);
        self.all.fetch_sub(1, Ordering::Relaxed);
    }

    /// Commands and tasks that wait.
    pub(super) fn taken(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    fn of(&self, lane: Lane) -> &AtomicUsize {
        // The remainder is below the number of counters.
        &self.of_lanes[(self.hasher.hash_one(lane) % COUNTERS as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::ids::SiteId;

    #[test]
    fn a_flood_leaves_room_for_others() {
        let room = Room::new();
        let site = |number| Some(SiteId::from_uuid(Uuid::from_u128(number)));
        let flood = site(0);
        // Two sites of the same hash would count as one.
        let other = (1..).map(site).find(|other| !std::ptr::eq(room.of(flood), room.of(*other))).expect("a good hash");
        let taken = (0..limits::QUEUE_COMMANDS_MAX).filter(|_| room.take(flood)).count();
        assert_eq!(taken, limits::QUEUE_COMMANDS_MAX / 2);
        assert!(room.take(other) && !room.take(flood));
        room.give_back(flood);
        room.give_back(other);
        assert!(room.take(flood));
        assert_eq!(room.taken(), limits::QUEUE_COMMANDS_MAX / 2);
    }
}
