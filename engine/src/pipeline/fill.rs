//! The hot loop: from the queue into the open batch.

use std::sync::Arc;
use std::time::Duration;

use crate::batch::{FlushCause, OpenBatch, Stop};
use crate::deliver::Delivery;
use crate::ids::{Offset, Slot, Topic};
use crate::record::Record;
use crate::source::RecordQueue;
use crate::telemetry::Count;
use crate::time::Nanos;

use super::Oversized;
use super::parcel::Parcel;
use super::poller::{Bench, Poller, ordered};
use super::sieve::Sieve;

/// Records asked of the queue at once: enough to make its cost per record vanish, few enough that
/// their messages stay in cache.
const READ_RECORDS: usize = 1000;
/// Records a poller takes before its thread looks after the others and the client.
const TURN_RECORDS: usize = 10_000;

impl Poller {
    /// Reads until the queue is empty, a batch is ready behind the one in flight, or the turn is
    /// over.
    pub(super) fn fill<Q: RecordQueue>(&mut self, queue: &mut Q, bench: &mut Bench<'_>) -> bool {
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
            let began = bench.world.now();
            let full = self.take(queue, began, bench);
            let ended = bench.world.now();
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
        if self.open.as_ref().is_some_and(OpenBatch::is_empty) {
            // Its first record could not be taken: others may need the buffer meanwhile.
            self.give_back_open(bench.pool);
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
                advance(queue, self.sieve.as_mut(), run);
                continue;
            };
            if !self.follows(slot, first.offset(), &bench.settings.topic) {
                return None;
            }
            let run = match self.pass_finished(queue, slot, run, bench) {
                Sifted::Dropped => continue,
                Sifted::Kept(run) => run,
            };
            let run = match self.sift(queue, slot, run, bench) {
                Sifted::Dropped => continue,
                Sifted::Kept(run) => run,
            };
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
                advance(queue, self.sieve.as_mut(), appended.taken);
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
                Some(Stop::TooLarge { needed })
                    if bench.settings.gives_up_outsized() && u32::try_from(needed).is_ok() =>
                {
                    if !open.is_empty() {
                        // What came before it goes first.
                        return Some(FlushCause::Bytes);
                    }
                    self.divert(queue, slot, needed, bench);
                    return None;
                }
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

    /// Splits the first pending records, `run` of one partition, where those begin or end that were
    /// finished before this member read the partition. They are done already.
    #[inline]
    fn pass_finished<Q: RecordQueue>(
        &mut self,
        queue: &mut Q,
        slot: Slot,
        run: usize,
        bench: &Bench<'_>,
    ) -> Sifted {
        let Some(owned) = self.partitions.get_mut(slot) else { return Sifted::Kept(run) };
        let Some(finished) = owned.watermark.resumed() else { return Sifted::Kept(run) };
        let pending = &queue.pending()[..run];
        let count = pending.iter().take_while(|record| record.offset() <= finished.last).count();
        let Some((last, first)) = pending[..count].last().zip(pending.first()) else {
            // They do not exist any more. Taking what comes after them passes them, but one run may
            // be followed by others that are finished.
            owned.watermark.on_reached(finished.last.next());
            return Sifted::Dropped;
        };
        let (first, last) = (first.offset(), last.offset());
        if first < finished.first {
            return Sifted::Kept(pending.iter().take_while(|r| r.offset() < finished.first).count());
        }
        ordered(owned.watermark.on_resumed(first, last), &bench.settings.topic, owned.partition);
        if let Some(observer) = bench.observer {
            observer.on_resumed(owned.partition, first, last);
        }
        bench.counters.records(Count::Polled, count as u64);
        bench.counters.records(Count::Resumed, count as u64);
        advance(queue, self.sieve.as_mut(), count);
        Sifted::Dropped
    }

    /// Splits the first pending records, `run` of one partition, where the filters' verdict changes.
    /// Those that are filtered out are done with here: their offsets count as read, and are never
    /// waited for.
    #[inline]
    fn sift<Q: RecordQueue>(&mut self, queue: &mut Q, slot: Slot, run: usize, bench: &Bench<'_>) -> Sifted {
        let Some(sieve) = self.sieve.as_mut() else { return Sifted::Kept(run) };
        let verdict = sieve.judge(&bench.settings.topic, &queue.pending()[..run]);
        if verdict.keep {
            return Sifted::Kept(verdict.records);
        }
        let dropped = &queue.pending()[..verdict.records];
        let (Some(first), Some(last)) = (dropped.first(), dropped.last()) else { return Sifted::Kept(run) };
        let (first, last) = (first.offset(), last.offset());
        if let Some(owned) = self.partitions.get_mut(slot) {
            owned.watermark.on_reached(last.next());
            if let Some(observer) = bench.observer {
                observer.on_filtered(owned.partition, first, last);
            }
        }
        bench.counters.records(Count::Polled, verdict.records as u64);
        bench.counters.records(Count::Filtered, verdict.records as u64);
        advance(queue, self.sieve.as_mut(), verdict.records);
        Sifted::Dropped
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
                advance(queue, self.sieve.as_mut(), 1);
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

    /// Makes a batch of its own of a first pending record that no payload can hold, for the
    /// on-failure destination. The poller has no open batch with records, and none is ready.
    fn divert<Q: RecordQueue>(&mut self, queue: &mut Q, slot: Slot, needed: usize, bench: &mut Bench<'_>) {
        self.give_back_open(bench.pool);
        let Some(lease) = bench.pool.acquire_outsized(needed) else {
            self.starved = true;
            return;
        };
        let Some(owned) = self.partitions.get_mut(slot) else { return };
        let (record, now) = (&queue.pending()[0], bench.world.now());
        let (offset, envelope) = (record.offset(), Arc::clone(&bench.settings.envelope));
        let place = (slot, &owned.template);
        let batch = OpenBatch::outsized(lease, bench.pool, envelope, place, record, (needed, now));
        ordered(owned.watermark.on_taken(offset, offset), &bench.settings.topic, owned.partition);
        bench.counters.records(Count::Polled, 1);
        advance(queue, self.sieve.as_mut(), 1);
        self.seed = self.seed.wrapping_add(1);
        let delivery = Delivery::outsized(bench.settings.retry, self.seed);
        self.ready = Some(Parcel { batch, delivery, encode: Duration::ZERO });
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
}

/// Gives the first pending records back to the source.
fn advance<Q: RecordQueue>(queue: &mut Q, sieve: Option<&mut Sieve>, records: usize) {
    queue.advance(records);
    if let Some(sieve) = sieve {
        sieve.advance(records);
    }
}

/// What became of the first pending records.
enum Sifted {
    /// So many are to be delivered.
    Kept(usize),
    /// Some were passed, and others come first now.
    Dropped,
}

/// How many records from the first on lie in the same partition.
fn run_length<R: Record>(records: &[R]) -> usize {
    let Some(first) = records.first() else { return 0 };
    let partition = first.partition();
    records.iter().take_while(|record| record.partition() == partition).count()
}
