//! What an invocation came to, and what happens next to the records of its batch.
//!
//! [`Outcome`] is the word for one attempt's end. A [`Delivery`] lives as long as its batch: asked
//! for the [`Next`] thing to do, it answers which of the batch's [`Records`] to invoke the function
//! with, or to give up; told what came of it, it goes on. [`FailureRules`] are what the mapping says
//! of failures, [`RetryPolicy`] says how attempts are spaced. [`response::parse`] reads what a
//! function says about single records of its batch.
//!
//! Nothing here reads a clock, waits, or draws a random number: `now` and a seed are handed in.

mod backoff;
mod delivery;
mod outcome;
mod part;
mod plan;
pub mod response;
mod rules;
#[cfg(test)]
mod tests;

pub use backoff::{Backoff, RetryPolicy};
pub use delivery::Delivery;
#[cfg(feature = "runtime")]
pub(crate) use outcome::one_line;
pub use outcome::{FunctionErrorKind, Outcome, TEXT_CHARS_MAX};
pub use part::{Part, Records};
pub use plan::{GivenUp, Next, Step, Verdict};
pub use rules::FailureRules;
