//! What an invocation came to, and what happens next to its batch.
//!
//! [`Outcome`] is the word for one attempt's end. A [`Delivery`] lives as long as its batch: it is
//! told each outcome and answers with a [`Plan`]. [`RetryPolicy`] says how attempts are spaced.
//!
//! [`response::parse`] reads what a function says about single records of its batch; nothing asks
//! it yet.
//!
//! Nothing here reads a clock, waits, or draws a random number: `now` and a seed are handed in.

mod backoff;
mod delivery;
mod outcome;
pub mod response;

pub use backoff::{Backoff, RetryPolicy};
pub use delivery::{Delivery, Plan};
pub use outcome::{FunctionErrorKind, Outcome, TEXT_CHARS_MAX};
