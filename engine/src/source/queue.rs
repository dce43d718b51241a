//! A poller's queue: batches of borrowed messages from librdkafka. The only file that talks to
//! librdkafka's C functions on the record path, and what it buys is measured: one call for a
//! thousand records costs a quarter of `BaseConsumer::poll` for each, and allocates nothing here.
//!
//! A [`KafkaQueue`] works with any consumer of the `rdkafka` crate, so that a bare batch consumer
//! (the floor of the engine's benches) is this file and a loop.
//!
//! # Positions
//! librdkafka keeps its own position of each partition and fetches again from there whenever it has
//! held a partition back: at every rebalance, for every partition that stays. Its batch reads count
//! **error messages** as records there (librdkafka #4844; mended for ends of partition by #5213,
//! after the 2.12.1 that the `rdkafka` crate bundles), so that the record at the position of an
//! error was skipped for good. Therefore ends of partition are not asked for
//! (`enable.partition.eof=false`), and after any other error the position is put right.
//!
//! # Memory
//! A message pins the whole fetch answer that it came in, typically 1 MiB for each partition, and
//! messages that were read no longer count in librdkafka's own limit. So at most one read's worth
//! is pending: [`read`](RecordQueue::read) does nothing until all of it was advanced past, and
//! what is pinned is bounded by `records_max` messages out of as many fetch answers as they span.
//! Keep no message for later: write it and advance.
#![expect(unsafe_code, reason = "librdkafka's batch reads, headers and commit results exist only in C")]

use std::any::Any;
use std::ffi::{CStr, CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::Offset as KafkaOffset;

use super::RecordQueue;
use super::faults::{Fault, FaultKind};
use super::lists::list_of;
pub use super::message::{Headers, Message};
use super::settings::Wake;
use crate::ids::{Offset, Partition, Topic};
use crate::record::Record;

/// Where the queue is in a partition.
struct Position {
    partition: Partition,
    /// The lowest offset that may still come.
    next: Offset,
    /// Nothing of it is handed over until it is routed here again.
    held: bool,
    /// An error came, which may have moved librdkafka's position.
    shaken: bool,
}

impl Position {
    const fn new(partition: Partition, next: Offset) -> Self {
        Self { partition, next, held: false, shaken: false }
    }
}

/// How long a seek may take: a word between two threads of this process.
const SEEK_TIMEOUT_MS: i32 = 1000;

/// Errors kept at most until they are taken: more of the same say nothing new.
const FAULTS_MAX: usize = 64;

/// The queue of one poller. Used by one thread at a time, which may change.
pub struct KafkaQueue {
    queue: NonNull<c::rd_kafka_queue_t>,
    rk: *mut c::rd_kafka_t,
    /// `messages[..taken]` are destroyed, `messages[taken..]` are pending.
    messages: Vec<Message>,
    taken: usize,
    /// The topic of all partitions here; known once one is routed.
    topic: Option<Topic>,
    positions: Vec<Position>,
    /// At least one position is shaken.
    shaken: bool,
    /// Positions are to be looked at when nothing is pending.
    look: bool,
    faults: Vec<Fault>,
    /// Its address is known to librdkafka while `queue` lives.
    _wake: Box<Wake>,
    /// The consumer. Declared last and dropped last: destroying a consumer while handles of its
    /// queues or messages exist would wait for them for ever.
    _consumer: Arc<dyn Any + Send + Sync>,
}

// SAFETY: librdkafka's handles are not bound to a thread; `&mut self` on every call that changes
// anything keeps two threads from using the queue and its messages at once.
unsafe impl Send for KafkaQueue {}

/// Called by librdkafka, under the queue's lock, when the queue stops being empty.
unsafe extern "C" fn on_not_empty(_: *mut c::rd_kafka_t, wake: *mut c_void) {
    // SAFETY: `KafkaQueue::new` gave this address; the box lives until the callback is off.
    let wake = unsafe { &*wake.cast_const().cast::<Wake>() };
    wake();
}

impl KafkaQueue {
    /// A new queue of `consumer`, which nothing is routed to yet. `wake` is called from
    /// librdkafka's threads when the queue stops being empty, and only then: read until nothing is
    /// returned before waiting for it.
    pub fn new<C: ConsumerContext + 'static>(consumer: &Arc<BaseConsumer<C>>, wake: Wake) -> Self {
        let rk = consumer.client().native_ptr();
        // SAFETY: the consumer is alive, and stays so at least as long as this queue.
        let queue = unsafe { c::rd_kafka_queue_new(rk) };
        let queue = NonNull::new(queue).expect("librdkafka aborts rather than returns null here");
        let wake = Box::new(wake);
        // SAFETY: the opaque is a `Wake` at an address that stays until `drop` has disabled the
        // callback, under the same lock that it is called under.
        unsafe {
            c::rd_kafka_queue_cb_event_enable(
                queue.as_ptr(),
                Some(on_not_empty),
                ptr::from_ref(&*wake).cast_mut().cast(),
            );
        }
        Self {
            queue,
            rk,
            messages: Vec::new(),
            taken: 0,
            topic: None,
            positions: Vec::new(),
            shaken: false,
            look: false,
            faults: Vec::new(),
            _wake: wake,
            _consumer: Arc::clone(consumer) as Arc<dyn Any + Send + Sync>,
        }
    }

    /// Sends what is fetched of `partition` here, from `start` on. To be called before **each**
    /// assignment of the partition: unassigning undoes it. Returns whether the client knows the
    /// partition.
    #[must_use]
    pub fn route(&mut self, topic: &Topic, partition: Partition, start: Offset) -> bool {
        let Ok(name) = CString::new(topic.as_str()) else { return false };
        // SAFETY: the client is alive and `name` is a C string.
        let source = unsafe { c::rd_kafka_queue_get_partition(self.rk, name.as_ptr(), partition.0) };
        if source.is_null() {
            return false;
        }
        // SAFETY: both handles are alive.
        unsafe { c::rd_kafka_queue_forward(source, self.queue.as_ptr()) };
        // SAFETY: this gives back the reference that `get_partition` took; the forward remains.
        unsafe { c::rd_kafka_queue_destroy(source) };
        self.topic.get_or_insert_with(|| topic.clone());
        let position = Position::new(partition, start);
        match self.positions.iter_mut().find(|one| one.partition == partition) {
            Some(known) => *known = position,
            None => self.positions.push(position),
        }
        true
    }

    /// Moves out what came besides records.
    pub(super) fn take_faults(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.faults)
    }

    /// Lets the next [`RecordQueue::take_reached`] look for positions beyond the last record.
    pub(super) fn look(&mut self) {
        self.look = true;
    }

    fn add_fault(&mut self, partition: Partition, kind: FaultKind) {
        let fault = Fault { partition, kind };
        if self.faults.len() < FAULTS_MAX && !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// The place of `partition` in `positions`.
    fn position(&mut self, partition: Partition) -> usize {
        match self.positions.iter().position(|one| one.partition == partition) {
            Some(found) => found,
            None => {
                self.positions.push(Position::new(partition, Offset(0)));
                self.positions.len() - 1
            }
        }
    }

    /// Keeps the records that may be handed over, in order; takes note of everything else.
    fn sift(&mut self) {
        let mut kept = 0;
        let mut place = usize::MAX;
        for at in 0..self.messages.len() {
            let message = &self.messages[at];
            let (partition, offset) = (message.partition(), message.offset());
            if message.error() != 0 {
                self.note_error(at);
                continue;
            }
            if self.positions.get(place).is_none_or(|one| one.partition != partition) {
                place = self.position(partition);
            }
            let position = &mut self.positions[place];
            // Behind an error nothing is taken until the client stands at it again (`steady`): what
            // it could not read once (a checksum, say) is no gap, and must not be passed over.
            if position.held || position.shaken {
                continue;
            }
            if offset < position.next {
                position.held = true;
                let expected = position.next;
                self.add_fault(partition, FaultKind::WentBack { expected, got: offset });
                continue;
            }
            position.next = offset.next();
            self.messages.swap(kept, at);
            kept += 1;
        }
        self.destroy_from(kept);
    }

    fn note_error(&mut self, at: usize) {
        let message = &self.messages[at];
        let (partition, error) = (message.partition(), message.error());
        // SAFETY: the message is alive and carries an error, for which librdkafka has words that
        // live as long as the message.
        let words = unsafe { c::rd_kafka_message_errstr(message.raw()) };
        let reason = if words.is_null() {
            format!("error {error}")
        } else {
            // SAFETY: not null, so a C string.
            unsafe { CStr::from_ptr(words) }.to_string_lossy().into_owned()
        };
        let code = c::rd_kafka_resp_err_t::try_from(error).map_or(RDKafkaErrorCode::Unknown, Into::into);
        self.add_fault(partition, FaultKind::Fetch { code, reason });
        let place = self.position(partition);
        self.positions[place].shaken = true;
        self.shaken = true;
    }

    /// Takes librdkafka's position back to what was really handed over, where an error moved it.
    fn steady(&mut self) {
        let shaken: Vec<_> =
            self.positions.iter().filter(|one| one.shaken && !one.held).map(|one| one.partition).collect();
        for (partition, client) in self.client_positions(&shaken) {
            let place = self.position(partition);
            let next = self.positions[place].next;
            if client > next && !self.seek(partition, next) {
                // Being revoked, or not yet begun. Asked again with the next read.
                continue;
            }
            self.positions[place].shaken = false;
        }
        self.shaken = self.positions.iter().any(|one| one.shaken && !one.held);
    }

    /// Where librdkafka stands in `partitions`; those in which nothing was read yet are left out.
    fn client_positions(&self, partitions: &[Partition]) -> Vec<(Partition, Offset)> {
        let Some(topic) = self.topic.as_ref().filter(|_| !partitions.is_empty()) else { return Vec::new() };
        let list = list_of(topic, partitions.iter().map(|one| (*one, KafkaOffset::Invalid)));
        // SAFETY: the client and the list are alive; the answer is written into the list.
        let error = unsafe { c::rd_kafka_position(self.rk, list.ptr()) };
        if error != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Vec::new();
        }
        list.elements()
            .iter()
            .filter_map(|one| match one.offset() {
                KafkaOffset::Offset(offset) => Some((Partition(one.partition()), Offset(offset))),
                _ => None,
            })
            .collect()
    }

    /// Lets librdkafka fetch `partition` again from `offset`; false if it does not do so now.
    fn seek(&self, partition: Partition, offset: Offset) -> bool {
        let Some(topic) = self.topic.as_ref() else { return false };
        let list = list_of(topic, [(partition, KafkaOffset::Offset(offset.0))]);
        // SAFETY: the client and the list are alive; the answer is written into the list.
        let error = unsafe { c::rd_kafka_seek_partitions(self.rk, list.ptr(), SEEK_TIMEOUT_MS) };
        if !error.is_null() {
            // SAFETY: an error object that is ours, used for the last time.
            unsafe { c::rd_kafka_error_destroy(error) };
            return false;
        }
        list.elements().iter().all(|one| one.error().is_ok())
    }

    fn destroy_from(&mut self, kept: usize) {
        for message in self.messages.drain(kept..) {
            // SAFETY: the queue owns the message, and draining it made this the last use.
            unsafe { c::rd_kafka_message_destroy(message.0.as_ptr()) };
        }
    }

    fn fetch(&mut self, records_max: usize) {
        debug_assert!(self.messages.is_empty() && self.taken == 0);
        self.messages.reserve(records_max);
        let array = self.messages.spare_capacity_mut().as_mut_ptr().cast::<*mut c::rd_kafka_message_t>();
        // SAFETY: the array has room for `records_max` pointers, and `Message` is one.
        let count = unsafe { c::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, array, records_max) };
        // Negative is an error of use (a null queue).
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: librdkafka wrote `count` pointers, none of them null, which are now ours.
        unsafe { self.messages.set_len(count) };
    }
}

impl RecordQueue for KafkaQueue {
    type Record = Message;

    fn read(&mut self, records_max: usize) -> usize {
        if self.taken == self.messages.len() {
            self.taken = 0;
            loop {
                self.messages.clear();
                self.fetch(records_max);
                let fetched = self.messages.len();
                self.sift();
                if self.shaken {
                    self.steady();
                }
                // Errors alone must not look like an empty queue, which nobody wakes for again.
                if fetched == 0 || !self.messages.is_empty() {
                    break;
                }
            }
        }
        self.messages.len() - self.taken
    }

    fn pending(&self) -> &[Message] {
        &self.messages[self.taken..]
    }

    fn advance(&mut self, records: usize) {
        let end = self.taken + records;
        for message in &self.messages[self.taken..end] {
            // SAFETY: pending messages are owned and alive; `taken` moves past them below, so
            // that they are neither seen nor destroyed again. Nothing here can unwind.
            unsafe { c::rd_kafka_message_destroy(message.0.as_ptr()) };
        }
        self.taken = end;
        if self.taken == self.messages.len() {
            self.messages.clear();
            self.taken = 0;
        }
    }

    /// Also holds back what is still to come of `partition`, until it is routed here again.
    fn discard(&mut self, partition: Partition) {
        let place = self.position(partition);
        self.positions[place].held = true;
        self.messages.drain(..self.taken);
        self.taken = 0;
        let mut kept = 0;
        for at in 0..self.messages.len() {
            if self.messages[at].partition() != partition {
                self.messages.swap(kept, at);
                kept += 1;
            }
        }
        self.destroy_from(kept);
    }

    /// Only positions beyond the last record are told, and only after the client's statistics came
    /// (5 s apart by default): what lies there is gaps, and no record waits for them.
    fn take_reached(&mut self, reached: &mut Vec<(Partition, Offset)>) {
        debug_assert!(self.pending().is_empty(), "what is pending is not yet handed over");
        if !std::mem::take(&mut self.look) {
            return;
        }
        let steady: Vec<_> =
            self.positions.iter().filter(|one| !one.held && !one.shaken).map(|one| one.partition).collect();
        for (partition, offset) in self.client_positions(&steady) {
            let place = self.position(partition);
            let position = &mut self.positions[place];
            if offset > position.next {
                position.next = offset;
                reached.push((partition, offset));
            }
        }
    }
}

impl Drop for KafkaQueue {
    fn drop(&mut self) {
        self.advance(self.messages.len() - self.taken);
        // SAFETY: the queue is alive. This takes the lock that the callback runs under, so
        // afterwards `wake` is not in use.
        unsafe { c::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut()) };
        // SAFETY: the only handle, used for the last time; what is still queued is purged with it.
        unsafe { c::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}
