//! Memory that calls share for what they receive.
//!
//! A call is charged for the bytes that have arrived. The first bytes of each call come from a part of their own, so
//! large messages that never end keep nobody with a message of a usual size from an answer.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The memory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Memory {
    first_bytes: usize,
    first: Arc<Semaphore>,
    other: Arc<Semaphore>,
}

/// What a call is charged for. Dropping it gives the memory back.
#[derive(Debug, Default)]
pub struct Charged {
    first: Part,
    other: Part,
}

#[derive(Debug, Default)]
struct Part {
    bytes: usize,
    permits: Option<OwnedSemaphorePermit>,
}

impl Memory {
    /// Memory in which the first `first_bytes` of all calls take at most `first_max` bytes, and the other bytes
    /// `other_max`.
    pub fn new(first_bytes: usize, first_max: usize, other_max: usize) -> Self {
        let part = |bytes| Arc::new(Semaphore::new(bytes));
        Self { first_bytes, first: part(first_max), other: part(other_max) }
    }

    /// Whether there is room now for a call that will receive so many bytes.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        let (first, other) = self.parts(bytes);
        first <= self.first.available_permits() && other <= self.other.available_permits()
    }

    /// Charges a call that has received `bytes` so far. False if there is no room; then the call must be refused.
    #[must_use]
    pub fn charge(&self, charged: &mut Charged, bytes: usize) -> bool {
        let (first, other) = self.parts(bytes);
        charged.first.grow(&self.first, first) && charged.other.grow(&self.other, other)
    }

    /// How many of a call's bytes are first ones, and how many are not.
    fn parts(&self, bytes: usize) -> (usize, usize) {
        let first = bytes.min(self.first_bytes);
        (first, bytes - first)
    }
}

impl Part {
    fn grow(&mut self, memory: &Arc<Semaphore>, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return true;
        }
        let permits = u32::try_from(more).ok().and_then(|more| memory.clone().try_acquire_many_owned(more).ok());
        let Some(permits) = permits else { return false };
        match &mut self.permits {
            Some(held) => held.merge(permits),
            None => self.permits = Some(permits),
        }
        self.bytes = bytes;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_calls_leave_room_for_the_first_bytes_of_others() {
        let memory = Memory::new(10, 30, 200);
        let mut large = [(); 2].map(|()| Charged::default());
        assert!(large.iter_mut().all(|charged| memory.charge(charged, 110)));
        assert!(memory.has_room(10) && !memory.has_room(11), "the large ones leave no room for another one");
        let mut small = Charged::default();
        assert!(memory.charge(&mut small, 4) && memory.charge(&mut small, 10));
        assert!(!memory.charge(&mut small, 11) && !memory.charge(&mut Charged::default(), 1));
        assert!(!memory.has_room(1), "all room for first bytes is taken");
        drop(large);
        assert!(memory.charge(&mut small, 210) && memory.charge(&mut small, 5), "the memory was given back");
    }
}
