//! A clock that a test sets, for servers of this process.

use std::sync::{Arc, Mutex, PoisonError};

use inventory_core::engine::clock::Clock;
use prost_types::Timestamp;

/// The beginning of the year 2100, in microseconds since 1970. A server started today takes nothing from then for old.
pub const YEAR_2100: i64 = 4_102_444_800_000_000;

/// Microseconds of a second.
pub const SECOND: i64 = 1_000_000;

/// A clock that shows the machine's time until a test sets it. Then it stands still. Clones show the same.
#[derive(Clone, Default)]
pub struct TestClock(Arc<Mutex<Option<i64>>>);

impl TestClock {
    /// A clock that stands at a time: microseconds since 1970.
    pub fn at(micros: i64) -> Self {
        Self(Arc::new(Mutex::new(Some(micros))))
    }

    /// Sets it: microseconds since 1970. It may run backwards.
    pub fn set(&self, micros: i64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(micros);
    }

    /// The clock as a server takes it.
    pub fn clock(&self) -> Clock {
        let (own, machine) = (self.clone(), Clock::system());
        Clock::new(move || {
            let set = *own.0.lock().unwrap_or_else(PoisonError::into_inner);
            set.unwrap_or_else(|| machine.now())
        })
    }
}

/// A time of a request: microseconds since 1970.
pub fn timestamp(micros: i64) -> Timestamp {
    let nanos = i32::try_from(micros.rem_euclid(SECOND) * 1_000).expect("less than a second");
    Timestamp { seconds: micros.div_euclid(SECOND), nanos }
}

/// The time of an answer: microseconds since 1970.
pub fn micros(time: &Timestamp) -> i64 {
    time.seconds * SECOND + i64::from(time.nanos) / 1_000
}
