//! The cluster as a member's client shows it to the engine.

use std::sync::Arc;
use std::time::Duration;

use pelton::ids::{Offset, Partition};
use pelton::record::RecordRef;
use pelton::source::{Commit, CommitMode, RecordQueue, Reroute, Source, SourceError, SourceEvent, Start};

use super::checker::End;
use super::log::number;
use super::tamper::Tamper;
use super::universe::{Change, Shared, Universe, lock, note};

/// A simulated client.
#[derive(Debug)]
pub(crate) struct SimSource {
    universe: Shared,
    member: usize,
    queues: Vec<SimQueue>,
}

/// What waits for one poller.
#[derive(Debug)]
pub(crate) struct SimQueue {
    universe: Shared,
    member: usize,
    positions: Vec<Position>,
    pending: Vec<RecordRef<'static>>,
    taken: usize,
}

#[derive(Clone, Copy, Debug)]
struct Position {
    partition: usize,
    next: i64,
}

impl SimSource {
    /// The client of `member`, with a queue for each poller.
    #[must_use]
    pub(crate) fn new(universe: &Shared, member: usize, pollers: usize) -> Self {
        let queue = |_| SimQueue {
            universe: Arc::clone(universe),
            member,
            positions: Vec::new(),
            pending: Vec::new(),
            taken: 0,
        };
        Self { universe: Arc::clone(universe), member, queues: (0..pollers).map(queue).collect() }
    }
}

fn place(partition: Partition) -> usize {
    usize::try_from(partition.0).unwrap_or(usize::MAX)
}

impl Universe {
    fn serve(&mut self, index: usize, events: &mut Vec<SourceEvent>) {
        let now = self.now;
        let member = &mut self.members[index];
        let mut at = 0;
        while at < member.news.len() {
            if member.news[at].0 <= now {
                events.push(member.news.remove(at).1);
            } else {
                at += 1;
            }
        }
        self.tell_ends(index, events);
        let member = &mut self.members[index];
        if member.shown {
            return;
        }
        let Some(change) = member.changes.front() else { return };
        member.shown = true;
        let numbers = |partitions: &[usize]| partitions.iter().copied().map(number).collect();
        events.push(match change {
            Change::Assigned(partitions) => SourceEvent::Assigned(numbers(partitions)),
            Change::Revoked(partitions, lost) => {
                SourceEvent::Revoked { partitions: numbers(partitions), lost: *lost }
            }
        });
    }

    /// The client's statistics come, now and then. Only a scaler looks at them.
    fn tell_ends(&mut self, index: usize, events: &mut Vec<SourceEvent>) {
        if self.scenario.scaling.is_none() || !self.random.chance(200) {
            return;
        }
        events.extend(self.members[index].owned.iter().map(|&partition| SourceEvent::Lag {
            partition: number(partition),
            end: Offset(self.logs[partition].end),
        }));
    }

    /// Whether what is being assigned has been taken back already.
    fn is_superseded(&self, index: usize) -> bool {
        let mut changes = self.members[index].changes.iter();
        let Some(Change::Assigned(given)) = changes.next() else { return false };
        !given.is_empty()
            && changes.any(|change| {
                matches!(change, Change::Revoked(taken, _) if given.iter().all(|one| taken.contains(one)))
            })
    }

    fn answered(&mut self, index: usize) -> Option<Change> {
        let member = &mut self.members[index];
        member.shown = false;
        let change = member.changes.pop_front();
        if !member.changes.is_empty() {
            self.wake(index, self.now);
        }
        self.join_when_empty(index);
        change
    }

    fn start(&mut self, index: usize, partition: usize) -> Start {
        let committed = self.committed_offset(partition);
        let metadata = self.committed[partition].as_ref().map(|one| one.metadata.clone()).unwrap_or_default();
        let mut offset = self.committed_or_first(partition);
        if committed == Some(offset)
            && self.was_delivered(partition, offset - 1)
            && self.breaks(Tamper::ReadAgain)
        {
            offset -= 1;
        }
        note!(self, "member {index} reads [{partition}] from {offset}");
        self.checker.on_assigned(&self.logs[partition], index, partition, offset, committed);
        if self.group.owner[partition] != Some(index) {
            // Given away meanwhile, and its client does not know yet.
            self.checker.on_lost(&self.logs[partition], index, partition, offset);
        }
        self.members[index].owned.insert(partition);
        Start {
            partition: number(partition),
            offset: Offset(offset),
            committed: committed.map(Offset),
            metadata,
        }
    }
}

impl Universe {
    /// A member moves a partition to another of its pollers. Returns from where that reads it.
    fn moved_to(&mut self, index: usize, partition: usize, offset: i64) -> i64 {
        self.tally.moves += 1;
        self.checker.on_moved(&self.logs[partition], index, partition);
        let log = &self.logs[partition];
        // A record must be there to be passed.
        let passed = log.find(offset).filter(|place| !self.checker.is_exempt(log, partition, *place));
        offset + i64::from(passed.is_some() && self.breaks(Tamper::MoveAhead))
    }
}

impl Source for SimSource {
    type Queue = SimQueue;

    fn serve(&mut self, events: &mut Vec<SourceEvent>) {
        lock(&self.universe).serve(self.member, events);
    }

    fn queue(&mut self, poller: usize) -> &mut SimQueue {
        &mut self.queues[poller]
    }

    fn assign(&mut self, routes: &[(Partition, usize)], starts: &mut Vec<Start>) -> Result<(), SourceError> {
        let universe = &mut *lock(&self.universe);
        let passes = universe.random.ms(0, 3);
        universe.advance_to(universe.now + passes);
        if universe.is_superseded(self.member) {
            note!(universe, "member {} is given what was taken back", self.member);
            universe.answered(self.member);
            return Ok(());
        }
        let out = universe.now < universe.broker_out_until;
        if out || universe.goes_wrong(universe.faults.assign) {
            universe.tally.fault("assignment_refused");
            note!(universe, "member {} does not find its offsets", self.member);
            let reason = "simulated: offsets not found".to_owned();
            return Err(SourceError::Client { action: "taking partitions", reason });
        }
        for &(partition, poller) in routes {
            let start = universe.start(self.member, place(partition));
            let position = Position { partition: place(partition), next: start.offset.0 };
            self.queues[poller].positions.push(position);
            starts.push(start);
        }
        universe.answered(self.member);
        universe.wake(self.member, universe.now);
        Ok(())
    }

    fn release(&mut self, partitions: &[Partition]) -> Result<(), SourceError> {
        let universe = &mut *lock(&self.universe);
        let places: Vec<usize> = partitions.iter().copied().map(place).collect();
        let Some(Change::Revoked(asked, lost)) = universe.answered(self.member) else {
            universe.checker.fail("the source is called in order", "a release that was not asked for");
            return Ok(());
        };
        note!(universe, "member {} lets {places:?} go", self.member);
        if asked != places {
            universe
                .checker
                .fail("the source is called in order", format!("{places:?} released, {asked:?} asked for"));
        }
        let end = if lost { End::Lost } else { End::Released };
        for &partition in &places {
            let committed = universe.committed_or_first(partition);
            universe.checker.on_ended(&universe.logs[partition], self.member, partition, committed, end);
            universe.members[self.member].owned.remove(&partition);
            for queue in &mut self.queues {
                queue.positions.retain(|position| position.partition != partition);
            }
        }
        if !lost {
            universe.on_released(self.member, &places);
        }
        Ok(())
    }

    const REROUTES: bool = true;

    fn reroute(&mut self, routes: &[Reroute]) -> Result<(), SourceError> {
        let universe = &mut *lock(&self.universe);
        for queue in &mut self.queues {
            for route in routes {
                queue.discard(route.partition);
                queue.positions.retain(|position| position.partition != place(route.partition));
            }
        }
        let owned = &universe.members[self.member].owned;
        let gone = routes.iter().any(|route| !owned.contains(&place(route.partition)));
        if gone || universe.goes_wrong(universe.faults.assign) {
            universe.tally.fault("move_refused");
            note!(universe, "member {} cannot move {routes:?}", self.member);
            let reason = "simulated: not moved".to_owned();
            return Err(SourceError::Client { action: "moving partitions", reason });
        }
        for &Reroute { partition, poller, offset } in routes {
            let partition = place(partition);
            let next = universe.moved_to(self.member, partition, offset.0);
            note!(universe, "member {} reads [{partition}] with poller {poller} from {next}", self.member);
            self.queues[poller].positions.push(Position { partition, next });
        }
        universe.wake(self.member, universe.now);
        Ok(())
    }

    fn commit(&mut self, commits: &[Commit], mode: CommitMode) -> Result<(), SourceError> {
        lock(&self.universe).commit(self.member, commits, mode)
    }

    fn close(self, _deadline: Duration) {
        lock(&self.universe).end_member(self.member, End::Released);
    }
}

impl SimQueue {
    /// Takes a run of one partition's records.
    fn fetch(&mut self, universe: &mut Universe, at: usize, records_max: usize) {
        let Position { partition, next } = self.positions[at];
        let log = &universe.logs[partition];
        let (from, mut next) = (log.place(next.max(log.first)), next);
        let most = records_max.min(universe.random.pick(&[1, 3, 20, 200]));
        for place in from..log.records.len() {
            if self.pending.len() >= most + self.taken {
                break;
            }
            let stored = log.records[place];
            next = stored.offset + 1;
            if !stored.deleted {
                self.pending.push(stored.record(partition));
            }
        }
        self.positions[at].next = next;
    }

    /// What a broken client would do.
    fn tamper(&mut self, universe: &mut Universe) {
        if self.pending.len() < 3 {
            return;
        }
        let middle = self.pending.len() / 2;
        // A tombstone is delivered whatever the filter, so that it is missed.
        let tombstone = self.pending.iter().position(|record| record.value.is_none());
        let lost = tombstone.filter(|at| at + 1 < self.pending.len());
        if let Some(at) = lost.filter(|_| universe.breaks(Tamper::LoseRecord)) {
            self.pending.remove(at);
        } else if universe.breaks(Tamper::OtherBytes) {
            self.pending[middle].value = Some(b"another");
        } else if self.pending[0].partition == self.pending[1].partition && universe.breaks(Tamper::Reorder) {
            self.pending.swap(0, 1);
        }
    }
}

impl RecordQueue for SimQueue {
    type Record = RecordRef<'static>;

    fn read(&mut self, records_max: usize) -> usize {
        let shared = Arc::clone(&self.universe);
        let universe = &mut *lock(&shared);
        if !self.pending().is_empty() {
            universe.checker.fail("the source is called in order", "a read while records are pending");
        }
        self.pending.clear();
        self.taken = 0;
        if self.positions.is_empty() {
            return 0;
        }
        let out = universe.now < universe.broker_out_until;
        if out || universe.goes_wrong(universe.faults.read) {
            universe.tally.fault("read_empty");
            let at = universe.now + universe.random.ms(1, 60);
            universe.wake(self.member, at);
            return 0;
        }
        let first = universe.random.place(self.positions.len());
        for turn in 0..self.positions.len() {
            if self.pending.len() < records_max {
                let at = (first + turn) % self.positions.len();
                self.fetch(universe, at, records_max);
            }
        }
        if universe.tamper.is_some() {
            self.tamper(universe);
        }
        self.pending.len()
    }

    fn pending(&self) -> &[RecordRef<'static>] {
        &self.pending[self.taken..]
    }

    fn advance(&mut self, records: usize) {
        self.taken += records;
        assert!(self.taken <= self.pending.len(), "advanced past the end");
    }

    fn discard(&mut self, partition: Partition) {
        self.pending.drain(..self.taken);
        self.taken = 0;
        self.pending.retain(|record| record.partition != partition);
    }

    fn take_reached(&mut self, reached: &mut Vec<(Partition, Offset)>) {
        let universe = &mut *lock(&self.universe);
        for position in &mut self.positions {
            let log = &universe.logs[position.partition];
            let rest = &log.records[log.place(position.next)..];
            if log.end > position.next && rest.iter().all(|record| record.deleted) {
                // The client hears of it later, now and then.
                if universe.random.chance(300) {
                    continue;
                }
                position.next = universe.logs[position.partition].end;
                reached.push((number(position.partition), Offset(position.next)));
            }
        }
    }
}
