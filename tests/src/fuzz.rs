//! What must hold for any bytes: one property for each fuzz target. A property takes what a fuzzer made up, runs the
//! real readers on it, and panics if they break a promise.
//!
//! `tests/fuzz/` runs the properties under libFuzzer, `it/fuzz_corpus.rs` runs them on the corpus of the repository.

mod envelope;
mod options;
mod requests;
mod rows;
mod token;

pub use envelope::envelope;
pub use options::options;
pub use requests::requests;
pub use rows::rows;
pub use token::token;

/// A property.
pub type Property = fn(&[u8]);

/// The fuzz targets: the names of their programs and of their folders in the corpus.
pub const TARGETS: [(&str, Property); 5] =
    [("token", token), ("envelope", envelope), ("options", options), ("requests", requests), ("rows", rows)];

/// The time at which tokens are checked: seconds since 1970.
const NOW: u64 = 1_800_000_000;
