//! What is sent, and when: pure, seeded, the same on every machine.

pub mod arrival;
pub mod function;
mod grammar;
pub mod keys;
pub mod partitions;
pub mod scenario;
pub mod spec;
pub mod units;
pub mod values;

pub use grammar::LawError;
