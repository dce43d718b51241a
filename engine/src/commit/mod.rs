//! Which offsets are committed, and when.
//!
//! A [`Watermark`] per partition knows the first offset that is not yet done: the only thing that
//! is ever committed. One [`Cadence`] per client decides when to say so to Kafka. What is finished
//! beyond a watermark goes along as the commit's [`metadata`], so that whoever reads on from there
//! does not deliver it again.
//!
//! Nothing here reads a clock or talks to a broker.

mod cadence;
#[cfg(test)]
mod crash;
mod finished;
pub mod metadata;
mod watermark;

pub use cadence::Cadence;
pub use finished::{Finished, Span};
pub use watermark::{CommitError, Watermark};
