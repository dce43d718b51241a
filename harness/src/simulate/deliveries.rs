//! The oracle's view of what is handed over: events, failures, and their answers.

use pelton::batch::Payload;
use pelton::destination::{Condition, Failure};
use pelton::ids::{Offset, Topic};
use pelton::payload::reference::event_json;

use super::checker::{Checker, Fate, Undone, Why};
use super::log::Log;
use super::scenario::{HEAD, TOPIC};

/// Records of one partition that are under way together.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    /// The partition.
    pub(crate) partition: usize,
    lease: u64,
    /// Ascending.
    pub(crate) places: Vec<usize>,
}

/// What an answer says of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It is done.
    Done,
    /// The function ran, and failed on it.
    Failed,
    /// The function reported it.
    Reported,
    /// The function did not run.
    NotReached,
}

impl Checker {
    /// Whether the record alone makes an event above the limit.
    pub(super) fn is_outsized(&mut self, log: &Log, partition: usize, place: usize) -> bool {
        /// Everything but the value: more than that of any simulated record.
        const REST_BYTES: usize = 1_000;
        let limit = self.scenario.limits.payload_bytes_max as usize;
        let stored = &log.records[place];
        let encoded = stored.value_bytes().div_ceil(3) * 4;
        if encoded + REST_BYTES <= limit || encoded > limit {
            return encoded > limit;
        }
        *self.outsized.entry((partition, stored.offset)).or_insert_with(|| {
            event_json(HEAD, &Topic::new(TOPIC), [&stored.record(partition)]).len() > limit
        })
    }

    /// Finds the records of an event, partition by partition.
    fn read(&mut self, logs: &[Log], event: &Payload, member: usize) -> Vec<Carried> {
        let mut carried: Vec<Carried> = Vec::new();
        for entry in event.entries() {
            let partition = usize::try_from(entry.partition.0).unwrap_or(usize::MAX);
            let found =
                logs.get(partition).and_then(|log| log.find(entry.offset.0).map(|place| (log, place)));
            let Some((log, place)) = found else {
                self.fail(
                    "events say what was produced",
                    format!("[{partition}]@{} does not exist", entry.offset),
                );
                continue;
            };
            if log.records[place].timestamp_ms != entry.timestamp_ms {
                self.fail(
                    "events say what was produced",
                    format!("[{partition}]@{}: another timestamp", entry.offset),
                );
            }
            let at = carried.iter().position(|group| group.partition == partition).unwrap_or_else(|| {
                let lease = self.leases.get(&(member, partition)).map_or(0, |lease| lease.number);
                carried.push(Carried { partition, lease, places: Vec::new() });
                carried.len() - 1
            });
            if carried[at].places.last().is_some_and(|last| *last >= place) {
                self.fail(
                    "order per partition",
                    format!("[{partition}]@{} stands behind a later one", entry.offset),
                );
            }
            carried[at].places.push(place);
        }
        carried
    }

    /// The member hands an event over, as its hand-over number `call`. `in_full`: every byte of it is
    /// held against what was produced.
    pub(crate) fn on_invoked(
        &mut self,
        logs: &[Log],
        member: usize,
        call: u64,
        event: &Payload,
        in_full: bool,
    ) -> Vec<Carried> {
        let limits = &self.scenario.limits;
        let (records, bytes) = (event.records(), event.len());
        if records == 0 || records > limits.batch_size || bytes > limits.payload_bytes_max as usize {
            let detail = format!(
                "{records} records in {bytes} B, the limits are {} and {} B",
                limits.batch_size, limits.payload_bytes_max
            );
            self.fail("events stay within their limits", detail);
        }
        let carried = self.read(logs, event, member);
        for group in &carried {
            self.take(&logs[group.partition], member, call, group);
        }
        if in_full {
            self.compare(logs, event);
        }
        self.deliveries += u64::from(records);
        carried
    }

    /// Holds the records of one partition that are being delivered against its lease.
    fn take(&mut self, log: &Log, member: usize, call: u64, group: &Carried) {
        let Carried { partition, ref places, .. } = *group;
        let Some(mut lease) = self.leases.remove(&(member, partition)) else {
            let first = places.first().map_or(0, |place| log.records[*place].offset);
            return self.fail(
                "only what is held is delivered",
                format!("[{partition}]@{first} by member {member}, which does not have it"),
            );
        };
        if let Some(other) = lease.carried_by.replace(call) {
            self.fail(
                "order per partition",
                format!("[{partition}] is under way twice, as calls {other} and {call}"),
            );
        }
        let last = places.last().copied().unwrap_or(0);
        for undone in lease.undone.iter().filter(|undone| undone.place < last) {
            if places.binary_search(&undone.place).is_err() {
                let (undone, last) = (log.records[undone.place].offset, log.records[last].offset);
                self.fail(
                    "order per partition",
                    format!("[{partition}]@{last} is delivered while {undone} is not done"),
                );
            }
        }
        for &place in places {
            let offset = log.records[place].offset;
            if self.scenario.filter && !log.records[place].is_kept() {
                self.fail("what is filtered out is not delivered", format!("[{partition}]@{offset}"));
            }
            if lease.passed.contains(&place) {
                self.fail("what is given up is not delivered", format!("[{partition}]@{offset}"));
            }
            if place < lease.cursor {
                self.again(&mut lease.undone, partition, place, offset);
                continue;
            }
            for passed in lease.cursor..place {
                if !lease.passed.contains(&passed) && !self.is_exempt(log, partition, passed) {
                    let passed = log.records[passed].offset;
                    self.fail(
                        "nothing is lost",
                        format!("[{partition}]@{offset} is delivered, {passed} before it never was"),
                    );
                }
            }
            lease.cursor = place + 1;
            lease.undone.push(Undone { place, tries: 0, last: None });
            self.explain_first(&lease.lost, partition, place, offset);
        }
        self.leases.insert((member, partition), lease);
    }

    /// The lease delivers a record that it has delivered before.
    fn again(&mut self, undone: &mut [Undone], partition: usize, place: usize, offset: i64) {
        let found = undone.binary_search_by_key(&place, |undone| undone.place).ok();
        let Some(undone) = found.map(|at| &mut undone[at]) else {
            return self.fail(
                "every duplicate is explained",
                format!("[{partition}]@{offset} was done already by the same member"),
            );
        };
        let Some(why) = undone.last.take() else {
            return self.fail(
                "every duplicate is explained",
                format!("[{partition}]@{offset} is under way already"),
            );
        };
        if self.scenario.rules.retries_max.is_some_and(|most| undone.tries > most + self.splits_max()) {
            let tries = undone.tries;
            self.fail(
                "no more attempts than allowed",
                format!("[{partition}]@{offset} was tried {tries} times"),
            );
        }
        self.ledgers[partition].known[place].deliveries += 1;
        self.duplicates[why as usize] += 1;
    }

    /// Each halves a batch, so there are no more of them than bits in its size; a record may be in
    /// one odd half more.
    fn splits_max(&self) -> u32 {
        if self.scenario.rules.bisect {
            u32::BITS - self.scenario.limits.batch_size.leading_zeros() + 1
        } else {
            0
        }
    }

    /// The lease delivers a record for the first time; others may have done so before.
    fn explain_first(&mut self, lost: &bool, partition: usize, place: usize, offset: i64) {
        let known = &mut self.ledgers[partition].known[place];
        known.deliveries += 1;
        let again = known.deliveries > 1;
        let why = known.why.take().or(lost.then_some(Why::Lost));
        if *lost {
            // Its new owner does not know of this one.
            known.why = Some(Why::Lost);
        }
        match why {
            _ if !again => {}
            Some(why) => self.duplicates[why as usize] += 1,
            None => self.fail(
                "every duplicate is explained",
                format!("[{partition}]@{offset} is delivered again, and nothing went wrong with it"),
            ),
        }
    }

    /// The engine was told how an invocation ended. `say` tells what the answer says of a record.
    pub(crate) fn on_answered(
        &mut self,
        member: usize,
        call: u64,
        carried: &[Carried],
        say: impl Fn(usize, usize) -> Said,
    ) {
        for group in carried {
            let lease =
                self.leases.get_mut(&(member, group.partition)).filter(|lease| lease.number == group.lease);
            let known = &mut self.ledgers[group.partition].known;
            let mut lease = lease;
            for &place in &group.places {
                let said = say(group.partition, place);
                if said == Said::Done {
                    known[place].fate.get_or_insert(Fate::Delivered);
                }
                let Some(lease) = lease.as_deref_mut() else { continue };
                let Ok(at) = lease.undone.binary_search_by_key(&place, |undone| undone.place) else {
                    continue;
                };
                match said {
                    Said::Done => {
                        lease.undone.remove(at);
                        lease.done.insert(place);
                    }
                    Said::NotReached => lease.undone[at].last = Some(Why::Failed),
                    Said::Failed | Said::Reported => {
                        lease.undone[at].tries += 1;
                        let why = if said == Said::Failed { Why::Failed } else { Why::Reported };
                        lease.undone[at].last = Some(why);
                    }
                }
            }
            if let Some(lease) = lease.filter(|lease| lease.carried_by == Some(call)) {
                lease.carried_by = None;
            }
        }
    }

    /// The member hands records to the destination. `wall_ms` is what its clock says.
    pub(crate) fn on_giving_up(
        &mut self,
        logs: &[Log],
        member: usize,
        call: u64,
        failure: &Failure,
        wall_ms: i64,
    ) -> Vec<Carried> {
        let carried = self.read(logs, &failure.event, member);
        for group in &carried {
            let log = &logs[group.partition];
            for &place in &group.places {
                self.justify(log, member, group.partition, place, Some(failure.condition), wall_ms);
            }
            if let Some(lease) = self.leases.get_mut(&(member, group.partition)) {
                lease.carried_by = Some(call);
            }
        }
        carried
    }

    /// Records may be given up when they were tried often enough, are too old, or too large.
    fn justify(
        &mut self,
        log: &Log,
        member: usize,
        partition: usize,
        place: usize,
        condition: Option<Condition>,
        wall_ms: i64,
    ) {
        const RULE: &str = "records are given up for a reason";
        let record = log.records[place];
        let offset = record.offset;
        let Some(lease) = self.leases.get(&(member, partition)) else {
            return self
                .fail(RULE, format!("[{partition}]@{offset} by member {member}, which does not have it"));
        };
        let undone = lease.undone.binary_search_by_key(&place, |undone| undone.place).ok();
        if undone.is_none() && (place < lease.cursor || lease.passed.contains(&place)) {
            return self.fail(RULE, format!("[{partition}]@{offset} was done already"));
        }
        let tries = undone.map_or(0, |at| lease.undone[at].tries);
        let rules = self.scenario.rules;
        let exhausted = rules.retries_max.is_some_and(|most| tries > most);
        let age_ms = wall_ms.saturating_sub(record.timestamp_ms);
        let old =
            rules.record_age_max.is_some_and(|most| i128::from(age_ms) > most.as_millis().cast_signed());
        let large = self.is_outsized(log, partition, place);
        // Once that is decided it stays so, though the clock may jump back.
        let condemned =
            self.leases.get(&(member, partition)).is_some_and(|lease| lease.condemned.contains(&place));
        let justified = condemned
            || match condition {
                Some(Condition::RetryAttemptsExhausted) => exhausted,
                Some(Condition::RecordAgeExceeded) => old,
                Some(Condition::MaximumPayloadSizeExceeded) => large,
                None => exhausted || old,
            };
        if let Some(lease) = self.leases.get_mut(&(member, partition)) {
            lease.condemned.insert(place);
        }
        if !justified {
            self.fail(
                RULE,
                format!("[{partition}]@{offset} after {tries} attempts, {age_ms} ms old ({condition:?})"),
            );
        }
    }

    /// The engine was told that the destination has the records.
    pub(crate) fn on_kept(&mut self, member: usize, call: u64, carried: &[Carried], taken: bool) {
        for group in carried {
            for &place in &group.places {
                if taken {
                    self.give_up(member, group.partition, place, Some(group.lease), Fate::Kept);
                }
            }
            if let Some(lease) =
                self.leases.get_mut(&(member, group.partition)).filter(|lease| lease.carried_by == Some(call))
            {
                lease.carried_by = None;
            }
        }
    }

    fn give_up(&mut self, member: usize, partition: usize, place: usize, number: Option<u64>, fate: Fate) {
        self.ledgers[partition].known[place].fate.get_or_insert(fate);
        let lease = self.leases.get_mut(&(member, partition));
        let Some(lease) = lease.filter(|lease| number.is_none_or(|number| lease.number == number)) else {
            return;
        };
        if let Ok(at) = lease.undone.binary_search_by_key(&place, |undone| undone.place) {
            lease.undone.remove(at);
            lease.done.insert(place);
        } else if place >= lease.cursor {
            lease.passed.insert(place);
        }
    }

    /// The engine says that it has given up what exists of `first..=last`.
    pub(crate) fn on_said_given_up(
        &mut self,
        log: &Log,
        member: usize,
        partition: usize,
        offsets: (i64, i64),
        kept: bool,
        wall_ms: i64,
    ) {
        let (first, last) = (log.place(offsets.0), log.place(offsets.1 + 1));
        for place in first..last {
            let offset = log.records[place].offset;
            // What lies between records of a batch and was never in it is meant by nobody.
            let lease = self.leases.get(&(member, partition));
            let at_hand = lease.is_some_and(|lease| lease.is_undone(place));
            let known = lease.is_some_and(|lease| lease.passed.contains(&place) || place < lease.cursor);
            if !at_hand && (known || self.is_exempt(log, partition, place)) {
                continue;
            }
            if !kept {
                self.justify(log, member, partition, place, None, wall_ms);
                self.give_up(member, partition, place, None, Fate::Dropped);
            } else if self.ledgers[partition].known[place].fate.is_none() {
                self.fail(
                    "nothing is lost",
                    format!(
                        "[{partition}]@{offset} is said to be at the destination, which has not taken it"
                    ),
                );
            }
        }
    }

    /// The engine says that what exists of `first..=last` was finished before it read the partition.
    pub(crate) fn on_said_resumed(
        &mut self,
        log: &Log,
        member: usize,
        partition: usize,
        offsets: (i64, i64),
    ) {
        let (first, last) = (log.place(offsets.0), log.place(offsets.1 + 1));
        for place in first..last {
            if self.is_exempt(log, partition, place) {
                continue;
            }
            let offset = log.records[place].offset;
            if self.ledgers[partition].known[place].fate.is_none() {
                self.fail(
                    "nothing is lost",
                    format!("[{partition}]@{offset} is said to be finished, and is not"),
                );
            }
            self.resumed += 1;
            if let Some(lease) = self.leases.get_mut(&(member, partition)) {
                lease.passed.insert(place);
            }
        }
    }

    /// Holds every byte of an event against what was produced.
    fn compare(&mut self, logs: &[Log], event: &Payload) {
        let mut bytes = Vec::new();
        event.write_to(&mut bytes);
        let records: Vec<_> = event
            .entries()
            .filter_map(|entry| {
                let partition = usize::try_from(entry.partition.0).ok()?;
                let Offset(offset) = entry.offset;
                let log = logs.get(partition)?;
                Some(log.records[log.find(offset)?].record(partition))
            })
            .collect();
        let expected = event_json(HEAD, &Topic::new(TOPIC), &records);
        let readable = serde_json::from_slice::<serde_json::Value>(&bytes).is_ok();
        if bytes.len() != event.len() || bytes != expected.as_bytes() || !readable {
            self.fail(
                "events say what was produced",
                format!(
                    "{} B of {} records differ from the {} B expected",
                    bytes.len(),
                    records.len(),
                    expected.len()
                ),
            );
        }
    }
}
