//! What the benchmarks share: signed requests made beforehand, load, limits, tables.

pub mod chart;
pub mod fixtures;
pub mod limits;
pub mod load;
pub mod report;
pub mod rig;
