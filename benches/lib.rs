//! What the benches compare ([`contest`]), with what they share: seeded records, floors, peers.
//!
//! One file per group. `groups` runs them by criterion, `ratios` interleaved; `instructions` counts.

mod base64;
pub mod contest;
mod costs;
mod envelope;
mod filter;
mod fixtures;
mod gather;
mod handover;
mod headers;
pub mod instructions;
mod integers;
mod payload;
mod policy;
pub mod ratios;
mod response;
pub mod usage;
mod watermark;

pub use fixtures::*;
