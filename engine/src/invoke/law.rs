//! The law that a stand-in for a function follows: how long an invocation takes, and whether it
//! fails. A pure function of the seed, the invocation's number and its size, so that every run
//! can be repeated; served in process by [`crate::invoke::Stub`], and over HTTP by the harness.

use std::f64::consts::TAU;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How a stand-in behaves. The default answers at once, and always with success.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Law {
    /// How long an invocation takes, whatever its payload.
    pub latency: Latency,
    /// What the payload adds to that.
    pub cost: Cost,
    /// How often invocations fail.
    pub faults: Faults,
    /// How many invocations may run at once; more are throttled. Default: no limit.
    pub concurrency_max: Option<u32>,
    /// Decides which invocations are slow and which fail.
    pub seed: u64,
}

/// How long an invocation takes, whatever its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Latency {
    /// No time at all.
    #[default]
    None,
    /// Always the same.
    Fixed(Duration),
    /// Half of the invocations are faster than `median`; `sigma` (0 to 10) is the deviation of the
    /// latency's natural logarithm. 0.5 makes the 99th percentile 3.2 times the median.
    LogNormal {
        /// The median.
        median: Duration,
        /// The spread.
        sigma: f64,
    },
}

/// What a payload adds to the latency: a function's work.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// For each record.
    pub per_record: Duration,
    /// For each byte of the payload, in nanoseconds. Not negative.
    pub per_byte_ns: f64,
}

/// How often invocations fail, as shares from 0 to 1 that add up to 1 at most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// The function runs and fails.
    pub function_error: f64,
    /// 429, at once.
    pub throttle: f64,
    /// 500, at once.
    pub service_fault: f64,
    /// The connection is reset, before the payload is read.
    pub reset: f64,
    /// The function runs, and what comes back is not HTTP.
    pub garbage: f64,
}

/// One way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// See [`Faults::function_error`].
    FunctionError,
    /// See [`Faults::throttle`].
    Throttle,
    /// See [`Faults::service_fault`].
    ServiceFault,
    /// See [`Faults::reset`].
    Reset,
    /// See [`Faults::garbage`].
    Garbage,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 5] =
        [Self::FunctionError, Self::Throttle, Self::ServiceFault, Self::Reset, Self::Garbage];

    /// Whether the function does its work before the fault shows.
    #[must_use]
    pub const fn runs(self) -> bool {
        matches!(self, Self::FunctionError | Self::Garbage)
    }
}

/// Why a law cannot be followed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LawError {
    /// A share is not between 0 and 1.
    #[error("{name} is {value}; a rate is a share from 0 to 1")]
    Rate {
        /// Which.
        name: &'static str,
        /// As given.
        value: f64,
    },
    /// The shares exceed the whole.
    #[error("the rates of all faults add up to {sum}; at most 1 is possible")]
    Sum {
        /// What they add up to.
        sum: f64,
    },
    /// The spread is out of range.
    #[error("sigma is {sigma}; give 0 (always the median) to 10")]
    Sigma {
        /// As given.
        sigma: f64,
    },
    /// The cost is out of range.
    #[error("the cost per byte is {per_byte_ns} ns; give 0 or more")]
    Cost {
        /// As given.
        per_byte_ns: f64,
    },
}

/// What the law says about one invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How long until the answer.
    pub latency: Duration,
    /// What goes wrong.
    pub fault: Option<Fault>,
}

impl Law {
    /// Whether the law can be followed.
    ///
    /// # Errors
    /// If a number is out of its range.
    pub fn check(&self) -> Result<(), LawError> {
        let mut sum = 0.0;
        for (name, value) in self.faults.named() {
            if !(0.0..=1.0).contains(&value) {
                return Err(LawError::Rate { name, value });
            }
            sum += value;
        }
        // Shares given in decimals (0.1 ten times) may exceed 1 by rounding.
        if sum > 1.0 + 1e-9 {
            return Err(LawError::Sum { sum });
        }
        if let Latency::LogNormal { sigma, .. } = self.latency
            && !(0.0..=10.0).contains(&sigma)
        {
            return Err(LawError::Sigma { sigma });
        }
        let per_byte_ns = self.cost.per_byte_ns;
        if !(0.0..=1e9).contains(&per_byte_ns) {
            return Err(LawError::Cost { per_byte_ns });
        }
        Ok(())
    }

    /// What happens to the invocation with this number (from 0).
    #[must_use]
    pub fn verdict(&self, invocation: u64, records: u32, payload_bytes: usize) -> Verdict {
        let mut draws = Draws::new(self.seed, invocation);
        let fault = self.faults.pick(draws.share());
        if fault.is_some_and(|fault| !fault.runs()) {
            return Verdict { latency: Duration::ZERO, fault };
        }
        let latency = self.latency.draw(&mut draws) + self.cost.of(records, payload_bytes);
        Verdict { latency, fault }
    }
}

impl Latency {
    fn draw(self, draws: &mut Draws) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::Fixed(latency) => latency,
            Self::LogNormal { median, sigma } => scaled(median, (sigma * draws.normal()).exp()),
        }
    }
}

impl Cost {
    fn of(self, records: u32, payload_bytes: usize) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "a payload is far below 2^52 bytes")]
        let bytes_ns = self.per_byte_ns * payload_bytes as f64;
        self.per_record.saturating_mul(records) + scaled(Duration::from_nanos(1), bytes_ns)
    }
}

/// Capped at an hour, so that no draw of a wide law stops a run for ever.
fn scaled(unit: Duration, factor: f64) -> Duration {
    const LATENCY_SECONDS_MAX: f64 = 3600.0;
    Duration::from_secs_f64((unit.as_secs_f64() * factor).clamp(0.0, LATENCY_SECONDS_MAX))
}

impl Faults {
    fn named(&self) -> [(&'static str, f64); 5] {
        [
            ("the function error rate", self.function_error),
            ("the throttle rate", self.throttle),
            ("the service fault rate", self.service_fault),
            ("the reset rate", self.reset),
            ("the garbage rate", self.garbage),
        ]
    }

    fn pick(&self, mut share: f64) -> Option<Fault> {
        for (fault, (_, rate)) in Fault::ALL.into_iter().zip(self.named()) {
            if share < rate {
                return Some(fault);
            }
            share -= rate;
        }
        None
    }
}

/// Numbers drawn for one invocation: `SplitMix64` over seed and number, the same on every machine.
struct Draws(u64);

impl Draws {
    fn new(seed: u64, invocation: u64) -> Self {
        let mut mixed = Self(seed);
        Self(mixed.next() ^ invocation.wrapping_mul(0xD6E8_FEB8_6659_FD93))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in 0..1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a double holds")]
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.share()).ln()).sqrt();
        radius * (TAU * self.share()).cos()
    }
}

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
    /// Records in them.
    pub records: u64,
    /// Bytes in them.
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
    /// What the law says about it.
    pub verdict: Verdict,
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

    /// An invocation comes.
    #[must_use]
    pub fn enter(&self, records: u32, payload_bytes: usize) -> Pass<'_> {
        let number = self.invocations.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(u64::from(records), Ordering::Relaxed);
        self.payload_bytes.fetch_add(payload_bytes as u64, Ordering::Relaxed);
        let under_way = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        let mut verdict = self.law.verdict(number, records, payload_bytes);
        if self.law.concurrency_max.is_some_and(|max| under_way > max) {
            verdict = Verdict { latency: Duration::ZERO, fault: Some(Fault::Throttle) };
        } else {
            self.in_flight_max.fetch_max(under_way, Ordering::Relaxed);
        }
        if let Some(fault) = verdict.fault {
            self.faults[fault as usize].fetch_add(1, Ordering::Relaxed);
        }
        Pass { turnstile: self, verdict }
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

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.turnstile.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(law: &Law, count: u64) -> Vec<Duration> {
        let mut all: Vec<_> = (0..count).map(|number| law.verdict(number, 1, 100).latency).collect();
        all.sort();
        all
    }

    #[test]
    fn the_default_law_answers_at_once() {
        assert_eq!(Law::default().verdict(7, 100, 1000), Verdict { latency: Duration::ZERO, fault: None });
    }

    #[test]
    fn the_same_seed_and_number_give_the_same_verdict() {
        let law = Law {
            latency: Latency::LogNormal { median: Duration::from_millis(50), sigma: 0.5 },
            faults: Faults { function_error: 0.3, ..Faults::default() },
            seed: 9,
            ..Law::default()
        };
        let verdicts = |law: &Law| (0..100).map(|number| law.verdict(number, 1, 1)).collect::<Vec<_>>();
        assert_eq!(verdicts(&law), verdicts(&law.clone()));
        assert_ne!(verdicts(&law), verdicts(&Law { seed: 10, ..law }));
    }

    #[test]
    fn a_log_normal_latency_has_its_median_and_spread() {
        let median = Duration::from_millis(50);
        let law = Law { latency: Latency::LogNormal { median, sigma: 0.5 }, ..Law::default() };
        let all = latencies(&law, 20_000);
        let near = |at: usize, factor: f64| {
            let ratio = all[at].as_secs_f64() / median.as_secs_f64();
            assert!((ratio / factor - 1.0).abs() < 0.05, "at {at}: {ratio} instead of {factor}");
        };
        near(10_000, 1.0);
        near(16_827, (0.5f64).exp());
        near(19_800, (0.5f64 * 2.326).exp());
    }

    #[test]
    fn faults_come_as_often_as_they_should() {
        let faults =
            Faults { function_error: 0.1, throttle: 0.2, service_fault: 0.05, reset: 0.02, garbage: 0.03 };
        let law = Law { faults, ..Law::default() };
        let verdicts: Vec<_> = (0..50_000).map(|number| law.verdict(number, 1, 1).fault).collect();
        for (fault, (_, rate)) in Fault::ALL.into_iter().zip(faults.named()) {
            let count = verdicts.iter().filter(|verdict| **verdict == Some(fault)).count();
            let share = f64::from(u32::try_from(count).unwrap()) / 50_000.0;
            assert!((share - rate).abs() < 0.005, "{fault:?}: {share} instead of {rate}");
        }
    }

    #[test]
    fn a_fault_that_comes_at_once_costs_no_time() {
        let law = Law {
            latency: Latency::Fixed(Duration::from_secs(1)),
            faults: Faults { throttle: 1.0, ..Faults::default() },
            ..Law::default()
        };
        assert_eq!(law.verdict(0, 1, 1), Verdict { latency: Duration::ZERO, fault: Some(Fault::Throttle) });
    }

    #[test]
    fn records_and_bytes_cost_what_they_should() {
        let cost = Cost { per_record: Duration::from_micros(3), per_byte_ns: 0.5 };
        let law = Law { latency: Latency::Fixed(Duration::from_millis(1)), cost, ..Law::default() };
        assert_eq!(law.verdict(0, 10, 4000).latency, Duration::from_micros(1000 + 30 + 2));
    }

    #[test]
    fn a_law_out_of_range_is_refused() {
        let check = |law: Law| law.check().expect_err("out of range").to_string();
        let faults = |faults| check(Law { faults, ..Law::default() });
        assert!(faults(Faults { throttle: -0.1, ..Faults::default() }).contains("throttle rate is -0.1"));
        assert!(faults(Faults { reset: f64::NAN, ..Faults::default() }).contains("reset rate is NaN"));
        assert!(faults(Faults { reset: 0.6, garbage: 0.6, ..Faults::default() }).contains("add up to 1.2"));
        let latency = Latency::LogNormal { median: Duration::ZERO, sigma: 11.0 };
        assert!(check(Law { latency, ..Law::default() }).contains("sigma is 11"));
        let cost = Cost { per_byte_ns: -1.0, ..Cost::default() };
        assert!(check(Law { cost, ..Law::default() }).contains("per byte is -1"));
    }

    #[test]
    fn more_than_may_run_at_once_are_throttled() {
        let turnstile = Turnstile::new(Law { concurrency_max: Some(2), ..Law::default() }).unwrap();
        let (first, second) = (turnstile.enter(1, 10), turnstile.enter(1, 10));
        assert_eq!((first.verdict.fault, second.verdict.fault), (None, None));
        assert_eq!(turnstile.enter(1, 10).verdict.fault, Some(Fault::Throttle));
        drop(first);
        assert_eq!(turnstile.enter(5, 10).verdict.fault, None);
        drop(second);
        let passed = turnstile.passed();
        assert_eq!((passed.invocations, passed.records, passed.payload_bytes), (4, 8, 40));
        assert_eq!((passed.in_flight, passed.in_flight_max, passed.throttled), (0, 2, 1));
    }
}
