//! What is sent, and when: pure, seeded, the same on every machine. Only `recording` reads a file:
//! the capture that a replay is made of.

pub mod arrival;
mod filling;
pub mod function;
pub(crate) mod grammar;
pub mod keys;
pub mod partitions;
pub mod recording;
pub mod scenario;
pub mod spec;
pub mod units;
pub mod values;

pub use grammar::LawError;
