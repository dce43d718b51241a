//! Everything outside of the engine: time, the cluster, the function. One thread, one source of
//! chance, one agenda.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pelton::batch::Payload;
use pelton::source::SourceEvent;
use pelton::time::Nanos;

use super::checker::{Checker, End};
use super::function::Call;
use super::group::Group;
use super::log::Log;
use super::random::Random;
use super::scenario::{Faults, Scenario};
use super::tally::Tally;
use super::tamper::Tamper;
use super::trace::Trace;

/// The wall clock at the beginning: any moment will do.
const WALL_MS: i64 = 1_790_000_000_000;

/// In a run that is not broken on purpose. Reading an event takes longer than all the rest.
const IN_FULL_EVERY: u64 = 8;

/// The least that passes between two turns of a member.
const TURN: Duration = Duration::from_micros(1);

/// What the simulated sources and worlds share with the driver. Never locked while the engine runs
/// but by what it calls.
pub(crate) type Shared = Arc<Mutex<Universe>>;

/// Locks it. A panic of the engine is a finding, and must leave the rest readable.
pub(crate) fn lock(shared: &Shared) -> MutexGuard<'_, Universe> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A change of assignment, on its way to a member.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// These are its own now.
    Assigned(Vec<usize>),
    /// These are to be let go.
    Revoked(Vec<usize>, bool),
}

/// One process, as the cluster and the machine see it.
#[derive(Debug, Default)]
pub(crate) struct Member {
    /// Whether it runs.
    pub(crate) alive: bool,
    /// The generation that it has joined last.
    pub(crate) generation: u32,
    /// Not yet answered; the first was shown if `shown`.
    pub(crate) changes: VecDeque<Change>,
    /// See `changes`.
    pub(crate) shown: bool,
    /// Its client cannot go on: it commits nothing any more.
    pub(crate) broken: bool,
    /// It was put out of the group, and knows.
    pub(crate) joins_again: bool,
    /// What it may commit, as its client knows.
    pub(crate) owned: BTreeSet<usize>,
    /// What its client has to say, and from when on.
    pub(crate) news: Vec<(Nanos, SourceEvent)>,
    /// What it has under way.
    pub(crate) calls: Vec<Call>,
    /// When its next turn is due.
    pub(crate) wake_at: Nanos,
    /// It is not given a turn before.
    pub(crate) stalled_until: Nanos,
}

/// What the driver must do, because only it holds the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Kill it.
    Crash(usize),
    /// Ask it to drain and leave.
    Stop(usize),
    /// Start another.
    Start,
}

/// What the group has for a partition.
#[derive(Clone, Debug)]
pub(crate) struct Committed {
    /// The first offset that is not done.
    pub(crate) offset: i64,
    /// What was committed beside it.
    pub(crate) metadata: String,
}

/// Something that is to happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A record is written.
    Write,
    /// A partition is added.
    Grow,
    /// The group's coordinator looks what is to be done.
    Group,
    /// A commit reaches the coordinator.
    Commit(super::commits::Sent),
    /// A member whose session ended is put out of the group.
    Expire(usize),
    /// A member that was put out learns of it.
    Notice(usize),
    /// A member joins.
    Join(usize),
    /// The client lets go of an event's bytes.
    Free(Payload),
    /// Something goes wrong.
    Fault,
    /// Nothing goes wrong any more.
    Calm,
    /// For the driver.
    Order(Order),
}

#[derive(Debug)]
struct Planned {
    at: Nanos,
    number: u64,
    event: Event,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Universe {
    /// The present.
    pub(crate) now: Nanos,
    /// How far the wall clock has jumped, in milliseconds.
    pub(crate) wall_jump_ms: i64,
    /// Where all chance comes from.
    pub(crate) random: Random,
    /// What the run is.
    pub(crate) scenario: Scenario,
    /// What still goes wrong.
    pub(crate) faults: Faults,
    /// Whether the faults are over.
    pub(crate) calm: bool,
    /// The partitions.
    pub(crate) logs: Vec<Log>,
    /// Records still to be written.
    pub(crate) unwritten: u64,
    /// What the group has committed.
    pub(crate) committed: Vec<Option<Committed>>,
    /// Per partition the newest commit that was granted.
    pub(crate) granted: Vec<u64>,
    /// The group.
    pub(crate) group: Group,
    /// The processes, in the order of their start.
    pub(crate) members: Vec<Member>,
    /// For the driver.
    pub(crate) orders: VecDeque<Order>,
    /// Until when every invocation fails.
    pub(crate) function_out_until: Nanos,
    /// Until when every commit fails and nothing is read.
    pub(crate) broker_out_until: Nanos,
    /// The oracle.
    pub(crate) checker: Checker,
    /// One in so many events is held against what was produced, byte by byte.
    pub(crate) in_full_every: u64,
    /// What is broken on purpose.
    pub(crate) tamper: Option<Tamper>,
    /// For people.
    pub(crate) trace: Trace,
    /// For people, too.
    pub(crate) tally: Tally,
    agenda: BinaryHeap<Reverse<Planned>>,
    /// Numbers of things planned, sent and called.
    numbers: u64,
}

/// Notes something in a universe's trace.
macro_rules! note {
    ($universe:expr, $($words:tt)*) => {
        $universe.trace.note($universe.now, format_args!($($words)*))
    };
}
pub(super) use note;

impl Universe {
    /// The beginning of a run of `scenario`.
    #[must_use]
    pub(crate) fn new(scenario: &Scenario, tamper: Option<Tamper>, trace: bool) -> Self {
        let mut random = Random::new(scenario.seed);
        let log = |random: &mut Random| Log::new(if random.chance(300) { 1_000 } else { 0 });
        let mut universe = Self {
            now: Nanos::ZERO,
            wall_jump_ms: 0,
            logs: (0..scenario.partitions).map(|_| log(&mut random)).collect(),
            random,
            faults: scenario.faults,
            calm: false,
            unwritten: scenario.records,
            committed: vec![None; scenario.partitions],
            granted: vec![0; scenario.partitions],
            group: Group::new(scenario),
            members: Vec::new(),
            orders: VecDeque::new(),
            function_out_until: Nanos::ZERO,
            broker_out_until: Nanos::ZERO,
            checker: Checker::new(scenario),
            in_full_every: if tamper.is_some() { 1 } else { IN_FULL_EVERY },
            tamper,
            trace: Trace::new(trace),
            tally: Tally::default(),
            agenda: BinaryHeap::new(),
            numbers: 0,
            scenario: scenario.clone(),
        };
        for _ in 0..scenario.members_at_first {
            let after = universe.random.ms(0, 300);
            universe.plan(after, Event::Order(Order::Start));
        }
        for _ in scenario.partitions_at_first..scenario.partitions {
            let after = universe.random.ms(0, 4_000);
            universe.plan(after, Event::Grow);
        }
        if scenario.records > 0 {
            universe.plan(Duration::ZERO, Event::Write);
        }
        if !scenario.faults.every.is_zero() {
            universe.plan(scenario.faults.every, Event::Fault);
        }
        universe.plan(scenario.calm_at, Event::Calm);
        universe
    }

    /// A number that nothing else has.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// What the wall clock says.
    #[must_use]
    pub(crate) fn wall_ms(&self) -> i64 {
        WALL_MS + i64::try_from(self.now.0 / 1_000_000).unwrap_or(0) + self.wall_jump_ms
    }

    /// Whether something goes wrong that does so in `permille` of a thousand cases.
    pub(crate) fn goes_wrong(&mut self, permille: u32) -> bool {
        !self.calm && self.random.chance(permille)
    }

    /// Puts `event` on the agenda.
    pub(crate) fn plan(&mut self, after: Duration, event: Event) {
        let (at, number) = (self.now + after, self.number());
        self.agenda.push(Reverse(Planned { at, number, event }));
    }

    /// The member is to have a turn at `at`, or before.
    pub(crate) fn wake(&mut self, member: usize, at: Nanos) {
        // A turn takes time, so that what goes round in circles gets somewhere.
        let at = at.max(self.now + TURN);
        let member = &mut self.members[member];
        member.wake_at = member.wake_at.min(at.max(member.stalled_until));
    }

    /// When the next thing on the agenda is due.
    #[must_use]
    pub(crate) fn next_at(&self) -> Nanos {
        self.agenda.peek().map_or(Nanos::NEVER, |Reverse(planned)| planned.at)
    }

    /// Time passes, and what is due happens.
    pub(crate) fn advance_to(&mut self, at: Nanos) {
        while self.next_at() <= at {
            let Some(Reverse(planned)) = self.agenda.pop() else { break };
            self.now = self.now.max(planned.at);
            self.happen(planned.event);
        }
        self.now = self.now.max(at);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Write => self.write(),
            Event::Grow => self.grow(),
            Event::Group => self.coordinate(),
            Event::Commit(sent) => self.on_commit_arrived(&sent),
            Event::Expire(member) => self.expire(member),
            Event::Notice(member) => self.notice(member),
            Event::Join(member) => self.join(member),
            Event::Free(payload) => drop(payload),
            Event::Fault => self.fault(),
            Event::Calm => self.become_calm(),
            Event::Order(order) => self.orders.push_back(order),
        }
    }

    /// A producer writes a few records to one partition.
    fn write(&mut self) {
        let partition = self.random.place(self.group.visible);
        let count = self.random.pick(&[1, 1, 2, 5, 20]).min(self.unwritten);
        let timestamp_ms = self.wall_ms();
        for _ in 0..count {
            self.logs[partition].append(&self.scenario, timestamp_ms, &mut self.random);
            self.checker.on_written(partition);
        }
        self.unwritten -= count;
        note!(self, "write [{partition}] {count} records, the log ends at {}", self.logs[partition].end);
        if let Some(owner) = self.group.owner[partition] {
            let at = self.now + self.random.ms(0, 3);
            self.wake(owner, at);
        }
        if self.unwritten > 0 {
            let mean_us = u64::try_from(self.scenario.produce_for.as_micros()).unwrap_or(0) * 6
                / self.scenario.records.max(1);
            let after = Duration::from_micros(self.random.between(0, 2 * mean_us));
            self.plan(after, Event::Write);
        }
    }

    /// A process begins. Returns its number.
    pub(crate) fn start_member(&mut self) -> usize {
        self.members.push(Member { alive: true, wake_at: self.now, ..Member::default() });
        let member = self.members.len() - 1;
        let after = self.random.ms(0, 200);
        self.plan(after, Event::Join(member));
        note!(self, "member {member} starts");
        member
    }

    /// A process ends: killed, or after it has let everything go.
    pub(crate) fn end_member(&mut self, member: usize, end: End) {
        note!(self, "member {member} ends: {end:?}");
        let gone = &mut self.members[member];
        gone.alive = false;
        gone.wake_at = Nanos::NEVER;
        gone.calls.clear();
        gone.news.clear();
        gone.changes.clear();
        for partition in 0..self.logs.len() {
            if self.members[member].broken {
                self.checker.on_commit_failed(member, partition);
            }
            let committed = self.committed_or_first(partition);
            self.checker.on_ended(&self.logs[partition], member, partition, committed, end);
        }
        match end {
            End::Crash => {
                let after = self.scenario.session_timeout;
                self.plan(after, Event::Expire(member));
            }
            End::Lost | End::Released => self.leave_group(member),
        }
    }

    /// Another process takes the place of one that has ended, after a while.
    pub(crate) fn plan_restart(&mut self) {
        let after = self.random.ms(50, 4_000);
        self.plan(after, Event::Order(Order::Start));
    }

    /// The member sleeps: what it waits for ends that.
    pub(crate) fn wake_for_answers(&mut self, index: usize) {
        let member = &self.members[index];
        let news = member.news.iter().map(|(at, _)| *at);
        if let Some(at) = member.calls.iter().map(Call::at).chain(news).min() {
            self.wake(index, at);
        }
    }

    /// The group's offset of `partition`.
    pub(crate) fn committed_offset(&self, partition: usize) -> Option<i64> {
        self.committed[partition].as_ref().map(|committed| committed.offset)
    }

    /// What a reader of `partition` would begin with.
    #[must_use]
    pub(crate) fn committed_or_first(&self, partition: usize) -> i64 {
        self.committed_offset(partition).unwrap_or(0).max(self.logs[partition].first)
    }

    /// Whether everything was written, everything is done, and all of that is committed.
    pub(crate) fn is_finished(&mut self) -> bool {
        if !self.calm || self.unwritten > 0 || self.group.visible < self.logs.len() {
            return false;
        }
        (0..self.logs.len()).all(|partition| {
            let log = &self.logs[partition];
            let last = log.records.iter().rev().find(|record| !record.deleted);
            let committed = self.committed_offset(partition).unwrap_or(0).max(log.first);
            last.is_none_or(|last| committed > last.offset) && self.checker.is_all_done(log, partition)
        })
    }
}
