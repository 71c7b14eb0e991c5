//! Support for the whole-system tests and the benchmarks: real servers on free ports, a real Postgres, real signatures.

pub mod bench;
pub mod books;
pub mod call_stream;
pub mod certificates;
pub mod chaos;
pub mod errors;
pub mod model;
pub mod packaging;
pub mod postgres;
pub mod programs;
pub mod python;
pub mod raw_http2;
pub mod replica;
pub mod requests;
pub mod scenario;
pub mod test_clock;
pub mod test_keys;
pub mod tokens;
pub mod wix_caller;
pub mod world;
