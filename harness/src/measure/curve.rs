//! CPU time over time: readings now and then, and straight lines between them.

use std::time::Duration;

use pelton::time::Nanos;

/// More readings than this are thinned out to every second one.
const READINGS_MAX: usize = 1024;
/// How far readings are apart at first. A reading asks the kernel about each thread.
const PERIOD_FIRST: Duration = Duration::from_millis(100);

/// CPU time used so far, as it rose.
#[derive(Clone, Debug)]
pub struct CpuCurve {
    readings: Vec<(Nanos, Duration)>,
    period: Duration,
}

impl Default for CpuCurve {
    fn default() -> Self {
        Self { readings: Vec::new(), period: PERIOD_FIRST }
    }
}

impl CpuCurve {
    /// Whether it is time for another reading.
    #[must_use]
    pub fn is_due(&self, now: Nanos) -> bool {
        self.readings.last().is_none_or(|(at, _)| now - *at >= self.period)
    }

    /// Adds a reading, `used` until `at`. Neither ever falls.
    pub fn add(&mut self, at: Nanos, used: Duration) {
        if self.readings.len() == READINGS_MAX {
            let mut number = 0;
            self.readings.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.period *= 2;
        }
        self.readings.push((at, used));
    }

    /// What was used from `from` to `until`, as far as there are readings.
    #[must_use]
    pub fn between(&self, from: Nanos, until: Nanos) -> Duration {
        self.until(until).saturating_sub(self.until(from))
    }

    fn until(&self, at: Nanos) -> Duration {
        let next = self.readings.partition_point(|(read_at, _)| *read_at < at);
        match (next.checked_sub(1).map(|before| self.readings[before]), self.readings.get(next)) {
            (Some((from, before)), Some((to, after))) => {
                let share = (at - from).as_secs_f64() / (*to - from).as_secs_f64();
                before + (*after - before).mul_f64(share)
            }
            (Some((_, used)), None) => used,
            (None, first) => first.map_or(Duration::ZERO, |(_, used)| *used),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_reading_lies_on_a_line_between_its_neighbours() {
        let mut curve = CpuCurve::default();
        for (at_ms, used_ms) in [(100, 10), (200, 60), (400, 80)] {
            curve.add(Nanos(at_ms * MS), Duration::from_millis(used_ms));
        }
        let between = |from_ms: u64, until_ms: u64| {
            curve.between(Nanos(from_ms * MS), Nanos(until_ms * MS)).as_secs_f64() * 1e3
        };
        for (from, until, used) in [(100, 400, 70.0), (150, 300, 35.0), (0, 150, 25.0), (300, 900, 10.0)] {
            assert!(
                (between(from, until) - used).abs() < 1e-6,
                "{from} to {until}: {}",
                between(from, until)
            );
        }
        assert_eq!(CpuCurve::default().between(Nanos(1), Nanos(2)), Duration::ZERO);
    }

    #[test]
    fn a_long_run_has_fewer_readings_and_the_same_sum() {
        let mut curve = CpuCurve::default();
        for tick in 0..100_000 {
            let now = Nanos(tick * 100 * MS);
            if curve.is_due(now) {
                curve.add(now, Duration::from_millis(tick * 20));
            }
        }
        assert!(curve.readings.len() <= READINGS_MAX && curve.readings.len() > READINGS_MAX / 4);
        assert_eq!(curve.between(Nanos::ZERO, Nanos(8_000_000 * MS)).as_secs(), 1_600);
    }
}
