//! Which offsets are committed, and when.
//!
//! A [`Watermark`] per partition knows the first offset that is not yet done: the only thing that
//! is ever committed. One [`Cadence`] per client decides when to say so to Kafka.
//!
//! Nothing here reads a clock or talks to a broker.

mod cadence;
mod watermark;

pub use cadence::Cadence;
pub use watermark::{CommitError, Watermark};
