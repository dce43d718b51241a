//! One poller in virtual time: the engine's own batch policy over records that arrive when they
//! arrive, and a function that takes the time that it takes.

use std::time::Duration;

use pelton::batch::{BatchLimits, Fit, FlushCause, Policy};
use pelton::time::Nanos;

/// A record that a poller may read from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub at: Nanos,
    /// When it was meant to be sent: its age counts from then.
    pub born: Nanos,
    /// Its partition's place.
    pub partition: u32,
    /// Bytes of its JSON in an event.
    pub bytes: u32,
    /// Bytes of its partition's key in an event.
    pub key_bytes: u32,
}

/// A batch that would have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Why it was closed.
    pub cause: FlushCause,
    /// Its records.
    pub records: u32,
    /// Partitions that they are of.
    pub partitions: u32,
    /// Bytes of its event.
    pub payload_bytes: usize,
    /// When its first record was read.
    pub opened_at: Nanos,
    /// When it was closed.
    pub closed_at: Nanos,
    /// When the function was free for it.
    pub sent_at: Nanos,
    /// When the function answered.
    pub done_at: Nanos,
}

/// What one poller makes of its arrivals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Poll {
    /// Records that no event can hold.
    pub oversized: u64,
    /// Time in which an invocation ran, or is going to run.
    pub busy: Duration,
    /// When the last one was answered, or is going to be.
    pub ended_at: Nanos,
}

/// A batch that is being gathered.
#[derive(Debug)]
struct Open<'l> {
    limits: &'l BatchLimits,
    envelope_bytes: usize,
    policy: Policy,
    /// The arrivals in it: all from `first` on that were not oversized.
    arrivals: Vec<Arrival>,
    /// Per partition, whether the batch has records of it.
    present: Vec<bool>,
    partitions: u32,
}

impl<'l> Open<'l> {
    fn new(limits: &'l BatchLimits, envelope_bytes: usize) -> Self {
        Self {
            limits,
            envelope_bytes,
            policy: Policy::new(limits, envelope_bytes),
            arrivals: Vec::new(),
            present: Vec::new(),
            partitions: 0,
        }
    }

    /// What the event grows by, beside the record, when one of this partition comes in.
    fn overhead(&self, arrival: &Arrival) -> usize {
        if self.present.get(arrival.partition as usize).copied().unwrap_or(false) {
            0
        } else {
            arrival.key_bytes as usize + usize::from(self.partitions > 0)
        }
    }

    fn take(&mut self, arrival: &Arrival, now: Nanos) -> Fit {
        let bytes = arrival.bytes as usize;
        let grows = bytes + self.overhead(arrival);
        let fit = self.policy.fit(grows, bytes + arrival.key_bytes as usize);
        if fit == Fit::Here {
            let place = arrival.partition as usize;
            if self.present.len() <= place {
                self.present.resize(place + 1, false);
            }
            self.partitions += u32::from(!self.present[place]);
            self.present[place] = true;
            self.policy.on_append(1, grows, now);
            self.arrivals.push(*arrival);
        }
        fit
    }

    /// Closes it, to be sent; another one begins.
    fn close(&mut self, cause: FlushCause, now: Nanos) -> Closed {
        let policy = std::mem::replace(&mut self.policy, Policy::new(self.limits, self.envelope_bytes));
        self.present.clear();
        Closed {
            arrivals: std::mem::take(&mut self.arrivals),
            sent: Sent {
                cause,
                records: policy.records(),
                partitions: std::mem::take(&mut self.partitions),
                payload_bytes: policy.payload_bytes(),
                opened_at: policy.opened_at().unwrap_or(now),
                closed_at: now,
                sent_at: now,
                done_at: now,
            },
        }
    }
}

#[derive(Debug)]
struct Closed {
    arrivals: Vec<Arrival>,
    sent: Sent,
}

/// Lets a poller read `arrivals`, which ascend in time, to the end of its last invocation.
/// `function` is how long it takes for an event of so many records and bytes; each batch is given to
/// `sent` with its records.
pub fn poll(
    arrivals: &[Arrival],
    limits: &BatchLimits,
    envelope_bytes: usize,
    function: impl FnMut(u32, usize) -> Duration,
    sent: impl FnMut(&Sent, &[Arrival]),
) -> Poll {
    let mut poller = Poller::new(limits, envelope_bytes);
    poller.run(arrivals, Nanos::NEVER, function, sent);
    poller.poll
}

/// A poller between two instants.
///
/// As the engine does it: one invocation at a time, the next batch is gathered meanwhile, and what is
/// full waits, unread records behind it, until the function is free. Reading and encoding take no
/// time, and there is memory enough.
#[derive(Debug)]
pub struct Poller<'l> {
    open: Open<'l>,
    now: Nanos,
    ready: Option<Closed>,
    busy_until: Option<Nanos>,
    poll: Poll,
}

impl<'l> Poller<'l> {
    /// One that has read nothing.
    #[must_use]
    pub fn new(limits: &'l BatchLimits, envelope_bytes: usize) -> Self {
        Self {
            open: Open::new(limits, envelope_bytes),
            now: Nanos::ZERO,
            ready: None,
            busy_until: None,
            poll: Poll::default(),
        }
    }

    /// What it has come to.
    #[must_use]
    pub const fn poll(&self) -> &Poll {
        &self.poll
    }

    /// When its function is free, if an invocation runs.
    #[must_use]
    pub const fn busy_until(&self) -> Option<Nanos> {
        self.busy_until
    }

    /// Records of the batch that is being gathered.
    #[must_use]
    pub const fn open_records(&self) -> u32 {
        self.open.policy.records()
    }

    /// Whether nothing is read that was not sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ready.is_none() && self.open.arrivals.is_empty()
    }

    /// Goes on, over everything that happens before `until`. `arrivals` are those it has not read yet,
    /// with all of them that are there before `until`. Returns how many of them were read.
    pub fn run(
        &mut self,
        arrivals: &[Arrival],
        until: Nanos,
        mut function: impl FnMut(u32, usize) -> Duration,
        mut sent: impl FnMut(&Sent, &[Arrival]),
    ) -> usize {
        let mut next = 0;
        loop {
            if self.busy_until.is_some_and(|at| at <= self.now) {
                self.busy_until = None;
                self.open.policy.on_idle(self.now);
            }
            while self.ready.is_none()
                && let Some(arrival) = arrivals.get(next).filter(|arrival| arrival.at <= self.now)
            {
                let full = match self.open.take(arrival, self.now) {
                    Fit::Here => {
                        next += 1;
                        self.open.policy.full()
                    }
                    Fit::NextBatch(cause) => Some(cause),
                    Fit::Nowhere { .. } => {
                        self.poll.oversized += 1;
                        next += 1;
                        None
                    }
                };
                self.ready = full.map(|cause| self.open.close(cause, self.now));
                if self.busy_until.is_none()
                    && let Some(closed) = self.ready.take()
                {
                    self.send(closed, &mut function, &mut sent);
                }
            }
            if self.busy_until.is_none() {
                let ready = self.ready.take();
                let due = || self.open.policy.due(self.now).map(|cause| self.open.close(cause, self.now));
                if let Some(closed) = ready.or_else(due) {
                    self.send(closed, &mut function, &mut sent);
                    continue;
                }
            }
            let arrival = arrivals.get(next).filter(|_| self.ready.is_none()).map(|arrival| arrival.at);
            let window = self.open.policy.deadline().filter(|_| self.busy_until.is_none());
            match [self.busy_until, arrival, window].into_iter().flatten().min() {
                Some(wake) if wake < until => self.now = wake.max(self.now),
                _ => return next,
            }
        }
    }

    fn send(
        &mut self,
        closed: Closed,
        function: &mut impl FnMut(u32, usize) -> Duration,
        sent: &mut impl FnMut(&Sent, &[Arrival]),
    ) {
        let Closed { arrivals, sent: mut batch } = closed;
        let took = function(batch.records, batch.payload_bytes);
        (batch.sent_at, batch.done_at) = (self.now, self.now + took);
        self.poll.busy += took;
        self.poll.ended_at = batch.done_at;
        self.busy_until = Some(batch.done_at);
        sent(&batch, &arrivals);
    }

    /// Gives back all that it has read and not sent, in the order in which it was read.
    pub fn give_back(&mut self) -> Vec<Arrival> {
        let mut arrivals = self.ready.take().map(|closed| closed.arrivals).unwrap_or_default();
        arrivals.extend(self.open.close(FlushCause::Drain, self.now).arrivals);
        if self.busy_until.is_none() {
            self.open.policy.on_idle(self.now);
        }
        arrivals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn at(ms: u64) -> Nanos {
        Nanos::ZERO + MS(ms)
    }

    fn arrivals(at_ms: impl IntoIterator<Item = u64>) -> Vec<Arrival> {
        at_ms
            .into_iter()
            .map(|ms| Arrival { at: at(ms), born: at(ms), partition: 0, bytes: 100, key_bytes: 10 })
            .collect()
    }

    /// Each so many milliseconds after the one before, with its partition and bytes.
    fn with_gaps(gaps: Vec<(u64, u32, u32)>) -> Vec<Arrival> {
        let mut now = 0;
        let arrival = |(gap, partition, bytes)| {
            now += gap;
            Arrival { at: at(now), born: at(now), partition, bytes, key_bytes: 10 }
        };
        gaps.into_iter().map(arrival).collect()
    }

    fn limits(batch_size: u32, window_ms: u64) -> BatchLimits {
        BatchLimits { batch_size, window: MS(window_ms), payload_bytes_max: 1_000 }
    }

    fn batches(arrivals: &[Arrival], limits: &BatchLimits, function_ms: u64) -> Vec<Sent> {
        let mut all = Vec::new();
        poll(arrivals, limits, 50, |_, _| MS(function_ms), |sent, _| all.push(*sent));
        all
    }

    fn causes(sent: &[Sent]) -> Vec<(FlushCause, u32, u64)> {
        sent.iter().map(|sent| (sent.cause, sent.records, sent.sent_at.0 / 1_000_000)).collect()
    }

    #[test]
    fn a_window_is_waited_for_from_the_first_record() {
        let sent = batches(&arrivals([0, 3, 40]), &limits(10, 10), 0);
        assert_eq!(causes(&sent), [(FlushCause::Window, 2, 10), (FlushCause::Window, 1, 50)]);
    }

    #[test]
    fn a_full_batch_waits_for_the_function_and_those_behind_it_unread() {
        let sent = batches(&arrivals([0; 5]), &limits(2, 10), 100);
        assert_eq!(
            causes(&sent),
            [(FlushCause::Count, 2, 0), (FlushCause::Count, 2, 100), (FlushCause::Window, 1, 210)]
        );
        assert_eq!(sent[1].closed_at, at(0), "gathered while the first was under way");
    }

    #[test]
    fn bytes_close_a_batch_before_the_record_that_does_not_fit() {
        // 50 + 10 + 9 * 100 is 960 of 1,000.
        let sent = batches(&arrivals([0; 12]), &limits(100, 10), 0);
        assert_eq!((sent[0].cause, sent[0].records, sent[0].payload_bytes), (FlushCause::Bytes, 9, 960));
        assert_eq!(sent[1].records, 3);
    }

    #[test]
    fn a_record_that_no_event_can_hold_is_counted_and_passed() {
        let mut arrivals = arrivals([0, 0]);
        arrivals[0].bytes = 950;
        let mut all = 0;
        let poll = poll(&arrivals, &limits(1, 10), 50, |_, _| MS(1), |_, _| all += 1);
        assert_eq!((poll.oversized, all, poll.busy), (1, 1, MS(1)));
    }

    proptest! {
        /// However often it is stopped in between, and given no more than what is there by then.
        #[test]
        fn a_poller_that_is_stopped_in_between_makes_the_same_batches(
            gaps in proptest::collection::vec((0_u64..30, 0_u32..3, 1_u32..400), 0..200),
            stops in proptest::collection::vec(1_u64..200, 0..60),
            batch_size in 1_u32..20,
            window_ms in 0_u64..20,
            function_ms in 0_u64..40,
        ) {
            let arrivals = with_gaps(gaps);
            let limits = limits(batch_size, window_ms);
            let mut whole = Vec::new();
            poll(&arrivals, &limits, 50, |_, _| MS(function_ms), |sent, _| whole.push(*sent));
            let (mut poller, mut parts) = (Poller::new(&limits, 50), Vec::new());
            let (mut read, mut until) = (0, Nanos::ZERO);
            let ends = stops.into_iter().map(Some).chain([None]);
            for stop in ends {
                until = stop.map_or(Nanos::NEVER, |stop| until + MS(stop));
                let there = arrivals.partition_point(|arrival| arrival.at < until);
                read += poller.run(&arrivals[read..there], until, |_, _| MS(function_ms), |sent, _| {
                    parts.push(*sent);
                });
            }
            prop_assert_eq!(parts, whole);
            prop_assert_eq!(read, arrivals.len());
            prop_assert!(poller.is_empty() && poller.busy_until().is_none());
        }

        #[test]
        fn what_is_given_back_was_read_and_not_sent(
            gaps in proptest::collection::vec((0_u64..30, 0_u32..3, 1_u32..400), 1..100),
            stop in 1_u64..400,
            batch_size in 1_u32..20,
            function_ms in 0_u64..400,
        ) {
            let arrivals = with_gaps(gaps);
            let limits = limits(batch_size, 10);
            let (mut poller, mut all) = (Poller::new(&limits, 50), Vec::new());
            let read = poller.run(&arrivals, at(stop), |_, _| MS(function_ms), |_, records| {
                all.extend_from_slice(records);
            });
            all.extend(poller.give_back());
            prop_assert!(poller.is_empty());
            prop_assert_eq!(&all[..], &arrivals[..read]);
            // And it goes on as if nothing had been.
            let mut again = Vec::new();
            poller.run(&arrivals[read..], Nanos::NEVER, |_, _| MS(function_ms), |_, records| again.extend_from_slice(records));
            prop_assert_eq!(&again[..], &arrivals[read..]);
        }

        #[test]
        fn every_record_is_sent_once_in_order_and_not_before_it_has_arrived(
            gaps in proptest::collection::vec((0_u64..30, 0_u32..3, 1_u32..400), 0..200),
            batch_size in 1_u32..20,
            window_ms in 0_u64..20,
            function_ms in 0_u64..40,
        ) {
            let arrivals = with_gaps(gaps);
            let limits = limits(batch_size, window_ms);
            let (mut seen, mut free_at) = (Vec::new(), Nanos::ZERO);
            let mut holds = true;
            poll(&arrivals, &limits, 50, |_, _| MS(function_ms), |sent, records| {
                holds &= sent.records as usize == records.len() && sent.records <= batch_size;
                holds &= sent.payload_bytes <= 1_000 && sent.sent_at >= free_at && !records.is_empty();
                holds &= records.iter().all(|record| record.at <= sent.closed_at);
                holds &= sent.opened_at <= sent.closed_at && sent.closed_at <= sent.sent_at;
                let waited = sent.sent_at - sent.opened_at.max(free_at);
                holds &= waited <= limits.window;
                free_at = sent.done_at;
                seen.extend_from_slice(records);
            });
            prop_assert!(holds);
            prop_assert_eq!(seen, arrivals);
        }
    }
}
