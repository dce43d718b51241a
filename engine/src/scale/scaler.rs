//! Pollers from lag.

use std::time::Duration;

use super::rules::ScalingRules;
use crate::time::Nanos;

/// A poller's function is to be busy for this share of the time: what is left is for bursts, and for
/// what cannot be shared out evenly.
const BUSY_SHARE: f64 = 0.8;
/// If more than this share of invocations is throttled, more pollers would only be throttled more.
const THROTTLED_SHARE_MAX: f64 = 0.1;
/// Throttles that fewer pollers did not help are borne up to so many times their share.
const BEARABLE_SPREAD: f64 = 1.5;
/// What is left of the pollers at a look that found them throttled.
const THROTTLED_KEEP: f64 = 0.75;
/// What is left of them at least after any other decision for fewer: how long an invocation takes
/// with more records shows only once it has them.
const SHRINK_KEEP: f64 = 0.5;
/// The load is looked at no more often than this.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(1);
/// How often in a row the wait for fewer is doubled.
const DOUBLINGS_MAX: u32 = 5;

/// What has happened since the last look, and what waits now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Records in the log that are not done.
    pub lag_records: u64,
    /// How many of those are in batches that are still gathered: they only wait for company, which no
    /// other poller would be.
    pub open_records: u64,
    /// Records that were done since the last look.
    pub done_records: u64,
    /// Records that the batches of those could have held: the batch size for one that its window
    /// closed, its own records for one that was full.
    pub room_records: u64,
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
        self.throttled_share() > THROTTLED_SHARE_MAX
    }

    fn throttled_share(&self) -> f64 {
        if self.attempts == 0 { 0.0 } else { float(self.throttled) / float(self.attempts) }
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
    /// The look before. At first there was no lag, so that a backlog is taken for what arrives: it is
    /// gone the sooner.
    last: Look,
    /// What was decided, and when it is in effect.
    decided: Option<(Nanos, u32)>,
    fewer: Fewer,
    /// The last change was to fewer.
    shrank: bool,
    throttled: Option<Throttled>,
    /// Looks in a row with hardly a throttle.
    calm_looks: u32,
    /// Up to this share throttles are borne: more where fewer pollers were seen not to help.
    bearable_share: f64,
    /// How often [`ScalingRules::looks_to_shrink`] is doubled: once for each decision for fewer that
    /// had to be taken back.
    doublings: u32,
}

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Nanos,
    lag_records: u64,
}

/// The last look at which throttles were answered by fewer pollers.
#[derive(Clone, Copy, Debug)]
struct Throttled {
    /// How many there were.
    pollers: u32,
    /// Of their attempts.
    share: f64,
}

/// What to do about throttles.
enum Throttles {
    /// Nothing: there are few, or fewer pollers have not made them fewer.
    Bear,
    /// Fewer pollers.
    Yield,
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
    pub fn new(mut rules: ScalingRules, now: Nanos) -> Self {
        // Looks without a pause between them would leave no time for anything else.
        rules.look_interval = rules.look_interval.max(LOOK_INTERVAL_MIN);
        let pollers = rules.pollers_min.max(1);
        let look_at = now + rules.look_interval;
        let last = Look { at: now, lag_records: 0 };
        Self {
            rules,
            pollers,
            look_at,
            last,
            decided: None,
            fewer: Fewer::default(),
            shrank: false,
            throttled: None,
            calm_looks: 0,
            bearable_share: THROTTLED_SHARE_MAX,
            doublings: 0,
        }
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
        self.last.lag_records = lag_records_then;
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
        let last = std::mem::replace(&mut self.last, Look { at: now, lag_records: load.lag_records });
        if self.decided.is_some() {
            return;
        }
        let share = load.throttled_share();
        if let Throttles::Yield = self.throttles(share) {
            self.throttled = Some(Throttled { pollers: self.pollers, share });
            let fewer = whole((f64::from(self.pollers) * THROTTLED_KEEP).floor()).max(self.least());
            return self.decide(now, fewer);
        }
        let Some(wanted) = self.wanted(now, &load, last) else { return };
        // Where throttles were met lately one goes carefully.
        let careful = self.throttled.map_or(u32::MAX, |_| self.pollers + 1);
        let wanted = wanted.min(careful).clamp(self.least(), self.rules.pollers_max.max(self.least()));
        if wanted > self.pollers {
            if std::mem::take(&mut self.shrank) {
                self.doublings = (self.doublings + 1).min(DOUBLINGS_MAX);
            }
            self.decide(now, wanted);
        } else if wanted == self.pollers {
            self.fewer = Fewer::default();
        } else {
            self.fewer.looks += 1;
            self.fewer.most = self.fewer.most.max(wanted);
            if self.fewer.looks >= self.rules.looks_to_shrink.saturating_mul(1 << self.doublings) {
                // The fewer before, if there were any, were enough.
                if std::mem::replace(&mut self.shrank, true) {
                    self.doublings = self.doublings.saturating_sub(1);
                }
                let least = whole((f64::from(self.pollers) * SHRINK_KEEP).ceil());
                self.decide(now, self.fewer.most.max(least));
            }
        }
    }

    /// Throttles of a limit to invocations at once go away with the pollers above it; others do not.
    fn throttles(&mut self, share: f64) -> Throttles {
        if share > THROTTLED_SHARE_MAX {
            self.calm_looks = 0;
        } else {
            self.bearable_share = THROTTLED_SHARE_MAX;
            self.calm_looks = self.calm_looks.saturating_add(1);
            if self.calm_looks >= self.rules.looks_to_shrink {
                self.throttled = None;
            }
        }
        if share <= self.bearable_share || self.pollers <= self.least() {
            return Throttles::Bear;
        }
        if let Some(before) = self.throttled
            && before.pollers > self.pollers
        {
            let limit = f64::from(before.pollers) * (1.0 - before.share);
            let foreseen = (1.0 - limit / f64::from(self.pollers)).max(0.0);
            if share > f64::midpoint(before.share, foreseen) {
                self.throttled = None;
                self.bearable_share = share * BEARABLE_SPREAD;
                return Throttles::Bear;
            }
        }
        Throttles::Yield
    }

    fn least(&self) -> u32 {
        self.rules.pollers_min.max(1)
    }

    fn decide(&mut self, now: Nanos, wanted: u32) {
        self.fewer = Fewer::default();
        if wanted != self.pollers {
            self.decided = Some((now + self.rules.delay, wanted));
        }
    }

    /// How many pollers this load asks for; `None` if it says nothing of that.
    fn wanted(&self, now: Nanos, load: &Load, last: Look) -> Option<u32> {
        let busy_s = load.busy.as_secs_f64();
        if load.lag_records == 0 && load.done_records == 0 && busy_s <= 0.0 {
            return Some(self.least());
        }
        // Between two windows, or while an invocation is long, nothing shows how much a poller brings
        // through.
        if load.done_records == 0 || busy_s <= 0.0 {
            return None;
        }
        let (done, lag) = (float(load.done_records), float(load.lag_records));
        let span_s = now.since(last.at).as_secs_f64().max(1e-9);
        let arrived_per_s = (done + lag - float(last.lag_records)).max(0.0) / span_s;
        let waits = float(load.lag_records.saturating_sub(load.open_records));
        let to_catch_up_per_s = waits / self.rules.catch_up.as_secs_f64().max(1e-3);
        // Batches that were not full say how long invocations take, not how much they could have
        // brought through: fewer pollers make fuller batches.
        let brought_per_s = float(load.room_records).max(done) / busy_s;
        let most = f64::from(self.pollers) * f64::from(self.rules.growth_max.max(2));
        Some(whole(((arrived_per_s + to_catch_up_per_s) / brought_per_s / BUSY_SHARE).ceil().min(most)))
    }
}

#[expect(clippy::cast_precision_loss, reason = "records and attempts of one look are far below 2^52")]
const fn float(count: u64) -> f64 {
    count as f64
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
        Load {
            lag_records,
            done_records,
            open_records: 0,
            room_records: done_records,
            busy: Duration::from_secs(busy_s),
            attempts: 10,
            throttled: 0,
        }
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
        assert_eq!(follow(&mut scaler, &[quiet; 6]), [8, 8, 8, 8, 8, 4]);
    }

    #[test]
    fn batches_that_are_not_full_ask_for_fewer_however_busy_their_pollers_are() {
        let mut scaler = Scaler::new(ScalingRules::between(4, 4), Nanos::ZERO);
        scaler.rules.pollers_min = 1;
        let busy = Load { room_records: 1_000, ..load(0, 1_000, 39) };
        assert_eq!(follow(&mut scaler, &[busy; 12]), [4; 12]);
        let mut scaler = Scaler::new(ScalingRules::between(4, 4), Nanos::ZERO);
        scaler.rules.pollers_min = 1;
        let half_full = Load { room_records: 2_000, ..busy };
        assert_eq!(follow(&mut scaler, &[half_full; 6])[5], 3);
    }

    #[test]
    fn fewer_that_were_too_few_are_tried_again_later_each_time() {
        let mut scaler = Scaler::new(ScalingRules::between(4, 4), Nanos::ZERO);
        scaler.rules.pollers_min = 1;
        // With four, it looks as if two were enough; with two, lag grows.
        let (seems_idle, behind) = (load(0, 1_000, 14), load(2_000, 1_000, 20));
        let mut shrinks = Vec::new();
        for look in 1..200 {
            let seen = if scaler.pollers() == 4 { seems_idle } else { behind };
            if scaler.turn(at(look * 10), || seen).is_some_and(|pollers| pollers < 4) {
                shrinks.push(look);
            }
        }
        let waits: Vec<u64> = shrinks.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(waits.len() >= 3 && waits.is_sorted() && waits[2] >= 3 * waits[0], "{waits:?}");
    }

    #[test]
    fn a_look_that_asks_for_as_many_begins_the_while_anew() {
        let mut scaler = Scaler::new(ScalingRules::between(4, 4), Nanos::ZERO);
        scaler.rules.pollers_min = 1;
        let (quiet, busy) = (load(0, 1_000, 5), load(0, 1_000, 32));
        let seen = follow(&mut scaler, &[quiet, quiet, quiet, quiet, quiet, busy, quiet, quiet]);
        assert!(seen.iter().all(|pollers| *pollers == 4), "{seen:?}");
    }

    /// Where `limit` invocations may run at once and more are throttled; a backlog of any length.
    fn against_a_limit(pollers_max: u32, limit: u32, looks: usize) -> Vec<u32> {
        let mut scaler = Scaler::new(ScalingRules::between(1, pollers_max), Nanos::ZERO);
        let mut now = 0;
        (0..looks)
            .map(|_| {
                let pollers = scaler.pollers();
                let throttled = u64::from(pollers.saturating_sub(limit)) * 10;
                let load = Load {
                    attempts: u64::from(pollers) * 10,
                    throttled,
                    ..load(1_000_000, u64::from(pollers.min(limit)) * 1_000, u64::from(pollers) * 10)
                };
                now += 10;
                scaler.turn(at(now), || load);
                scaler.pollers()
            })
            .collect()
    }

    #[test]
    fn a_limit_to_invocations_at_once_is_found_and_kept_near() {
        let seen = against_a_limit(32, 6, 40);
        assert_eq!(seen[..2], [4, 16], "{seen:?}");
        assert!(seen[12..].iter().all(|pollers| (5..=7).contains(pollers)), "{seen:?}");
    }

    #[test]
    fn throttles_that_fewer_pollers_do_not_help_are_borne() {
        let mut scaler = Scaler::new(ScalingRules::between(1, 8), Nanos::ZERO);
        let seen: Vec<u32> = (1..30)
            .map(|look| {
                let busy_s = u64::from(scaler.pollers()) * 10;
                let load = Load { attempts: 100, throttled: 15, ..load(1_000_000, busy_s * 100, busy_s) };
                scaler.turn(at(look * 10), || load);
                scaler.pollers()
            })
            .collect();
        assert!(seen[20..].iter().all(|pollers| *pollers >= 7), "{seen:?}");
    }

    #[test]
    fn looks_between_two_windows_do_not_keep_pollers() {
        let mut scaler = Scaler::new(ScalingRules::between(4, 4), Nanos::ZERO);
        scaler.rules.pollers_min = 1;
        // Windows of 30 s, which end at every third look.
        let (nothing, quiet) = (load(0, 0, 0), load(0, 300, 1));
        let waits = Load { lag_records: 100, ..nothing };
        let seen = follow(&mut scaler, &[[waits, waits, quiet]; 8].concat());
        assert_eq!(seen.last(), Some(&2), "{seen:?}");
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
    fn looks_have_time_between_them() {
        let rules = ScalingRules { look_interval: Duration::ZERO, ..ScalingRules::between(1, 2) };
        let mut scaler = Scaler::new(rules, Nanos::ZERO);
        assert!(scaler.deadline() > Nanos::ZERO);
        let now = scaler.deadline();
        scaler.turn(now, Load::default);
        assert!(scaler.deadline() > now);
    }

    #[test]
    fn nothing_to_do_is_done_by_the_fewest() {
        let mut scaler = Scaler::new(ScalingRules::between(5, 5), Nanos::ZERO);
        scaler.rules.pollers_min = 2;
        assert_eq!(follow(&mut scaler, &[Load::default(); 12]), [5, 5, 5, 5, 5, 3, 3, 3, 3, 3, 3, 2]);
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
