//! What a meter has seen: audit, stages, batches, overlap.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pelton::batch::FlushCause;
use pelton::time::Nanos;

use super::{Delivered, Origin, Polled, Progress, Slots};
use crate::audit::Audit;
use crate::measure::histogram::{Latency, Stages};

/// What a meter has seen.
#[derive(Debug)]
pub struct Measured {
    origin: Origin,
    progress: Arc<Progress>,
    /// Every offset, the warm-up's too.
    pub audit: Audit,
    /// Latencies after the warm-up.
    pub stages: Stages,
    /// Deliveries after the warm-up, by the time they were made.
    pub slots: Slots,
    /// Batches after the warm-up.
    pub batches: BatchCounts,
    /// How work on the next batch and invocations overlapped, after the warm-up.
    pub overlap: OverlapCounts,
    /// Delivered and not yet committed, for each partition in order of offsets.
    uncommitted: Vec<VecDeque<Done>>,
    /// When each poller's last invocation was answered.
    last_done: HashMap<usize, Nanos>,
}

#[derive(Debug)]
struct Done {
    offsets: Range<i64>,
    /// The records from this offset on are measured.
    measured_from: i64,
    at: Nanos,
}

/// Batches, added up.
#[derive(Clone, Debug, Default)]
pub struct BatchCounts {
    /// How many.
    pub batches: u64,
    /// Invocations that they took.
    pub attempts: u64,
    /// From the first attempt of each until its last answer.
    pub invoked: Duration,
    /// Records in them.
    pub records: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// By flush cause.
    pub causes: BTreeMap<&'static str, u64>,
    /// Smallest and largest payload, in bytes.
    pub payload_bytes_range: Option<(usize, usize)>,
}

/// Whether the next batch was ready when an answer came.
#[derive(Clone, Debug, Default)]
pub struct OverlapCounts {
    /// Batches whose poller had an invocation before.
    pub batches: u64,
    /// Those of them whose last record had been polled and written before that invocation was
    /// answered, and that were full then.
    pub full_ahead: u64,
    /// From an answer until the same poller's next invocation began, for those batches.
    pub turnaround: Latency,
}

impl Measured {
    pub(super) fn new(starts: &[i64], origin: Origin, progress: Arc<Progress>) -> Self {
        Self {
            origin,
            progress,
            audit: Audit::new(starts),
            stages: Stages::default(),
            slots: Slots::default(),
            batches: BatchCounts::default(),
            overlap: OverlapCounts::default(),
            uncommitted: starts.iter().map(|_| VecDeque::new()).collect(),
            last_done: HashMap::new(),
        }
    }

    pub(super) fn on_delivered(&mut self, batch: &Delivered) {
        let measure_from = Nanos(self.progress.measure_from.load(Ordering::Relaxed));
        if batch.done_at >= measure_from {
            self.slots.reach(batch.done_at - measure_from);
        }
        let mut counted = 0;
        for run in &batch.runs {
            let before = self.audit.next(run.partition);
            let fresh = self.audit.on_delivered(run.partition, run.offsets.clone());
            let further = u64::try_from(self.audit.next(run.partition) - before).unwrap_or(0);
            self.progress.reached.fetch_add(further, Ordering::Relaxed);
            if fresh.is_empty() {
                continue;
            }
            let measured = self.on_run(batch, run, fresh.clone(), measure_from);
            counted += measured;
            // Intended times ascend with the offsets, so it is the last ones that are measured.
            let measured_from = fresh.end - i64::try_from(measured).unwrap_or(0);
            self.uncommitted[run.partition].push_back(Done {
                offsets: fresh,
                measured_from,
                at: batch.done_at,
            });
        }
        if counted > 0 {
            self.stages.encode.record(batch.encode, counted);
            self.stages.queue.record(batch.sent_at - batch.sealed_at, counted);
            self.stages.invocation.record(batch.done_at - batch.sent_at, counted);
            self.count(batch);
        }
        let before = self.last_done.insert(batch.poller, batch.done_at);
        if let (true, Some(before)) = (counted > 0, before) {
            self.overlap.batches += 1;
            let full = matches!(batch.cause, FlushCause::Count | FlushCause::Bytes);
            if full && batch.runs.iter().all(|run| run.at <= before) {
                self.overlap.full_ahead += 1;
                self.overlap.turnaround.record(batch.sent_at - before, 1);
            }
        }
    }

    /// The engine filtered these out as it read them.
    pub(super) fn on_filtered(&mut self, partition: usize, offsets: Range<i64>) {
        let before = self.audit.next(partition);
        self.audit.on_filtered(partition, offsets);
        let further = u64::try_from(self.audit.next(partition) - before).unwrap_or(0);
        self.progress.reached.fetch_add(further, Ordering::Relaxed);
    }

    /// Counts the records of one run that were delivered for the first time. Returns how many of
    /// them are measured.
    fn on_run(&mut self, batch: &Delivered, run: &Polled, fresh: Range<i64>, measure_from: Nanos) -> u64 {
        let records = u64::try_from(fresh.end - fresh.start).unwrap_or(0);
        let mut counted = 0;
        let bytes = match &self.origin {
            Origin::Corpus(corpus) => {
                if run.at >= measure_from {
                    self.stages.total.record(batch.done_at - run.at, records);
                    self.slots.record(batch.done_at - run.at, records);
                    self.stages.broker_wait.record(Duration::ZERO, records);
                    counted = records;
                }
                corpus.bytes(run.partition, fresh)
            }
            Origin::Ledger(ledger) => {
                let mut bytes = 0;
                ledger.each(run.partition, fresh, |sent| {
                    bytes += u64::from(sent.bytes);
                    if sent.intended >= measure_from {
                        counted += 1;
                        self.stages.total.record(batch.done_at - sent.intended, 1);
                        self.slots.record(batch.done_at - sent.intended, 1);
                        self.stages.broker_wait.record(run.at - sent.intended, 1);
                    }
                });
                bytes
            }
        };
        if counted > 0 {
            let window = (batch.sealed_at - run.at).saturating_sub(batch.encode);
            self.stages.window.record(window, counted);
        }
        if batch.done_at >= measure_from {
            self.slots.deliver(records, bytes);
        }
        self.progress.records.fetch_add(records, Ordering::Relaxed);
        self.progress.bytes.fetch_add(bytes, Ordering::Relaxed);
        counted
    }

    fn count(&mut self, batch: &Delivered) {
        self.batches.batches += 1;
        self.batches.attempts += u64::from(batch.attempts);
        self.batches.invoked += batch.done_at - batch.sent_at;
        self.batches.records += u64::from(batch.records);
        self.batches.payload_bytes += batch.payload_bytes as u64;
        *self.batches.causes.entry(batch.cause.label()).or_default() += 1;
        let (least, most) = self.batches.payload_bytes_range.unwrap_or((usize::MAX, 0));
        self.batches.payload_bytes_range =
            Some((least.min(batch.payload_bytes), most.max(batch.payload_bytes)));
    }

    pub(super) fn on_committed(&mut self, partition: usize, offset: i64, at: Nanos) {
        self.audit.on_committed(partition, offset);
        let waiting = &mut self.uncommitted[partition];
        while let Some(done) = waiting.front_mut()
            && done.offsets.start < offset
        {
            let covered = offset.min(done.offsets.end);
            if let Ok(measured @ 1..) = u64::try_from(covered - done.offsets.start.max(done.measured_from)) {
                self.stages.commit.record(at - done.at, measured);
            }
            done.offsets.start = covered;
            if done.offsets.is_empty() {
                waiting.pop_front();
            }
        }
        if let Origin::Ledger(ledger) = &self.origin {
            ledger.on_committed(partition, offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Commits;
    use crate::ledger::{Ledger, Sent};
    use std::sync::atomic::AtomicU64;

    const MS: u64 = 1_000_000;

    fn batch(runs: &[(usize, Range<i64>, u64)], sealed_ms: u64, sent_ms: u64, done_ms: u64) -> Delivered {
        let runs: Vec<Polled> = runs
            .iter()
            .map(|(partition, offsets, at)| Polled {
                partition: *partition,
                offsets: offsets.clone(),
                at: Nanos(at * MS),
            })
            .collect();
        Delivered {
            poller: 0,
            attempts: 1,
            records: runs.iter().map(|run| (run.offsets.end - run.offsets.start) as u32).sum(),
            payload_bytes: 1_000,
            cause: FlushCause::Count,
            sealed_at: Nanos(sealed_ms * MS),
            encode: Duration::from_millis(1),
            sent_at: Nanos(sent_ms * MS),
            done_at: Nanos(done_ms * MS),
            runs,
        }
    }

    fn measured(intended_ms: &[u64]) -> (Measured, Arc<Ledger>) {
        let ledger = Arc::new(Ledger::new(&[0]));
        for at in intended_ms {
            ledger.on_sent(0, Sent { intended: Nanos(at * MS), bytes: 10 });
        }
        let progress = Arc::new(Progress {
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            reached: AtomicU64::new(0),
            measure_from: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
        });
        (Measured::new(&[0], Origin::Ledger(Arc::clone(&ledger)), progress), ledger)
    }

    fn ms(latency: &Latency) -> (u64, u64) {
        let summary = latency.summary();
        (summary.count, (summary.max_us + 500) / 1_000)
    }

    #[test]
    fn stages_add_up_to_the_total_from_the_intended_send() {
        let (mut measured, _) = measured(&[0]);
        measured.on_delivered(&batch(&[(0, 0..1, 10)], 30, 35, 85));
        measured.on_committed(0, 1, Nanos(100 * MS));
        let stages = &measured.stages;
        assert_eq!(ms(&stages.broker_wait), (1, 10));
        assert_eq!(ms(&stages.window), (1, 19));
        assert_eq!(ms(&stages.encode), (1, 1));
        assert_eq!(ms(&stages.queue), (1, 5));
        assert_eq!(ms(&stages.invocation), (1, 50));
        assert_eq!(ms(&stages.total), (1, 85));
        assert_eq!(ms(&stages.commit), (1, 15));
    }

    #[test]
    fn a_commit_in_the_middle_of_a_batch_counts_what_it_covers() {
        let (mut measured, ledger) = measured(&[0, 0, 0, 0]);
        measured.on_delivered(&batch(&[(0, 0..4, 1)], 2, 3, 4));
        measured.on_committed(0, 3, Nanos(10 * MS));
        assert_eq!(measured.stages.commit.count(), 3);
        measured.on_committed(0, 4, Nanos(20 * MS));
        assert_eq!(ms(&measured.stages.commit), (4, 16));
        assert_eq!(ledger.outstanding_bytes(0), 0);
        assert!(measured.audit.verdict(&[4], Commits::Expected).is_clean());
    }

    #[test]
    fn the_warm_up_is_audited_and_not_measured() {
        let (mut measured, _) = measured(&[0, 50]);
        measured.progress.measure_from(Nanos(20 * MS));
        measured.on_delivered(&batch(&[(0, 0..2, 60)], 61, 62, 63));
        assert_eq!(measured.stages.total.count(), 1);
        assert_eq!(measured.progress.records(), 2);
        assert_eq!(measured.progress.bytes(), 20);
        // Both were delivered after the warm-up, which is what throughput is about.
        let piece = measured.slots.pieces(Duration::from_millis(100))[2];
        assert_eq!((piece.records, piece.bytes, piece.latency.count), (2, 20, 1));
    }

    #[test]
    fn a_second_delivery_is_not_measured_again() {
        let (mut measured, _) = measured(&[0, 0]);
        measured.on_delivered(&batch(&[(0, 0..2, 1)], 2, 3, 4));
        measured.on_delivered(&batch(&[(0, 0..2, 9)], 10, 11, 12));
        assert_eq!(measured.stages.total.count(), 2);
        assert_eq!(measured.audit.verdict(&[2], Commits::NotExpected).records_duplicated, 2);
    }

    #[test]
    fn a_batch_is_ahead_if_it_was_full_before_the_answer() {
        let (mut measured, _) = measured(&[0; 6]);
        measured.on_delivered(&batch(&[(0, 0..2, 1)], 2, 3, 50));
        measured.on_delivered(&batch(&[(0, 2..4, 40)], 41, 51, 90));
        measured.on_delivered(&batch(&[(0, 4..6, 95)], 96, 97, 99));
        assert_eq!((measured.overlap.batches, measured.overlap.full_ahead), (2, 1));
        assert_eq!(ms(&measured.overlap.turnaround), (1, 1));
    }
}
