//! Drives the engine with a known load, audits every offset, and measures where time and CPU go.
//!
//! The modules stand in the order in which a run uses them.

pub mod workload;

pub mod audit;
pub mod ledger;
pub mod measure;
pub mod memory;
pub mod load;
pub mod report;
pub mod result;
