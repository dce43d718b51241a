//! The law of a stub, as text.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use pelton::invoke::law::{Cost, Faults, Latency, Law};

use super::grammar::{Call, LawError};
use super::units::{Span, text_serde};

/// A stub's law, and whether it checks what it is sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StubLaw {
    /// Latency and faults.
    pub law: Law,
    /// Whether each payload is parsed and compared with its records.
    pub verify: bool,
}

impl FromStr for StubLaw {
    type Err = LawError;

    fn from_str(text: &str) -> Result<Self, LawError> {
        let mut call = Call::parse(
            text,
            "a stub's law",
            "write null, fixed(50ms) or log-normal(median=20ms, sigma=0.5), and what else it does by name: \
             verify=true, error-rate, throttle-rate, fault-rate, reset-rate and garbage-rate as shares from 0 to 1 \
             (1 in all), record-cost=2us, byte-cost-ns=0.5, concurrency=8, seed=1",
        )?;
        let faults = Faults {
            function_error: call.take_named("error-rate")?.unwrap_or_default(),
            throttle: call.take_named("throttle-rate")?.unwrap_or_default(),
            service_fault: call.take_named("fault-rate")?.unwrap_or_default(),
            reset: call.take_named("reset-rate")?.unwrap_or_default(),
            garbage: call.take_named("garbage-rate")?.unwrap_or_default(),
        };
        let cost = Cost {
            per_record: call.take_named("record-cost")?.map_or(Duration::ZERO, |span: Span| span.0),
            per_byte_ns: call.take_named("byte-cost-ns")?.unwrap_or_default(),
        };
        let concurrency_max = call.take_named("concurrency")?;
        let seed = call.take_named("seed")?.unwrap_or_default();
        let verify = call.take_named("verify")?.unwrap_or_default();
        let span = |span: Span| span.0;
        let latency = match call.name {
            "null" => Latency::None,
            "fixed" => Latency::Fixed(call.take("latency").map(span)?),
            "log-normal" => {
                Latency::LogNormal { median: call.take("median").map(span)?, sigma: call.take("sigma")? }
            }
            _ => return Err(call.wrong()),
        };
        let law = Law { latency, cost, faults, concurrency_max, seed };
        if law.check().is_err() || concurrency_max == Some(0) {
            return Err(call.wrong());
        }
        call.finish(Self { law, verify })
    }
}

impl fmt::Display for StubLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Law { latency, cost, faults, concurrency_max, seed } = &self.law;
        let mut arguments = Vec::new();
        let name = match latency {
            Latency::None => "null",
            Latency::Fixed(latency) => {
                arguments.push(Span(*latency).to_string());
                "fixed"
            }
            Latency::LogNormal { median, sigma } => {
                arguments.push(format!("median={}", Span(*median)));
                arguments.push(format!("sigma={sigma}"));
                "log-normal"
            }
        };
        for (name, share) in [
            ("error-rate", faults.function_error),
            ("throttle-rate", faults.throttle),
            ("fault-rate", faults.service_fault),
            ("reset-rate", faults.reset),
            ("garbage-rate", faults.garbage),
            ("byte-cost-ns", cost.per_byte_ns),
        ] {
            if share > 0.0 {
                arguments.push(format!("{name}={share}"));
            }
        }
        if !cost.per_record.is_zero() {
            arguments.push(format!("record-cost={}", Span(cost.per_record)));
        }
        if let Some(concurrency) = concurrency_max {
            arguments.push(format!("concurrency={concurrency}"));
        }
        if *seed != 0 {
            arguments.push(format!("seed={seed}"));
        }
        if self.verify {
            arguments.push("verify=true".to_owned());
        }
        f.write_str(name)?;
        if arguments.is_empty() { Ok(()) } else { write!(f, "({})", arguments.join(", ")) }
    }
}

text_serde!(StubLaw);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn faults_are_shares_of_one() {
        assert!("null(throttle-rate=0.5, reset-rate=0.5)".parse::<StubLaw>().is_ok());
        for text in [
            "null(throttle-rate=0.6, reset-rate=0.5)",
            "null(throttle-rate=2)",
            "fixed",
            "fixed(1ms, 2)",
            "slow(1s)",
        ] {
            let error = text.parse::<StubLaw>().unwrap_err().to_string();
            assert!(error.contains("write null"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_stubs_law_reads_back_as_printed(
            latency_us in 0..10_000_000u64, sigma in 0.0..10.0, share in 0.0..0.2, kind in 0..3, seed: u64,
            concurrency_max in prop::option::of(1..1_000u32), verify: bool, per_record_ns in 0..1_000_000u64,
        ) {
            let latency = Duration::from_micros(latency_us);
            let law = Law {
                latency: match kind {
                    0 => Latency::None,
                    1 => Latency::Fixed(latency),
                    _ => Latency::LogNormal { median: latency, sigma },
                },
                cost: Cost { per_record: Duration::from_nanos(per_record_ns), per_byte_ns: share },
                faults: Faults { function_error: share, throttle: share, service_fault: 0.0, reset: share, garbage: share },
                concurrency_max,
                seed,
            };
            let law = StubLaw { law, verify };
            prop_assert_eq!(law.to_string().parse(), Ok(law));
        }
    }
}
