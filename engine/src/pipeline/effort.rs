//! What a poller does, counted for the scaler: plain adds, a few per invocation.

use std::time::Duration;

use crate::time::Nanos;

/// What a poller's invocations came to since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effort {
    /// Time with a batch in flight, pauses between attempts included.
    pub(super) busy: Duration,
    pub(super) attempts: u64,
    pub(super) throttled: u64,
    /// Records that the batches which were closed could have held.
    pub(super) room_records: u64,
    /// What of the batch in flight is not yet part of `busy` began then.
    since: Option<Nanos>,
}

impl Effort {
    /// A batch of so many records was closed: full, or for another reason, so that it could have held
    /// `batch_size`.
    pub(super) fn on_closed(&mut self, records: u32, is_full: bool, batch_size: u32) {
        self.room_records += u64::from(if is_full { records } else { batch_size.max(records) });
    }

    /// A batch went into flight.
    pub(super) fn begin(&mut self, now: Nanos) {
        self.since = Some(now);
    }

    /// None is in flight any more.
    pub(super) fn end(&mut self, at: Nanos) {
        if let Some(since) = self.since.take() {
            self.busy += at - since;
        }
    }

    /// One attempt was answered.
    pub(super) fn on_attempt(&mut self, throttled: bool) {
        self.attempts += 1;
        self.throttled += u64::from(throttled);
    }

    /// What there was up to `now`, and counts from 0 again.
    pub(super) fn take(&mut self, now: Nanos) -> Self {
        if let Some(since) = &mut self.since {
            self.busy += now - std::mem::replace(since, now);
        }
        std::mem::replace(self, Self { since: self.since, ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_flight_that_goes_on_counts_up_to_each_look_and_no_part_of_it_twice() {
        let mut effort = Effort::default();
        effort.begin(Nanos(10));
        effort.on_attempt(true);
        let first = effort.take(Nanos(15));
        assert_eq!((first.busy, first.attempts, first.throttled), (Duration::from_nanos(5), 1, 1));
        effort.on_attempt(false);
        effort.end(Nanos(22));
        let second = effort.take(Nanos(30));
        assert_eq!((second.busy, second.attempts, second.throttled), (Duration::from_nanos(7), 1, 0));
        assert_eq!(effort.take(Nanos(40)).busy, Duration::ZERO);
    }

    #[test]
    fn an_answer_from_before_the_look_adds_nothing_that_was_counted() {
        let mut effort = Effort::default();
        effort.begin(Nanos(10));
        let first = effort.take(Nanos(20));
        effort.end(Nanos(18));
        assert_eq!((first.busy, effort.take(Nanos(30)).busy), (Duration::from_nanos(10), Duration::ZERO));
    }

    proptest! {
        #[test]
        fn looks_share_out_all_of_the_time_in_flight(
            steps in prop::collection::vec((0_u64..100, 0_u64..100, 0_usize..3), 1..30),
        ) {
            let (mut effort, mut now) = (Effort::default(), 0);
            let (mut flown, mut looked) = (0, Duration::ZERO);
            for (pause, flight, looks) in steps {
                now += pause;
                effort.begin(Nanos(now));
                for _ in 0..looks {
                    now += flight;
                    flown += flight;
                    looked += effort.take(Nanos(now)).busy;
                }
                now += flight;
                flown += flight;
                effort.end(Nanos(now));
            }
            looked += effort.take(Nanos(now)).busy;
            prop_assert_eq!(looked, Duration::from_nanos(flown));
        }
    }
}
