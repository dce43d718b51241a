//! The hot loop: records from the queue into the open batch, batches to the function, one at a
//! time.
//!
//! A poller holds at most three batches: one in flight, one sealed and ready to follow, and, while
//! nothing is ready, one open. The next batch therefore fills and is encoded during the flight,
//! and a function that answers is given it at once. When one is ready the poller stops reading;
//! that is all the back-pressure there is.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::{FlushCause, OpenBatch, Payload, Run, SealedBatch, Stop};
use crate::commit::CommitError;
use crate::deliver::{Delivery, Outcome, Plan};
use crate::ids::{Offset, Partition, Slot, Topic};
use crate::payload::Pool;
use crate::record::Record;
use crate::source::RecordQueue;
use crate::telemetry::{Count, ErrorKind, Writer};
use crate::time::{Clock, Nanos, wall_ms};

use super::dispatch::{Answer, Dispatch};
use super::partitions::Partitions;
use super::{BatchTrace, EngineSettings, Observer, Oversized};

/// Records asked of the queue at once: enough to make its cost per record vanish, few enough that
/// their messages stay in cache.
const READ_RECORDS: usize = 1000;
/// Records a poller takes before its thread looks after the others and the client.
const TURN_RECORDS: usize = 10_000;

/// What a poller works with on its thread.
pub(super) struct Bench<'a> {
    pub(super) settings: &'a EngineSettings,
    pub(super) clock: Clock,
    pub(super) pool: &'a mut Pool,
    pub(super) dispatch: &'a Dispatch,
    pub(super) counters: &'a Writer,
    pub(super) observer: Option<&'a dyn Observer>,
}

/// A batch that is sealed, or in flight.
#[derive(Debug)]
struct Parcel {
    batch: SealedBatch,
    /// What of the batch is to be delivered: all of it, less what was revoked meanwhile.
    payload: Payload,
    /// Which runs that is, by their records' positions; `None` for all.
    kept: Option<Vec<Range<u32>>>,
    encode: Duration,
}

impl Parcel {
    /// The runs that are to be delivered.
    fn runs(&self) -> impl Iterator<Item = &Run> {
        kept_runs(&self.batch, self.kept.as_deref())
    }
}

#[derive(Debug)]
struct Flight {
    parcel: Parcel,
    delivery: Delivery,
    handed_at: Nanos,
    /// When the first invocation began; known with its answer.
    sent_at: Option<Nanos>,
    /// `None` while an invocation runs, else when the next one is due.
    retry_at: Option<Nanos>,
}

/// One poller: a set of partitions, one open batch, at most one invocation in flight.
#[derive(Debug)]
pub(super) struct Poller {
    /// Within its thread: names its lane and its queue.
    number: usize,
    /// Over all threads, for people.
    name: usize,
    pub(super) partitions: Partitions,
    open: Option<OpenBatch>,
    /// Time spent writing the open batch.
    encode: Duration,
    ready: Option<Parcel>,
    flight: Option<Flight>,
    /// Stopped before a record that no payload can hold.
    blocked: bool,
    /// The last read was cut short because no buffer was free.
    starved: bool,
    reached: Vec<(Partition, Offset)>,
    /// Partitions whose log began anew, for the thread's commits.
    pub(super) rewound: Vec<(Partition, Offset)>,
    seed: u64,
}

impl Poller {
    pub(super) fn new(number: usize, name: usize) -> Self {
        Self {
            number,
            name,
            partitions: Partitions::default(),
            open: None,
            encode: Duration::ZERO,
            ready: None,
            flight: None,
            blocked: false,
            starved: false,
            reached: Vec::new(),
            rewound: Vec::new(),
            // Any spread will do: the seed only keeps pollers from retrying in step.
            seed: (name as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }

    /// One turn: retries what is due, reads and encodes, hands over. Returns whether anything
    /// moved, in which case another turn is due at once.
    pub(super) fn turn<Q: RecordQueue>(
        &mut self,
        queue: &mut Q,
        reading: bool,
        bench: &mut Bench<'_>,
    ) -> bool {
        let mut moved = self.retry(bench);
        if reading {
            moved |= self.fill(queue, bench);
        }
        if self.ready.is_none() && self.flight.is_none() {
            let now = bench.clock.now();
            if let Some(cause) = self.open.as_mut().and_then(|open| open.due(now)) {
                self.seal(cause, bench);
                moved = true;
            }
        }
        self.launch(bench);
        moved
    }

    /// When the next turn is due though nothing arrives. `None`: not before something arrives.
    pub(super) fn deadline(&self) -> Option<Nanos> {
        let retry = self.flight.as_ref().and_then(|flight| flight.retry_at);
        let window = self.open.as_ref().filter(|_| self.flight.is_none() && self.ready.is_none());
        let window = window.and_then(OpenBatch::deadline);
        match (retry, window) {
            (Some(retry), Some(window)) => Some(retry.min(window)),
            (retry, window) => retry.or(window),
        }
    }

    /// Whether the poller waits for a free buffer.
    pub(super) fn is_starved(&self) -> bool {
        self.starved
    }

    /// Whether an invocation is running.
    pub(super) fn is_in_flight(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.retry_at.is_none())
    }

    /// Whether nothing is left to deliver.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_none() && self.ready.is_none() && self.flight.is_none()
    }

    fn retry(&mut self, bench: &Bench<'_>) -> bool {
        let Some(flight) = self.flight.as_mut() else { return false };
        let Some(at) = flight.retry_at else { return false };
        if bench.clock.now() < at {
            return false;
        }
        flight.retry_at = None;
        bench.counters.records(Count::Invoked, u64::from(flight.parcel.payload.records()));
        bench.dispatch.hand_over(self.number, flight.parcel.payload.clone());
        true
    }

    /// Reads until the queue is empty, a batch is ready behind the one in flight, or the turn is
    /// over.
    fn fill<Q: RecordQueue>(&mut self, queue: &mut Q, bench: &mut Bench<'_>) -> bool {
        self.starved = false;
        let (mut taken, mut reached) = (0, false);
        while self.ready.is_none() && !self.blocked && taken < TURN_RECORDS {
            if queue.pending().is_empty() {
                reached |= self.note_reached(queue);
                if queue.read(READ_RECORDS) == 0 {
                    reached |= self.note_reached(queue);
                    break;
                }
            }
            let before = queue.pending().len();
            let began = bench.clock.now();
            let full = self.take(queue, began, bench);
            let ended = bench.clock.now();
            self.encode += ended - began;
            let now_taken = before - queue.pending().len();
            taken += now_taken;
            if let Some(cause) = full {
                self.seal(cause, bench);
                self.launch(bench);
            } else if now_taken == 0 {
                break;
            }
        }
        taken > 0 || reached
    }

    /// Takes pending records, run by run, into the open batch. Returns why the batch is full, if
    /// it is.
    fn take<Q: RecordQueue>(
        &mut self,
        queue: &mut Q,
        now: Nanos,
        bench: &mut Bench<'_>,
    ) -> Option<FlushCause> {
        while let Some(first) = queue.pending().first() {
            let partition = first.partition();
            let run = run_length(queue.pending());
            let Some(slot) = self.partitions.find(partition) else {
                // Revoked while its records were under way: whoever owns it now delivers them.
                queue.advance(run);
                continue;
            };
            if !self.follows(slot, first.offset(), &bench.settings.topic) {
                return None;
            }
            if self.open.is_none() {
                let Some(lease) = bench.pool.acquire() else {
                    self.starved = true;
                    return None;
                };
                self.encode = Duration::ZERO;
                self.open =
                    Some(OpenBatch::new(lease, &bench.settings.limits, Arc::clone(&bench.settings.envelope)));
            }
            let open = self.open.as_mut()?;
            let owned = self.partitions.get_mut(slot)?;
            let records = &queue.pending()[..run];
            let appended = open.append_run(bench.pool, slot, &owned.template, records, now);
            if appended.taken > 0 {
                let (first, last) = (records[0].offset(), records[appended.taken - 1].offset());
                ordered(owned.watermark.on_taken(first, last), &bench.settings.topic, partition);
                bench.counters.records(Count::Polled, appended.taken as u64);
                queue.advance(appended.taken);
            }
            match appended.stop {
                None => {}
                Some(Stop::Full(_)) if open.is_empty() => {
                    // No memory for even the first record: wait until a batch in flight is done.
                    self.give_back_open(bench.pool);
                    self.starved = true;
                    return None;
                }
                Some(Stop::Full(cause)) => return Some(cause),
                Some(Stop::TooLarge { needed }) => {
                    self.oversized(queue, slot, needed, bench);
                    if self.blocked {
                        return None;
                    }
                }
            }
        }
        None
    }

    /// Whether a record may be taken now. One that lies before what was taken already means that
    /// the log itself was cut back or made anew: it begins a new count, once everything of the old
    /// log is done.
    fn follows(&mut self, slot: Slot, offset: Offset, topic: &Topic) -> bool {
        let Some(owned) = self.partitions.get_mut(slot) else { return false };
        let position = owned.watermark.position();
        if offset >= position {
            return true;
        }
        if !owned.watermark.is_idle() {
            return false;
        }
        tracing::warn!(
            %topic, partition = %owned.partition, %offset, expected = %position,
            "the log was cut back or the topic made anew: going on from its record at this offset"
        );
        owned.watermark.reset(offset);
        self.rewound.push((owned.partition, offset));
        true
    }

    /// Deals with a first pending record that no payload can hold.
    fn oversized<Q: RecordQueue>(&mut self, queue: &mut Q, slot: Slot, needed: usize, bench: &Bench<'_>) {
        let offset = queue.pending()[0].offset();
        let Some(owned) = self.partitions.get_mut(slot) else { return };
        let (topic, partition) = (&bench.settings.topic, owned.partition);
        let limit = bench.settings.limits.payload_bytes_max;
        match bench.settings.oversized {
            Oversized::Skip => {
                tracing::warn!(
                    %topic, %partition, %offset, needed, limit,
                    "record dropped: its payload alone exceeds the limit; send smaller records"
                );
                ordered(owned.watermark.on_taken(offset, offset), topic, partition);
                ordered(owned.watermark.on_done(offset, offset), topic, partition);
                bench.counters.records(Count::Polled, 1);
                bench.counters.records(Count::Dropped, 1);
                queue.advance(1);
            }
            Oversized::Block => {
                tracing::error!(
                    %topic, %partition, %offset, needed, limit, poller = self.name,
                    "poller stopped: the payload of this record alone exceeds the limit; commit past it, \
                     or set `oversized = \"skip\"`"
                );
                self.blocked = true;
            }
        }
    }

    /// Lets watermarks pass the gaps before the ends that were met. Returns whether any was.
    fn note_reached<Q: RecordQueue>(&mut self, queue: &mut Q) -> bool {
        queue.take_reached(&mut self.reached);
        let any = !self.reached.is_empty();
        for (partition, offset) in self.reached.drain(..) {
            if let Some(owned) =
                self.partitions.find(partition).and_then(|slot| self.partitions.get_mut(slot))
            {
                owned.watermark.on_reached(offset);
            }
        }
        any
    }

    /// At the end nothing waits for company.
    pub(super) fn seal_for_drain(&mut self, bench: &mut Bench<'_>) {
        if self.ready.is_none() {
            self.seal(FlushCause::Drain, bench);
        }
    }

    fn give_back_open(&mut self, pool: &mut Pool) {
        if let Some(open) = self.open.take() {
            pool.give_back(open);
        }
    }

    /// Closes the open batch, if there is one with records in it.
    fn seal(&mut self, cause: FlushCause, bench: &mut Bench<'_>) {
        debug_assert!(self.ready.is_none(), "a batch is ready already");
        if self.open.as_ref().is_none_or(OpenBatch::is_empty) {
            self.give_back_open(bench.pool);
            return;
        }
        let Some(open) = self.open.take() else { return };
        let batch = open.seal(cause, bench.clock.now());
        let payload = batch.whole();
        bench.counters.batch(cause.label(), u64::from(payload.records()), payload.len() as u64);
        self.ready = Some(Parcel { payload, batch, kept: None, encode: self.encode });
    }

    /// Hands over the ready batch, unless one is in flight.
    fn launch(&mut self, bench: &Bench<'_>) {
        if self.flight.is_some() {
            return;
        }
        let Some(parcel) = self.ready.take() else { return };
        self.seed = self.seed.wrapping_add(1);
        let payload = parcel.payload.clone();
        bench.counters.records(Count::Invoked, u64::from(payload.records()));
        self.flight = Some(Flight {
            parcel,
            delivery: Delivery::new(bench.settings.retry, self.seed),
            handed_at: bench.clock.now(),
            sent_at: None,
            retry_at: None,
        });
        bench.dispatch.hand_over(self.number, payload);
    }

    /// The invocation in flight was answered.
    pub(super) fn on_answer(&mut self, answer: Answer, bench: &mut Bench<'_>) {
        let Some(flight) = self.flight.as_mut() else {
            debug_assert!(false, "an answer without an invocation");
            return;
        };
        flight.sent_at.get_or_insert(answer.started_at);
        let records = u64::from(flight.parcel.payload.records());
        let took = answer.done_at - answer.started_at;
        bench.counters.invocation(answer.outcome.label(), took);
        if !matches!(answer.outcome, Outcome::Success { .. }) {
            bench.counters.error(ErrorKind::Invoke);
            bench.counters.records(Count::Failed, records);
        }
        match flight.delivery.on_outcome(&answer.outcome, answer.done_at) {
            Plan::Done => self.complete(answer.done_at, bench),
            Plan::Retry { at } => {
                log_failure(self.name, flight, &answer, at);
                flight.retry_at = Some(at);
                self.shed(bench.pool);
            }
        }
    }

    /// The batch in flight is delivered.
    fn complete(&mut self, done_at: Nanos, bench: &mut Bench<'_>) {
        let Some(flight) = self.flight.take() else { return };
        for run in flight.parcel.runs() {
            if let Some(owned) = self.partitions.get_mut(run.slot) {
                ordered(owned.watermark.on_done(run.first, run.last), &bench.settings.topic, owned.partition);
            }
        }
        note_ages(&flight.parcel.payload, bench.counters);
        if let Some(observer) = bench.observer {
            observer.on_delivered(&BatchTrace {
                batch: &flight.parcel.batch,
                kept: flight.parcel.kept.as_deref(),
                poller: self.name,
                attempts: flight.delivery.attempts(),
                encode: flight.parcel.encode,
                handed_at: flight.handed_at,
                sent_at: flight.sent_at.unwrap_or(flight.handed_at),
                done_at,
            });
        }
        if let Some(open) = self.open.as_mut() {
            open.on_idle(done_at);
        }
        let Parcel { batch, payload, .. } = flight.parcel;
        drop(payload);
        bench.pool.give_back(batch);
        if self.is_idle() {
            self.partitions.reclaim();
        }
    }

    /// Stops reading `partition` and takes its records out of everything that is not in flight.
    pub(super) fn leave<Q: RecordQueue>(&mut self, partition: Partition, queue: &mut Q, pool: &mut Pool) {
        queue.discard(partition);
        let Some(slot) = self.partitions.leave(partition) else { return };
        // Whatever stopped the poller may be gone with the partition; if not, it stops again.
        self.blocked = false;
        if let Some(open) = self.open.as_mut() {
            open.drop_partition(slot);
            if open.is_empty() {
                self.give_back_open(pool);
            }
        }
        self.shed(pool);
    }

    /// Whether an invocation runs that carries records of `partition`.
    pub(super) fn carries(&self, partition: Partition) -> bool {
        let Some(slot) = self.partitions.find_leaving(partition) else { return false };
        self.flight.as_ref().is_some_and(|flight| {
            flight.retry_at.is_none() && flight.parcel.runs().any(|run| run.slot == slot)
        })
    }

    /// Forgets a partition that [`Self::leave`] began to let go, and what was read of it since:
    /// were it assigned again, those records would stand before the ones it begins with.
    pub(super) fn forget<Q: RecordQueue>(&mut self, partition: Partition, queue: &mut Q) {
        queue.discard(partition);
        self.partitions.forget(partition);
        if self.is_idle() {
            self.partitions.reclaim();
        }
    }

    /// Takes the records of leaving partitions out of the ready batch, and out of the one in
    /// flight while it waits to be tried again. Slices only: nothing is encoded again.
    fn shed(&mut self, pool: &mut Pool) {
        if let Some(parcel) = self.ready.take() {
            self.ready = without_leaving(parcel, &self.partitions, pool);
        }
        if self.flight.as_ref().is_some_and(|flight| flight.retry_at.is_some())
            && let Some(Flight { parcel, delivery, handed_at, sent_at, retry_at }) = self.flight.take()
            && let Some(parcel) = without_leaving(parcel, &self.partitions, pool)
        {
            self.flight = Some(Flight { parcel, delivery, handed_at, sent_at, retry_at });
        }
    }

    /// Gives up what is not in flight: at the end of a drain, the next owner delivers it.
    pub(super) fn abandon(&mut self) {
        self.open = None;
        self.ready = None;
        self.flight = None;
    }
}

/// A source that hands over a partition out of order would make commits lose records: better to
/// stop here, with everything undone uncommitted.
fn ordered(moved: Result<(), CommitError>, topic: &Topic, partition: Partition) {
    if let Err(error) = moved {
        panic!("{topic}[{partition}]: {error}");
    }
}

/// How many records from the first on lie in the same partition.
fn run_length<R: Record>(records: &[R]) -> usize {
    let Some(first) = records.first() else { return 0 };
    let partition = first.partition();
    records.iter().take_while(|record| record.partition() == partition).count()
}

/// `parcel` without the records of partitions that are leaving; `None` if no record is left.
fn without_leaving(parcel: Parcel, partitions: &Partitions, pool: &mut Pool) -> Option<Parcel> {
    if parcel.runs().all(|run| partitions.is_active(run.slot)) {
        return Some(parcel);
    }
    let kept: Vec<_> =
        parcel.runs().filter(|run| partitions.is_active(run.slot)).map(|run| run.records.clone()).collect();
    if kept.is_empty() {
        let Parcel { batch, payload, .. } = parcel;
        drop(payload);
        pool.give_back(batch);
        return None;
    }
    Some(Parcel { payload: parcel.batch.part(kept.iter().cloned()), kept: Some(kept), ..parcel })
}

/// The runs of `batch` whose positions are in `kept`.
pub(super) fn kept_runs<'a>(
    batch: &'a SealedBatch,
    kept: Option<&'a [Range<u32>]>,
) -> impl Iterator<Item = &'a Run> {
    batch.runs().iter().filter(move |run| kept.is_none_or(|kept| kept.contains(&run.records)))
}

/// Counts how old the delivered records are by their own timestamps.
fn note_ages(payload: &Payload, counters: &Writer) {
    let now_ms = wall_ms();
    let mut same = (0, 0);
    for entry in payload.entries() {
        // Records of one producer batch share a timestamp more often than not.
        if same.0 != entry.timestamp_ms {
            counters.record_age(now_ms.saturating_sub(same.0), same.1);
            same = (entry.timestamp_ms, 0);
        }
        same.1 += 1;
    }
    counters.record_age(now_ms.saturating_sub(same.0), same.1);
}

fn log_failure(poller: usize, flight: &Flight, answer: &Answer, at: Nanos) {
    tracing::warn!(
        poller,
        records = flight.parcel.payload.records(),
        attempt = flight.delivery.attempts(),
        outcome = answer.outcome.label(),
        retry_in_ms = u64::try_from((at - answer.done_at).as_millis()).unwrap_or(u64::MAX),
        "invocation failed: {}",
        answer.outcome
    );
}
