//! One poller: batches to the function, one at a time.
//!
//! A poller holds at most two batches: one in flight, and one behind it that is open or, once full,
//! sealed and ready. The next batch is thus read and encoded during the flight, and a function that
//! answers is given it at once. While one is ready the poller does not read; that is all the
//! back-pressure there is.

use std::sync::Arc;
use std::time::Duration;

use crate::batch::{FlushCause, OpenBatch, Payload};
use crate::commit::CommitError;
use crate::deliver::{Delivery, Outcome, Plan};
use crate::filter::Filters;
use crate::ids::{Offset, Partition, Topic};
use crate::payload::Pool;
use crate::source::RecordQueue;
use crate::telemetry::{Count, ErrorKind, Writer};
use crate::time::Nanos;

use super::parcel::{Flight, Parcel, without_leaving};
use super::partitions::Partitions;
use super::sieve::Sieve;
use super::world::{Answer, World};
use super::{BatchTrace, EngineSettings, Observer};

/// What a poller works with on its thread.
pub(super) struct Bench<'a> {
    pub(super) settings: &'a EngineSettings,
    pub(super) world: &'a dyn World,
    pub(super) pool: &'a mut Pool,
    pub(super) counters: &'a Writer,
    pub(super) observer: Option<&'a dyn Observer>,
}

/// One poller: a set of partitions, one open batch, at most one invocation in flight.
#[derive(Debug)]
pub(super) struct Poller {
    /// Within its thread: names its lane and its queue.
    pub(super) number: usize,
    /// Over all threads, for people.
    pub(super) name: usize,
    pub(super) partitions: Partitions,
    /// What tells which records are delivered; `None` if all are.
    pub(super) sieve: Option<Sieve>,
    pub(super) open: Option<OpenBatch>,
    /// Time spent filtering and writing the open batch.
    pub(super) encode: Duration,
    pub(super) ready: Option<Parcel>,
    pub(super) flight: Option<Flight>,
    /// Stopped before a record that no payload can hold.
    pub(super) blocked: bool,
    /// The last read was cut short because no buffer was free.
    pub(super) starved: bool,
    pub(super) reached: Vec<(Partition, Offset)>,
    /// Partitions whose log began anew, for the thread's commits.
    pub(super) rewound: Vec<(Partition, Offset)>,
    pub(super) seed: u64,
}

impl Poller {
    pub(super) fn new(number: usize, name: usize, filters: Option<&Arc<Filters>>) -> Self {
        Self {
            number,
            name,
            partitions: Partitions::default(),
            sieve: filters.map(|filters| Sieve::new(Arc::clone(filters))),
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
            let now = bench.world.now();
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
        if bench.world.now() < at {
            return false;
        }
        flight.retry_at = None;
        bench.counters.records(Count::Invoked, u64::from(flight.parcel.payload.records()));
        bench.world.invoke(self.number, flight.parcel.payload.clone());
        true
    }

    /// At the end nothing waits for company.
    pub(super) fn seal_for_drain(&mut self, bench: &mut Bench<'_>) {
        if self.ready.is_none() {
            self.seal(FlushCause::Drain, bench);
        }
    }

    pub(super) fn give_back_open(&mut self, pool: &mut Pool) {
        if let Some(open) = self.open.take() {
            pool.give_back(open);
        }
    }

    /// Closes the open batch, if there is one with records in it.
    pub(super) fn seal(&mut self, cause: FlushCause, bench: &mut Bench<'_>) {
        debug_assert!(self.ready.is_none(), "a batch is ready already");
        if self.open.as_ref().is_none_or(OpenBatch::is_empty) {
            self.give_back_open(bench.pool);
            return;
        }
        let Some(open) = self.open.take() else { return };
        let batch = open.seal(cause, bench.world.now());
        let payload = batch.whole();
        bench.counters.batch(cause.label(), u64::from(payload.records()), payload.len() as u64);
        self.ready = Some(Parcel { payload, batch, kept: None, encode: self.encode });
    }

    /// Hands over the ready batch, unless one is in flight.
    pub(super) fn launch(&mut self, bench: &Bench<'_>) {
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
            handed_at: bench.world.now(),
            sent_at: None,
            retry_at: None,
        });
        bench.world.invoke(self.number, payload);
    }

    /// The invocation in flight was answered.
    pub(super) fn on_answer(&mut self, answer: &Answer, bench: &mut Bench<'_>) {
        let Some(flight) = self.flight.as_mut() else {
            debug_assert!(false, "an answer without an invocation");
            return;
        };
        flight.sent_at.get_or_insert(answer.started_at);
        let records = u64::from(flight.parcel.payload.records());
        let took = answer.done_at - answer.started_at;
        bench.counters.invocation(answer.outcome.label(), took);
        if matches!(answer.outcome, Outcome::Success { .. }) {
            bench.counters.records(Count::Delivered, records);
        } else {
            bench.counters.error(ErrorKind::Invoke);
            bench.counters.records(Count::Failed, records);
        }
        match flight.delivery.on_outcome(&answer.outcome, answer.done_at) {
            Plan::Done => self.complete(answer.done_at, bench),
            Plan::Retry { at } => {
                log_failure(self.name, flight, answer, at);
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
        note_ages(&flight.parcel.payload, bench.world.wall_ms(), bench.counters);
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
        self.partitions.reclaim();
    }

    /// Stops reading `partition` and takes its records out of everything that is not in flight.
    pub(super) fn leave<Q: RecordQueue>(&mut self, partition: Partition, queue: &mut Q, pool: &mut Pool) {
        self.discard(partition, queue);
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

    fn discard<Q: RecordQueue>(&mut self, partition: Partition, queue: &mut Q) {
        queue.discard(partition);
        if let Some(sieve) = self.sieve.as_mut() {
            sieve.forget();
        }
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
        self.discard(partition, queue);
        self.partitions.forget(partition);
        // What is open, ready or waits to be tried again was rid of it when it began to leave.
        if !self.is_in_flight() {
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
pub(super) fn ordered(moved: Result<(), CommitError>, topic: &Topic, partition: Partition) {
    if let Err(error) = moved {
        panic!("{topic}[{partition}]: {error}");
    }
}

/// Counts how old the delivered records are by their own timestamps.
fn note_ages(payload: &Payload, now_ms: i64, counters: &Writer) {
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
