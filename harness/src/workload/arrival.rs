//! When each record is meant to be sent.
//!
//! An open-loop schedule does not wait for the system under load: a slow engine or a late
//! generator moves no intended time, so waiting that they cause is measured, not hidden.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Exp1};

use super::grammar::{Call, LawError};
use super::recording::Recording;
use super::scenario::Workload;
use super::units::{Rate, text_serde};

/// The law of the records' intended send times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrival {
    /// No schedule: as fast as the source takes them. Time starts when a record is handed over.
    Fast,
    /// Evenly spaced.
    Constant(Rate),
    /// Independent arrivals: exponential gaps of this mean rate.
    Poisson(Rate),
    /// `burst` records at one instant, evenly spaced bursts, over a calm base.
    Bursts {
        /// Records per second on average, those of the base included.
        rate: Rate,
        /// Records per burst, at least 1.
        burst: u32,
        /// The part of `rate`, and less than it, that is evenly spaced; `None`: silence between bursts.
        base: Option<Rate>,
    },
    /// As the records of a capture followed each other, by their timestamps, so many times faster.
    /// Timestamps are whole milliseconds: what shares one is sent at once.
    Captured(Speed),
}

/// A factor of time: `x2` is twice as fast, `x0.5` half as fast.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Speed(pub f64);

/// The largest factor, and one over the smallest.
const SPEED_MAX: f64 = 1e6;

impl FromStr for Speed {
    type Err = LawError;

    fn from_str(text: &str) -> Result<Self, LawError> {
        let number = text.trim();
        match number.strip_prefix('x').unwrap_or(number).parse() {
            Ok(factor) if (1.0 / SPEED_MAX..=SPEED_MAX).contains(&factor) => Ok(Self(factor)),
            _ => Err(LawError::new("a factor of time", text, "write x2 or x0.5, up to x1000000")),
        }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "x{}", self.0)
    }
}

impl Arrival {
    /// The mean rate in records per second; `None` where there is no schedule, or only the capture
    /// knows.
    #[must_use]
    pub fn records_per_s(&self) -> Option<f64> {
        match self {
            Self::Fast | Self::Captured(_) => None,
            Self::Constant(rate) | Self::Poisson(rate) | Self::Bursts { rate, .. } => Some(rate.0),
        }
    }
}

impl FromStr for Arrival {
    type Err = LawError;

    fn from_str(text: &str) -> Result<Self, LawError> {
        let mut call = Call::parse(
            text,
            "an arrival law",
            "write fast, constant(50k/s), poisson(50k/s), bursts(rate=50k/s, burst=10000), with base=5k/s for a \
             part of the rate that flows between the bursts, or captured or captured(x2) for a replay",
        )?;
        let law = match call.name {
            "fast" => Self::Fast,
            "constant" => Self::Constant(call.take("rate")?),
            "poisson" => Self::Poisson(call.take("rate")?),
            "bursts" => Self::Bursts {
                rate: call.take("rate")?,
                burst: call.take("burst")?,
                base: call.take_if_given("base")?,
            },
            "captured" => Self::Captured(call.take_if_given("speed")?.unwrap_or(Speed(1.0))),
            _ => return Err(call.wrong()),
        };
        match law {
            Self::Bursts { burst: 0, .. } => {
                Err(LawError::new("an arrival law", text, "`burst` is 0; give 1 record or more"))
            }
            Self::Bursts { rate, base: Some(base), .. } if base >= rate => {
                let remedy = format!(
                    "`base` is {base}; it must be below {rate}, the `rate` of all records, of which bursts are the \
                     rest"
                );
                Err(LawError::new("an arrival law", text, &remedy))
            }
            law => call.finish(law),
        }
    }
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fast => f.write_str("fast"),
            Self::Constant(rate) => write!(f, "constant({rate})"),
            Self::Poisson(rate) => write!(f, "poisson({rate})"),
            Self::Bursts { rate, burst, base: None } => write!(f, "bursts(rate={rate}, burst={burst})"),
            Self::Bursts { rate, burst, base: Some(base) } => {
                write!(f, "bursts(rate={rate}, burst={burst}, base={base})")
            }
            Self::Captured(speed) => write!(f, "captured({speed})"),
        }
    }
}

text_serde!(Arrival);

/// The intended send times of an open-loop law, from the first record on.
#[derive(Debug)]
pub struct Schedule {
    law: Law,
}

#[derive(Debug)]
enum Law {
    Steps(Steps),
    /// Whichever comes next, the bursts first.
    Over {
        bursts: Steps,
        base: Steps,
    },
    /// The sum of the gaps so far, in nanoseconds.
    Poisson {
        mean_ns: f64,
        at_ns: f64,
        random: SmallRng,
    },
    /// Record `n` has the time of the capture's record `n` modulo their number, and so many periods.
    Captured {
        recording: &'static Recording,
        speed: f64,
        records: u64,
    },
}

/// Record `n` belongs to step `n / per_step`; a step takes `step_ns`.
#[derive(Debug)]
struct Steps {
    per_step: u64,
    step_ns: f64,
    records: u64,
}

impl Steps {
    fn new(rate: f64, per_step: u32) -> Self {
        Self { per_step: u64::from(per_step), step_ns: 1e9 * f64::from(per_step) / rate, records: 0 }
    }

    /// The next record's time in nanoseconds. Steps are multiplied, not added up, so that hours at a
    /// constant rate do not drift.
    #[expect(clippy::cast_precision_loss, reason = "records are far below 2^53")]
    fn peek_ns(&self) -> f64 {
        (self.records / self.per_step) as f64 * self.step_ns
    }

    fn take_ns(&mut self) -> f64 {
        let at_ns = self.peek_ns();
        self.records += 1;
        at_ns
    }
}

impl Schedule {
    /// The schedule of `workload`; `None` for [`Arrival::Fast`], which has none.
    #[must_use]
    pub fn of(workload: &Workload) -> Option<Self> {
        match (&workload.arrival, workload.replay) {
            (Arrival::Captured(speed), Some(recording)) => {
                Some(Self { law: Law::Captured { recording, speed: speed.0, records: 0 } })
            }
            (arrival, _) => Self::new(arrival, workload.seed),
        }
    }

    fn new(arrival: &Arrival, seed: u64) -> Option<Self> {
        let law = match arrival {
            // Times that no capture tells are none.
            Arrival::Fast | Arrival::Captured(_) => return None,
            Arrival::Constant(rate) => Law::Steps(Steps::new(rate.0, 1)),
            Arrival::Bursts { rate, burst, base: None } => Law::Steps(Steps::new(rate.0, *burst)),
            Arrival::Bursts { rate, burst, base: Some(base) } => {
                Law::Over { bursts: Steps::new(rate.0 - base.0, *burst), base: Steps::new(base.0, 1) }
            }
            Arrival::Poisson(rate) => {
                Law::Poisson { mean_ns: 1e9 / rate.0, at_ns: 0.0, random: SmallRng::seed_from_u64(seed) }
            }
        };
        Some(Self { law })
    }

    /// The next record's intended send time, counted from the start of the schedule. Never
    /// decreases.
    #[expect(clippy::cast_precision_loss, reason = "records are far below 2^53")]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive; saturates in 584 years"
    )]
    pub fn next_send(&mut self) -> Duration {
        let at_ns = match &mut self.law {
            Law::Steps(steps) => steps.take_ns(),
            Law::Over { bursts, base } if bursts.peek_ns() <= base.peek_ns() => bursts.take_ns(),
            Law::Over { base, .. } => base.take_ns(),
            Law::Poisson { mean_ns, at_ns, random } => {
                let gap: f64 = Exp1.sample(random);
                *at_ns += gap * *mean_ns;
                *at_ns
            }
            Law::Captured { recording, speed, records } => {
                let sendings = recording.sendings();
                let (len, record) = (sendings.len() as u64, *records);
                *records += 1;
                let within = sendings[usize::try_from(record % len).unwrap_or(0)].at_ms as f64 * 1e6;
                ((record / len) as f64 * recording.period().as_nanos() as f64 + within) / *speed
            }
        };
        Duration::from_nanos(at_ns.round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn times(law: &str, records: usize) -> Vec<Duration> {
        let mut schedule = Schedule::new(&law.parse().unwrap(), 7).unwrap();
        (0..records).map(|_| schedule.next_send()).collect()
    }

    #[test]
    fn a_constant_rate_is_evenly_spaced_and_does_not_drift() {
        let times = times("constant(3/s)", 3_000_001);
        assert_eq!(times[0], Duration::ZERO);
        assert_eq!(times[1], Duration::from_nanos(333_333_333));
        assert_eq!(times[3_000_000], Duration::from_secs(1_000_000));
    }

    #[test]
    fn a_burst_shares_one_instant() {
        let times = times("bursts(rate=100/s, burst=50)", 150);
        assert!(times[..50].iter().all(|at| *at == Duration::ZERO));
        assert!(times[50..100].iter().all(|at| *at == Duration::from_millis(500)));
        assert_eq!(times[149], Duration::from_secs(1));
    }

    #[test]
    fn bursts_come_over_a_base_that_flows_on_and_the_rate_is_that_of_both() {
        let times = times("bursts(rate=300/s, burst=100, base=100/s)", 601);
        // 200/s in bursts of 100, one each half second; meanwhile 50 of the base.
        for (burst, at) in [(0, 0), (1, 500), (2, 1_000)] {
            let at = Duration::from_millis(at);
            let first = burst * 150;
            assert!(times[first..first + 100].iter().all(|time| *time == at), "burst {burst}");
            assert_eq!(times[first + 101] - times[first + 100], Duration::from_millis(10));
        }
        assert_eq!(times[600], Duration::from_secs(2));
    }

    #[test]
    fn a_burst_law_that_makes_no_sense_says_why() {
        for (text, why) in [
            ("bursts(1k/s, 0)", "`burst` is 0"),
            ("bursts(1k/s, 10, 1k/s)", "`base` is 1000/s; it must be below 1000/s"),
            ("bursts(1k/s, 10, base=fast)", "base=5k/s"),
        ] {
            let error = text.parse::<Arrival>().unwrap_err().to_string();
            assert!(error.contains(text) && error.contains(why), "{error}");
        }
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_spread_of_their_law() {
        let records = 200_000;
        let times = times("poisson(1k/s)", records);
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 1e-3).abs() < 2e-5, "mean {mean}");
        assert!((variance.sqrt() - 1e-3).abs() < 4e-5, "deviation {}", variance.sqrt());
    }

    #[test]
    fn a_fast_arrival_has_no_schedule() {
        assert!(Schedule::new(&Arrival::Fast, 0).is_none());
        assert_eq!(Arrival::Fast.records_per_s(), None);
    }

    fn any_open_loop() -> impl Strategy<Value = Arrival> {
        let rate = || (0.5..1e6).prop_map(Rate);
        prop_oneof![
            rate().prop_map(Arrival::Constant),
            rate().prop_map(Arrival::Poisson),
            (rate(), 1..100_000u32, prop::option::of(0.01..0.99)).prop_map(|(rate, burst, part)| {
                let base = part.map(|part| Rate(rate.0 * part));
                Arrival::Bursts { rate, burst, base }
            }),
        ]
    }

    #[test]
    fn a_captured_arrival_has_a_speed() {
        assert_eq!("captured".parse(), Ok(Arrival::Captured(Speed(1.0))));
        for text in ["captured(x2.5)", "captured(2.5)", "captured(speed=x2.5)"] {
            assert_eq!(text.parse(), Ok(Arrival::Captured(Speed(2.5))), "{text}");
        }
        assert_eq!(Arrival::Captured(Speed(0.5)).to_string().parse(), Ok(Arrival::Captured(Speed(0.5))));
        for text in ["captured(x0)", "captured(x-1)", "captured(xinf)", "captured(2, 3)"] {
            assert!(text.parse::<Arrival>().unwrap_err().to_string().contains("captured(x2)"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn intended_times_never_decrease_and_repeat_with_the_seed(arrival in any_open_loop(), seed: u64) {
            let mut first = Schedule::new(&arrival, seed).unwrap();
            let mut second = Schedule::new(&arrival, seed).unwrap();
            let mut before = Duration::ZERO;
            for _ in 0..500 {
                let at = first.next_send();
                prop_assert!(at >= before);
                prop_assert_eq!(at, second.next_send());
                before = at;
            }
        }

        #[test]
        fn an_arrival_reads_back_as_printed(arrival in any_open_loop()) {
            prop_assert_eq!(arrival.to_string().parse(), Ok(arrival));
        }
    }
}
