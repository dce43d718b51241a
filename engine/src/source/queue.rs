//! A poller's queue: batches of borrowed messages from librdkafka. The only file that talks to
//! librdkafka's C functions on the record path, and what it buys is measured: one call for a
//! thousand records costs a quarter of `BaseConsumer::poll` for each, and allocates nothing here.
//!
//! A [`KafkaQueue`] works with any consumer of the `rdkafka` crate, so that a bare batch consumer
//! (the floor of the engine's benches) is this file and a loop.
//!
//! # Memory
//! A message pins the whole fetch answer that it came in, typically 1 MiB for each partition, and
//! messages that were read no longer count in librdkafka's own limit. So at most one read's worth
//! is pending: [`read`](RecordQueue::read) does nothing until all of it was advanced past, and
//! what is pinned is bounded by `records_max` messages out of as many fetch answers as they span.
//! Keep no message for later: write it and advance.
#![expect(unsafe_code, reason = "librdkafka's batch reads, headers and commit results exist only in C")]

use std::any::Any;
use std::ffi::{CStr, CString, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::Offset as KafkaOffset;

use super::RecordQueue;
use super::settings::Wake;
use crate::ids::{Offset, Partition, Topic};
use crate::record::{Header, Record, TimestampType};

/// A borrowed message. Only ever seen behind a reference: its queue owns it.
#[repr(transparent)]
pub struct Message(NonNull<c::rd_kafka_message_t>);

impl Message {
    fn error(&self) -> i32 {
        // SAFETY: the message is alive while its queue holds it. Only the field's address is
        // taken, and it is read as the integer that C wrote: a code that the bindings' enum does
        // not know must not become a value of that enum.
        let code = unsafe { &raw const (*self.0.as_ptr()).err };
        // SAFETY: as above; `rd_kafka_resp_err_t` is `repr(i32)`.
        unsafe { code.cast::<i32>().read() }
    }

    fn raw(&self) -> *const c::rd_kafka_message_t {
        self.0.as_ptr()
    }
}

/// The bytes at `start`; `None` for null, which is how librdkafka tells null from empty.
///
/// # Safety
/// If not null, `start` must point to `len` bytes that live and stay as they are for `'a`.
unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(start.cast(), len) })
}

impl Record for Message {
    type Headers<'a> = Headers<'a>;

    fn partition(&self) -> Partition {
        // SAFETY: alive while its queue holds it; librdkafka does not write to it meanwhile.
        Partition(unsafe { (*self.raw()).partition })
    }

    fn offset(&self) -> Offset {
        // SAFETY: as above.
        Offset(unsafe { (*self.raw()).offset })
    }

    fn timestamp_ms(&self) -> i64 {
        timestamp(self).0
    }

    fn timestamp_type(&self) -> TimestampType {
        timestamp(self).1
    }

    fn key(&self) -> Option<&[u8]> {
        // SAFETY: as above; the two fields are read together and belong together.
        let (start, len) = unsafe { ((*self.raw()).key, (*self.raw()).key_len) };
        // SAFETY: the key lies in the fetch buffer that the message holds a reference on.
        unsafe { bytes(start, len) }
    }

    fn value(&self) -> Option<&[u8]> {
        // SAFETY: as above.
        let (start, len) = unsafe { ((*self.raw()).payload, (*self.raw()).len) };
        // SAFETY: as the key.
        unsafe { bytes(start, len) }
    }

    /// Parsed on the first call, some 80 ns a header, and kept with the message. A name ends at
    /// its first NUL byte: librdkafka tells no length.
    fn headers(&self) -> Headers<'_> {
        let mut list = ptr::null_mut();
        // SAFETY: the message is alive and used by one thread at a time (`KafkaQueue` is not
        // `Sync`), so the list that is parsed into it here is written once, before it is read.
        let error = unsafe { c::rd_kafka_message_headers(self.raw(), &raw mut list) };
        let list =
            if error == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR { list } else { ptr::null_mut() };
        Headers { list, next: 0, message: PhantomData }
    }
}

fn timestamp(message: &Message) -> (i64, TimestampType) {
    let mut kind = c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: the message is alive; librdkafka writes one of its three constants to `kind`.
    let ms = unsafe { c::rd_kafka_message_timestamp(message.raw(), &raw mut kind) };
    match kind {
        c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => (ms, TimestampType::CreateTime),
        c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => {
            (ms, TimestampType::LogAppendTime)
        }
        c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => (-1, TimestampType::None),
    }
}

/// A message's headers, in order.
#[derive(Clone)]
pub struct Headers<'a> {
    /// Null if there are none.
    list: *const c::rd_kafka_headers_t,
    next: usize,
    message: PhantomData<&'a Message>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        if self.list.is_null() {
            return None;
        }
        let (mut name, mut value, mut len): (*const c_char, *const c_void, usize) =
            (ptr::null(), ptr::null(), 0);
        // SAFETY: the list belongs to the message, which is borrowed for `'a`.
        let error = unsafe {
            c::rd_kafka_header_get_all(self.list, self.next, &raw mut name, &raw mut value, &raw mut len)
        };
        if error != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        self.next += 1;
        // SAFETY: librdkafka keeps names with a NUL behind them, as long as the message lives.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes();
        // SAFETY: the value lies in the message's buffer, like its key.
        let value = unsafe { bytes(value, len) };
        Some(Header { name, value })
    }
}

/// Something other than a record that came through a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) partition: Partition,
    pub(super) kind: FaultKind,
}

/// What it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// The broker refused a fetch; the client tries again.
    Fetch { code: RDKafkaErrorCode, reason: String },
    /// An offset came that should have been past: the log was truncated or made anew.
    WentBack { expected: Offset, got: Offset },
}

/// Where the queue is in a partition.
struct Position {
    partition: Partition,
    /// The lowest offset that may still come.
    next: Offset,
    /// Nothing of it is handed over until it is routed here again.
    held: bool,
}

/// Errors kept at most until they are taken: more of the same say nothing new.
const FAULTS_MAX: usize = 64;

/// The queue of one poller. Used by one thread at a time, which may change.
pub struct KafkaQueue {
    queue: NonNull<c::rd_kafka_queue_t>,
    rk: *mut c::rd_kafka_t,
    /// `messages[..taken]` are destroyed, `messages[taken..]` are pending.
    messages: Vec<Message>,
    taken: usize,
    positions: Vec<Position>,
    reached: Vec<(Partition, Offset)>,
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
            positions: Vec::new(),
            reached: Vec::new(),
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
        self.forget_reached(partition);
        let position = Position { partition, next: start, held: false };
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

    fn forget_reached(&mut self, partition: Partition) {
        self.reached.retain(|(one, _)| *one != partition);
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
                self.positions.push(Position { partition, next: Offset(0), held: false });
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
            let (partition, offset, error) = (message.partition(), message.offset(), message.error());
            if self.positions.get(place).is_none_or(|one| one.partition != partition) {
                place = self.position(partition);
            }
            let position = &mut self.positions[place];
            if error == 0 && !position.held && offset >= position.next {
                position.next = offset.next();
                self.messages.swap(kept, at);
                kept += 1;
            } else if error == 0 || error == RDKafkaErrorCode::PartitionEOF as i32 {
                self.note_position(place, offset, error != 0);
            } else {
                self.note_error(at);
            }
        }
        self.destroy_from(kept);
    }

    /// An end of partition, or a record that is not handed over.
    fn note_position(&mut self, place: usize, offset: Offset, is_end: bool) {
        let position = &mut self.positions[place];
        let (partition, expected) = (position.partition, position.next);
        if position.held {
        } else if offset < expected {
            position.held = true;
            self.forget_reached(partition);
            self.add_fault(partition, FaultKind::WentBack { expected, got: offset });
        } else if is_end {
            position.next = offset;
            self.forget_reached(partition);
            self.reached.push((partition, offset));
        }
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
        self.forget_reached(partition);
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

    fn take_reached(&mut self, reached: &mut Vec<(Partition, Offset)>) {
        debug_assert!(self.pending().is_empty(), "what is pending is not yet handed over");
        reached.append(&mut self.reached);
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

/// The way of commits: offsets to the broker, the answer to the consumer's own queue or to whoever
/// waits for it. `Consumer::commit` of the `rdkafka` crate never reports an asynchronous commit.
pub(super) struct Committer {
    rk: *mut c::rd_kafka_t,
    consumer_queue: NonNull<c::rd_kafka_queue_t>,
    /// As in [`KafkaQueue`].
    _consumer: Arc<dyn Any + Send + Sync>,
}

// SAFETY: as for `KafkaQueue`.
unsafe impl Send for Committer {}

impl Committer {
    pub(super) fn new<C: ConsumerContext + 'static>(consumer: &Arc<BaseConsumer<C>>) -> Option<Self> {
        let rk = consumer.client().native_ptr();
        // SAFETY: the consumer is alive; the reference is given back on drop, before the consumer.
        let consumer_queue = NonNull::new(unsafe { c::rd_kafka_queue_get_consumer(rk) })?;
        Some(Self { rk, consumer_queue, _consumer: Arc::clone(consumer) as Arc<dyn Any + Send + Sync> })
    }

    /// Sends `offsets`; the answer comes to `ConsumerContext::commit_callback`.
    pub(super) fn send(&self, offsets: &TopicPartitionList) -> Result<(), RDKafkaErrorCode> {
        self.send_to(offsets, self.consumer_queue.as_ptr())
    }

    /// Sends `offsets` and waits for the answer.
    pub(super) fn send_and_wait(
        &self,
        offsets: &TopicPartitionList,
        timeout: Duration,
    ) -> Result<(), String> {
        // SAFETY: the client is alive.
        let answers = unsafe { c::rd_kafka_queue_new(self.rk) };
        let sent = self.send_to(offsets, answers);
        let result = sent.map_err(|code| code.to_string()).and_then(|()| {
            // SAFETY: made above, and told to one commit.
            unsafe { wait_for_answer(answers, timeout) }
        });
        // SAFETY: the only handle, used for the last time. An answer that comes later finds the
        // queue disabled and is thrown away.
        unsafe { c::rd_kafka_queue_destroy(answers) };
        result
    }

    fn send_to(
        &self,
        offsets: &TopicPartitionList,
        answers: *mut c::rd_kafka_queue_t,
    ) -> Result<(), RDKafkaErrorCode> {
        // SAFETY: all three are alive; librdkafka copies the list before it returns.
        let error =
            unsafe { c::rd_kafka_commit_queue(self.rk, offsets.ptr(), answers, None, ptr::null_mut()) };
        match RDKafkaErrorCode::from(error) {
            RDKafkaErrorCode::NoError => Ok(()),
            code => Err(code),
        }
    }
}

/// Waits for a commit's answer.
///
/// # Safety
/// `answers` must be a live queue that nobody else reads.
unsafe fn wait_for_answer(answers: *mut c::rd_kafka_queue_t, timeout: Duration) -> Result<(), String> {
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the caller holds the queue.
    let event = unsafe { c::rd_kafka_queue_poll(answers, timeout_ms) };
    if event.is_null() {
        return Err(format!("no answer within {timeout_ms} ms"));
    }
    // SAFETY: the event is alive until destroyed below.
    let code = RDKafkaErrorCode::from(unsafe { c::rd_kafka_event_error(event) });
    let mut refused = (code != RDKafkaErrorCode::NoError).then(|| code.to_string());
    // SAFETY: as above; the list belongs to the event, and is null for other kinds of event.
    let list = unsafe { c::rd_kafka_event_topic_partition_list(event) };
    if !list.is_null() {
        // SAFETY: a list of the event has `cnt` elements at `elems`.
        let count = usize::try_from(unsafe { (*list).cnt }).unwrap_or(0);
        for at in 0..count {
            // SAFETY: `at` is below the count.
            let one = unsafe { (*list).elems.add(at) };
            // SAFETY: as for `Message::error`, read as an integer.
            let code = unsafe { (&raw const (*one).err).cast::<i32>().read() };
            // SAFETY: a plain field of a live element.
            let partition = unsafe { (*one).partition };
            if code != 0 {
                let code =
                    c::rd_kafka_resp_err_t::try_from(code).map_or(RDKafkaErrorCode::Unknown, Into::into);
                refused.get_or_insert_with(|| format!("partition {partition}: {code}"));
            }
        }
    }
    // SAFETY: used for the last time.
    unsafe { c::rd_kafka_event_destroy(event) };
    refused.map_or(Ok(()), Err)
}

impl Drop for Committer {
    fn drop(&mut self) {
        // SAFETY: gives back the reference taken in `new`.
        unsafe { c::rd_kafka_queue_destroy(self.consumer_queue.as_ptr()) };
    }
}

/// A list for the client: `offsets` of `topic`.
pub(super) fn list_of(
    topic: &Topic,
    offsets: impl IntoIterator<Item = (Partition, KafkaOffset)>,
) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition(topic.as_str(), partition.0)
            .set_offset(offset)
            .expect("offsets are not below zero, or librdkafka's own constants");
    }
    list
}
