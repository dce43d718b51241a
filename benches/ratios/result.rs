//! What a run of the rows came to, as JSON has it. Times are nanoseconds per unit of work.

use serde::Serialize;

/// A run.
#[derive(Clone, Debug, Serialize)]
pub struct Ratios {
    /// Changes when a field changes its meaning.
    pub schema: u32,
    /// What was typed.
    pub command: String,
    /// Where it was measured.
    pub machine: super::machine::Machine,
    /// In the order in which they were measured.
    pub rows: Vec<Measured>,
}

/// A row.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// `payload/hot/no-headers/fixed`.
    pub group: String,
    /// `256 B`.
    pub case: String,
    /// What times are per.
    pub unit: &'static str,
    /// How often each contestant was timed, in turn with the others.
    pub rounds: usize,
    /// All of them.
    pub contestants: Vec<Timed>,
    /// Numbers made of two contestants.
    pub derived: Vec<Made>,
    /// Counts.
    pub counted: Vec<Counted>,
}

/// A contestant.
#[derive(Clone, Debug, Serialize)]
pub struct Timed {
    /// `pelton`, `floor`, `yardstick` or `peer`.
    pub role: String,
    /// Without the role.
    pub name: String,
    /// Its time.
    pub ns_per_unit: Spread,
    /// Input bytes per nanosecond, at the median; `None` where bytes say nothing.
    pub input_gigabytes_per_second: Option<f64>,
    /// Its time over that of each contestant that is not ours, in the same round.
    pub time_over: Vec<Over>,
}

/// A ratio of times.
#[derive(Clone, Debug, Serialize)]
pub struct Over {
    /// The other's role.
    pub role: String,
    /// The other's name.
    pub name: String,
    /// The ratio.
    pub ratio: Spread,
}

/// A number made of two contestants.
#[derive(Clone, Debug, Serialize)]
pub struct Made {
    /// What it says.
    pub name: String,
    /// `ns` more per unit, or `x` for times as long.
    pub unit: &'static str,
    /// The number.
    pub value: Spread,
}

/// A count.
#[derive(Clone, Debug, Serialize)]
pub struct Counted {
    /// What was counted, per what.
    pub name: String,
    /// The count.
    pub count: f64,
}

/// A median and where most samples lay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Half of the samples are below.
    pub median: f64,
    /// A tenth of the samples is below.
    pub p10: f64,
    /// A tenth of the samples is above.
    pub p90: f64,
}

impl Spread {
    /// Of some samples; not a number if there are none.
    #[must_use]
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut samples: Vec<f64> = samples.into_iter().collect();
        samples.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = (samples.len().saturating_sub(1) as f64 * part).round() as usize;
            samples.get(place).copied().unwrap_or(f64::NAN)
        };
        Self { median: at(0.5), p10: at(0.1), p90: at(0.9) }
    }
}

impl Measured {
    /// The contestants of a role, in the row's order.
    pub fn of_role(&self, role: &str) -> impl Iterator<Item = &Timed> {
        self.contestants.iter().filter(move |contestant| contestant.role == role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_median_and_the_outer_tenths() {
        let spread = Spread::of((0..=100).rev().map(f64::from));
        assert_eq!(spread, Spread { median: 50.0, p10: 10.0, p90: 90.0 });
        assert!(Spread::of([]).median.is_nan());
        assert_eq!(Spread::of([3.0]).p90, 3.0);
    }
}
