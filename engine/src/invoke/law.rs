//! The law that a stand-in for a function follows: how long an invocation takes, and whether it
//! fails. A pure function of the seed, the invocation's number and its size, so that every run
//! can be repeated; served in process by [`crate::invoke::Stub`], and over HTTP by the harness.

use std::f64::consts::TAU;
use std::time::Duration;

use crate::deliver::{FunctionErrorKind, Outcome};

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

    /// What the invoker of a function that fails so is told.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        match self {
            Self::FunctionError => function_error("StubError", "an error by law".to_owned()),
            Self::Throttle => Outcome::Throttled {
                retry_after: None,
                reason: Some("ReservedFunctionConcurrentInvocationLimitExceeded".to_owned()),
            },
            Self::ServiceFault => Outcome::ServiceFault {
                status: 500,
                code: Some("ServiceException".to_owned()),
                message: Some("a service fault by law".to_owned()),
            },
            Self::Reset => Outcome::Unreachable { reason: "connection reset by law".to_owned() },
            Self::Garbage => Outcome::Unreachable { reason: "garbage by law".to_owned() },
        }
    }
}

pub(super) fn function_error(error_type: &str, message: String) -> Outcome {
    Outcome::FunctionError {
        kind: FunctionErrorKind::Unhandled,
        error_type: Some(error_type.to_owned()),
        message: Some(message),
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

    /// What goes wrong with the invocation of this number (from 0).
    #[must_use]
    pub fn fault(&self, invocation: u64) -> Option<Fault> {
        self.faults.pick(Draws::new(self.seed, invocation).share())
    }

    /// How long the function takes for the invocation of this number with such a payload.
    #[must_use]
    pub fn latency(&self, invocation: u64, records: u32, payload_bytes: usize) -> Duration {
        let mut draws = Draws::new(!self.seed, invocation);
        self.latency.draw(&mut draws) + self.cost.of(records, payload_bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(law: &Law, count: u64) -> Vec<Duration> {
        let mut all: Vec<_> = (0..count).map(|number| law.latency(number, 1, 100)).collect();
        all.sort();
        all
    }

    #[test]
    fn the_default_law_answers_at_once() {
        assert_eq!(Law::default().latency(7, 100, 1000), Duration::ZERO);
        assert_eq!(Law::default().fault(7), None);
    }

    #[test]
    fn the_same_seed_and_number_give_the_same_fate() {
        let law = Law {
            latency: Latency::LogNormal { median: Duration::from_millis(50), sigma: 0.5 },
            faults: Faults { function_error: 0.3, ..Faults::default() },
            seed: 9,
            ..Law::default()
        };
        let faults = |law: &Law| (0..100).map(|number| law.fault(number)).collect::<Vec<_>>();
        assert_eq!(faults(&law), faults(&law.clone()));
        assert_eq!(latencies(&law, 100), latencies(&law.clone(), 100));
        let other = Law { seed: 10, ..law.clone() };
        assert_ne!(faults(&law), faults(&other));
        assert_ne!(latencies(&law, 100), latencies(&other, 100));
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
        let fates: Vec<_> = (0..50_000).map(|number| law.fault(number)).collect();
        for (fault, (_, rate)) in Fault::ALL.into_iter().zip(faults.named()) {
            let count = fates.iter().filter(|fate| **fate == Some(fault)).count();
            let share = f64::from(u32::try_from(count).unwrap()) / 50_000.0;
            assert!((share - rate).abs() < 0.005, "{fault:?}: {share} instead of {rate}");
        }
    }

    #[test]
    fn records_and_bytes_cost_what_they_should() {
        let cost = Cost { per_record: Duration::from_micros(3), per_byte_ns: 0.5 };
        let law = Law { latency: Latency::Fixed(Duration::from_millis(1)), cost, ..Law::default() };
        assert_eq!(law.latency(0, 10, 4000), Duration::from_micros(1000 + 30 + 2));
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
}
