//! One batch's way from sealed to done.

use super::backoff::{Backoff, RetryPolicy};
use super::outcome::Outcome;
use crate::time::Nanos;

/// What to do next with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Plan {
    /// Its records are done: tell the watermarks, give the arena back.
    Done,
    /// Invoke again with the same payload, not before `at`. Until then the poller's next batch
    /// waits: that is what keeps a partition's order.
    Retry {
        /// When.
        at: Nanos,
    },
}

/// The attempts of one batch.
///
/// Make one when a batch is sealed, invoke, tell it the [`Outcome`], follow the [`Plan`]; again
/// until [`Plan::Done`]. A batch is retried whole and for ever, as AWS does by default for as long
/// as Kafka retains the records.
///
/// Attempts that reached the function and attempts that did not are counted apart: AWS lets only
/// the former use up `MaximumRetryAttempts`. Both move along the same backoff curve.
///
/// Plain data, a few words, no allocation.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    backoff: Backoff,
    attempts_used: u32,
    attempts_apart: u32,
    done: bool,
}

impl Delivery {
    /// A batch that has not been tried. Give each batch its own `seed`, or those that fail
    /// together return together.
    #[must_use]
    pub const fn new(policy: RetryPolicy, seed: u64) -> Self {
        Self { backoff: Backoff::new(policy, seed), attempts_used: 0, attempts_apart: 0, done: false }
    }

    /// An attempt ended at `now`. Call once per attempt, then do what the plan says.
    ///
    /// Once done, a batch stays done: a later answer (of an attempt that had been given up) is
    /// answered [`Plan::Done`] again and not counted.
    pub fn on_outcome(&mut self, outcome: &Outcome, now: Nanos) -> Plan {
        if self.done {
            return Plan::Done;
        }
        let count =
            if outcome.reached_function() { &mut self.attempts_used } else { &mut self.attempts_apart };
        *count = count.saturating_add(1);
        match outcome {
            Outcome::Success { .. } => {
                self.done = true;
                Plan::Done
            }
            Outcome::FunctionError { .. }
            | Outcome::TimedOut { .. }
            | Outcome::Throttled { .. }
            | Outcome::Refused { .. }
            | Outcome::ServiceFault { .. }
            | Outcome::Unreachable { .. } => {
                Plan::Retry { at: now + self.backoff.on_failure(outcome.retry_after()) }
            }
        }
    }

    /// Attempts so far, however they ended.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts_used.saturating_add(self.attempts_apart)
    }

    /// Attempts that reached the function, the successful one included. AWS's
    /// `approximateInvokeCount`; n retries are n + 1 of these.
    #[must_use]
    pub const fn attempts_used(&self) -> u32 {
        self.attempts_used
    }

    /// Attempts that never reached the function: throttled, refused, not connected. They wait, and
    /// use nothing up.
    #[must_use]
    pub const fn attempts_apart(&self) -> u32 {
        self.attempts_apart
    }

    /// Whether the batch is done.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SUCCESS: Outcome = Outcome::Success { response_bytes: 2, response: bytes::Bytes::new() };
    const NOW: Nanos = Nanos(1_000_000_000);

    fn unreachable() -> Outcome {
        Outcome::Unreachable { reason: "connection refused".into() }
    }

    fn throttled(retry_after: Option<Duration>) -> Outcome {
        Outcome::Throttled { retry_after, reason: None }
    }

    fn wait(plan: Plan) -> Duration {
        match plan {
            Plan::Retry { at } => at - NOW,
            Plan::Done => panic!("done, not a retry"),
        }
    }

    #[test]
    fn a_success_ends_the_delivery() {
        let mut delivery = Delivery::new(RetryPolicy::default(), 1);
        assert!(!delivery.is_done());
        assert_eq!(delivery.on_outcome(&SUCCESS, NOW), Plan::Done);
        assert!(delivery.is_done());
        assert_eq!((delivery.attempts(), delivery.attempts_used()), (1, 1));
    }

    #[test]
    fn a_batch_is_retried_until_it_succeeds() {
        let mut delivery = Delivery::new(RetryPolicy::default(), 1);
        let timed_out = Outcome::TimedOut { after: Duration::from_secs(60) };
        for _ in 0..10_000 {
            assert!(wait(delivery.on_outcome(&timed_out, NOW)) >= Duration::from_millis(250));
        }
        assert_eq!(delivery.on_outcome(&SUCCESS, NOW), Plan::Done);
        assert_eq!(delivery.attempts(), 10_001);
    }

    #[test]
    fn what_did_not_reach_the_function_is_counted_apart() {
        let mut delivery = Delivery::new(RetryPolicy::default(), 1);
        let refused = Outcome::Refused { status: 403, code: None, message: None };
        let fault = Outcome::ServiceFault { status: 500, code: None, message: None };
        for outcome in [throttled(None), refused, fault, unreachable()] {
            delivery.on_outcome(&outcome, NOW);
        }
        assert_eq!((delivery.attempts(), delivery.attempts_used(), delivery.attempts_apart()), (4, 0, 4));
        delivery.on_outcome(&SUCCESS, NOW);
        assert_eq!((delivery.attempts(), delivery.attempts_used(), delivery.attempts_apart()), (5, 1, 4));
    }

    #[test]
    fn all_failures_move_along_one_curve() {
        let mut delivery = Delivery::new(RetryPolicy::default(), 1);
        delivery.on_outcome(&throttled(None), NOW);
        delivery.on_outcome(&Outcome::TimedOut { after: Duration::from_secs(1) }, NOW);
        let third = wait(delivery.on_outcome(&unreachable(), NOW));
        assert!(Duration::from_secs(1) <= third && third <= Duration::from_secs(2), "{third:?}");
    }

    #[test]
    fn a_throttle_waits_as_long_as_it_was_told() {
        let mut delivery = Delivery::new(RetryPolicy::default(), 1);
        let asked = Duration::from_secs(20);
        assert!(wait(delivery.on_outcome(&throttled(Some(asked)), NOW)) >= asked);
    }

    #[test]
    fn an_answer_after_the_end_changes_nothing() {
        let mut delivery = Delivery::new(RetryPolicy::default(), 1);
        delivery.on_outcome(&SUCCESS, NOW);
        assert_eq!(delivery.on_outcome(&unreachable(), NOW), Plan::Done);
        assert_eq!(delivery.attempts(), 1);
    }

    #[test]
    fn a_retry_at_the_end_of_time_does_not_overflow() {
        let mut delivery = Delivery::new(RetryPolicy::default(), 1);
        assert_eq!(delivery.on_outcome(&unreachable(), Nanos::NEVER), Plan::Retry { at: Nanos::NEVER });
    }
}
