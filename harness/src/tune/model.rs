//! What the tuner believes of the function: how long it takes, how it fails, what it is given.

use std::time::Duration;

use bytes::Bytes;
use pelton::deliver::{Delivery, FailureRules, Next, Outcome, Records, RetryPolicy};
use pelton::invoke::law::{Fault, Law};
use pelton::time::Nanos;

/// Invocations of one batch that are tried before it counts as delivered all the same: a law that
/// always fails must end too.
const ATTEMPTS_MAX: u32 = 1_000;

/// A function in virtual time.
///
/// Each poller's invocations are numbered apart, so that one setting's draws do not move another's.
#[derive(Clone, Debug)]
pub struct Function {
    law: Law,
    /// What the engine itself adds to an invocation: hand-over, HTTP, commit bookkeeping.
    pub overhead: Duration,
    /// What the first invocation of each poller takes in addition: an environment is started.
    pub cold_start: Duration,
    next: u64,
    is_warm: bool,
}

/// What one batch took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    /// From the first attempt to the answer that settled it, pauses included.
    pub took: Duration,
    /// Attempts.
    pub attempts: u32,
    /// Attempts that were throttled.
    pub throttled: u32,
    /// Attempts that ran.
    pub billed: u32,
    /// How long those ran, each rounded up to a millisecond, as AWS bills it.
    pub billed_ms: u64,
}

impl Function {
    /// A function that follows `law`, without overhead and always warm.
    #[must_use]
    pub fn new(law: &Law) -> Self {
        Self {
            law: law.clone(),
            overhead: Duration::ZERO,
            cold_start: Duration::ZERO,
            next: 0,
            is_warm: false,
        }
    }

    /// The same law with other draws.
    #[must_use]
    pub fn with_seed(&self, seed: u64) -> Self {
        let mut function = self.clone();
        function.law.seed = function.law.seed.wrapping_add(seed);
        function
    }

    /// The function as poller `number` meets it.
    pub(super) fn of_poller(&self, number: usize) -> Self {
        let mut function = self.clone();
        function.next = (number as u64) << 40;
        function.is_warm = false;
        function
    }

    /// Its law.
    #[must_use]
    pub const fn law(&self) -> &Law {
        &self.law
    }

    /// Invokes it with such a payload as often as the engine would: its delivery says when, and when
    /// it is done.
    pub(super) fn invoke(&mut self, records: u32, payload_bytes: usize) -> Invocation {
        let mut invocation = Invocation::default();
        let rules = FailureRules::default();
        let mut delivery = Delivery::new(rules, RetryPolicy::default(), records, self.next);
        let (mut now, mut done) = (Nanos::ZERO, Records::default());
        while invocation.attempts < ATTEMPTS_MAX {
            match delivery.next(now, 0, |_| 0) {
                Next::Invoke => {
                    let (took, outcome) = self.attempt(records, payload_bytes, &mut invocation);
                    now = now + took;
                    let _ = delivery.on_outcome(&outcome, now, |_, _| None, &mut done);
                }
                Next::Wait { until } => now = until,
                Next::GiveUp => {
                    let _ = delivery.on_given_up(&mut done);
                }
                Next::Done => break,
            }
        }
        invocation.took = now - Nanos::ZERO;
        invocation
    }

    fn attempt(
        &mut self,
        records: u32,
        payload_bytes: usize,
        invocation: &mut Invocation,
    ) -> (Duration, Outcome) {
        let number = self.next;
        self.next += 1;
        invocation.attempts += 1;
        let fault = self.law.fault(number);
        invocation.throttled += u32::from(fault == Some(Fault::Throttle));
        let mut took = self.overhead;
        if fault.is_none_or(Fault::runs) {
            let mut ran = self.law.latency(number, records, payload_bytes);
            if !self.is_warm {
                self.is_warm = true;
                ran += self.cold_start;
            }
            took += ran;
            invocation.billed += 1;
            invocation.billed_ms += u64::try_from(ran.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        }
        let success = Outcome::Success { response_bytes: 0, response: Bytes::new() };
        (took, fault.map_or(success, Fault::outcome))
    }

    /// How many records a second one poller can bring through at most, with batches of so many records
    /// and bytes: the mean of some invocations.
    #[must_use]
    pub fn records_per_s(&self, records: u32, payload_bytes: usize) -> f64 {
        const DRAWS: u32 = 200;
        let mut function = self.of_poller(0);
        function.is_warm = true;
        let took: Duration = (0..DRAWS).map(|_| function.invoke(records, payload_bytes).took).sum();
        f64::from(records) * f64::from(DRAWS) / took.as_secs_f64().max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use pelton::invoke::law::{Cost, Faults, Latency};

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn law(faults: Faults) -> Law {
        let cost = Cost { per_record: Duration::from_micros(10), per_byte_ns: 0.0 };
        Law { latency: Latency::Fixed(MS(20)), cost, faults, ..Law::default() }
    }

    #[test]
    fn the_first_invocation_is_cold_and_all_cost_their_records() {
        let mut function = Function::new(&law(Faults::default()));
        (function.cold_start, function.overhead) = (MS(300), MS(1));
        let mut function = function.of_poller(2);
        let first = function.invoke(50, 1_000);
        assert_eq!((first.took, first.attempts, first.billed_ms), (Duration::from_micros(321_500), 1, 321));
        assert_eq!(function.invoke(50, 1_000).took, Duration::from_micros(21_500));
    }

    #[test]
    fn failures_are_retried_with_pauses_and_only_what_ran_is_billed() {
        let faults = Faults { function_error: 0.3, throttle: 0.3, ..Faults::default() };
        let mut function = Function::new(&law(faults)).of_poller(0);
        let all: Vec<Invocation> = (0..2_000).map(|_| function.invoke(1, 100)).collect();
        let attempts: u32 = all.iter().map(|one| one.attempts).sum();
        let billed: u32 = all.iter().map(|one| one.billed).sum();
        // 1 / (1 - 0.6) attempts each, of which 0.7 run.
        assert!((4_700..5_300).contains(&attempts), "{attempts}");
        assert!((0.67..0.73).contains(&(f64::from(billed) / f64::from(attempts))), "{billed} of {attempts}");
        let again = all.iter().find(|one| one.attempts == 2).expect("some fail once");
        assert!(again.took >= MS(250), "the first pause is at least half of 500 ms: {again:?}");
    }

    #[test]
    fn a_law_that_always_fails_ends() {
        let faults = Faults { throttle: 1.0, ..Faults::default() };
        let invocation = Function::new(&law(faults)).of_poller(0).invoke(1, 100);
        assert_eq!((invocation.attempts, invocation.billed), (ATTEMPTS_MAX, 0));
    }
}
