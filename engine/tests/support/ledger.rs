//! Everything the function was handed, in order, and the verdict over it.
//!
//! The rule for a partition: a delivery starts where the last acknowledged one ended. Starting
//! later passes over an undone record; starting earlier is a rewind, which only a crash that the
//! test announced ([`Ledger::crashed`]) explains, once per partition and crash. What was not
//! acknowledged is delivered again, and that is no rewind. An engine that was only frozen
//! ([`Ledger::froze`]) may, when it wakes, go on for a moment where it was while another delivers
//! again what it did: later than where the partition now stands, but passing over nothing that was
//! never done.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use pelton::time::{Clock, Nanos};

use super::content::Content;
use super::event::Event;

/// The largest body that Lambda takes: it must be smaller than 6,291,456 bytes.
const PAYLOAD_BYTES_MAX: usize = 6_291_455;
/// Problems kept word for word; the rest is only counted.
const PROBLEMS_KEPT_MAX: usize = 20;

/// What one partition has seen.
#[derive(Debug, Default)]
struct Lane {
    /// Where the next delivery must start.
    position: u64,
    /// First ordinal never acknowledged.
    frontier: u64,
    /// Where the first delivery began.
    start: Option<u64>,
    latest_ticket: u64,
    in_flight: u32,
    rewinds: u32,
    overlaps: u32,
    returns: u32,
}

/// Counts so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// Invocations begun.
    pub(crate) invocations: u64,
    /// Invocations that were answered with anything but success.
    pub(crate) refused: u64,
    /// Records handed over, repeats included.
    pub(crate) delivered: u64,
    /// Records acknowledged, each counted once.
    pub(crate) acknowledged: u64,
    /// Records acknowledged again.
    pub(crate) duplicates: u64,
    /// Crashes that the test announced.
    pub(crate) crashes: u32,
    /// Engines that the test froze and woke again, two crashes each.
    pub(crate) freezes: u32,
    /// Invocations in flight now.
    pub(crate) in_flight: u32,
    /// The most at one time.
    pub(crate) in_flight_max: u32,
    /// Largest payload, in bytes.
    pub(crate) payload_bytes_max: usize,
    /// Records of the largest batch.
    pub(crate) batch_records_max: usize,
    /// What broke the rules.
    pub(crate) problems: u64,
    /// The first of them.
    pub(crate) problem_texts: Vec<String>,
}

#[derive(Debug, Default)]
struct State {
    lanes: BTreeMap<i32, Lane>,
    next_ticket: u64,
    begins_anywhere: bool,
    progress: Progress,
}

/// One per topic and function.
#[derive(Debug)]
pub(crate) struct Ledger {
    topic: String,
    content: Content,
    /// Whether offsets equal ordinals: no transactions, no compaction.
    contiguous: bool,
    state: Mutex<State>,
    changed: Condvar,
}

/// An invocation in flight: per partition, the first and last ordinal.
#[derive(Debug)]
#[must_use]
pub(crate) struct Ticket {
    number: u64,
    ranges: Vec<(i32, u64, u64)>,
}

impl Ledger {
    /// For a topic whose offsets have no gaps.
    pub(crate) fn new(topic: &str, content: Content) -> Self {
        Self {
            topic: topic.into(),
            content,
            contiguous: true,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// For a topic with transaction markers or compaction between its records.
    pub(crate) fn with_gaps(topic: &str, content: Content) -> Self {
        Self { contiguous: false, ..Self::new(topic, content) }
    }

    /// What the topic's records contain.
    pub(crate) fn content(&self) -> &Content {
        &self.content
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The first delivery of each partition may begin anywhere; the rules hold from there.
    pub(crate) fn begins_anywhere(&self) {
        self.state().begins_anywhere = true;
    }

    /// Where the first delivery of `partition` began.
    pub(crate) fn start(&self, partition: i32) -> Option<u64> {
        self.state().lanes.get(&partition).and_then(|lane| lane.start)
    }

    /// An engine was killed: its invocations in flight may come again, and what it had not
    /// committed too.
    pub(crate) fn crashed(&self) {
        self.state().progress.crashes += 1;
    }

    /// An engine was frozen and will wake: what it had not committed comes again, and so may, once
    /// awake and before it hears that it was thrown out, what it had ready.
    pub(crate) fn froze(&self) {
        let progress = &mut self.state().progress;
        progress.crashes += 2;
        progress.freezes += 1;
    }

    /// Something outside the records' own rules is wrong, such as the HTTP request.
    pub(crate) fn complain(&self, problem: String) {
        self.state().progress.complain(problem);
        self.changed.notify_all();
    }

    /// A request has arrived whole. To be followed by [`Ledger::finish`].
    pub(crate) fn begin(&self, event: &Event<'_>, payload_bytes: usize) -> Ticket {
        let mut state = self.state();
        let State { lanes, next_ticket, begins_anywhere, progress } = &mut *state;
        *next_ticket += 1;
        let mut ticket = Ticket { number: *next_ticket, ranges: Vec::new() };
        progress.invocations += 1;
        progress.in_flight += 1;
        progress.in_flight_max = progress.in_flight_max.max(progress.in_flight);
        progress.payload_bytes_max = progress.payload_bytes_max.max(payload_bytes);
        if payload_bytes > PAYLOAD_BYTES_MAX {
            progress.complain(format!("a payload of {payload_bytes} B"));
        }
        if event.bootstrap_servers.is_empty()
            || (event.event_source == "aws:kafka") != event.event_source_arn.is_some()
        {
            progress.complain(format!("envelope {} {:?}", event.event_source, event.event_source_arn));
        }
        let records: usize = event.records.values().map(Vec::len).sum();
        progress.delivered += records as u64;
        progress.batch_records_max = progress.batch_records_max.max(records);
        if records == 0 || event.records.values().any(Vec::is_empty) {
            progress.complain("an event without records, or a partition without".into());
        }
        for (name, records) in &event.records {
            let Some(first) = records.first() else { continue };
            let lane = lanes.entry(first.partition).or_default();
            let mut range: Option<(u64, u64)> = None;
            let mut last_offset = -1;
            for record in records {
                let place = format_args!("{}[{}]@{}", record.topic, record.partition, record.offset);
                if record.topic != self.topic || *name != format!("{}-{}", self.topic, record.partition) {
                    progress.complain(format!("{place} under {name}, the topic is {}", self.topic));
                }
                let Some(ordinal) = self.content.ordinal(record.timestamp) else {
                    progress.complain(format!("{place}: timestamp {}", record.timestamp));
                    continue;
                };
                if self.contiguous && u64::try_from(record.offset).ok() != Some(ordinal) {
                    progress.complain(format!("{place}: holds the record that belongs at {ordinal}"));
                }
                if range.is_some_and(|(_, last)| ordinal != last + 1) || record.offset <= last_offset {
                    progress.complain(format!("{place}: does not follow the record before it ({range:?})"));
                }
                if let Some(difference) = record.difference(&self.content.record(record.partition, ordinal)) {
                    progress.complain(format!("{place}: {difference}"));
                }
                range = Some((range.map_or(ordinal, |(first, _)| first), ordinal));
                last_offset = record.offset;
            }
            let Some((first, last)) = range else { continue };
            if lane.start.is_none() && *begins_anywhere {
                (lane.position, lane.frontier) = (first, first);
            }
            lane.start.get_or_insert(first);
            lane.begin(&mut ticket, (first, last), progress, records[0].partition);
        }
        drop(state);
        self.changed.notify_all();
        ticket
    }

    /// The function has decided. To be called before the answer is sent, so that the next request
    /// finds it said.
    pub(crate) fn finish(&self, ticket: Ticket, acknowledged: bool) {
        let mut state = self.state();
        let State { lanes, progress, .. } = &mut *state;
        progress.refused += u64::from(!acknowledged);
        progress.in_flight -= 1;
        for (partition, first, last) in ticket.ranges {
            let lane = lanes.get_mut(&partition).expect("begun");
            lane.in_flight -= 1;
            if !acknowledged {
                continue;
            }
            let again = lane.frontier.min(last + 1).saturating_sub(first);
            progress.duplicates += again;
            progress.acknowledged += last + 1 - first - again;
            lane.frontier = lane.frontier.max(last + 1);
            // The answer to a killed engine does not move where its successor continues.
            if lane.latest_ticket == ticket.number {
                lane.position = last + 1;
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// A copy of the counts.
    pub(crate) fn progress(&self) -> Progress {
        self.state().progress.clone()
    }

    /// Per partition, the first ordinal never acknowledged.
    pub(crate) fn frontier(&self, partition: i32) -> u64 {
        self.state().lanes.get(&partition).map_or(0, |lane| lane.frontier)
    }

    /// Waits until `condition` holds; whether it did within `time`.
    pub(crate) fn wait(&self, time: Duration, condition: impl Fn(&Progress) -> bool) -> bool {
        let clock = Clock::start();
        let mut state = self.state();
        while !condition(&state.progress) {
            let left = time.saturating_sub(clock.now() - Nanos::ZERO);
            if left.is_zero() {
                return false;
            }
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        true
    }

    /// Waits until `condition` holds, at most [`super::PATIENCE`] without any progress.
    ///
    /// # Panics
    /// If nothing more was acknowledged for that long, or a rule was broken.
    pub(crate) fn reach(&self, what: &str, condition: impl Fn(&Progress) -> bool) {
        loop {
            let before = self.progress();
            let moved = |p: &Progress| {
                condition(p)
                    || p.acknowledged > before.acknowledged
                    || p.duplicates > before.duplicates
                    || p.problems > 0
            };
            let in_time = self.wait(super::PATIENCE, moved);
            let now = self.progress();
            assert_eq!(now.problems, 0, "{:#?}", now.problem_texts);
            if condition(&now) {
                return;
            }
            assert!(in_time, "stalled before {what}: {now:?}");
        }
    }

    /// The verdict, once all is done: each of `partitions` has had `records` ordinals delivered and
    /// acknowledged, and no rule was broken.
    ///
    /// # Panics
    /// If not.
    pub(crate) fn audit(&self, partitions: i32, records: u64) -> Progress {
        let state = self.state();
        let progress = state.progress.clone();
        assert_eq!(progress.problems, 0, "{:#?}", progress.problem_texts);
        for partition in 0..partitions {
            let frontier = state.lanes.get(&partition).map_or(0, |lane| lane.frontier);
            assert_eq!(
                frontier, records,
                "partition {partition}: acknowledged up to {frontier} of {records}"
            );
        }
        assert_eq!(state.lanes.len(), usize::try_from(partitions).expect("not negative"));
        progress
    }
}

impl Lane {
    fn begin(&mut self, ticket: &mut Ticket, range: (u64, u64), progress: &mut Progress, partition: i32) {
        let (first, last) = range;
        if self.in_flight > 0 {
            self.overlaps += 1;
            if self.overlaps > progress.crashes {
                progress.complain(format!(
                    "partition {partition}: {first}..={last} sent while another is in flight"
                ));
            }
        }
        if first > self.position && first <= self.frontier && self.returns < progress.freezes {
            self.returns += 1;
        } else if first > self.position {
            let position = self.position;
            progress
                .complain(format!("partition {partition}: {first}..={last} sent before {position} is done"));
        } else if first < self.position {
            self.rewinds += 1;
            if self.rewinds > progress.crashes {
                let position = self.position;
                progress.complain(format!(
                    "partition {partition}: {first}..={last} sent again after everything below {position} was acknowledged, \
                     and no crash explains it"
                ));
            }
            // Whether acknowledged or not, this is where the partition stands now.
            self.position = first;
        }
        self.in_flight += 1;
        self.latest_ticket = ticket.number;
        ticket.ranges.push((partition, first, last));
    }
}

impl Progress {
    fn complain(&mut self, problem: String) {
        self.problems += 1;
        if self.problem_texts.len() < PROBLEMS_KEPT_MAX {
            self.problem_texts.push(problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The event with these ordinals of partition 0 of topic `t`, as a correct engine writes it.
    fn body(content: &Content, ordinals: impl Iterator<Item = u64>) -> String {
        let records: Vec<_> = ordinals
            .map(|ordinal| {
                let record = content.record(0, ordinal);
                let mut json = serde_json::json!({
                    "topic": "t", "partition": 0, "offset": ordinal, "timestamp": record.timestamp_ms,
                    "timestampType": "CREATE_TIME",
                    "headers": record.headers.iter().map(|(name, value)| {
                        let bytes = value.as_deref().unwrap_or_default().iter().map(|b| b.cast_signed());
                        serde_json::json!({ *name: bytes.collect::<Vec<_>>() })
                    }).collect::<Vec<_>>(),
                });
                for (name, bytes) in [("key", record.key.as_deref()), ("value", record.value)] {
                    if let Some(bytes) = bytes {
                        json[name] = base64_simd::STANDARD.encode_to_string(bytes).into();
                    }
                }
                json
            })
            .collect();
        serde_json::json!({"eventSource": "SelfManagedKafka", "bootstrapServers": "b:1", "records": {"t-0": records}})
            .to_string()
    }

    fn ledger() -> Ledger {
        Ledger::new("t", Content::new(1, 10..=20))
    }

    fn begin(ledger: &Ledger, ordinals: impl Iterator<Item = u64>) -> Ticket {
        let body = body(&ledger.content, ordinals);
        ledger.begin(&serde_json::from_str(&body).expect("an event"), body.len())
    }

    fn deliver(ledger: &Ledger, ordinals: impl Iterator<Item = u64>, acknowledged: bool) {
        let ticket = begin(ledger, ordinals);
        ledger.finish(ticket, acknowledged);
    }

    #[test]
    fn a_faultless_run_passes() {
        let ledger = ledger();
        deliver(&ledger, 0..10, true);
        deliver(&ledger, 10..15, false);
        deliver(&ledger, 10..15, true);
        deliver(&ledger, 15..200, true);
        let progress = ledger.audit(1, 200);
        assert_eq!((progress.duplicates, progress.refused, progress.delivered), (0, 1, 205));
    }

    #[test]
    fn a_skipped_record_is_a_problem() {
        let ledger = ledger();
        deliver(&ledger, 0..10, true);
        deliver(&ledger, 11..15, true);
        assert_eq!(ledger.progress().problems, 1);
    }

    #[test]
    fn passing_a_refused_batch_is_a_problem() {
        let ledger = ledger();
        deliver(&ledger, 0..10, false);
        deliver(&ledger, 10..15, true);
        assert_eq!(ledger.progress().problems, 1);
    }

    #[test]
    fn a_gap_or_a_swap_within_a_batch_is_a_problem() {
        for ordinals in [vec![0, 1, 3], vec![0, 2, 1], vec![0, 1, 1]] {
            let ledger = ledger();
            deliver(&ledger, ordinals.into_iter(), true);
            assert!(ledger.progress().problems > 0);
        }
    }

    #[test]
    fn a_repeat_needs_a_crash_to_explain_it_and_one_explains_one() {
        let ledger = ledger();
        deliver(&ledger, 0..10, true);
        ledger.crashed();
        deliver(&ledger, 5..8, true);
        deliver(&ledger, 8..12, true);
        assert_eq!((ledger.progress().problems, ledger.progress().duplicates), (0, 5));
        deliver(&ledger, 11..13, true);
        assert_eq!((ledger.progress().problems, ledger.progress().duplicates), (1, 6));
    }

    #[test]
    fn one_who_was_frozen_may_go_on_where_it_was_but_not_beyond() {
        let ledger = ledger();
        deliver(&ledger, 0..10, true);
        ledger.froze();
        deliver(&ledger, 2..4, true);
        deliver(&ledger, 10..12, true);
        deliver(&ledger, 4..10, true);
        deliver(&ledger, 10..14, true);
        assert_eq!(ledger.progress().problems, 0);
        deliver(&ledger, 15..16, true);
        assert_eq!(ledger.progress().problems, 1);
    }

    #[test]
    fn two_in_flight_for_one_partition_is_a_problem() {
        let ledger = ledger();
        let first = begin(&ledger, 0..10);
        let second = begin(&ledger, 0..10);
        assert_eq!(ledger.progress().problems, 1);
        ledger.finish(first, false);
        ledger.finish(second, true);
    }

    #[test]
    fn the_late_answer_to_a_killed_engine_does_not_confuse_its_successor() {
        let ledger = ledger();
        let orphan = begin(&ledger, 0..10);
        ledger.crashed();
        deliver(&ledger, 0..5, true);
        ledger.finish(orphan, true);
        deliver(&ledger, 5..20, true);
        assert_eq!(ledger.audit(1, 20).duplicates, 10);
    }

    #[test]
    fn a_changed_byte_is_a_problem() {
        let ledger = ledger();
        let body = body(&ledger.content, 0..50).replace("[0,127,-128,-1]", "[0,127,-128,-2]");
        let ticket = ledger.begin(&serde_json::from_str(&body).expect("an event"), body.len());
        ledger.finish(ticket, true);
        assert!(ledger.progress().problems > 0);
    }

    #[test]
    fn what_was_never_acknowledged_is_lost() {
        let ledger = ledger();
        deliver(&ledger, 0..10, true);
        deliver(&ledger, 10..20, false);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ledger.audit(1, 20))).is_err());
    }
}
