//! What a consumer thread meets outside of itself: time, sleep, and the way to the function.

use std::sync::Arc;
use std::time::Duration;

use crate::batch::Payload;
use crate::deliver::Outcome;
use crate::destination::{DestinationError, Failure};
use crate::time::Nanos;

/// Everything that a consumer thread does not decide by itself. The engine gives it the machine's
/// clocks and the invocation side; a simulator gives it virtual time and a function of its own.
pub trait World: Send {
    /// The present instant, monotonic.
    fn now(&self) -> Nanos;

    /// The wall clock in milliseconds since the Unix epoch, as Kafka's record timestamps count. May
    /// jump.
    fn wall_ms(&self) -> i64;

    /// Waits for so long, or until something arrives.
    fn sleep(&self, at_most: Duration);

    /// Hands `payload` over for one invocation. The poller has nothing else in flight.
    fn invoke(&self, poller: usize, payload: Payload);

    /// Hands `failure` to the on-failure destination, for one try. The poller has nothing else in
    /// flight. Not called without a destination.
    fn give_up(&self, poller: usize, failure: Arc<Failure>);

    /// The next answer, if one has come. Each invocation is answered once, and so is each failure.
    fn answer(&self) -> Option<Answer>;
}

/// What an invocation, or the hand-over of a failure, came to.
#[derive(Debug)]
pub struct Answer {
    /// The poller that it is for, numbered within its thread.
    pub poller: usize,
    /// How it ended.
    pub result: Answered,
    /// When it began.
    pub started_at: Nanos,
    /// When it ended.
    pub done_at: Nanos,
}

/// How something that was under way ended.
#[derive(Debug)]
pub enum Answered {
    /// The function was invoked, or was to be.
    Invoked(Outcome),
    /// The destination has the failure, or why not.
    GivenUp(Result<(), DestinationError>),
}
