//! Watches the engine: every batch delivered and every commit, as they happen.
//!
//! The engine's threads only copy a few numbers into a bounded queue; auditing and histograms
//! run on a thread of their own, so that measuring is not what is measured.

mod slots;
mod measured;

pub use measured::{BatchCounts, Measured, OverlapCounts};
pub use slots::{Piece, Slots};

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use pelton::batch::FlushCause;
use pelton::ids::{Offset, Partition};
use pelton::pipeline::{BatchTrace, Observer};
use pelton::time::Nanos;

use crate::ledger::Ledger;
use crate::memory::Corpus;

/// Notes that may wait for the meter. When it falls behind this far the engine waits for it, and
/// [`Progress::stalls`] says so.
const NOTES_MAX: usize = 1 << 16;

/// Where records came from, for their intended send times and sizes.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A loader.
    Ledger(Arc<Ledger>),
    /// Memory: records are meant to be sent when they are polled.
    Corpus(Arc<Corpus>),
}

/// What others may read while the meter runs.
#[derive(Debug)]
pub struct Progress {
    records: AtomicU64,
    bytes: AtomicU64,
    /// How far deliveries have come: the sum over all partitions, holes included.
    reached: AtomicU64,
    /// Latencies count from here, by intended send time.
    measure_from: AtomicU64,
    stalls: AtomicU64,
}

impl Progress {
    /// Records delivered so far, each counted once.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Their key, value and header bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How far deliveries have come: records below the highest delivered offset of each partition, and
    /// what was filtered out right behind it.
    /// More than [`Self::records`] if some of them are missing.
    #[must_use]
    pub fn reached(&self) -> u64 {
        self.reached.load(Ordering::Relaxed)
    }

    /// How often the engine had to wait for the meter. Not zero: figures are too pessimistic.
    #[must_use]
    pub fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }

    /// From now on records count whose intended send is not before `from`: the end of the warm-up.
    pub fn measure_from(&self, from: Nanos) {
        self.measure_from.store(from.0, Ordering::Relaxed);
    }
}

/// The engine's side of the meter.
#[derive(Debug)]
pub struct MeterTap {
    notes: Sender<Note>,
    progress: Arc<Progress>,
}

#[derive(Debug)]
enum Note {
    Delivered(Delivered),
    Filtered { partition: Partition, offsets: Range<i64> },
    Committed { partition: Partition, offset: Offset, at: Nanos },
    Stop,
}

/// A [`BatchTrace`] without the batch, whose arena must go back to the engine's pool.
#[derive(Debug)]
struct Delivered {
    poller: usize,
    attempts: u32,
    records: u32,
    payload_bytes: usize,
    cause: FlushCause,
    sealed_at: Nanos,
    encode: Duration,
    sent_at: Nanos,
    done_at: Nanos,
    runs: Vec<Polled>,
}

/// Offsets without a gap that were polled at once.
#[derive(Clone, Debug)]
struct Polled {
    partition: usize,
    offsets: Range<i64>,
    at: Nanos,
}

impl Observer for MeterTap {
    fn on_delivered(&self, trace: &BatchTrace<'_>) {
        self.note(Note::Delivered(Delivered {
            poller: trace.poller,
            attempts: trace.attempts,
            records: trace.records.count(),
            payload_bytes: trace.batch.whole().len(),
            cause: trace.batch.cause(),
            sealed_at: trace.batch.sealed_at(),
            encode: trace.encode,
            sent_at: trace.sent_at,
            done_at: trace.done_at,
            runs: polled(trace),
        }));
    }

    fn on_filtered(&self, partition: Partition, first: Offset, last: Offset) {
        self.note(Note::Filtered { partition, offsets: first.0..last.next().0 });
    }

    fn on_committed(&self, partition: Partition, offset: Offset, at: Nanos) {
        self.note(Note::Committed { partition, offset, at });
    }
}

impl MeterTap {
    /// The meter has gone only when the run is over; what comes later has nobody to tell.
    fn note(&self, note: Note) {
        if let Err(TrySendError::Full(note)) = self.notes.try_send(note) {
            self.progress.stalls.fetch_add(1, Ordering::Relaxed);
            let _ = self.notes.send(note);
        }
    }
}

/// What was delivered, cut where offsets jump.
fn polled(trace: &BatchTrace<'_>) -> Vec<Polled> {
    let mut polled = Vec::with_capacity(trace.batch.runs().len());
    let mut jumps = false;
    for piece in trace.pieces() {
        let offsets = piece.first.0..piece.last.0 + 1;
        jumps |= offsets.end - offsets.start != i64::from(piece.records.end - piece.records.start);
        polled.push(Polled { partition: index(piece.run.partition), offsets, at: piece.run.polled_at });
    }
    if !jumps {
        return polled;
    }
    // Never on a topic that only the loader writes to, so this may take its time.
    let mut cut: Vec<Polled> = Vec::new();
    for piece in trace.pieces() {
        let partition = index(piece.run.partition);
        for entry in trace.batch.entries().filter(|entry| piece.records.contains(&entry.position)) {
            match cut.last_mut() {
                Some(last) if last.partition == partition && last.offsets.end == entry.offset.0 => {
                    last.offsets.end += 1;
                }
                _ => cut.push(Polled {
                    partition,
                    offsets: entry.offset.0..entry.offset.next().0,
                    at: piece.run.polled_at,
                }),
            }
        }
    }
    cut
}

fn index(partition: Partition) -> usize {
    usize::try_from(partition.0).expect("a partition's number is not negative")
}

/// The running meter.
#[derive(Debug)]
pub struct Meter {
    notes: Sender<Note>,
    progress: Arc<Progress>,
    thread: JoinHandle<Measured>,
}

impl Meter {
    /// Starts a meter over partitions whose first offsets are `starts`.
    ///
    /// # Errors
    /// If the machine refuses a thread.
    pub fn start(starts: &[i64], origin: Origin) -> std::io::Result<Self> {
        let (notes, inbox) = bounded(NOTES_MAX);
        let progress = Arc::new(Progress {
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            reached: AtomicU64::new(0),
            measure_from: AtomicU64::new(Nanos::NEVER.0),
            stalls: AtomicU64::new(0),
        });
        let measured = Measured::new(starts, origin, Arc::clone(&progress));
        let thread = std::thread::Builder::new()
            .name("harness-meter".into())
            .spawn(move || watch(&inbox, measured))?;
        Ok(Self { notes, progress, thread })
    }

    /// What the engine reports to.
    #[must_use]
    pub fn tap(&self) -> Arc<MeterTap> {
        Arc::new(MeterTap { notes: self.notes.clone(), progress: Arc::clone(&self.progress) })
    }

    /// What can be read meanwhile.
    #[must_use]
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Ends it, after everything that was reported has been counted. Call when the engine has
    /// stopped.
    ///
    /// # Panics
    /// If the meter's thread has panicked.
    #[must_use]
    pub fn finish(self) -> Measured {
        let _ = self.notes.send(Note::Stop);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn watch(inbox: &Receiver<Note>, mut measured: Measured) -> Measured {
    for note in inbox {
        match note {
            Note::Delivered(batch) => measured.on_delivered(&batch),
            Note::Filtered { partition, offsets } => measured.on_filtered(index(partition), offsets),
            Note::Committed { partition, offset, at } => {
                measured.on_committed(index(partition), offset.0, at);
            }
            Note::Stop => break,
        }
    }
    measured
}
