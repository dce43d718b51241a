//! Two results side by side: what differs, and whether it is more than noise.
//!
//! **Samples.** A run is cut into [intervals](crate::result::Interval). Neighbours resemble each other,
//! which a test for independent samples would take for certainty; so they are merged into 6 to 10
//! blocks, of two intervals or more from 12 on. Where both sides have enough runs, each run is one
//! sample instead: only that contains what differs from one run to the next.
//!
//! **Test.** A two-sided Mann-Whitney U test for each metric (of `statrs`), whose p-values are
//! adjusted by Holm's method, so that five metrics together raise a false alarm no more often than
//! one would. The interval of a difference holds those differences that the same test, unadjusted,
//! does not reject; the difference itself is the median over all pairs of a sample of B and one of
//! A.
//!
//! **Verdict.** Worse or better is what is significant *and* larger than the threshold. Where not even
//! samples that do not overlap at all would be significant, there are too few.

mod judge;
mod metric;
mod reading;
mod warnings;

use serde::{Deserialize, Serialize};

pub use judge::{Difference, Verdict};
pub use metric::{Direction, Metric, SampleOf};
pub use reading::{Loaded, ResultError, read};

use judge::{adjust, difference, is_resolvable};

/// The version of [`Comparison`].
pub const VERSION: u32 = 1;

/// What counts as a difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Criteria {
    /// Differences up to this share do not matter.
    pub threshold_share: f64,
    /// How sure a difference must be, for all metrics together: 0.95 is one false alarm in 20
    /// comparisons of equals. Between 0 and 1.
    pub confidence_share: f64,
}

/// Two sides compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// [`VERSION`].
    pub version: u32,
    /// See [`Criteria::threshold_share`].
    pub threshold_share: f64,
    /// See [`Criteria::confidence_share`].
    pub confidence_share: f64,
    /// What B is compared with.
    pub a: Side,
    /// What is judged.
    pub b: Side,
    /// What makes the comparison doubtful, the worst first.
    pub warnings: Vec<String>,
    /// What a sample is.
    pub sample_of: SampleOf,
    /// One for each metric.
    pub metrics: Vec<Compared>,
    /// A run of B failed its audit, and none of A did.
    pub is_audit_worse: bool,
    /// B is worse than A in a metric, or its audit is.
    pub is_regression: bool,
}

/// The runs of one side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// Where they are.
    pub files: Vec<String>,
    /// Their scenarios, each once.
    pub scenarios: Vec<String>,
    /// Their commits, each once.
    pub commits: Vec<String>,
    /// Whether each run's audit is clean.
    pub is_clean: bool,
}

/// One metric of both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Which; its name carries its unit.
    pub metric: Metric,
    /// Which way is better.
    pub better: Direction,
    /// Samples of A.
    pub a_samples: usize,
    /// Samples of B.
    pub b_samples: usize,
    /// Median of A's samples; `None` without any.
    pub a_median: Option<f64>,
    /// Median of B's samples; `None` without any.
    pub b_median: Option<f64>,
    /// What is known of the difference; `None` where there are too few samples.
    pub difference: Option<Difference>,
    /// What it comes to.
    pub verdict: Verdict,
}

impl Comparison {
    /// The exit code of a comparison: 1 if B is worse, 0 if not.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::from(self.is_regression)
    }
}

/// Compares `b` with `a`.
#[must_use]
pub fn compare(a: &[Loaded], b: &[Loaded], criteria: Criteria) -> Comparison {
    let alpha = 1.0 - criteria.confidence_share;
    // What the first step of Holm's method asks for.
    let alpha_each = alpha / Metric::ALL.len() as f64;
    let sample_of = if is_resolvable(a.len(), b.len(), alpha_each) { SampleOf::Run } else { SampleOf::Block };
    let mut metrics = Metric::ALL.map(|metric| {
        let (a, b) = (samples(a, metric, sample_of), samples(b, metric, sample_of));
        let is_enough = is_resolvable(a.len(), b.len(), alpha_each);
        Compared {
            metric,
            better: metric.better(),
            a_samples: a.len(),
            b_samples: b.len(),
            a_median: median(a.clone()),
            b_median: median(b.clone()),
            difference: if is_enough { difference(&a, &b, alpha) } else { None },
            verdict: Verdict::TooFewSamples,
        }
    });
    adjust(metrics.iter_mut().filter_map(|compared| compared.difference.as_mut()).collect());
    for compared in &mut metrics {
        if let Some(difference) = &compared.difference {
            compared.verdict = difference.verdict(compared.better, alpha, criteria.threshold_share);
        }
    }
    let (a_side, b_side) = (side(a), side(b));
    let is_audit_worse = a_side.is_clean && !b_side.is_clean;
    Comparison {
        version: VERSION,
        threshold_share: criteria.threshold_share,
        confidence_share: criteria.confidence_share,
        is_regression: is_audit_worse || metrics.iter().any(|metric| metric.verdict == Verdict::Worse),
        warnings: warnings::warnings(a, b, sample_of),
        a: a_side,
        b: b_side,
        sample_of,
        metrics: metrics.into(),
        is_audit_worse,
    }
}

fn samples(runs: &[Loaded], metric: Metric, sample_of: SampleOf) -> Vec<f64> {
    runs.iter().flat_map(|run| metric.samples(&run.result, sample_of)).collect()
}

fn side(runs: &[Loaded]) -> Side {
    let each_once = |of: &dyn Fn(&Loaded) -> String| {
        runs.iter().fold(Vec::new(), |mut known: Vec<String>, run| {
            let text = of(run);
            if !known.contains(&text) {
                known.push(text);
            }
            known
        })
    };
    Side {
        files: runs.iter().map(|run| run.path.clone()).collect(),
        scenarios: each_once(&|run| run.result.scenario.clone()),
        commits: each_once(&|run| run.result.machine.commit.clone()),
        is_clean: runs.iter().all(|run| run.result.is_clean()),
    }
}

/// The middle of some figures; none of none.
fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let half = figures.len() / 2;
    match figures.len() {
        0 => None,
        len if len.is_multiple_of(2) => Some(f64::midpoint(figures[half - 1], figures[half])),
        _ => Some(figures[half]),
    }
}

#[cfg(test)]
mod tests;
