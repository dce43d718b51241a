//! Buffers under a budget.

use super::arena::Charge;
use super::buffer::Buffer;
use super::stamp::{Stamp, Stamps};
use super::template::Template;
use super::tier::Tier;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A sealed batch's buffer, shared by all who still read it. Empty while its batch is open.
pub(crate) type Shared = Arc<Shelf>;

/// Where a buffer stands once it is shared.
#[derive(Debug, Default)]
pub(crate) struct Shelf(Option<Box<Buffer>>);

impl Shelf {
    pub(crate) fn buffer(&self) -> &Buffer {
        self.0.as_deref().expect("a shelf is filled before it is shared, and emptied by its last owner")
    }
}

impl AsRef<[u8]> for Shelf {
    fn as_ref(&self) -> &[u8] {
        self.buffer().as_ref()
    }
}

/// A buffer of the pool, on loan: goes into an open batch, and comes back by
/// [`Pool::give_back`]. One that is dropped instead is not lost to the budget, only its warm pages.
#[derive(Debug)]
pub struct Lease {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Owned by one, who may write. The shelf is ready so that sealing allocates nothing.
    Open { buffer: Box<Buffer>, shelf: Shared },
    /// Read by anyone who still holds a clone.
    Sealed(Shared),
}

impl Lease {
    pub(crate) fn sealed(shared: Shared) -> Self {
        Self { state: State::Sealed(shared) }
    }

    pub(crate) fn open(buffer: Box<Buffer>, shelf: Shared) -> Self {
        Self { state: State::Open { buffer, shelf } }
    }
}

/// The buffers of one consumer thread: last in, first out (the warmest first), under a budget of
/// bytes that counts what arenas have been granted, and the record indexes.
///
/// Sized once; in the steady state it neither allocates nor gives memory back to the system.
#[derive(Debug)]
pub struct Pool {
    budget_bytes: usize,
    payload_bytes_max: usize,
    records_max: usize,
    tier: Tier,
    touched: Arc<AtomicUsize>,
    /// Of [`Self::acquire_outsized`].
    outsized: Arc<AtomicUsize>,
    /// Ready for the next batch; the warmest is the last.
    free: Vec<(Box<Buffer>, Shared)>,
    /// Given back while someone (an HTTP client with a half-sent body) still reads them.
    cooling: Vec<Shared>,
    stamps: Stamps,
}

impl Pool {
    /// A pool of buffers for batches of up to `records_max` records and `payload_bytes_max` bytes,
    /// that together cost at most `budget_bytes`. A budget too small for a single full batch is
    /// raised to that, because the largest record could never be delivered otherwise.
    #[must_use]
    pub fn new(budget_bytes: usize, payload_bytes_max: usize, records_max: usize) -> Self {
        let one = Buffer::fixed_bytes(records_max) + payload_bytes_max + super::arena::SLACK_BYTES;
        Self {
            budget_bytes: budget_bytes.max(one),
            payload_bytes_max,
            records_max,
            tier: Tier::best(),
            touched: Arc::default(),
            outsized: Arc::default(),
            free: Vec::new(),
            cooling: Vec::new(),
            stamps: Stamps::default(),
        }
    }

    /// The same pool, whose batches are written by `tier`: for tests and benches.
    ///
    /// # Panics
    /// If this machine does not run `tier`.
    #[must_use]
    pub fn with_tier(mut self, tier: Tier) -> Self {
        assert!(Tier::available().any(|runs| runs == tier), "this machine does not run {tier}");
        self.tier = tier;
        self
    }

    pub(crate) const fn tier(&self) -> Tier {
        self.tier
    }

    /// The stamp of `template`'s partition.
    pub(crate) fn stamp(&mut self, template: &Template) -> &mut Stamp {
        self.stamps.of(template)
    }

    /// A buffer for a new batch. `None` is back-pressure: the budget is used up by batches that
    /// are open or under way (or the system refuses memory); ask again once one came back.
    pub fn acquire(&mut self) -> Option<Lease> {
        self.collect_cooled();
        let (buffer, shelf) = self.free.pop().or_else(|| self.new_buffer())?;
        Some(Lease::open(buffer, shelf))
    }

    fn new_buffer(&mut self) -> Option<(Box<Buffer>, Shared)> {
        let mut charge = Charge::new(&self.touched);
        if !charge.try_add(Buffer::fixed_bytes(self.records_max), self.budget_bytes) {
            return None;
        }
        let buffer = Buffer::new(self.payload_bytes_max, self.records_max, charge).ok()?;
        let mut buffer = Box::new(buffer);
        self.grant(&mut buffer, 1).then(|| (buffer, Arc::default()))
    }

    /// A buffer of its own for one record whose payload, of `payload_bytes`, is above the limit: it
    /// goes to the on-failure destination, never to the function. It is not kept when it is given
    /// back. One such record at a time has its memory beside the budget, so that neither waits for the
    /// other for ever; `None` if there is one already.
    pub fn acquire_outsized(&mut self, payload_bytes: usize) -> Option<Lease> {
        self.collect_cooled();
        if self.outsized.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let mut charge = Charge::new(&self.outsized);
        charge.add(payload_bytes + super::arena::SLACK_BYTES + Buffer::fixed_bytes(1));
        let mut buffer = Box::new(Buffer::new(payload_bytes, 1, charge).ok()?);
        buffer.arena.grant(payload_bytes + super::arena::SLACK_BYTES);
        Some(Lease::open(buffer, Arc::default()))
    }

    /// Takes back the buffer of a batch that is done ([`crate::batch::SealedBatch`]), was given up
    /// ([`crate::batch::OpenBatch`]) or never begun. It is used again as soon as nobody reads it.
    pub fn give_back(&mut self, batch: impl Into<Lease>) {
        match batch.into().state {
            State::Open { buffer, shelf } => self.put(buffer, shelf),
            State::Sealed(shared) => self.cool(shared),
        }
    }

    fn put(&mut self, mut buffer: Box<Buffer>, shelf: Shared) {
        if buffer.arena.bytes_max() != self.payload_bytes_max {
            return; // Of `acquire_outsized`.
        }
        buffer.clear();
        self.free.push((buffer, shelf));
    }

    fn cool(&mut self, mut shared: Shared) {
        match Arc::get_mut(&mut shared).map(|shelf| shelf.0.take()) {
            Some(Some(buffer)) => self.put(buffer, shared),
            Some(None) => {}
            None => self.cooling.push(shared),
        }
    }

    fn collect_cooled(&mut self) {
        let mut at = 0;
        while at < self.cooling.len() {
            if Arc::strong_count(&self.cooling[at]) == 1 {
                let shared = self.cooling.swap_remove(at);
                self.cool(shared);
            } else {
                at += 1;
            }
        }
    }

    /// Grants `buffer`'s arena room for `bytes` bytes of records in all, giving up free buffers,
    /// the coldest first, if the budget asks for it. `false` if it still does not allow.
    pub(crate) fn grant(&mut self, buffer: &mut Buffer, bytes: usize) -> bool {
        if buffer.arena.capacity() >= bytes {
            return true;
        }
        let Some(granted) = buffer.arena.rounded(bytes) else { return false };
        let more = granted - buffer.arena.granted();
        self.collect_cooled();
        while !buffer.charge.try_add(more, self.budget_bytes) {
            if self.free.is_empty() {
                return false;
            }
            drop(self.free.remove(0));
        }
        buffer.arena.grant(granted);
        true
    }

    /// What its buffers may cost together.
    #[must_use]
    pub const fn budget_bytes(&self) -> usize {
        self.budget_bytes
    }

    /// Bytes that the pool's buffers may have touched, wherever they are now. Never above the
    /// budget; the one record of [`acquire_outsized`](Self::acquire_outsized) is not counted.
    #[must_use]
    pub fn touched_bytes(&self) -> usize {
        self.touched.load(Ordering::Relaxed)
    }

    /// Of [`touched_bytes`](Self::touched_bytes), what is lent out or still being read.
    #[must_use]
    pub fn in_use_bytes(&self) -> usize {
        let free: usize = self.free.iter().map(|(buffer, _)| buffer.charge.bytes()).sum();
        self.touched_bytes().saturating_sub(free)
    }

    /// Buffers that are lent out or still being read.
    #[must_use]
    pub fn in_use(&self) -> usize {
        // Each living buffer's charge holds the counter, and so does the pool.
        Arc::strong_count(&self.touched) - 1 - self.free.len()
    }
}

/// Shares a filled buffer. Allocates nothing.
pub(crate) fn share(buffer: Box<Buffer>, mut shelf: Shared) -> Shared {
    let empty = Arc::get_mut(&mut shelf).expect("an open batch's shelf is nobody else's");
    empty.0 = Some(buffer);
    shelf
}

impl Lease {
    /// The writable buffer and its empty shelf.
    pub(crate) fn into_open(self) -> Option<(Box<Buffer>, Shared)> {
        match self.state {
            State::Open { buffer, shelf } => Some((buffer, shelf)),
            State::Sealed(_) => None,
        }
    }
}
