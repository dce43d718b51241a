//! Which records are delivered.
//!
//! A record passes if it matches any of a mapping's patterns; what does not is committed and never
//! sent, and costs no encoding. [`Filters`] are compiled once; each poller has a [`Matcher`], which
//! keeps the room it needs and in steady state allocates nothing.
//!
//! Patterns are AWS's, and where its documents are silent event-ruler decides, the engine behind
//! them. What is ours stands in the README: more parts of the record than `value` may be named.
//!
//! | value | pattern for it is JSON | pattern for it is a plain string |
//! | --- | --- | --- |
//! | JSON | filters | not applied |
//! | a plain string | not applied | filters |
//! | not UTF-8, or null | not applied | not applied (null: only what asks for existence is) |
//!
//! A pattern that is not applied lets the record pass, unless another part of it objects. The same
//! holds for the key.

mod escapes;
mod evaluate;
mod explain;
mod filters;
#[cfg(any(test, feature = "internals"))]
pub mod fuzz;
pub mod json;
mod marks;
mod matcher;
mod prefilter;
#[cfg(test)]
mod properties;
#[cfg(any(test, feature = "internals"))]
pub mod reference;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod quick;
mod special;
mod tree;

pub use crate::mapping::pattern::{Pattern, PatternError};
pub use explain::{Explanation, Form, Outcome};
pub use filters::Filters;
pub use matcher::Matcher;
