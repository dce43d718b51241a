//! Whether two samples differ. The test is `statrs`'s; here it is asked, inverted and adjusted.

use serde::{Deserialize, Serialize};
use statrs::stats_tests::Alternative;
use statrs::stats_tests::mannwhitneyu::{MannWhitneyUMethod, mannwhitneyu};

use super::median;
use super::metric::Direction;

/// How B compares with A.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Significant, larger than the threshold, in the right direction.
    Better,
    /// Significant, larger than the threshold, in the wrong direction.
    Worse,
    /// Significant, and not larger than the threshold.
    BelowThreshold,
    /// Not significant.
    WithinNoise,
    /// No difference would be significant.
    TooFewSamples,
}

/// A difference, each share one of A.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// B less A: the median over all pairs of a sample of B and one of A.
    pub share: f64,
    /// The lower end of the interval.
    pub low_share: f64,
    /// The upper end of the interval.
    pub high_share: f64,
    /// How often samples of equals would differ as much: a probability.
    pub p_value: f64,
    /// That, adjusted for the number of metrics by Holm's method.
    pub p_value_holm: f64,
}

impl Difference {
    /// What it comes to.
    pub(super) fn verdict(&self, better: Direction, alpha: f64, threshold_share: f64) -> Verdict {
        if self.p_value_holm > alpha {
            return Verdict::WithinNoise;
        }
        if self.share.abs() <= threshold_share {
            return Verdict::BelowThreshold;
        }
        if (self.share > 0.0) == (better == Direction::Higher) { Verdict::Better } else { Verdict::Worse }
    }
}

/// Whether samples of such sizes, if they do not overlap at all, are told apart at `alpha`.
pub(super) fn is_resolvable(a: usize, b: usize, alpha: f64) -> bool {
    let samples: Vec<f64> = (0_u32..).take(a + b).map(f64::from).collect();
    a > 0 && b > 0 && p_value(&samples[..a], &samples[a..]) <= alpha
}

/// How `b` differs from `a`, not adjusted yet; `None` if A's median is zero, of which there are no
/// shares. Both must be [resolvable](is_resolvable) at `alpha`.
pub(super) fn difference(a: &[f64], b: &[f64], alpha: f64) -> Option<Difference> {
    median(a.to_vec()).filter(|base| *base > 0.0)?;
    // Logarithms: a difference is a factor, and no figure falls by more than all of it. A part without
    // any records counts as hardly any.
    let (a, b) = (logarithms(a), logarithms(b));
    let (a, b) = (&a[..], &b[..]);
    let mut steps: Vec<f64> = b.iter().flat_map(|b| a.iter().map(move |a| b - a)).collect();
    let middle = median(steps.clone())?;
    steps.sort_by(f64::total_cmp);
    steps.dedup();
    // Ranks change only where a shifted sample passes another, so the test has one answer between two
    // steps; and the further from the middle, the smaller its p-value.
    let is_rejected = |gap: &&[f64]| {
        let shift = f64::midpoint(gap[0], gap[1]);
        let shifted: Vec<f64> = a.iter().map(|a| a + shift).collect();
        p_value(&shifted, b) <= alpha
    };
    let gaps: Vec<&[f64]> = steps.windows(2).collect();
    let centre = gaps.partition_point(|gap| gap[1] <= middle);
    let low = gaps[..centre].partition_point(is_rejected);
    let high = centre + gaps[centre..].partition_point(|gap| !is_rejected(gap));
    let p_value = p_value(a, b);
    Some(Difference {
        share: middle.exp_m1(),
        low_share: steps[low].exp_m1(),
        high_share: steps[high].exp_m1(),
        p_value,
        p_value_holm: p_value,
    })
}

fn logarithms(figures: &[f64]) -> Vec<f64> {
    figures.iter().map(|figure| figure.max(1e-9).ln()).collect()
}

/// The two-sided p-value. By the normal distribution with continuity correction at every size: it is
/// on the safe side where samples are few, takes ties, and does not walk through all orders.
fn p_value(a: &[f64], b: &[f64]) -> f64 {
    // Of equal values the variance is zero, and its root may not be a number.
    if a.iter().chain(b).all(|figure| figure.total_cmp(&a[0]).is_eq()) {
        return 1.0;
    }
    let method = MannWhitneyUMethod::AsymptoticInclContinuityCorrection;
    mannwhitneyu(a, b, method, Alternative::TwoSided).map_or(1.0, |(_, p_value)| p_value)
}

/// Adjusts the p-values by Holm's method: whichever differences are called significant, the chance
/// that any of them is a false alarm stays what it is for one.
pub(super) fn adjust(mut differences: Vec<&mut Difference>) {
    differences.sort_by(|one, other| one.p_value.total_cmp(&other.p_value));
    let (mut left, mut largest) = (differences.len() as f64, 0.0_f64);
    for difference in differences {
        largest = largest.max((difference.p_value * left).min(1.0));
        difference.p_value_holm = largest;
        left -= 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(p_value: f64) -> Difference {
        Difference { share: 0.1, low_share: 0.0, high_share: 0.2, p_value, p_value_holm: p_value }
    }

    #[test]
    fn holms_method_adjusts_as_in_his_paper() {
        let mut differences = [0.01, 0.04, 0.03, 0.005].map(plain);
        adjust(differences.iter_mut().collect());
        let adjusted = differences.map(|difference| difference.p_value_holm);
        for (adjusted, expected) in adjusted.into_iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((adjusted - expected).abs() < 1e-12, "{adjusted} is not {expected}");
        }
    }

    /// R: `wilcox.test(c(7, 8, 9, 10, 11, 12), c(1, 2, 3, 4, 5, 6), exact = FALSE)` says 0.005075.
    #[test]
    fn the_test_is_the_one_that_others_know() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [7.0, 8.0, 9.0, 10.0, 11.0, 12.0]);
        assert!((p_value(&a, &b) - 0.005_075).abs() < 1e-6, "{}", p_value(&a, &b));
        assert!((p_value(&a, &b) - p_value(&b, &a)).abs() < 1e-12);
        assert!((p_value(&[3.0; 6], &[3.0; 6]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn few_samples_are_told_apart_only_at_a_low_confidence() {
        assert!(is_resolvable(6, 6, 0.01) && !is_resolvable(5, 5, 0.01) && is_resolvable(5, 5, 0.05));
        assert!(!is_resolvable(0, 20, 0.05) && !is_resolvable(1, 20, 0.05));
        assert!(is_resolvable(3, 40, 0.01));
    }

    #[test]
    fn an_interval_holds_the_difference_and_no_zero_where_samples_are_apart() {
        let a = [100.0, 101.0, 99.0, 102.0, 98.0, 100.5, 99.5, 101.5];
        let b = a.map(|figure| figure * 1.1);
        let found = difference(&a, &b, 0.05).unwrap();
        assert!((found.share - 0.1).abs() < 0.005, "{found:?}");
        assert!(found.low_share > 0.07 && found.low_share < found.share, "{found:?}");
        assert!(found.high_share < 0.13 && found.high_share > found.share, "{found:?}");
        let same = difference(&a, &a, 0.05).unwrap();
        assert!(same.low_share < 0.0 && same.high_share > 0.0 && same.p_value > 0.9, "{same:?}");
        let constant = difference(&[100.0; 6], &[110.0; 6], 0.05).unwrap();
        assert!((constant.low_share - 0.1).abs() < 1e-9 && (constant.high_share - 0.1).abs() < 1e-9);
        assert_eq!(difference(&[0.0; 6], &[1.0; 6], 0.05), None);
    }

    #[test]
    fn a_verdict_needs_significance_and_size() {
        let of = |share, p_value_holm, better| {
            Difference { share, p_value_holm, ..plain(0.0) }.verdict(better, 0.05, 0.05)
        };
        assert_eq!(of(0.1, 0.01, Direction::Higher), Verdict::Better);
        assert_eq!(of(0.1, 0.01, Direction::Lower), Verdict::Worse);
        assert_eq!(of(-0.1, 0.01, Direction::Higher), Verdict::Worse);
        assert_eq!(of(-0.1, 0.01, Direction::Lower), Verdict::Better);
        assert_eq!(of(0.04, 0.01, Direction::Lower), Verdict::BelowThreshold);
        assert_eq!(of(0.1, 0.06, Direction::Lower), Verdict::WithinNoise);
    }
}
