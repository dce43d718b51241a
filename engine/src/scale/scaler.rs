//! Pollers from lag.

use std::time::Duration;

use super::rules::ScalingRules;
use crate::time::Nanos;

/// A poller's function is to be busy for this share of the time: what is left is for bursts, and for
/// what cannot be shared out evenly.
const BUSY_SHARE: f64 = 0.8;
/// If more than this share of invocations is throttled, more pollers would only be throttled more.
const THROTTLED_SHARE_MAX: f64 = 0.1;
/// What is left of the pollers at a look that found them throttled.
const THROTTLED_KEEP: f64 = 0.75;

/// What has happened since the last look, and what waits now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Records in the log that are not done.
    pub lag_records: u64,
    /// Records that were done since the last look.
    pub done_records: u64,
    /// Time in which an invocation ran since the last look, added up over pollers. Pauses between
    /// attempts are part of it: the poller was not free.
    pub busy: Duration,
    /// Attempts since the last look.
    pub attempts: u64,
    /// How many of those were throttled.
    pub throttled: u64,
}

impl Load {
    /// Whether so many attempts were throttled that more pollers would only be throttled more.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "attempts of one look are far below 2^52")]
        let (attempts, throttled) = (self.attempts as f64, self.throttled as f64);
        throttled > attempts * THROTTLED_SHARE_MAX
    }
}

/// Decides how many pollers there are. Pure: it is handed the time and the load.
///
/// Call [`turn`](Self::turn) at [`deadline`](Self::deadline), or more often.
#[derive(Clone, Debug)]
pub struct Scaler {
    rules: ScalingRules,
    pollers: u32,
    look_at: Nanos,
    last: Option<Look>,
    /// What was decided, and when it is in effect.
    decided: Option<(Nanos, u32)>,
    fewer: Fewer,
}

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Nanos,
    lag_records: u64,
}

/// Looks in a row that asked for fewer pollers.
#[derive(Clone, Copy, Debug, Default)]
struct Fewer {
    looks: u32,
    /// The most that any of them asked for.
    most: u32,
}

impl Scaler {
    /// Begins at `now` with the fewest pollers. The first look is one interval later.
    #[must_use]
    pub fn new(rules: ScalingRules, now: Nanos) -> Self {
        let pollers = rules.pollers_min.max(1);
        let look_at = now + rules.look_interval;
        let last = Some(Look { at: now, lag_records: 0 });
        Self { rules, pollers, look_at, last, decided: None, fewer: Fewer::default() }
    }

    /// How many there are now.
    #[must_use]
    pub const fn pollers(&self) -> u32 {
        self.pollers
    }

    /// When to call [`turn`](Self::turn) next, at the latest.
    #[must_use]
    pub fn deadline(&self) -> Nanos {
        self.decided.map_or(self.look_at, |(at, _)| at.min(self.look_at))
    }

    /// Which partitions there are has changed since the last look: in those of now, so many records
    /// waited then. Without this, lag that came with a partition would be taken for records that
    /// arrived meanwhile. Call before the [`turn`](Self::turn) that looks.
    pub fn on_partitions(&mut self, lag_records_then: u64) {
        if let Some(last) = &mut self.last {
            last.lag_records = lag_records_then;
        }
    }

    /// Goes on to `now`. `load` is asked if it is time for a look. `Some` if there are to be so many
    /// pollers from now on, other than before.
    pub fn turn(&mut self, now: Nanos, load: impl FnOnce() -> Load) -> Option<u32> {
        if now >= self.look_at {
            self.look(now, load());
        }
        let (_, wanted) = self.decided.take_if(|(at, _)| *at <= now)?;
        if wanted == self.pollers {
            return None;
        }
        self.pollers = wanted;
        Some(wanted)
    }

    fn look(&mut self, now: Nanos, load: Load) {
        self.look_at = now + self.rules.look_interval;
        let last = self.last.replace(Look { at: now, lag_records: load.lag_records });
        if self.decided.is_some() {
            return;
        }
        let wanted =
            self.wanted(now, &load, last).clamp(self.least(), self.rules.pollers_max.max(self.least()));
        if wanted > self.pollers || load.is_throttled() {
            self.fewer = Fewer::default();
            self.decide(now, wanted);
        } else if wanted == self.pollers {
            self.fewer = Fewer::default();
        } else {
            self.fewer.looks += 1;
            self.fewer.most = self.fewer.most.max(wanted);
            if self.fewer.looks >= self.rules.looks_to_shrink {
                let Fewer { most, .. } = std::mem::take(&mut self.fewer);
                self.decide(now, most);
            }
        }
    }

    fn least(&self) -> u32 {
        self.rules.pollers_min.max(1)
    }

    fn decide(&mut self, now: Nanos, wanted: u32) {
        if wanted != self.pollers {
            self.decided = Some((now + self.rules.delay, wanted));
        }
    }

    /// How many pollers this load asks for.
    fn wanted(&self, now: Nanos, load: &Load, last: Option<Look>) -> u32 {
        let pollers = f64::from(self.pollers);
        if load.is_throttled() {
            return whole((pollers * THROTTLED_KEEP).floor());
        }
        let Some(last) = last else { return self.pollers };
        let span_s = now.since(last.at).as_secs_f64();
        let busy_s = load.busy.as_secs_f64();
        let most = pollers * f64::from(self.rules.growth_max.max(2));
        if load.done_records == 0 || busy_s <= 0.0 || span_s <= 0.0 {
            // Nothing says what a poller brings through. One that does nothing at all is not needed;
            // one whose invocations do not end is not helped by more of the same.
            return if load.lag_records == 0 && busy_s <= 0.0 { self.least() } else { self.pollers };
        }
        #[expect(clippy::cast_precision_loss, reason = "records of one look are far below 2^52")]
        let (done, lag, lag_before) =
            (load.done_records as f64, load.lag_records as f64, last.lag_records as f64);
        let arrived_per_s = (done + lag - lag_before).max(0.0) / span_s;
        let to_catch_up_per_s = lag / self.rules.catch_up.as_secs_f64().max(1e-3);
        let brought_per_s = done / busy_s;
        whole(((arrived_per_s + to_catch_up_per_s) / brought_per_s / BUSY_SHARE).ceil().min(most))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
const fn whole(pollers: f64) -> u32 {
    pollers as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Nanos {
        Nanos::ZERO + SECOND * u32::try_from(seconds).unwrap()
    }

    fn load(lag_records: u64, done_records: u64, busy_s: u64) -> Load {
        Load { lag_records, done_records, busy: Duration::from_secs(busy_s), attempts: 10, throttled: 0 }
    }

    /// After each look interval of ten seconds, what a load leads to.
    fn follow(scaler: &mut Scaler, loads: &[Load]) -> Vec<u32> {
        let mut now = 0;
        loads
            .iter()
            .map(|load| {
                now += 10;
                scaler.turn(at(now), || *load);
                scaler.pollers()
            })
            .collect()
    }

    #[test]
    fn lag_that_grows_is_met_with_what_it_takes() {
        let mut scaler = Scaler::new(ScalingRules::between(1, 20), Nanos::ZERO);
        // 100 a second with one busy poller, while 200 arrive: 200 and 1,000 / 30 in addition.
        assert_eq!(follow(&mut scaler, &[load(1_000, 1_000, 10)]), [3]);
        // Far more than four times as many would be asked for.
        let mut scaler = Scaler::new(ScalingRules::between(1, 20), Nanos::ZERO);
        assert_eq!(follow(&mut scaler, &[load(1_000_000, 1_000, 10); 4]), [4, 16, 20, 20]);
    }

    #[test]
    fn lag_that_came_with_a_partition_is_no_arrival() {
        // 100 a second with one poller that is busy half of the time, and 300 that were there before:
        // 50 a second arrive, and 10 in addition are caught up with.
        let seen = Load { busy: SECOND * 5, ..load(300, 500, 0) };
        let mut scaler = Scaler::new(ScalingRules::between(1, 20), Nanos::ZERO);
        assert_eq!(follow(&mut scaler, &[seen]), [2]);
        let mut scaler = Scaler::new(ScalingRules::between(1, 20), Nanos::ZERO);
        scaler.on_partitions(300);
        assert_eq!(follow(&mut scaler, &[seen]), [1]);
    }

    #[test]
    fn fewer_pollers_only_after_a_while_of_less() {
        let mut scaler =
            Scaler::new(ScalingRules { pollers_min: 8, ..ScalingRules::between(8, 8) }, Nanos::ZERO);
        scaler.rules.pollers_min = 1;
        // Eight pollers, busy for 16 of 80 seconds: two and a half would do.
        let quiet = load(0, 1_000, 16);
        assert_eq!(follow(&mut scaler, &[quiet; 6]), [8, 8, 8, 8, 8, 2]);
    }

    #[test]
    fn a_look_that_asks_for_as_many_begins_the_while_anew() {
        let mut scaler = Scaler::new(ScalingRules::between(4, 4), Nanos::ZERO);
        scaler.rules.pollers_min = 1;
        let (quiet, busy) = (load(0, 1_000, 5), load(0, 1_000, 32));
        let seen = follow(&mut scaler, &[quiet, quiet, quiet, quiet, quiet, busy, quiet, quiet]);
        assert!(seen.iter().all(|pollers| *pollers == 4), "{seen:?}");
    }

    #[test]
    fn a_throttled_function_is_left_alone() {
        let mut scaler = Scaler::new(ScalingRules::between(8, 8), Nanos::ZERO);
        scaler.rules.pollers_min = 1;
        let throttled = Load { attempts: 100, throttled: 40, ..load(1_000_000, 1_000, 80) };
        assert_eq!(follow(&mut scaler, &[throttled; 4]), [6, 4, 3, 2]);
    }

    #[test]
    fn what_never_ends_is_not_helped_by_more() {
        let mut scaler = Scaler::new(ScalingRules::between(2, 8), Nanos::ZERO);
        assert_eq!(follow(&mut scaler, &[load(1_000_000, 0, 20)]), [2]);
    }

    #[test]
    fn a_decision_takes_its_time_and_nothing_is_decided_meanwhile() {
        let mut scaler = Scaler::new(ScalingRules::aws_on_demand(8), Nanos::ZERO);
        let behind = load(100_000, 6_000, 60);
        assert_eq!(scaler.deadline(), at(60));
        assert_eq!(scaler.turn(at(60), || behind), None);
        for minute in 2..4 {
            assert_eq!(scaler.turn(at(minute * 60), || behind), None);
        }
        assert_eq!(scaler.deadline(), at(240));
        assert_eq!(scaler.turn(at(240), || behind), Some(2));
        assert_eq!(scaler.pollers(), 2);
    }

    #[test]
    fn nothing_to_do_is_done_by_the_fewest() {
        let mut scaler = Scaler::new(ScalingRules::between(5, 5), Nanos::ZERO);
        scaler.rules.pollers_min = 2;
        assert_eq!(follow(&mut scaler, &[Load::default(); 6]), [5, 5, 5, 5, 5, 2]);
    }

    proptest! {
        #[test]
        fn there_are_never_fewer_or_more_than_allowed_and_a_load_is_asked_for_once_a_look(
            least in 0_u32..10,
            more in 0_u32..50,
            growth_max in 0_u32..20,
            delay_s in 0_u64..200,
            loads in prop::collection::vec((0_u64..1_000_000, 0_u64..100_000, 0_u64..100, 0_u64..20), 1..60),
        ) {
            let rules = ScalingRules {
                growth_max,
                delay: Duration::from_secs(delay_s),
                ..ScalingRules::between(least, least + more)
            };
            let mut scaler = Scaler::new(rules, Nanos::ZERO);
            let (mut now, mut looks) = (Nanos::ZERO, 0_u64);
            for (lag, done, busy, throttled) in loads {
                prop_assert!(scaler.deadline() > now);
                now = scaler.deadline();
                let before = scaler.pollers();
                let said = scaler.turn(now, || {
                    looks += 1;
                    Load { throttled, ..load(lag, done, busy) }
                });
                prop_assert_eq!(said.unwrap_or(before), scaler.pollers());
                prop_assert!(said != Some(before));
                prop_assert!((least.max(1)..=(least + more).max(1)).contains(&scaler.pollers()));
                prop_assert!(scaler.pollers() <= before.saturating_mul(growth_max.max(2)));
            }
            prop_assert!(looks <= now.0 / 10_000_000_000);
        }

        /// A steady load that a number of pollers can carry is carried after some looks, by no more
        /// than half as many again as it takes.
        #[test]
        fn a_steady_load_comes_to_rest(
            arrives_per_s in 1_u64..2_000,
            poller_per_s in 20_u64..200,
            begins_with in 1_u32..50,
        ) {
            let needs = arrives_per_s.div_ceil(poller_per_s).max(1);
            prop_assume!(needs <= 60);
            let mut scaler = Scaler::new(ScalingRules::between(begins_with, 100), Nanos::ZERO);
            scaler.rules.pollers_min = 1;
            let (mut lag, mut now) = (0_u64, Nanos::ZERO);
            for _ in 0..200 {
                let span = 10;
                let there = lag + arrives_per_s * span;
                let done = there.min(u64::from(scaler.pollers()) * poller_per_s * span);
                lag = there - done;
                let busy = Duration::from_secs_f64(done as f64 / poller_per_s as f64);
                now = now + SECOND * 10;
                scaler.turn(now, || Load { lag_records: lag, done_records: done, busy, ..Load::default() });
            }
            prop_assert_eq!(lag, 0);
            let pollers = u64::from(scaler.pollers());
            prop_assert!(pollers >= needs && pollers <= needs * 5 / 4 + 2, "{} of {}", pollers, needs);
        }
    }
}
