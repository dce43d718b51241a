//! Pollers by lag: the scaler is shown the load now and then, and partitions move to those pollers
//! that are in use then.
//!
//! Every poller is there from the start, with its queue; one that is not in use has no partitions.
//! Moves are carried out as `moves` says: the source is asked only once everything of a partition
//! that was taken is done.

use crate::ids::Partition;
use crate::scale::{Load, Scaler, ScalingRules, surplus};
use crate::source::{Reroute, Source};
use crate::time::Nanos;

use super::assignment::{ASSIGN_PAUSE, spread};
use super::effort::Effort;
use super::listing;
use super::moves::Moves;
use super::partitions::{Looked, Owned};
use super::poller::Poller;
use super::thread::ConsumerThread;

/// What a thread keeps to change how many of its pollers are in use.
#[derive(Debug)]
pub(super) struct Scaling {
    scaler: Scaler,
    moves: Moves,
    /// How many are in use has changed since partitions were shared out.
    uneven: bool,
}

impl Scaling {
    /// For a thread of so many `pollers`; `None` if all are always in use.
    pub(super) fn new(rules: &ScalingRules, pollers: usize, now: Nanos) -> Option<Self> {
        let all = u32::try_from(pollers).unwrap_or(u32::MAX);
        let rules = ScalingRules { pollers_max: rules.pollers_max.min(all), ..rules.clone() };
        let scales = rules.pollers_min < all;
        scales.then(|| Self { scaler: Scaler::new(rules, now), moves: Moves::default(), uneven: false })
    }

    /// How many are in use now.
    pub(super) fn pollers(&self) -> usize {
        self.scaler.pollers() as usize
    }

    /// When [`ConsumerThread::scale`] is to be called though nothing has happened.
    pub(super) fn deadline(&self) -> Nanos {
        self.moves.deadline().map_or(self.scaler.deadline(), |again| again.min(self.scaler.deadline()))
    }
}

impl<S: Source> ConsumerThread<S> {
    /// The first so many pollers may be given partitions.
    pub(super) fn pollers_in_use(&self) -> usize {
        self.scaling.as_ref().map_or(self.pollers.len(), |scaling| scaling.pollers())
    }

    /// The group takes these away: they do not move any more.
    pub(super) fn stop_moving(&mut self, partitions: &[Partition]) {
        if let Some(scaling) = &mut self.scaling {
            scaling.moves.cancel(partitions);
        }
    }

    /// Looks at the load if it is time, and moves partitions. Returns whether anything changed.
    pub(super) fn scale(&mut self) -> bool {
        let Some(mut scaling) = self.scaling.take() else { return false };
        let now = self.world.now();
        if now >= scaling.scaler.deadline() {
            self.look(&mut scaling, now);
        }
        // While a rebalance is under way it is not known whose turn it will be.
        let shares = scaling.uneven && self.rebalance.is_idle();
        if shares {
            self.share_out(&mut scaling);
        }
        let moved = self.carry_out(&mut scaling, now);
        self.scaling = Some(scaling);
        shares || moved
    }

    fn look(&mut self, scaling: &mut Scaling, now: Nanos) {
        let (load, lag_records_then) = load(&mut self.pollers, now);
        let before = scaling.pollers();
        scaling.scaler.on_partitions(lag_records_then);
        let Some(pollers) = scaling.scaler.turn(now, || load) else { return };
        scaling.uneven = true;
        self.counters.set_pollers(pollers.into());
        tracing::info!(
            mapping = &*self.settings.name,
            from = before,
            to = pollers,
            lag_records = load.lag_records,
            open_records = load.open_records,
            done_records = load.done_records,
            busy_ms = u64::try_from(load.busy.as_millis()).unwrap_or(u64::MAX),
            attempts = load.attempts,
            throttled = load.throttled,
            "pollers: {}",
            why(before, pollers as usize, &load)
        );
    }

    /// Begins the moves that it takes to give every poller in use its share.
    fn share_out(&mut self, scaling: &mut Scaling) {
        let mut routes = std::mem::take(&mut self.scratch.routes);
        routes.clear();
        for (number, poller) in self.pollers.iter().enumerate() {
            routes.extend(poller.partitions.active().map(|partition| (partition, number)));
        }
        let moving = surplus(&routes, scaling.pollers());
        self.scratch.routes = routes;
        for &partition in &moving {
            for (number, poller) in self.pollers.iter_mut().enumerate() {
                poller.part(partition, self.source.queue(number));
            }
        }
        scaling.moves.begin(&moving);
        scaling.uneven = false;
    }

    /// Moves what is ready to the pollers that have the fewest partitions.
    fn carry_out(&mut self, scaling: &mut Scaling, now: Nanos) -> bool {
        let parted_at = |partition| self.pollers.iter().find_map(|p| p.partitions.parted_at(partition));
        let ready = scaling.moves.ready(now, |partition| parted_at(partition).is_some());
        if ready.is_empty() {
            return false;
        }
        let mut spread = spread(&self.pollers[..scaling.pollers()]);
        let route = |&partition| {
            let offset = parted_at(partition)?;
            Some(Reroute { partition, poller: spread.lightest(), offset })
        };
        let routes: Vec<Reroute> = ready.iter().filter_map(route).collect();
        if let Err(error) = self.source.reroute(&routes) {
            self.on_problem(&error, "; it is tried again");
            scaling.moves.put_off(&ready, now + ASSIGN_PAUSE);
            return true;
        }
        for Reroute { partition, poller, .. } in routes {
            let owned = self.pollers.iter_mut().find_map(|poller| poller.part_with(partition));
            if let Some(owned) = owned {
                self.pollers[poller].partitions.insert(owned);
            }
        }
        tracing::info!(partitions = %listing::partitions(&ready), "moved to other pollers");
        true
    }
}

/// What has happened since the last look, and the lag that there was then in the partitions of now.
fn load(pollers: &mut [Poller], now: Nanos) -> (Load, u64) {
    let (mut load, mut lag_records_then) = (Load::default(), 0);
    for poller in pollers {
        let Effort { busy, attempts, throttled, room_records, .. } = poller.effort.take(now);
        load.room_records += room_records;
        load.open_records += poller.open.as_ref().map_or(0, |open| u64::from(open.records()));
        load.busy += busy;
        load.attempts += attempts;
        load.throttled += throttled;
        for owned in poller.partitions.owned_mut() {
            let seen = seen(owned);
            load.done_records += seen.done_records;
            load.lag_records += seen.lag_records;
            lag_records_then += seen.lag_records_then;
        }
    }
    (load, lag_records_then)
}

/// One partition at a look. All are offsets, so gaps and what is filtered out count too: else lag
/// and what is done would not add up.
struct Seen {
    done_records: u64,
    lag_records: u64,
    lag_records_then: u64,
}

fn seen(owned: &mut Owned) -> Seen {
    let watermark = owned.watermark.committable();
    let between = |first: i64, end: i64| u64::try_from(end.saturating_sub(first)).unwrap_or(0);
    let lag = owned.gauges.end().map(|end| between(watermark.0, end.0));
    let before = std::mem::replace(&mut owned.looked, Looked { watermark, lag_records: lag });
    let done_records = between(before.watermark.0, watermark.0);
    let lag_records = lag.unwrap_or(0);
    // Where it was not known, nothing has arrived as far as anybody can tell.
    let lag_records_then = before.lag_records.unwrap_or(lag_records + done_records);
    Seen { done_records, lag_records, lag_records_then }
}

fn why(before: usize, now: usize, load: &Load) -> &'static str {
    if now > before {
        "more, to keep up with what arrives and to catch up"
    } else if load.is_throttled() {
        "fewer, as the function is throttled"
    } else {
        "fewer, as these keep up"
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::commit::Watermark;
    use crate::ids::{Offset, Topic};
    use crate::telemetry::Counters;

    fn poller(partition: i32, start: i64) -> Poller {
        let mut poller = Poller::new(0, 0, None);
        let partition = Partition(partition);
        let gauges = Counters::new(1).own_partition(partition);
        poller.partitions.add(&Topic::new("t"), partition, Watermark::new(Offset(start)), gauges);
        poller
    }

    fn done(poller: &mut Poller, below: i64) {
        for owned in poller.partitions.owned_mut() {
            let first = owned.watermark.position();
            owned.watermark.on_taken(first, Offset(below - 1)).expect("in order");
            owned.watermark.on_done(first, Offset(below - 1)).expect("taken");
        }
    }

    fn end(poller: &mut Poller, end: i64) {
        poller.partitions.owned_mut().for_each(|owned| owned.gauges.set_end(Offset(end)));
    }

    #[test]
    fn a_look_counts_what_was_done_since_the_one_before() {
        let mut pollers = [poller(0, 100), poller(1, 0)];
        pollers[0].effort.begin(Nanos(5));
        pollers[1].effort.on_attempt(true);
        done(&mut pollers[0], 150);
        let (seen, then) = load(&mut pollers, Nanos(9));
        assert_eq!((seen.done_records, seen.lag_records, then), (50, 0, 50), "no end is known");
        assert_eq!((seen.busy, seen.attempts, seen.throttled), (Duration::from_nanos(4), 1, 1));
        end(&mut pollers[0], 250);
        end(&mut pollers[1], 30);
        done(&mut pollers[1], 10);
        let (seen, then) = load(&mut pollers, Nanos(19));
        assert_eq!((seen.done_records, seen.lag_records), (10, 120));
        assert_eq!(then, 130, "what was found is no arrival");
        end(&mut pollers[1], 40);
        let (seen, then) = load(&mut pollers, Nanos(20));
        assert_eq!((seen.lag_records, then), (130, 120), "and what arrives is one");
    }

    #[test]
    fn an_end_that_is_heard_of_late_is_no_negative_lag() {
        let mut pollers = [poller(0, 0)];
        end(&mut pollers[0], 10);
        done(&mut pollers[0], 25);
        assert_eq!(load(&mut pollers, Nanos(1)).0.lag_records, 0);
    }

    #[test]
    fn a_thread_without_more_pollers_than_its_least_does_not_scale() {
        let scales = |least, most, pollers| {
            Scaling::new(&ScalingRules::between(least, most), pollers, Nanos::ZERO).map(|one| one.pollers())
        };
        assert_eq!(scales(2, 2, 2), None);
        assert_eq!(scales(3, 9, 2), None);
        assert_eq!(scales(1, 9, 2), Some(1));
        assert_eq!(scales(2, 2, 5), Some(2));
    }
}
