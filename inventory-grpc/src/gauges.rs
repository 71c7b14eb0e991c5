//! Keeps the gauges current: those that change without an event, and those that need a query.

use std::time::Duration;

use inventory_core::engine::Engine;
use inventory_core::store::Store;

/// How often the gauges are set that cost nothing.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// How many of these times pass between two queries for the size of the database.
const TIMES_PER_SIZE: u32 = 45;

/// Sets the gauges, again and again. Never ends.
pub(crate) async fn keep_current(engine: Engine, store: Store) {
    let mut every = tokio::time::interval(MEASURE_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        // If the query fails, the size stays as it was; `store_up` says that the database is away.
        let _ = store.measure_size().await;
        for _ in 0..TIMES_PER_SIZE {
            every.tick().await;
            engine.measure();
            store.measure();
        }
    }
}
