//! A batch that is being filled.

use super::policy::{BatchLimits, Fit, FlushCause, Policy};
use super::sealed::SealedBatch;
use crate::ids::Slot;
use crate::payload::{
    Buffer, Envelope, Lease, Pool, RECORD_BYTES_MIN, Run, Shared, Template, Tier, encoded_len, share,
    write_run,
};
use crate::record::Record;
use crate::time::Nanos;
use std::sync::Arc;

/// How much of a run went into the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// So many records, from the first on, were written and are part of the batch.
    pub taken: usize,
    /// Why the batch takes no more, or not the next record. `None` if all were taken and there is
    /// room for more.
    pub stop: Option<Stop>,
}

/// Why appending ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The batch is full for this cause, and due. If it is empty the cause is
    /// [`FlushCause::Memory`]: give it back and wait until another batch returned its buffer.
    Full(FlushCause),
    /// The record after those taken can go into no batch. Nothing of it was written.
    TooLarge {
        /// Bytes of the payload with this record alone.
        needed: usize,
    },
}

/// A batch that is being filled. Each record is written as it is appended, once, so that sealing
/// costs nothing.
#[derive(Debug)]
pub struct OpenBatch {
    buffer: Box<Buffer>,
    shelf: Shared,
    envelope: Arc<Envelope>,
    policy: Policy,
    /// A record was met whose upper bound passes the payload limit: from here on every record is
    /// sized exactly before it is written, so that none is written twice.
    near_limit: bool,
}

impl OpenBatch {
    /// An empty batch in the buffer of `lease`.
    ///
    /// # Panics
    /// If `lease` is not from [`Pool::acquire`].
    #[must_use]
    pub fn new(lease: Lease, limits: &BatchLimits, envelope: Arc<Envelope>) -> Self {
        let (buffer, shelf) = lease.into_open().expect("a lease for a new batch comes from `Pool::acquire`");
        Self { buffer, shelf, policy: Policy::new(limits, envelope.bytes()), envelope, near_limit: false }
    }

    /// A batch of one record alone, whose payload of `payload_bytes` is above the limit, in the
    /// buffer of `lease`: written as any other, for the on-failure destination.
    ///
    /// # Panics
    /// If `lease` is not from [`Pool::acquire_outsized`] for so many bytes, or the record is smaller
    /// or larger than it was said to be.
    #[must_use]
    pub fn outsized<R: Record>(
        lease: Lease,
        pool: &mut Pool,
        envelope: Arc<Envelope>,
        (slot, template): (Slot, &Template),
        record: &R,
        (payload_bytes, now): (usize, Nanos),
    ) -> SealedBatch {
        let payload_bytes_max = u32::try_from(payload_bytes).expect("a record has less than 4 GiB");
        let limits = BatchLimits { batch_size: 1, window: std::time::Duration::ZERO, payload_bytes_max };
        let mut batch = Self::new(lease, &limits, envelope);
        let appended = batch.append_run(pool, slot, template, std::slice::from_ref(record), now);
        assert_eq!(appended.taken, 1, "the buffer is as large as the record's payload");
        batch.seal(FlushCause::Bytes, now)
    }

    /// Appends as many of `records`, which are all of `template`'s partition, as fit. `pool` is
    /// the one that the batch's buffer is from; `slot` stands for the partition wherever the batch
    /// is looked at.
    ///
    /// Nothing is allocated per record. Longer runs cost less per record.
    pub fn append_run<R: Record>(
        &mut self,
        pool: &mut Pool,
        slot: Slot,
        template: &Template,
        records: &[R],
        now: Nanos,
    ) -> Appended {
        let run = RunIn { slot, template, tier: pool.tier(), now };
        let mut taken = 0;
        while taken < records.len() && self.policy.full().is_none() {
            if !self.near_limit {
                let wanted = (records.len() - taken).min(self.records_left());
                let room = self.bytes_left(&run).min(self.buffer.arena_left());
                taken += self.write(pool, &run, &records[taken..taken + wanted], (room, false));
            }
            // What is left is more than the batch may count, or its upper bound passes a limit.
            if self.policy.full().is_none()
                && let Some(next) = records.get(taken)
            {
                match self.make_room(pool, &run, next) {
                    Ok(bytes) => taken += self.write(pool, &run, std::slice::from_ref(next), (bytes, true)),
                    Err(stop) => return Appended { taken, stop: Some(stop) },
                }
            }
        }
        Appended { taken, stop: self.policy.full().map(Stop::Full) }
    }

    /// Finds the exact size of a record whose upper bound did not fit, and room for it.
    fn make_room<R: Record>(&mut self, pool: &mut Pool, run: &RunIn<'_>, record: &R) -> Result<usize, Stop> {
        let bytes = encoded_len(run.template, record);
        let overhead = self.overhead(run);
        match self.policy.fit(bytes + overhead, bytes + run.template.key().len()) {
            Fit::Nowhere { needed } => return Err(Stop::TooLarge { needed }),
            Fit::NextBatch(cause) => return Err(self.stop_full(cause)),
            Fit::Here => {}
        }
        // Without room in the arena it was only the grant that ended, not the payload limit.
        self.near_limit = self.buffer.arena_left() >= bytes;
        let used = self.buffer.used;
        if !pool.grant(&mut self.buffer, used + bytes) {
            return Err(self.stop_full(FlushCause::Memory));
        }
        Ok(bytes)
    }

    fn stop_full(&mut self, cause: FlushCause) -> Stop {
        self.policy.on_full(cause);
        Stop::Full(cause)
    }

    /// Writes as many of `records` as fit in `room` bytes, sized `exact`ly or not, and counts them in.
    fn write<R: Record>(
        &mut self,
        pool: &mut Pool,
        run: &RunIn<'_>,
        records: &[R],
        (room, exact): (usize, bool),
    ) -> usize {
        let overhead = self.overhead(run);
        let out = self.buffer.run_out(room, exact, pool.stamp(run.template));
        let written = write_run(run.tier, run.template, records, out);
        if written.records > 0 {
            let offsets = records[0].offset()..=records[written.records - 1].offset();
            self.buffer.push_run(run.slot, run.template, offsets, written, run.now);
            self.policy.on_append(written.records as u32, written.bytes + overhead, run.now);
            if self.policy.bytes_left() < RECORD_BYTES_MIN {
                self.policy.on_full(FlushCause::Bytes);
            }
        }
        written.records
    }

    /// What the payload grows by besides the records when a run is added: a partition's key, and a
    /// comma before it unless it is the first. (The `]` takes the place of the leading comma.)
    fn overhead(&self, run: &RunIn<'_>) -> usize {
        match self.buffer.place_of(run.slot) {
            Some(_) => 0,
            None => run.template.key().len() + usize::from(!self.buffer.places.is_empty()),
        }
    }

    fn records_left(&self) -> usize {
        (self.policy.records_left() as usize).min(self.buffer.index.len() - self.buffer.records)
    }

    fn bytes_left(&self, run: &RunIn<'_>) -> usize {
        self.policy.bytes_left().saturating_sub(self.overhead(run))
    }

    /// Takes the records of a revoked partition out of the batch. Nothing is moved in the arena.
    /// Costs a walk over the record index.
    pub fn drop_partition(&mut self, slot: Slot) {
        let Some(removed) = self.buffer.remove_place(slot) else { return };
        self.near_limit = false;
        self.policy.on_remove(removed.records, removed.bytes);
    }

    /// The poller's previous invocation completed: the window does not begin before `now`.
    pub fn on_idle(&mut self, now: Nanos) {
        self.policy.on_idle(now);
    }

    /// See [`Policy::deadline`].
    #[must_use]
    pub fn deadline(&self) -> Option<Nanos> {
        self.policy.deadline()
    }

    /// See [`Policy::due`].
    #[must_use]
    pub fn due(&self, now: Nanos) -> Option<FlushCause> {
        self.policy.due(now)
    }

    /// Whether nothing was appended, or all of it dropped.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.policy.records() == 0
    }

    /// Records in the batch.
    #[must_use]
    pub const fn records(&self) -> u32 {
        self.policy.records()
    }

    /// The exact size of the payload over all records, in bytes.
    #[must_use]
    pub const fn payload_bytes(&self) -> usize {
        self.policy.payload_bytes()
    }

    /// When the first record was appended; `None` while the batch is empty.
    #[must_use]
    pub const fn opened_at(&self) -> Option<Nanos> {
        self.policy.opened_at()
    }

    /// The runs appended so far.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.buffer.runs
    }

    /// Closes the batch. Moves a few words; nothing is copied or written.
    ///
    /// # Panics
    /// If the batch is empty: an event has records.
    #[must_use]
    pub fn seal(self, cause: FlushCause, now: Nanos) -> SealedBatch {
        let opened_at = self.policy.opened_at().expect("a batch is sealed once it has records");
        debug_assert_eq!(self.policy.records() as usize, self.buffer.records);
        SealedBatch::new(
            share(self.buffer, self.shelf),
            self.envelope,
            super::sealed::Facts {
                cause,
                opened_at,
                sealed_at: now,
                payload_bytes: self.policy.payload_bytes(),
            },
        )
    }
}

/// A batch that will not be sealed; for [`Pool::give_back`].
impl From<OpenBatch> for Lease {
    fn from(batch: OpenBatch) -> Self {
        Self::open(batch.buffer, batch.shelf)
    }
}

/// What [`OpenBatch::append_run`] was asked for, besides the records.
struct RunIn<'t> {
    slot: Slot,
    template: &'t Template,
    tier: Tier,
    now: Nanos,
}
