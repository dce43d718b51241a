//! Records that go to the function together.
//!
//! [`Policy`] decides when a batch is full or due; [`OpenBatch`] is filled; [`SealedBatch`] is
//! immutable and can be sliced: a [`Payload`] over all of its records or some of them is a list of
//! slices, never a second encoding.

mod open;
mod payload;
mod policy;
mod sealed;
#[cfg(test)]
mod tests;

pub use crate::payload::Run;
pub use open::{Appended, OpenBatch, Stop};
pub use payload::{Frames, Payload};
pub use policy::{BatchLimits, Fit, FlushCause, Policy};
pub use sealed::{Entry, Piece, SealedBatch};
