//! harness

pub mod cli;
pub mod stub;
