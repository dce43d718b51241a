//! What a user wants of a setting.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::measure::histogram::LatencySummary;
use crate::workload::grammar::LawError;
use crate::workload::units::{Span, text_serde};

/// Which figure of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantile {
    /// Half are younger.
    P50,
    /// Nine of ten are.
    P90,
    /// 99 of 100 are.
    P99,
    /// 999 of 1000 are.
    P999,
    /// All are.
    Max,
}

impl Quantile {
    const ALL: [(Self, &'static str); 5] = [
        (Self::P50, "p50"),
        (Self::P90, "p90"),
        (Self::P99, "p99"),
        (Self::P999, "p99.9"),
        (Self::Max, "max"),
    ];

    /// That figure, in microseconds.
    #[must_use]
    pub const fn of(self, ages: &LatencySummary) -> u64 {
        match self {
            Self::P50 => ages.p50_us,
            Self::P90 => ages.p90_us,
            Self::P99 => ages.p99_us,
            Self::P999 => ages.p999_us,
            Self::Max => ages.max_us,
        }
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(quantile, _)| quantile == self).map_or("", |(_, name)| name))
    }
}

/// How old records may be when the function has answered for them: `p99=2s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgeLimit {
    /// Of which figure.
    pub quantile: Quantile,
    /// At most this.
    pub at_most: Duration,
}

impl FromStr for AgeLimit {
    type Err = LawError;

    fn from_str(text: &str) -> Result<Self, LawError> {
        let wrong = || {
            LawError::new(
                "a limit of record age",
                text,
                "write p99=2s; p50, p90, p99, p99.9 and max are there",
            )
        };
        let (name, span) = text.split_once('=').ok_or_else(wrong)?;
        let quantile = Quantile::ALL
            .iter()
            .find(|(_, known)| *known == name.trim())
            .map(|(quantile, _)| *quantile)
            .ok_or_else(wrong)?;
        let at_most = span.parse::<Span>()?.0;
        if at_most.is_zero() { Err(wrong()) } else { Ok(Self { quantile, at_most }) }
    }
}

impl fmt::Display for AgeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.quantile, Span(self.at_most))
    }
}

text_serde!(AgeLimit);

/// What is best among the settings that keep all limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimise {
    /// The cheapest.
    #[default]
    Cost,
    /// The one whose records are youngest.
    Age,
    /// The one that could bring most records through.
    Throughput,
}

/// What a user wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// How old records may be. Without one, a setting must only keep up.
    pub age: Option<AgeLimit>,
    /// What is best.
    pub optimise: Optimise,
    /// Invocations at the same time, at most.
    pub concurrency_max: Option<u32>,
}

impl Goal {
    /// The figure of ages that matters: that of the limit, or p99 without one.
    #[must_use]
    pub fn quantile(&self) -> Quantile {
        self.age.map_or(Quantile::P99, |limit| limit.quantile)
    }

    /// The same with a limit of age that is so much of this one.
    #[must_use]
    pub fn tightened(&self, share: f64) -> Self {
        let tighter = |limit: AgeLimit| AgeLimit { at_most: limit.at_most.mul_f64(share), ..limit };
        Self { age: self.age.map(tighter), ..self.clone() }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.optimise {
            Optimise::Cost => "lowest cost",
            Optimise::Age => "youngest records",
            Optimise::Throughput => "highest throughput",
        })?;
        if let Some(AgeLimit { quantile, at_most }) = self.age {
            write!(f, " with {quantile} record age of at most {}", Span(at_most))?;
        }
        if let Some(concurrency) = self.concurrency_max {
            write!(f, " under {concurrency} concurrent invocations")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_reads_back_as_printed() {
        for text in ["p99=2s", "p50=150ms", "p99.9=1500ms", "max=60s"] {
            let limit: AgeLimit = text.parse().unwrap();
            assert_eq!(limit.to_string().parse(), Ok(limit), "{text}");
        }
        for text in ["p98=2s", "2s", "p99=", "p99=0s"] {
            let error = text.parse::<AgeLimit>().unwrap_err().to_string();
            assert!(error.contains("write"), "{error}");
        }
    }

    #[test]
    fn a_goal_is_a_sentence() {
        let goal = Goal {
            age: Some("p99=2s".parse().unwrap()),
            optimise: Optimise::Cost,
            concurrency_max: Some(10),
        };
        assert_eq!(
            goal.to_string(),
            "lowest cost with p99 record age of at most 2s under 10 concurrent invocations"
        );
    }
}
