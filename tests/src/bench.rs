//! Shared parts of the benchmarks: requests that are signed beforehand, load, limits of the machine, tables, a chart.

pub mod chart;
pub mod fixtures;
pub mod limits;
pub mod load;
pub mod report;
pub mod rig;
