//! Reports that are derived from the ledger: why a level is what it is, what an order did, and whether the books agree
//! with themselves.

pub mod explain;
pub mod journal;
pub mod verify;
