//! One poller: batches to the function, one at a time.
//!
//! A poller holds at most two batches: one in flight, and one behind it that is open or, once full,
//! sealed and ready. The next batch is thus read and encoded during the flight, and a function that
//! answers is given it at once. While one is ready the poller does not read; that is all the
//! back-pressure there is.

use std::sync::Arc;
use std::time::Duration;

use crate::batch::{FlushCause, OpenBatch};
use crate::commit::CommitError;
use crate::deliver::{Delivery, Records};
use crate::filter::Filters;
use crate::ids::{Offset, Partition, Topic};
use crate::payload::Pool;
use crate::source::RecordQueue;
use crate::telemetry::Writer;
use crate::time::Nanos;

use super::effort::Effort;
use super::parcel::{Flight, Parcel, without_leaving};
use super::partitions::{Owned, Partitions};
use super::sieve::Sieve;
use super::world::World;
use super::{EngineSettings, Observer};

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
    /// What an answer has made done; kept so that none is allocated.
    pub(super) done: Records,
    /// For the scaler.
    pub(super) effort: Effort,
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
            done: Records::default(),
            effort: Effort::default(),
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
        let mut moved = self.pursue(bench);
        self.starved = self.starved && reading;
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
        let flight = self.flight.as_ref().map(|flight| flight.due).filter(|due| *due < Nanos::NEVER);
        let window = self.open.as_ref().filter(|_| self.flight.is_none() && self.ready.is_none());
        let window = window.and_then(OpenBatch::deadline);
        flight.into_iter().chain(window).min()
    }

    /// Whether the poller waits for a free buffer.
    pub(super) fn is_starved(&self) -> bool {
        self.starved
    }

    /// Whether an invocation runs, or the destination is being told.
    pub(super) fn is_in_flight(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.parcel.delivery.is_under_way())
    }

    /// Whether nothing is left to deliver.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_none() && self.ready.is_none() && self.flight.is_none()
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
        let is_full = matches!(cause, FlushCause::Count | FlushCause::Bytes | FlushCause::Memory);
        self.effort.on_closed(batch.records(), is_full, bench.settings.limits.batch_size);
        bench.counters.batch(cause.label(), u64::from(batch.records()), batch.whole().len() as u64);
        self.seed = self.seed.wrapping_add(1);
        let EngineSettings { failures, retry, .. } = bench.settings;
        let delivery = Delivery::new(*failures, *retry, batch.records(), self.seed);
        self.ready = Some(Parcel { batch, delivery, encode: self.encode });
    }

    /// Stops reading `partition`, which another poller is to read. What was taken of it is delivered
    /// here first.
    pub(super) fn part<Q: RecordQueue>(&mut self, partition: Partition, queue: &mut Q) {
        if self.partitions.part(partition) {
            self.discard(partition, queue);
            // As in `leave`.
            self.blocked = false;
        }
    }

    /// The partition that [`Self::part`] began to give away, with all that is known of it.
    pub(super) fn part_with(&mut self, partition: Partition) -> Option<Owned> {
        let owned = self.partitions.part_with(partition);
        // No batch has a record of it that is not done, but the one in flight may have others.
        if self.flight.is_none() {
            self.partitions.reclaim();
        }
        owned
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
        self.flight.as_ref().is_some_and(|flight| flight.parcel.carries(slot))
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
    /// flight while nothing of it is under way. Slices only: nothing is encoded again.
    pub(super) fn shed(&mut self, pool: &mut Pool) {
        if let Some(parcel) = self.ready.take() {
            self.ready = without_leaving(parcel, &self.partitions, pool);
        }
        if !self.is_in_flight()
            && let Some(flight) = self.flight.take()
        {
            match without_leaving(flight.parcel, &self.partitions, pool) {
                // What is left may have another time to wait for.
                Some(parcel) => self.flight = Some(Flight { parcel, due: Nanos::ZERO, ..flight }),
                None => {
                    self.effort.end(flight.done_at);
                    self.partitions.reclaim();
                }
            }
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
