//! Drives the engine with a known load, audits every offset, and measures where time and CPU go.
//!
//! The modules stand in the order in which a run uses them.

pub mod workload;

pub mod ledger;
pub mod load;
pub mod memory;
pub mod topic;

pub mod audit;
pub mod measure;
pub mod meter;
pub mod subject;

pub mod capture;
pub mod traffic;
pub mod explain;
pub mod tune;
pub mod overhead;
pub mod run;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub mod profile;

pub mod stub;
pub mod simulate;

pub mod chaos;

pub mod allocator;
pub mod cli;
pub mod compare;
pub mod report;
pub mod result;
