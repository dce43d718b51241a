//! Time as the cores see it: nanoseconds on a monotonic line, handed in from outside.
//!
//! [`Clock`] is the one reader of the machine's clocks. Everything else is handed `now`, so that
//! the same code runs in production, in virtual time and in tests.

use std::ops::{Add, Sub};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// An instant on a monotonic line, in nanoseconds since an arbitrary start (the process's first
/// [`Clock`], or zero in virtual time). Lasts 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The start of the line.
    pub const ZERO: Self = Self(0);
    /// Later than every other instant: a deadline that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// Time passed since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Nanos {
    type Output = Self;

    /// Saturates at [`Nanos::NEVER`].
    fn add(self, after: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Nanos {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// Reads the machine's clocks. Copies share one start, so their instants compare.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose line starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The present instant, monotonic.
    #[must_use]
    pub fn now(&self) -> Nanos {
        Nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The instant on the machine's own line, for calls that want one.
    #[must_use]
    pub fn instant(&self, at: Nanos) -> Instant {
        self.start + Duration::from_nanos(at.0)
    }
}

/// The wall clock in milliseconds since the Unix epoch, as Kafka's record timestamps count.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn wall_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_saturate_at_both_ends() {
        assert_eq!(Nanos(5).since(Nanos(9)), Duration::ZERO);
        assert_eq!(Nanos(5) + Duration::MAX, Nanos::NEVER);
        assert_eq!(Nanos(9) - Nanos(4), Duration::from_nanos(5));
    }

    #[test]
    fn a_clock_does_not_run_backwards() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(clock.now() >= first);
    }
}
