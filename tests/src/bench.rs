//! Shared parts of the benchmarks: requests that are signed beforehand, those who answer them, load, limits of the
//! machine, tables, a chart.

pub mod calls;
pub mod chart;
pub mod contender;
pub mod door;
pub mod fixtures;
pub mod limits;
pub mod load;
pub mod peer;
pub mod report;
pub mod rig;
