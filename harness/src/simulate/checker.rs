//! The oracle: what every step must leave true, written without the engine's own bookkeeping.
//!
//! It stands on the far side of the engine's two seams, [`Source`](pelton::source::Source) and
//! [`World`](pelton::pipeline::World), and sees what goes through them: partitions given and let go,
//! events sent, answers taken, offsets committed. From that it keeps, record by record, what became
//! of it ([`Fate`]), and per *lease* (a partition while one member has it) what was handed over and is
//! not done. It holds:
//!
//! 1. **Nothing is lost.** A lease passes no record without delivering it, unless that was filtered
//!    out, was deleted from the log, is too large for any event, or was given up.
//! 2. **Order.** The records of a lease are first delivered in ascending order, one invocation at a
//!    time, and never while an earlier record of the lease is undone and not in the same event.
//! 3. **Commits.** No commit passes a record that is not done; none is made for a partition that is
//!    not held; the group's offset only goes back when an older commit overtakes a newer one.
//! 4. **Duplicates** each have a [`Why`].
//! 5. **Giving up** happens after as many attempts as the mapping allows and no fewer, or for age.
//! 6. **Events** hold at most `batch_size` records and the payload limit's bytes, and say what was
//!    produced, byte by byte.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::log::Log;
use super::scenario::Scenario;

/// What became of a record, once and for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The function took it, and the engine was told.
    Delivered,
    /// It was given up, and the destination has it.
    Kept,
    /// It was given up, and there is no destination.
    Dropped,
}

/// Why a record is delivered once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The attempt before failed, timed out, or did not reach the function.
    Failed,
    /// The function reported it as failed.
    Reported,
    /// Its member crashed.
    Crash,
    /// Its partition was taken away without asking.
    Lost,
    /// Its partition moved while it was undone.
    Undone,
    /// It was done, but the partition moved while an earlier record was not.
    Behind,
    /// Its partition moved, and the commit before that was refused, lost or too late.
    Commit,
    /// An older commit overtook the one that covered it.
    Overtaken,
}

impl Why {
    /// All of them, for tables.
    pub const ALL: [Self; 8] = [
        Self::Failed,
        Self::Reported,
        Self::Crash,
        Self::Lost,
        Self::Undone,
        Self::Behind,
        Self::Commit,
        Self::Overtaken,
    ];

    /// For tables.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Failed => "failed_attempt",
            Self::Reported => "reported_failed",
            Self::Crash => "crash",
            Self::Lost => "lost_partition",
            Self::Undone => "moved_undone",
            Self::Behind => "done_behind_undone",
            Self::Commit => "commit_failed",
            Self::Overtaken => "commit_overtaken",
        }
    }
}

/// With so much metadata there is room for all that a simulated member can have finished beyond a
/// commit.
const METADATA_BYTES: usize = 4_096;

/// What must never happen, and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: &'static str,
    /// What was seen.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.detail)
    }
}

/// What is known of one record.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) fate: Option<Fate>,
    pub(super) deliveries: u32,
    /// What explains the next delivery by another lease.
    pub(super) why: Option<Why>,
}

/// A record that was handed over, and is not done.
#[derive(Clone, Debug)]
pub(super) struct Undone {
    pub(super) place: usize,
    /// Attempts that reached the function.
    pub(super) tries: u32,
    /// How the last attempt ended; `None` while one runs.
    pub(super) last: Option<Why>,
}

/// A partition while one member has it.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) number: u64,
    pub(super) start: i64,
    /// Everything before this place was delivered, or need not be.
    pub(super) cursor: usize,
    /// Ascending.
    pub(super) undone: Vec<Undone>,
    /// Done, and not known to be committed.
    pub(super) done: BTreeSet<usize>,
    /// Done without having been delivered by this lease: given up, or finished before it began.
    pub(super) passed: BTreeSet<usize>,
    /// To be given up, until the destination has it.
    pub(super) condemned: BTreeSet<usize>,
    /// The invocation or failure under way that carries it.
    pub(super) carried_by: Option<u64>,
    /// Taken away, and the member does not know.
    pub(super) lost: bool,
    /// A commit for it was refused, or its answer is not known.
    pub(super) commit_failed: bool,
}

impl Lease {
    /// Whether the record was handed over and is not done.
    pub(super) fn is_undone(&self, place: usize) -> bool {
        self.undone.binary_search_by_key(&place, |undone| undone.place).is_ok()
    }
}

/// How a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The member died.
    Crash,
    /// The group took it.
    Lost,
    /// The member let it go.
    Released,
}

/// One partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) known: Vec<Known>,
    /// Everything before this place is done.
    pub(super) first_undone: usize,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Checker {
    pub(super) scenario: Scenario,
    pub(super) ledgers: Vec<Ledger>,
    /// By member and partition.
    pub(super) leases: BTreeMap<(usize, usize), Lease>,
    pub(super) leases_made: u64,
    pub(super) violation: Option<Violation>,
    /// Duplicates by [`Why`].
    pub duplicates: [u64; Why::ALL.len()],
    /// Records delivered, each delivery counted.
    pub deliveries: u64,
    /// Records that were not delivered again because a commit's metadata said so.
    pub resumed: u64,
    /// Sizes of records that are near the limit, by what they are made of.
    pub(super) outsized: BTreeMap<(usize, i64), bool>,
}

impl Checker {
    /// A checker of runs of `scenario`.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            scenario: scenario.clone(),
            ledgers: vec![Ledger::default(); scenario.partitions],
            leases: BTreeMap::new(),
            leases_made: 0,
            violation: None,
            duplicates: [0; Why::ALL.len()],
            deliveries: 0,
            resumed: 0,
            outsized: BTreeMap::new(),
        }
    }

    /// The first thing that went wrong, if anything has.
    #[must_use]
    pub const fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Something went wrong. Only the first is kept: the others follow from it.
    pub fn fail(&mut self, rule: &'static str, detail: impl fmt::Display) {
        if self.violation.is_none() {
            self.violation = Some(Violation { rule, detail: detail.to_string() });
        }
    }

    /// A record was written to `partition`.
    pub fn on_written(&mut self, partition: usize) {
        self.ledgers[partition].known.push(Known::default());
    }

    /// Whether the record may be passed without being delivered, whoever passes it.
    pub(super) fn is_exempt(&mut self, log: &Log, partition: usize, place: usize) -> bool {
        let record = &log.records[place];
        record.deleted
            || self.scenario.filter && !record.is_kept()
            || !self.scenario.destination && self.is_outsized(log, partition, place)
    }

    /// What became of a record so far.
    #[must_use]
    pub(super) fn fate(&self, partition: usize, place: usize) -> Option<Fate> {
        self.ledgers[partition].known[place].fate
    }

    /// How many records came to `fate`.
    #[must_use]
    pub fn count(&self, fate: Fate) -> u64 {
        let known = self.ledgers.iter().flat_map(|ledger| &ledger.known);
        known.filter(|known| known.fate == Some(fate)).count() as u64
    }

    fn is_done(&mut self, log: &Log, partition: usize, place: usize) -> bool {
        self.ledgers[partition].known[place].fate.is_some() || self.is_exempt(log, partition, place)
    }

    /// Whether all of `partition` is done.
    pub(crate) fn is_all_done(&mut self, log: &Log, partition: usize) -> bool {
        self.first_undone(log, partition) >= log.end
    }

    /// The first offset of `partition` that is not done; the log's end if all is.
    pub(crate) fn first_undone(&mut self, log: &Log, partition: usize) -> i64 {
        let mut place = self.ledgers[partition].first_undone;
        while place < log.records.len() && self.is_done(log, partition, place) {
            place += 1;
        }
        self.ledgers[partition].first_undone = place;
        log.records.get(place).map_or(log.end, |record| record.offset)
    }

    /// A member was given `partition`, and reads it from `start`.
    pub(crate) fn on_assigned(
        &mut self,
        log: &Log,
        member: usize,
        partition: usize,
        start: i64,
        committed: Option<i64>,
    ) {
        if self.leases.contains_key(&(member, partition)) {
            return self.fail("a partition is given once", format!("{partition} to member {member} twice"));
        }
        let undone = self.first_undone(log, partition);
        if start > undone {
            self.fail(
                "nothing is lost",
                format!("[{partition}] begins at {start}, but {undone} is not done"),
            );
        }
        if committed.is_none_or(|committed| committed < start) {
            // What lies before was deleted, and the metadata of a commit says nothing about any
            // other offset: what was finished beyond is not known.
            let first = log.place(start);
            for known in
                self.ledgers[partition].known[first..].iter_mut().filter(|known| known.fate.is_some())
            {
                known.why.get_or_insert(Why::Behind);
            }
        }
        self.leases_made += 1;
        let lease = Lease {
            number: self.leases_made,
            start,
            cursor: log.place(start),
            undone: Vec::new(),
            done: BTreeSet::new(),
            passed: BTreeSet::new(),
            condemned: BTreeSet::new(),
            carried_by: None,
            lost: false,
            commit_failed: false,
        };
        self.leases.insert((member, partition), lease);
    }

    /// The member reads `partition` with another of its pollers from now on. It has it as before: what
    /// is done is not delivered again, and what follows is not passed.
    pub(crate) fn on_moved(&mut self, log: &Log, member: usize, partition: usize) {
        const RULE: &str = "a partition moves when all of it is done";
        let Some(lease) = self.leases.get(&(member, partition)) else {
            return self.fail(RULE, format!("[{partition}] is not held by member {member}"));
        };
        if let Some(call) = lease.carried_by {
            return self.fail(RULE, format!("[{partition}] is under way as call {call}"));
        }
        if let Some(undone) = lease.undone.first() {
            let undone = log.records[undone.place].offset;
            self.fail(RULE, format!("[{partition}]@{undone} was delivered and is not done"));
        }
    }

    /// The group has given `partition` away, which the member does not know yet.
    pub(crate) fn on_lost(&mut self, log: &Log, member: usize, partition: usize, committed: i64) {
        self.explain(log, member, partition, committed, End::Lost);
        if let Some(lease) = self.leases.get_mut(&(member, partition)) {
            lease.lost = true;
        }
    }

    /// The member has let `partition` go, or is no more.
    pub(crate) fn on_ended(&mut self, log: &Log, member: usize, partition: usize, committed: i64, end: End) {
        self.explain(log, member, partition, committed, end);
        self.leases.remove(&(member, partition));
    }

    /// Says of the records of a lease why they may be delivered again by the next.
    fn explain(&mut self, log: &Log, member: usize, partition: usize, committed: i64, end: End) {
        let Some(lease) = self.leases.get(&(member, partition)) else { return };
        let end = if lease.lost && end == End::Released { End::Lost } else { end };
        let known = &mut self.ledgers[partition].known;
        for undone in &lease.undone {
            known[undone.place].why = Some(match end {
                End::Crash => Why::Crash,
                End::Lost => Why::Lost,
                End::Released => Why::Undone,
            });
        }
        let remembered = self.scenario.commit_metadata && self.scenario.metadata_bytes_max >= METADATA_BYTES;
        // A record that was passed over for its age stands in the way like one that is undone.
        let stuck = lease.undone.first().map_or(lease.cursor, |undone| undone.place);
        for &place in lease.done.iter().filter(|place| log.records[**place].offset >= committed) {
            known[place].why = match end {
                End::Crash => Some(Why::Crash),
                End::Lost => Some(Why::Lost),
                End::Released if lease.commit_failed => Some(Why::Commit),
                // Unless the commit's metadata says so.
                End::Released if place > stuck && !remembered => Some(Why::Behind),
                // Done, committable, and not committed though nothing stood in the way: another
                // delivery of it has no excuse.
                End::Released => known[place].why,
            };
        }
    }

    /// The member asks for `partition` to be committed up to `offset`.
    pub(crate) fn on_commit(&mut self, log: &Log, member: usize, partition: usize, offset: i64) {
        const RULE: &str = "a commit never passes an undone record";
        let Some(lease) = self.leases.get(&(member, partition)) else {
            return self.fail(
                "only what is held is committed",
                format!("[{partition}]@{offset} by member {member}, which does not have it"),
            );
        };
        let (start, cursor) = (lease.start, lease.cursor);
        let undone = lease.undone.first().map(|undone| log.records[undone.place].offset);
        let passed = lease.passed.clone();
        if let Some(undone) = undone.filter(|undone| offset > *undone) {
            self.fail(RULE, format!("[{partition}]@{offset} by member {member}, but {undone} is not done"));
        }
        if offset < start || offset > log.end {
            self.fail(
                RULE,
                format!(
                    "[{partition}]@{offset} by member {member}: it reads from {start}, the log ends at {}",
                    log.end
                ),
            );
        }
        for place in cursor..log.place(offset) {
            if !passed.contains(&place) && !self.is_exempt(log, partition, place) {
                let passed = log.records[place].offset;
                return self.fail(
                    RULE,
                    format!(
                        "[{partition}]@{offset} by member {member}, but {passed} was never delivered by it"
                    ),
                );
            }
        }
    }

    /// The group's offset of `partition` is now `offset`, and was `before`.
    pub(crate) fn on_committed(
        &mut self,
        log: &Log,
        partition: usize,
        before: i64,
        offset: i64,
        overtaken: bool,
    ) {
        let undone = self.first_undone(log, partition);
        if offset > undone {
            self.fail(
                "a commit never passes an undone record",
                format!("[{partition}] is committed at {offset}, but {undone} is not done"),
            );
        }
        if offset < before && !overtaken {
            self.fail("commits go forward", format!("[{partition}] went from {before} back to {offset}"));
        }
        if overtaken {
            // It says less of what was finished beyond it, too.
            let first = log.place(offset);
            for known in
                self.ledgers[partition].known[first..].iter_mut().filter(|known| known.fate.is_some())
            {
                known.why.get_or_insert(Why::Overtaken);
            }
        }
        for lease in self.leases.iter_mut().filter(|((_, of), _)| *of == partition).map(|(_, lease)| lease) {
            while lease.done.first().is_some_and(|place| log.records[*place].offset < offset) {
                lease.done.pop_first();
            }
        }
    }

    /// A commit for `partition` was refused, or its answer never came.
    pub fn on_commit_failed(&mut self, member: usize, partition: usize) {
        if let Some(lease) = self.leases.get_mut(&(member, partition)) {
            lease.commit_failed = true;
        }
    }

    /// A commit for it was granted: what it holds needs no excuse any more.
    pub fn on_commit_granted(&mut self, member: usize, partition: usize) {
        if let Some(lease) = self.leases.get_mut(&(member, partition)) {
            lease.commit_failed = false;
        }
    }

    /// A member's batches cost so many bytes now.
    pub fn on_memory(&mut self, member: usize, touched: usize, budget: usize, buffers: usize) {
        // A record above the budget that goes to the destination has a buffer to itself.
        let alone = self.scenario.destination && buffers == 1;
        if touched > budget && !alone {
            self.fail(
                "memory stays within its budget",
                format!("member {member} has {touched} B in {buffers} buffers, the budget is {budget} B"),
            );
        }
    }
}
