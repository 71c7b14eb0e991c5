//! What the whole-system tests and the benchmarks stand on: real servers on port 0, real
//! Postgres, real signatures.

pub mod bench;
pub mod books;
pub mod chaos;
pub mod model;
pub mod postgres;
pub mod programs;
pub mod test_keys;
pub mod wix_caller;
pub mod world;
