//! Rows timed so that their ratios hold on a noisy machine, and the table of them.

pub mod machine;
pub mod measure;
pub mod result;
pub mod table;
