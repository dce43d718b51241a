//! How many pollers a mapping uses, by its lag.
//!
//! A [`Scaler`] is shown the [`Load`] now and then and says how many pollers there should be, as
//! its [`ScalingRules`] have it. [`surplus`] says which partitions change their poller then,
//! [`Spread`] which one they go to.
//!
//! More pollers bring more through at once, and make emptier batches: each invocation that could have
//! been saved is paid for. So there are as few as keep up, and more while the lag asks for them.
//!
//! The pipeline's `scaling` acts on it: each consumer thread has a scaler for its own share.

mod moves;
mod rules;
mod scaler;

pub use moves::{Spread, surplus};
pub use rules::ScalingRules;
pub use scaler::{Load, Scaler};
