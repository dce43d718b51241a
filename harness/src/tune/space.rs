//! The settings that a search may try.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::workload::units::Span;

/// What is tuned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Settings {
    /// Records per batch.
    pub batch_size: u32,
    /// The batching window.
    pub maximum_batching_window: Span,
    /// Pollers, over all processes.
    pub pollers: usize,
}

impl Settings {
    /// What AWS's defaults are, with so many pollers.
    #[must_use]
    pub const fn aws_default(pollers: usize) -> Self {
        Self { batch_size: 100, maximum_batching_window: Span(Duration::from_millis(500)), pollers }
    }

    /// The window as the engine takes it.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.maximum_batching_window.0
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batch_size, maximum_batching_window, pollers } = self;
        write!(f, "batch size {batch_size}, window {maximum_batching_window}, {pollers} pollers")
    }
}

/// The parameters of a setting, in the order of a sample's dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parameter {
    /// [`Settings::batch_size`].
    BatchSize,
    /// [`Settings::maximum_batching_window`].
    MaximumBatchingWindow,
    /// [`Settings::pollers`].
    Pollers,
}

impl Parameter {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::BatchSize, Self::MaximumBatchingWindow, Self::Pollers];

    /// As a mapping's file has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BatchSize => "batch_size",
            Self::MaximumBatchingWindow => "maximum_batching_window",
            Self::Pollers => "engine.pollers",
        }
    }
}

/// Where a search looks. A range of one value is a setting that the user has fixed.
#[derive(Clone, Debug, PartialEq)]
pub struct Space {
    /// Records per batch.
    pub batch_size: RangeInclusive<u32>,
    /// The longest window that makes sense for the goal, and the shortest.
    pub window: RangeInclusive<Duration>,
    /// Windows are whole seconds, as AWS has them, or its default of 500 ms.
    pub whole_seconds: bool,
    /// Pollers: no more than partitions, or than invocations may run at once.
    pub pollers: RangeInclusive<usize>,
}

/// Windows below this are one step from none: no producer's linger is finer.
const WINDOW_STEP: Duration = Duration::from_millis(1);

impl Space {
    /// `points` settings that fill the space evenly, in a fixed order: a Sobol sequence, scrambled by
    /// `seed`. Batch sizes, windows and pollers are spread by their orders of magnitude. Some may be
    /// equal.
    #[must_use]
    pub fn sample(&self, points: u32, seed: u32) -> Vec<Settings> {
        (0..points)
            .map(|point| {
                let at = |dimension| f64::from(sobol_burley::sample(point, dimension, seed));
                self.at([at(0), at(1), at(2)])
            })
            .collect()
    }

    /// The setting at a place of the unit cube.
    fn at(&self, place: [f64; 3]) -> Settings {
        let batch_size =
            scaled(f64::from(*self.batch_size.start()), f64::from(*self.batch_size.end()), place[0]);
        let pollers = scaled(*self.pollers.start() as f64, *self.pollers.end() as f64, place[2]);
        let (shortest, longest) = (self.window.start(), self.window.end());
        // A twelfth of the windows is none at all, where the space allows it.
        let window = if shortest.is_zero() && !longest.is_zero() {
            let from = WINDOW_STEP.min(*longest).as_secs_f64();
            if place[1] < 1.0 / 12.0 {
                0.0
            } else {
                scaled(from, longest.as_secs_f64(), (place[1] * 12.0 - 1.0) / 11.0)
            }
        } else {
            scaled(shortest.as_secs_f64(), longest.as_secs_f64(), place[1])
        };
        self.settings(batch_size, window, pollers)
    }

    /// The nearest setting of the space.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to its range")]
    fn settings(&self, batch_size: f64, window_s: f64, pollers: f64) -> Settings {
        Settings {
            batch_size: (batch_size.round() as u32).clamp(*self.batch_size.start(), *self.batch_size.end()),
            maximum_batching_window: Span(self.nearest_window(window_s)),
            pollers: (pollers.round() as usize).clamp(*self.pollers.start(), *self.pollers.end()),
        }
    }

    fn nearest_window(&self, window_s: f64) -> Duration {
        let (shortest, longest) = (*self.window.start(), *self.window.end());
        if shortest == longest {
            return shortest;
        }
        let window = if self.whole_seconds {
            // What AWS offers below a second is its default.
            if window_s > 0.25 && window_s < 0.75 {
                Duration::from_millis(500)
            } else {
                Duration::from_secs_f64(window_s.round())
            }
        } else {
            // Three digits say enough.
            let step = 10_f64.powf((window_s.max(1e-3).log10()).floor() - 2.0).max(1e-3);
            Duration::from_millis(((window_s / step).round() * step * 1e3).round() as u64)
        };
        window.clamp(shortest, longest)
    }

    /// The settings beside `settings`, each parameter smaller and larger by `factor`; at least by one
    /// step.
    #[must_use]
    pub fn beside(&self, settings: &Settings, factor: f64) -> Vec<(Parameter, Settings)> {
        let mut beside = Vec::with_capacity(6);
        for parameter in Parameter::ALL {
            for larger in [false, true] {
                let next = self.step(settings, parameter, larger, factor);
                if next != *settings {
                    beside.push((parameter, next));
                }
            }
        }
        beside
    }

    fn step(&self, from: &Settings, parameter: Parameter, larger: bool, factor: f64) -> Settings {
        let by = |value: f64, step: f64| {
            if larger {
                (value * factor).max(value + step)
            } else {
                (value / factor).min(value - step).max(0.0)
            }
        };
        let (batch_size, window, pollers) =
            (f64::from(from.batch_size), from.window().as_secs_f64(), from.pollers as f64);
        let window_step = if self.whole_seconds { 0.5 } else { WINDOW_STEP.as_secs_f64() };
        match parameter {
            Parameter::BatchSize => self.settings(by(batch_size, 1.0), window, pollers),
            Parameter::MaximumBatchingWindow => self.settings(batch_size, by(window, window_step), pollers),
            Parameter::Pollers => self.settings(batch_size, window, by(pollers, 1.0)),
        }
    }
}

/// Between `from` and `to`, by orders of magnitude.
fn scaled(from: f64, to: f64, place: f64) -> f64 {
    if from >= to { from } else { from * (to / from).powf(place) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn space() -> Space {
        Space {
            batch_size: 1..=10_000,
            window: Duration::ZERO..=Duration::from_secs(10),
            whole_seconds: false,
            pollers: 1..=16,
        }
    }

    #[test]
    fn a_sample_reaches_all_corners_and_repeats() {
        let sample = space().sample(256, 1);
        assert_eq!(sample, space().sample(256, 1));
        assert_ne!(sample, space().sample(256, 2));
        let sizes: Vec<u32> = sample.iter().map(|one| one.batch_size).collect();
        assert!(sizes.iter().any(|size| *size < 4) && sizes.iter().any(|size| *size > 5_000));
        let pollers: BTreeSet<usize> = sample.iter().map(|one| one.pollers).collect();
        assert_eq!(pollers, (1..=16).collect());
        let none = sample.iter().filter(|one| one.window().is_zero()).count();
        assert!((10..40).contains(&none), "{none}");
    }

    #[test]
    fn what_is_fixed_stays() {
        let space = Space { batch_size: 500..=500, pollers: 3..=3, ..space() };
        assert!(space.sample(50, 1).iter().all(|one| one.batch_size == 500 && one.pollers == 3));
        let settings =
            Settings { batch_size: 500, maximum_batching_window: Span(Duration::from_secs(1)), pollers: 3 };
        let beside = space.beside(&settings, 2.0);
        assert_eq!(beside.len(), 2);
        assert!(beside.iter().all(|(parameter, _)| *parameter == Parameter::MaximumBatchingWindow));
    }

    #[test]
    fn aws_windows_are_whole_seconds_or_its_default() {
        let space =
            Space { whole_seconds: true, window: Duration::ZERO..=Duration::from_secs(300), ..space() };
        for settings in space.sample(200, 1) {
            let ms = settings.window().as_millis();
            assert!(ms == 500 || ms.is_multiple_of(1_000), "{settings}");
        }
        let one =
            Settings { maximum_batching_window: Span(Duration::from_secs(1)), ..Settings::aws_default(2) };
        let windows: Vec<u128> = space
            .beside(&one, 1.1)
            .iter()
            .filter(|(parameter, _)| *parameter == Parameter::MaximumBatchingWindow)
            .map(|(_, one)| one.window().as_millis())
            .collect();
        assert_eq!(windows, [500, 2_000]);
    }

    proptest! {
        #[test]
        fn settings_stay_within_the_space(
            batch in (1_u32..10_000, 0_u32..10_000), window_ms in (0_u64..2_000, 0_u64..300_000),
            pollers in (1_usize..40, 0_usize..40), whole_seconds: bool, seed: u32, factor in 1.01_f64..4.0,
        ) {
            let (low, high) = (window_ms.0, window_ms.0 + window_ms.1);
            let space = Space {
                batch_size: batch.0..=(batch.0 + batch.1).min(10_000),
                window: Duration::from_millis(low)..=Duration::from_millis(high),
                whole_seconds,
                pollers: pollers.0..=pollers.0 + pollers.1,
            };
            let within = |one: &Settings| {
                space.batch_size.contains(&one.batch_size) && space.window.contains(&one.window())
                    && space.pollers.contains(&one.pollers)
            };
            for settings in space.sample(20, seed) {
                prop_assert!(within(&settings), "{}", settings);
                for (_, next) in space.beside(&settings, factor) {
                    prop_assert!(within(&next) && next != settings, "{} beside {}", next, settings);
                }
            }
        }
    }
}
