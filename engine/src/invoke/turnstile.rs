//! A law applied to invocations as they come.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::law::{Fault, Law, LawError};

/// Applies a [`Law`] to invocations as they come: numbers them, counts them, and lets no more in
/// than may run at once.
#[derive(Debug)]
pub struct Turnstile {
    law: Law,
    invocations: AtomicU64,
    records: AtomicU64,
    payload_bytes: AtomicU64,
    in_flight: AtomicU32,
    in_flight_max: AtomicU32,
    faults: [AtomicU64; Fault::ALL.len()],
}

/// What went through a [`Turnstile`].
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Passed {
    /// Invocations, failed ones included.
    pub invocations: u64,
    /// Records in those that the function saw.
    pub records: u64,
    /// Bytes in those.
    pub payload_bytes: u64,
    /// Under way now.
    pub in_flight: u32,
    /// The most that were under way at once.
    pub in_flight_max: u32,
    /// Function errors by law.
    pub function_errors: u64,
    /// Throttled, by law or by the concurrency limit.
    pub throttled: u64,
    /// Service faults.
    pub service_faults: u64,
    /// Connections reset.
    pub resets: u64,
    /// Answered with garbage.
    pub garbage: u64,
}

/// One invocation under way; it ends when this is dropped.
#[derive(Debug)]
pub struct Pass<'t> {
    turnstile: &'t Turnstile,
    number: u64,
    /// What goes wrong with it, if anything.
    pub fault: Option<Fault>,
}

impl Turnstile {
    /// A turnstile at which nobody has passed.
    ///
    /// # Errors
    /// If the law cannot be followed.
    pub fn new(law: Law) -> Result<Self, LawError> {
        law.check()?;
        Ok(Self::checked(law))
    }

    /// The default law: at once, and always success.
    #[must_use]
    pub fn open() -> Self {
        Self::checked(Law::default())
    }

    fn checked(law: Law) -> Self {
        Self {
            law,
            invocations: AtomicU64::new(0),
            records: AtomicU64::new(0),
            payload_bytes: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            in_flight_max: AtomicU32::new(0),
            faults: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// An invocation comes; it is throttled if too many are under way.
    #[must_use]
    pub fn enter(&self) -> Pass<'_> {
        let number = self.invocations.fetch_add(1, Ordering::Relaxed);
        let under_way = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        let mut fault = self.law.fault(number);
        if self.law.concurrency_max.is_some_and(|max| under_way > max) {
            fault = Some(Fault::Throttle);
        } else {
            self.in_flight_max.fetch_max(under_way, Ordering::Relaxed);
        }
        if let Some(fault) = fault {
            self.faults[fault as usize].fetch_add(1, Ordering::Relaxed);
        }
        Pass { turnstile: self, number, fault }
    }

    /// What went through so far.
    #[must_use]
    pub fn passed(&self) -> Passed {
        let fault = |fault: Fault| self.faults[fault as usize].load(Ordering::Relaxed);
        Passed {
            invocations: self.invocations.load(Ordering::Relaxed),
            records: self.records.load(Ordering::Relaxed),
            payload_bytes: self.payload_bytes.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            in_flight_max: self.in_flight_max.load(Ordering::Relaxed),
            function_errors: fault(Fault::FunctionError),
            throttled: fault(Fault::Throttle),
            service_faults: fault(Fault::ServiceFault),
            resets: fault(Fault::Reset),
            garbage: fault(Fault::Garbage),
        }
    }
}

impl Pass<'_> {
    /// The function sees the payload. How long it takes over it: no time if the fault comes
    /// before the function.
    #[must_use]
    pub fn latency(&self, records: u32, payload_bytes: usize) -> Duration {
        if self.fault.is_some_and(|fault| !fault.runs()) {
            return Duration::ZERO;
        }
        self.turnstile.records.fetch_add(u64::from(records), Ordering::Relaxed);
        self.turnstile.payload_bytes.fetch_add(payload_bytes as u64, Ordering::Relaxed);
        self.turnstile.law.latency(self.number, records, payload_bytes)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.turnstile.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invoke::law::{Faults, Latency};

    #[test]
    fn more_than_may_run_at_once_are_throttled() {
        let turnstile = Turnstile::new(Law { concurrency_max: Some(2), ..Law::default() }).unwrap();
        let (first, second) = (turnstile.enter(), turnstile.enter());
        assert_eq!((first.fault, second.fault), (None, None));
        assert_eq!(turnstile.enter().fault, Some(Fault::Throttle));
        drop(first);
        assert_eq!(turnstile.enter().fault, None);
        drop(second);
        let passed = turnstile.passed();
        assert_eq!((passed.invocations, passed.throttled), (4, 1));
        assert_eq!((passed.in_flight, passed.in_flight_max), (0, 2));
    }

    #[test]
    fn a_fault_that_comes_before_the_function_costs_no_time_and_counts_no_records() {
        let latency = Latency::Fixed(Duration::from_secs(1));
        let faults = Faults { throttle: 1.0, ..Faults::default() };
        let turnstile = Turnstile::new(Law { latency, faults, ..Law::default() }).unwrap();
        assert_eq!(turnstile.enter().latency(10, 100), Duration::ZERO);
        assert_eq!(turnstile.passed().records, 0);
        let turnstile = Turnstile::new(Law { latency, ..Law::default() }).unwrap();
        assert_eq!(turnstile.enter().latency(10, 100), Duration::from_secs(1));
        let passed = turnstile.passed();
        assert_eq!((passed.records, passed.payload_bytes), (10, 100));
    }
}
