//! How long to wait before the next attempt.

use std::time::Duration;

/// How failed attempts are spaced.
///
/// AWS publishes no numbers for Kafka. These fit what its Kinesis mapping was observed to do (8
/// invocations within a record age of 60 s: a doubling from about half a second), with a ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The longest wait after the first failure; it doubles with each further one. Default 500 ms.
    /// Zero retries at once, for tests.
    pub backoff_base: Duration,
    /// The ceiling of the doubling, and of what a `Retry-After` is believed. Default 60 s.
    pub backoff_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { backoff_base: Duration::from_millis(500), backoff_max: Duration::from_secs(60) }
    }
}

impl RetryPolicy {
    /// The longest wait that [`Backoff`] can ask for: a `Retry-After` at the ceiling, and the
    /// spread above it.
    #[must_use]
    pub const fn wait_max(&self) -> Duration {
        self.backoff_max.saturating_add(half(self.backoff_max))
    }
}

/// The waits of one batch: doubling, capped, spread by a seed.
///
/// A wait lies between half of the curve and the curve itself ("equal jitter"): never near zero,
/// so that a function that is down is left alone, and never the same for two batches that failed
/// together, so that they do not return together.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    policy: RetryPolicy,
    failures: u32,
    spread: SplitMix,
}

impl Backoff {
    /// Waits that begin at the base. Equal seeds give equal waits; any seed will do, 0 included.
    #[must_use]
    pub const fn new(policy: RetryPolicy, seed: u64) -> Self {
        Self { policy, failures: 0, spread: SplitMix(seed) }
    }

    /// Counts a failure and says how long to wait. A `retry_after` is the least wait, but is
    /// believed only up to [`RetryPolicy::backoff_max`]: a header must not be able to stop a
    /// partition.
    pub fn on_failure(&mut self, retry_after: Option<Duration>) -> Duration {
        // 2^31 times the base is past every ceiling that means something.
        let curve =
            self.policy.backoff_base.saturating_mul(1 << self.failures.min(31)).min(self.policy.backoff_max);
        self.failures = self.failures.saturating_add(1);
        let asked = retry_after.unwrap_or_default().min(self.policy.backoff_max);
        let least = half(curve).max(asked);
        // Spread above what was asked for too: all the throttled were told the same second.
        least.saturating_add(self.spread.below(curve - half(curve)))
    }

    /// The next failure is the first again; the spread goes on.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

const fn half(of: Duration) -> Duration {
    match of.checked_div(2) {
        Some(half) => half,
        None => Duration::ZERO,
    }
}

/// Steele, Lea and Flood's `SplitMix64`: eight bytes of state, well mixed from any seed.
#[derive(Clone, Copy, Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `0..=limit`.
    fn below(&mut self, limit: Duration) -> Duration {
        let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX - 1);
        let scaled = (u128::from(self.next()) * (u128::from(limit_ns) + 1)) >> 64;
        // The product of two 64-bit numbers, shifted by 64 bits, is one again.
        Duration::from_nanos(u64::try_from(scaled).unwrap_or(limit_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// The curve of the default policy: what the n-th wait is at most.
    const CURVE_MS: [u64; 9] = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000];

    #[test]
    fn waits_double_from_half_a_second_to_a_minute() {
        for seed in 0..1_000 {
            let mut backoff = Backoff::new(RetryPolicy::default(), seed);
            for curve in CURVE_MS.map(MS) {
                let wait = backoff.on_failure(None);
                assert!(curve / 2 <= wait && wait <= curve, "seed {seed}: {wait:?} on a curve of {curve:?}");
            }
        }
    }

    #[test]
    fn waits_are_spread_over_the_whole_range() {
        let firsts = (0..1_000).map(|seed| Backoff::new(RetryPolicy::default(), seed).on_failure(None));
        let tenths = firsts.fold([0_u32; 10], |mut tenths, wait| {
            let tenth = (wait - MS(250)).as_nanos() * 10 / (MS(250).as_nanos() + 1);
            tenths[usize::try_from(tenth).unwrap()] += 1;
            tenths
        });
        assert!(tenths.iter().all(|&count| (50..200).contains(&count)), "{tenths:?}");
    }

    #[test]
    fn equal_seeds_wait_equally_long() {
        let waits = |seed| {
            let mut backoff = Backoff::new(RetryPolicy::default(), seed);
            [(); 5].map(|()| backoff.on_failure(None))
        };
        assert_eq!(waits(7), waits(7));
        assert_ne!(waits(7), waits(8));
    }

    #[test]
    fn a_retry_after_is_waited_for_and_spread() {
        let waits: Vec<_> = (0..100)
            .map(|seed| Backoff::new(RetryPolicy::default(), seed).on_failure(Some(MS(10_000))))
            .collect();
        assert!(waits.iter().all(|&wait| MS(10_000) <= wait && wait <= MS(10_250)), "{waits:?}");
        assert!(waits.iter().any(|&wait| wait != waits[0]));
    }

    #[test]
    fn a_retry_after_shorter_than_the_curve_does_not_shorten_the_wait() {
        let mut backoff = Backoff::new(RetryPolicy::default(), 0);
        for _ in 0..6 {
            backoff.on_failure(Some(MS(1)));
        }
        assert!(backoff.on_failure(Some(MS(1))) >= MS(16_000));
    }

    #[test]
    fn an_absurd_retry_after_is_bounded() {
        let mut backoff = Backoff::new(RetryPolicy::default(), 0);
        assert!(backoff.on_failure(Some(Duration::MAX)) <= MS(60_250));
    }

    #[test]
    fn a_base_of_zero_retries_at_once() {
        let policy = RetryPolicy { backoff_base: Duration::ZERO, ..RetryPolicy::default() };
        let mut backoff = Backoff::new(policy, 3);
        assert_eq!([(); 3].map(|()| backoff.on_failure(None)), [Duration::ZERO; 3]);
    }

    proptest! {
        #[test]
        fn no_policy_overflows_and_no_wait_passes_its_maximum(
            base in any::<Duration>(),
            max in any::<Duration>(),
            seed in any::<u64>(),
            asked in proptest::collection::vec(any::<Option<Duration>>(), 1..40),
        ) {
            let policy = RetryPolicy { backoff_base: base, backoff_max: max };
            let mut backoff = Backoff::new(policy, seed);
            for retry_after in asked {
                prop_assert!(backoff.on_failure(retry_after) <= policy.wait_max());
            }
        }
    }
}
